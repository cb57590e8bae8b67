"""Networks in `.rcr` files: what is read runs as the loop says, and says nothing that steers a
terminal, a page or a compiler.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
import zlib
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

import recurra
from recurra.cli import info_command
from recurra.errors import DataError, RecurraError
from recurra.export import to_c
from recurra.network import Loop, Network
from recurra.network import file as network_file
from recurra.runtime import Model
from tests.fuzz.container import Container, forged, parse, signed
from tests.fuzz.shown import check_c, check_html, check_terminal
from tests.fuzz.target import CORPUS
from tests.network.nets import adaptive, every_kind, matrix, recurrent

READERS = (
    "network/file.py",
    "network/record.py",
    "network/limits.py",
    "network/matrix.py",
    "network/network.py",
    "network/layers.py",
    "network/recurrent.py",
    "program/serial.py",
    "program/check.py",
    "program/limits.py",
    "regular_file.py",
    "names.py",
)
LARGEST = 20_000
"""Numbers of a network that is written as C too."""


@cache
def seeds() -> tuple[tuple[Container, Any], ...]:
    """Good files of every kind of layer and several cells, and those that are kept."""
    from recurra.network import Embedding

    cells: tuple[Any, ...] = (
        recurra.cells.GRU(),
        recurra.cells.ProjectedLSTM(2),
        recurra.cells.LayerNormLSTM(),
        recurra.cells.ResetBeforeGRU(),
        recurra.cells.MinGRU(),
        recurra.cells.PeepholeLSTM(),
        recurra.cells.Elman("relu"),
    )
    nets = [every_kind(4), every_kind(4).quantised("int8"), every_kind(3).quantised("bfloat16")]
    nets += [Network((recurrent(cell, 3, 4),)) for cell in cells]
    nets.append(
        Network((Embedding(matrix(8, 4)), recurrent(recurra.cells.LSTM(), 4, 4), adaptive(4)))
    )
    files = [path.read_bytes() for path in sorted((CORPUS / "rcr").glob("good-*.rcr"))]
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder) / "seed.rcr"
        for network in nets:
            network_file.write(network, path)
            files.append(path.read_bytes())
    return tuple(
        (container, json.loads(container.metadata["recurra"])) for container in map(parse, files)
    )


def forge(draws: Random) -> bytes:
    """A file of which something is changed."""
    container, record = draws.choice(seeds())
    return forged(container, record, signed, draws)


def read(data: bytes, folder: Path) -> None:
    """Read a file as the runtime does, run it by session and by loop, and print it in every
    form.
    """
    path = folder / "forged.rcr"
    path.write_bytes(data)
    try:
        network = network_file.read(path)
    except RecurraError as error:
        assert isinstance(error, DataError), (
            f"read promises a DataError, and raised {type(error).__name__}"
        )
        raise
    run(network)
    show(network, path, zlib.crc32(data) % 40 == 0)


def run(network: Network) -> None:
    """A session's numbers must be the loop's: a chunk, and the same steps one by one."""
    draws = np.random.default_rng(0)
    if network.reads_tokens:
        x: Any = draws.integers(0, network.input_size, (3, 2))
    else:
        x = draws.standard_normal((3, 2, network.input_size)).astype(np.float32)
    try:
        model = Model(network)
        y = model.session(2).push(x)
    except RecurraError:  # more than the native module takes, or an overflow
        return
    steps = model.session(2)
    with np.errstate(all="ignore"):
        exact, single = Loop(network, 2).run(x), Loop(network, 2, "float32").run(x)
    assert y.shape == exact.shape, f"the session gives {y.shape}, the loop {exact.shape}"
    assert np.array_equal(y, np.stack([steps.push(step) for step in x]), equal_nan=True), (
        "chunk and steps must be equal"
    )
    size = float(np.abs(exact).max()) if np.isfinite(exact).all() else np.inf
    if size < 1e3:
        allowed = 2 * float(np.abs(single - exact).max()) + 16 * float(
            np.finfo(np.float32).eps
        ) * max(1.0, size)
        error = float(np.abs(y - exact).max())
        assert error <= max(allowed, _slack(network)), (
            f"session and loop differ by {error:.2e}, more than {allowed:.2e}"
        )


def _slack(network: Network) -> float:
    """What rounding x to int8 may cost besides; the bound is of float32 paths."""
    return 0.0 if network.precision == "float32" else 0.05


def show(network: Network, path: Path, compiled: bool) -> None:
    """All that people see of a file: the table, JSON, a notebook's page, a C header."""
    for as_json in (False, True):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            info_command.run(argparse.Namespace(run_folder=str(path), json=as_json))
        check_terminal(out.getvalue())
    check_html(network._repr_html_())
    check_terminal(repr(network))
    if sum(matrix.values.size for matrix in network.matrices()) <= LARGEST:
        try:
            header = to_c(network)
        except RecurraError:
            return
        check_c(header, path.parent if compiled else None)
