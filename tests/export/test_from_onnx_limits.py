"""What a stranger's ONNX file may ask for: each attack ends in one line, and takes no more memory
than the file is worth.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from recurra.errors import ConversionError, DataError
from recurra.export import network_of
from recurra.export.from_onnx_constants import GROWTH, evaluated
from recurra.export.from_onnx_limits import Budget, Expansion, Run, TooLarge, check_run, check_wire
from tests.export.onnx_files import FLOAT, X, agrees, node, written
from tests.network.nets import numbers

NODES = "^onnx file must hold at most 5,000 nodes once its functions are expanded, got more$"
VALUES = r"^onnx file must hold values of at most [\d,]+ bytes together, got more at {}$"
NESTED = "^onnx file must nest bodies and functions at most 16 deep, got more$"
ADDED = node("Add", "x big", "y")
BIG = np.array([10**9])


def loop(trips: int) -> tuple[list[Any], dict[str, Any]]:
    given = [
        helper.make_tensor_value_info(name, kind, [])
        for name, kind in (("i", 7), ("c", 9), ("a", FLOAT))
    ]
    left = [
        helper.make_tensor_value_info(name, kind, None) for name, kind in (("c", 9), ("z", FLOAT))
    ]
    body = helper.make_graph([node("Add", "a a", "z")], "body", given, left)
    return [helper.make_node("Loop", ["trips", "", "w"], ["big"], body=body), ADDED], {
        "trips": np.array(trips),
        "w": np.float32(1),
    }


GROWN: dict[str, tuple[list[Any], dict[str, Any], str]] = {
    "constant of shape": (
        [node("ConstantOfShape", "n", "big"), ADDED],
        {"n": BIG},
        "ConstantOfShape of big",
    ),
    "expand": (
        [node("Expand", "w n", "big"), ADDED],
        {"w": np.float32(1), "n": BIG},
        "Expand of big",
    ),
    "tile": ([node("Tile", "w n", "big"), ADDED], {"w": numbers(3), "n": BIG}, "Tile of big"),
    "range": (
        [node("Range", "zero n one", "big"), ADDED],
        {"zero": np.array(0), "n": np.array(10**9), "one": np.array(1)},
        "Range of big",
    ),
    "pad": (
        [node("Pad", "w n", "big"), ADDED],
        {"w": numbers(3), "n": np.array([0, 10**9])},
        "Pad of big",
    ),
    "gather": (
        [node("Gather", "w i", "big"), ADDED],
        {"w": numbers(1, 100_000), "i": np.zeros(100_000, np.int64)},
        "Gather of big",
    ),
    "matmul": (
        [node("MatMul", "w v", "big"), ADDED],
        {"w": numbers(30_000, 1), "v": numbers(1, 30_000)},
        "MatMul of big",
    ),
    "broadcast": (
        [node("Mul", "w v", "big"), ADDED],
        {"w": numbers(30_000, 1), "v": numbers(1, 30_000)},
        "Mul of big",
    ),
    "doubled": (
        [node("Concat", f"c{number} c{number}", f"c{number + 1}", axis=0) for number in range(40)]
        + [node("Add", "x c40", "y")],
        {"c0": numbers(3)},
        r"Concat of c\d+",
    ),
    "doubled by halves": (
        [node("Add", f"c{number} c{number}", f"c{number + 1}") for number in range(100)]
        + [node("Add", "x c100", "y")],
        {"c0": numbers(2_000_000)},
        r"Add of c\d+",
    ),
}


@pytest.mark.parametrize("attack", GROWN)
def test_what_grows_is_refused_before_it_is_made(attack: str, tmp_path: Path) -> None:
    nodes, constants, name = GROWN[attack]
    with pytest.raises(TooLarge, match=VALUES.format(name)):
        network_of(written(tmp_path / "m.onnx", nodes, constants))


def test_what_has_a_body_is_not_run(tmp_path: Path) -> None:
    for trips in (3, 2**62):
        with pytest.raises(
            ConversionError,
            match="^Loop of big must be an operator that gives a constant, got Loop$",
        ):
            network_of(written(tmp_path / "m.onnx", *loop(trips)))
    resized = [node("Resize", "w - n", "big"), ADDED]
    with pytest.raises(
        ConversionError,
        match="^Resize of big must be an operator that gives a constant, got Resize$",
    ):
        network_of(
            written(
                tmp_path / "m.onnx", resized, {"w": numbers(3), "n": np.array([1e9], np.float32)}
            )
        )


def nest(levels: int, calls: int) -> Callable[[Path], Path]:
    """Functions each of which calls the next some times."""

    def write(path: Path) -> Path:
        model = onnx.load(
            written(path, [helper.make_node("F0", ["x"], ["y"], domain="others")], {})
        )
        for level in range(levels):
            called, domain = (f"F{level + 1}", "others") if level + 1 < levels else ("Tanh", "")
            names = "abcdefgh"[: calls + 1]
            body = [
                helper.make_node(called, [one], [other], domain=domain)
                for one, other in pairwise(names)
            ]
            model.functions.append(
                helper.make_function(
                    "others", f"F{level}", ["a"], [names[-1]], body, model.opset_import
                )
            )
        onnx.save(model, path)
        return path

    return write


def test_functions_are_counted_before_they_are_expanded(tmp_path: Path) -> None:
    with pytest.raises(TooLarge, match=NODES):
        network_of(nest(16, 2)(tmp_path / "m.onnx"))
    with pytest.raises(TooLarge, match=NESTED):
        network_of(nest(17, 1)(tmp_path / "m.onnx"))
    network = agrees(nest(16, 1)(tmp_path / "m.onnx"), X)
    assert len(network.layers) == 1


def test_a_function_that_calls_itself_is_refused(tmp_path: Path) -> None:
    path = nest(1, 1)(tmp_path / "m.onnx")
    model = onnx.load(path)
    model.functions[0].node[0].op_type, model.functions[0].node[0].domain = "F0", "others"
    onnx.save(model, path)
    with pytest.raises(TooLarge, match=NESTED):
        network_of(path)


def test_what_functions_copy_is_counted_in_bytes(tmp_path: Path) -> None:
    path = nest(8, 2)(tmp_path / "m.onnx")
    model = onnx.load(path)
    table = helper.make_node(
        "Constant", [], ["t"], value=numpy_helper.from_array(numbers(1_000_000), "t")
    )
    model.functions[-1].node.append(table)
    with pytest.raises(
        TooLarge,
        match=r"^onnx file must be at most [\d,]+ bytes once its functions are expanded, got more$",
    ):
        Expansion(model, model.ByteSize()).check()
    bound = onnx.AttributeProto(name="value", ref_attr_name="v", type=TensorProto.FLOAT)
    for number in range(40):
        model.functions[-1].node.append(
            onnx.NodeProto(op_type="Constant", output=[f"r{number}"], attribute=[bound])
        )
    del model.functions[:-1]
    model.functions[0].name = "F0"
    del model.functions[0].node[-41]
    model.graph.node[0].attribute.append(
        helper.make_attribute("v", numpy_helper.from_array(numbers(1_000_000), "t"))
    )
    with pytest.raises(
        TooLarge,
        match=r"^onnx file must be at most [\d,]+ bytes once its functions are expanded, got more$",
    ):
        Expansion(model, 0).check()


def test_a_body_is_no_attribute_of_a_function(tmp_path: Path) -> None:
    path = nest(1, 1)(tmp_path / "m.onnx")
    model = onnx.load(path)
    model.graph.node[0].attribute.append(
        helper.make_attribute("body", helper.make_graph([], "body", [], []))
    )
    onnx.save(model, path)
    with pytest.raises(
        ConversionError, match="^function F0 must be called without a body, got one$"
    ):
        network_of(path)


def chain(op: str, count: int) -> list[Any]:
    names = ["x", *(f"v{number}" for number in range(count - 1)), "y"]
    return [helper.make_node(op, [one], [other]) for one, other in pairwise(names)]


def test_nodes_are_counted(tmp_path: Path) -> None:
    with pytest.raises(TooLarge, match=NODES):
        network_of(written(tmp_path / "m.onnx", chain("Tanh", 20_000), {}))
    inner = node("Relu", "x", "y")
    for _ in range(17):
        body = helper.make_graph(
            [inner], "body", [], [helper.make_tensor_value_info("y", FLOAT, None)]
        )
        inner = helper.make_node("If", ["c"], ["y"], then_branch=body)
    with pytest.raises(TooLarge, match=NESTED):
        network_of(written(tmp_path / "m.onnx", [inner], {"c": np.array(True)}))


def test_a_long_chain_is_no_recursion(tmp_path: Path) -> None:
    formula = "^Sqrt of v64 must be part of a formula of at most 64 operators, got more$"
    with pytest.raises(TooLarge, match=formula):
        network_of(written(tmp_path / "m.onnx", chain("Sqrt", 4_000), {}))
    doubled = [
        node("Mul", f"{name} {name}", other)
        for name, other in zip(
            ["x", *"abcdefghijklmnopqrstuvwxyz"], [*"abcdefghijklmnopqrstuvwxyz", "y"]
        )
    ]
    with pytest.raises(
        ConversionError,
        match=(
            "^Mul of y must be part of a layer that recurra takes, got a formula of its own of"
            " Mul; "
        ),
    ):
        network_of(written(tmp_path / "m.onnx", doubled, {}))
    constants = [node("Neg", f"c{number}", f"c{number + 1}") for number in range(2_500)]
    path = written(
        tmp_path / "m.onnx", [*constants, node("MatMul", "x c2500", "y")], {"c0": numbers(3, 2)}
    )
    assert network_of(path, check=False).input_size == 3
    agrees(
        written(
            tmp_path / "m.onnx",
            [
                node("MatMul", "x w", "p"),
                *[
                    helper.make_node(
                        "Identity", ["p" if not number else f"i{number}"], [f"i{number + 1}"]
                    )
                    for number in range(2_500)
                ],
                node("Tanh", "i2500", "y"),
            ],
            {"w": numbers(3, 2)},
        ),
        X,
    )


@pytest.mark.parametrize("axes", [(2**20, 2, 3), (5, 2**20, 3), (2**30, 2**30, 3)])
def test_a_declared_size_that_is_large_is_not_run(axes: tuple[int, ...], tmp_path: Path) -> None:
    nodes = [
        node("GRU", "x w r", "Y", hidden_size=4, linear_before_reset=1),
        node("Squeeze", "Y one", "y"),
    ]
    path = written(
        tmp_path / "m.onnx",
        nodes,
        {"w": numbers(1, 12, 3), "r": numbers(1, 12, 4), "one": np.array([1])},
        axes,
    )
    text = (
        rf"^x must be small enough to check the network on it, got {axes[1]:,} rows of {axes[0]:,}"
        r" steps; .* or pass check=False$"
    )
    with pytest.raises(TooLarge, match=text):
        network_of(path)
    assert network_of(path, check=False).output_size == 4


def test_sizes_that_are_made_of_the_inputs_are_looked_at_before_the_graph_runs(
    tmp_path: Path,
) -> None:
    squared = [
        node("Shape", "x", "s0"),
        *[node("Mul", f"s{number} s{number}", f"s{number + 1}") for number in range(5)],
    ]
    nodes = [
        *squared,
        node("ConstantOfShape", "s5", "big"),
        node("Slice", "big zero one", "h"),
        node("RNN", "x w r - - h", "Y", hidden_size=4),
        node("Squeeze", "Y one", "y"),
    ]
    constants = {
        "w": numbers(1, 4, 3),
        "r": numbers(1, 4, 4),
        "zero": np.array([0]),
        "one": np.array([1]),
    }
    with pytest.raises(ConversionError, match=VALUES.format("ConstantOfShape of big")):
        network_of(written(tmp_path / "m.onnx", nodes, constants))


@pytest.mark.parametrize(
    ("dilation", "taps"), [(2**40, 2), (2**16 + 1, 2), (1, 2**16 + 2), (0, 2), (-1, 2)]
)
def test_a_convolution_looks_back_so_far(dilation: int, taps: int, tmp_path: Path) -> None:
    nodes = [
        node("Transpose", "x", "c", perm=[1, 2, 0]),
        node("Conv", "c k", "d", dilations=[dilation], pads=[(taps - 1) * dilation, 0]),
    ]
    path = written(
        tmp_path / "m.onnx",
        [*nodes, node("Transpose", "d", "y", perm=[2, 0, 1])],
        {"k": numbers(1, 3, taps)},
    )
    with pytest.raises(
        TooLarge,
        match=(
            f"^Conv of d must look back at most 65,536 steps, got dilation {dilation:,} and"
            f" {taps:,} taps$"
        ),
    ):
        network_of(path)


def test_inputs_and_outputs_are_few_and_their_sizes_are_some(tmp_path: Path) -> None:
    with pytest.raises(TooLarge, match="^onnx file must have at most 512 inputs, got 601$"):
        network_of(
            written(
                tmp_path / "m.onnx",
                chain("Tanh", 1),
                {},
                more={f"h{number}": (1,) for number in range(600)},
            )
        )
    for axes in ((2, -5, 3), (2, 2, 2**31), (1,) * 9):
        with pytest.raises(
            TooLarge, match="^x must have at most 8 axes of at most 2,147,483,647, got "
        ):
            network_of(written(tmp_path / "m.onnx", chain("Tanh", 1), {}, axes))


def spoilt(tmp_path: Path, change: Callable[[Any], None]) -> Path:
    path = written(tmp_path / "m.onnx", [node("MatMul", "x w", "y")], {"w": numbers(3, 4)})
    model = onnx.load(path)
    change(model.graph.initializer[0])
    path.write_bytes(model.SerializeToString())
    return path


def change(**fields: Any) -> Callable[[Any], None]:
    def done(tensor: Any) -> None:
        for name, value in fields.items():
            if name == "dims":
                tensor.dims[:] = value
            else:
                setattr(tensor, name, value)

    return done


@pytest.mark.parametrize(
    "fields",
    [
        {"dims": [10**12]},
        {"dims": [3, -4]},
        {"dims": [2**62, 2**62]},
        {"raw_data": b""},
        {"raw_data": b"abc"},
        {"data_type": 0},
        {"data_type": 8},
        {"data_type": 14},
        {"data_type": 99},
        {"data_type": 11},
        {"dims": []},
    ],
)
def test_an_initialiser_holds_what_it_says(fields: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(
        ConversionError,
        match=(
            "^'w' must (be a tensor of real numbers|hold as many numbers as its dims .* say), got "
        ),
    ):
        network_of(spoilt(tmp_path, change(**fields)))


def beside(tmp_path: Path, location: str, **said: str) -> Path:
    def move(tensor: Any) -> None:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, **said}.items():
            tensor.external_data.add(key=key, value=value)

    return spoilt(tmp_path, move)


def test_data_beside_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"....." + numbers(3, 4).tobytes())
    found = network_of(beside(tmp_path, "w.bin", offset="5", length="48"), check=False)
    assert (found.layers[0].weight.dense() == numbers(3, 4).T).all()  # type: ignore[union-attr]
    agrees_with = network_of(beside(tmp_path, "w.bin", offset="5"))
    assert agrees_with.layers[0].weight.dense().shape == (4, 3)  # type: ignore[union-attr]


@pytest.mark.parametrize("place", ["/dev/zero", "../w.bin", "a/../../w.bin", "", "link.bin"])
def test_data_lies_beside_the_file_or_nowhere(place: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "w.bin").write_bytes(numbers(3, 4).tobytes())
    (home / "link.bin").symlink_to("/dev/zero")
    with pytest.raises(ConversionError, match="^'w' must lie in a file beside the model, got "):
        network_of(beside(home, place))


def test_data_beside_a_file_is_as_long_as_it_says(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(40))
    with pytest.raises(
        TooLarge,
        match="^onnx file must hold each of its weights once, 40 bytes beside it at most, got 48$",
    ):
        network_of(beside(tmp_path, "w.bin"))
    (tmp_path / "w.bin").write_bytes(bytes(48))
    for said in ({"offset": "-1"}, {"length": "5"}, {"offset": "x"}, {"length": "9" * 5000}):
        with pytest.raises(
            ConversionError, match="^'w' must hold (48 bytes beside the file|as many numbers)"
        ):
            network_of(beside(tmp_path, "w.bin", **said))
    with pytest.raises(ConversionError, match="^'w' must hold 48 bytes beside the file, got 38$"):
        network_of(beside(tmp_path, "w.bin", offset="10"))
    with pytest.raises(
        DataError,
        match=r"^path must be a file that can be read, got .* \(No such file or directory\)$",
    ):
        network_of(beside(tmp_path, "none.bin"))


def test_weights_are_dense(tmp_path: Path) -> None:
    path = spoilt(tmp_path, change())
    model = onnx.load(path)
    model.graph.sparse_initializer.add().dims.extend([2**40])
    path.write_bytes(model.SerializeToString())
    with pytest.raises(
        ConversionError,
        match="^onnx file must hold its weights as dense tensors, got sparse initialisers$",
    ):
        network_of(path)


def test_a_file_is_counted_before_it_is_parsed(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"\x3a\xc0\xcf\x24" + b"\x0a\x00" * 300_000)  # a graph of so many empty nodes
    with pytest.raises(
        DataError, match="^onnx file must have at most 300,000 fields, got more: '.*m.onnx'$"
    ):
        network_of(path)
    for data in (b"\x3a\xff\xff\xff\xff\x0f", b"\x3a", b"\x0b", b"\xff" * 20, b"\x0d\x01"):
        with pytest.raises(
            DataError,
            match="^path must be an ONNX model, got a file that is cut off or something else",
        ):
            check_wire(data, onnx.ModelProto.DESCRIPTOR)
    check_wire(
        onnx.load(written(path, chain("Tanh", 3), {})).SerializeToString(),
        onnx.ModelProto.DESCRIPTOR,
    )


def test_names_are_short_and_can_be_printed(tmp_path: Path) -> None:
    with pytest.raises(
        TooLarge,
        match="^onnx file must name nodes and values by at most 1,000 characters, got 1,001$",
    ):
        network_of(
            written(
                tmp_path / "m.onnx", [helper.make_node("Tanh", ["x"], ["y"], name="n" * 1001)], {}
            )
        )
    with pytest.raises(
        ConversionError,
        match=(
            r"^onnx file must name nodes and values by characters that can be printed, got 'a\\nb'$"
        ),
    ):
        network_of(
            written(
                tmp_path / "m.onnx",
                [helper.make_node("Tanh", ["x"], ["a\nb"]), node("Relu", "x", "y")],
                {},
            )
        )
    with pytest.raises(
        ConversionError, match=r"by characters that can be printed, got 'axis\\x10'$"
    ):
        network_of(
            written(
                tmp_path / "m.onnx", [helper.make_node("Tanh", ["x"], ["y"], **{"axis\x10": 1})], {}
            )
        )


def test_a_weight_that_every_node_reads_is_paid_each_time(tmp_path: Path) -> None:
    names = ["x", *(f"v{number}" for number in range(400)), "y"]
    nodes = [helper.make_node("MatMul", [one, "w"], [other]) for one, other in pairwise(names)]
    with pytest.raises(TooLarge, match=VALUES.format(r"MatMul of v\d+")):
        network_of(written(tmp_path / "m.onnx", nodes, {"w": numbers(512, 512)}, ("t", "b", 512)))


def test_a_graph_runs_without_what_its_output_does_not_need(tmp_path: Path) -> None:
    trap = [node("Range", "zero n one", "r"), node("Cast", "r", "trap", to=FLOAT)]
    constants = {"w": numbers(3, 2), "zero": np.array(0), "n": np.array(10**11), "one": np.array(1)}
    path = written(
        tmp_path / "m.onnx", [node("MatMul", "x w", "y"), *trap], constants, outputs=["y", "trap"]
    )
    assert len(network_of(path, output="y").layers) == 1


def test_what_is_known_of_growth_is_what_the_operators_give() -> None:
    given: dict[str, tuple[list[Any], dict[str, Any]]] = {
        "Gather": ([numbers(4, 3), np.array([[0, 1]])], {"axis": 1}),
        "Pad": ([numbers(4, 3), np.array([1, 0, 0, 2])], {}),
        "Tile": ([numbers(4, 3), np.array([2, 3])], {}),
        "Range": ([np.array(0), np.array(7), np.array(2)], {}),
        "MatMul": ([numbers(4, 3), numbers(3, 2)], {}),
        "Gemm": ([numbers(3, 4), numbers(3, 2)], {"transA": 1}),
        "ConstantOfShape": ([np.array([2, 3])], {}),
        "Expand": ([numbers(4, 1), np.array([2, 1, 3])], {}),
    }
    assert given.keys() == GROWTH.keys()
    for op, (arrays, attributes) in given.items():
        names = " ".join(f"i{number}" for number in range(len(arrays)))
        (found,) = evaluated(node(op, names, "y", **attributes), arrays, {"": 17}, Budget(0))
        assert found.size == GROWTH[op](attributes, *arrays), op


def test_what_a_check_takes_is_bounded() -> None:
    check_run(Run(2**13, 2**21 + 8000, 2**29 + 256_000), "2 rows", 1000)
    for run in (Run(2**13 + 1, 0, 0), Run(0, 2**21 + 8001, 0), Run(0, 0, 2**29 + 256_001)):
        with pytest.raises(
            TooLarge,
            match=(
                "^x must be small enough to check the network on it, got 2 rows; .*, or pass"
                " check=False$"
            ),
        ):
            check_run(run, "2 rows", 1000)


def test_layers_over_time_are_few(tmp_path: Path) -> None:
    nodes, last = [], "x"
    for number in range(201):
        nodes += [
            node("RNN", f"{last} w r", f"Y{number}"),
            node("Squeeze", f"Y{number} one", f"s{number}"),
        ]
        last = f"s{number}"
    constants = {"w": numbers(1, 3, 3), "r": numbers(1, 3, 3), "one": np.array([1])}
    with pytest.raises(
        TooLarge, match="^onnx file must have at most 200 nodes of RNN, LSTM or GRU, got more$"
    ):
        network_of(written(tmp_path / "m.onnx", [*nodes, node("Tanh", last, "y")], constants))
