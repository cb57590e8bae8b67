"""An adaptive softmax comes back from its ONNX graph, and nothing that is only like one is taken
for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recurra
from recurra.cells import GRU
from recurra.errors import ConversionError
from recurra.export import network_of, to_onnx
from recurra.network import Network
from tests.export.onnx_files import X, agrees, node, written
from tests.network.nets import adaptive, held, numbers, recurrent

PART = "must be part of a layer that recurra takes, got a formula of its own of"
OPERATOR = "must be an operator of a layer that streams, got"


def kinds(network: Network) -> list[str]:
    return [type(layer).__name__ for layer in network.layers]


@pytest.mark.parametrize("kind", ["step", "sequence"])
@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize(
    "before", [(), (recurrent(GRU(), 3, 3, learned=False),)], ids=["alone", "after a cell"]
)
def test_an_adaptive_softmax_comes_back(
    before: Any, precision: str, kind: str, tmp_path: Path
) -> None:
    network = Network((*before, adaptive(3, 4, (2, 3), bias=bool(before)))).quantised(precision)
    to_onnx(network, tmp_path / "m.onnx", kind=kind)
    back = network_of(tmp_path / "m.onnx")
    assert kinds(back) == kinds(network) and [
        narrow.shape for narrow, _ in back.layers[-1].clusters
    ] == [
        (3, 3),
        (2, 3),
    ]  # type: ignore[union-attr]
    held(network, X, recurra.runtime.Model(back).session(2).push(X))


CLUSTERS = {
    "w": numbers(3, 5),
    "i": numbers(3, 2),
    "o": numbers(2, 4),
    "b": numbers(4),
    "halves": np.array([4, 1]),
    "thirds": np.array([3, 1, 1]),
}
HEAD = [node("MatMul", "x w", "h"), node("LogSoftmax", "h", "p", axis=-1)]
INNER = [
    node("MatMul", "x i", "n"),
    node("MatMul", "n o", "r"),
    node("LogSoftmax", "r", "t", axis=-1),
]
PUT = [node("Add", "t c", "a"), node("Concat", "f a", "y", axis=-1)]
SPLIT = node("Split", "p halves", "f c", axis=-1)


def test_an_adaptive_softmax_in_another_order_is_one(tmp_path: Path) -> None:
    nodes = [*INNER, *HEAD, SPLIT, node("Add", "c t", "a"), node("Concat", "f a", "y", axis=2)]
    assert kinds(agrees(written(tmp_path / "m.onnx", nodes, CLUSTERS), X)) == ["AdaptiveSoftmax"]


ALMOST: dict[str, list[Any]] = {
    "a log-softmax alone": [node("MatMul", "x w", "h"), node("LogSoftmax", "h", "y", axis=-1)],
    "over time": [node("MatMul", "x w", "h"), node("LogSoftmax", "h", "y", axis=0)],
    "of the input": [
        node("LogSoftmax", "x", "p", axis=-1),
        node("Split", "p ends", "f c", axis=-1),
        *INNER,
        *PUT,
    ],
    "a cluster without words": [*HEAD, node("Split", "p thirds", "f c e", axis=-1), *INNER, *PUT],
    "a head alone": [
        *HEAD,
        node("Split", "p all", "f", axis=-1),
        node("Concat", "f", "y", axis=-1),
    ],
    "no words in the head": [
        node("MatMul", "x one", "h"),
        node("LogSoftmax", "h", "p", axis=-1),
        node("Split", "p none", "f c", axis=-1),
        *INNER,
        *PUT,
    ],
    "a part twice": [*HEAD, SPLIT, node("Concat", "f f", "y", axis=-1)],
    "words first": [
        *HEAD,
        SPLIT,
        *INNER,
        node("Add", "t c", "a"),
        node("Concat", "a f", "y", axis=-1),
    ],
    "without its cluster": [*HEAD, SPLIT, *INNER, node("Concat", "f t", "y", axis=-1)],
    "a tail of one product": [
        *HEAD,
        SPLIT,
        node("MatMul", "x e", "r"),
        node("LogSoftmax", "r", "t", axis=-1),
        *PUT,
    ],
    "a tail with a bias": [
        *HEAD,
        SPLIT,
        *INNER[:2],
        node("Add", "r b", "s"),
        node("LogSoftmax", "s", "t", axis=-1),
        *PUT,
    ],
    "a tail of something else": [
        *HEAD,
        SPLIT,
        node("Tanh", "x", "z"),
        node("MatMul", "z i", "n"),
        *INNER[1:],
        *PUT,
    ],
    "a tail further on": [
        *HEAD,
        SPLIT,
        node("MatMul", "x k", "z"),
        node("MatMul", "z i", "n"),
        *INNER[1:],
        *PUT,
    ],
}


@pytest.mark.parametrize("what", ALMOST)
def test_what_is_almost_an_adaptive_softmax_is_refused(what: str, tmp_path: Path) -> None:
    weights = CLUSTERS | {
        "e": numbers(3, 4),
        "k": numbers(3, 3),
        "ends": np.array([2, 1]),
        "all": np.array([5]),
        "one": numbers(3, 1),
        "none": np.array([0, 1]),
    }
    with pytest.raises(ConversionError, match=f"({PART}|{OPERATOR}) .*") as raised:
        network_of(written(tmp_path / "m.onnx", ALMOST[what], weights))
    assert "\n" not in str(raised.value)
