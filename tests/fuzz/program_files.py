"""Programs as JSON, which `.rcr` files and models' files hold: what is read prints, is written
again, and runs as the loop says.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from recurra import cells
from recurra.errors import ProgramError, RecurraError
from recurra.network import Matrix, Network, Recurrent
from recurra.program import from_json, show, to_json, trace
from recurra.program.evaluation import forward_only
from recurra.program.weights import weights_of
from tests.cells.zoo import CoupledLSTM, TwoPhase
from tests.fuzz.mutation import bend, change
from tests.fuzz.rcr_files import run
from tests.fuzz.shown import check_terminal

READERS = (
    "program/serial.py",
    "program/check.py",
    "program/limits.py",
    "program/graph.py",
    "program/listing.py",
    "program/show.py",
    "names.py",
)
COUNT = 150


@cache
def seeds() -> tuple[Any, ...]:
    """Programs of cells of every shape: one phase and more, norms, projections, random factors,
    parameters, a person's own.
    """
    made = (
        cells.LSTM(),
        cells.GRU(),
        cells.ResetBeforeGRU(),
        cells.LayerNormLSTM(),
        cells.ProjectedLSTM(2),
        cells.PeepholeLSTM(),
        cells.MinGRU(),
        cells.Elman("relu"),
        CoupledLSTM(),
        TwoPhase(),
    )
    return (
        *(json.loads(to_json(trace(cell))) for cell in made),
        json.loads(to_json(trace(cells.Zoneout(cells.GRU(), h=0.1), ["zoneout_h"]))),
    )


def forge(draws: Random) -> bytes:
    """The JSON of a program of which something is changed."""
    text = json.dumps(change(draws.choice(seeds()), draws)).encode()
    return bend(text, draws) if draws.random() < 0.1 else text


def read(data: bytes, folder: Path) -> None:
    """Read a program, print it, and run it in a layer with weights drawn at random."""
    try:
        program = from_json(data.decode("utf-8", "replace"))
    except RecurraError as error:
        assert isinstance(error, ProgramError), (
            f"from_json promises a ProgramError, and raised {type(error).__name__}"
        )
        raise
    assert from_json(to_json(program)) == program
    check_terminal(show(program))
    if program.noise:
        return
    draws = np.random.default_rng(0)
    program = forward_only(program)
    uses = weights_of(program).items()
    units = {symbol: 4 for _, use in uses for symbol in ("hidden", use.rows[1], use.columns or "")}
    arrays = {
        name: draws.standard_normal(use.shape(units, 3)).astype(np.float32) for name, use in uses
    }
    matrices = {name: Matrix(array) for name, array in arrays.items() if array.ndim == 2}
    try:
        layer = Recurrent(
            program, matrices, {name: array for name, array in arrays.items() if array.ndim == 1}
        )
    except RecurraError:
        return
    run(Network((layer,)))
