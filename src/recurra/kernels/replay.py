"""A program over a sequence in PyTorch's own operations, one step after another: what can be
differentiated again.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from recurra.kernels.encode import Encoded
from recurra.kernels.launch import Arrays
from recurra.kernels.tensors import TensorCell, Tensors
from recurra.network.equations import cell_step, project


class Replay(NamedTuple):
    """What a scan gives back: h, the final state, every step's states, held past a row's length."""

    h: Tensor
    final: list[Tensor]
    states: list[Tensor]


def replay(code: Encoded, arrays: Arrays) -> Replay:
    """Run an encoded program step by step, recording gradients of any order.

    >>> from recurra.cells import Elman
    >>> from recurra.kernels.encode import encode
    >>> from recurra.program import trace
    >>> code = encode(trace(Elman("relu")), 1, (1,), 1)
    >>> one = torch.ones(1, 1)
    >>> replay(code, Arrays(torch.ones(3, 1, 1), [0 * one], [], [one, None, one, None])).h.flatten()
    tensor([1., 2., 3.])
    """
    steps = len(arrays.x)
    valid = (
        None
        if arrays.lengths is None
        else torch.arange(steps, device=arrays.x.device)[:, None] < arrays.lengths
    )
    x = (
        arrays.x
        if valid is None
        else torch.where(valid[..., None], arrays.x, torch.zeros_like(arrays.x))
    )
    b, cell = Tensors(x), _cell(code, arrays)
    u = project(b, cell, x)
    state, outputs, states = list(arrays.state), [], []
    for t in reversed(range(steps)) if arrays.reverse else range(steps):
        reset = None if arrays.resets is None else arrays.resets[t][:, None]
        reset = reset if reset is None or valid is None else reset & valid[t][:, None]
        if reset is not None and not arrays.reverse:
            state = [
                torch.where(reset, first, value) for first, value in zip(arrays.initial, state)
            ]
        drawn = {
            name: noise if noise.ndim == 2 else noise[t]
            for name, noise in zip(code.noises, arrays.noise)
        }
        before = dict(zip(code.program.state, state))
        new = list(cell_step(b, cell, u[t], before, drawn).values())
        if valid is not None:
            now = valid[t][:, None]
            outputs.append(torch.where(now, new[0], torch.zeros_like(new[0])))
            new = [torch.where(now, value, old) for value, old in zip(new, state)]
        else:
            outputs.append(new[0])
        states.append(new)
        state = new
        if reset is not None and arrays.reverse:
            state = [
                torch.where(reset, first, value) for first, value in zip(arrays.initial, state)
            ]
    if arrays.reverse:
        outputs, states = outputs[::-1], states[::-1]
    return Replay(torch.stack(outputs), state, [torch.stack(values) for values in zip(*states)])


def _cell(code: Encoded, arrays: Arrays) -> TensorCell:
    """The program with the weights that were handed in."""
    given = zip(code.names, arrays.weights)
    weights = {name: weight for name, weight in given if weight is not None}
    return TensorCell(code.program, code.hidden, code.widths, dict(code.states), weights, weights)
