"""A run's folder: config.toml, history.jsonl, model.safetensors."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import IO, Any

import tomli_w

from recurra.errors import DataError, RunError
from recurra.models import LanguageModel, load, save
from recurra.train.recipe import Recipe

MODEL, HISTORY, CONFIG = "model.safetensors", "history.jsonl", "config.toml"


class Folder:
    """Where a run is written. Each row of the history is on disk before the next step begins.

    Args:
        path: a folder, made if missing; it must not hold a run already.

    Raises:
        RunError: it holds a run, or cannot be written.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        for name in (HISTORY, CONFIG, MODEL):
            if (self.path / name).exists():
                raise RunError(f"out must be a new folder, got {str(path)!r}, which holds a run already ({name}); choose another name")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.history: IO[str] = open(self.path / HISTORY, "x", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            raise RunError(f"out must be a folder that can be written, got {str(path)!r} ({error.strerror})") from None

    def configure(self, model: LanguageModel, recipe: Recipe) -> None:
        """Write what the run is made of."""
        options = {name: value if isinstance(value, (str, int, float)) else repr(value) for name, value in model.options.items()}
        record = {"recipe": recipe.record(), "model": options}
        (self.path / CONFIG).write_text(tomli_w.dumps(record), encoding="utf-8")

    def row(self, row: Mapping[str, Any]) -> None:
        """Add a row to the history; a figure that is not finite is written as null, which JSON has."""
        plain = {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()}
        self.history.write(json.dumps(plain, allow_nan=False) + "\n")
        self.history.flush()

    def keep(self, model: LanguageModel) -> None:
        """Write the model, as the best so far."""
        save(model, self.path / MODEL)

    def close(self) -> None:
        """Close the history."""
        self.history.close()


def open_run(path: str | PathLike[str]) -> LanguageModel:
    """Load the best model of a run, or a model's file.

    Raises:
        RunError: there is no model there.
        DataError: the model's file is damaged.
    """
    place = Path(path)
    file = place / MODEL if place.is_dir() else place
    if not file.exists():
        raise RunError(f"run must be a run's folder or a model's file, got {str(path)!r}, which holds no {MODEL}")
    return load(file)


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
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            rows.append(json.loads(line))
        except ValueError:
            raise DataError(f"history must hold a record in each line, got {line[:40]!r} at line {number} of {str(file)!r}") from None
    return rows
