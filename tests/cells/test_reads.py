"""What equations read and return: a product that nobody reads is none, and a name that is not there
is said with its line.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, sigmoid, tanh

import recurra
from recurra import cells
from recurra.cells import Cell, Phase
from recurra.cells.reads import gates_read
from recurra.errors import ArgumentError, EquationError
from recurra.program import trace
from tests.cells.zoo import BUILT_IN, OWN, HalfRead, IndRNN, assert_close, gradients, scene


def cell_of(pointwise: Any, **changes: Any) -> Cell:
    """A cell of an equation."""
    return type(
        "Own",
        (Cell,),
        {"state": ("h",), "gates": ("forget", "n"), "pointwise": pointwise} | changes,
    )()  # type: ignore[no-any-return]


# What is multiplied


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_cell_of_recurras_reads_every_product_that_it_names(name: str) -> None:
    cell = BUILT_IN[name]
    assert gates_read(cell) == tuple(phase.gates for phase in cell.phases())


def test_a_product_that_no_equation_reads_has_no_weights() -> None:
    assert IndRNN().weights(3, 512) == {"weight_ih": (512, 3), "bias_ih": (512,), "w": (512,)}
    layer = recurra.Recurrent(IndRNN(), 512, 512)
    assert sum(p.numel() for p in layer.parameters()) == 512 * 512 + 2 * 512
    assert [body.product for body in trace(IndRNN()).bodies] == [None]
    assert cells.Zoneout(IndRNN(), h=0.1).weights(3, 5) == IndRNN().weights(3, 5)
    assert IndRNN().blocks("weight_hh") == IndRNN().blocks("bias_hh") == ()


def indrnn(w: dict[str, Tensor], x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """As Li et al. (2018) print it."""
    out = []
    for x_t in x:
        h = tanh(x_t @ w["weight_ih"].T + w["bias_ih"] + w["w"] * h)
        out.append(h)
    return torch.stack(out), h


def half_read(w: dict[str, Tensor], x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """The equations of HalfRead, each gate's rows taken by hand."""
    out = []
    (ik, iN, iF, io), (bk, bn, bf, bo) = w["weight_ih"].split(5), w["bias_ih"].split(5)
    (wf, wn), (cf, cn) = w["weight_hh"].split(5), w["bias_hh"].split(5)
    for x_t in x:
        k, f = sigmoid(x_t @ ik.T + bk), sigmoid(x_t @ iF.T + bf + h @ wf.T + cf)
        n, o = tanh(x_t @ iN.T + bn + (f * h) @ wn.T + cn), sigmoid(x_t @ io.T + bo + h)
        h = f * h + k * o * n
        out.append(h)
    return torch.stack(out), h


@pytest.mark.parametrize("method", ["loop", "fused", "checkpointed"])
@pytest.mark.parametrize(("name", "plain"), [("IndRNN", indrnn), ("HalfRead", half_read)])
def test_outputs_and_gradients_are_those_of_the_equations_written_out(
    name: str, plain: Any, method: str
) -> None:
    at = scene(OWN[name], T=9)
    done = recurra.engine.scan(
        at.cell, at.weights, at.x, at.cell.state_type()(*at.state), method=method
    )
    expected = plain(at.weights, at.x, at.state[0])
    assert_close((done.h, done.final.h), expected)
    assert_close(gradients((done.h, done.final.h), at.leaves()), gradients(expected, at.leaves()))


def test_every_path_of_a_layer_without_a_product_holds() -> None:
    for cell in (IndRNN(), HalfRead(), cells.Zoneout(IndRNN(), h=0.2)):
        layer = recurra.Recurrent(cell, 3, 5, init=recurra.init.torch_uniform)
        rows = recurra.parity.verify(layer, torch.randn(11, 3, 3))
        assert all(row.holds for row in rows) and "step by step" in [row.path for row in rows]


def test_of_a_product_only_the_blocks_that_are_read_have_weights() -> None:
    shapes = HalfRead().weights(3, 5)
    assert (shapes["weight_ih"], shapes["weight_hh"], shapes["bias_hh"]) == (
        (20, 3),
        (10, 5),
        (10,),
    )
    assert gates_read(HalfRead()) == (("f",), ("n",)) and HalfRead().blocks(
        "weight_hh"
    ) == HalfRead().blocks("bias_hh") == ("f", "n")
    products = [body.product for body in trace(HalfRead()).bodies]
    assert [(product.gates, product.first, product.total) for product in products if product] == [
        (("f",), 0, 2),
        (("n",), 1, 2),
    ]


def test_a_norm_is_of_all_its_gates_or_of_none() -> None:
    class Normed(Cell):
        gates = ("k", "n")
        read = True

        def phases(self) -> tuple[Phase, ...]:
            return (Phase(self.pointwise, self.gates, gain="gain_hh", norm=(self.gates,)),)

        def pointwise(self, a: Any, s: Any) -> dict[str, Tensor]:
            k = sigmoid(a.u.k)
            return dict(h=k * s.h + tanh(a.n if self.read else a.u.n), k=k, n=k)

    unread = type("Unread", (Normed,), {"read": False})
    assert Normed().weights(3, 5)["weight_hh"] == (10, 5) and Normed().weights(3, 5)["gain_hh"] == (
        10,
    )
    assert set(unread().weights(3, 5)) == {"weight_ih", "bias_ih"}

    class Exposed(Cell):
        gates = ("n",)

        def phases(self) -> tuple[Phase, ...]:
            return Phase(self.pointwise, self.gates), Phase(
                lambda a, s: {}, ("h",), reads="h", weight=None, norm=(("h",),), bias="b"
            )

        def pointwise(self, a: Any, s: Any) -> dict[str, Tensor]:
            return dict(h=tanh(a.n), n=a.n)

    assert "b" not in Exposed().weights(3, 5)


def test_the_forget_gates_bias_is_found_among_the_blocks_that_are_there() -> None:
    layer = recurra.Recurrent(HalfRead(), 3, 5, init=recurra.init.torch_uniform)
    before = layer.bias_hh.detach().clone()
    recurra.init.forget_bias(layer, 2.0)
    assert torch.equal(layer.bias_ih[10:15], torch.full((5,), 2.0)) and torch.equal(
        layer.bias_hh[:5], torch.zeros(5)
    )
    assert torch.equal(layer.bias_hh[5:], before[5:])


def test_recurrent_dropout_needs_a_product_to_drop_of() -> None:
    for cell in (cells.MinGRU(), IndRNN()):
        need = (
            f"cell must have a recurrent product, whose operand is dropped, got {cell!r}; use"
            " Zoneout"
        )
        with pytest.raises(ArgumentError, match=f"^{re.escape(need)}$"):
            cells.RecurrentDropout(cell, 0.2)


def test_equations_that_no_tiny_tensor_fits_are_multiplied_whole() -> None:
    scale = torch.ones(5)
    cell = cell_of(lambda self, a, s: dict(h=tanh(a.u.n) * scale, n=a.n, forget=a.forget))
    assert gates_read(cell) == (("forget", "n"),)
    layer = recurra.Recurrent(cell, 3, 5)
    assert layer(torch.zeros(2, 1, 3), method="loop")[0].shape == (2, 1, 5)


def test_a_cell_without_a_hash_runs_by_the_loop() -> None:
    @dataclass
    class Open(Cell):
        rate: float = 0.5
        gates = ("n",)

        def pointwise(self, a: Any, s: Any) -> dict[str, Tensor]:
            return dict(h=self.rate * s.h + a.u.n, n=a.u.n)

    layer = recurra.Recurrent(Open(), 3, 5)
    assert not hasattr(layer, "weight_hh") and layer(torch.ones(4, 1, 3), method="loop")[
        0
    ].shape == (4, 1, 5)


# What is said of a name that is not there


def misspelt(self: Any, a: Any, s: Any) -> dict[str, Tensor]:
    f = sigmoid(a.forgte)
    return dict(h=f * s.h, forget=f, n=a.n)


def far_off(self: Any, a: Any, s: Any) -> dict[str, Tensor]:
    return dict(h=s.cell, forget=a.n, n=a.n)


def of_the_input(self: Any, a: Any, s: Any) -> dict[str, Tensor]:
    return dict(h=a.u.m + s.h, forget=a.n, n=a.n)


def of_the_product(self: Any, a: Any, s: Any) -> dict[str, Tensor]:
    return dict(h=a.v.m + s.h, forget=a.n, n=a.n)


def not_yet_found(self: Any, a: Any, s: Any) -> dict[str, Tensor]:
    return dict(h=s.new.h, forget=a.n, n=a.n)


def a_parameter(self: Any, a: Any, s: Any) -> dict[str, Tensor]:
    return dict(h=s.leek * s.h, forget=a.n, n=a.n)


WHOLE = "'forget', 'n'"
MISTYPED = {
    misspelt: (
        f"a.forgte must be one of {WHOLE}, got 'forgte' in test_reads.py, line {{}}: f ="
        " sigmoid(a.forgte); did you mean 'forget'?"
    ),
    far_off: (
        "s.cell must be one of 'h', 'leak', got 'cell' in test_reads.py, line {}: return"
        " dict(h=s.cell, forget=a.n, n=a.n)"
    ),
    of_the_input: (
        f"a.u.m must be one of {WHOLE}, got 'm' in test_reads.py, line {{}}: return dict(h=a.u.m +"
        " s.h, forget=a.n, n=a.n)"
    ),
    of_the_product: (
        f"a.v.m must be one of {WHOLE}, got 'm' in test_reads.py, line {{}}: return dict(h=a.v.m +"
        " s.h, forget=a.n, n=a.n)"
    ),
    not_yet_found: (
        "s.new.h must be one of nothing, got 'h' in test_reads.py, line {}: return dict(h=s.new.h,"
        " forget=a.n, n=a.n)"
    ),
    a_parameter: (
        "s.leek must be one of 'h', 'leak', got 'leek' in test_reads.py, line {}: "
        "return dict(h=s.leek * s.h, forget=a.n, n=a.n); did you mean 'leak'?"
    ),
}


def everywhere(cell: Cell, message: str) -> None:
    """A layer, the plain loop, the tracer and a wrapper say the same."""
    weights = {
        "weight_ih": torch.zeros(8, 3),
        "weight_hh": torch.zeros(8, 4),
        "leak": torch.zeros(4),
    }
    for run in (
        lambda: recurra.Recurrent(cell, 3, 4),
        lambda: recurra.engine.scan(cell, weights, torch.zeros(2, 1, 3), method="loop"),
        lambda: trace(cell),
        lambda: cell.step(weights, torch.zeros(1, 8), cell.state_type()(torch.zeros(1, 4))),
    ):
        with pytest.raises(EquationError, match=f"^{re.escape(f'Own(): {message}')}$") as caught:
            run()
        assert isinstance(caught.value, AttributeError) and "\n" not in str(caught.value)
    with pytest.raises(EquationError, match=re.escape(message)):
        recurra.Recurrent(cells.Zoneout(cell, h=0.1), 3, 4)


@pytest.mark.parametrize("equation", MISTYPED, ids=lambda equation: equation.__name__)
def test_a_mistyped_name_is_said_with_its_line(equation: Any) -> None:
    line = equation.__code__.co_firstlineno + 1
    everywhere(cell_of(equation, params=("leak",)), MISTYPED[equation].format(line))


def forgets(self: Any, a: Any, s: Any) -> dict[str, Tensor]:
    return dict(h=s.h, forgot=a.forget, n=a.n)


def adds(self: Any, a: Any, s: Any) -> dict[str, Tensor]:
    return dict(h=s.h, forget=a.forget, n=a.n, forgett=a.n)


def bare(self: Any, a: Any, s: Any) -> Any:
    return a.n


RETURNED = {
    forgets: (
        "pointwise must return 'forget', got only 'h', 'forgot', 'n' in test_reads.py, line {}: {};"
        " did you mean 'forgot'?"
    ),
    adds: (
        "pointwise must return only 'h', 'forget', 'n', and what a later phase reads, got 'forgett'"
        " in test_reads.py, line {}: {}; did you mean 'forget'?"
    ),
    bare: "pointwise must return a dict by name, got Tensor in test_reads.py, line {}: {}",
}


@pytest.mark.parametrize("equation", RETURNED, ids=lambda equation: equation.__name__)
def test_what_is_returned_is_named_with_where_it_is_said(equation: Any) -> None:
    kind = "Any" if equation is bare else "dict[str, Tensor]"
    text = f"def {equation.__name__}(self: Any, a: Any, s: Any) -> {kind}:"
    everywhere(cell_of(equation), RETURNED[equation].format(equation.__code__.co_firstlineno, text))


def test_what_a_later_phase_reads_may_be_returned() -> None:
    assert cells.ProjectedLSTM(3).active_phases()[0].gates == ("i", "f", "g", "o")
    unread = type(
        "Unread", (cells.ProjectedLSTM,), {"expose": lambda self, a, s: dict(h=a.v.h, extra=a.v.h)}
    )
    with pytest.raises(EquationError, match="got 'extra' in test_reads.py"):
        unread(3).weights(3, 5)


def test_attributes_that_python_looks_for_are_not_read_as_names() -> None:
    s = cells.Known({"h": torch.zeros(1)}, {})
    assert not hasattr(s, "__array__") and not hasattr(cells.Pre({}, {}), "__len__")
    assert copy.copy(s).h is s.h and getattr(s, "q", None) is None
