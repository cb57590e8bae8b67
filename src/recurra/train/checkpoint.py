"""Checkpoints: everything a run needs to go on, in one file that is whole or not there. Reading one
executes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from recurra.checksum import checksum
from recurra.durable import write_durably
from recurra.errors import RunError, reason
from recurra.models.ties import separate
from recurra.regular_file import check_regular

FORMAT, KEPT = 1, 2
"""The version of the form, and how many of the newest are kept."""


class Checkpoint(NamedTuple):
    """What a run goes on from.

    Attributes:
        tensors: by name.
        record: the rest, as JSON holds it.
        passed_by: sentences on newer checkpoints that are damaged.
    """

    tensors: dict[str, Tensor]
    record: dict[str, Any]
    passed_by: tuple[str, ...] = ()


def write(
    folder: Path, step: int, tensors: Mapping[str, Tensor], record: Mapping[str, Any]
) -> None:
    """Write a checkpoint, then remove all but the newest two.

    Args:
        folder: where checkpoints lie; made if missing.
        step: chunks done; the name of the file.
        tensors, record: what to keep.

    Raises:
        RunError: the disk does not take it; the checkpoints before are as they were.
    """
    plain = separate(tensors)
    text = json.dumps(record)
    header = {
        "recurra_checkpoint": str(FORMAT),
        "record": text,
        "crc32": str(checksum(text, plain)),
    }
    path = folder / f"{step:010d}.safetensors"
    try:
        folder.mkdir(exist_ok=True)
        write_durably(path, lambda beside: save_file(plain, beside, metadata=header))
        for old in _listed(folder)[KEPT:]:
            old.unlink(missing_ok=True)
    except (OSError, SafetensorError) as error:
        why = getattr(error, "strerror", None) or error
        raise RunError(
            f"out must have room for a checkpoint, got {str(path)!r}, which cannot be written"
            f" ({why}); {_standing(folder)}"
        ) from None


def _standing(folder: Path) -> str:
    whole = _listed(folder)
    return (
        f"the one of step {int(whole[0].stem)} stands, resume from it"
        if whole
        else "no checkpoint stands"
    )


def read_newest(folder: Path) -> Checkpoint:
    """Read the newest checkpoint that is whole.

    Raises:
        RunError: there is none, or the newest is of a form that this version does not know.
    """
    passed_by: list[str] = []
    for path in _listed(folder):
        try:
            return _read(path)._replace(passed_by=tuple(passed_by))
        except RunError:
            raise
        except Exception as error:  # a file may say anything
            passed_by.append(f"the checkpoint {path.name} is damaged ({reason(error)})")
    if passed_by:
        raise RunError(
            f"run must hold a whole checkpoint, got none in {str(folder)!r}: {'; '.join(passed_by)}"
        )
    raise RunError(
        f"run must hold a checkpoint, got none in {str(folder)!r}; begin again in a new folder"
    )


def _read(path: Path) -> Checkpoint:
    check_regular(path)
    with safe_open(path, framework="pt") as file:
        header = file.metadata() or {}
        version = int(header["recurra_checkpoint"])
        if version > FORMAT:
            raise RunError(
                f"checkpoint must be of form {FORMAT} or older, got {version} in {str(path)!r}; use"
                " the recurra that wrote it"
            )
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if int(header["crc32"]) != checksum(header["record"], tensors):
        raise ValueError("its checksum is another")
    return Checkpoint(tensors, json.loads(header["record"]))


def _listed(folder: Path) -> list[Path]:
    """Checkpoints, the newest first."""
    return sorted(
        (path for path in folder.glob("[0-9]*.safetensors") if path.stem.isdecimal()), reverse=True
    )
