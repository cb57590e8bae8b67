"""The layers that a network is made of, beside the recurrent one."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from recurra.check import check_number, check_whole
from recurra.errors import ArgumentError, ShapeError, choice_text, shape_text
from recurra.network.layer import Layer, StateSpec, present
from recurra.network.matrix import Matrix, check_vector

Array = npt.NDArray[Any]
ACTIVATIONS = ("relu", "tanh", "sigmoid", "gelu", "gelu_tanh")


@dataclass(frozen=True, eq=False, repr=False)
class Embedding(Layer):
    """Rows of a table: y = weight[x], x a whole number in 0 .. V-1.

    Args:
        weight: (V, E).
    """

    weight: Matrix

    @property
    def widths(self) -> tuple[int, int]:
        """What goes in, here how many tokens there are, and how wide what comes out is."""
        return self.weight.shape

    def named_matrices(self) -> dict[str, Matrix]:
        """The table."""
        return {"weight": self.weight}


@dataclass(frozen=True, eq=False, repr=False)
class Linear(Layer):
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

    def named_matrices(self) -> dict[str, Matrix]:
        """The weight."""
        return {"weight": self.weight}

    def named_vectors(self) -> dict[str, Array]:
        """The bias."""
        return present(bias=self.bias)


@dataclass(frozen=True, eq=False, repr=False)
class LayerNorm(Layer):
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
        check_whole("width", self.width)
        check_vector("gain", self.gain, self.width)
        check_vector("bias", self.bias, self.width)
        check_number("eps", self.eps, 0, 1e30, "()")

    @property
    def widths(self) -> tuple[int, int]:
        """I twice."""
        return self.width, self.width

    def named_vectors(self) -> dict[str, Array]:
        """Gain and bias."""
        return present(gain=self.gain, bias=self.bias)


@dataclass(frozen=True, repr=False)
class Activation(Layer):
    """An elementwise function.

    Args:
        kind: "relu", "tanh", "sigmoid", "gelu" (x Phi(x)) or "gelu_tanh" (its approximation by
            tanh).
        width: I.
    """

    kind: str
    width: int

    def __post_init__(self) -> None:
        if self.kind not in ACTIVATIONS:
            raise ArgumentError(choice_text("kind", self.kind, ACTIVATIONS))
        check_whole("width", self.width)

    @property
    def widths(self) -> tuple[int, int]:
        """I twice."""
        return self.width, self.width


@dataclass(frozen=True, eq=False, repr=False)
class Conv(Layer):
    """A causal convolution over time: y_t = sum_k weight_k x_(t - (K-1-k) dilation) + bias; before
    the start x is zero.

    Args:
        weight: (O, K * I / groups): a row holds its taps one after another, the oldest first, each
            of I / groups inputs.
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
        for name in ("width", "kernel", "dilation", "groups"):
            check_whole(name, getattr(self, name))
        if self.width % self.groups or self.weight.shape[0] % self.groups:
            raise ArgumentError(
                f"groups must divide the widths {self.width} and {self.weight.shape[0]}, got"
                f" {self.groups}"
            )
        if self.weight.shape[1] != self.kernel * (self.width // self.groups):
            wanted = shape_text(["O", self.kernel * (self.width // self.groups)])
            raise ShapeError(
                f"weight must have shape {wanted}, got {shape_text(self.weight.shape)}"
            )

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

    def named_matrices(self) -> dict[str, Matrix]:
        """The weight."""
        return {"weight": self.weight}

    def named_vectors(self) -> dict[str, Array]:
        """The bias."""
        return present(bias=self.bias)

    @property
    def states(self) -> tuple[StateSpec, ...]:
        """The earlier inputs, the oldest first."""
        width = self.past * self.width
        return (StateSpec("past", width, np.zeros(width, np.float32)),) if width else ()


@dataclass(frozen=True, eq=False, repr=False)
class Residual(Layer):
    """y = x + the layers of x.

    Args:
        layers: one after another; what comes out is as wide as what goes in.
    """

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        check_chain("layers", self.layers)
        if self.widths[0] != self.widths[1] or isinstance(self.layers[0], Embedding):
            raise ShapeError(
                "layers of a residual must give back the width that they take, got"
                f" {self.widths[0]} and {self.widths[1]}"
            )

    @property
    def widths(self) -> tuple[int, int]:
        """I twice."""
        return self.layers[0].widths[0], self.layers[-1].widths[1]

    @property
    def inside(self) -> tuple[Layer, ...]:
        """The layers."""
        return self.layers


@dataclass(frozen=True, eq=False, repr=False)
class AdaptiveSoftmax(Layer):
    """Log-probabilities of words, the rarer ones by their cluster, in narrower vectors.

        log p(w) = head_w                                               w < n, the words of the head
        log p(w) = head_(n + i) + log_softmax(wide_i (narrow_i x))_w    in cluster i = 0, 1, ...
        head     = log_softmax(weight x + bias)

    Args:
        weight: (n + clusters, I), of the head.
        bias: (n + clusters,), or None.
        clusters: for each, narrow (D, I) and wide (words, D).

    Source: Grave et al. (2017), arXiv:1609.04309; torch.nn.AdaptiveLogSoftmaxWithLoss.
    """

    weight: Matrix
    bias: Array | None
    clusters: tuple[tuple[Matrix, Matrix], ...]

    def __post_init__(self) -> None:
        check_vector("bias", self.bias, self.weight.shape[0])
        if not self.clusters or self.words < 1:
            got = f"{self.weight.shape[0]} rows and {len(self.clusters)} clusters"
            raise ShapeError(
                f"weight must have a row for each of some words and some clusters, got {got}"
            )
        for number, (narrow, wide) in enumerate(self.clusters):
            if narrow.shape[1] != self.weight.shape[1] or wide.shape[1] != narrow.shape[0]:
                got = f"{shape_text(narrow.shape)} and {shape_text(wide.shape)}"
                raise ShapeError(
                    f"cluster {number} must have shapes (D, {self.weight.shape[1]}) and (words, D),"
                    f" got {got}"
                )

    @property
    def words(self) -> int:
        """Words of the head."""
        return self.weight.shape[0] - len(self.clusters)

    def named_matrices(self) -> dict[str, Matrix]:
        """The head's, then two for each cluster."""
        found = {"weight": self.weight}
        for number, (narrow, wide) in enumerate(self.clusters):
            found |= {f"{number}.narrow": narrow, f"{number}.wide": wide}
        return found

    def named_vectors(self) -> dict[str, Array]:
        """The head's bias."""
        return present(bias=self.bias)

    def with_matrices(self, matrices: Mapping[str, Matrix]) -> AdaptiveSoftmax:
        """The same layer with other matrices."""
        weight, *parts = matrices.values()
        return replace(self, weight=weight, clusters=tuple(zip(parts[::2], parts[1::2])))

    @property
    def widths(self) -> tuple[int, int]:
        """I, and how many words there are."""
        return self.weight.shape[1], self.words + sum(wide.shape[0] for _, wide in self.clusters)


def check_chain(name: str, layers: tuple[Layer, ...]) -> None:
    """Raise unless there is a layer, each takes what the one before gives, and only the first reads
    tokens.
    """
    if not layers:
        raise ArgumentError(f"{name} must hold at least one layer, got none")
    for number, (before, after) in enumerate(itertools.pairwise(layers), 1):
        if isinstance(after, Embedding):
            raise ArgumentError(
                f"{name} must read tokens in the first layer only, got an embedding at {number}"
            )
        if before.widths[1] != after.widths[0]:
            raise ShapeError(
                f"layer {number} must take the width that layer {number - 1} gives,"
                f" {before.widths[1]}, got {after.widths[0]}"
            )
