"""ONNX files that a stranger may send: small good ones, spoilt in their structure or in their
bytes.

`forge` makes one, `read` takes it by each way in.
"""

from __future__ import annotations

import contextlib
import functools
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from recurra.cells import GRU, LSTM, Elman
from recurra.convert import from_onnx_node
from recurra.errors import RecurraError
from recurra.export import network_of, to_onnx
from recurra.network import Activation, Conv, Embedding, LayerNorm, Linear, Network, Residual
from tests.network.nets import matrix, numbers, recurrent

COUNT = 60
READERS = (
    "convert/onnx.py",
    "convert/onnx_reading.py",
    "export/from_onnx.py",
    "export/from_onnx_check.py",
    "export/from_onnx_clusters.py",
    "export/from_onnx_constants.py",
    "export/from_onnx_conv.py",
    "export/from_onnx_elements.py",
    "export/from_onnx_file.py",
    "export/from_onnx_formulas.py",
    "export/from_onnx_limits.py",
    "export/from_onnx_nodes.py",
    "export/from_onnx_record.py",
    "export/from_onnx_recurrent.py",
    "export/from_onnx_shapes.py",
    "export/from_onnx_sizes.py",
    "export/from_onnx_states.py",
    "export/from_onnx_values.py",
)
OPERATORS = (
    "Add",
    "Mul",
    "Sub",
    "Div",
    "Pow",
    "Sqrt",
    "Tanh",
    "Relu",
    "Sigmoid",
    "Erf",
    "Gelu",
    "MatMul",
    "Gemm",
    "Conv",
    "Pad",
    "Slice",
    "Gather",
    "Concat",
    "Split",
    "Squeeze",
    "Unsqueeze",
    "Reshape",
    "Transpose",
    "Shape",
    "Size",
    "Cast",
    "Identity",
    "Expand",
    "Tile",
    "Range",
    "ConstantOfShape",
    "Constant",
    "LSTM",
    "GRU",
    "RNN",
    "LayerNormalization",
    "LogSoftmax",
    "ReduceMean",
    "Dropout",
    "Flatten",
    "Resize",
    "Loop",
    "Scan",
    "If",
    "Where",
    "Equal",
    "OneHot",
    "EyeLike",
    "Einsum",
    "NonZero",
    "SequenceInsert",
    "RandomNormal",
    "StringConcat",
)
SIZES = (0, 1, 2, 3, 4, 7, -1, -2, 64, 1000, 1 << 20, 1 << 31, 1 << 40, (1 << 63) - 1, -(1 << 63))


def _graph(nodes: list[Any], constants: dict[str, Any], axes: Any, **options: Any) -> Any:
    inputs = [helper.make_tensor_value_info("x", options.get("kind", TensorProto.FLOAT), axes)]
    inputs += [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, size)
        for name, size in options.get("more", {}).items()
    ]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        for name in options.get("outputs", ["y"])
    ]
    arrays = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "graph", inputs, outputs, arrays), ir_version=8
    )
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", 17))
    model.opset_import.append(helper.make_opsetid("own", 1))
    return model


def _node(op: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    names = [[each.replace("-", "") for each in text.split()] for text in (inputs, outputs)]
    return helper.make_node(op, *names, **attributes)


def _ours() -> Iterator[Any]:
    """What recurra itself writes."""
    nets = (
        Network(
            (
                Linear(matrix(3, 3)),
                recurrent(LSTM(), 3, 4, learned=False),
                Linear(matrix(2, 4), numbers(2)),
            )
        ),
        Network(
            (
                Embedding(matrix(5, 3)),
                recurrent(GRU(), 3, 4, learned=True),
                LayerNorm(4),
                Activation("gelu", 4),
            )
        ),
        Network(
            (
                Residual((recurrent(Elman(), 3, 3, learned=False),)),
                Conv(matrix(4, 6), None, 3, 2, 2),
            )
        ),
    )
    for net in nets:
        for kind in ("step", "sequence"):
            path = Path(_folder()) / "seed.onnx"
            with contextlib.suppress(RecurraError):
                to_onnx(net, path, kind=kind)
                yield onnx.load(path)


@functools.lru_cache(1)
def _folder() -> str:
    import tempfile

    return tempfile.mkdtemp()


def _recurrences() -> Iterator[Any]:
    """What exporters write of layers."""
    ends = {
        "zero": np.array([0]),
        "one": np.array([1]),
        "width": np.array([4]),
        "minus": np.array([-1]),
    }
    for op, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1)):
        weights = {
            "w": numbers(1, gates * 4, 3),
            "r": numbers(1, gates * 4, 4),
            "b": numbers(1, 8 * gates),
        }
        layer = _node(op, "x w r b", "Y Yh", hidden_size=4)
        yield _graph([layer, _node("Squeeze", "Y one", "y")], weights | ends, ("t", "b", 3))
        state = _node(op, "x w r b - h", "Y Yh", hidden_size=4)
        yield _graph(
            [state, _node("Squeeze", "Y one", "y")],
            weights | ends,
            ("t", 2, 3),
            more={"h": (1, 2, 4)},
            outputs=["y", "Yh"],
        )
        spelt = [
            _node("Shape", "x", "s"),
            _node("Slice", "s one two", "n"),
            _node("Concat", "one n width", "sizes", axis=0),
            _node("ConstantOfShape", "sizes", "h"),
            _node(op, "x w r b - h", "Y", hidden_size=4),
            _node("Squeeze", "Y one", "y"),
        ]
        yield _graph(spelt, weights | ends | {"two": np.array([2])}, ("t", "b", 3))


def _spelt() -> Iterator[Any]:
    """Formulas, convolutions, constants, functions and bodies."""
    norm = [
        _node("ReduceMean", "x", "m", axes=[-1]),
        _node("Sub", "x m", "d"),
        _node("Mul", "d d", "q"),
        _node("ReduceMean", "q", "v", axes=[-1]),
        _node("Add", "v e", "u"),
        _node("Sqrt", "u", "r"),
        _node("Div", "d r", "y"),
    ]
    yield _graph(norm, {"e": np.float32(1e-5)}, ("t", "b", 3))
    conv = [
        _node("Transpose", "x", "c", perm=[1, 2, 0]),
        _node("Pad", "c pads", "p"),
        _node("Conv", "p k", "d", dilations=[2]),
        _node("Relu", "d", "a"),
        _node("Transpose", "a", "y", perm=[2, 0, 1]),
    ]
    yield _graph(conv, {"k": numbers(3, 3, 2), "pads": np.array([0, 0, 2, 0, 0, 0])}, ("t", "b", 3))
    sizes = [
        _node("Constant", "", "i", value_ints=[2, 2]),
        _node("Tile", "w i", "big"),
        _node("Expand", "z sizes", "e"),
        _node("Range", "n0 n1 n2", "q"),
        _node("Gather", "big q", "g"),
        _node("Add", "g e", "f"),
        _node("MatMul", "x f", "y"),
    ]
    shapes = {"sizes": np.array([3, 4]), "n0": np.array(0), "n1": np.array(3), "n2": np.array(1)}
    yield _graph(sizes, {"w": numbers(3, 2), "z": numbers(1, 4), **shapes}, ("b", 3))
    model = _graph([helper.make_node("Twice", ["x"], ["y"], domain="own")], {}, ("t", "b", 3))
    body = [_node("Relu", "a", "r"), _node("Tanh", "r", "b")]
    model.functions.append(
        helper.make_function("own", "Twice", ["a"], ["b"], body, model.opset_import)
    )
    yield model
    yield _graph(
        [_loop(), _node("Add", "x l", "y")],
        {"trips": np.array(3), "go": np.array(True), "w": numbers(3)},
        ("t", "b", 3),
    )


def _loop(name: str = "l") -> Any:
    kinds = [("i", TensorProto.INT64), ("c", TensorProto.BOOL), ("a", TensorProto.FLOAT)]
    given = [helper.make_tensor_value_info(each, kind, []) for each, kind in kinds]
    left = [
        helper.make_tensor_value_info(each, kind, None)
        for each, kind in (("c", TensorProto.BOOL), ("z", TensorProto.FLOAT))
    ]
    body = helper.make_graph([_node("Concat", "a a", "z", axis=0)], "body", given, left)
    return helper.make_node("Loop", ["trips", "go", "w"], [name], body=body)


@functools.lru_cache(1)
def _seeds() -> list[bytes]:
    return [
        model.SerializeToString() for family in (_ours, _recurrences, _spelt) for model in family()
    ]


def forge(random: random.Random) -> bytes:
    """A file that was good once.

    Args:
        random: what to draw from; the same file for the same state.
    """
    data = random.choice(_seeds())
    if random.random() < 0.85:
        model = onnx.load_model_from_string(data)
        for _ in range(random.choice((1, 1, 2, 3, 6))):
            with contextlib.suppress(
                Exception
            ):  # there is nothing there to spoil, or protobuf will not have it
                random.choice(SPOILT)(random, model)
        data = model.SerializeToString()
    for _ in range(random.choice((0,) * 12 + (1, 1, 1, 4))):
        at, spoilt = random.randrange(len(data)), bytearray(data)
        spoilt[at : at + random.choice((0, 1, 1, 1, 9))] = random.choice(
            (bytes([random.randrange(256)]), b"", b"\xff" * 9)
        )
        data = bytes(spoilt) or b"\0"
    return data


def read(data: bytes, folder: Path) -> None:
    """Read a file as a stranger's is read, by each way in.

    Args:
        data: the file's bytes.
        folder: where to put it.

    Raises:
        RecurraError: it is refused as a network.
        AssertionError: an error has several lines, or characters that steer a terminal.
    """
    path = folder / "forged.onnx"
    path.write_bytes(data)
    refused: list[RecurraError | None] = []
    for call in (
        lambda: network_of(path),
        lambda: network_of(path, check=False),
        lambda: _nodes(data),
    ):
        try:
            call()
            refused.append(None)
        except RecurraError as error:
            said = str(error)
            assert said.isprintable(), f"an error must be one clear line, got {said!r}"
            refused.append(error)
    if refused[0] is not None:
        raise refused[0]


def _nodes(data: bytes) -> None:
    """The recurrent nodes of a file, one by one."""
    try:
        model = onnx.load_model_from_string(data)
    except Exception:  # what is no model has no nodes
        return
    for node in model.graph.node[:20]:
        with contextlib.suppress(RecurraError):
            from_onnx_node(node, model.graph.initializer)


Spoil = Callable[[random.Random, Any], None]


def _attribute(random: random.Random, model: Any) -> None:
    node = random.choice(model.graph.node)
    if not node.attribute or random.random() < 0.2:
        name = random.choice(
            (
                "axis",
                "axes",
                "perm",
                "layout",
                "value",
                "hidden_size",
                "group",
                "pads",
                "to",
                "dilations",
                "num_outputs",
            )
        )
        node.attribute.append(helper.make_attribute(name, random.choice(SIZES)))
    one = random.choice(node.attribute)
    name = one.name
    value = random.choice(
        (
            random.choice(SIZES),
            0.5,
            float("nan"),
            b"\xff\xfe",
            "text",
            [random.choice(SIZES)] * random.randrange(1, 5),
            [0.5, 1e38],
            ["a", "b"],
            helper.make_tensor(
                "v", random.randrange(1, 17), [random.choice((0, 1, 2))], b"\1\2", raw=True
            ),
        )
    )
    kind = random.randrange(4)
    if kind == 0:
        one.type = random.randrange(16)
    elif kind == 1:
        node.attribute.remove(one)
    elif kind == 2 and one.ints:
        one.ints[random.randrange(len(one.ints))] = random.choice(SIZES)
    else:
        one.CopyFrom(helper.make_attribute(name, value))


def _wire(random: random.Random, model: Any) -> None:
    graph = model.graph
    names = [name for node in graph.node for name in (*node.output, *node.input)] + [
        each.name for each in graph.input
    ]
    node = random.choice(graph.node)
    side = node.input if random.random() < 0.8 else node.output
    kind = random.randrange(4)
    if kind == 0:
        del side[random.randrange(len(side))]
    elif kind == 1:
        side.append(random.choice(names))
    else:
        side[random.randrange(len(side))] = random.choice(
            [*names, "", "nowhere", "\n\0", "n" * 5000]
        )


def _operator(random: random.Random, model: Any) -> None:
    node = random.choice(model.graph.node)
    node.op_type = random.choice(OPERATORS)
    if random.random() < 0.1:
        node.domain = random.choice(("own", "ai.onnx", "com.microsoft", "\n"))


def _nodes_moved(random: random.Random, model: Any) -> None:
    nodes = model.graph.node
    kind, place = random.randrange(4), random.randrange(len(nodes))
    if kind == 0:
        del nodes[place]
    elif kind == 1:
        nodes.append(nodes[place])
    elif kind == 2:
        copied = list(nodes)
        random.shuffle(copied)
        del nodes[:]
        nodes.extend(copied)
    else:
        chain = random.choice(((1, "Concat"), (1, "Add"), (1, "Mul"), (0, "Tanh"), (1, "MatMul")))
        last = random.choice(
            [name for node in nodes for name in node.output]
            + [each.name for each in model.graph.initializer]
        )
        for number in range(random.choice((3, 40, 300))):
            made = helper.make_node(chain[1], [last] * (1 + chain[0]), [f"chain{number}"])
            if chain[1] == "Concat":
                made.attribute.append(helper.make_attribute("axis", 0))
            nodes.append(made)
            last = f"chain{number}"
        nodes.append(helper.make_node("Identity", [last], [model.graph.output[0].name]))


def _weight(random: random.Random, model: Any) -> None:
    one = random.choice(model.graph.initializer)
    kind = random.randrange(7)
    if kind == 0:
        one.data_type = random.randrange(26)
    elif kind == 1 and one.dims:
        one.dims[random.randrange(len(one.dims))] = random.choice(SIZES)
    elif kind == 2:
        one.raw_data = one.raw_data[: random.randrange(len(one.raw_data) + 1)]
    elif kind == 3:
        array = np.array(random.choices(SIZES, k=random.randrange(5)), object).astype(np.int64)
        one.CopyFrom(numpy_helper.from_array(array, one.name))
    elif kind == 4:
        one.dims.append(random.choice(SIZES))
    elif kind == 5:
        one.data_location = TensorProto.EXTERNAL
        place = random.choice(
            ("/dev/zero", "../forged.onnx", "forged.onnx", "/etc/passwd", "", "\0", "nowhere")
        )
        for key, value in (
            ("location", place),
            ("offset", random.choice(("0", "-1", "x"))),
            ("length", random.choice(("4", "9" * 30))),
        ):
            one.external_data.add(key=key, value=value)
    else:
        one.CopyFrom(
            numpy_helper.from_array(
                np.full(random.choice(((), (1,), (2, 3))), random.choice((0, np.nan, 1e38))),
                one.name,
            )
        )


def _sizes(random: random.Random, model: Any) -> None:
    value = random.choice([*model.graph.input, *model.graph.output])
    kind = value.type.tensor_type
    if random.random() < 0.3:
        kind.elem_type = random.randrange(26)
        return
    if random.random() < 0.2:
        kind.shape.dim.add().dim_value = random.choice(SIZES)
    random.choice(kind.shape.dim).dim_value = random.choice(SIZES)


def _nested(random: random.Random, model: Any) -> None:
    node = model.graph.node[0]
    for _ in range(random.choice((1, 1, 2, 3, 15, 20))):
        body = helper.make_graph([node], "body", [], list(model.graph.output))
        node = helper.make_node(
            "If",
            ["x"],
            list(node.output),
            then_branch=body,
            else_branch=body if random.random() < 0.1 else None,
        )
    place = random.randrange(len(model.graph.node))
    model.graph.node[place].CopyFrom(node)


def _function(random: random.Random, model: Any) -> None:
    levels = random.choice((1, 1, 2, 4, 15, 20))
    for level in range(levels):
        called = (
            f"F{level + 1}" if level + 1 < levels else random.choice(("Tanh", "F0", "Identity"))
        )
        body = [
            _own(called, name, other) for name, other in zip("abc"[: random.randrange(1, 3)], "bcd")
        ]
        last = body[-1].output[0]
        model.functions.append(
            helper.make_function("own", f"F{level}", ["a"], [last], body, model.opset_import)
        )
    node = random.choice(model.graph.node)
    node.CopyFrom(_own("F0", node.input[0], node.output[0]))


def _own(called: str, name: str, other: str) -> Any:
    return helper.make_node(called, [name], [other], domain="own" if called.startswith("F") else "")


def _beside(random: random.Random, model: Any) -> None:
    kind = random.randrange(5)
    if kind == 0 and model.metadata_props:
        one = random.choice(model.metadata_props)
        text = one.value
        one.value = random.choice(
            (
                "[" * 5000,
                "{}",
                "null",
                text[:-1],
                text.replace("0", "1e999"),
                text.replace("1", "null"),
            )
        )
    elif kind == 1:
        random.choice(model.opset_import).version = random.choice(SIZES)
    elif kind == 2:
        model.ir_version = random.choice(SIZES)
    elif kind == 3:
        sparse = model.graph.sparse_initializer.add()
        sparse.values.CopyFrom(numpy_helper.from_array(np.ones(1, np.float32), "sparse"))
        sparse.dims.extend([1 << 20, 1 << 20])
    else:
        del random.choice((model.graph.input, model.graph.output, model.graph.initializer))[0]


SPOILT: tuple[Spoil, ...] = (
    _attribute,
    _attribute,
    _wire,
    _wire,
    _operator,
    _operator,
    _nodes_moved,
    _weight,
    _weight,
    _sizes,
    _nested,
    _function,
    _beside,
)
