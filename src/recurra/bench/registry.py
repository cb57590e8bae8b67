"""What is measured: the shapes, the peers, and beside each row the number that it is to reach."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn, sigmoid, tanh
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from recurra import cells
from recurra.bench.shape import Shape
from recurra.bench.side import Side, plain, step_by_step, with_noise
from recurra.bench.target import Target
from recurra.engine import forcing
from recurra.layers import GRU, LSTM, RNN, Recurrent

SHAPES = (
    Shape(35, 20, 200, 200, 2),
    Shape(64, 64, 256, 256, 1),
    Shape(64, 64, 256, 256, 2),
    Shape(64, 32, 512, 512, 2),
    Shape(35, 20, 650, 650, 2),
    Shape(100, 128, 64, 128, 1),
    Shape(200, 16, 32, 64, 1),
)
"""Of the published language models and of small streams."""
QUICK_SHAPES = (SHAPES[0], SHAPES[1], SHAPES[6])
PARTS = ("cells", "variants", "ragged", "long", "memory", "flat", "step")
RAGGED, LONG, FLAT = Shape(200, 64, 128, 128), Shape(1000, 1, 128, 128), Shape(5, 2, 8, 16)
STEPS = (
    Shape(200, 1, 16, 32),
    Shape(200, 1, 40, 64),
    Shape(200, 1, 64, 128, 2),
    Shape(200, 1, 128, 256, 2),
)

SHARE, SHARE_ROWS, SHARE_HIDDEN = Target(0.67), 32, 256
"""The share of the FMA peak, asked for on two threads, from so many rows and units on."""
RAGGED_TARGETS = {"full": Target(1.1, at_least=False), "packed": Target(5.0)}
LONG_TARGET = Target(2.0)
FLAT_TARGET, FLAT_CALLS = Target(1.0, at_least=False), 10_000
"""MiB of growth, and over how many calls: a tensor lost at each would be several."""
SHAKESPEARE = Target(1.4)
"""The time of a pass with torch.nn.LSTM over ours: `python -m benchmarks shakespeare`."""


class Contender(NamedTuple):
    """A cell that torch.nn has too.

    Attributes:
        gates: G.
        ours, peer: the two modules, which share names of weights.
        mean, worst: what torch's time over ours is to reach: over the seven shapes (geometric
            mean), and in each.
        busy: the same mean beside one busy process.
        held: floats a step, row and unit held for backward; and with `recompute=True`.
    """

    gates: int
    ours: type[nn.Module]
    peer: type[nn.Module]
    mean: Target
    worst: Target
    busy: Target | None = None
    held: tuple[Target, Target] | None = None


CONTENDERS = {
    "lstm": Contender(
        4,
        LSTM,
        nn.LSTM,
        Target(1.5),
        Target(1.15),
        Target(5.0),
        (Target(5.0, at_least=False), Target(2.0, at_least=False)),
    ),
    "gru": Contender(3, GRU, nn.GRU, Target(2.0), Target(1.5)),
    "rnn": Contender(1, RNN, nn.RNN, Target(2.0), Target(1.5)),
}


class CoupledLSTM(cells.Cell):
    """What a user might write: one gate both forgets and writes.

    Source: Greff et al. (2017), doi:10.1109/TNNLS.2016.2582924.
    """

    state, gates = ("h", "c"), ("f", "g", "o")

    def pointwise(self, a: Any, s: Any) -> dict[str, Tensor]:
        f, g, o = sigmoid(a.f), tanh(a.g), sigmoid(a.o)
        c = f * s.c + (1 - f) * g
        return dict(h=o * tanh(c), c=c, f=f, g=g, o=o)


class Variant(NamedTuple):
    """A cell that torch.nn lacks, against our plain one.

    Attributes:
        cell: the cell for a hidden size.
        target: what its time over the plain cell's may be; from 256 units on where `narrow` is
            given.
        narrow: the same below 256 units.
        work: the share of the plain cell's work that is its own.
    """

    cell: Callable[[int], cells.Cell]
    target: Target
    narrow: Target | None = None
    work: float = 1.0

    def at(self, hidden_size: int) -> Target:
        """What is asked for at a width."""
        return self.narrow if self.narrow is not None and hidden_size < 256 else self.target


NEAR, APART = (
    Target(1.15, at_least=False),
    (Target(1.25, at_least=False), Target(1.5, at_least=False)),
)
PLAIN: dict[str, cells.Cell] = {"lstm": cells.LSTM(), "gru": cells.GRU(), "rnn": cells.Elman()}
VARIANTS = {
    "lstm": {
        "Zoneout LSTM": Variant(lambda hidden: cells.Zoneout(cells.LSTM(), h=0.1, c=0.05), NEAR),
        "RecurrentDropout LSTM": Variant(
            lambda hidden: cells.RecurrentDropout(cells.LSTM(), rate=0.2), NEAR
        ),
        "PeepholeLSTM": Variant(lambda hidden: cells.PeepholeLSTM(), NEAR),
        "LayerNormLSTM": Variant(lambda hidden: cells.LayerNormLSTM(), *APART),
        "ProjectedLSTM (H / 2)": Variant(
            lambda hidden: cells.ProjectedLSTM(max(1, hidden // 2)), *APART
        ),
        "CoupledLSTM, a user's": Variant(lambda hidden: CoupledLSTM(), NEAR, work=3 / 4),
    },
    "gru": {
        "Zoneout GRU": Variant(lambda hidden: cells.Zoneout(cells.GRU(), h=0.1), NEAR),
        "ResetBeforeGRU": Variant(lambda hidden: cells.ResetBeforeGRU(), *APART),
    },
}


class Case(NamedTuple):
    """Sides that are timed in turn.

    Attributes:
        part: of `PARTS`.
        name: of the row.
        shape: what is timed.
        sides: makes the sides for a shape, by name.
        references: for each side that is checked, the one that it must equal; itself: the plain
            loop.
    """

    part: str
    name: str
    shape: Shape
    sides: Callable[[Shape], dict[str, Side]]
    references: dict[str, str]


def cell_case(part: str, name: str, shape: Shape) -> Case:
    """A cell against torch.nn."""
    return Case(
        part,
        name,
        shape,
        lambda at: dict(zip(("ours", "torch"), _pair(name, at, plain, plain))),
        {"ours": "torch"},
    )


def variant_case(name: str, shape: Shape) -> Case:
    """The variants of a cell and the plain one."""
    made = {name: lambda hidden: PLAIN[name]} | {
        key: variant.cell for key, variant in VARIANTS[name].items()
    }

    def sides(at: Shape) -> dict[str, Side]:
        return {
            key: Side(
                Recurrent(cell(at.hidden_size), at.input_size, at.hidden_size, dtype=torch.float32),
                with_noise,
            )
            for key, cell in made.items()
        }

    return Case("variants", name, shape.one_layer(), sides, {key: key for key in made})


def ragged_case(name: str, shape: Shape) -> Case:
    """Rows of 1 to T steps: ours, ours on the full batch, and torch.nn on a PackedSequence."""

    def sides(at: Shape) -> dict[str, Side]:
        lengths = ragged_lengths(at)

        def ragged(module: nn.Module, x: Tensor, noise: Any) -> tuple[Tensor, Any]:
            done: tuple[Tensor, Any] = module(x, lengths=lengths)
            return done

        def packed(module: nn.Module, x: Tensor, noise: Any) -> tuple[Tensor, Any]:
            y, state = module(pack_padded_sequence(x, lengths, enforce_sorted=False))
            return pad_packed_sequence(y, total_length=len(x))[0], state

        ours, peer = _pair(name, at, ragged, packed)
        return {"ours": ours, "full": ours._replace(call=plain), "packed": peer}

    return Case("ragged", name, shape.one_layer(), sides, {"ours": "packed"})


def step_case(name: str, shape: Shape) -> Case:
    """One step at a time without gradients: `step`, torch.nn on one step, and the plain loop."""

    def sides(at: Shape) -> dict[str, Side]:
        def forward(module: nn.Module, x: Tensor, state: Any) -> tuple[Tensor, Any]:
            y, after = module(x[None], state)
            return y[0], after

        def looped(module: nn.Module, x: Tensor, noise: Any) -> tuple[Tensor, Any]:
            with forcing("loop"):
                return steps(module, x, noise)

        steps = step_by_step(lambda module, x, state: module.step(x, state))  # type: ignore[operator]
        ours, peer = (
            side._replace(gradients=False) for side in _pair(name, at, steps, step_by_step(forward))
        )
        return {"ours": ours, "torch": peer, "loop": ours._replace(call=looped)}

    return Case("step", name, shape, sides, {"ours": "torch"})


def ragged_lengths(shape: Shape) -> Tensor:
    """(B,), uniform in 1..T; the longest is T."""
    lengths = torch.randint(
        1, shape.steps + 1, (shape.rows,), generator=torch.Generator().manual_seed(0)
    )
    lengths[0] = shape.steps
    return lengths


def _pair(name: str, shape: Shape, ours: Any, peer: Any) -> tuple[Side, Side]:
    """Ours and torch.nn's of one cell, with the same weights."""
    contender, sizes = CONTENDERS[name], shape[2:]
    module: nn.Module = contender.ours(*sizes, init="torch", dtype=torch.float32)  # type: ignore[call-arg]
    other: nn.Module = contender.peer(*sizes, dtype=torch.float32)
    other.load_state_dict(module.state_dict())
    return Side(module, ours), Side(other, peer)
