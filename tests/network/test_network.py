"""What fits together and what does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from recurra.cells import GRU, LSTM, LayerNormLSTM, PeepholeLSTM, ProjectedLSTM, Zoneout
from recurra.errors import RecurraError
from recurra.network import (
    Activation,
    Conv,
    Embedding,
    LayerNorm,
    Linear,
    Matrix,
    Network,
    Recurrent,
    Residual,
)
from recurra.program import trace
from recurra.program.evaluation import forward_only
from tests.network.nets import adaptive, every_kind, matrix, numbers, recurrent


def test_a_network_says_its_sizes_and_its_state() -> None:
    network = every_kind(6)
    assert (network.reads_tokens, network.input_size, network.output_size, network.precision) == (
        True,
        11,
        11,
        "float32",
    )
    assert [(spec.name, spec.width) for spec in network.states] == [
        ("1.h", 6),
        ("1.c", 6),
        ("2.0.h", 6),
        ("3.past", 24),
        ("4.past", 18),
    ]
    assert network.states[0].first.any() and not network.states[3].first.any()


def test_quantising_keeps_what_is_shared_shared() -> None:
    network = every_kind().quantised("int8")
    assert network.precision == "int8" and network.layers[0].weight is network.layers[-1].weight  # type: ignore[union-attr]
    assert 0.25 < network.nbytes / every_kind().nbytes < 0.5
    mixed = Network((Linear(matrix(3, 3)), Linear(matrix(3, 3).quantised("int8"))))
    assert mixed.precision == "mixed" and Network((Activation("relu", 3),)).precision == "float32"


@pytest.mark.parametrize("cell", [LSTM(), LayerNormLSTM(), ProjectedLSTM(2)], ids=repr)
def test_a_program_loses_its_derivative_and_nothing_else(cell: Any) -> None:
    whole, less = trace(cell), forward_only(trace(cell))
    assert len(less.nodes) < len(whole.nodes) and forward_only(less) == less
    assert (less.cell, less.params, less.widths, less.input_norm) == (
        whole.cell,
        whole.params,
        whole.widths,
        whole.input_norm,
    )
    assert (
        not less.derivative.du
        and list(less.state) == list(whole.state)
        and list(less.gates) == list(whole.gates)
    )


def _without(layer: Recurrent, name: str) -> Recurrent:
    matrices = {key: value for key, value in layer.matrices.items() if key != name}
    return Recurrent(
        layer.program, matrices, {key: value for key, value in layer.vectors.items() if key != name}
    )


def gru(weight_ih: Matrix, weight_hh: Matrix) -> Recurrent:
    return Recurrent(trace(GRU()), {"weight_ih": weight_ih, "weight_hh": weight_hh})


NOISY = trace(Zoneout(GRU(), h=0.5), ["zoneout_h"])
LINEAR = Linear(matrix(3, 2))
REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: Network(()), "layers must hold at least one layer, got none"),
    (
        lambda: Network((Linear(matrix(3, 2)), Linear(matrix(2, 4)))),
        "layer 1 must take the width that layer 0 gives, 3, got 4",
    ),
    (
        lambda: Network((LINEAR, Embedding(matrix(3, 2)))),
        "layers must read tokens in the first layer only, got an embedding at 1",
    ),
    (
        lambda: Linear(matrix(3, 2), numbers(2)),
        "bias must be float32 of shape (3,), got float32 (2,)",
    ),
    (lambda: LayerNorm(3, eps=0), "eps must be a number in (0, 1e+30), got 0"),
    (
        lambda: Activation("rely", 3),
        (
            "kind must be one of 'gelu', 'gelu_tanh', 'relu', 'sigmoid', 'tanh', got 'rely'; did"
            " you mean 'relu'?"
        ),
    ),
    (
        lambda: Conv(matrix(4, 6), None, 3, 0),
        "kernel must be a positive whole number, got 0",
    ),
    (
        lambda: Conv(matrix(4, 6), None, 3, 2, groups=2),
        "groups must divide the widths 3 and 4, got 2",
    ),
    (lambda: Conv(matrix(4, 6), None, 4, 2), "weight must have shape (O, 8), got (4, 6)"),
    (
        lambda: adaptive(4, 0),
        (
            "weight must have a row for each of some words and some clusters, got 2 rows and 2"
            " clusters"
        ),
    ),
    (
        lambda: adaptive(4, 2, ()),
        (
            "weight must have a row for each of some words and some clusters, got 2 rows and 0"
            " clusters"
        ),
    ),
    (
        lambda: replace(adaptive(4), weight=matrix(5, 3)),
        "cluster 0 must have shapes (D, 3) and (words, D), got (3, 4) and (5, 3)",
    ),
    (
        lambda: replace(adaptive(4), bias=numbers(3)),
        "bias must be float32 of shape (5,), got float32 (3,)",
    ),
    (
        lambda: Residual((Linear(matrix(3, 2)),)),
        "layers of a residual must give back the width that they take, got 2 and 3",
    ),
    (
        lambda: _without(recurrent(GRU(), 2, 3), "weight_ih"),
        "matrices must hold 'weight_ih', got weight_hh",
    ),
    (
        lambda: _without(recurrent(GRU(), 2, 3), "weight_hh"),
        "matrices must hold 'weight_hh', got weight_ih",
    ),
    (lambda: _without(recurrent(PeepholeLSTM(), 2, 3), "p_i"), "vectors must hold 'p_i', got "),
    (
        lambda: gru(matrix(10, 2), matrix(9, 3)),
        "weight_ih must have rows for 3 gates of one size, got 10",
    ),
    (lambda: gru(matrix(9, 2), matrix(9, 4)), "weight_hh must have shape (9, 3), got (9, 4)"),
    (
        lambda: Recurrent(NOISY, {}),
        "program must be that of a cell at evaluation, got one with noise ",
    ),
]


@pytest.mark.parametrize(("make", "text"), REFUSED, ids=[text[:40] for _, text in REFUSED])
def test_what_does_not_fit_is_refused(make: Callable[[], Any], text: str) -> None:
    with pytest.raises(RecurraError) as raised:
        make()
    assert str(raised.value).startswith(text) and (text.endswith(" ") or str(raised.value) == text)


def test_vectors_that_no_equation_reads_are_refused() -> None:
    layer = recurrent(GRU(), 2, 3)
    with pytest.raises(RecurraError, match="vectors must be one of .*bias_hh.*, got 'bias_xx'"):
        Recurrent(layer.program, layer.matrices, {"bias_xx": np.zeros(9, np.float32)})
