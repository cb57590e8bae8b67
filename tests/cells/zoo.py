"""Every kind of cell there is, a user's own too, and scenes to run them in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, sigmoid, tanh

from recurra import cells
from recurra.cells import Cell, Phase


class CoupledLSTM(Cell):
    """Greff et al. 2017: one gate both forgets and writes."""

    state, gates = ("h", "c"), ("f", "g", "o")

    def pointwise(self, a: Any, s: Any) -> dict[str, Tensor]:
        f, g, o = sigmoid(a.f), tanh(a.g), sigmoid(a.o)
        c = f * s.c + (1 - f) * g
        return dict(h=o * tanh(c), c=c, f=f, g=g, o=o)


@dataclass(frozen=True)
class Bounded(Cell):
    """The greater or the smaller of the input and a vector, in either order, so that only one of
    them can be NaN; names outside ASCII.
    """

    which: str = "maximum"
    swapped: bool = False
    state, gates, params = ("h",), ("p",), ("é", "è")

    def pointwise(self, a: Any, s: Any) -> dict[str, Tensor]:
        pair = (s.é, a.p) if self.swapped else (a.p, s.é)
        return dict(h=getattr(torch, self.which)(*pair) * s.è, p=a.p)


BOUNDED = tuple(
    Bounded(which, swapped) for which in ("maximum", "minimum") for swapped in (False, True)
)


@dataclass(frozen=True)
class TwoPhase(Cell):
    """A user's cell with two products, the second from what the first found; reads u and v
    apart.
    """

    slope: float = 0.3
    state, gates = ("h",), ("k", "n")

    def phases(self) -> tuple[Phase, ...]:
        return Phase(self.open, ("k",)), Phase(
            self.write, ("n",), operand=lambda s: s.new.k * s.h + self.slope * s.new.m
        )

    def open(self, a: Any, s: Any) -> dict[str, Tensor]:
        return dict(k=sigmoid(a.k), m=torch.sin(a.k) * s.h)

    def write(self, a: Any, s: Any) -> dict[str, Tensor]:
        n = tanh(a.u.n * a.v.n + self.slope * a.n)
        return dict(h=s.new.k * s.h + (1 - s.new.k) * n + 0.1 * s.new.m, n=n)


class LeakyElman(Cell):
    """A user's cell with a weight for each unit: how fast it leaks."""

    gates, params = ("n",), ("rate",)

    def pointwise(self, a: Any, s: Any) -> dict[str, Tensor]:
        n, leak = tanh(a.n), sigmoid(s.rate)
        return dict(h=leak * s.h + (1 - leak) * n, n=n)


class IndRNN(Cell):
    """Li et al. 2018: every unit reads its own old state alone, so that there is no recurrent
    matrix.
    """

    gates, params = ("h",), ("w",)

    def pointwise(self, a: Any, s: Any) -> dict[str, Tensor]:
        return dict(h=tanh(a.u.h + s.w * s.h))


class HalfRead(Cell):
    """A cell of whose four recurrent products one is read in the first phase and one in the second,
    out of the gates' order.
    """

    gates = ("k", "n", "f", "o")

    def phases(self) -> tuple[Phase, ...]:
        return Phase(self.open, ("f", "k")), Phase(
            self.write, ("o", "n"), operand=lambda s: s.new.f * s.h
        )

    def open(self, a: Any, s: Any) -> dict[str, Tensor]:
        return dict(k=sigmoid(a.u.k), f=sigmoid(a.f))

    def write(self, a: Any, s: Any) -> dict[str, Tensor]:
        n, o = tanh(a.n), sigmoid(a.u.o + s.h)
        return dict(h=s.new.f * s.h + s.new.k * o * n, n=n, o=o)


class Decay(cells.LinearCell):
    """A user's linear cell."""

    gates = ("k", "n")

    def coefficients(self, a: Any) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        k = sigmoid(a.k)
        return k, a.n, dict(k=k, n=a.n)


BUILT_IN: dict[str, Cell] = {
    "Elman": cells.Elman(),
    "ElmanRelu": cells.Elman("relu"),
    "LSTM": cells.LSTM(),
    "PeepholeLSTM": cells.PeepholeLSTM(),
    "ProjectedLSTM": cells.ProjectedLSTM(3),
    "GRU": cells.GRU(),
    "ResetBeforeGRU": cells.ResetBeforeGRU(),
    "LayerNormLSTM": cells.LayerNormLSTM(),
    "LayerNormGRU": cells.LayerNormGRU(),
    "MinGRU": cells.MinGRU(),
    "MinLSTM": cells.MinLSTM(),
}
OWN: dict[str, Cell] = {
    "CoupledLSTM": CoupledLSTM(),
    "TwoPhase": TwoPhase(),
    "LeakyElman": LeakyElman(),
    "Decay": Decay(),
    "IndRNN": IndRNN(),
    "HalfRead": HalfRead(),
}
WRAPPED: dict[str, Cell] = {
    "Zoneout": cells.Zoneout(cells.LSTM(), h=0.3, c=0.2),
    "ZoneoutProjected": cells.Zoneout(cells.ProjectedLSTM(3), h=0.3),
    "ZoneoutLinear": cells.Zoneout(cells.MinGRU(), h=0.3),
    "RecurrentDropout": cells.RecurrentDropout(cells.ResetBeforeGRU(), 0.4),
    "RecurrentDropoutNorm": cells.RecurrentDropout(cells.LayerNormLSTM(), 0.4),
    "Probed": cells.Probed(cells.GRU()),
    "AllThree": cells.Probed(cells.Zoneout(cells.RecurrentDropout(cells.GRU(), 0.4), h=0.3)),
    "ZoneoutOwn": cells.Zoneout(cells.RecurrentDropout(TwoPhase(), 0.3), h=0.2),
}
ZOO = BUILT_IN | OWN | WRAPPED


class Scene(NamedTuple):
    """A cell with random weights, input, first state and noise, every float ready for gradients."""

    cell: Cell
    weights: dict[str, Tensor]
    x: Tensor
    state: tuple[Tensor, ...]
    noise: dict[str, Tensor] | None

    def leaves(self) -> dict[str, Tensor]:
        """What a gradient is taken by."""
        named = {f"state.{name}": value for name, value in zip(self.cell.state, self.state)}
        probes = {name: value for name, value in (self.noise or {}).items() if value.requires_grad}
        return {"x": self.x} | self.weights | named | probes


def scene(
    cell: Cell,
    T: int = 6,
    B: int = 3,
    I: int = 2,
    H: int = 5,
    learned: bool = False,
    training: bool = False,
) -> Scene:
    """Draw everything; noise only when training, the probe always where there is one.

    Wide layers get smaller weights: with large ones a net is chaotic, and one rounding grows a
    million times.
    """
    scale = 0.7 * min(1.0, (5 / H) ** 0.5)
    generator = torch.Generator().manual_seed(1000 * T + 100 * B + 10 * I + H)

    def normal(*shape: int) -> Tensor:
        return (
            scale * torch.randn(*shape, generator=generator, dtype=torch.float64)
        ).requires_grad_()

    weights = {name: normal(*shape) for name, shape in cell.weights(I, H).items()}
    if learned:
        weights |= {f"initial_{name}": normal(cell.width(name, H)) for name in cell.state}
    x, state = normal(T, B, I), tuple(normal(B, cell.width(name, H)) for name in cell.state)
    noise = cells.draw(cell, (T, B), H, x.detach(), generator) if training else {}
    probed = {name: each.of for name, each in cell.noises().items() if name.startswith("probe_")}
    noise |= {name: normal(T, B, cell.width(state, H)) for name, state in probed.items()}
    return Scene(cell, weights, x, state, noise or None)


def tensors(tree: Any) -> list[Tensor]:
    """Every tensor of a nested result, in order."""
    if isinstance(tree, Tensor):
        return [tree]
    if isinstance(tree, dict):
        return [tensor for part in tree.values() for tensor in tensors(part)]
    return (
        [tensor for part in tree or () for tensor in tensors(part)]
        if isinstance(tree, (tuple, list))
        else []
    )


def gradients(result: Any, leaves: dict[str, Tensor], seed: int = 3) -> dict[str, Tensor]:
    """The gradient of a random weighting of everything in `result`, by each leaf; zero where it
    does not count.
    """
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros((), dtype=torch.float64)
    for value in tensors(result):
        weighting = torch.randn(value.shape, generator=generator, dtype=torch.float64)
        if value.requires_grad:
            total = total + (value.double() * weighting.to(value.device)).sum()
    found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    return {
        name: torch.zeros_like(leaf) if d is None else d
        for (name, leaf), d in zip(leaves.items(), found)
    }


def assert_close(found: Any, expected: Any, tolerance: float = 1e-12, what: str = "") -> None:
    """Every tensor of `found` within `tolerance` of the largest of `expected`; shapes, dtypes and
    order equal.
    """
    left, right = tensors(found), tensors(expected)
    assert len(left) == len(right), f"{what}: {len(left)} tensors, not {len(right)}"
    for number, (value, reference) in enumerate(zip(left, right)):
        assert value.shape == reference.shape, (
            f"{what} {number}: {tuple(value.shape)}, not {tuple(reference.shape)}"
        )
        assert value.dtype == reference.dtype, (
            f"{what} {number}: {value.dtype}, not {reference.dtype}"
        )
        scale = max(1.0, float(reference.detach().abs().max())) if reference.numel() else 1.0
        error = (
            float((value.detach() - reference.detach()).abs().max()) if reference.numel() else 0.0
        )
        assert error <= tolerance * scale, f"{what} {number} differs by {error:.3g}"
