"""What each kind of layer computes, said once over a backend's primitives.

A backend says what a value is (a NumPy array, a tensor, the name of a value in an ONNX graph) and
how a primitive makes one of others. It knows no layer but those that look over time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from recurra.network.layer import Layer
from recurra.network.layers import (
    Activation,
    AdaptiveSoftmax,
    Conv,
    Embedding,
    LayerNorm,
    Linear,
    Residual,
)
from recurra.network.recurrent import Recurrent
from recurra.program.graph import Product, Program

Value = Any
NORM_EPS = 1e-5
"""Of the row norms within a cell."""


class Primitives(Protocol):
    """What is done at each step by itself; a value is (B, width), or (T, B, width) where a sequence
    is written at once.
    """

    def rows(self, table: Any, tokens: Value) -> Value:
        """Rows of a matrix."""

    def product(self, x: Value, weight: Any, bias: Any = None, rows: slice | None = None) -> Value:
        """x weight[rows]^T + bias[rows]."""

    def vector(self, vector: Any, rows: slice | None = None) -> Value:
        """A vector, or some of its numbers, to be added to every row or multiplied with it."""

    def constant(self, value: float) -> Value:
        """A number."""

    def operation(self, op: str, *args: Value) -> Value:
        """An operation of the programs' alphabet."""

    def norm(
        self, x: Value, width: int, eps: float, gain: Value | None, bias: Value | None
    ) -> Value:
        """(x - mean) / sqrt(variance + eps) * gain + bias, over the row of so many units."""

    def log_softmax(self, x: Value) -> Value:
        """x - log(sum(exp(x))), over the row."""

    def split(self, x: Value, sizes: Sequence[int]) -> Sequence[Value]:
        """A row in parts."""

    def concat(self, parts: Sequence[Value]) -> Value:
        """The parts as one row."""

    def spread(self, x: Value, width: int, like: Value) -> Value:
        """A value for every row, where it may be one for all: `like` has the rows."""


class Backend(Primitives, Protocol):
    """The primitives, and what looks over time."""

    @property
    def equations(self) -> Mapping[type, Callable[[Any, Any, str, Value], Value]]:
        """Of each kind of layer: `EQUATIONS`, or with some that the target has an operator for."""

    def convolution(self, layer: Conv, place: str, x: Value) -> Value:
        """A convolution over time, its earlier inputs kept as the state `place` + "past"."""

    def over_time(self, layer: Recurrent, place: str, u: Value) -> Value:
        """A cell over time: `cell_step` at each, its states kept as `place` + their names."""


def chain(b: Backend, layers: Sequence[Layer], place: str, x: Value) -> Value:
    """Layers one after another; `place` begins the names of their weights and states."""
    for number, layer in enumerate(layers):
        x = b.equations[type(layer)](b, layer, f"{place}{number}.", x)
    return x


def _embedding(b: Backend, layer: Embedding, place: str, x: Value) -> Value:
    return b.rows(layer.weight, x)


def _linear(b: Backend, layer: Linear, place: str, x: Value) -> Value:
    return b.product(x, layer.weight, layer.bias)


def _layer_norm(b: Backend, layer: LayerNorm, place: str, x: Value) -> Value:
    gain, bias = (each if each is None else b.vector(each) for each in (layer.gain, layer.bias))
    return b.norm(x, layer.width, layer.eps, gain, bias)


def _activation(b: Backend, layer: Activation, place: str, x: Value) -> Value:
    """x Phi(x), its approximation by tanh, or an operation of the alphabet."""
    op, number = b.operation, b.constant
    if layer.kind == "gelu":
        bend = op("erf", op("mul", x, number(0.5**0.5)))
    elif layer.kind == "gelu_tanh":
        cube = op("mul", op("mul", x, x), op("mul", x, number(0.044715)))
        bend = op("tanh", op("mul", op("add", x, cube), number(0.7978845608028654)))
    else:
        return op(layer.kind, x)
    return op("mul", op("mul", x, number(0.5)), op("add", number(1.0), bend))


def _residual(b: Backend, layer: Residual, place: str, x: Value) -> Value:
    return b.operation("add", x, chain(b, layer.layers, place, x))


def _conv(b: Backend, layer: Conv, place: str, x: Value) -> Value:
    return b.convolution(layer, place, x)


def _adaptive_softmax(b: Backend, layer: AdaptiveSoftmax, place: str, x: Value) -> Value:
    """The head's words, then each cluster's below its own chance."""
    head = b.log_softmax(b.product(x, layer.weight, layer.bias))
    first, *chances = b.split(head, [layer.words, *(1 for _ in layer.clusters)])
    tails = [
        b.operation("add", b.log_softmax(b.product(b.product(x, narrow), wide)), chance)
        for (narrow, wide), chance in zip(layer.clusters, chances)
    ]
    return b.concat([first, *tails])


def recurrent(b: Backend, layer: Recurrent, place: str, x: Value) -> Value:
    """A cell over time: what the input adds to the gates for all steps at once, then step by
    step.
    """
    return b.over_time(layer, place, project(b, layer, x))


EQUATIONS: dict[type, Callable[[Any, Any, str, Value], Value]] = {
    Embedding: _embedding,
    Linear: _linear,
    LayerNorm: _layer_norm,
    Activation: _activation,
    Residual: _residual,
    Conv: _conv,
    AdaptiveSoftmax: _adaptive_softmax,
    Recurrent: recurrent,
}
"""By kind of layer: (backend, layer, place, x) to what comes out."""


class CellWeights(Protocol):
    """A cell's program with its weights: a `Recurrent`, or another kind of arrays."""

    @property
    def program(self) -> Program:
        """What a step computes."""

    @property
    def matrices(self) -> Mapping[str, Any]:
        """By the names that the program uses."""

    @property
    def vectors(self) -> Mapping[str, Any]:
        """Biases, gains and parameters, by name."""

    @property
    def hidden(self) -> int:
        """H."""

    @property
    def units(self) -> Mapping[str, int]:
        """Units by the symbols that the program uses for widths."""

    @property
    def state_widths(self) -> Mapping[str, int]:
        """Units of each state."""


def project(b: Primitives, cell: CellWeights, x: Value) -> Value:
    """u: what the input adds to the gates."""
    norm, bias = cell.program.input_norm, cell.vectors.get("bias_ih")
    u = b.product(x, cell.matrices["weight_ih"], None if norm else bias)
    return _groups(b, u, norm, cell.hidden, cell.vectors.get("gain_ih"), bias, None) if norm else u


def cell_step(
    b: Primitives, cell: CellWeights, u: Value, states: Mapping[str, Value], noise: Any = None
) -> dict[str, Value]:
    """One step of a cell: its new states, from u and the old ones.

    Args:
        b: the backend.
        cell: the program and its weights.
        u: this step's, in blocks in the order of the program's gates.
        states: by name.
        noise: the random factors by name, where the program reads some.
    """
    program, like = cell.program, next(iter(states.values()))
    blocks = dict(zip(program.gates, b.split(u, [cell.hidden] * len(program.gates))))
    sources = {"u": blocks, "state": states, "noise": noise or {}}
    values: dict[int, Value] = {}
    for number, node in enumerate(program.nodes):
        if node.op in sources:
            values[number] = sources[node.op][node.name]
        elif node.op == "param":
            values[number] = b.vector(cell.vectors[node.name])
    for number in program.state.values():  # a file may hold a state that is the same always
        if program.nodes[number].op == "const":
            values[number] = b.constant(program.nodes[number].value)
    for phase, body in enumerate(program.bodies):
        _compute(b, program, body.operand_nodes, values)
        if body.product is not None:
            v = _multiply(b, cell, body.product, values[body.product.operand], like)
            values |= {
                number: v[node.name]
                for number, node in enumerate(program.nodes)
                if node.op == "v" and node.phase == phase and node.name in v
            }
        _compute(b, program, body.nodes, values)
    return {
        name: b.spread(values[number], cell.state_widths[name], like)
        for name, number in program.state.items()
    }


def _compute(
    b: Primitives, program: Program, numbers: Sequence[int], values: dict[int, Value]
) -> None:
    for number in numbers:
        node = program.nodes[number]
        for arg in node.args:
            if arg not in values:
                values[arg] = b.constant(program.nodes[arg].value)
        values[number] = b.operation(node.op, *(values[arg] for arg in node.args))


def _multiply(
    b: Primitives, cell: CellWeights, product: Product, operand: Value, like: Value
) -> dict[str, Value]:
    """A phase's v by its gates."""
    unit, rows = cell.units[product.width], product.rows(cell.units[product.width])
    bias, gain = (cell.vectors.get(str(name)) for name in product.vectors[1:])
    v = b.spread(operand, cell.units[product.reads], like)
    if product.weight is not None:
        own = bias if product.adds_bias else None
        v = b.product(v, cell.matrices[product.weight], own, rows)
    if product.norm:
        v = _groups(b, v, product.norm, unit, gain, bias, rows)
    return dict(zip(product.gates, b.split(v, [unit] * len(product.gates))))


def _groups(
    b: Primitives,
    v: Value,
    norm: Sequence[int],
    unit: int,
    gain: Any,
    bias: Any,
    rows: slice | None,
) -> Value:
    """A norm of each group of blocks of a row, with its part of gain and bias."""
    sizes, start, parts = [blocks * unit for blocks in norm], rows.start if rows else 0, []
    for part, size in zip(b.split(v, sizes), sizes):
        own = slice(start, start + size)
        vectors = (None if each is None else b.vector(each, own) for each in (gain, bias))
        parts.append(b.norm(part, size, NORM_EPS, *vectors))
        start = own.stop
    return b.concat(parts)
