"""A network and its layers are a line each at a prompt, whatever their weights, and a table in a
notebook.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import recurra
from recurra.network import Activation, Conv, Linear, Matrix, Network, Recurrent
from recurra.network.network import walk
from tests.display.markup import Markup
from tests.network.nets import adaptive, every_kind, matrix, numbers, recurrent

LINES = [
    "Embedding(11 -> 6, float32)",
    "Recurrent(6 -> 6, LSTM(), float32)",
    (
        "Residual(6 -> 6, Recurrent(6 -> 6, GRU(), float32), Activation(6 -> 6, gelu), LayerNorm(6"
        " -> 6, eps=1e-05))"
    ),
]


def test_every_kind_of_layer_is_a_line() -> None:
    net = every_kind()
    assert [repr(layer) for layer in net.layers[:3]] == LINES
    for _, layer in walk(net.layers):
        assert (
            "\n" not in repr(layer)
            and "array" not in repr(layer)
            and str(layer.widths[1]) in repr(layer)
        )
    conv = Conv(matrix(4, 6), numbers(4), 6, 2, groups=2)
    assert repr(conv) == "Conv(6 -> 4, float32, kernel=2, dilation=1, groups=2)"
    assert repr(adaptive(6)) == "AdaptiveSoftmax(6 -> 25, float32)"


@pytest.mark.parametrize(
    ("precision", "size"), [("float32", "48 bytes"), ("bfloat16", "24 bytes"), ("int8", "28 bytes")]
)
def test_the_precision_and_the_bytes_are_said(precision: str, size: str) -> None:
    net = Network((Linear(matrix(4, 3).quantised(precision)),))
    assert repr(net) == f"Network(3 features -> Linear -> 4, {size} of {precision})"
    assert repr(net.layers[0]) == f"Linear(3 -> 4, {precision})"
    assert repr(matrix(4, 3).quantised(precision)) == f"Matrix((4, 3), {precision})"


def test_a_network_is_a_table_of_its_layers_and_facts() -> None:
    net = Network(
        (recurrent(recurra.cells.LSTM(), 3, 5), Activation("tanh", 5)),
        facts={"licence": "<b>", "epochs": 3},
    )
    assert repr(net).startswith("Network(3 features -> LSTM() -> Activation -> 5, ")
    cells = Markup(net._repr_html_()).cells
    assert cells[1] == ["0", "Recurrent(3 -> 5, LSTM(), float32)", "h 5, c 5"] and cells[2] == [
        "1",
        "Activation(5 -> 5, tanh)",
        "",
    ]
    assert cells[3:6] == [
        ["input", "3 features"],
        ["output", "5"],
        ["weights", f"{net.nbytes} bytes of float32"],
    ]
    assert cells[6:] == [["licence", "<b>"], ["epochs", "3"]]


def test_names_of_a_hostile_file_stay_text() -> None:
    layer = recurrent(recurra.cells.Elman(), 3, 5)
    cell = "<script>a</script>\n\x1b[2J" + "long " * 100
    net = Network(
        (Recurrent(dataclasses.replace(layer.program, cell=cell), layer.matrices, layer.vectors),),
        facts={"<i>\n": "<script>"},
    )
    for said in (repr(net), repr(net.layers[0]), repr(net.layers[0].program)):
        assert said.isprintable() and len(said) < 400
    seen = Markup(net._repr_html_())
    assert "<script>a</script>" in seen.words and ["<i>", "<script>"] in seen.cells


def test_a_deep_network_is_a_short_line() -> None:
    net = Network(tuple(Linear(Matrix(np.ones((2, 2), np.float32))) for _ in range(500)))
    assert (
        len(repr(net)) < 260 and "..." in repr(net) and len(Markup(net._repr_html_()).cells) == 504
    )


def test_the_states_of_layers_ten_and_one_are_told_apart() -> None:
    layers = [Activation("tanh", 5)] * 11
    layers[10:] = [recurrent(recurra.cells.GRU(), 5, 5)]  # type: ignore[list-item]
    net = Network(tuple(layers))
    assert [line[2] for line in Markup(net._repr_html_()).cells[1:12]] == [*[""] * 10, "h 5"]
