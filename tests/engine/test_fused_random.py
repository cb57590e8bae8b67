"""Cells made of random elementwise expressions: whatever can be traced runs fused, and as the loop
does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from recurra import cells
from recurra.cells import Cell, Phase
from recurra.engine import scan
from tests.cells.zoo import assert_close, gradients, scene, tensors

pytest.importorskip("recurra.native")

Expression = Any
"""A leaf's name, a number, or an operation and its arguments."""
UNARY: dict[str, Any] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "sin": torch.sin,
    "cos": torch.cos,
    "erf": torch.erf,
    "relu": torch.relu,
    "abs": torch.abs,
    "neg": torch.neg,
    "bell": lambda x: torch.exp(-x * x),
    "root": lambda x: torch.sqrt(1 + x * x),
    "log": lambda x: torch.log(1 + x * x),
    "log1p": lambda x: torch.log1p(x * x),
    "expm1": lambda x: torch.expm1(-x * x),
    "elu": torch.nn.functional.elu,
    "softplus": torch.nn.functional.softplus,
    "gelu": torch.nn.functional.gelu,
}
BINARY: dict[str, Any] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "share": lambda x, y: x / (1 + y * y),
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "pick": lambda x, y: torch.where(x > y, x, 0.5 * y),
    "lerp": lambda x, y: torch.lerp(x, y, 0.25),
}
LEAVES = ("u.p", "u.q", "v.q", "a.q", "s.h", "s.c", "s.w", 0.5, -1.25)
leaf = st.sampled_from(LEAVES)
expression = st.recursive(
    leaf,
    lambda inner: (
        st.tuples(st.sampled_from(sorted(UNARY)), inner)
        | st.tuples(st.sampled_from(sorted(BINARY)), inner, inner)
    ),
    max_leaves=6,
)


@dataclass(frozen=True)
class Grown(Cell):
    """A cell of random expressions: two states, two gates, one or two products, one weight for each
    unit.
    """

    h: Expression
    c: Expression
    operand: Expression
    apart: bool
    state, gates, params = ("h", "c"), ("p", "q"), ("w",)

    def phases(self) -> tuple[Phase, ...]:
        if not self.apart:
            return (Phase(self.close, ("p", "q")),)
        return Phase(self.open, ("p",)), Phase(
            self.close, ("q",), operand=lambda s: torch.tanh(value(self.operand, None, s) + s.h)
        )

    def open(self, a: Any, s: Any) -> dict[str, Tensor]:
        return dict(p=torch.sin(a.p))

    def close(self, a: Any, s: Any) -> dict[str, Tensor]:
        h, c = (
            torch.tanh(value(self.h, a, s) + 0.1 * s.c),
            torch.sin(value(self.c, a, s) + 0.3 * s.h),
        )
        return (
            dict(h=h, c=c, q=a.q + 0.0) if self.apart else dict(h=h, c=c, q=a.q + 0.0, p=a.p + 0.0)
        )


def value(tree: Expression, a: Any, s: Any) -> Any:
    """What an expression is; an operand sees the state and the weight only."""
    if isinstance(tree, float):
        return torch.full_like(s.h, tree)
    if isinstance(tree, str):
        kind, _, name = tree.partition(".")
        if kind == "s" or a is None:
            return getattr(s, name if kind == "s" else "c") + 0.0 * s.h
        return getattr(a if kind == "a" else getattr(a, kind), name)
    op, *parts = tree
    return {**UNARY, **BINARY}[op](*(value(part, a, s) for part in parts))


@settings(max_examples=60)
@given(
    st.builds(Grown, expression, expression, expression, st.booleans()),
    st.booleans(),
    st.sampled_from([None, "zoneout", "dropout"]),
    st.booleans(),
)
def test_random_cell_equals_the_loop(
    cell: Cell, reverse: bool, wrapper: str | None, recompute: bool
) -> None:
    if wrapper:
        cell = (
            cells.Zoneout(cell, h=0.3, c=0.1)
            if wrapper == "zoneout"
            else cells.RecurrentDropout(cell, 0.4)
        )
    at = scene(cell, T=3, B=2, I=2, H=3, learned=True, training=True)
    resets = torch.tensor([[False, True], [True, False], [False, False]])
    options: dict[str, Any] = dict(
        noise=at.noise, lengths=[3, 2], resets=resets, reverse=reverse, keep=("states",)
    )
    found = scan(
        at.cell, at.weights, at.x, at.state, method="fused", recompute=recompute, **options
    )
    right = scan(at.cell, at.weights, at.x, at.state, method="loop", **options)
    assert_close(tensors(found), tensors(right), 1e-11)
    assert_close(gradients(found, at.leaves()), gradients(right, at.leaves()), 1e-9)
