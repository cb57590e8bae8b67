from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from torch import Tensor

from recurra.cells import Cell, Phase
from recurra.errors import ProgramError
from recurra.program import ALPHABET, trace
from recurra.program.lowering import LOWER
from tests.cells.zoo import assert_close
from tests.program.interpreter import backward, forward


@dataclass(frozen=True)
class Formula(Cell):
    """h' = formula(u, h), exactly: no product."""

    formula: Callable[[Tensor, Tensor], Any]
    gates = ("x",)

    def phases(self) -> tuple[Phase, ...]:
        return (Phase(self.pointwise),)

    def pointwise(self, a: Any, s: Any) -> dict[str, Tensor]:
        return dict(h=self.formula(a.u.x, s.h), x=a.u.x)


FORMULAS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "neg": lambda x, y: -x,
    "abs": lambda x, y: abs(x),
    "sign": lambda x, y: torch.sign(x) * y,
    "sgn": lambda x, y: torch.sgn(x) * y,
    "exp": lambda x, y: torch.exp(x),
    "exp2": lambda x, y: torch.exp2(x),
    "expm1": lambda x, y: torch.expm1(x),
    "log": lambda x, y: torch.log(x * x + 0.5),
    "log1p": lambda x, y: torch.log1p(x * x),
    "sqrt": lambda x, y: torch.sqrt(x * x + 0.25),
    "rsqrt": lambda x, y: torch.rsqrt(x * x + 0.25),
    "sin": lambda x, y: torch.sin(x),
    "cos": lambda x, y: torch.cos(x),
    "erf": lambda x, y: torch.erf(x),
    "tanh": lambda x, y: x.tanh(),
    "sigmoid": lambda x, y: x.sigmoid(),
    "relu": lambda x, y: torch.relu(x),
    "relu6": lambda x, y: F.relu6(x),
    "add": lambda x, y: x + y,
    "add alpha": lambda x, y: torch.add(x, y, alpha=2.5),
    "add number": lambda x, y: 2 + x,
    "sub": lambda x, y: x - y,
    "sub alpha": lambda x, y: torch.sub(x, y, alpha=2.5),
    "rsub": lambda x, y: 1 - x,
    "rsub alpha": lambda x, y: torch.rsub(x, y, alpha=3),
    "mul": lambda x, y: x * y * 3,
    "div": lambda x, y: x / (y * y + 1),
    "div number": lambda x, y: 2 / (x * x + 1) / 3,
    "reciprocal": lambda x, y: torch.reciprocal(x * x + 1),
    "maximum": lambda x, y: torch.maximum(x, y),
    "max": lambda x, y: torch.max(x, y),
    "minimum": lambda x, y: torch.minimum(x, y),
    "min": lambda x, y: torch.min(x, y),
    "gt": lambda x, y: (x > y) * x,
    "gt number": lambda x, y: torch.where(x > 0, x, y),
    "ge": lambda x, y: (x >= y) * x,
    "lt": lambda x, y: (x < y) * x,
    "le": lambda x, y: (x <= y) * x,
    "eq": lambda x, y: (x == y) * x,
    "ne": lambda x, y: (x != y) * x,
    "logical_not": lambda x, y: torch.logical_not(x > y) * x,
    "where": lambda x, y: torch.where(x > y, torch.sin(x), y * y),
    "where number": lambda x, y: torch.where(x > y, 1.5, y),
    "square": lambda x, y: torch.square(x),
    "pow 1": lambda x, y: x**1,
    "pow 2": lambda x, y: x**2,
    "pow 3": lambda x, y: x**3,
    "pow 8": lambda x, y: x**8,
    "pow -2": lambda x, y: (x * x + 1) ** -2,
    "pow half": lambda x, y: (x * x + 1) ** 0.5,
    "clamp": lambda x, y: torch.clamp(x, -1, 0.5),
    "clamp tensors": lambda x, y: torch.clamp(x, y - 1, y + 0.5),
    "clamp low": lambda x, y: x.clamp(min=-0.5),
    "clamp high": lambda x, y: x.clamp(max=0.5),
    "clamp_min": lambda x, y: torch.clamp_min(x, -0.5),
    "clamp_max": lambda x, y: torch.clamp_max(x, 0.5),
    "hardtanh": lambda x, y: F.hardtanh(x),
    "hardtanh range": lambda x, y: F.hardtanh(x, -0.5, 3.0),
    "hardsigmoid": lambda x, y: F.hardsigmoid(x),
    "silu": lambda x, y: F.silu(x),
    "softplus": lambda x, y: F.softplus(x),
    "softplus beta": lambda x, y: F.softplus(x, beta=2.0),
    "softplus threshold": lambda x, y: F.softplus(x, beta=0.5, threshold=0.25),
    "logsigmoid": lambda x, y: F.logsigmoid(x),
    "elu": lambda x, y: F.elu(x),
    "elu alpha": lambda x, y: F.elu(x, 0.7),
    "selu": lambda x, y: F.selu(x),
    "celu": lambda x, y: F.celu(x, 0.7),
    "leaky_relu": lambda x, y: F.leaky_relu(x),
    "leaky_relu slope": lambda x, y: F.leaky_relu(x, 0.2),
    "threshold": lambda x, y: F.threshold(x, 0.5, 20.0),
    "gelu": lambda x, y: F.gelu(x),
    "softsign": lambda x, y: F.softsign(x),
    "tanhshrink": lambda x, y: F.tanhshrink(x),
    "lerp": lambda x, y: torch.lerp(x, y, 0.3),
    "lerp tensor": lambda x, y: torch.lerp(x, y, torch.sigmoid(x)),
    "addcmul": lambda x, y: torch.addcmul(x, x, y),
    "addcmul value": lambda x, y: torch.addcmul(x, x, y, value=0.3),
    "addcdiv": lambda x, y: torch.addcdiv(x, x, y * y + 1),
    "addcdiv value": lambda x, y: torch.addcdiv(x, x, y * y + 1, value=0.3),
    "clone": lambda x, y: x.clone() * 2,
    "detached constant": lambda x, y: x * torch.tensor(0.5),
    "zeros_like": lambda x, y: torch.maximum(x, torch.zeros_like(x)),
    "ones_like": lambda x, y: x * torch.ones_like(x),
    "full_like": lambda x, y: x + torch.full_like(x, 0.7),
    "alias": lambda x, y: torch.ops.aten.alias(x) * 2,
    "bool sum": lambda x, y: x * ((x > 0) * 1.0 + (y > 0) * 1.0),
    "share of itself": lambda x, y: x * x + x,
}
POINTS = torch.tensor(
    [
        -40.0,
        -21,
        -3,
        -1,
        -0.5,
        -0.1,
        -1e-12,
        0,
        1e-12,
        0.1,
        0.5,
        1,
        3,
        6,
        10.5,
        19.99,
        20,
        20.01,
        25,
    ],
    dtype=torch.float64,
)


SINGLE = {"hardsigmoid": 5e-8, "celu": 5e-8}
"""torch keeps 1/6 and 1/alpha in single precision in these two derivatives, in float64 too."""


def held(
    formula: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor, tolerance: float = 1e-12
) -> None:
    """The program's value and gradient equal torch's."""
    cell = Formula(formula)
    program = trace(cell)
    x, y = x.clone().requires_grad_(), y.clone().requires_grad_()
    expected = formula(x, y)
    d = torch.randn_like(expected)
    wanted = (
        torch.autograd.grad(expected, (x, y), d, allow_unused=True)
        if expected.requires_grad
        else (None, None)
    )
    step = forward(program, {}, {"x": x.detach()}, {"h": y.detach()})
    found = backward(program, step, {}, {"h": d})
    value = step.state["h"].to(expected.dtype)
    scale = expected.detach().abs().clamp_min(1)
    assert ((value - expected.detach()).abs() / scale).max() <= 1e-13, "value"
    for name, reference in (("u.x", wanted[0]), ("h", wanted[1])):
        reference = torch.zeros_like(x) if reference is None else reference
        error = (
            found.get(name, torch.zeros_like(x)) - reference
        ).abs() / reference.abs().clamp_min(1)
        at = int(error.argmax())
        assert error.max() <= tolerance, (
            f"d {name} at x {float(x.detach().flatten()[at])}, y {float(y.detach().flatten()[at])}"
        )


@pytest.mark.parametrize("name", FORMULAS)
def test_function_equals_torch_in_value_and_gradient_ties_included(name: str) -> None:
    x, y = torch.meshgrid(POINTS, POINTS, indexing="ij")
    held(FORMULAS[name], x, y, SINGLE.get(name, 1e-12))


def test_every_operation_and_every_lowering_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    module = importlib.import_module("recurra.program.trace")
    hit: set[str] = set()

    class Watched(dict):
        def __getitem__(self, name: str) -> Any:
            hit.add(name)
            return super().__getitem__(name)

    monkeypatch.setattr(module, "LOWER", Watched(LOWER))
    used: set[str] = set()
    for formula in FORMULAS.values():
        again = lambda x, y, formula=formula: formula(x, y)  # noqa: E731
        used |= {node.op for node in trace(Formula(again)).nodes}
    assert set(ALPHABET) - used == set()
    assert set(LOWER) - hit == set()


UNARY = [
    torch.tanh,
    torch.sigmoid,
    torch.sin,
    torch.cos,
    torch.erf,
    F.softplus,
    F.elu,
    torch.square,
    torch.neg,
    lambda x: torch.sqrt(x * x + 1),
]
BINARY = [
    torch.add,
    torch.sub,
    torch.mul,
    torch.maximum,
    torch.minimum,
    lambda x, y: x / (1 + y * y),
    lambda x, y: torch.where(x > y, x, 2 * y),
]


@st.composite
def expressions(draw: Any, depth: int = 4) -> Callable[[Tensor, Tensor], Tensor]:
    """A random elementwise formula of x and y."""
    kind = draw(
        st.sampled_from(
            ["x", "y", "number"] if depth == 0 else ["unary", "binary", "binary", "x", "y"]
        )
    )
    if kind in "xy":
        return (lambda x, y: x) if kind == "x" else (lambda x, y: y)
    if kind == "number":
        value = draw(st.floats(-2, 2))
        return lambda x, y: torch.full_like(x, value)
    if kind == "unary":
        op, inner = draw(st.sampled_from(UNARY)), draw(expressions(depth=depth - 1))
        return lambda x, y: op(inner(x, y))
    op, left, right = (
        draw(st.sampled_from(BINARY)),
        draw(expressions(depth=depth - 1)),
        draw(expressions(depth=depth - 1)),
    )
    return lambda x, y: op(left(x, y), right(x, y))


@given(expressions(), st.integers(0, 1000))
def test_random_formula_equals_torch_in_value_and_gradient(
    formula: Callable[[Tensor, Tensor], Tensor], seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(3, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    held(lambda x, y: torch.tanh(formula(x, y)), x, y)


REFUSED: dict[str, tuple[Callable[[Tensor, Tensor], Any], str]] = {
    "mean": (lambda x, y: x - x.mean(), "got mean"),
    "sum": (lambda x, y: x / x.sum(-1, keepdim=True), "got sum"),
    "softmax": (lambda x, y: torch.softmax(x, -1), "got _softmax"),
    "cumsum": (lambda x, y: torch.cumsum(x, -1), "got cumsum"),
    "dropout": (lambda x, y: F.dropout(x, 0.5), "elementwise operations only, got"),
    "matmul": (
        lambda x, y: x @ y.T,
        "elementwise operations only, got t;|elementwise operations only, got",
    ),
    "slice": (lambda x, y: x[:, :2], "got slice"),
    "roll": (lambda x, y: torch.roll(x, 1, -1), "got roll"),
    "flip": (lambda x, y: x.flip(0), "got flip"),
    "cat": (lambda x, y: torch.cat([x, y]), "got cat"),
    "in place": (lambda x, y: x.add_(y), "got add_"),
    "in place of a new one": (lambda x, y: torch.tanh(x).mul_(2), "got mul_"),
    "power by a tensor": (lambda x, y: x**y, "got pow with these options"),
    "number to a tensor": (lambda x, y: 2**x, "got pow with these options"),
    "odd power": (lambda x, y: (x * x) ** 0.3, "pow with exponent 0.3"),
    "gelu tanh": (lambda x, y: F.gelu(x, approximate="tanh"), "got gelu with these options"),
    "floor division": (
        lambda x, y: torch.div(x, y, rounding_mode="floor"),
        "got div with these options",
    ),
    "sum of comparisons": (lambda x, y: x * ((x > 0) + (y > 0)), "got add of comparisons"),
    "stopped gradient": (
        lambda x, y: x * y.detach(),
        "got detach with these options .a value whose gradient is stopped",
    ),
    "branch": (
        lambda x, y: x if bool((x > 0)[0, 0]) else y,
        "elementwise operations only, got|branch on data",
    ),
    "branch on a sum": (lambda x, y: x if x.sum() > 0 else y, "got sum"),
    "item": (lambda x, y: x * float(torch.tensor(2.0).sin()), "branch on data or read a value"),
    "outside": (
        lambda x, y: x * OUTSIDE,
        "got a tensor of shape .3, 7. from outside; name it in params",
    ),
    "outside row": (lambda x, y: x * ROW, "got a tensor of shape .7,. from outside"),
    "outside scalar to be learned": (lambda x, y: x * LEARNED, "from outside; name it in params"),
    "outside alone": (lambda x, y: OUTSIDE, "h must be computed from a and s"),
    "shape": (
        lambda x, y: torch.zeros(()) + 1.0,
        "h must have shape .B, 7. when H is 7, got ..|elementwise",
    ),
    "number": (lambda x, y: 1.0, "h must be a tensor, got float"),
    "sizes": (
        lambda x, y: x + torch.zeros_like(y).new_tensor([1.0, 2.0]),
        "from outside|operation that failed|elementwise",
    ),
}
OUTSIDE, ROW = torch.ones(3, 7), torch.ones(7)
LEARNED = torch.ones((), requires_grad=True)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_elementwise_is_refused_by_name(name: str) -> None:
    formula, message = REFUSED[name]
    with pytest.raises(ProgramError, match=f"^Formula.*{message}"):
        trace(Formula(formula))


def test_constants_are_exact() -> None:
    program = trace(Formula(lambda x, y: x * math.pi))
    assert math.pi in [node.value for node in program.nodes if node.op == "const"]
    assert_close(forward(program, {}, {"x": POINTS}, {"h": POINTS}).state["h"], POINTS * math.pi)
