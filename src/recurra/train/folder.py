"""A run's folder: config.toml, history.jsonl, model.safetensors, and last/ to go on from."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import IO, Any

import tomli_w
from filelock import FileLock, Timeout

from recurra.durable import write_durably
from recurra.errors import DataError, RunError, quoted
from recurra.models import LanguageModel, load, save
from recurra.models.files import record_options
from recurra.regular_file import read_regular
from recurra.strict_json import dumps
from recurra.train.recipe import Recipe

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MOST_CONFIG, MOST_HISTORY = 1 << 20, 1 << 30
"""Bytes of either that are read."""
MODEL, HISTORY, CONFIG, LAST, LOCK = (
    "model.safetensors",
    "history.jsonl",
    "config.toml",
    "last",
    ".lock",
)


class Folder:
    """Where a run is written; one run at a time, which a lock sees to. Each row is written before
    the next step begins.

    Args:
        path: a folder, made if missing; it must not hold a run already, unless that run is to be
            gone on with.
        resume: go on with the run that it holds.

    Raises:
        RunError: it holds a run, or none to go on with, or another process is using it, or it
            cannot be written.
    """

    def __init__(self, path: str | PathLike[str], resume: bool = False) -> None:
        self.path = Path(path)
        if resume:
            _check_run(self.path)
        else:
            self._check_new(path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.lock = FileLock(self.path / LOCK)
            self.lock.acquire(timeout=0)
            for part in (
                *(self.path / f"{name}.part" for name in (CONFIG, MODEL)),
                *self.checkpoints.glob("*.safetensors.part"),
            ):
                part.unlink(missing_ok=True)  # of a run that was killed while it wrote
            self.history: IO[str] = open(  # noqa: SIM115
                self.path / HISTORY, "r+" if resume else "x", encoding="utf-8"
            )
        except Timeout:
            raise RunError(
                f"out must not be in use, got {str(path)!r}, which another process is training in;"
                " wait for it to end"
            ) from None
        except OSError as error:
            raise RunError(
                f"out must be a folder that can be written, got {str(path)!r} ({error.strerror})"
            ) from None

    def _check_new(self, path: str | PathLike[str]) -> None:
        for name in (HISTORY, CONFIG, MODEL, LAST):
            if (self.path / name).exists():
                text = (
                    f"out must be a new folder, got {str(path)!r}, which holds a run already"
                    f" ({name})"
                )
                raise RunError(f"{text}; choose another name, or go on with: recurra resume {path}")

    @property
    def checkpoints(self) -> Path:
        """Where its checkpoints lie."""
        return self.path / LAST

    def configure(
        self, model: LanguageModel, recipe: Recipe, source: Mapping[str, Any] | None
    ) -> None:
        """Write what the run is made of: what the model is, how it is trained, and where its data
        come from.
        """
        options = {
            name: value for name, value in record_options(model).items() if value is not None
        }
        record = {"recipe": recipe.record(), "model": options} | (
            {"data": dict(source)} if source else {}
        )
        with _room(self.path / CONFIG):
            write_durably(
                self.path / CONFIG,
                lambda beside: beside.write_text(tomli_w.dumps(record), encoding="utf-8"),
            )

    def row(self, row: Mapping[str, Any]) -> None:
        """Add a row to the history; a figure that is not finite is written as null, which JSON
        has.
        """
        with _room(self.path / HISTORY):
            self.history.write(dumps(dict(row)) + "\n")
            self.history.flush()

    def mark(self) -> int:
        """Wait until the disk has the history; give its length in bytes."""
        with _room(self.path / HISTORY):
            self.history.flush()
            os.fsync(self.history.fileno())
        return self.history.tell()

    def rewind(self, mark: int | None) -> str | None:
        """Forget the rows that came after a mark, and one that was cut short; None: only that one.

        Returns:
            A sentence on rows before the mark that are lost, or None.
        """
        written = (self.path / HISTORY).read_bytes()
        end = written.rfind(b"\n", 0, mark) + 1
        self.history.seek(end)
        self.history.truncate()
        if mark is None or end == mark:
            return None
        return (
            f"{HISTORY} is whole up to byte {end} of the {mark} that the checkpoint knows; the rows"
            " between are lost"
        )

    def keep(self, model: LanguageModel) -> None:
        """Write the model, as the best so far."""
        save(model, self.path / MODEL)

    def close(self) -> None:
        """Close the history, and let others use the folder."""
        with suppress(OSError):  # a full disk: its rows are lost either way, and were said to be
            self.history.close()
        self.lock.release()


@contextmanager
def _room(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        text = (
            f"out must have room for the run, got {str(path)!r}, which cannot be written"
            f" ({error.strerror})"
        )
        raise RunError(
            f"{text}; make room, then go on with: recurra resume {path.parent}"
        ) from None


def _check_run(path: Path) -> None:
    if path.is_file():
        raise RunError(
            f"run must be a run's folder, got {str(path)!r}, a file; training goes on from the"
            " folder that recurra train made"
        )
    for name in (CONFIG, HISTORY):
        if not (path / name).exists():
            raise RunError(f"run must be a run's folder, got {str(path)!r}, which holds no {name}")
        if not (path / name).is_file():
            raise DataError(
                f"{name.partition('.')[0]} must be a file that can be read, got"
                f" {str(path / name)!r} (not a regular file)"
            )


def read_config(path: str | PathLike[str]) -> dict[str, dict[str, Any]]:
    """Read what a run is made of: its tables "recipe", "model" and, where its data can be found
    again, "data".

    Raises:
        RunError: there is no run there.
        DataError: its config.toml is damaged.
    """
    _check_run(Path(path))
    file = Path(path) / CONFIG
    text = _read(file, "config", MOST_CONFIG)
    try:
        record = tomllib.loads(text.decode())
        tables = {
            name: record[name]
            for name in ("recipe", "model", "data")
            if name in record or name != "data"
        }
        if wrong := [name for name, table in tables.items() if not isinstance(table, dict)]:
            raise TypeError(f"{wrong[0]} is no table")
        return tables
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"config must be as the run wrote it, got {str(file)!r} ({str(error) or repr(error)})"
        ) from None


def open_run(path: str | PathLike[str], cells: Iterable[Any] = ()) -> LanguageModel:
    """Load the best model of a run, or a model's file.

    Args:
        path: the run's folder, or the file.
        cells: the classes of cells of one's own that it is made of, as for `recurra.models.load`.

    Raises:
        RunError: there is no model there.
        DataError: the model's file is damaged.
        ArgumentError: a class that the model is made of is not among `cells`, or is not as it was.
    """
    return load(model_file(path), cells)


def model_file(path: str | PathLike[str]) -> Path:
    """The file of the best model of a run, or the model's file itself.

    Raises:
        RunError: there is none.
    """
    place = Path(path)
    file = place / MODEL if place.is_dir() else place
    if not file.exists():
        raise RunError(
            f"run must be a run's folder or a model's file, got {str(path)!r}, which holds no"
            f" {MODEL}"
        )
    return file


def read_history(path: str | PathLike[str]) -> list[dict[str, Any]]:
    """Read the rows of a run's history.

    Raises:
        RunError: there is no history there.
        DataError: a row is damaged; names its line.
    """
    file = Path(path) / HISTORY
    if not file.exists():
        raise RunError(f"run must be a run's folder, got {str(path)!r}, which holds no {HISTORY}")
    rows = []
    *lines, _ = _read(file, "history", MOST_HISTORY).split(
        b"\n"
    )  # what follows was being written when the run ended
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line, parse_int=_whole)
            if not isinstance(row, dict):
                raise ValueError
        except (ValueError, RecursionError):
            start = quoted(line[:40].decode(errors="replace"))
            raise DataError(
                f"history must hold a record in each line, got {start} at line {number} of"
                f" {str(file)!r}"
            ) from None
        rows.append(row)
    return rows


def _whole(digits: str) -> int | float:
    """A whole number of a row: one that no run counts to becomes a float, perhaps infinite, with
    which one can compute.

    >>> _whole("12"), _whole("9" * 400)
    (12, inf)
    """
    return int(digits) if len(digits) < 19 else float(digits)


def _read(file: Path, what: str, most: int) -> bytes:
    try:
        return read_regular(file, most)
    except OSError as error:
        raise DataError(
            f"{what} must be a file that can be read, got {str(file)!r} ({error.strerror})"
        ) from None
