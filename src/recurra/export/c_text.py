"""Numbers, arrays and comments as C text, each array once."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from recurra.errors import ArgumentError
from recurra.export.c_maths import KEPT, OPERATIONS, READ
from recurra.network import Matrix

Array = npt.NDArray[Any]
LINE = 120
"""Columns of a line of weights."""


def number(value: float) -> str:
    """A float32 in C that comes back exactly.

    >>> number(1), number(0.1), number(-0.0), number(1e-45), number(float("-inf"))
    ('1.0f', '0.1f', '-0.0f', '1e-45f', '-INFINITY')
    """
    if value != value or abs(value) == float("inf"):
        return "NAN" if value != value else "INFINITY" if value > 0 else "-INFINITY"
    with np.errstate(over="ignore"):
        single = np.float32(value)
    if np.isinf(single):
        return "INFINITY" if value > 0 else "-INFINITY"
    short = next(
        text
        for text in (f"{single:.{digits}g}" for digits in range(1, 10))
        if np.float32(text) == single
    )
    return pointed(short)


def pointed(text: str) -> str:
    """A number's text made a float's: with a point and an f."""
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def comment(text: str) -> str:
    """Text as a comment may hold it: it ends none and begins none, at most 200 characters of it,
    those outside ASCII as "?".

    Every text of a file that goes into a header passes here, or through `identifier`.

    >>> comment("*/ int x; /*"), comment("*\\\\"), comment("a gate \u03b3")
    ('* / int x; / *', '*|', 'a gate ?')
    """
    kept = "".join(sign if " " <= sign <= "~" else "?" for sign in text[:200]).replace("\\", "|")
    return re.sub(r"\*(?=/)|/(?=\*)|\?(?=\?)", lambda found: f"{found[0]} ", kept)


def identifier(text: str) -> str:
    """The part of an identifier that names `text`.

    >>> identifier("2.h"), identifier("naïve")
    ('2_h', 'na_ve')
    """
    return re.sub(r"[^A-Za-z0-9_]", "_", text)


def file_identifier(path: str | PathLike[str]) -> str:
    """The identifier that names what a file of any name holds; it begins with a letter.

    >>> [
    ...     file_identifier(name)
    ...     for name in ("gate.h", "2 nets.h", "naïve-é.h", "日本.h", "int.h", "__.h")
    ... ]
    ['gate', 'model_2_nets', 'naive_e', 'u65e5u672c', 'int', 'model']
    """
    letters = unicodedata.normalize("NFKD", Path(path).stem)
    spelt = "".join(
        sign if sign.isascii() else f"u{ord(sign):x}" if sign.isalnum() else "" for sign in letters
    )
    words = "_".join(re.findall(r"[A-Za-z0-9]+", spelt))
    return words if words[:1].isalpha() else f"model_{words}" if words else "model"


def plus(array: str, start: int) -> str:
    """An array from its element `start` on.

    >>> plus("u", 8), plus("u", 0)
    ('u + 8', 'u')
    """
    return f"{array} + {start}" if start else array


def at(array: str) -> str:
    """Element j of an array, or of what `plus` gives.

    >>> at("u"), at("u + 8")
    ('u[j]', 'u[8 + j]')
    """
    name, _, start = array.partition(" + ")
    return f"{name}[{start} + j]" if start else f"{name}[j]"


def bare(text: str) -> str:
    """An expression without the brackets around the whole of it.

    >>> bare("(a + b)"), bare("(a + b) * (c)")
    ('a + b', '(a + b) * (c)')
    """
    depth = 0
    for place, sign in enumerate(text):
        depth += (sign == "(") - (sign == ")")
        if depth == 0:
            return text[1:-1] if place == len(text) - 1 and text[0] == "(" else text
    return text


def distinct(names: Iterable[str]) -> dict[str, str]:
    """An identifier's part for each name, no two the same.

    >>> distinct(["h", "é", "è"])
    {'h': 'h', 'é': '_', 'è': '__2'}
    """
    found: dict[str, str] = {}
    for count, name in enumerate(names):
        text = identifier(name)
        while text in found.values():
            text = f"{text}_{count}"
        found[name] = text
    return found


def wrapped(words: Iterable[str]) -> Iterator[str]:
    """Words joined by commas to lines of at most about `LINE` columns."""
    line: list[str] = []
    columns = 4
    for word in words:
        if line and columns + len(word) + 2 > LINE:
            yield f"    {', '.join(line)},"
            line, columns = [], 4
        line.append(word)
        columns += len(word) + 2
    yield f"    {', '.join(line)}"


class Collection:
    """The arrays of a header, its state's fields, and the functions that it needs.

    Args:
        name: what every name of the header begins with.
        upright: matrices, by identity, that only an embedding reads, a row a token; the others are
            kept transposed.
    """

    def __init__(self, name: str, upright: frozenset[int] = frozenset()) -> None:
        self.name, self.upright = name, upright
        self.used: set[str] = set()
        self.arrays: list[str] = []
        self._known: dict[tuple[int, str], str] = {}
        self._names: set[str] = set()

    def call(self, function: str) -> str:
        """The name of a function of the header, which will then be in it."""
        self.used.add(function)
        return f"{self.name}_{function}"

    def operation(self, op: str, args: Iterable[str]) -> str:
        """An operation of a program on C expressions."""
        text = OPERATIONS.get(op, f"@_{op}({{0}})")
        if "@" in text:
            self.call(op)
        return text.replace("@", self.name).format(*(args if text[0] == "(" else map(bare, args)))

    def fill(
        self,
        target: str,
        place: str,
        matrix: Matrix,
        bias: str | None,
        source: str,
        rows: slice | None = None,
    ) -> list[str]:
        """Statements for target = matrix[rows] source + bias; the bias is an array's name."""
        start, end, _ = (rows or slice(None)).indices(matrix.shape[0])
        loop = f"for (int j = 0; j < {end - start}; ++j) {target}[j] ="
        weights, scales = plus(self.matrix(place, matrix), start), self.scales(place, matrix)
        add = self.call(f"add_{matrix.precision}")
        first = at(bias) if bias and scales is None else "0.0f"
        lines = [
            f"{loop} {first};",
            (
                f"{add}({target}, {end - start}, {weights}, {matrix.shape[0]}, {source},"
                f" {matrix.shape[1]});"
            ),
        ]
        if scales is not None:
            lines.append(
                f"{loop} {target}[j] * {at(plus(scales, start))}{f' + {at(bias)}' if bias else ''};"
            )
        return lines

    def read(self, matrix: Matrix, weight: str) -> str:
        """An expression for a weight; of int8 still to be scaled."""
        if matrix.precision == "bfloat16":
            self.call("wide")
        return READ[matrix.precision].format(weight).replace("@", self.name)

    def vector(self, place: str, vector: Array) -> str:
        """The name of a vector's array, written when first asked for.

        Raises:
            ArgumentError: a weight is not finite.
        """
        return self._array(place, vector, "float", f"({vector.size},)", "vector")

    def matrix(self, place: str, matrix: Matrix) -> str:
        """The name of a matrix's array, written when first asked for; of int8, without its scales.

        Raises:
            ArgumentError: a weight is not finite.
        """
        if (id(matrix), "matrix") not in self._known:
            check_finite(place, matrix.dense())
        upright = id(matrix) in self.upright
        shape = "({}, {})".format(*(matrix.shape if upright else matrix.shape[::-1]))
        kept = f"{matrix.precision} {shape}{'' if upright else ', a row for each input'}"
        return self._array(
            place,
            matrix.values if upright else matrix.values.T,
            KEPT[matrix.precision],
            kept,
            "matrix",
            matrix,
        )

    def scales(self, place: str, matrix: Matrix) -> str | None:
        """The name of the array of an int8 matrix's scales; None of another's."""
        return (
            None
            if matrix.scales is None
            else self._array(
                f"{place}_scales", matrix.scales, "float", "one for each output", "scales"
            )
        )

    def _array(
        self, place: str, values: Array, kept: str, said: str, kind: str, owner: Any = None
    ) -> str:
        key = (id(values if owner is None else owner), kind)
        if key not in self._known:
            self._known[key] = self.unique(f"{self.name}_{identifier(place)}")
            if values.dtype.kind == "f":
                check_finite(place, values)
                words = [
                    pointed(word)
                    for word in ("%.9g " * values.size % tuple(values.ravel().tolist())).split()
                ]
            else:
                words = list(map(str, values.ravel().tolist()))
            head = (
                f"/* {comment(place)}: {said} */\nstatic const {kept}"
                f" {self._known[key]}[{values.size}] = {{"
            )
            self.arrays.append("\n".join([head, *wrapped(words), "};"]))
        return self._known[key]

    def unique(self, wanted: str) -> str:
        """A name like the one wanted that nothing has yet."""
        name, count = wanted, 1
        while name in self._names:
            count += 1
            name = f"{wanted}_{count}"
        self._names.add(name)
        return name


def check_finite(name: str, values: Array) -> None:
    """Raise unless all weights are finite."""
    if not np.isfinite(values).all():
        raise ArgumentError(
            f"{name} must be finite to be written in C, got"
            f" {values[~np.isfinite(values)].ravel()[0]}"
        )
