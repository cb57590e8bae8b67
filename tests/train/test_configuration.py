"""From code, from TOML, from flags: one recipe, and all that is wrong at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from recurra.errors import ArgumentError, DataError
from recurra.train import Recipe, configure, read_configuration

TOML = """
[about]
source = "somebody (2014)"

[data]
level = "word"

[model]
hidden = [30, 20]

[recipe]
lr = 20
optimizer = "sgd"
clip_norm = "none"
"""


def test_a_file_and_flags_over_it(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(TOML)
    found = configure(
        read_configuration(path), {"recipe": {"lr": 2.0, "clip_value": 0.1}, "model": {"layers": 2}}
    )
    assert found.recipe == Recipe(lr=2.0, optimizer="sgd", clip_norm=None, clip_value=0.1)
    assert (
        found.model == {"hidden": [30, 20], "layers": 2}
        and found.data == {"level": "word"}
        and found.about == {"source": "somebody (2014)"}
    )


def test_all_errors_at_once() -> None:
    with pytest.raises(ArgumentError) as caught:
        configure(
            {"recipes": {}, "data": 3, "model": {"hiden": 3}, "recipe": {"epoch": 1, "lr": -1}},
            {"data": {"levle": "word"}},
        )
    assert str(caught.value).splitlines() == [
        "recipes must be a field of the tables, got an unknown one; did you mean 'recipe'?",
        "data must be a table, got 3; write [data] above its keys",
        "levle must be a field of [data], got an unknown one; did you mean 'level'?",
        "hiden must be a field of [model], got an unknown one; did you mean 'hidden'?",
        "epoch must be a field of Recipe, got an unknown one; did you mean 'epochs'?",
        "lr must be positive, got -1",
    ]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"^recipe must be a file that can be read, got '.*' \(No such file or directory\)$",
    ):
        read_configuration(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[recipe]\nlr = = 3\n")
    with pytest.raises(DataError, match=r"^recipe must be TOML, got '.*bad.toml' \(.*line 2.*\)$"):
        read_configuration(tmp_path / "bad.toml")


def test_a_byte_order_mark_before_a_recipe_is_none_of_it(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(TOML.lstrip(), encoding="utf-8-sig")
    assert configure(read_configuration(tmp_path / "a.toml")).recipe.lr == 20
