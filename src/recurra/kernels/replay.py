"""A program over a sequence in PyTorch's own operations, one step after another: what can be
differentiated again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from recurra.cells.row_norm import group_norm, rows_of
from recurra.kernels.encode import Encoded
from recurra.kernels.launch import Arrays
from recurra.names import vectors_of
from recurra.program.evaluate import evaluate
from recurra.program.graph import Product, Program


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
    weights = {
        name: weight for name, weight in zip(code.names, arrays.weights) if weight is not None
    }
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
    u = _input(code.program, weights, x)
    state, outputs, states = list(arrays.state), [], []
    for t in reversed(range(steps)) if arrays.reverse else range(steps):
        reset = None if arrays.resets is None else arrays.resets[t][:, None]
        reset = reset if reset is None or valid is None else reset & valid[t][:, None]
        if reset is not None and not arrays.reverse:
            state = [
                torch.where(reset, first, value) for first, value in zip(arrays.initial, state)
            ]
        known = dict(zip(code.program.state, state)) | {name: weights[name] for name in code.params}
        known |= {
            name: noise if noise.ndim == 2 else noise[t]
            for name, noise in zip(code.noises, arrays.noise)
        }
        new = step(code, weights, u[t], known)
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


def step(
    code: Encoded, weights: Mapping[str, Tensor], u: Tensor, known: Mapping[str, Tensor]
) -> list[Tensor]:
    """One step; `known` holds states, params and noise by name."""
    values: dict[int, Tensor] = {}
    program = code.program
    blocks = dict(zip(program.gates, u.chunk(len(program.gates), -1)))
    for number, node in enumerate(program.nodes):
        if node.op in ("state", "noise", "param"):
            values[number] = known[node.name]
        elif node.op == "u":
            values[number] = blocks[node.name]
        elif node.op == "const":
            values[number] = torch.tensor(node.value, dtype=u.dtype, device=u.device)
    for phase, body in enumerate(program.bodies):
        evaluate(program.nodes, body.operand_nodes, values, u)
        if body.product is not None:
            operand = values[body.product.operand].expand(len(u), code.widths[body.product.reads])
            v = _product(body.product, weights, operand)
            parts = dict(zip(body.product.gates, v.chunk(len(body.product.gates), -1)))
            for number, node in enumerate(program.nodes):
                if node.op in ("a", "v") and node.phase == phase:
                    values[number] = (
                        parts[node.name] + blocks[node.name] if node.op == "a" else parts[node.name]
                    )
        evaluate(program.nodes, body.nodes, values, u)
    return [
        values[number].expand(len(u), width)
        for number, (_, width) in zip(program.state.values(), code.states)
    ]


def _input(program: Program, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """u for all steps at once."""
    weight, bias = weights["weight_ih"], weights.get("bias_ih")
    if not program.input_norm:
        return F.linear(x, weight, bias)
    return _norm(F.linear(x, weight), program.input_norm, weights["gain_ih"], bias)


def _product(product: Product, weights: Mapping[str, Tensor], operand: Tensor) -> Tensor:
    """The blocks of v of one phase."""
    weight, bias, gain = (weights.get(name or "") for name in vectors_of(product))
    if weight is not None:
        unit = weight.shape[0] // product.total
        rows = slice(product.first * unit, (product.first + len(product.gates)) * unit)
        bias, gain = rows_of(bias, rows), rows_of(gain, rows)
        operand = F.linear(operand, weight[rows], None if product.norm else bias)
    return _norm(operand, product.norm, gain, bias) if product.norm else operand


def _norm(v: Tensor, groups: Sequence[int], gain: Tensor | None, bias: Tensor | None) -> Tensor:
    """Normalise each group of blocks over its whole row, then scale and shift."""
    unit, start, parts = v.shape[-1] // sum(groups), 0, []
    for blocks in groups:
        rows = slice(start, start + blocks * unit)
        parts.append(group_norm(v[..., rows], rows_of(gain, rows), rows_of(bias, rows)))
        start = rows.stop
    return torch.cat(parts, -1)
