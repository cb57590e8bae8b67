"""A checkpoint is whole or not there, and a damaged one is passed by."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from recurra.errors import RunError
from recurra.train import checkpoint

TENSORS = {
    "b": torch.arange(5.0),
    "a": torch.zeros(2, 0),
    "c": torch.tensor(True),
    "d": torch.ones(3, dtype=torch.bfloat16),
}
RECORD = {"best": float("inf"), "epoch": 3, "list": [1, 2.5, None, "é"]}


def written(folder: Path, *steps: int) -> list[Path]:
    for step in steps:
        checkpoint.write(
            folder, step, TENSORS | {"step": torch.tensor(step)}, RECORD | {"step": step}
        )
    return sorted(folder.iterdir())


def test_what_is_written_is_read(tmp_path: Path) -> None:
    written(tmp_path / "last", 7)
    found = checkpoint.read_newest(tmp_path / "last")
    assert found.record == RECORD | {"step": 7} and found.passed_by == ()
    assert set(found.tensors) == {*TENSORS, "step"}
    assert all(
        torch.equal(found.tensors[name], value) and found.tensors[name].dtype == value.dtype
        for name, value in TENSORS.items()
    )


def test_the_newest_two_are_kept_and_nothing_is_left_beside(tmp_path: Path) -> None:
    assert [path.name for path in written(tmp_path, 0, 9, 10, 1234567)] == [
        "0000000010.safetensors",
        "0001234567.safetensors",
    ]


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flipped(data: bytes) -> bytes:
    place = len(data) - 3
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def flipped_in_the_record(data: bytes) -> bytes:
    return data.replace(b'\\"epoch\\": 3', b'\\"epoch\\": 4')


@pytest.mark.parametrize(
    "damage", [cut, flipped, flipped_in_the_record, lambda data: b"", lambda data: b"x" * 100]
)
def test_a_damaged_one_is_passed_by(tmp_path: Path, damage: Any) -> None:
    newest = written(tmp_path, 1, 2)[-1]
    data = newest.read_bytes()
    assert damage(data) != data
    newest.write_bytes(damage(data))
    found = checkpoint.read_newest(tmp_path)
    assert found.record["step"] == 1 and len(found.passed_by) == 1
    assert found.passed_by[0].startswith("the checkpoint 0000000002.safetensors is damaged (")


def test_every_bit_is_covered(tmp_path: Path) -> None:
    """Each byte of a small checkpoint is changed in turn: it is refused, or reads as it was."""
    checkpoint.write(tmp_path, 1, {"x": torch.tensor([1.0, 2.0])}, {"n": 1})
    (path,) = tmp_path.iterdir()
    data = path.read_bytes()
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        try:
            found = checkpoint.read_newest(tmp_path)
        except RunError:
            continue
        assert found.record == {"n": 1} and found.tensors["x"].tolist() == [1.0, 2.0], place


def test_with_none_whole_there_is_nothing_to_go_on_from(tmp_path: Path) -> None:
    for path in written(tmp_path, 1, 2):
        path.write_bytes(b"")
    with pytest.raises(
        RunError,
        match=(
            r"^run must hold a whole checkpoint, got none in '.*': the checkpoint 0000000002\S* is"
            r" damaged \("
        ),
    ):
        checkpoint.read_newest(tmp_path)
    shutil.rmtree(tmp_path)
    with pytest.raises(
        RunError,
        match=(
            f"^run must hold a checkpoint, got none in {re.escape(repr(str(tmp_path)))}; begin"
            " again in a new folder$"
        ),
    ):
        checkpoint.read_newest(tmp_path)


def test_a_newer_form_is_refused_and_not_passed_by(tmp_path: Path) -> None:
    written(tmp_path, 1)
    save_file(
        {},
        tmp_path / "0000000002.safetensors",
        metadata={"recurra_checkpoint": "2", "record": "{}", "crc32": "0"},
    )
    with pytest.raises(
        RunError,
        match=(
            r"^checkpoint must be of form 1 or older, got 2 in '.*'; use the recurra that wrote it$"
        ),
    ):
        checkpoint.read_newest(tmp_path)


def test_a_disk_that_does_not_take_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    first = written(tmp_path / "last", 1)[0].read_bytes()
    for at in ("save_file", "write_durably"):
        with monkeypatch.context() as patch:
            patch.setattr(checkpoint, at, refuse)
            message = (
                r"^out must have room for a checkpoint, got '.*0000000002.safetensors', which"
                r" cannot be written "
                r"\(No space left on device\); the one of step 1 stands, resume from it$"
            )
            with pytest.raises(RunError, match=message):
                checkpoint.write(tmp_path / "last", 2, TENSORS, RECORD)
        assert [path.read_bytes() for path in (tmp_path / "last").iterdir()] == [first]
    monkeypatch.setattr(checkpoint, "write_durably", refuse)
    with pytest.raises(RunError, match="no checkpoint stands$"):
        checkpoint.write(tmp_path / "other", 2, TENSORS, RECORD)


def test_two_names_of_one_tensor_are_both_kept(tmp_path: Path) -> None:
    one = torch.arange(3.0)
    checkpoint.write(tmp_path, 1, {"a": one, "b": one, "c": one[1:]}, {})
    found = checkpoint.read_newest(tmp_path).tensors
    assert [found[name].tolist() for name in "abc"] == [[0, 1, 2], [0, 1, 2], [1, 2]]
