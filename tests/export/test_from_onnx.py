"""Networks of ONNX files against ONNX Runtime."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import recurra
from recurra.cells import GRU, LSTM, Elman, PeepholeLSTM, ResetBeforeGRU
from recurra.errors import ArgumentError, ConversionError, DataError, MissingDependency
from recurra.export import network_of, to_onnx, to_rcr
from recurra.network import Linear, Network, Recurrent
from recurra.runtime import load
from tests.export.onnx_files import (
    FLOAT,
    TOKENS,
    Convolved,
    Stateful,
    Tagger,
    X,
    agrees,
    exported,
    node,
    written,
)
from tests.network.nets import held, matrix, numbers, recurrent


def kinds(network: Network) -> list[str]:
    return [type(layer).__name__ for layer in network.layers]


@pytest.mark.parametrize("opset", [11, 13, 17, 20])
def test_what_pytorch_exports_is_taken(opset: int, tmp_path: Path) -> None:
    tokens = numbers(2, 9).astype(np.int64) % 11
    for approximate in ("none", "tanh"):
        path = exported(
            Tagger(approximate),
            (torch.from_numpy(tokens),),
            tmp_path / "m.onnx",
            opset,
            {0: "b", 1: "t"},
        )
        network = agrees(path, tokens, "BTC")
        assert kinds(network) == [
            "Embedding",
            "Recurrent",
            "Recurrent",
            "LayerNorm",
            "Activation",
            "Linear",
        ]
        assert network.layers[4].kind == {"none": "gelu", "tanh": "gelu_tanh"}[approximate]  # type: ignore[union-attr]
    x, h = numbers(5, 2, 6), np.zeros((2, 2, 8), np.float32)
    path = exported(
        Stateful(),
        (torch.from_numpy(x), torch.from_numpy(h)),
        tmp_path / "s.onnx",
        opset,
        {0: "t", 1: "b"},
    )
    assert kinds(agrees(path, x, h=h)) == ["Recurrent", "Recurrent", "Linear", "Activation"]
    x = numbers(2, 9, 4)
    path = exported(
        Convolved(), (torch.from_numpy(x),), tmp_path / "c.onnx", opset, {0: "b", 1: "t"}
    )
    assert kinds(agrees(path, x, "BTC")) == ["Conv", "Activation", "Residual", "Recurrent"]


def test_a_file_becomes_one_of_the_runtime(tmp_path: Path) -> None:
    path = written(
        tmp_path / "m.onnx",
        [node("MatMul", "x w", "p"), node("Tanh", "p", "y")],
        {"w": numbers(3, 4)},
    )
    to_rcr(
        path, tmp_path / "m.rcr", precision="bfloat16", facts={"licence": "MIT"}, vocabulary=None
    )
    network = load(tmp_path / "m.rcr").network
    assert (
        network.precision == "bfloat16"
        and network.facts == {"licence": "MIT"}
        and kinds(network) == ["Linear", "Activation"]
    )


@pytest.mark.parametrize("kind", ["step", "sequence"])
@pytest.mark.parametrize(
    "cell", [Elman(), Elman("relu"), LSTM(), PeepholeLSTM(), GRU(), ResetBeforeGRU()], ids=repr
)
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_what_recurra_exports_comes_back(
    cell: Any, kind: str, precision: str, tmp_path: Path
) -> None:
    network = Network(
        (
            Linear(matrix(3, 3)),
            recurrent(cell, 3, 4, learned=False),
            Linear(matrix(2, 4), numbers(2)),
        )
    ).quantised(precision)
    to_onnx(network, tmp_path / "m.onnx", kind=kind)
    back = network_of(tmp_path / "m.onnx")
    found = recurra.runtime.Model(back).session(2).push(X)
    held(network, X, found)


def test_tied_matrices_stay_one(tmp_path: Path) -> None:
    table = numbers(11, 3)
    nodes = [
        node("Gather", "table x", "e"),
        node("Transpose", "table", "turned", perm=[1, 0]),
        node("MatMul", "e turned", "y"),
    ]
    network = agrees(
        written(tmp_path / "m.onnx", nodes, {"table": table}, ("t", "b"), TOKENS),
        X[..., 0].astype(np.int64) % 11,
    )
    assert network.layers[0].weight is network.layers[1].weight  # type: ignore[union-attr]


def weights(gates: int, hidden: int = 4, inputs: int = 3) -> dict[str, Any]:
    return {
        "w": numbers(1, gates * hidden, inputs),
        "r": numbers(1, gates * hidden, hidden),
        "b": numbers(1, 2 * gates * hidden),
    }


SPELT: dict[str, list[Any]] = {
    "squeeze": [node("Squeeze", "Y one", "y")],
    "squeeze of any": [node("Squeeze", "Y", "y")],
    "zeros and minus one": [
        node("Transpose", "Y", "t", perm=[0, 2, 1, 3]),
        node("Reshape", "t copied", "y"),
    ],
    "sizes": [
        node("Transpose", "Y", "t", perm=[0, 2, 1, 3]),
        node("Shape", "t", "s", start=0),
        node("Slice", "s zero one", "s0"),
        node("Slice", "s one two", "s1"),
        node("Slice", "s two three", "s2"),
        node("Slice", "s three four", "s3"),
        node("Mul", "s2 s3", "p"),
        node("Reshape", "p minus", "last"),
        node("Concat", "s0 s1 last", "sizes", axis=0),
        node("Reshape", "t sizes", "y"),
    ],
    "lengths one by one": [
        node("Shape", "x", "s"),
        node("Gather", "s nought", "n"),
        node("Unsqueeze", "n zero", "s0"),
        node("Concat", "s0 minus width", "sizes", axis=0),
        node("Reshape", "Y sizes", "y"),
    ],
}
ENDS = {
    "nought": np.array(0),
    "zero": np.array([0]),
    "one": np.array([1]),
    "two": np.array([2]),
    "three": np.array([3]),
    "four": np.array([4]),
    "minus": np.array([-1]),
    "copied": np.array([0, 0, -1]),
    "width": np.array([4]),
}


@pytest.mark.parametrize("way", SPELT)
def test_the_axis_of_directions_is_taken_away_as_exporters_do_it(way: str, tmp_path: Path) -> None:
    nodes = [node("GRU", "x w r b", "Y", hidden_size=4, linear_before_reset=1), *SPELT[way]]
    agrees(written(tmp_path / "m.onnx", nodes, weights(3) | ENDS), X)


def test_a_batch_may_come_first_in_the_node_too(tmp_path: Path) -> None:
    nodes = [node("LSTM", "x w r b", "Y", hidden_size=4, layout=1), node("Squeeze", "Y two", "y")]
    path = written(tmp_path / "m.onnx", nodes, weights(4) | {"two": np.array([2])}, ("b", "t", 3))
    network = network_of(path, check=False)  # ONNX Runtime has no layout=1 on a CPU
    nodes = [
        node("Transpose", "x", "z", perm=[1, 0, 2]),
        node("LSTM", "z w r b", "Y", hidden_size=4),
        node("Squeeze", "Y one", "y"),
    ]
    other = agrees(
        written(
            tmp_path / "n.onnx",
            [
                *nodes[:2],
                node("Squeeze", "Y one", "u"),
                node("Transpose", "u", "y", perm=[1, 0, 2]),
            ],
            weights(4) | ENDS,
            ("b", "t", 3),
        ),
        X,
        "BTC",
    )
    one, two = (recurra.runtime.Model(each).session(2).push(X) for each in (network, other))
    assert (one == two).all()


def test_a_graph_of_one_step_is_a_step(tmp_path: Path) -> None:
    nodes = [
        node("Unsqueeze", "x zero", "u"),
        node("LSTM", "u w r b - h c", "Y Yh Yc", hidden_size=4),
        node("Squeeze", "Yh zero", "s"),
        node("Gemm", "s out bias", "y", transB=1, alpha=0.5, beta=2.0),
    ]
    state = {"h": (1, "b", 4), "c": (1, "b", 4)}
    constants = weights(4) | ENDS | {"out": numbers(2, 4), "bias": numbers(1, 2)}
    path = written(
        tmp_path / "m.onnx", nodes, constants, ("b", 3), more=state, outputs=["y", "Yh", "Yc"]
    )
    network = network_of(path)
    assert kinds(network) == ["Recurrent", "Linear"] and [spec.name for spec in network.states] == [
        "0.h",
        "0.c",
    ]
    assert network.layers[1].bias == pytest.approx(2 * constants["bias"][0])  # type: ignore[union-attr]


def test_a_first_state_in_the_file_is_learned(tmp_path: Path) -> None:
    first, h = numbers(1, 1, 4), numbers(4)
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s one", "n"),
        node("Concat", "one n width", "sizes", axis=0),
        node("Expand", "h sizes", "e"),
        node("RNN", "x w r b - e", "Y", hidden_size=4),
        node("Squeeze", "Y one", "y"),
    ]
    network = agrees(written(tmp_path / "m.onnx", nodes, weights(1) | ENDS | {"h": first}), X)
    assert isinstance(network.layers[0], Recurrent) and network.states[0].first == pytest.approx(
        first[0, 0]
    )
    nodes = [node("RNN", "x w r b - h", "Y", hidden_size=4), node("Squeeze", "Y one", "y")]
    alike = np.broadcast_to(h, (1, 2, 4)).copy()
    network = agrees(
        written(tmp_path / "m.onnx", nodes, weights(1) | ENDS | {"h": alike}, ("t", 2, 3)), X
    )
    assert network.states[0].first == pytest.approx(h)
    path = written(
        tmp_path / "m.onnx", nodes, weights(1) | ENDS | {"h": numbers(1, 2, 4)}, ("t", 2, 3)
    )
    with pytest.raises(
        ConversionError,
        match="^RNN of Y must begin every row alike, got an initial_h whose rows differ$",
    ):
        network_of(path)


def test_convolutions_pad_by_themselves_or_before(tmp_path: Path) -> None:
    w = {"k": numbers(4, 3, 3), "kb": numbers(4, 1), "pads": np.array([0, 0, 2, 0, 0, 0])}
    turned = node("Transpose", "x", "c", perm=[1, 2, 0])
    back = node("Transpose", "d", "y", perm=[2, 0, 1])
    for nodes in (
        [node("Conv", "c k", "e", pads=[2, 0]), node("Add", "e kb", "d")],
        [node("Pad", "c pads", "p"), node("Conv", "p k", "d")],
        [node("Conv", "c k", "e", pads=[2, 2]), node("Slice", "e zero ends two", "d")],
    ):
        path = written(
            tmp_path / "m.onnx", [turned, *nodes, back], w | ENDS | {"ends": np.array([-2])}
        )
        assert kinds(agrees(path, X)) == ["Conv"]


def test_a_layer_norm_spelt_out_is_known_by_its_numbers(tmp_path: Path) -> None:
    nodes = [
        node("ReduceMean", "x", "m", axes=[2]),
        node("Sub", "x m", "d"),
        node("Mul", "d d", "q"),
        node("ReduceMean", "q", "v", axes=[-1]),
        node("Add", "eps v", "e"),
        node("Sqrt", "e", "r"),
        node("Div", "d r", "n"),
        node("Mul", "g n", "s"),
        node("Add", "s o", "y"),
    ]
    constants = {"eps": np.float32(3e-3), "g": numbers(3), "o": numbers(3, seed=1)}
    network = agrees(written(tmp_path / "m.onnx", nodes, constants), X * np.float32(0.1))
    assert network.layers[0].eps == pytest.approx(3e-3) and kinds(network) == ["LayerNorm"]  # type: ignore[union-attr]
    centred = [*nodes[:2], node("LayerNormalization", "d g o", "y", epsilon=1e-3)]
    assert kinds(agrees(written(tmp_path / "m.onnx", centred, constants), X)) == ["LayerNorm"]


def test_functions_of_a_files_own_are_looked_into(tmp_path: Path) -> None:
    path = written(
        tmp_path / "m.onnx", [onnx.helper.make_node("Twice", ["x"], ["y"], domain="others")], {}
    )
    model = onnx.load(path)
    body = [node("Relu", "a", "r"), node("Tanh", "r", "b")]
    model.functions.append(
        onnx.helper.make_function("others", "Twice", ["a"], ["b"], body, model.opset_import)
    )
    onnx.save(model, path)
    assert kinds(agrees(path, X)) == ["Activation", "Activation"]


LAYER = [node("GRU", "x w r b", "Y Yh", hidden_size=4)]
NAMED = [node("Squeeze", "Yh zero", "y")]
GRU_ = weights(3) | ENDS
GIVES, PART = (
    "must give an output at each step, got",
    "must be part of a layer that recurra takes, got a formula of its own of",
)
OPERATOR = "must be an operator of a layer that streams, got"
CHANNELS = node("Transpose", "x", "c", perm=[1, 2, 0])
REFUSED: dict[str, tuple[list[Any], dict[str, Any], str]] = {
    "backward": (
        [
            node("GRU", "x w r b", "Y", hidden_size=4, direction="reverse"),
            node("Squeeze", "Y one", "y"),
        ],
        GRU_,
        (
            "GRU of Y must run forward only to stream, got direction='reverse': it needs the whole"
            " future"
        ),
    ),
    "lengths": (
        [node("GRU", "x w r b two", "Y", hidden_size=4), node("Squeeze", "Y one", "y")],
        GRU_ | {"two": np.array([7, 7], np.int32)},
        (
            "GRU of Y must run every row to its end, got sequence_lens; export the model without"
            " lengths"
        ),
    ),
    "last state": (
        [*LAYER, *NAMED],
        GRU_,
        f"module {GIVES} y, which is none; export the part before its end",
    ),
    "last step": (
        [*LAYER, node("Gather", "Y minus", "y", axis=0)],
        GRU_,
        f"Gather of y {GIVES} a selection; export the part before it",
    ),
    "softmax": (
        [node("Softmax", "x", "y")],
        {},
        f"Softmax of y {OPERATOR} Softmax; recurra takes Gather .*",
    ),
    "own domain": (
        [onnx.helper.make_node("Odd", ["x"], ["y"], domain="others")],
        {},
        f"Odd of y {OPERATOR} others.Odd; .*",
    ),
    "scaled": (
        [node("Mul", "x two", "y")],
        {"two": np.float32(2)},
        f"Mul of y {PART} Mul; known are .*",
    ),
    "silu": ([node("Sigmoid", "x", "s"), node("Mul", "x s", "y")], {}, f"Mul of y {PART} Mul; .*"),
    "half a gelu": (
        [node("Erf", "x", "e"), node("MatMul", "e w", "y")],
        {"w": numbers(3, 3)},
        f"Erf of e {PART} Erf; .*",
    ),
    "ahead": (
        [
            CHANNELS,
            node("Conv", "c k", "d", pads=[1, 1]),
            node("Transpose", "d", "y", perm=[2, 0, 1]),
        ],
        {"k": numbers(3, 3, 3)},
        (
            "Conv of d must look back only, got a Conv1d with padding=1, which looks 1 step into"
            " the future; .*"
        ),
    ),
    "auto_pad": (
        [CHANNELS, node("Conv", "c k", "y", auto_pad="SAME_UPPER")],
        {"k": numbers(3, 3, 3)},
        "Conv of y must look back only, got auto_pad=SAME_UPPER, which looks ahead too",
    ),
    "weights from input": ([node("MatMul", "x x", "y")], {}, f"MatMul of y {OPERATOR} MatMul; .*"),
    "undefined": (
        [node("Relu", "nowhere", "y")],
        {},
        "Relu of y must read what came before it, got 'nowhere'",
    ),
    "dropping": (
        [node("Dropout", "x half true", "y")],
        {"half": np.float32(0.5), "true": np.array(True)},
        "Dropout of y must drop out nothing, got training_mode=1; export the model at evaluation",
    ),
    "turned": (
        [node("Reshape", "x sizes", "y")],
        {"sizes": np.array([-1, 2, 5])},
        r"Reshape of y must only take away axes of one, got \(T, B, C\)",
    ),
    "filled": (
        [
            node("Shape", "x", "s"),
            node("Gather", "s one", "n"),
            node("Concat", "one n width", "sizes", axis=0),
            node(
                "ConstantOfShape",
                "sizes",
                "h",
                value=onnx.helper.make_tensor("v", FLOAT, [1], [0.5]),
            ),
            node("RNN", "x w r b - h", "Y", hidden_size=4),
            node("Squeeze", "Y one", "y"),
        ],
        weights(1) | ENDS,
        "ConstantOfShape of h must be zeros, to be a first state, got 0.5",
    ),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_taken_is_named(why: str, tmp_path: Path) -> None:
    nodes, constants, message = REFUSED[why]
    with pytest.raises(ConversionError, match=f"^{message}$"):
        network_of(written(tmp_path / "m.onnx", nodes, constants))


def test_a_further_input_is_a_first_state_or_nothing(tmp_path: Path) -> None:
    path = written(tmp_path / "m.onnx", [node("Add", "x h", "y")], {}, more={"h": ("t", "b", 3)})
    with pytest.raises(
        ConversionError, match="^h must be the input or a first state, got Add of it at Add of y$"
    ):
        network_of(path)


def test_an_output_that_cannot_be_taken_is_not_passed_over_for_another(tmp_path: Path) -> None:
    path = written(
        tmp_path / "m.onnx",
        [node("Softmax", "x", "y"), node("Relu", "x", "z")],
        {},
        outputs=["y", "z"],
    )
    with pytest.raises(ConversionError, match="^Softmax of y must be"):
        network_of(path, output="y")
    nodes = [*LAYER, node("Relu", "x", "z")]
    assert kinds(network_of(written(tmp_path / "m.onnx", nodes, GRU_, outputs=["Yh", "z"]))) == [
        "Activation"
    ]


def test_the_file_is_run_and_other_numbers_refused(tmp_path: Path) -> None:
    turned = written(
        tmp_path / "m.onnx",
        [*LAYER, node("Reshape", "Y sizes", "y")],
        GRU_ | {"sizes": np.array([2, 5, 4])},
        ("t", "b", 3),
    )
    assert kinds(network_of(turned, check=False)) == ["Recurrent"]
    with pytest.raises(ConversionError, match="^module must give "):
        network_of(turned)
    broken = written(
        tmp_path / "m.onnx",
        [node("MatMul", "x w", "p"), node("Relu", "p", "y")],
        {"w": numbers(3, 4)},
        ("t", "b", 5),
    )
    with pytest.raises(ConversionError, match="^module must run in ONNX Runtime, got "):
        network_of(broken)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=(
            r"^path must be a file that can be read, got '.*no.onnx' \(No such file or directory\)$"
        ),
    ):
        network_of(tmp_path / "no.onnx")
    path = written(tmp_path / "m.onnx", [node("MatMul", "x w", "y")], {"w": numbers(3, 400)})
    whole = path.read_bytes()
    for place in range(0, len(whole), 97):
        path.write_bytes(whole[:place])
        with pytest.raises((DataError, ConversionError), match="^(path|module|x|MatMul of y) must"):
            network_of(path)
    with pytest.raises(ArgumentError, match="^example must be left out with a file, got one$"):
        network_of(path, example=X)


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_a_package_that_is_not_there_is_named(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "m.onnx", [node("Relu", "x", "y")], {})
    whole = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name == missing:
            raise ImportError(name)
        return whole(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        MissingDependency,
        match=f"^recurra.export.network_of needs the {missing} package.*pip install {missing}",
    ):
        network_of(path)


def test_half_and_double_precision_are_rounded(tmp_path: Path) -> None:
    for kind in (np.float16, np.float64):
        w = numbers(3, 4).astype(kind)
        path = written(
            tmp_path / "m.onnx",
            [node("MatMul", "x w", "y")],
            {"w": w},
            kind=onnx.helper.np_dtype_to_tensor_dtype(w.dtype),
        )
        layer = network_of(path, check=kind is np.float64).layers[0]
        assert (layer.weight.dense() == w.T.astype(np.float32)).all()  # type: ignore[union-attr]


def test_a_module_that_is_neither_is_refused() -> None:
    with pytest.raises(
        ArgumentError,
        match="^module must be a torch.nn.Module or the path of an ONNX file, got int$",
    ):
        network_of(3)  # type: ignore[arg-type]
    assert kinds(network_of(nn.Linear(2, 3))) == ["Linear"]
