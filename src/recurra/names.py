"""Which names a cell's values and weights may have: identifiers, each of one meaning."""

from __future__ import annotations

import keyword
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

STANDARD = frozenset({"weight_ih", "bias_ih", "gain_ih", "weight_hh", "bias_hh", "gain_hh"})
"""Weights that a cell may have whatever its phases say."""


def is_identifier(name: Any) -> bool:
    """Whether a name can be written in code: it holds letters, digits and underscores only."""
    return isinstance(name, str) and name.isidentifier()


def fault_in_names(
    names: Mapping[str, Iterable[Any]],
    products: Iterable[Any],
    fits: Callable[[Any], bool] = is_identifier,
) -> str | None:
    """Say which name of a cell, or of its program, is no identifier or has two meanings.

    Weights, biases, gains, params and learned first states are handed over in one mapping: of two
    things with one name the one would be read as the other, at another size.

    Args:
        names: those of "state", "params", "noise" and "gates"; only gates may be called as
            something else that is no weight.
        products: a cell's phases with gates, or a program's products: each has `gates`, and
            `vectors`, its weight, bias and gain.
        fits: whether a name is one at all.

    Returns:
        One line, or None where all is well.

    >>> fault_in_names({"state": ["h"], "params": ["bias_hh"], "noise": [], "gates": ["n"]}, [])
    "params must not be called as a weight, got 'bias_hh'; rename it"
    """
    products = list(products)
    for kind, group in (
        *names.items(),
        *(("gates of a phase", product.gates) for product in products),
    ):
        listed = list(group)
        if twice := next(
            (name for number, name in enumerate(listed) if name in listed[:number]), None
        ):
            return f"{kind} must be named once each, got {shown(twice)} twice; rename one"
    weights: dict[str, str] = {}
    for name, meaning in _weights(products):
        if not fits(name):
            return f"{meaning} must be an identifier, got {shown(name)}{_hint(name)}"
        if weights.setdefault(name, meaning) != meaning:
            return (
                f"{name} must have one meaning, got {weights[name]} and {meaning}; name one of them"
                " otherwise"
            )
    first = {f"initial_{name}" for name in names["state"]}
    values: dict[str, str] = {}
    for kind, group in names.items():
        for name in group:
            if not fits(name):
                return f"{kind} must be identifiers, got {shown(name)}{_hint(name)}"
            if name in weights or name in STANDARD or name in first:
                return f"{kind} must not be called as a weight, got {name!r}; rename it"
            if kind != "gates" and values.setdefault(name, kind) != kind:
                return (
                    f"{kind} must not be called as one of {values[name]}, got {name!r}; rename it"
                )
    doubled = sorted(first & weights.keys())
    return (
        f"{doubled[0]} must be a first state, got {weights[doubled[0]]}; rename it"
        if doubled
        else None
    )


def is_attribute(name: Any) -> bool:
    """Whether a name can be written after a dot in Python, as it stands, and in a named tuple: what
    a cell needs, and a file does not.

    >>> [is_attribute(name) for name in ("f", "é", "lambda", "_f", "ﬁ")]
    [True, True, False, False, False]
    """
    if not is_identifier(name) or name.startswith("_") or keyword.iskeyword(name):
        return False
    return (
        name.isascii() or unicodedata.normalize("NFKC", name) == name
    )  # else Python reads another name


def _hint(name: Any) -> str:
    """What to do about a name that only looks like one."""
    return (
        "; begin with a letter, and take no word of Python"
        if isinstance(name, str) and name.isidentifier()
        else ""
    )


def shown(name: Any) -> str:
    """The beginning of what is there in place of a name."""
    return repr(name)[:60]


def _weights(products: list[Any]) -> Iterator[tuple[Any, str]]:
    """Every name that a product reads, with what it is; the products of one weight share its bias
    and its gain.
    """
    yield from (
        ("weight_ih", "the weight of x"),
        ("bias_ih", "the bias of x"),
        ("gain_ih", "the gain of x"),
    )
    vectors: dict[Any, tuple[Any, Any]] = {}
    for number, product in enumerate(products):
        weight, bias, gain = product.vectors
        owner = f"product {number}" if weight is None else str(weight)[:60]
        if weight is not None:
            same = vectors.setdefault(weight, (bias, gain)) == (bias, gain)
            yield weight, "a weight" if same else "one whose products have another bias or gain"
        yield from (
            (name, f"the {kind} of {owner}")
            for name, kind in ((bias, "bias"), (gain, "gain"))
            if name is not None
        )
