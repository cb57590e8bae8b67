"""Scenes for the kernels' tests: a cell with its arrays, and the plain loop that says what is
right.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, sigmoid, tanh

from recurra.cells import (
    GRU,
    LSTM,
    Cell,
    Elman,
    LayerNormGRU,
    LayerNormLSTM,
    MinGRU,
    MinLSTM,
    PeepholeLSTM,
    Probed,
    ProjectedLSTM,
    RecurrentDropout,
    ResetBeforeGRU,
    Zoneout,
    draw,
)
from recurra.kernels.forward import forward
from recurra.program import trace


class Shared(Cell):
    """Values that cross phases: one found before a product is read after it, a sum u + v is a gate
    as it is.
    """

    state, gates = ("h", "c"), ("f", "g")

    def phases(self) -> Any:
        first, second = Cell.phases(self)[0], Cell.phases(self)[0]
        return first._replace(gates=("f",), pointwise=self.open), second._replace(
            gates=("g",), pointwise=self.write, operand=lambda s: s.new.q * s.h
        )

    def open(self, a: Any, s: Any) -> Any:
        return dict(f=a.f, q=sigmoid(a.f), m=torch.maximum(s.c, a.u.f))

    def write(self, a: Any, s: Any) -> Any:
        c = s.new.q * s.new.m + tanh(a.g)
        return dict(
            h=torch.where(c > 0, c, 0.5 * s.new.f),
            c=s.h * torch.full_like(c, 0.25).exp() + c,
            g=tanh(a.g),
        )


class Swap(Cell):
    """Each new state is the other old one: nothing is computed, and neither may be overwritten too
    early.
    """

    state, gates = ("h", "c"), ("g",)

    def phases(self) -> Any:
        return (Cell.phases(self)[0]._replace(gates=()),)

    def pointwise(self, a: Any, s: Any) -> Any:
        return dict(h=s.c, c=s.h, g=a.g)


CELLS: tuple[Cell, ...] = (
    Elman(),
    Elman("relu"),
    LSTM(),
    PeepholeLSTM(),
    ProjectedLSTM(3),
    GRU(),
    ResetBeforeGRU(),
    LayerNormLSTM(),
    LayerNormGRU(),
    MinGRU(),
    MinLSTM(),
    Zoneout(LSTM(), h=0.1, c=0.2),
    Zoneout(GRU(), h=0.3),
    RecurrentDropout(LSTM(), rate=0.3),
    RecurrentDropout(ResetBeforeGRU(), rate=0.3),
    Probed(LSTM()),
    Probed(GRU()),
    Zoneout(RecurrentDropout(ProjectedLSTM(2), 0.4), h=0.2),
    Shared(),
    Swap(),
)


@dataclass(frozen=True)
class Scene:
    """One scan: everything `forward` takes."""

    cell: Cell
    hidden: int
    weights: dict[str, Tensor]
    x: Tensor
    state: tuple[Tensor, ...]
    initial: tuple[Tensor, ...]
    noise: dict[str, Tensor]
    lengths: Tensor | None = None
    resets: Tensor | None = None
    reverse: bool = False

    def to(self, dtype: torch.dtype) -> Scene:
        """The same numbers in another dtype."""

        def each(values: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: value.to(dtype) for name, value in values.items()}

        state, initial = (
            tuple(v.to(dtype) for v in values) for values in (self.state, self.initial)
        )
        return replace(
            self,
            weights=each(self.weights),
            x=self.x.to(dtype),
            state=state,
            initial=initial,
            noise=each(self.noise),
        )


def scene(
    cell: Cell,
    steps: int = 5,
    rows: int = 3,
    hidden: int = 5,
    *,
    noisy: bool = False,
    ragged: bool = False,
    **options: Any,
) -> Scene:
    """A scene with random weights; noise, lengths (a 0 and a 1 among them) and resets if asked
    for.
    """
    generator = torch.Generator().manual_seed(hidden + 100 * steps)

    def normal(*shape: int, scale: float = 1.0) -> Tensor:
        return torch.randn(shape, generator=generator).double() * scale

    weights = {
        name: normal(*shape, scale=shape[-1] ** -0.5)
        for name, shape in cell.weights(2, hidden).items()
    }
    like = torch.zeros((), dtype=torch.float64)
    noise = draw(cell, (steps, rows), hidden, like, generator) if noisy else {}
    if noisy:
        probed = {
            name: each.of for name, each in cell.noises().items() if name.startswith("probe_")
        }
        noise |= {
            name: normal(steps, rows, cell.width(state, hidden)) for name, state in probed.items()
        }
    widths = [cell.width(name, hidden) for name in cell.state]
    if ragged:
        lengths = torch.randint(0, steps + 1, (rows,), generator=generator)
        lengths[:2] = torch.tensor([0, 1])[:rows]
        options |= dict(
            lengths=lengths, resets=torch.rand((steps, rows), generator=generator) < 0.4
        )
    x = normal(steps, rows, 2)
    state, initial = (tuple(normal(rows, width) for width in widths) for _ in range(2))
    made = Scene(cell, hidden, weights, x, state, initial, noise, **options)
    return made.to(torch.float32).to(torch.float64)


Result = list[Tensor]
"""h, the final states, every step's states, every step's gates."""


def looped(s: Scene) -> Result:
    """The plain loop over the cell's own `step`."""
    steps, rows = s.x.shape[:2]
    masks = [s.noise.get(name) for name in s.cell.lasting()]
    state, outputs, states, gates = s.state, [], [], []
    lengths = torch.full((rows,), steps) if s.lengths is None else s.lengths
    for t in reversed(range(steps)) if s.reverse else range(steps):
        valid = (t < lengths)[:, None]
        reset = valid & s.resets[t][:, None] if s.resets is not None else torch.zeros_like(valid)
        if not s.reverse:
            state = tuple(
                torch.where(reset, new, old) for new, old in zip(s.initial, state, strict=True)
            )
        noise = {name: s.noise[name][t] for name in s.noise if name not in s.cell.lasting()}
        u = s.cell.project(s.weights, torch.where(valid, s.x[t], 0.0))
        new, found = s.cell.step(s.weights, u, s.cell.state_type()(*state, *masks), noise)
        state = tuple(
            torch.where(valid, n, old) for n, old in zip(new[: len(state)], state, strict=True)
        )
        outputs.append(torch.where(valid, state[0], 0.0))
        states.append(state)
        gates.append([torch.where(valid, gate, 0.0) for gate in found])
        if s.reverse:
            state = tuple(
                torch.where(reset, new, old) for new, old in zip(s.initial, state, strict=True)
            )
    if s.reverse:
        outputs, states, gates = outputs[::-1], states[::-1], gates[::-1]
    return [
        torch.stack(outputs),
        *state,
        *map(torch.stack, zip(*states, strict=True)),
        *map(torch.stack, zip(*gates, strict=True)),
    ]


def fused(s: Scene) -> Result:
    """The same by the native driver, all kept."""
    program = trace(s.cell, s.noise)
    h, final, states, gates = forward(
        program,
        s.weights,
        s.x,
        s.state,
        s.initial,
        noise=s.noise,
        lengths=s.lengths,
        resets=s.resets,
        reverse=s.reverse,
        keep=("states", "gates"),
    )
    assert states is not None and gates is not None
    return [h, *final, *states, *gates]


def assert_right(s: Scene, dtype: torch.dtype) -> None:
    """Hold the driver to the loop: float64 to 1e-12, float32 to twice the loop's own error and 16
    eps.
    """
    exact, got = looped(s), fused(s.to(dtype))
    loop32 = looped(s.to(torch.float32)) if dtype == torch.float32 else exact
    assert len(got) == len(exact)
    for number, (mine, right, loop) in enumerate(zip(got, exact, loop32, strict=True)):
        assert mine.dtype == dtype and mine.shape == right.shape
        size = max(1.0, right.abs().max().item())
        bound = 1e-12 * size
        if dtype == torch.float32:
            bound = (
                2 * (loop - right).abs().max().item() + 16 * torch.finfo(torch.float32).eps * size
            )
        error = (mine - right).abs().max().item()
        assert error <= bound, f"value {number}: error {error}, bound {bound}"
