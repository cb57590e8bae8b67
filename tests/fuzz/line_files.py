"""Lines and samples that `recurra stream` is given: each is numbers, or an error that names it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from random import Random

import numpy as np

from recurra.errors import DataError
from recurra.runtime.lines import records, written
from tests.fuzz.mutation import VALUES, bend, change

READERS = ("runtime/lines.py",)
COUNT = 1000
FORMS = ("json", "csv", "f32", "s16")
WIDTH = 3


def forge(draws: Random) -> bytes:
    """A byte that says the form, then lines or samples of which some are changed."""
    kind = draws.randrange(8)
    form = FORMS[kind % 4]
    if form in ("f32", "s16"):
        raw = np.array(
            [draws.choice((0, 1, -1, 0.5, 3e38, float("nan"))) for _ in range(12)], "<f4"
        ).tobytes()
        return bytes([kind]) + (bend(raw, draws) if draws.random() < 0.5 else raw)
    lines = []
    for _ in range(draws.randrange(1, 6)):
        values = [draws.choice((0, 1, 2, 0.5, -1e3, 4)) for _ in range(1 if kind >= 4 else WIDTH)]
        if form == "json":
            lines.append(
                json.dumps(
                    change(draws.choice((values, {"x": values})), draws)
                    if draws.random() < 0.5
                    else values
                )
            )
        else:
            said = [draws.choice(VALUES) if draws.random() < 0.1 else value for value in values]
            lines.append(
                ",".join(
                    (
                        str(value)[:4000]
                        if not isinstance(value, int) or abs(value) < 1 << 80
                        else "9" * 5000
                    )
                    for value in said
                )
            )
    raw = (
        draws.choice(("\n", "\n", "\r\n", "\r", "\0")).join(lines).encode("utf-8", "surrogatepass")
    )
    return bytes([kind]) + (bend(raw, draws) if draws.random() < 0.3 else raw)


def read(data: bytes, folder: Path) -> None:
    """Read every line; what is read can be written. Refused where no line could be."""
    kind = data[0] % 8 if data else 0
    form, tokens = FORMS[kind % 4], 5 if kind >= 4 and kind % 4 < 2 else None
    good, last = 0, None
    for number, (line, x) in enumerate(records(io.BytesIO(data[1:]), form, WIDTH, tokens), 1):
        assert line == number, "lines must be counted"
        if isinstance(x, DataError):
            last = x
            assert "\n" not in str(x), "a message must be one line"
            continue
        good += 1
        assert x.shape == ((1,) if tokens else (WIDTH,)) and np.isfinite(x).all()
        written(x, form, number)
    if last is not None and not good:
        raise last
