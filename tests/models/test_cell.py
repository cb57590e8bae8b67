"""A model's cells by name, and the layers made of them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from torch import nn

from recurra import cells
from recurra.errors import ArgumentError
from recurra.layers import LockedDropout, Recurrent, WeightDropout
from recurra.models.cell import CELLS, drop, make_cell, make_stack


@pytest.mark.parametrize("name", CELLS)
def test_a_name_is_a_cell_and_zoneout_goes_around_it(name: str) -> None:
    plain = make_cell(name)
    assert plain == CELLS[name]() == make_cell(plain) == make_cell(name, zoneout=[0, 0])
    c = 0.2 if "c" in plain.state else 0.0
    assert (
        make_cell(name, zoneout=(0.1, c))
        == cells.Zoneout(plain, h=0.1, c=c)
        == make_cell(plain, zoneout=[0.1, c])
    )


WRONG: list[tuple[Any, Any, str]] = [
    (
        "lstmm",
        (0.0, 0.0),
        (
            "cell must be one of 'gru', 'layer_norm_gru', 'layer_norm_lstm', 'lstm', 'min_gru',"
            " 'min_lstm', 'peephole_lstm', 'reset_before_gru', 'rnn', got 'lstmm'; did you mean"
            " 'lstm'?"
        ),
    ),
    *(
        ("lstm", rates, f"zoneout must be two rates (h, c), each in [0, 1), got {rates!r}")
        for rates in (
            0.1,
            (0.1,),
            (0.1, 0.2, 0.3),
            (0.1, 1.0),
            (-0.1, 0.0),
            (True, 0.0),
            ("0.1", 0.0),
            "ab",
            None,
            [float("nan"), 0.0],
        )
    ),
    ("gru", (0.1, 0.2), "zoneout must be (h, 0) for GRU(), whose state is ('h',), got (0.1, 0.2)"),
    (
        "min_lstm",
        (0.0, 0.2),
        "zoneout must be (h, 0) for MinLSTM(), whose state is ('h',), got (0.0, 0.2)",
    ),
    (
        cells.LSTM,
        (0.0, 0.2),
        (
            "cell must be a cell, got <class 'recurra.cells.lstm.LSTM'>; write"
            " Zoneout(recurra.cells.LSTM())"
        ),
    ),
    (
        cells.Zoneout(cells.LSTM(), h=0.3),
        (0.1, 0.0),
        "cell must not be a Zoneout already, got Zoneout(cell=LSTM(), h=0.3, c=0.0); wrap it once",
    ),
]


@pytest.mark.parametrize(
    ("cell", "zoneout", "message"), WRONG, ids=[f"{number}" for number in range(len(WRONG))]
)
def test_what_does_not_fit_is_refused(cell: Any, zoneout: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}$"):
        make_cell(cell, zoneout)


def test_each_layer_has_its_width_and_dropout_before_it() -> None:
    stack = make_stack(
        cells.LSTM(),
        (3, 7, 5, 4),
        dropout=0.3,
        input_dropout=0.2,
        weight_dropout=0.5,
        locked=True,
        init="torch",
    )
    kinds = [type(part) for part in stack.layers]
    assert kinds == [
        LockedDropout,
        WeightDropout,
        LockedDropout,
        WeightDropout,
        LockedDropout,
        WeightDropout,
    ]
    assert [part.rate for part in stack.layers] == [0.2, 0.5, 0.3, 0.5, 0.3, 0.5]
    layers = [part.layer for part in stack.layers[1::2]]
    assert [(layer.input_size, layer.hidden_size, layer.init) for layer in layers] == [
        (3, 7, "torch"),
        (7, 5, "torch"),
        (5, 4, "torch"),
    ]
    stack = make_stack(cells.ProjectedLSTM(2), (3, 7, 5), 0.3, 0.0, 0.0, False, "orthogonal")
    assert [type(part) for part in stack.layers] == [Recurrent, nn.Dropout, Recurrent]
    assert [part.input_size for part in stack.layers[::2]] == [3, 2] and stack.layers[1].p == 0.3


def test_drop_is_locked_or_not() -> None:
    assert isinstance(drop(0.4, True), LockedDropout) and isinstance(drop(0.4, False), nn.Dropout)
    assert drop(0.4, False).p == drop(0.4, True).rate == 0.4


@pytest.mark.parametrize("cell", [cells.MinGRU(), cells.MinLSTM()], ids=str)
def test_a_cell_without_recurrent_weights_has_none_to_drop(cell: Any) -> None:
    message = f"weight_dropout must be 0 for {cell!r}, which has no weight_hh, got 0.5"
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}$"):
        make_stack(cell, (3, 4), 0.0, 0.0, 0.5, False, "torch")
