"""Where each number of a value in an ONNX graph comes from, as far as the graph only moves it
about.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
FREE = 2
"""The size that stands for every free axis."""
RECURRENT = ("RNN", "LSTM", "GRU")
MOVES = frozenset(
    {
        "Squeeze",
        "Unsqueeze",
        "Reshape",
        "Transpose",
        "Identity",
        "Concat",
        "Slice",
        "Split",
        "Gather",
        "Flatten",
        "Expand",
        "Tile",
    }
)
"""What puts numbers into other places and changes none; all but Concat read them from their first
input only.
"""


class Source(NamedTuple):
    """What makes numbers, which are counted from `start` on.

    Attributes:
        name: of the graph's input or of the node.
        kind: "input", "output" of a recurrent node at each step, "state" after its last one, or
            "other".
        start: the first number.
        shape: of the value.
    """

    name: str
    kind: str
    start: int
    shape: tuple[int, ...]


class Recurrence(NamedTuple):
    """A recurrent node, its states before and after it by h and c.

    Attributes:
        name: the node's.
        before: what it begins with: numbers' places, or None for a state that is not moved here
            from anywhere.
        after: the places of what it leaves.
    """

    name: str
    before: dict[str, Array | None]
    after: dict[str, Array]


class Elements:
    """Follows single numbers through a graph: each gets a place, 0 is that of constants.

    Args:
        onnx: the package.
        model: whose graph it is; its free axes all count as `FREE`.
        inputs: the graph's, without its weights.
    """

    def __init__(self, onnx: Any, model: Any, inputs: Sequence[Any]) -> None:
        self.onnx, self.model, self.graph = onnx, model, model.graph
        self.opsets = {each.domain: each.version for each in model.opset_import}
        self.sources: list[Source] = []
        self.makers = {name: node for node in self.graph.node for name in node.output if name}
        self.weights = {each.name: each for each in self.graph.initializer}
        self.moving = self._moving({each.name for each in inputs})
        self._count = 1
        self._values: dict[str, Array | None] = {}
        self._after: dict[tuple[str, ...], dict[str, Array]] = {}
        self._same: list[tuple[Array, Array]] = []
        self._inferred: dict[str, tuple[int, ...]] | None = None
        self.sizes = {each.name: _concrete(each) for each in inputs}
        for name, shape in self.sizes.items():
            self._values[name] = None if shape is None else self._fresh(name, "input", shape)

    def _moving(self, names: set[str]) -> set[str]:
        """The values that depend on what the inputs hold, and not on their sizes alone."""
        for node in self.graph.node:
            inner = any(
                each.type in (self.onnx.AttributeProto.GRAPH, self.onnx.AttributeProto.GRAPHS)
                for each in node.attribute
            )
            if inner or (node.op_type not in ("Shape", "Size") and names.intersection(node.input)):
                names.update(node.output)
        return names

    def places(self, name: str) -> Array | None:
        """The places of a value's numbers; None where they are not known."""
        if name in self.weights:
            return np.zeros(tuple(self.weights[name].dims), np.int64)
        if name not in self.moving:
            constant = self.constant(name)
            return None if constant is None else np.zeros(constant.shape, np.int64)
        if name not in self._values:
            self._compute(self.makers[name])
        return self._values[name]

    def same(self, places: Array) -> Array:
        """Places, those of an output at the only step as those of the state that it is."""
        places = places.copy()
        for outputs, states in self._same:
            found = np.isin(places, outputs)
            places[found] = places[found] - outputs.min() + states.min()
        return places

    def origins(self, places: Array) -> list[Source]:
        """What made the numbers."""
        starts = np.array([each.start for each in self.sources])
        numbers = np.unique(np.searchsorted(starts, places[places > 0], "right") - 1)
        return [self.sources[number] for number in numbers]

    def shape(self, name: str) -> tuple[int, ...] | None:
        """A value's shape, None where it is not known."""
        if name in self.weights:
            return tuple(self.weights[name].dims)
        known = self._values.get(name)
        if known is not None:
            return known.shape
        if self._inferred is None:
            self._inferred = dict(self._infer())
        return self._inferred.get(name)

    def constant(self, name: str) -> Array | None:
        """What a value that does not depend on what the inputs hold is; None where it cannot be
        told.
        """
        if name in self.weights:
            return np.asarray(self.onnx.numpy_helper.to_array(self.weights[name]))
        node = self.makers.get(name)
        if node is None or name in self.moving:
            return None
        if node.op_type in ("Shape", "Size") and node.input[0] in self.moving:
            self.places(node.input[0])
            shape = self.shape(node.input[0])
            given: list[Array | None] = [None if shape is None else np.zeros(shape, np.int64)]
        else:
            given = [self.constant(each) for each in node.input if each]
        return (
            None
            if any(each is None for each in given)
            else self._run(node, given, list(node.output).index(name))
        )

    def recurrence(self, node: Any) -> Recurrence:
        """The states of a recurrent node, all known to it by its inputs' order."""
        self._recurrent(node)
        roles = {"h": 5, "c": 6} if node.op_type == "LSTM" else {"h": 5}
        names = {
            role: node.input[place] if place < len(node.input) else ""
            for role, place in roles.items()
        }
        before = {
            role: self.places(name) if name in self.moving else None for role, name in names.items()
        }
        return Recurrence(title(node), before, self._after[tuple(node.output)])

    def _compute(self, node: Any) -> None:
        """Fill in what a node's outputs are."""
        if node.op_type in RECURRENT and node.domain in ("", "ai.onnx"):
            self._recurrent(node)
            return
        found: list[Array | None] = []
        if node.op_type in MOVES and node.domain in ("", "ai.onnx"):
            count = len(node.input) if node.op_type == "Concat" else 1
            given = [
                (self.places if place < count else self.constant)(each)
                for place, each in enumerate(node.input)
                if each
            ]
            if all(each is not None for each in given):
                found = [self._run(node, given, place) for place, _ in enumerate(node.output)]
        for place, name in enumerate(node.output):
            moved = found[place] if found else None
            shape = self.shape(name) if moved is None else None
            self._values[name] = (
                moved if shape is None else self._fresh(title(node), "other", shape)
            )

    def _recurrent(self, node: Any) -> None:
        key = tuple(node.output)
        if key in self._after:
            return
        layout = int(next((each.i for each in node.attribute if each.name == "layout"), 0))
        weight, x = self.shape(node.input[2]), self.shape(node.input[0])
        self._after[key] = {}
        self._values.update(dict.fromkeys(filter(None, key)))
        if weight is None or x is None or len(x) != 3:
            return
        steps, rows, ways, wide = x[layout], x[1 - layout], weight[0], weight[2]
        y = self._fresh(
            title(node),
            "output",
            (rows, steps, ways, wide) if layout else (steps, ways, rows, wide),
        )
        states = [
            self._fresh(title(node), "state", (rows, ways, wide) if layout else (ways, rows, wide))
            for _ in range(2)
        ]
        if steps == 1 and ways == 1:
            self._same.append((y, states[0]))
        self._after[key] = dict(zip("hc", states[: 2 if node.op_type == "LSTM" else 1]))
        self._values.update({name: each for name, each in zip(key, (y, *states)) if name})

    def _fresh(self, name: str, kind: str, shape: tuple[int, ...]) -> Array:
        """Places of their own for numbers that are made here."""
        count = int(np.prod(shape))
        self.sources.append(Source(name, kind, self._count, shape))
        self._count += count
        return np.arange(self._count - count, self._count).reshape(shape)

    def _run(self, node: Any, given: Sequence[Any], place: int) -> Array | None:
        """An output of a node of whole numbers, or of constants; None where it does not run."""
        from onnx.reference import ReferenceEvaluator

        names = [each for each in node.input if each]
        try:
            done: Any = ReferenceEvaluator(node, opsets=self.opsets).run(
                None, dict(zip(names, given))
            )
            return np.asarray(done[place])
        except (
            Exception
        ):  # an operator may raise what it likes; what is not known is refused where it is needed
            return None

    def _infer(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """The shapes of values, as ONNX infers them once no axis of an input is free."""
        model = self.onnx.ModelProto()
        model.CopyFrom(self.model)
        for value in model.graph.input:
            if self.sizes.get(value.name) is not None:
                for dim, size in zip(
                    value.type.tensor_type.shape.dim, self.sizes[value.name] or ()
                ):
                    dim.dim_value = size
        try:
            graph = self.onnx.shape_inference.infer_shapes(model, data_prop=True).graph
        except Exception:  # a graph that ONNX cannot infer, or one of more than 2 GB
            return
        for value in (*graph.value_info, *graph.output):
            dims = value.type.tensor_type.shape.dim
            if value.type.tensor_type.HasField("shape") and all(
                dim.HasField("dim_value") for dim in dims
            ):
                yield value.name, tuple(dim.dim_value for dim in dims)


def _concrete(value: Any) -> tuple[int, ...] | None:
    """The sizes of an input, `FREE` for free ones."""
    kind = value.type.tensor_type
    return (
        tuple(dim.dim_value or FREE for dim in kind.shape.dim) if kind.HasField("shape") else None
    )


def title(node: Any) -> str:
    """A node's name, or what it is and gives."""
    return node.name or f"{node.op_type} of {', '.join(each for each in node.output if each)}"


def needed(graph: Any, outputs: Sequence[str]) -> list[Any]:
    """The nodes that outputs are made by, in the graph's order."""
    wanted, nodes = set(outputs), []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            nodes.append(node)
    return nodes[::-1]
