from __future__ import annotations

import pytest
import torch
from torch import Tensor

from recurra.cells import Cell, Phase
from recurra.program import trace
from tests.cells.zoo import ZOO, assert_close, scene
from tests.program.interpreter import backward, forward


def check(cell: Cell, training: bool = False, H: int = 5) -> None:
    """The program's step equals the cell's, and its derivative equals autograd's."""
    at = scene(cell, T=1, H=H, training=training)
    noise = {
        name: value if value.ndim == 2 else value[0] for name, value in (at.noise or {}).items()
    }
    noise = {name: value.detach().requires_grad_() for name, value in noise.items()}
    masks = [noise.get(name) for name in cell.lasting()]
    each_step = {name: value for name, value in noise.items() if name not in cell.lasting()}
    u = cell.project(at.weights, at.x)[0].detach().requires_grad_()
    expected, gates = cell.step(at.weights, u, cell.state_type()(*at.state, *masks), each_step)
    program = trace(cell, noise)
    blocks = dict(zip(cell.gates, u.detach().chunk(len(cell.gates), -1)))
    known = (
        dict(zip(cell.state, at.state)) | noise | {name: at.weights[name] for name in cell.params}
    )
    known = {name: value.detach() for name, value in known.items()}
    step = forward(program, at.weights, blocks, known)
    assert_close(
        [step.state[name] for name in cell.state], list(expected)[: len(cell.state)], what="state"
    )
    assert_close([step.gates[name] for name in cell.gates], gates, what="gates")

    cotangents = {name: torch.randn_like(step.state[name]) for name in cell.state}
    found = backward(program, step, at.weights, cotangents)
    total = sum((getattr(expected, name) * d).sum() for name, d in cotangents.items())
    leaves = {"u": u} | dict(zip(cell.state, at.state)) | noise | at.weights
    wanted = dict(zip(leaves, torch.autograd.grad(total, list(leaves.values()), allow_unused=True)))
    du = torch.cat(
        [found.pop(f"u.{gate}", torch.zeros_like(blocks[gate])) for gate in cell.gates], -1
    )
    assert_close(du, wanted.pop("u"), what="du")
    for name, reference in wanted.items():
        value = found.pop(name, torch.zeros_like(leaves[name]))
        assert_close(value, torch.zeros_like(value) if reference is None else reference, what=name)
    assert not found


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("H", [4, 5, 8])
def test_step_and_derivative_equal_the_cell_and_autograd(name: str, training: bool, H: int) -> None:
    check(ZOO[name], training, H)


class Reused(Cell):
    """Its second phase ignores its product, but says again what was multiplied."""

    gates = ("k", "n")

    def phases(self) -> tuple[Phase, ...]:
        return Phase(self.open, ("k",)), Phase(
            self.write, ("n",), operand=lambda s: torch.sin(s.h) * s.new.k
        )

    def open(self, a, s) -> dict[str, Tensor]:
        return dict(k=torch.sigmoid(a.k))

    def write(self, a, s) -> dict[str, Tensor]:
        return dict(h=torch.sin(s.h) * s.new.k + a.u.n, n=a.u.n)


class Untouched(Cell):
    """One state is the other's copy, one is kept, one forgotten."""

    state, gates = ("h", "old", "kept", "gone"), ("n",)

    def pointwise(self, a, s) -> dict[str, Tensor]:
        n = torch.tanh(a.n + s.old)
        return dict(h=n, n=n, old=s.h, kept=s.kept, gone=torch.zeros_like(s.h) * s.gone)


class SameTwice(Cell):
    """Two states that are one value, and a gate that is read from both sides."""

    state, gates = ("h", "c"), ("n",)

    def pointwise(self, a, s) -> dict[str, Tensor]:
        n = torch.tanh(a.n) * a.u.n + a.v.n * s.c
        return dict(h=n, c=n, n=n)


@pytest.mark.parametrize("cell", [Reused(), Untouched(), SameTwice()], ids=repr)
def test_derivative_of_odd_data_flow_equals_autograd(cell: Cell) -> None:
    check(cell)
