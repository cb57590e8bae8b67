"""Checkpoints of runs, and their records: going on from one ends, or says in a line of its own why
not.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import torch

from recurra.errors import RecurraError
from recurra.models import LanguageModel
from recurra.train import Corpus, Recipe, fit, from_text, resume
from tests.fuzz.container import Container, Entry, crc, forged, parse

READERS = (
    "train/checkpoint.py",
    "train/checkpoint_record.py",
    "train/resuming.py",
    "train/generators.py",
    "train/schedule.py",
    "checksum.py",
)
COUNT = 80
TEXT = "the cat sat on the mat and the rat sat on the cat; " * 5


def sign(record: Any, entries: Mapping[str, Entry]) -> dict[str, str]:
    """Metadata as `recurra.train.checkpoint.write` makes them."""
    text = json.dumps(record)
    return {"recurra_checkpoint": "1", "record": text, "crc32": str(crc(text, entries, "torch."))}


@cache
def corpus() -> Corpus:
    """A text in memory, so that no file has to be found again."""
    return from_text(TEXT, validation=0.2)


@cache
def seeds(root: Path) -> tuple[tuple[Path, Container, Any], ...]:
    """Runs of several optimisers and kinds of state that have three steps to go, with the parts of
    their checkpoints.
    """
    from tests.fuzz.run_files import Ending

    made, data = [], corpus()
    recipes = (
        Recipe(epochs=1, window=20, batch=4),
        Recipe(epochs=1, window=20, batch=4, optimizer="asgd", average_after=1, lr=0.1),
        Recipe(epochs=2, window=20, batch=4, optimizer="sgd", schedule="plateau", vary_window=True),
    )
    with torch.random.fork_rng(devices=[]):
        for number, recipe in enumerate(recipes):
            torch.manual_seed(0)
            zoneout = (0.1, 0.0) if number else (0.0, 0.0)
            model = LanguageModel(
                len(data.vocabulary),
                embed=3,
                hidden=4,
                layers=1,
                vocabulary=data.vocabulary,
                zoneout=zoneout,
            )
            run = root / f"seed{number}"
            shutil.rmtree(run, ignore_errors=True)
            fit(model.to(torch.float32), data, recipe, run, show=False, callbacks=[Ending(2)])
            newest = max((run / "last").glob("*.safetensors"))
            container = parse(newest.read_bytes())
            record = json.loads(container.metadata["record"]) | {"ended": False, "epoch": 1}
            made.append((run, container, record))
    return tuple(made)


@cache
def room() -> Path:
    """A folder for the seeds, for as long as the process lives."""
    import tempfile

    folder = tempfile.TemporaryDirectory(prefix="fuzz-seeds-")
    _ROOMS.append(folder)
    return Path(folder.name)


_ROOMS: list[Any] = []


def forge(draws: Random) -> bytes:
    """A byte that says the run, then its checkpoint of which something is changed."""
    number = draws.randrange(3)
    _, container, record = seeds(room())[number]
    return bytes([number]) + forged(container, record, sign, draws)


def read(data: bytes, folder: Path) -> None:
    """Go on from the checkpoint for two steps, in a copy of its run."""
    from tests.fuzz.run_files import Ending

    seed, run = seeds(room())[(data[0] if data else 0) % 3][0], folder / "run"
    shutil.rmtree(run, ignore_errors=True)
    (run / "last").mkdir(parents=True)
    for name in ("config.toml", "history.jsonl", "model.safetensors"):
        if (seed / name).exists():
            shutil.copyfile(seed / name, run / name)
    (run / "last" / "0000000002.safetensors").write_bytes(data[1:])
    with contextlib.redirect_stderr(io.StringIO()):
        try:
            resume(run, corpus(), show=False, callbacks=[Ending(2)])
        except RecurraError:
            raise
