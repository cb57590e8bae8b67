"""A line that cannot be read is an error of its own number, and the next one is read."""

from __future__ import annotations

import io

import numpy as np
import pytest

from recurra.errors import DataError
from recurra.runtime.lines import records

ONE, MANY = b"1" * 400, b"1" * 5000
BAD = [
    ONE,
    MANY,
    b"-" + ONE,
    b'{"x": ' + ONE + b"}",
    b"[" + ONE + b"]",
    b"[" * 10**5,
    b"1e999",
    b"true",
    b"null",
    b'{"y": 1}',
    b"[[1]]",
]


@pytest.mark.parametrize("line", BAD, ids=lambda line: line[:12].decode())
@pytest.mark.parametrize("tokens", [None, 7])
def test_a_bad_line_is_passed_over(line: bytes, tokens: int | None) -> None:
    found = dict(
        records(io.BufferedReader(io.BytesIO(b"1\n" + line + b"\n2\n")), "json", 1, tokens)
    )  # type: ignore[arg-type]
    assert (
        isinstance(found[2], DataError)
        and str(found[2]).startswith("line 2 must hold ")
        and len(str(found[2])) < 300
    )
    assert [np.asarray(found[number]).tolist() for number in (1, 3)] == [[1], [2]]


def test_a_nan_that_signals_is_an_error_and_no_warning() -> None:
    raw = b"\x01\x00\xa0\x7f" + np.float32(2).tobytes()
    (_, bad), (_, good) = records(io.BytesIO(raw), "f32", 1)
    assert "step 1 must hold finite numbers, got nan" in str(bad) and good.tolist() == [2.0]
