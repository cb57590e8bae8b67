"""The meaning of a network: a plain loop in NumPy, which every faster or exported form must
equal.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from recurra.errors import DtypeError, ShapeError, shape_text
from recurra.network.layers import (
    Activation,
    AdaptiveSoftmax,
    Conv,
    Embedding,
    Layer,
    LayerNorm,
    Linear,
    Recurrent,
    Residual,
)
from recurra.network.network import Network
from recurra.program.graph import Product
from recurra.wording import count_text

Array = npt.NDArray[Any]
NORM_EPS = 1e-5
"""Of the row norms within a cell."""
MOST = 1e15
"""What a number may be before the row that is normalised is made smaller."""


def _sigmoid(x: Array) -> Array:
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small)).astype(x.dtype)


def _erf(x: Array) -> Array:
    return np.vectorize(math.erf, otypes=[x.dtype])(x)


def _log_softmax(x: Array) -> Array:
    below = x - x.max(1, keepdims=True)
    less: Array = below - np.log(np.exp(below).sum(1, keepdims=True))
    return less


def _times(x: Array, weight: Array) -> Array:
    """x W^T. BLAS may raise the processor's flags for lanes that it fills up and throws away: no
    warning says anything here.
    """
    with np.errstate(all="ignore"):
        product: Array = x @ weight.T
    return product


OPERATIONS: dict[str, Any] = {
    "neg": np.negative,
    "abs": np.abs,
    "sign": np.sign,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "sin": np.sin,
    "cos": np.cos,
    "erf": _erf,
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "relu": lambda x: np.where(x <= 0, x.dtype.type(0), x),
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "gt": lambda x, y: (x > y).astype(x.dtype),
    "ge": lambda x, y: (x >= y).astype(x.dtype),
    "lt": lambda x, y: (x < y).astype(x.dtype),
    "le": lambda x, y: (x <= y).astype(x.dtype),
    "eq": lambda x, y: (x == y).astype(x.dtype),
    "where": lambda k, x, y: np.where(k != 0, x, y),
}
"""What each operation of a program computes."""


def activate(kind: str, x: Array) -> Array:
    """An activation of `recurra.network.Activation`."""
    if kind == "gelu":
        return x / 2 * (1 + _erf(x / x.dtype.type(math.sqrt(2))))
    if kind == "gelu_tanh":
        return (
            x
            / 2
            * (
                1
                + np.tanh(
                    x.dtype.type(math.sqrt(2 / math.pi)) * (x + x.dtype.type(0.044715) * x * x * x)
                )
            )
        )
    done: Array = OPERATIONS[kind](x)
    return done


class Loop:
    """A network run step by step in NumPy, its state in `state`.

    Args:
        network: the network; quantised weights count as what they stand for.
        batch: B.
        dtype: "float64" or "float32", in which everything is computed.

    >>> from recurra.network.matrix import Matrix
    >>> loop = Loop(Network((Linear(Matrix(np.float32([[1, 2]]))),)), batch=1)
    >>> loop.push(np.ones((1, 2))).tolist()
    [[3.0]]
    """

    def __init__(self, network: Network, batch: int = 1, dtype: str = "float64") -> None:
        self.network, self.batch, self.dtype = network, batch, np.dtype(dtype)
        if dtype not in ("float64", "float32"):
            raise DtypeError(f"dtype must be 'float64' or 'float32', got {dtype!r}")
        self._dense: dict[int, Array] = {}
        self.state: dict[str, Array] = {}
        self.reset()

    def reset(self, rows: Any = None) -> None:
        """Begin anew, all rows if None."""
        for spec in self.network.states:
            if rows is None:
                self.state[spec.name] = np.tile(spec.first.astype(self.dtype), (self.batch, 1))
            else:
                self.state[spec.name][rows] = spec.first

    def push(self, x: Array) -> Array:
        """One step: features (B, I) or tokens (B,) to (B, O)."""
        if len(x) != self.batch:
            raise ShapeError(
                f"x must have {count_text(self.batch, 'row')}, got shape {shape_text(x.shape)}"
            )
        return self._layers(
            self.network.layers, "", x if self.network.reads_tokens else x.astype(self.dtype)
        )

    def run(self, x: Array) -> Array:
        """Many steps: (T, B, I) or tokens (T, B) to (T, B, O)."""
        return np.stack([self.push(step) for step in x])

    def _layers(self, layers: tuple[Layer, ...], before: str, x: Array) -> Array:
        for number, layer in enumerate(layers):
            x = self._layer(layer, f"{before}{number}.", x)
        return x

    def _layer(self, layer: Layer, place: str, x: Array) -> Array:
        if isinstance(layer, Embedding):
            return self._matrix(layer.weight)[x]
        if isinstance(layer, Linear):
            return _times(x, self._matrix(layer.weight)) + self._vector(layer.bias)
        if isinstance(layer, LayerNorm):
            return self._norm(x, layer.gain, layer.bias, layer.eps)
        if isinstance(layer, Activation):
            return activate(layer.kind, x)
        if isinstance(layer, Residual):
            return x + self._layers(layer.layers, place, x)
        if isinstance(layer, Conv):
            return self._conv(layer, place, x)
        if isinstance(layer, AdaptiveSoftmax):
            return self._adaptive(layer, x)
        return self._recurrent(layer, place, x)

    def _conv(self, layer: Conv, place: str, x: Array) -> Array:
        name = f"{place}past"
        past = self.state.get(name, np.zeros((self.batch, 0), self.dtype)).reshape(
            self.batch, layer.past, layer.width
        )
        seen = np.concatenate([past, x[:, None]], 1)
        if layer.past:
            self.state[name] = seen[:, 1:].reshape(self.batch, -1)
        taps = seen[:, :: layer.dilation].reshape(self.batch, layer.kernel, layer.groups, -1)
        weight = self._matrix(layer.weight).reshape(layer.groups, -1, layer.kernel, taps.shape[-1])
        return np.einsum("bkgi,goki->bgo", taps, weight).reshape(self.batch, -1) + self._vector(
            layer.bias
        )

    def _adaptive(self, layer: AdaptiveSoftmax, x: Array) -> Array:
        head = _log_softmax(_times(x, self._matrix(layer.weight)) + self._vector(layer.bias))
        parts = [head[:, : layer.words]]
        for number, (narrow, wide) in enumerate(layer.clusters, layer.words):
            parts.append(
                head[:, number : number + 1]
                + _log_softmax(_times(_times(x, self._matrix(narrow)), self._matrix(wide)))
            )
        return np.concatenate(parts, 1)

    def _recurrent(self, layer: Recurrent, place: str, x: Array) -> Array:
        program, vectors = layer.program, layer.vectors
        u = _times(x, self._matrix(layer.matrices["weight_ih"]))
        if program.input_norm:
            u = self._groups(
                u, program.input_norm, layer.hidden, vectors["gain_ih"], vectors.get("bias_ih")
            )
        else:
            u = u + self._vector(vectors.get("bias_ih"))
        blocks = dict(zip(program.gates, np.split(u, len(program.gates), 1)))
        values: dict[int, Array] = {}
        for number, node in enumerate(program.nodes):
            if node.op == "state":
                values[number] = self.state[place + node.name]
            elif node.op == "param":
                values[number] = self._vector(vectors[node.name])
            elif node.op == "const":
                values[number] = np.asarray(node.value, self.dtype)
            elif node.op == "u":
                values[number] = blocks[node.name]
        for phase, body in enumerate(program.bodies):
            self._compute(program.nodes, body.operand_nodes, values)
            if body.product is not None:
                v = self._product(layer, body.product, values[body.product.operand])
                for number, node in enumerate(program.nodes):
                    if node.op in ("a", "v") and node.phase == phase and node.name in v:
                        values[number] = (
                            v[node.name] + blocks[node.name] if node.op == "a" else v[node.name]
                        )
            self._compute(program.nodes, body.nodes, values)
        for name, number in program.state.items():
            self.state[place + name] = np.broadcast_to(
                values[number], (self.batch, layer.state_widths[name])
            ).astype(self.dtype)
        return self.state[place + next(iter(program.state))].copy()

    def _compute(self, nodes: Any, numbers: tuple[int, ...], values: dict[int, Array]) -> None:
        with np.errstate(all="ignore"):
            for number in numbers:
                values[number] = OPERATIONS[nodes[number].op](
                    *(values[arg] for arg in nodes[number].args)
                )

    def _product(self, layer: Recurrent, product: Product, operand: Array) -> dict[str, Array]:
        unit, gates, vectors = layer.units[product.width], len(product.gates), layer.vectors
        part = (
            slice(product.first * unit, (product.first + gates) * unit)
            if product.weight
            else slice(0, gates * unit)
        )
        v = np.broadcast_to(operand, (self.batch, layer.units[product.reads]))
        if product.weight:
            v = _times(v, self._matrix(layer.matrices[product.weight])[part])
        bias = vectors.get(product.bias)
        if product.norm:
            gain = vectors[product.gain][part] if product.gain else None
            v = self._groups(v, product.norm, unit, gain, None if bias is None else bias[part])
        elif product.weight == "weight_hh" and bias is not None:
            v = v + self._vector(bias[part])
        return dict(zip(product.gates, np.split(v, gates, 1)))

    def _groups(
        self, v: Array, norm: tuple[int, ...], unit: int, gain: Array | None, bias: Array | None
    ) -> Array:
        ends = np.cumsum(norm)[:-1] * unit
        normed = np.concatenate(
            [self._norm(each, None, None, NORM_EPS) for each in np.split(v, ends, 1)], 1
        )
        return normed * (1 if gain is None else self._vector(gain)) + self._vector(bias)

    def _norm(self, x: Array, gain: Array | None, bias: Array | None, eps: float) -> Array:
        with np.errstate(all="ignore"):
            most = np.abs(x).max(1, keepdims=True)
            shrink = np.where(most > MOST, MOST / most, 1).astype(
                self.dtype
            )  # of the rows whose squares would overflow
            centred = x * shrink - (x * shrink).mean(1, keepdims=True)
            normed = centred / np.sqrt(
                (centred * centred).mean(1, keepdims=True) + self.dtype.type(eps) * shrink * shrink
            )
        return normed * (self.dtype.type(1) if gain is None else self._vector(gain)) + self._vector(
            bias
        )

    def _matrix(self, matrix: Any) -> Array:
        if id(matrix) not in self._dense:
            self._dense[id(matrix)] = matrix.dense().astype(self.dtype)
        return self._dense[id(matrix)]

    def _vector(self, vector: Array | None) -> Array:
        return np.zeros((), self.dtype) if vector is None else vector.astype(self.dtype)
