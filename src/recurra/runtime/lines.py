"""Records in, records out, one for each step: JSON or CSV lines, or raw samples."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from recurra.check import is_number
from recurra.errors import DataError
from recurra.strict_json import dumps
from recurra.wording import count_text

Array = npt.NDArray[Any]
MOST_LINE = 1 << 24
"""Bytes of a line, in memory at once."""
RAW: dict[str, tuple[np.dtype[Any], float]] = {
    "f32": (np.dtype("<f4"), 1.0),
    "s16": (np.dtype("<i2"), 1 / 32768),
}
"""How a raw sample lies in the stream, and what it is multiplied with."""


def records(
    stream: IO[bytes], form: str, width: int, tokens: int | None = None
) -> Iterator[tuple[int, Array | DataError]]:
    """The steps of a stream, each with its number from 1, float32 (width,) or int64 (1,); a step
    that cannot be read is an error.

    Args:
        stream: bytes, buffered: a read gives all that was asked for but at the end; read no further
            than the step that is given.
        form: "json" (a list of numbers, or a record with one under "x"), "csv", "f32" or "s16"
            (little-endian; s16 over 32768).
        width: how many numbers a step has.
        tokens: where a step is a token, JSON or CSV, how many there are.
    """
    if form in RAW:
        yield from _samples(stream, form, width)
        return
    for number, line in lines(stream):
        if isinstance(line, DataError):
            yield number, line
            continue
        try:
            found = _numbers(
                line.decode("utf-8-sig" if number == 1 else "utf-8"),
                form,
                width if tokens is None else 1,
            )
            yield (
                number,
                (
                    _finite(found, f"line {number}")
                    if tokens is None
                    else _token(found, tokens, f"line {number}")
                ),
            )
        except DataError as error:
            yield number, error
        except (
            ValueError,
            KeyError,
            TypeError,
            RecursionError,
            OverflowError,
        ) as error:  # an integer may have any number of digits
            need = count_text(width, "number") if tokens is None else f"a token in 0..{tokens - 1}"
            yield (
                number,
                DataError(
                    f"line {number} must hold {need} as {form}, got {line[:60]!r}"
                    f" ({str(error)[:60]})"
                ),
            )


def lines(stream: IO[bytes]) -> Iterator[tuple[int, bytes | DataError]]:
    """Lines with their numbers from 1; one that is longer than `MOST_LINE` is passed by in pieces,
    and is an error.
    """
    number = 0
    while line := stream.readline(MOST_LINE):
        number += 1
        if len(line) < MOST_LINE or line.endswith(b"\n"):
            yield number, line
            continue
        while (rest := stream.readline(MOST_LINE)) and not rest.endswith(b"\n"):
            pass
        yield number, DataError(f"line {number} must be shorter than {MOST_LINE:,} bytes, got more")


def _numbers(line: str, form: str, width: int) -> Array:
    values = json.loads(line) if form == "json" else [float(value) for value in line.split(",")]
    values = values["x"] if isinstance(values, dict) else values
    values = values if isinstance(values, list) else [values]
    if any(isinstance(value, list) for value in values):
        raise ValueError("a list of lists")
    if len(values) != width:
        raise ValueError(f"{len(values)} of them")
    if not all(map(is_number, values)):
        raise ValueError("not all of them numbers")
    return np.array([float(value) for value in values])


def _finite(array: Array, where: str) -> Array:
    with np.errstate(over="ignore"):
        x = array.astype(np.float32)
    bad = x[~np.isfinite(x)]
    if len(bad):
        raise DataError(f"{where} must hold finite numbers, got {bad[0]} as float32")
    return x


def _token(array: Array, tokens: int, where: str) -> Array:
    if not (0 <= array[0] < tokens and array[0] == np.floor(array[0])):
        raise DataError(f"{where} must hold a token in 0..{tokens - 1}, got {array[0]:g}")
    return array.astype(np.int64)


def _samples(stream: IO[bytes], form: str, width: int) -> Iterator[tuple[int, Array | DataError]]:
    dtype, scale = RAW[form]
    size, number = dtype.itemsize * width, 0
    while chunk := stream.read(size):
        number += 1
        if len(chunk) < size:
            yield (
                number,
                DataError(
                    f"step {number} must be {count_text(size, 'byte')} of {form}, got {len(chunk)}"
                    " and the end"
                ),
            )
            return
        try:
            with np.errstate(invalid="ignore"):  # a NaN of the kind that signals
                samples = np.frombuffer(chunk, dtype) * np.float32(scale)
            yield number, _finite(samples, f"step {number}")
        except DataError as error:
            yield number, error


def written(y: Array, form: str, number: int) -> bytes:
    """One step's outputs as bytes: a line, or raw float32.

    >>> written(np.float32([0.5, 1.0]), "csv", 1), written(np.float32([0.5]), "json", 3)
    (b'0.5,1\\n', b'{"line": 3, "y": [0.5]}\\n')
    """
    if form in RAW:
        return y.astype("<f4").tobytes()
    if form == "csv":
        return (",".join(f"{value:.9g}" for value in y.tolist()) + "\n").encode()
    return (dumps({"line": number, "y": y.tolist()}) + "\n").encode()
