"""Trained models, `model.safetensors`: what is loaded runs, by steps as in one go, and by its
network as by itself.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
import zlib
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

from recurra import Stream, cells, models
from recurra.cli import info_command
from recurra.errors import RecurraError
from recurra.export import network_of
from recurra.models import LanguageModel
from recurra.network import Loop
from recurra.vocabulary import Characters, Words
from tests.fuzz.container import Container, forged, parse, signed
from tests.fuzz.shown import check_terminal

READERS = (
    "models/files.py",
    "models/claims.py",
    "models/cell_record.py",
    "models/ties.py",
    "checksum.py",
    "regular_file.py",
    "vocabulary/levels.py",
    "vocabulary/characters.py",
    "vocabulary/words.py",
    "program/serial.py",
)
COUNT = 150


sign = partial(signed, prefix="torch.")


@cache
def seeds() -> tuple[tuple[Container, Any], ...]:
    """Good files: of each kind of cell record, softmax, vocabulary and dropout."""
    small: dict[str, Any] = dict(embed=3, hidden=4, layers=1)
    with torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        torch.manual_seed(0)
        made = [
            LanguageModel(5, **small, vocabulary=Characters("ab\n *")),
            LanguageModel(4, **small, cell=cells.Zoneout(cells.GRU(), h=0.1)),
            LanguageModel(
                5, embed=4, hidden=4, layers=2, cell="gru", locked=True, output_dropout=0.1
            ),
            LanguageModel(
                4, **small, tied=False, vocabulary=Words(("<unk>", "<eos>", "the", "cat"))
            ),
            LanguageModel(9, **small, tied=False, adaptive=(3, 5), div_value=2.0),
            LanguageModel(4, **small, cell=cells.Elman("relu")),
        ]
        path, files = Path(folder) / "seed.safetensors", []
        for model in made:
            models.save(model.to(torch.float32), path)
            files.append(path.read_bytes())
    return tuple(
        (container, json.loads(container.metadata["recurra"])) for container in map(parse, files)
    )


def forge(draws: Random) -> bytes:
    """A file of which something is changed."""
    container, record = draws.choice(seeds())
    return forged(container, record, sign, draws)


def read(data: bytes, folder: Path) -> None:
    """Load a file, print what it holds, and run the model."""
    path = folder / "forged.safetensors"
    path.write_bytes(data)
    try:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            info_command.run(argparse.Namespace(run_folder=str(path), json=False))
        check_terminal(out.getvalue())
    except RecurraError:
        pass
    model = models.load(path)
    run(model, zlib.crc32(data) % 4 == 0)


def run(model: LanguageModel, exported: bool) -> None:
    """Steps must give what a chunk gives; the exported network, what the model gives.

    Args:
        model: any that was loaded.
        exported: whether to look at the network too.
    """
    repr(model)
    tokens = torch.tensor([[0, 1], [1, 0], [0, 0]]) % model.vocab_size
    with torch.no_grad():
        whole = model(tokens)[0]
    if (
        not whole.isfinite().all()
        or whole.abs().max() > 1e3
        or whole.dtype not in (torch.float32, torch.float64)
    ):
        return
    try:
        stream = Stream(model, 2)
    except RecurraError:
        return
    steps = torch.stack([stream.push(step) for step in tokens])
    close = 1e-3 * max(1.0, float(whole.abs().max()))
    assert torch.allclose(steps, whole, atol=close), "steps and chunk must agree"
    if exported and whole.dtype == torch.float32:
        try:
            network = network_of(model)
        except RecurraError:
            return
        given = Loop(network, 2).run(tokens.numpy())
        assert np.allclose(given, whole.numpy(), atol=close), (
            "the network must give what the model gives"
        )
