"""Each cell and each layer that a network may have, small."""

from __future__ import annotations

from collections.abc import Callable

import torch

import recurra
from recurra import cells
from recurra.cells import Known, Phase, Pre
from recurra.cells.values import Values
from recurra.network import (
    ACTIVATIONS,
    Activation,
    Conv,
    Layer,
    LayerNorm,
    Linear,
    Network,
    Residual,
)
from tests.cells.zoo import CoupledLSTM
from tests.network.nets import adaptive, matrix, numbers, recurrent


class RenamedRNN(cells.Cell):
    """The plain cell with names of its own."""

    state, gates = ("y",), ("unit",)

    def phases(self) -> tuple[Phase, ...]:
        return (Phase(self.pointwise, self.gates, operand=lambda s: s.y, reads="y"),)

    def pointwise(self, a: Pre, s: Known) -> Values:
        y = torch.tanh(a.v.unit + a.u.unit)
        return dict(y=y, unit=y)


class RenamedLSTM(cells.Cell):
    """An LSTM with other names, in another order."""

    state, gates = ("y", "memory"), ("out", "write", "keep", "candidate")

    def phases(self) -> tuple[Phase, ...]:
        gates = ("candidate", "out", "write", "keep")
        return (Phase(self.pointwise, gates, operand=lambda s: s.y, reads="y"),)

    def pointwise(self, a: Pre, s: Known) -> Values:
        candidate, keep = torch.tanh(a.candidate), torch.sigmoid(a.keep)
        write, out = torch.sigmoid(a.write), torch.sigmoid(a.out)
        memory = candidate * write + keep * s.memory
        y = torch.tanh(memory) * out
        return dict(y=y, memory=memory, out=out, write=write, keep=keep, candidate=candidate)


class RenamedGRU(cells.Cell):
    """A GRU that moves from the old towards the new by a share, with other names."""

    state, gates = ("h",), ("novel", "share", "reset")

    def pointwise(self, a: Pre, s: Known) -> Values:
        share, reset = torch.sigmoid(a.share), torch.sigmoid(a.reset)
        novel = torch.tanh(a.u.novel + a.v.novel * reset)
        return dict(h=s.h + share * (novel - s.h), novel=novel, share=share, reset=reset)


OWN = {
    "elman": (cells.Elman(), "RNN"),
    "relu": (cells.Elman("relu"), "RNN"),
    "lstm": (cells.LSTM(), "LSTM"),
    "peephole": (cells.PeepholeLSTM(), "LSTM"),
    "gru": (cells.GRU(), "GRU"),
    "reset_before": (cells.ResetBeforeGRU(), "GRU"),
    "renamed_rnn": (RenamedRNN(), "RNN"),
    "renamed_lstm": (RenamedLSTM(), "LSTM"),
    "renamed_gru": (RenamedGRU(), "GRU"),
    "recurrent_dropout": (recurra.RecurrentDropout(cells.GRU(), 0.2), "GRU"),
}
PRINTED = {
    "projected": cells.ProjectedLSTM(3),
    "layer_norm_lstm": cells.LayerNormLSTM(),
    "layer_norm_gru": cells.LayerNormGRU(),
    "min_gru": cells.MinGRU(),
    "min_lstm": cells.MinLSTM(),
    "zoneout": recurra.Zoneout(cells.LSTM(), h=0.1, c=0.2),
    "zoneout_gru": recurra.Zoneout(cells.ResetBeforeGRU(), h=0.3),
    "coupled": CoupledLSTM(),
}
CELLS = {name: cell for name, (cell, _) in OWN.items()} | PRINTED
WIDTH = 6
LAYERS: dict[str, Callable[[], Layer]] = {
    "linear": lambda: Linear(matrix(5, WIDTH), numbers(5)),
    "linear_plain": lambda: Linear(matrix(5, WIDTH)),
    "norm": lambda: LayerNorm(WIDTH, numbers(WIDTH), numbers(WIDTH, seed=1)),
    "norm_plain": lambda: LayerNorm(WIDTH, eps=1e-3),
    "norm_bias": lambda: LayerNorm(WIDTH, None, numbers(WIDTH)),
    "conv": lambda: Conv(matrix(4, 3 * WIDTH), numbers(4), WIDTH, 3),
    "conv_dilated": lambda: Conv(matrix(4, 3 * WIDTH), None, WIDTH, kernel=3, dilation=4),
    "conv_grouped": lambda: Conv(matrix(4, 2 * WIDTH // 2), numbers(4), WIDTH, kernel=2, groups=2),
    "conv_point": lambda: Conv(matrix(4, WIDTH), numbers(4), WIDTH, kernel=1),
    "residual": lambda: Residual(
        (
            Conv(matrix(WIDTH, 2 * WIDTH), None, WIDTH, 2),
            Residual((recurrent(cells.GRU(), WIDTH, WIDTH),)),
        )
    ),
    "adaptive": lambda: adaptive(WIDTH),
    "adaptive_plain": lambda: adaptive(WIDTH, 1, (2,), bias=False),
    **{kind: lambda kind=kind: Activation(kind, WIDTH) for kind in ACTIVATIONS},  # type: ignore[misc]
}


def net(*layers: Layer) -> Network:
    return Network(layers)
