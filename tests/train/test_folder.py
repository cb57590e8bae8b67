"""A run's folder: written once, read back, never written over."""

from __future__ import annotations

import builtins
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
from recurra.train import Recipe, fit, from_text, open_run, read_history
from recurra.train.folder import Folder

DATA = from_text("abcabd" * 20)


def made(**options: Any) -> LanguageModel:
    return LanguageModel(**{"vocab_size": 4, "embed": 3, "hidden": 4, "vocabulary": DATA.vocabulary} | options)


@pytest.mark.parametrize(
    "recipe", [Recipe(epochs=1, batch=3), Recipe(epochs=1, window=9, stride=3, batch=3, clip_norm=None, schedule="cosine", seed=5, lr=0.1)]
)
def test_config_gives_the_recipe_and_the_model_back(tmp_path: Path, recipe: Recipe) -> None:
    model = made(cell="gru", tied=False)
    fit(model, DATA, recipe, out=tmp_path / "run", show=False)
    record = tomllib.loads((tmp_path / "run" / "config.toml").read_text(encoding="utf-8"))
    assert Recipe.of(record["recipe"]) == recipe and record["model"] == model.options


@pytest.mark.parametrize("name", ["history.jsonl", "config.toml", "model.safetensors"])
def test_a_folder_with_a_run_is_refused_and_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"precious")
    message = f"out must be a new folder, got {str(tmp_path)!r}, which holds a run already ({name}); choose another name, "
    message += f"or go on with: recurra resume {tmp_path}"
    with pytest.raises(RunError, match=f"^{re.escape(message)}$"):
        fit(made(), DATA, Recipe(epochs=1, batch=3), out=tmp_path, show=False)
    assert [path.name for path in tmp_path.iterdir()] == [name] and (tmp_path / name).read_bytes() == b"precious"


def test_a_second_run_in_the_folder_of_the_first_is_refused(tmp_path: Path) -> None:
    fit(made(), DATA, Recipe(epochs=1, batch=3), out=tmp_path, show=False)
    before = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(RunError, match="holds a run already"):
        fit(made(), DATA, Recipe(epochs=1, batch=3), out=tmp_path, show=False)
    assert {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_an_empty_folder_and_one_with_other_things_will_do(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    fit(made(), DATA, Recipe(epochs=1, batch=3), out=tmp_path, show=False)
    assert (tmp_path / "notes.txt").read_text() == "mine" and (tmp_path / "model.safetensors").exists()


def test_a_place_that_cannot_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path, why in ((tmp_path / "file", "File exists"), (tmp_path / "file" / "run", "Not a directory")):
        with pytest.raises(RunError, match=f"^{re.escape(f'out must be a folder that can be written, got {str(path)!r} ({why})')}$"):
            fit(made(), DATA, Recipe(epochs=1, batch=3), out=path, show=False)


def test_a_folder_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Any, *args: Any, **options: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(builtins, "open", refuse)
    with pytest.raises(RunError, match=r"^out must be a folder that can be written, got '.*' \(Permission denied\)$"):
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
        message = f"run must be a run's folder or a model's file, got {str(path)!r}, which holds no model.safetensors"
        with pytest.raises(RunError, match=f"^{re.escape(message)}$"):
            open_run(path)
        message = f"run must be a run's folder, got {str(path)!r}, which holds no history.jsonl"
        with pytest.raises(RunError, match=f"^{re.escape(message)}$"):
            read_history(path)


@pytest.mark.parametrize("line", ['{"kind": "tra', "", "not json"])
def test_a_row_cut_short_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "history.jsonl").write_text('{"kind": "train"}\n' + line + "\n")
    with pytest.raises(DataError, match=re.escape(f"history must hold a record in each line, got {line!r} at line 2 of ")):
        read_history(tmp_path)
