"""A run's folder: written once, read back, never written over."""

from __future__ import annotations

import builtins
import os
import re
from pathlib import Path
from typing import Any

import pytest

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib  # type: ignore[no-redef]

from recurra.errors import DataError, RunError
from recurra.models import LanguageModel, save
from recurra.train import Recipe, fit, from_text, open_run, read_config, read_history
from recurra.train.folder import Folder

DATA = from_text("abcabd" * 20)


def made(**options: Any) -> LanguageModel:
    return LanguageModel(
        **{"vocab_size": 4, "embed": 3, "hidden": 4, "vocabulary": DATA.vocabulary} | options
    )


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(epochs=1, batch=3),
        Recipe(
            epochs=1, window=9, stride=3, batch=3, clip_norm=None, schedule="cosine", seed=5, lr=0.1
        ),
    ],
)
def test_config_gives_the_recipe_and_the_model_back(tmp_path: Path, recipe: Recipe) -> None:
    model = made(cell="gru", tied=False)
    fit(model, DATA, recipe, out=tmp_path / "run", show=False)
    record = tomllib.loads((tmp_path / "run" / "config.toml").read_text(encoding="utf-8"))
    assert Recipe.of(record["recipe"]) == recipe and record["model"] == model.options


@pytest.mark.parametrize("name", ["history.jsonl", "config.toml", "model.safetensors"])
def test_a_folder_with_a_run_is_refused_and_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"precious")
    message = (
        f"out must be a new folder, got {str(tmp_path)!r}, which holds a run already ({name});"
        " choose another name, "
    )
    message += f"or go on with: recurra resume {tmp_path}"
    with pytest.raises(RunError, match=f"^{re.escape(message)}$"):
        fit(made(), DATA, Recipe(epochs=1, batch=3), out=tmp_path, show=False)
    assert [path.name for path in tmp_path.iterdir()] == [name] and (
        tmp_path / name
    ).read_bytes() == b"precious"


def test_a_second_run_in_the_folder_of_the_first_is_refused(tmp_path: Path) -> None:
    fit(made(), DATA, Recipe(epochs=1, batch=3), out=tmp_path, show=False)
    before = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(RunError, match="holds a run already"):
        fit(made(), DATA, Recipe(epochs=1, batch=3), out=tmp_path, show=False)
    assert {
        path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()
    } == before


def test_an_empty_folder_and_one_with_other_things_will_do(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    fit(made(), DATA, Recipe(epochs=1, batch=3), out=tmp_path, show=False)
    assert (tmp_path / "notes.txt").read_text() == "mine" and (
        tmp_path / "model.safetensors"
    ).exists()


def test_a_place_that_cannot_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path, why in (
        (tmp_path / "file", "File exists"),
        (tmp_path / "file" / "run", "Not a directory"),
    ):
        said = f"out must be a folder that can be written, got {str(path)!r} ({why})"
        with pytest.raises(RunError, match=f"^{re.escape(said)}$"):
            fit(made(), DATA, Recipe(epochs=1, batch=3), out=path, show=False)


def test_a_folder_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Any, *args: Any, **options: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(builtins, "open", refuse)
    with pytest.raises(
        RunError,
        match=r"^out must be a folder that can be written, got '.*' \(Permission denied\)$",
    ):
        Folder(tmp_path)


def test_a_run_is_opened_by_its_folder_or_its_file(tmp_path: Path) -> None:
    model = made()
    save(model, tmp_path / "model.safetensors")
    for path in (tmp_path, str(tmp_path), tmp_path / "model.safetensors"):
        assert open_run(path).options == model.options
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(DataError, match="path must be a model saved by recurra"):
        open_run(tmp_path)


def test_no_run_there(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        message = (
            f"run must be a run's folder or a model's file, got {str(path)!r}, which holds no"
            " model.safetensors"
        )
        with pytest.raises(RunError, match=f"^{re.escape(message)}$"):
            open_run(path)
        message = f"run must be a run's folder, got {str(path)!r}, which holds no history.jsonl"
        with pytest.raises(RunError, match=f"^{re.escape(message)}$"):
            read_history(path)


@pytest.mark.parametrize("line", ['{"kind": "tra', "", "not json"])
def test_a_row_cut_short_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "history.jsonl").write_text('{"kind": "train"}\n' + line + "\n")
    with pytest.raises(
        DataError,
        match=re.escape(f"history must hold a record in each line, got {line!r} at line 2 of "),
    ):
        read_history(tmp_path)


def test_rows_of_another_kind_and_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    for line in (b"[1]", b"3", b"\xff\xfe", b"[" * 10**5, b"\0" * 9):
        (tmp_path / "history.jsonl").write_bytes(b'{"kind": "train"}\n' + line + b"\n")
        with pytest.raises(
            DataError, match=r"^history must hold a record in each line, got .* at line 2 of "
        ):
            read_history(tmp_path)


@pytest.mark.parametrize("name", ["config.toml", "history.jsonl"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.toml").write_text("")
    (tmp_path / "history.jsonl").write_text("")
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    with pytest.raises(
        DataError,
        match=(
            rf"^{name.partition('.')[0]} must be a file that can be read, got '.*' \(not a regular"
            r" file\)$"
        ),
    ):
        read_config(tmp_path) if name == "config.toml" else read_history(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "recipe = 3\nmodel = 4",
        "[recipe]\n[model]\n[[data]]",
        "x = " + "[" * 10**5,
        "\0",
        "[recipe",
    ],
)
def test_a_damaged_configuration_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.toml").write_text(text)
    (tmp_path / "history.jsonl").write_text("")
    with pytest.raises(
        DataError, match=r"^config must be as the run wrote it, got '.*config.toml' \(.+\)$"
    ):
        read_config(tmp_path)


def test_what_a_killed_run_left_half_written_is_cleared(tmp_path: Path) -> None:
    fit(made(), DATA, Recipe(epochs=1, batch=3), out=tmp_path, show=False)
    parts = [
        tmp_path / "model.safetensors.part",
        tmp_path / "config.toml.part",
        tmp_path / "last" / "0000000001.safetensors.part",
    ]
    for part in parts:
        part.write_bytes(b"half")
    (tmp_path / "notes.part").write_text("mine")
    Folder(tmp_path, resume=True).close()
    assert not any(part.exists() for part in parts) and (tmp_path / "notes.part").exists()


@pytest.mark.parametrize(("mark", "left"), [(None, 3), (24, 3), (17, 2), (16, 2), (10**6, 3)])
def test_a_history_is_cut_and_never_filled_up(tmp_path: Path, mark: int | None, left: int) -> None:
    (tmp_path / "config.toml").write_text("")
    (tmp_path / "history.jsonl").write_bytes(b'{"a":1}\n' * 3 + b'{"a"')
    folder = Folder(tmp_path, resume=True)
    lost = folder.rewind(mark)
    folder.close()
    assert read_history(tmp_path) == [{"a": 1}] * left
    assert (lost is None) == (mark in (None, 24, 16))
    if lost:
        assert (
            lost
            == f"history.jsonl is whole up to byte {8 * left} of the {mark} that the checkpoint"
            " knows; the rows between are lost"
        )


def test_a_whole_number_that_no_float_holds_is_infinite(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").write_text('{"step": 12, "loss": 1%s}\n' % ("0" * 400))
    assert read_history(tmp_path) == [{"step": 12, "loss": float("inf")}]
