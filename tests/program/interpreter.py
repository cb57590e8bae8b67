"""A program run on tensors, step and derivative, phase by phase: products and norms by hand, the
rest by `evaluate`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from recurra.program import Product, Program, evaluate


class Step(NamedTuple):
    """What one step found, and every node's value for the derivative."""

    state: dict[str, Tensor]
    gates: dict[str, Tensor]
    values: dict[int, Tensor]
    products: dict[int, tuple[Tensor, Tensor]]


def forward(
    program: Program, weights: dict[str, Tensor], u: dict[str, Tensor], known: dict[str, Tensor]
) -> Step:
    """Run the step: `u` by gate; `known` holds states, noise and params by name."""
    like = next(iter(known.values()))
    values: dict[int, Tensor] = {}
    products: dict[int, tuple[Tensor, Tensor]] = {}
    for number, node in enumerate(program.nodes):
        if node.op in ("state", "noise", "param"):
            values[number] = known[node.name]
        elif node.op == "u":
            values[number] = u[node.name]
        elif node.op == "const":
            values[number] = torch.tensor(node.value, dtype=like.dtype)
    for phase, body in enumerate(program.bodies):
        evaluate(program.nodes, body.operand_nodes, values, like)
        if body.product is not None:
            operand = values[body.product.operand].detach().requires_grad_()
            v = product(body.product, weights, operand)
            products[phase] = operand, v
            blocks = dict(zip(body.product.gates, v.detach().chunk(len(body.product.gates), -1)))
            for number, node in enumerate(program.nodes):
                if node.op == "v" and node.phase == phase:
                    values[number] = blocks[node.name]
        evaluate(program.nodes, body.nodes, values, like)
    state, gates = (
        {name: values[number] for name, number in group.items()}
        for group in (program.state, program.gates)
    )
    return Step(state, gates, values, products)


def product(said: Product, weights: dict[str, Tensor], operand: Tensor) -> Tensor:
    """The recurrent product of a phase, as its `Product` says."""
    v, gain, bias = operand, weights.get(said.gain or ""), weights.get(said.bias)
    if said.weight:
        unit = weights[said.weight].shape[0] // said.total
        rows = slice(said.first * unit, (said.first + len(said.gates)) * unit)
        gain, bias = (None if vector is None else vector[rows] for vector in (gain, bias))
        v = v @ weights[said.weight][rows].T
        if bias is not None and not said.norm and said.weight == "weight_hh":
            v = v + bias
    if not said.norm:
        return v
    unit, parts, start = v.shape[-1] // sum(said.norm), [], 0
    for blocks in said.norm:
        rows = slice(start, start + blocks * unit)
        row = v[..., rows]
        centred = row - row.mean(-1, keepdim=True)
        part = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * gain[rows]
        parts.append(part if bias is None else part + bias[rows])
        start = rows.stop
    return torch.cat(parts, -1)


def backward(
    program: Program, step: Step, weights: dict[str, Tensor], d_state: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Run the derivative: gradients of u.<gate>, states, noise, params, and of the weights of the
    products.
    """
    values, derivative = dict(step.values), program.derivative
    like = next(iter(d_state.values()))
    for number, node in enumerate(program.nodes):
        if node.op == "grad":
            values[number] = d_state[node.name]
    found: dict[str, Tensor] = {}
    for phase, (first, second) in zip(
        reversed(range(len(program.bodies))), derivative.bodies, strict=True
    ):
        evaluate(program.nodes, first, values, like)
        if phase in step.products and derivative.dv[phase]:
            operand, v = step.products[phase]
            gates = program.bodies[phase].product.gates  # type: ignore[union-attr]
            blocks = dict(zip(gates, torch.zeros_like(v).chunk(len(gates), -1)))
            dv = torch.cat(
                [
                    values[derivative.dv[phase][g]] if g in derivative.dv[phase] else blocks[g]
                    for g in gates
                ],
                -1,
            )
            back = torch.autograd.grad(v, [operand, *weights.values()], dv, allow_unused=True)
            for number, node in enumerate(program.nodes):
                if node.op == "grad_operand" and node.phase == phase:
                    values[number] = back[0]
            for name, d in zip(weights, back[1:]):
                if d is not None:
                    found[name] = found[name] + d if name in found else d
        evaluate(program.nodes, second, values, like)
    found |= {f"u.{gate}": values[number] for gate, number in derivative.du.items()}
    for group in (derivative.dstate, derivative.dnoise):
        found |= {name: values[number] for name, number in group.items()}
    return found | {name: values[number].sum(0) for name, number in derivative.dparam.items()}
