"""The layers that a network is made of. Each maps rows (B, I) to rows (B, O) at every step; some carry a state."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from recurra.errors import ArgumentError, ShapeError, choice_text, shape_text
from recurra.network.matrix import Matrix
from recurra.program.graph import Product, Program

Array = npt.NDArray[Any]
ACTIVATIONS = ("relu", "tanh", "sigmoid", "gelu", "gelu_tanh")


@dataclass(frozen=True, eq=False)
class Embedding:
    """Rows of a table: y = weight[x], x a whole number in 0 .. V-1.

    Args:
        weight: (V, E).
    """

    weight: Matrix

    @property
    def widths(self) -> tuple[int, int]:
        """What goes in, here how many tokens there are, and how wide what comes out is."""
        return self.weight.shape


@dataclass(frozen=True, eq=False)
class Linear:
    """y = x weight^T + bias.

    Args:
        weight: (O, I).
        bias: (O,), or None.
    """

    weight: Matrix
    bias: Array | None = None

    def __post_init__(self) -> None:
        check_vector("bias", self.bias, self.weight.shape[0])

    @property
    def widths(self) -> tuple[int, int]:
        """I and O."""
        return self.weight.shape[1], self.weight.shape[0]


@dataclass(frozen=True, eq=False)
class LayerNorm:
    """y = (x - mean) / sqrt(variance + eps) * gain + bias, over the row; the variance is biased.

    Args:
        width: I.
        gain, bias: (I,), or None.
        eps: positive.
    """

    width: int
    gain: Array | None = None
    bias: Array | None = None
    eps: float = 1e-5

    def __post_init__(self) -> None:
        check_vector("gain", self.gain, self.width)
        check_vector("bias", self.bias, self.width)
        if not 0 < self.eps < 1e30:
            raise ArgumentError(f"eps must be positive, got {self.eps!r}")

    @property
    def widths(self) -> tuple[int, int]:
        """I twice."""
        return self.width, self.width


@dataclass(frozen=True)
class Activation:
    """An elementwise function.

    Args:
        kind: "relu", "tanh", "sigmoid", "gelu" (x Phi(x)) or "gelu_tanh" (its approximation by tanh).
        width: I.
    """

    kind: str
    width: int

    def __post_init__(self) -> None:
        if self.kind not in ACTIVATIONS:
            raise ArgumentError(choice_text("kind", self.kind, ACTIVATIONS))

    @property
    def widths(self) -> tuple[int, int]:
        """I twice."""
        return self.width, self.width


@dataclass(frozen=True, eq=False)
class Conv:
    """A causal convolution over time: y_t = sum_k weight_k x_(t - (K-1-k) dilation) + bias; before the start x is zero.

    Args:
        weight: (O, K * I / groups): a row holds its taps one after another, the oldest first, each of I / groups inputs.
        bias: (O,), or None.
        width: I.
        kernel: K, how many taps.
        dilation: steps from one tap to the next.
        groups: output o reads inputs of group o // (O / groups) only.
    """

    weight: Matrix
    bias: Array | None
    width: int
    kernel: int
    dilation: int = 1
    groups: int = 1

    def __post_init__(self) -> None:
        check_vector("bias", self.bias, self.weight.shape[0])
        if min(self.width, self.kernel, self.dilation, self.groups) < 1:
            raise ArgumentError(f"width, kernel, dilation and groups must be at least 1, got {self.sizes}")
        if self.width % self.groups or self.weight.shape[0] % self.groups:
            raise ArgumentError(f"groups must divide the widths {self.width} and {self.weight.shape[0]}, got {self.groups}")
        if self.weight.shape[1] != self.kernel * (self.width // self.groups):
            wanted = shape_text(["O", self.kernel * (self.width // self.groups)])
            raise ShapeError(f"weight must have shape {wanted}, got {shape_text(self.weight.shape)}")

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """I, K, dilation and groups."""
        return self.width, self.kernel, self.dilation, self.groups

    @property
    def past(self) -> int:
        """How many earlier steps it looks at, the last of them included."""
        return (self.kernel - 1) * self.dilation

    @property
    def widths(self) -> tuple[int, int]:
        """I and O."""
        return self.width, self.weight.shape[0]


@dataclass(frozen=True, eq=False)
class Recurrent:
    """A cell over time, given by its program.

    Args:
        program: the cell's at evaluation, from `recurra.program.trace`.
        matrices: "weight_ih" (G * H, I), and the other products' by the names that the program uses.
        vectors: biases, gains and the cell's own parameters, by name; "initial_h" (H,) and so on where the first state is learned.

    Raises:
        ArgumentError, ShapeError: a weight is missing, unknown, or of another shape.
    """

    program: Program
    matrices: Mapping[str, Matrix]
    vectors: Mapping[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.program.noise:
            raise ArgumentError(f"program must be that of a cell at evaluation, got one with noise {', '.join(self.program.noise)}")
        if "weight_ih" not in self.matrices:
            raise ArgumentError(f"matrices must hold 'weight_ih', got {', '.join(self.matrices) or 'nothing'}")
        gates, rows = len(self.program.gates), self.matrices["weight_ih"].shape[0]
        if rows % gates:
            raise ShapeError(f"weight_ih must have rows for {gates} gates of one size, got {rows}")
        self._check_products()
        self._check_vectors()

    @property
    def hidden(self) -> int:
        """H."""
        return self.matrices["weight_ih"].shape[0] // len(self.program.gates)

    @property
    def widths(self) -> tuple[int, int]:
        """I and the width of the output."""
        return self.matrices["weight_ih"].shape[1], next(iter(self.state_widths.values()))

    @property
    def products(self) -> list[Product]:
        """The products with a weight, in the order of the phases."""
        return [body.product for body in self.program.bodies if body.product and body.product.weight]

    @property
    def units(self) -> dict[str, int]:
        """Units by the symbols that the program uses for widths: "hidden", and the states of another width."""
        units = {"hidden": self.hidden}
        for product in self.products:
            weight = self.matrices.get(str(product.weight))
            if weight is not None:
                units.setdefault(product.width, weight.shape[0] // product.total)
                units.setdefault(product.reads, weight.shape[1])
        return units

    @property
    def state_widths(self) -> dict[str, int]:
        """Units of each state, the output's first.

        Raises:
            ShapeError: no weight tells the width of a state.
        """
        units = self.units
        symbols = {node.name: node.width for node in self.program.nodes if node.op == "state"}
        found = {name: symbols.get(name, self.program.nodes[number].width) for name, number in self.program.state.items()}
        for name, symbol in found.items():
            if symbol not in units:
                raise ShapeError(f"matrices must tell the width of {name}, got none that reads or makes it")
        return {name: units[symbol] for name, symbol in found.items()}

    def _check_products(self) -> None:
        units, known = self.units, {"weight_ih"}
        for product in self.products:
            name = str(product.weight)
            known.add(name)
            if name not in self.matrices:
                raise ArgumentError(f"matrices must hold {name!r}, got {', '.join(self.matrices)}")
            wanted = (product.total * units[product.width], units[product.reads])
            if self.matrices[name].shape != wanted:
                raise ShapeError(f"{name} must have shape {shape_text(wanted)}, got {shape_text(self.matrices[name].shape)}")
        for name in self.matrices:
            if name not in known:
                raise ArgumentError(choice_text("matrices", name, known))

    def _check_vectors(self) -> None:
        sizes = vector_sizes(self)
        for name, vector in self.vectors.items():
            if name not in sizes:
                raise ArgumentError(choice_text("vectors", name, sizes))
            check_vector(name, vector, sizes[name])
        gains = [body.product.gain for body in self.program.bodies if body.product and body.product.norm and body.product.gain]
        for name in (*self.program.params, *gains, *(["gain_ih"] if self.program.input_norm else [])):
            if name not in self.vectors:
                raise ArgumentError(f"vectors must hold {name!r}, got {', '.join(self.vectors) or 'nothing'}")


@dataclass(frozen=True, eq=False)
class Residual:
    """y = x + the layers of x.

    Args:
        layers: one after another; what comes out is as wide as what goes in.
    """

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        check_chain("layers", self.layers)
        if self.widths[0] != self.widths[1] or isinstance(self.layers[0], Embedding):
            raise ShapeError(f"layers of a residual must give back the width that they take, got {self.widths[0]} and {self.widths[1]}")

    @property
    def widths(self) -> tuple[int, int]:
        """I twice."""
        return self.layers[0].widths[0], self.layers[-1].widths[1]


Layer = Embedding | Linear | LayerNorm | Activation | Conv | Recurrent | Residual


def vector_sizes(layer: Recurrent) -> dict[str, int]:
    """The vectors that a recurrent layer may hold, with their sizes."""
    program, units = layer.program, layer.units
    sizes = {"bias_ih": len(program.gates) * layer.hidden}
    if program.input_norm:
        sizes["gain_ih"] = sizes["bias_ih"]
    for product in (body.product for body in program.bodies):
        if product is None:
            continue
        blocks = product.total if product.weight else len(product.gates)
        if product.norm or product.weight == "weight_hh":
            sizes[product.bias] = blocks * units[product.width]
        if product.norm and product.gain:
            sizes[product.gain] = blocks * units[product.width]
    named = {node.name: node.width for node in program.nodes if node.op == "param"}
    sizes |= {name: units[named.get(name, "hidden")] for name in program.params}
    return sizes | {f"initial_{name}": width for name, width in layer.state_widths.items()}


def check_vector(name: str, vector: Array | None, size: int) -> None:
    """Raise unless a vector is float32 and of that size, or None."""
    if vector is not None and (vector.shape != (size,) or vector.dtype != np.float32):
        raise ShapeError(f"{name} must be float32 of shape ({size},), got {vector.dtype} {shape_text(vector.shape)}")


def check_chain(name: str, layers: tuple[Layer, ...]) -> None:
    """Raise unless there is a layer, each takes what the one before gives, and only the first reads tokens."""
    if not layers:
        raise ArgumentError(f"{name} must hold at least one layer, got none")
    for number, (before, after) in enumerate(itertools.pairwise(layers), 1):
        if isinstance(after, Embedding):
            raise ArgumentError(f"{name} must read tokens in the first layer only, got an embedding at {number}")
        if before.widths[1] != after.widths[0]:
            raise ShapeError(f"layer {number} must take the width that layer {number - 1} gives, {before.widths[1]}, got {after.widths[0]}")
