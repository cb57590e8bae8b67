"""What every layer says about itself, so that saving, walking and packing are loops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy.typing as npt

from recurra.network.description import layer_text
from recurra.network.matrix import Matrix

Array = npt.NDArray[Any]


class StateSpec(NamedTuple):
    """One array of a network's state, (B, width).

    Attributes:
        name: the layer's place and the state's name: "1.h"; of a convolution "0.past", its earlier
            inputs, the oldest first.
        width: units.
        first: what a row begins with, and goes back to when it is reset: (width,).
    """

    name: str
    width: int
    first: Array


class Layer:
    """Maps rows (B, I) to rows (B, O) at every step; abstract."""

    __repr__ = layer_text

    @property
    def widths(self) -> tuple[int, int]:
        """I and O."""
        raise NotImplementedError

    def named_matrices(self) -> Mapping[str, Matrix]:
        """Its weights in a precision of their own, by name."""
        return {}

    def named_vectors(self) -> Mapping[str, Array]:
        """Its biases, gains and parameters, float32, by name; those that are not there left out."""
        return {}

    @property
    def inside(self) -> tuple[Layer, ...]:
        """The layers that it is made of, one after another."""
        return ()

    @property
    def states(self) -> tuple[StateSpec, ...]:
        """What it remembers from step to step."""
        return ()

    def with_matrices(self, matrices: Mapping[str, Matrix]) -> Layer:
        """The same layer with other matrices."""
        return replace(self, **matrices)  # type: ignore[type-var]


def present(**vectors: Array | None) -> dict[str, Array]:
    """The vectors that are there.

    >>> present(bias=None)
    {}
    """
    return {name: vector for name, vector in vectors.items() if vector is not None}
