"""Records in, records out, one for each step: JSON or CSV lines, or raw samples."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from recurra.errors import DataError

Array = npt.NDArray[Any]
FORMATS = ("text", "json", "csv", "f32", "s16")
RAW: dict[str, tuple[np.dtype[Any], float]] = {"f32": (np.dtype("<f4"), 1.0), "s16": (np.dtype("<i2"), 1 / 32768)}
"""How a raw sample lies in the stream, and what it is multiplied with."""


def records(stream: IO[bytes], form: str, width: int) -> Iterator[tuple[int, Array | DataError]]:
    """The steps of a stream, each with its number from 1; a step that cannot be read is an error.

    Args:
        stream: bytes; read no further than the step that is given.
        form: "json" (a list of numbers, or a record with one under "x"), "csv", "f32" or "s16" (little-endian).
        width: how many numbers a step has.
    """
    if form in RAW:
        yield from _samples(stream, form, width)
        return
    for number, line in enumerate(stream, 1):
        try:
            yield number, _numbers(line.decode(), form, width)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            yield number, DataError(f"line {number} must hold {width} numbers as {form}, got {line[:60]!r} ({error})")


def _numbers(line: str, form: str, width: int) -> Array:
    values = json.loads(line) if form == "json" else [float(value) for value in line.split(",")]
    array = np.asarray(values["x"] if isinstance(values, dict) else values)
    if array.shape != (width,) or array.dtype.kind not in "iuf":
        raise ValueError(f"{len(np.atleast_1d(array))} of them" if array.ndim <= 1 else "a list of lists")
    return array.astype(np.float32)


def _samples(stream: IO[bytes], form: str, width: int) -> Iterator[tuple[int, Array | DataError]]:
    dtype, scale = RAW[form]
    size, number = dtype.itemsize * width, 0
    while chunk := stream.read(size):
        number += 1
        while len(chunk) < size and (more := stream.read(size - len(chunk))):
            chunk += more
        if len(chunk) < size:
            yield number, DataError(f"step {number} must be {size} bytes of {form}, got {len(chunk)} and the end")
            return
        yield number, np.frombuffer(chunk, dtype).astype(np.float32) * np.float32(scale)


def written(y: Array, form: str, number: int) -> bytes:
    """One step's outputs as bytes: a line, or raw float32.

    >>> written(np.float32([0.5, 1.0]), "csv", 1), written(np.float32([0.5]), "json", 3)
    (b'0.5,1\\n', b'{"line": 3, "y": [0.5]}\\n')
    """
    if form in RAW:
        return y.astype("<f4").tobytes()
    if form == "csv":
        return (",".join(f"{value:.9g}" for value in y.tolist()) + "\n").encode()
    return (json.dumps({"line": number, "y": y.tolist()}) + "\n").encode()
