"""A whole network: layers one after another, and what is known about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy.typing as npt

from recurra.display import card
from recurra.network.description import network_tables, network_text
from recurra.network.layer import Layer, StateSpec
from recurra.network.layers import Embedding, check_chain
from recurra.network.matrix import Matrix

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Network:
    """Layers one after another.

    Args:
        layers: the first may be an embedding, which reads tokens; each takes what the one before
            gives.
        vocabulary: what the tokens stand for, as a vocabulary's `record()` says it; None where
            there is none.
        facts: of the model: "licence", how it was trained and how well, as JSON holds it.

    Raises:
        ArgumentError, ShapeError: the layers do not fit together; names the two.

    >>> import numpy as np
    >>> from recurra.network import Linear, Matrix
    >>> net = Network((Linear(Matrix(np.ones((2, 3), np.float32))),))
    >>> net.input_size, net.output_size, net.states
    (3, 2, ())
    """

    layers: tuple[Layer, ...]
    vocabulary: Mapping[str, Any] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_chain("layers", self.layers)

    def __repr__(self) -> str:
        return f"Network({network_text(self)})"

    def _repr_html_(self) -> str:
        return card("Network", network_tables(self))

    @property
    def reads_tokens(self) -> bool:
        """Whether the input is tokens (B,) and not features (B, I)."""
        return isinstance(self.layers[0], Embedding)

    @property
    def input_size(self) -> int:
        """I; how many different tokens there are, where it reads tokens."""
        return self.layers[0].widths[0]

    @property
    def output_size(self) -> int:
        """Width of what comes out."""
        return self.layers[-1].widths[1]

    @property
    def states(self) -> tuple[StateSpec, ...]:
        """Every array of the state, in the order of the layers."""
        return tuple(
            spec._replace(name=place + spec.name)
            for place, layer in walk(self.layers)
            for spec in layer.states
        )

    @property
    def precision(self) -> str:
        """That of the matrices; "mixed" where they differ, "float32" where there is none."""
        found = {matrix.precision for matrix in self.matrices()}
        return found.pop() if len(found) == 1 else "mixed" if found else "float32"

    @property
    def nbytes(self) -> int:
        """Bytes of all matrices, each counted once."""
        return sum(
            matrix.nbytes for matrix in {id(matrix): matrix for matrix in self.matrices()}.values()
        )

    def matrices(self) -> Iterator[Matrix]:
        """Every matrix, in the order of the layers."""
        for _, layer in walk(self.layers):
            yield from layer.named_matrices().values()

    def quantised(self, precision: str) -> Network:
        """The same network with its matrices in another precision; vectors stay float32, what was
        shared stays shared.

        Args:
            precision: "float32", "bfloat16" or "int8".
        """
        done: dict[int, Matrix] = {}
        for matrix in self.matrices():
            done.setdefault(id(matrix), matrix.quantised(precision))
        return replace(self, layers=tuple(_with(layer, done) for layer in self.layers))


def walk(layers: tuple[Layer, ...], before: str = "") -> Iterator[tuple[str, Layer]]:
    """Every layer that is not made of others, after its place: "1.", or "1.0." within another."""
    for number, layer in enumerate(layers):
        place = f"{before}{number}."
        if layer.inside:
            yield from walk(layer.inside, place)
        else:
            yield place, layer


def _with(layer: Layer, matrices: Mapping[int, Matrix]) -> Layer:
    if layer.inside:
        return replace(layer, layers=tuple(_with(each, matrices) for each in layer.inside))  # type: ignore[type-var,return-value]
    return layer.with_matrices(
        {name: matrices[id(matrix)] for name, matrix in layer.named_matrices().items()}
    )
