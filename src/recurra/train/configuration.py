"""A whole configuration: data, model and recipe, from TOML and from what overrides it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from os import PathLike
from typing import Any, NamedTuple

from recurra.errors import ArgumentError, DataError, quoted, reason
from recurra.models import LanguageModel
from recurra.regular_file import read_regular
from recurra.train.recipe import Recipe, unknown_keys

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MOST_BYTES = 1 << 20
"""Of a recipe's file."""
TABLES = ("about", "data", "model", "recipe")
DATA = ("level", "vocab_size", "validation")
MODEL = tuple(
    name
    for name in inspect.signature(LanguageModel.__init__).parameters
    if name not in ("self", "vocab_size", "vocabulary")
)


class Configuration(NamedTuple):
    """What to train, and how.

    Attributes:
        data: options of `from_files`: level, vocab_size, validation.
        model: options of `LanguageModel`.
        recipe: how to train.
        about: where a published recipe comes from, and what to expect of it: for people.
    """

    data: dict[str, Any]
    model: dict[str, Any]
    recipe: Recipe
    about: dict[str, Any]


def read_configuration(path: str | PathLike[str]) -> dict[str, dict[str, Any]]:
    """Read the tables of a TOML file, unchecked.

    Raises:
        DataError: the file is missing or not TOML; names the line.
    """
    try:
        record = tomllib.loads(read_regular(path, MOST_BYTES).decode("utf-8-sig"))
    except OSError as error:
        raise DataError(
            f"recipe must be a file that can be read, got {str(path)!r} ({error.strerror})"
        ) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"recipe must be TOML, got {str(path)!r} ({reason(error)})") from None
    return record


def configure(*records: Mapping[str, Any]) -> Configuration:
    """Make a configuration of tables, later ones over earlier ones.

    Args:
        records: each with any of the tables "data", "model", "recipe" and "about".

    Raises:
        ArgumentError: tables or keys are unknown, with the nearest known ones, or fields of the
            recipe are outside their ranges; lists them all.

    >>> configure(
    ...     {"recipe": {"lr": 0.1}}, {"recipe": {"epochs": 2}, "model": {"hidden": 64}}
    ... ).recipe.lr
    0.1
    """
    wrong: list[str] = []
    tables: dict[str, dict[str, Any]] = {name: {} for name in TABLES}
    for record in records:
        wrong += unknown_keys(record, TABLES, "the tables")
        for name, table in tables.items():
            given = record.get(name, {})
            if isinstance(given, Mapping):
                table.update(given)
            else:
                wrong.append(
                    f"{name} must be a table, got {quoted(given)}; write [{name}] above its keys"
                )
    wrong += unknown_keys(tables["data"], DATA, "[data]") + unknown_keys(
        tables["model"], MODEL, "[model]"
    )
    recipe = Recipe()
    try:
        recipe = Recipe.of(tables["recipe"])
    except ArgumentError as error:
        wrong.append(str(error))
    if wrong:
        raise ArgumentError("\n".join(dict.fromkeys(wrong)))
    return Configuration(tables["data"], tables["model"], recipe, tables["about"])
