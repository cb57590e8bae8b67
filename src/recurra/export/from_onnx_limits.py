"""How much an ONNX file may ask for: whatever reads, evaluates or runs a part of one asks here
first.

What a file needs is bounded by what it holds, besides a small allowance: a network is no larger
than its weights, and what else a graph computes while it is read are shapes, places and weights put
into another order. All counts are of what is there once functions are expanded; loops are never
unrolled, for no node with a body of its own is evaluated or run.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from recurra.errors import ConversionError, DataError, quoted

MOST_NODES = 5_000
"""Once functions are expanded, those of bodies too. The largest layers that are taken are spelt in
some 20 nodes.
"""
MOST_NESTED = 16
"""Bodies within bodies and functions that call others, together."""
MOST_FIELDS = 300_000
"""Of the whole file, counted before it is parsed: an empty one has two bytes, but takes hundreds
when it is parsed.
"""
MOST_FILE = (2 << 30) - 1
"""Bytes, with those of files beside it; ONNX's own limit."""
MOST_NAME = 1_000
"""Characters of a name of a node, of a value or of an operator."""
MOST_GIVEN = 512
"""Inputs, and outputs, of a graph: two states of each of 256 layers."""
MOST_AXES, MOST_LONG = 8, 1 << 31
"""Axes of an input, and how long one is said to be."""
SPARE, TIMES = 64 << 20, 8
"""Bytes of all values together: so many, and as often what the file holds."""
MOST_PARTS = 64
"""Operators of a formula; a layer norm that is spelt out has 9."""
MOST_PAST = 1 << 16
"""Steps that a convolution looks back."""
MOST_RECURRENT = 200
"""Nodes that are layers over time; each is traced, which takes milliseconds."""
MOST_TURNS, MOST_NUMBERS, MOST_SUMS = 1 << 13, 1 << 21, 1 << 29
"""What checking a network may take: steps of its layers together, numbers that go in and come out,
and products of its weights; the latter two besides what the file's weights take over the few steps
of a free axis.
"""


class TooLarge(ConversionError):
    """A file asks for more than a file needs."""


class Budget:
    """What the values of a graph may take together.

    Args:
        held: bytes that the file holds.

    >>> Budget(0).spend("y", 10**12)
    Traceback (most recent call last):
    ...
    recurra.export.from_onnx_limits.TooLarge: onnx file must hold values of at most 67,108,864 bytes
        together, got more at y
    """

    def __init__(self, held: int) -> None:
        self.most = SPARE + TIMES * held
        self.left = self.most

    def spend(self, name: str, count: int) -> None:
        """Take so many bytes for what a node gives or reads.

        Raises:
            TooLarge: they are more than is left.
        """
        if not self.fits(count):
            raise TooLarge(
                f"onnx file must hold values of at most {self.most:,} bytes together, got more at"
                f" {name}"
            )
        self.left -= count

    def fits(self, count: int) -> bool:
        """Whether so many bytes are left."""
        return 0 <= count <= self.left


WIRE = {0: 0, 1: 8, 2: 0, 5: 4}
"""Bytes of a field by its kind; 0 where a number says it, or is all there is."""


def check_wire(data: bytes, kind: Any) -> None:
    """Count what a file holds before it is parsed.

    Args:
        data: the file.
        kind: the descriptor of the message that it is.

    Raises:
        DataError: it is no such message, or has too many fields.
    """
    todo, count = [(kind.fields_by_number, 0, len(data))], 0
    while todo:
        fields, at, end = todo.pop()
        while at < end:
            key, at = _number(data, at, end)
            count, size = count + 1, WIRE.get(key & 7, -1)
            if count > MOST_FIELDS:
                raise DataError(f"onnx file must have at most {MOST_FIELDS:,} fields, got more")
            if size == 0:
                size, at = _number(data, at, end)
                if key & 7:
                    inner = fields.get(key >> 3)
                    if inner is not None and inner.message_type is not None:
                        todo.append((inner.message_type.fields_by_number, at, at + size))
                else:
                    size = 0
            if size < 0 or at + size > end:
                raise DataError(
                    "path must be an ONNX model, got a file that is cut off or something else"
                )
            at += size


def _number(data: bytes, at: int, end: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where what follows it begins."""
    if at < end and data[at] < 128:
        return data[at], at + 1
    found = 0
    for place in range(at, min(at + 10, end)):
        found |= (data[place] & 127) << 7 * (place - at)
        if data[place] < 128:
            return found, place + 1
    raise DataError("path must be an ONNX model, got a file that is cut off or something else")


class Cost(NamedTuple):
    """What a list of nodes is, once functions are expanded.

    Attributes:
        nodes: how many.
        size: bytes, each name as long as the longest.
        bound: attributes that stand for those of the call.
        depth: how deep bodies and functions lie within.
    """

    nodes: int = 0
    size: int = 0
    bound: int = 0
    depth: int = 0


class Expansion:
    """Counts what a model is, once its functions are expanded, without expanding them.

    Args:
        model: the onnx.ModelProto.
        held: its bytes.
    """

    def __init__(self, model: Any, held: int) -> None:
        self.model, self.most = model, SPARE + TIMES * held
        self.functions: dict[tuple[str, str], list[Any]] = {}
        for each in model.functions:
            self.functions.setdefault((_domain(each.domain), each.name), []).append(each)
        self._known: dict[tuple[str, str], Cost] = {}
        self._name = 0

    def check(self) -> None:
        """Raise where it is too much.

        Raises:
            TooLarge: there are too many nodes or bytes, they lie too deep, or a name is too long.
            ConversionError: a function is given a body, or a name cannot be printed.
        """
        graphs = [self.model.graph, *self.model.functions]
        given = self.model.graph
        _longest(
            each.name
            for values in (given.input, given.output, given.initializer)
            for each in values
        )
        self._name = max(self._within(each.node, 0) for each in graphs)
        self._cost(self.model.graph.node, 0)

    def _within(self, nodes: Any, depth: int) -> int:
        """Characters of the longest name."""
        if depth > MOST_NESTED:
            raise TooLarge(
                f"onnx file must nest bodies and functions at most {MOST_NESTED} deep, got more"
            )
        longest = 0
        for node in nodes:
            names = (
                node.name,
                node.op_type,
                node.domain,
                *node.input,
                *node.output,
                *(each.name for each in node.attribute),
            )
            longest = max(longest, _longest(names))
            for graph in _bodies(node):
                longest = max(longest, self._within(graph.node, depth + 1))
        return longest

    def _cost(self, nodes: Any, depth: int) -> Cost:
        done = Cost()
        for node in nodes:
            wires = len(node.input) + len(node.output)
            refs = sum(bool(each.ref_attr_name) for each in node.attribute)
            done = self._sum(done, Cost(1, node.ByteSize() + wires * self._name, refs, 0), depth)
            for graph in _bodies(node):
                done = self._sum(done, self._cost(graph.node, depth + 1), depth, 1)
            key = (_domain(node.domain), node.op_type)
            if key in self.functions:
                if any(True for _ in _bodies(node)) or any(
                    each.type in (5, 10) for each in node.attribute
                ):
                    raise ConversionError(
                        f"function {node.op_type} must be called without a body, got one"
                    )
                inner = self._function(key, depth + 1)
                grown = inner.size + inner.bound * node.ByteSize()
                done = self._sum(
                    done, Cost(inner.nodes, grown, refs * inner.bound, inner.depth), depth, 1
                )
        return done

    def _function(self, key: tuple[str, str], depth: int) -> Cost:
        """What the largest function of a name is."""
        if depth > MOST_NESTED:
            raise TooLarge(
                f"onnx file must nest bodies and functions at most {MOST_NESTED} deep, got more"
            )
        if key not in self._known:
            found = [self._cost(each.node, depth) for each in self.functions[key]]
            self._known[key] = Cost(*map(max, *found)) if len(found) > 1 else found[0]
        return self._known[key]

    def _sum(self, one: Cost, other: Cost, depth: int, deeper: int = 0) -> Cost:
        done = Cost(
            one.nodes + other.nodes,
            one.size + other.size,
            one.bound + other.bound,
            max(one.depth, other.depth + deeper),
        )
        if done.nodes > MOST_NODES:
            raise TooLarge(
                f"onnx file must hold at most {MOST_NODES:,} nodes once its functions are expanded,"
                " got more"
            )
        if done.size > self.most:
            raise TooLarge(
                f"onnx file must be at most {self.most:,} bytes once its functions are expanded,"
                " got more"
            )
        if depth + done.depth > MOST_NESTED:
            raise TooLarge(
                f"onnx file must nest bodies and functions at most {MOST_NESTED} deep, got more"
            )
        return done


def _longest(names: Iterable[str]) -> int:
    """Characters of the longest of some names, each of which a message may quote."""
    longest = 0
    for name in names:
        longest = max(longest, len(name))
        if longest > MOST_NAME:
            raise TooLarge(
                f"onnx file must name nodes and values by at most {MOST_NAME:,} characters, got"
                f" {longest:,}"
            )
        if isinstance(name, bytes) or not name.isprintable():  # bytes are a text that is not UTF-8
            raise ConversionError(
                "onnx file must name nodes and values by characters that can be printed, got"
                f" {quoted(name)}"
            )
    return longest


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _bodies(node: Any) -> Iterable[Any]:
    """The graphs that a node holds."""
    for each in node.attribute:
        if each.HasField("g"):
            yield each.g
        yield from each.graphs


def has_body(node: Any) -> bool:
    """Whether a node holds a graph of its own, which may run any number of times."""
    return any(True for _ in _bodies(node))


def check_inputs(inputs: Iterable[Any], outputs: Iterable[Any]) -> None:
    """Raise unless a graph's inputs and outputs are few, and the inputs' sizes are some.

    Raises:
        TooLarge, ConversionError: they are not.
    """
    for what, values in (("inputs", list(inputs)), ("outputs", list(outputs))):
        if len(values) > MOST_GIVEN:
            raise TooLarge(f"onnx file must have at most {MOST_GIVEN} {what}, got {len(values):,}")
    for value in inputs:
        sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        if len(sizes) > MOST_AXES or any(not 0 <= size < MOST_LONG for size in sizes):
            raise TooLarge(
                f"{value.name} must have at most {MOST_AXES} axes of at most {MOST_LONG - 1:,}, got"
                f" {sizes[:9]}"
            )


class Run(NamedTuple):
    """What it takes to check a network.

    Attributes:
        turns: steps of layers.
        numbers: that go in and come out.
        sums: products of weights.
    """

    turns: int
    numbers: int
    sums: int


def check_run(run: Run, what: str, held: int) -> None:
    """Raise where it takes too much to check a network.

    Args:
        run: what it takes.
        what: the input's size, for the message.
        held: bytes that the file holds.

    Raises:
        TooLarge: it does.
    """
    if (
        run.turns > MOST_TURNS
        or run.numbers > MOST_NUMBERS + 8 * held
        or run.sums > MOST_SUMS + 256 * held
    ):
        text = f"x must be small enough to check the network on it, got {what}"
        raise TooLarge(f"{text}; export with free axes for both, or pass check=False")
