"""States that `Stream.save` wrote, and any state of `recurra.state.save`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import torch

import recurra
from recurra import state as states
from recurra.errors import RecurraError
from tests.fuzz.container import Container, Entry, crc, forged, parse

READERS = ("state.py", "stream.py", "checksum.py", "regular_file.py")
COUNT = 150


def sign(record: Any, entries: Mapping[str, Entry]) -> dict[str, str]:
    """Metadata as `recurra.state.save` makes them."""
    text = json.dumps(record)
    return {"recurra_state": text, "crc32": str(crc(text, entries, "torch."))}


def stacks() -> tuple[recurra.Stack, ...]:
    """Small models, of one layer and of several, with a mask in the state and without."""
    wrapped = recurra.Recurrent(
        recurra.cells.RecurrentDropout(recurra.cells.LSTM(), 0.1), 3, 4, dtype=torch.float32
    )
    lstm, gru = (
        recurra.Recurrent(cell, 3, 3, dtype=torch.float32)
        for cell in (recurra.cells.LSTM(), recurra.cells.GRU())
    )
    return recurra.Stack([lstm]), recurra.Stack([lstm, gru]), recurra.Stack([wrapped])


@cache
def models() -> tuple[recurra.Stack, ...]:
    """The same models for every file."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return stacks()


@cache
def seeds() -> tuple[tuple[Container, Any], ...]:
    """Good files: states of streams that ran, that did not, and that are to begin anew."""
    files = []
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder) / "seed.safetensors"
        for model in models():
            stream = recurra.Stream(model, batch=2)
            for steps in range(3):
                stream.save(path)
                files.append(path.read_bytes())
                stream.push(torch.ones(2, 3, dtype=torch.float32) * steps)
                stream.reset([1])
    return tuple(
        (container, json.loads(container.metadata["recurra_state"]))
        for container in map(parse, files)
    )


def forge(draws: Random) -> bytes:
    """A file of which something is changed."""
    container, record = draws.choice(seeds())
    return forged(container, record, sign, draws)


def read(data: bytes, folder: Path) -> None:
    """Load a state, then into streams that ran and that did not; who takes it goes on and gives
    numbers.
    """
    path = folder / "forged.safetensors"
    path.write_bytes(data)
    states.load(path)
    x, refused = torch.ones(2, 3, dtype=torch.float32), None
    for number, model in enumerate(models()):
        stream = recurra.Stream(model, batch=2, nan=("error", "pass", "reset")[number])
        if number == 1:
            stream.push(x)
        try:
            stream.load(path)
            stream._repr_html_()
            y = stream.push(x)
            assert y.shape == (2, model(x[None])[0].shape[-1]), "a step must have the model's shape"
        except RecurraError as error:
            refused = error
            continue
        stream.save(folder / "again.safetensors")
        states.load(folder / "again.safetensors")
        return
    assert refused is not None
    raise refused
