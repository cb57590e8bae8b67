"""A network as a program of torch.export: one step, or a sequence of any length."""

from __future__ import annotations

import json
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch.export import Dim, ExportedProgram, export, save

from recurra.durable import write_durably
from recurra.errors import ArgumentError, RunError, choice_text
from recurra.export.signature import KINDS, initial_states, record
from recurra.export.torch_steps import Steps
from recurra.network import Network

FORMAT = "recurra-pt2-1"
STEPS, ROWS = 4, 3
"""That the graph is traced with; it takes any number."""


def to_pt2(
    network: Network, path: str | PathLike[str] | None = None, *, kind: str = "step"
) -> ExportedProgram:
    """Make the torch.export program of a network, of PyTorch's own operations, in which the state
    goes in and comes out.

        "step"        x (batch, I), state (batch, H), ...
                      -> y (batch, O), state (batch, H), ...
        "sequence"    x (time, batch, I), state (batch, H), ...
                      -> y (time, batch, O), state (batch, H), ...

    Batch and time may be of any size; a network that reads tokens takes x of int64 without the last
    axis. The states go in and come out in the order of `initial_states`, which gives those to begin
    with. Every cell is printed from its program; a sequence is PyTorch's `scan` of it, never
    unrolled. Quantised matrices are kept as they are, and turned into float32 where they are used.
    The file is loaded by torch.export.load, without recurra; AOTInductor compiles that of a step.

    The file holds under "recurra" a JSON record: the states with their names, widths and first
    values, the vocabulary, the facts.

    Args:
        network: the network.
        path: where the program is written too, if anywhere; by custom it ends in ".pt2".
        kind: "step" or "sequence".

    Returns:
        The program; `.module()` of it is called with x and the states.

    Raises:
        ArgumentError: `kind` is neither.
        ConversionError: two states would have one name.
        RunError: the file cannot be written.
        MissingDependency: a sequence, and this PyTorch has no `scan`.

    >>> import numpy as np
    >>> from recurra.network import Linear, Matrix
    >>> program = to_pt2(Network((Linear(Matrix(np.ones((2, 3), np.float32))),)))
    >>> program.module()(torch.ones(1, 3))
    (tensor([[3., 3.]]),)
    """
    if kind not in KINDS:
        raise ArgumentError(choice_text("kind", kind, KINDS))
    facts = json.dumps(record(network, kind, format=FORMAT, torch=torch.__version__))
    program = _program(network, kind == "sequence")
    if path is not None:
        data = BytesIO()
        save(program, data, extra_files={"recurra": facts})
        try:
            write_durably(Path(path), lambda beside: beside.write_bytes(data.getvalue()))
        except OSError as error:
            raise RunError(
                f"path must be a file that can be written, got {str(path)!r} ({error})"
            ) from None
    return program


def _program(network: Network, sequence: bool) -> ExportedProgram:
    """The program, for any batch and time."""
    batch = Dim("batch", min=1)
    sizes: dict[str, Any] = {"x": {0: Dim("time", min=1), 1: batch} if sequence else {0: batch}}
    states = [torch.from_numpy(first) for first in initial_states(network, ROWS).values()]
    if states:
        sizes["states"] = tuple({0: batch} for _ in states)
    shape = (STEPS, ROWS) if sequence else (ROWS,)
    x = (
        torch.zeros(shape, dtype=torch.int64)
        if network.reads_tokens
        else torch.zeros(*shape, network.input_size, dtype=torch.float32)
    )
    with torch.no_grad():
        return export(Steps(network, sequence).eval(), (x, *states), dynamic_shapes=sizes)
