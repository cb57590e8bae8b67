"""Where each number of a value in an ONNX graph comes from, as far as the graph only moves it
about.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from recurra.convert.onnx_reading import array_of, title, visiting
from recurra.export.from_onnx_constants import evaluated
from recurra.export.from_onnx_file import known
from recurra.export.from_onnx_limits import Budget, TooLarge, has_body
from recurra.export.from_onnx_shapes import shape_given

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
        held: bytes that the file holds.
        sizes: of inputs, where a free axis is none of `FREE`.
    """

    def __init__(
        self,
        onnx: Any,
        model: Any,
        inputs: Sequence[Any],
        held: int,
        sizes: Mapping[str, tuple[int, ...]] | None = None,
    ) -> None:
        self.onnx, self.model, self.graph, self.inputs, self.held = (
            onnx,
            model,
            model.graph,
            inputs,
            held,
        )
        self.budget = Budget(held)
        self.opsets = known(model.opset_import)
        self.sources: list[Source] = []
        self.nodes = list(self.graph.node)
        self.makers = {
            name: place for place, node in enumerate(self.nodes) for name in node.output if name
        }
        self.weights = {each.name: each for each in self.graph.initializer}
        self.sized: set[str] = set()
        self.moving = self._moving({each.name for each in inputs})
        self._count = 1
        self._starts = np.zeros(0, np.int64)
        self._filled: set[int] = set()
        self._values: dict[str, Array | None] = {}
        self._constants: dict[str, Array | None] = {}
        self._after: dict[tuple[str, ...], dict[str, Array]] = {}
        self._same: list[tuple[Array, Array]] = []
        self.sizes = {each.name: (sizes or {}).get(each.name) or _concrete(each) for each in inputs}
        self._shapes = {name: shape for name, shape in self.sizes.items() if shape is not None}
        for name, shape in self.sizes.items():
            self._values[name] = None if shape is None else self._fresh(name, "input", shape)

    def _moving(self, names: set[str]) -> set[str]:
        """The values that depend on what the inputs hold, and not on their sizes alone."""
        for node in self.nodes:
            of_size = node.op_type in ("Shape", "Size")
            if has_body(node) or (not of_size and names.intersection(node.input)):
                names.update(filter(None, node.output))
            elif of_size or self.sized.intersection(node.input):
                self.sized.update(filter(None, node.output))
        return names

    def at(self, sizes: Mapping[str, tuple[int, ...]]) -> Elements:
        """The same graph for inputs of other sizes; what does not depend on them is not evaluated
        again.
        """
        other = Elements(self.onnx, self.model, self.inputs, self.held, sizes)
        other._constants = {
            name: value for name, value in self._constants.items() if name not in self.sized
        }
        other._filled = {self.makers[name] for name in other._constants if name}
        return other

    def places(self, name: str) -> Array | None:
        """The places of a value's numbers; None where they are not known."""
        if name in self.moving:
            self._fill(name)
            return self._values.get(name)
        shape = self._still(name)
        return None if shape is None else _blank(shape)

    def _still(self, name: str) -> tuple[int, ...] | None:
        """The shape of a value that does not depend on what the inputs hold."""
        if name in self.weights:
            return tuple(self.weights[name].dims)
        constant = self.constant(name)
        return None if constant is None else constant.shape

    def same(self, places: Array) -> Array:
        """Places, those of an output at the only step as those of the state that it is."""
        self.budget.spend("the states", places.nbytes * len(self._same))
        places = places.copy()
        for outputs, states in self._same:
            found = np.isin(places, outputs)
            places[found] = places[found] - outputs.min() + states.min()
        return places

    def origins(self, places: Array) -> list[Source]:
        """What made the numbers."""
        if len(self._starts) < len(self.sources):
            self._starts = np.array([each.start for each in self.sources])
        numbers = np.unique(np.searchsorted(self._starts, places[places > 0], "right") - 1)
        return [self.sources[number] for number in numbers]

    def shape(self, name: str) -> tuple[int, ...] | None:
        """A value's shape, None where it is not known."""
        if name in self.weights:
            return tuple(self.weights[name].dims)
        if name not in self.moving:
            return self._still(name)
        self._fill(name)
        found = self._values.get(name)
        if found is not None:
            return found.shape
        return self._shapes.get(name)

    def constant(self, name: str) -> Array | None:
        """What a value that does not depend on what the inputs hold is; None where it cannot be
        told.
        """
        if name in self.weights:
            return array_of(self.weights[name])
        if name in self.moving:
            return None
        self._fill(name)
        return self._constants.get(name)

    def _fill(self, name: str) -> None:
        """Find out what a value is, after those that it is made of, however long the way to it."""
        todo, found = [name], set()
        while todo:
            place = self.makers.get(todo.pop(), -1)
            if place < 0 or place in found or place in self._filled:
                continue
            found.add(place)
            todo.extend(self.nodes[place].input)
        for place in sorted(found):
            self._filled.add(place)
            with visiting(self.nodes[place]):
                self._compute(self.nodes[place])

    def _known(self, node: Any) -> list[Array | None]:
        """What a node gives that does not depend on what the inputs hold."""
        if node.op_type in ("Shape", "Size") and node.input[0] in self.moving:
            shape = self.shape(node.input[0])
            given: list[Array | None] = [None if shape is None else _blank(shape)]
        else:
            given = [self.constant(each) for each in node.input if each]
        return (
            [None] * len(node.output)
            if any(each is None for each in given)
            else self._run(node, given)
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
        found: list[Array | None] = [None] * len(node.output)
        if self.moving.isdisjoint(node.output):
            self._constants.update(zip(node.output, self._known(node)))
            return
        if node.domain not in ("", "ai.onnx"):
            return
        if node.op_type in RECURRENT:
            self._recurrent(node)
            return
        if node.op_type in MOVES:
            count = len(node.input) if node.op_type == "Concat" else 1
            given = [
                (self.places if place < count else self.constant)(each)
                for place, each in enumerate(node.input)
                if each
            ]
            found = self._moved(node, given)
        self._values.update(zip(node.output, found))
        if found and found[0] is None:
            for name, shape in zip(node.output, self._shapes_given(node)):
                if shape is not None:
                    self._shapes[name], self._values[name] = (
                        shape,
                        self._fresh(title(node), "other", shape),
                    )

    def _moved(self, node: Any, given: Sequence[Array | None]) -> list[Array | None]:
        """Where a node puts the numbers of its inputs; None where that is not known, or more than
        is followed.
        """
        try:
            return (
                [None] * len(node.output)
                if any(each is None for each in given)
                else self._run(node, given)
            )
        except TooLarge:
            return [None] * len(node.output)

    def _shapes_given(self, node: Any) -> list[tuple[int, ...] | None]:
        """The shapes of what a node of a layer gives."""
        names = list(node.input)
        shapes = [self.shape(name) if name else None for name in names]
        if node.op_type in MOVES and shapes[0] is not None and node.op_type != "Concat":
            given = [
                _blank(shapes[0]) if place == 0 else self.constant(name)
                for place, name in enumerate(names)
                if name
            ]
            done = [None if each is None else each.shape for each in self._moved(node, given)]
            if any(each is not None for each in done):
                return done
        attributes = {
            each.name: self.onnx.helper.get_attribute_value(each) for each in node.attribute
        }
        shape = shape_given(
            node.op_type, attributes, shapes, lambda place: self.constant(names[place])
        )
        return [shape] + [None] * (len(node.output) - 1)

    def _recurrent(self, node: Any) -> None:
        key = tuple(node.output)
        if key in self._after:
            return
        layout = int(next((each.i for each in node.attribute if each.name == "layout"), 0))
        weight, x = self.shape(node.input[2]), self.shape(node.input[0])
        self._after[key] = {}
        self._values.update(dict.fromkeys(filter(None, key)))
        if weight is None or x is None or len(x) != 3 or len(weight) != 3:
            return
        steps, rows, ways, wide = x[layout], x[1 - layout], weight[0], weight[2]
        sizes = [
            (rows, steps, ways, wide) if layout else (steps, ways, rows, wide),
            *[(rows, ways, wide) if layout else (ways, rows, wide)] * 2,
        ]
        self._shapes.update({name: size for name, size in zip(key, sizes) if name})
        made = [
            self._fresh(title(node), kind, size)
            for kind, size in zip(("output", "state", "state"), sizes)
        ]
        places = [each for each in made if each is not None]
        if len(places) < len(made):
            return
        y, *states = places
        if steps == 1 and ways == 1:
            self._same.append((y, states[0]))
        self._after[key] = dict(zip("hc", states[: 2 if node.op_type == "LSTM" else 1]))
        self._values.update({name: each for name, each in zip(key, (y, *states)) if name})

    def _fresh(self, name: str, kind: str, shape: tuple[int, ...]) -> Array | None:
        """Places of their own for numbers that are made here; None for more than are followed."""
        count = math.prod(shape)
        if min(shape, default=0) < 0 or not self.budget.fits(8 * count):
            return None
        self.budget.spend(name, 8 * count)
        self.sources.append(Source(name, kind, self._count, shape))
        self._count += count
        return np.arange(self._count - count, self._count).reshape(shape)

    def _run(self, node: Any, given: Sequence[Any]) -> list[Array | None]:
        """The outputs of a node of whole numbers, or of constants; None where it does not run."""
        try:
            return [*evaluated(node, given, self.opsets, self.budget)]
        except TooLarge:
            raise
        except (
            Exception
        ):  # an operator may raise what it likes; what is not known is refused where it is needed
            return [None] * len(node.output)


def _blank(shape: tuple[int, ...]) -> Array | None:
    """Zeros that take no memory; None for more than can be counted."""
    return (
        np.broadcast_to(np.int64(0), shape)
        if min(shape, default=0) >= 0 and math.prod(shape) < 1 << 56
        else None
    )


def _concrete(value: Any) -> tuple[int, ...] | None:
    """The sizes of an input, `FREE` for free ones."""
    kind = value.type.tensor_type
    return (
        tuple(dim.dim_value or FREE for dim in kind.shape.dim) if kind.HasField("shape") else None
    )


def needed(graph: Any, outputs: Sequence[str]) -> list[Any]:
    """The nodes that outputs are made by, in the graph's order."""
    wanted, nodes = set(outputs), []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            nodes.append(node)
    return nodes[::-1]
