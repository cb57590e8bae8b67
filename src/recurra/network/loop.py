"""The meaning of a network: a plain loop in NumPy, which every faster or exported form must
equal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from recurra.errors import DtypeError, ShapeError, shape_text
from recurra.network.equations import EQUATIONS, cell_step, chain
from recurra.network.layers import Conv
from recurra.network.matrix import Matrix
from recurra.network.network import Network
from recurra.network.recurrent import Recurrent
from recurra.wording import count_text

Array = npt.NDArray[Any]
MOST = 1e15
"""What a number may be before the row that is normalised is made smaller."""


def _sigmoid(x: Array) -> Array:
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small)).astype(x.dtype)


def _erf(x: Array) -> Array:
    return np.vectorize(math.erf, otypes=[x.dtype])(x)


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


class Loop:
    """A network run step by step in NumPy, its state in `state`.

    Args:
        network: the network; quantised weights count as what they stand for.
        batch: B.
        dtype: "float64" or "float32", in which everything is computed.

    >>> from recurra.network import Linear, Matrix
    >>> loop = Loop(Network((Linear(Matrix(np.float32([[1, 2]]))),)), batch=1)
    >>> loop.push(np.ones((1, 2))).tolist()
    [[3.0]]
    """

    equations = EQUATIONS

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
        x = x if self.network.reads_tokens else x.astype(self.dtype)
        with np.errstate(all="ignore"):
            return chain(self, self.network.layers, "", x)  # type: ignore[no-any-return]

    def run(self, x: Array) -> Array:
        """Many steps: (T, B, I) or tokens (T, B) to (T, B, O)."""
        return np.stack([self.push(step) for step in x])

    def rows(self, table: Matrix, tokens: Array) -> Array:
        """Rows of a matrix."""
        return self._matrix(table)[tokens]

    def product(
        self, x: Array, weight: Matrix, bias: Array | None = None, rows: slice | None = None
    ) -> Array:
        """x weight[rows]^T + bias[rows]."""
        product: Array = x @ self._matrix(weight)[rows or slice(None)].T
        return product if bias is None else product + self.vector(bias, rows)

    def vector(self, vector: Array, rows: slice | None = None) -> Array:
        """A vector, or some of its numbers."""
        return vector[rows or slice(None)].astype(self.dtype)

    def constant(self, value: float) -> Array:
        """A number."""
        return np.asarray(value, self.dtype)

    def operation(self, op: str, *args: Array) -> Array:
        """An operation of the programs' alphabet."""
        done: Array = OPERATIONS[op](*args)
        return done

    def norm(
        self, x: Array, width: int, eps: float, gain: Array | None, bias: Array | None
    ) -> Array:
        """A layer norm over the row; rows whose squares would overflow are made smaller first."""
        most = np.abs(x).max(1, keepdims=True)
        shrink = np.where(most > MOST, MOST / most, 1).astype(self.dtype)
        centred = x * shrink - (x * shrink).mean(1, keepdims=True)
        variance = (centred * centred).mean(1, keepdims=True)
        normed = centred / np.sqrt(variance + self.dtype.type(eps) * shrink * shrink)
        scaled = normed if gain is None else normed * gain
        return scaled if bias is None else scaled + bias

    def log_softmax(self, x: Array) -> Array:
        """Over the row."""
        below = x - x.max(1, keepdims=True)
        less: Array = below - np.log(np.exp(below).sum(1, keepdims=True))
        return less

    def split(self, x: Array, sizes: Sequence[int]) -> list[Array]:
        """A row in parts."""
        return np.split(x, np.cumsum(sizes)[:-1], 1)

    def concat(self, parts: Sequence[Array]) -> Array:
        """The parts as one row."""
        return np.concatenate(parts, 1)

    def spread(self, x: Array, width: int, like: Array) -> Array:
        """A value for every row."""
        return np.broadcast_to(x, (len(like), width))

    def convolution(self, layer: Conv, place: str, x: Array) -> Array:
        """The taps of this step and of earlier ones, which move on."""
        past = self.state.get(f"{place}past", np.zeros((self.batch, 0), self.dtype))
        seen = np.concatenate([past.reshape(self.batch, layer.past, layer.width), x[:, None]], 1)
        if layer.past:
            self.state[f"{place}past"] = seen[:, 1:].reshape(self.batch, -1)
        taps = seen[:, :: layer.dilation].reshape(self.batch, layer.kernel, layer.groups, -1)
        weight = self._matrix(layer.weight).reshape(layer.groups, -1, layer.kernel, taps.shape[-1])
        y = np.einsum("bkgi,goki->bgo", taps, weight).reshape(self.batch, -1)
        return y if layer.bias is None else y + self.vector(layer.bias)

    def over_time(self, layer: Recurrent, place: str, u: Array) -> Array:
        """One step of a cell."""
        new = cell_step(self, layer, u, {name: self.state[place + name] for name in layer.names})
        self.state |= {place + name: value.astype(self.dtype) for name, value in new.items()}
        return self.state[place + layer.names[0]].copy()

    def _matrix(self, matrix: Matrix) -> Array:
        if id(matrix) not in self._dense:
            self._dense[id(matrix)] = matrix.dense().astype(self.dtype)
        return self._dense[id(matrix)]
