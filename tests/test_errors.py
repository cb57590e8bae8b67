"""Messages are a few lines of a few hundred characters, whatever they quote."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from recurra.errors import (
    MOST_CHARACTERS,
    MOST_LINES,
    ArgumentError,
    DataError,
    MissingDependency,
    RunError,
    choice_text,
    quoted,
)
from recurra.train import Recipe


@pytest.mark.parametrize("kind", [ArgumentError, DataError, MissingDependency, RunError])
def test_a_long_line_keeps_its_beginning_and_its_end(kind: type[Exception]) -> None:
    text = str(kind(f"name must be short, got {'a' * 10**7}; give less"))
    assert (
        text.startswith("name must be short, got aaa")
        and text.endswith("aaa; give less")
        and len(text) == MOST_CHARACTERS
    )


def test_many_lines_are_counted() -> None:
    lines = str(ArgumentError("\n".join(["wrong"] * 1000))).splitlines()
    assert lines == ["wrong"] * MOST_LINES + [f"and {1000 - MOST_LINES} lines more"]


def test_what_is_short_is_left_alone_and_survives_a_copy() -> None:
    text = "x must be y, got z\nand so on"
    assert str(DataError(text)) == str(pickle.loads(pickle.dumps(DataError(text)))) == text


def test_what_python_does_not_write_is_said() -> None:
    deep: list[object] = []
    for _ in range(10**5):
        deep = [deep]
    assert (
        quoted(deep) == "a list that cannot be written"
        and quoted(-(10**5000)) == "a number of more than 4300 digits"
    )
    while deep:  # Python itself fails to let go of such a list at once
        deep = deep[0]  # type: ignore[assignment]


def test_a_long_name_is_not_compared_with_all_of_its_letters() -> None:
    assert len(choice_text("cell", "lstm" * 10**6, ["gru", "lstm"])) < 200


def test_unknown_keys_of_a_recipe_are_told_briefly() -> None:
    with pytest.raises(ArgumentError) as caught:
        Recipe.of({f"key{number}" * 100: 1 for number in range(3000)})
    assert len(str(caught.value)) < MOST_LINES * 200


def test_a_number_beyond_all_counting_is_refused() -> None:
    for name in ("lr", "epochs", "window", "clip_norm"):
        with pytest.raises(ArgumentError, match=f"^{name} must be .*, got 1000000"):
            Recipe.of({name: 10**400})


def test_paths_are_not_shortened_in_the_middle_of_a_usual_message(tmp_path: Path) -> None:
    assert str(tmp_path) in str(DataError(f"path must be a file, got {str(tmp_path)!r}"))
