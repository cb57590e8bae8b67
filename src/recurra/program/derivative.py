"""The derivative of each operation, and of a whole step by the chain rule in reverse."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from recurra.program.graph import Body, Builder, Derivative

Rule = Callable[["Ops", tuple[int, ...], int, int], list[int | None]]


class Ops:
    """Writes operations into a builder, for one phase."""

    def __init__(self, builder: Builder, phase: int) -> None:
        self.builder, self.phase = builder, phase

    def __getattr__(self, op: str) -> Callable[..., int]:
        return lambda *args: self.builder.op(op, args, self.phase)

    def const(self, value: float) -> int:
        """A constant."""
        return self.builder.const(value)

    def neg_if(self, sign: float, value: int) -> int:
        """The value, or its negative where sign is -1."""
        return value if sign > 0 else self.neg(value)


def _unary(factor: Callable[[Ops, int, int], int]) -> Rule:
    """A rule dx = dy * factor(x, y)."""
    return lambda k, x, y, dy: [k.mul(dy, factor(k, x[0], y))]


def _select(k: Ops, x: tuple[int, ...], dy: int, first: str) -> list[int | None]:
    """max and min: the gradient goes to the larger (smaller); a tie is shared in halves, as in
    torch.
    """
    wins, tie = getattr(k, first)(x[0], x[1]), k.eq(x[0], x[1])
    share = k.add(wins, k.mul(tie, k.const(0.5)))
    return [k.mul(dy, share), k.mul(dy, k.sub(k.const(1.0), share))]


RULES: dict[str, Rule] = {
    "add": lambda k, x, y, dy: [dy, dy],
    "sub": lambda k, x, y, dy: [dy, k.neg(dy)],
    "mul": lambda k, x, y, dy: [k.mul(dy, x[1]), k.mul(dy, x[0])],
    "div": lambda k, x, y, dy: [k.div(dy, x[1]), k.neg(k.div(k.mul(dy, y), x[1]))],
    "neg": lambda k, x, y, dy: [k.neg(dy)],
    "where": lambda k, x, y, dy: [
        None,
        k.where(x[0], dy, k.const(0.0)),
        k.where(x[0], k.const(0.0), dy),
    ],
    "maximum": lambda k, x, y, dy: _select(k, x, dy, "gt"),
    "minimum": lambda k, x, y, dy: _select(k, x, dy, "lt"),
    "relu": lambda k, x, y, dy: [k.where(k.gt(y, k.const(0.0)), dy, k.const(0.0))],
    "abs": _unary(lambda k, x, y: k.sign(x)),
    "exp": _unary(lambda k, x, y: y),
    "expm1": _unary(lambda k, x, y: k.add(y, k.const(1.0))),
    "log": lambda k, x, y, dy: [k.div(dy, x[0])],
    "log1p": lambda k, x, y, dy: [k.div(dy, k.add(x[0], k.const(1.0)))],
    "sqrt": lambda k, x, y, dy: [k.div(dy, k.mul(y, k.const(2.0)))],
    "sin": _unary(lambda k, x, y: k.cos(x)),
    "cos": _unary(lambda k, x, y: k.neg(k.sin(x))),
    "erf": _unary(
        lambda k, x, y: k.mul(k.const(2 / math.sqrt(math.pi)), k.exp(k.neg(k.mul(x, x))))
    ),
    "tanh": _unary(lambda k, x, y: k.sub(k.const(1.0), k.mul(y, y))),
    "sigmoid": _unary(lambda k, x, y: k.mul(y, k.sub(k.const(1.0), y))),
}
"""For y = op(x): the gradient of each argument from dy. Comparisons and `sign` have none."""


class _Adjoints(NamedTuple):
    """Gradients gathered so far, by node."""

    builder: Builder
    of: dict[int, int]

    def add(self, node: int, gradient: int, phase: int) -> None:
        """Add a gradient to what the node has."""
        have = self.of.get(node)
        self.of[node] = (
            gradient if have is None else self.builder.op("add", (have, gradient), phase)
        )

    def back(self, nodes: tuple[int, ...], phase: int) -> None:
        """Send gradients from these nodes to their arguments, last node first."""
        ops = Ops(self.builder, phase)
        for number in reversed(nodes):
            node, dy = self.builder.nodes[number], self.of.get(number)
            if dy is not None and node.op in RULES:
                for arg, gradient in zip(
                    node.args, RULES[node.op](ops, node.args, number, dy), strict=True
                ):
                    if gradient is not None and self.builder.nodes[arg].op != "const":
                        self.add(arg, gradient, phase)


def differentiate(builder: Builder, bodies: tuple[Body, ...], state: dict[str, int]) -> Derivative:
    """Write the derivative of a step into `builder`.

    Reads the sources `grad` (of each new state, by name) and, after each product's own backward,
    `grad_operand` of that phase.
    """
    adjoint = _Adjoints(builder, {})
    forward = len(builder.nodes)
    for name, node in state.items():
        adjoint.add(
            node, builder.source("grad", name, width=builder.nodes[node].width), len(bodies)
        )
    halves: list[tuple[int, int]] = []
    dv: list[dict[str, int]] = [{} for _ in bodies]
    for phase in reversed(range(len(bodies))):
        body = bodies[phase]
        adjoint.back(body.nodes, phase)
        dv[phase] = _collect(adjoint, forward, "v", phase)
        before = len(builder.nodes)
        if body.product is not None and dv[phase]:
            operand = body.product.operand
            adjoint.add(
                operand,
                builder.source("grad_operand", "", phase, builder.nodes[operand].width),
                phase,
            )
        adjoint.back(body.operand_nodes, phase)
        halves.append((before, len(builder.nodes)))
    found = {kind: _collect(adjoint, forward, kind) for kind in ("state", "noise", "param")}
    du = _collect(adjoint, forward, "u")
    outputs = [
        *du.values(),
        *(i for each in dv for i in each.values()),
        *(i for each in found.values() for i in each.values()),
    ]
    return Derivative(
        _split(builder, forward, halves, outputs),
        du,
        tuple(dv),
        found["state"],
        found["noise"],
        found["param"],
    )


def _collect(
    adjoint: _Adjoints, forward: int, kind: str, phase: int | None = None
) -> dict[str, int]:
    """Gradients of the sources of a kind by name."""
    nodes = enumerate(adjoint.builder.nodes[:forward])
    return {
        node.name: adjoint.of[number]
        for number, node in nodes
        if node.op == kind and number in adjoint.of and phase in (None, node.phase)
    }


def _split(
    builder: Builder, forward: int, halves: list[tuple[int, int]], outputs: list[int]
) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
    """Sort the needed new nodes by the half of the phase in which they were written."""
    needed = builder.needed(outputs, forward)
    bodies, start = [], forward
    for before, after in halves:
        first = tuple(i for i in needed if start <= i < before)
        bodies.append((first, tuple(i for i in needed if before <= i < after)))
        start = after
    if bodies:
        rest = tuple(i for i in needed if i >= start)
        bodies[-1] = (bodies[-1][0], bodies[-1][1] + rest)
    return tuple(bodies)
