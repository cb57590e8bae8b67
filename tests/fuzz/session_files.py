"""States of the runtime: what `Session.save` and `Surprise.save` gave."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

import recurra
from recurra.errors import RecurraError
from recurra.network import Embedding, Linear, Network
from recurra.runtime import Model
from recurra.runtime.surprise import Surprise
from tests.fuzz.container import (
    Container,
    Entry,
    assemble,
    change_tensors,
    forged,
    parse,
    signed,
)
from tests.fuzz.mutation import bend
from tests.network.nets import matrix, numbers, recurrent

READERS = ("runtime/session.py", "runtime/surprise.py")
COUNT = 400
SHARE = 0.7
"""Of states of sessions; the others are of a text that is read."""


@cache
def models() -> tuple[Model, Model]:
    """A network of features, and a language model."""
    lstm = recurrent(recurra.cells.LSTM(), 3, 4)
    text = Network(
        (Embedding(matrix(3, 3)), lstm, Linear(matrix(3, 4), numbers(3))),
        {"level": "character", "symbols": "ab "},
    )
    return Model(Network((lstm, recurrent(recurra.cells.GRU(), 4, 3)))), Model(text)


@cache
def seeds() -> tuple[tuple[Container, Any], Container]:
    """A good state of each."""
    session = models()[0].session(2)
    session.push(np.ones((2, 3), np.float32))
    surprise = Surprise(models()[1])
    surprise.push("ab")
    container = parse(session.save())
    return (container, json.loads(container.metadata["recurra"])), parse(surprise.save())


def forge(draws: Random) -> bytes:
    """A file of which something is changed; of a text's place, the session inside or what stands
    beside it.
    """
    (container, record), place = seeds()
    if draws.random() < SHARE:
        return forged(container, record, signed, draws)
    entries = dict(place.entries)
    inner = parse(entries["session"].data)
    data = forged(inner, json.loads(inner.metadata["recurra"]), signed, draws)
    if draws.random() < 0.7:
        entries["session"] = Entry("U8", [len(data)], data)
    return (
        forged(Container({}, entries), {}, lambda *_: {}, draws)
        if draws.random() < 0.5
        else _whole(entries, draws)
    )


def _whole(entries: dict[str, Entry], draws: Random) -> bytes:
    if draws.random() < 0.5:
        change_tensors(entries, draws)
    raw = assemble(Container({}, entries))
    return bend(raw, draws) if draws.random() < 0.1 else raw


def read(data: bytes, folder: Path) -> None:
    """Load the state; who takes it goes on, with numbers that are finite."""
    try:
        surprise = Surprise(models()[1])
        surprise.load(data)
        nats, tokens = surprise.push("ba")
        assert tokens in (1, 2) and not np.isnan(nats)
        return
    except RecurraError:
        pass
    for nan in ("pass", "error"):
        session = models()[0].session(2, nan=nan)
        session.load(data)
        y = session.push(np.ones((2, 3), np.float32))
        assert y.shape == (2, 3) and (nan == "pass" or np.isfinite(y).all())
