"""A model's file: what was saved comes back, and damage is seen."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from recurra.cells import Cell
from recurra.errors import ArgumentError, DataError, RunError
from recurra.models import Bytes, Characters, LanguageModel, files, load, save
from recurra.models.cell_record import record_cell
from recurra.models.language_model import CELLS
from recurra.network.file import write
from tests.cells.zoo import OWN, ZOO, TwoPhase
from tests.network.nets import every_kind

TEXT = "\u00e9ab\U0001f600\n"


def made(**options: Any) -> LanguageModel:
    return LanguageModel(
        **{"vocab_size": 5, "embed": 3, "hidden": 4, "vocabulary": Characters.of(TEXT)} | options
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save(made(), path)
    return path


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    "options",
    [
        *({"cell": name} for name in CELLS),
        {"tied": False, "layers": 1},
        {"dropout": 0.1, "vocabulary": None},
        {"embed": 4},
    ],
    ids=str,
)
def test_what_was_saved_comes_back(
    tmp_path: Path, options: dict[str, Any], dtype: torch.dtype
) -> None:
    model = made(**options).to(dtype)
    save(model, tmp_path / "m")
    back = load(tmp_path / "m")
    assert (
        back.options == model.options
        and back.vocabulary == model.vocabulary
        and not any(part.training for part in back.modules())
    )
    assert list(back.state_dict()) == list(model.state_dict())
    for name, value in model.state_dict().items():
        assert (
            torch.equal(back.state_dict()[name], value) and back.state_dict()[name].dtype == dtype
        ), name
    assert all(weight.requires_grad for weight in back.parameters())


def test_bytes_as_vocabulary_come_back(tmp_path: Path) -> None:
    save(made(vocab_size=256, vocabulary=Bytes()), str(tmp_path / "m"))
    assert load(str(tmp_path / "m")).vocabulary == Bytes()


def test_a_file_cut_anywhere_is_refused(saved: Path) -> None:
    whole = saved.read_bytes()
    for length in {0, 1, 7, 8, 9, 100, *range(0, len(whole), 97), len(whole) - 1}:
        saved.write_bytes(whole[:length])
        with pytest.raises(
            DataError,
            match=re.escape(f"path must be a model saved by recurra, got {str(saved)!r} ("),
        ):
            load(saved)


def test_a_flipped_bit_anywhere_is_seen(saved: Path) -> None:
    """Every bit that carries something: refused, never a model that differs."""
    whole, before = saved.read_bytes(), load(saved)
    for place in range(0, len(whole), 41):
        saved.write_bytes(
            whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :]
        )
        try:
            model = load(saved)
        except DataError as error:
            assert str(error).startswith("path must be a model")
        else:
            assert model.options == before.options and model.vocabulary == before.vocabulary
            assert all(
                torch.equal(one, other)
                for one, other in zip(model.parameters(), before.parameters())
            )


def test_a_flipped_bit_in_a_weight_is_damage(saved: Path) -> None:
    whole = saved.read_bytes()
    saved.write_bytes(whole[:-5] + bytes([whole[-5] ^ 64]) + whole[-4:])
    with pytest.raises(
        DataError,
        match=(
            r"^path must be a model as it was saved, got '.*', whose checksum is another; it is"
            r" damaged$"
        ),
    ):
        load(saved)


def rewrite(path: Path, **changes: Any) -> None:
    """Change the header, checksum and all."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["recurra"])
    tensors = load_file(path)
    header = {name: value for name, value in (header | changes).items() if name != "crc32"}
    save_file(
        tensors,
        path,
        metadata={"recurra": json.dumps(header | {"crc32": files._checksum(header, tensors)})},
    )


def test_another_form_is_named(saved: Path) -> None:
    rewrite(saved, format="recurra-model-9")
    message = (
        "path must be a model in the form recurra-model-1, got 'recurra-model-9'; use the recurra"
        " that wrote it"
    )
    with pytest.raises(DataError, match=f"^{message}$"):
        load(saved)


def test_an_export_is_told_from_a_model(tmp_path: Path) -> None:
    write(every_kind(), tmp_path / "m.rcr")
    need = (
        "path must be a model that recurra trained, got '.*m.rcr', a network to run, .*; give the"
        " run or the model that it was made of"
    )
    with pytest.raises(DataError, match=f"^{need}$"):
        load(tmp_path / "m.rcr")


@pytest.mark.parametrize(
    "changes",
    [
        {"options": {"vocab_size": -1}},
        {"options": {"vocab_size": 5, "colour": 3}},
        {"options": [1]},
        {"options": None},
        {"options": {"vocab_size": 5, "embed": 9, "hidden": 4}},
        {"vocabulary": ["word", "abcde"]},
        {"vocabulary": 3},
        {"vocabulary": ["character", "abc"]},
    ],
    ids=str,
)
def test_a_header_that_does_not_fit_is_data_gone_wrong(
    saved: Path, changes: dict[str, Any]
) -> None:
    rewrite(saved, **changes)
    with pytest.raises(
        DataError, match=r"^path must be a model saved by recurra, got '.*' [(].+[)]$"
    ):
        load(saved)


def test_other_files_are_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "other", metadata={"of": "another"})
    save_file({"weight": torch.zeros(2)}, tmp_path / "bare")
    save_file({"weight": torch.zeros(2)}, tmp_path / "json", metadata={"recurra": "[1"})
    (tmp_path / "text").write_text("to be or not to be, that is the question")
    for name in ("other", "bare", "json", "text"):
        with pytest.raises(
            DataError, match=r"^path must be a model saved by recurra, got '.*' \(.+\)$"
        ):
            load(tmp_path / name)
    with pytest.raises(
        DataError, match=r"^path must be a model that recurra trained, got '.*', a folder; .*$"
    ):
        load(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none"
    with pytest.raises(
        DataError,
        match=(
            f"^path must be a model's file, got {re.escape(repr(str(path)))}, which does not exist$"
        ),
    ):
        load(path)


@pytest.mark.parametrize(
    "stop",
    [OSError(28, "No space left on device"), SafetensorError("broken"), KeyboardInterrupt()],
    ids=repr,
)
@pytest.mark.parametrize("late", [False, True])
def test_a_failed_write_leaves_the_old_file_alone(
    saved: Path, monkeypatch: pytest.MonkeyPatch, stop: BaseException, late: bool
) -> None:
    def fail(tensors: Any, path: Path, *args: Any, **options: Any) -> None:
        if late:
            save_file(tensors, path)
        else:
            Path(path).write_bytes(b"half")
        raise stop

    before = saved.read_bytes()
    monkeypatch.setattr(files, "save_file", fail)
    kind = KeyboardInterrupt if isinstance(stop, KeyboardInterrupt) else RunError
    with pytest.raises(
        kind,
        match=(
            None
            if kind is KeyboardInterrupt
            else "path must be a file that can be written, got '.*' [(].+[)]"
        ),
    ):
        save(made(), saved)
    assert saved.read_bytes() == before and list(saved.parent.iterdir()) == [saved]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    for name in ("none/model", "file/model", "folder"):
        with pytest.raises(
            RunError,
            match=re.escape(
                f"path must be a file that can be written, got {str(tmp_path / name)!r} ("
            ),
        ):
            save(made(), tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize("name", ZOO)
def test_a_model_of_any_cell_comes_back_when_its_class_is_given(tmp_path: Path, name: str) -> None:
    model, given = (
        made(cell=ZOO[name], layers=1, dropout=0.0),
        [type(cell) for cell in OWN.values()],
    )
    save(model, tmp_path / "m")
    back, x = load(tmp_path / "m", given), torch.tensor([[0, 1], [4, 2], [3, 3]])
    assert torch.equal(back(x)[0], model.eval()(x)[0])
    assert repr(back.options["cell"]) in (repr(ZOO[name]), repr(record_cell(ZOO[name])))
    if name in OWN or name == "ZoneoutOwn":
        with pytest.raises(
            ArgumentError,
            match=(
                r"^cells must hold .* of which the model is made, got none; give the class, cells="
            ),
        ):
            load(tmp_path / "m")


def test_a_file_says_what_it_holds_without_the_class(tmp_path: Path) -> None:
    save(made(cell=TwoPhase(0.5)), tmp_path / "m")
    header, tensors = files.read_header(tmp_path / "m")
    assert (
        header["options"]["hidden"] == 4
        and header["options"]["cell"]["class"] == "tests.cells.zoo:TwoPhase"
    )
    assert (
        header["options"]["cell"]["options"] == '{"slope": 0.5}'
        and "recurrent.layers.0.weight_hh" in tensors
    )


def test_a_cell_without_a_program_is_refused(tmp_path: Path) -> None:
    summed = type(
        "Summed",
        (Cell,),
        {"gates": ("n",), "pointwise": lambda self, a, s: dict(h=a.n.sum() + a.n, n=a.n)},
    )
    with pytest.raises(
        ArgumentError,
        match=(
            "^cell must have a program to be saved with a model, got Summed.*; save"
            " model.state_dict"
        ),
    ):
        save(made(cell=summed()), tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_layers_that_share_a_weight_go_on_sharing_it(tmp_path: Path) -> None:
    model, path = LanguageModel(vocab_size=5, embed=4, hidden=4), tmp_path / "m.safetensors"
    layers = model.recurrent.layers
    one, other = layers[0], layers[-1]
    assert one.cell == other.cell and one is not other
    other.weight_hh = one.weight_hh
    save(model, path)
    again = load(path)
    assert again.recurrent.layers[-1].weight_hh is again.recurrent.layers[0].weight_hh
    assert all(
        torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items()
    )
    with safe_open(path, framework="pt") as file:
        assert list(json.loads(file.metadata()["recurra"])["tied"]) == [
            f"recurrent.layers.{len(layers) - 1}.weight_hh"
        ]


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(
        DataError,
        match=r"^path must be a model saved by recurra, got '.*' \(.*not a regular file\)$",
    ):
        load(tmp_path / "pipe")


HEADERS = {
    "model": (None, "header must name a model, got None"),
    "options": ([], r"options must be a record with a cell's name or record, got \[\]"),
    "vocabulary": ({"symbols": "ab"}, "vocabulary must be a record with a level, or none, got .*"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_with_a_checksum_that_fits_is_looked_at(name: str, tmp_path: Path) -> None:
    value, message = HEADERS[name]
    model = made()
    tensors = files.separate(model.state_dict())
    header = {
        "format": files.FORMAT,
        "model": "LanguageModel",
        "options": files.record_options(model),
        "vocabulary": None,
        name: value,
    }
    header["crc32"] = files._checksum(header, tensors)
    files.save_file(tensors, tmp_path / "m", metadata={"recurra": json.dumps(header)})
    with pytest.raises(
        DataError, match=rf"^path must be a model saved by recurra, got '.*' \({message}\)$"
    ):
        files.read_header(tmp_path / "m")
