"""A run's files may say anything, checksums and all: going on from them ends, or says in a line of
its own why not.
"""

from __future__ import annotations

import copy
import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from recurra.checksum import checksum
from recurra.errors import MOST_CHARACTERS, DataError, RecurraError, RunError
from recurra.models import LanguageModel, save
from recurra.train import Recipe, fit, from_files, read_config, resume
from recurra.train.checkpoint_record import FIELDS
from recurra.train.folder import Folder

VALUES: list[Any] = [
    None,
    True,
    -1,
    3,
    2**64,
    10**400,
    0.5,
    1e300,
    float("nan"),
    "",
    "x",
    "\0",
    "a" * 10**5,
    [],
    [1],
    [[]],
    {},
    {"a": 1},
    ["a"] * 5000,
]


@pytest.fixture(scope="module", params=["adam", "asgd"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run that has ended, of text files."""
    root = tmp_path_factory.mktemp("forged")
    (root / "text").write_text("the cat sat on the mat and the rat sat on the cat; " * 5)
    data = from_files(root / "text", 0.2, cache=root / "cache", show=False)
    torch.manual_seed(0)
    model = LanguageModel(len(data.vocabulary), embed=3, hidden=4, vocabulary=data.vocabulary)
    fit(
        model,
        data,
        Recipe(epochs=1, window=20, batch=4, optimizer=request.param),
        root / "run",
        show=False,
    )
    return root / "run"


def places(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something is in a record."""
    inside = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value[:3])
        if isinstance(value, list)
        else ()
    )
    for key, part in inside:
        yield (*before, key)
        yield from places(part, (*before, key))


def changed(record: Any, draws: random.Random) -> Any:
    """A record with one thing taken away, or something else in its place."""
    record = copy.deepcopy(record)
    *path, last = draws.choice(list(places(record)))
    inner = record
    for key in path:
        inner = inner[key]
    if draws.random() < 0.2:
        del inner[last]
    else:
        inner[last] = copy.deepcopy(draws.choice(VALUES))
    return record


def ends_well(folder: Path) -> None:
    try:
        resume(folder, show=False)
    except RecurraError as error:
        assert all(0 < len(line) <= MOST_CHARACTERS for line in str(error).splitlines())


def newest(folder: Path) -> Path:
    return max((folder / "last").iterdir())


def forge(path: Path, record: Any, tensors: dict[str, torch.Tensor]) -> None:
    """A checkpoint whose checksum is right, the only one in its folder."""
    text = json.dumps(record)
    for other in path.parent.iterdir():
        other.unlink()
    save_file(
        tensors,
        path,
        metadata={"recurra_checkpoint": "1", "record": text, "crc32": str(checksum(text, tensors))},
    )


def parts(path: Path) -> tuple[Any, dict[str, torch.Tensor]]:
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return json.loads(file.metadata()["record"]), tensors


@pytest.mark.parametrize("seed", range(25))
def test_a_forged_record(run: Path, tmp_path: Path, seed: int) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    record, tensors = parts(newest(folder))
    forge(newest(folder), changed(record, random.Random(seed)), tensors)
    ends_well(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: None,
        lambda x: x.to(torch.int64),
        lambda x: x[None],
        lambda x: x.flatten()[:-1],
        lambda x: torch.zeros(0),
    ],
)
@pytest.mark.parametrize(
    "kind",
    ["model.", "optimizer.", "rank0.carried", "rank0.generator.torch", "rank0.generator.numpy"],
)
def test_forged_tensors(run: Path, tmp_path: Path, kind: str, change: Any) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    record, tensors = parts(newest(folder))
    record["ended"], record["epoch"] = False, 1
    for name in [name for name in tensors if name.startswith(kind)][:1]:
        value = change(tensors.pop(name))
        tensors |= {} if value is None else {name: value.contiguous()}
    forge(newest(folder), record, tensors)
    ends_well(folder)


@pytest.mark.parametrize("seed", range(25))
def test_a_forged_configuration(run: Path, tmp_path: Path, seed: int) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    record = changed(read_config(folder), random.Random(seed))
    try:
        text = tomli_w.dumps(record)
    except (TypeError, ValueError):
        pytest.skip("TOML does not hold it")
    (folder / "config.toml").write_text(text)
    ends_well(folder)


@pytest.mark.parametrize("name", FIELDS)
def test_each_field_of_a_record_is_looked_at(run: Path, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    record, tensors = parts(newest(folder))
    forge(newest(folder), record | {name: [[]]}, tensors)
    with pytest.raises(
        RunError,
        match=(
            f"^checkpoint must hold {name} as the run wrote it, got \\[\\[\\]\\]; begin again in a"
            " new folder$"
        ),
    ):
        resume(folder, show=False)
    record.pop(name)
    forge(newest(folder), record, tensors)
    with pytest.raises(
        RunError, match=f"^checkpoint must hold {name} as the run wrote it, got none"
    ):
        resume(folder, show=False)


def test_a_history_that_lost_rows_is_gone_on_with(
    run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    record, tensors = parts(newest(folder))
    forge(newest(folder), record | {"ended": False, "epoch": 1, "index": 0}, tensors)
    (folder / "history.jsonl").write_text("")
    done = resume(folder)
    assert (
        f"history.jsonl is whole up to byte 0 of the {record['history']} that the checkpoint knows"
        in capfd.readouterr().err
    )
    assert done.history and b"\0" not in (folder / "history.jsonl").read_bytes()


def test_a_best_model_of_another_shape_is_one_line(run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    options = read_config(folder)["model"] | {"hidden": 5}
    save(LanguageModel(**options), folder / "model.safetensors")
    with pytest.raises(DataError, match=r"must have shape \(.*\), got \("):
        resume(folder, show=False)
    resume_again = Folder(folder, resume=True)  # let go of, so that another may use it
    resume_again.close()
