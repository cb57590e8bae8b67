"""Run a program's operations on tensors: the meaning of each, in torch. Tests and explanations use
it.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from recurra.program.graph import Node

MEANING = {
    **{
        name: getattr(torch, name)
        for name in (
            "neg",
            "abs",
            "sign",
            "exp",
            "expm1",
            "log",
            "log1p",
            "sqrt",
            "sin",
            "cos",
            "erf",
            "tanh",
            "sigmoid",
            "relu",
            "add",
            "sub",
            "mul",
            "div",
            "maximum",
            "minimum",
        )
    },
    **{
        name: lambda x, y, name=name: getattr(torch, name)(x, y).to(x.dtype)
        for name in ("gt", "ge", "lt", "le", "eq")
    },
    "where": lambda k, x, y: torch.where(k != 0, x, y),
}
"""What each operation of the alphabet computes."""


def evaluate(
    nodes: tuple[Node, ...], numbers: Iterable[int], values: dict[int, Tensor], like: Tensor
) -> None:
    """Compute the nodes `numbers` in order, reading and filling `values`; constants come by
    themselves.

    >>> nodes = (Node("state", name="h"), Node("tanh", (0,)))
    >>> values = {0: torch.zeros(2)}
    >>> evaluate(nodes, [1], values, torch.zeros(2)); values[1]
    tensor([0., 0.])
    """
    for number in numbers:
        node = nodes[number]
        for arg in node.args:
            if nodes[arg].op == "const" and arg not in values:
                values[arg] = torch.tensor(nodes[arg].value, dtype=like.dtype, device=like.device)
        values[number] = MEANING[node.op](*(values[arg] for arg in node.args))
