"""A cell over time as data: its program, and the weights that it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from recurra.errors import ArgumentError, ShapeError, choice_text, shape_text
from recurra.network.layer import Layer, StateSpec
from recurra.network.matrix import Matrix, check_vector
from recurra.program.check import check
from recurra.program.graph import Product, Program
from recurra.program.weights import weights_of

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False, repr=False)
class Recurrent(Layer):
    """A cell over time, given by its program.

    Args:
        program: the cell's at evaluation, from `recurra.program.trace`.
        matrices: "weight_ih" (G * H, I), and the other products' by the names that the program
            uses.
        vectors: biases, gains and the cell's own parameters, by name; "initial_h" (H,) and so on
            where the first state is learned.

    Raises:
        ArgumentError, ShapeError: a weight is missing, unknown, or of another shape.
        ProgramError: the program cannot be run.
    """

    program: Program
    matrices: Mapping[str, Matrix]
    vectors: Mapping[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.program.noise:
            raise ArgumentError(
                "program must be that of a cell at evaluation, got one with noise"
                f" {', '.join(self.program.noise)}"
            )
        if "weight_ih" not in self.matrices:
            raise ArgumentError(
                f"matrices must hold 'weight_ih', got {', '.join(self.matrices) or 'nothing'}"
            )
        check(self.program)
        gates, rows = len(self.program.gates), self.matrices["weight_ih"].shape[0]
        if rows % gates:
            raise ShapeError(f"weight_ih must have rows for {gates} gates of one size, got {rows}")
        self._check_weights()

    @property
    def hidden(self) -> int:
        """H."""
        return self.matrices["weight_ih"].shape[0] // len(self.program.gates)

    @property
    def names(self) -> list[str]:
        """Of its states, the output's first."""
        return list(self.program.state)

    @property
    def widths(self) -> tuple[int, int]:
        """I and the width of the output."""
        return self.matrices["weight_ih"].shape[1], next(iter(self.state_widths.values()))

    @property
    def products(self) -> list[Product]:
        """The products with a weight, in the order of the phases."""
        return [
            body.product for body in self.program.bodies if body.product and body.product.weight
        ]

    @property
    def units(self) -> dict[str, int]:
        """Units by the symbols that the program uses for widths: "hidden", and the states of
        another width.
        """
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
        found = {
            name: symbols.get(name, self.program.nodes[number].width)
            for name, number in self.program.state.items()
        }
        for name, symbol in found.items():
            if symbol not in units:
                raise ShapeError(
                    f"matrices must tell the width of {name}, got none that reads or makes it"
                )
        return {name: units[symbol] for name, symbol in found.items()}

    def named_matrices(self) -> Mapping[str, Matrix]:
        """Those of the products."""
        return self.matrices

    def named_vectors(self) -> Mapping[str, Array]:
        """Biases, gains, parameters and first states."""
        return self.vectors

    @property
    def states(self) -> tuple[StateSpec, ...]:
        """Those of the cell, the output's first, with what they begin with."""
        zero = {name: np.zeros(width, np.float32) for name, width in self.state_widths.items()}
        return tuple(
            StateSpec(name, len(first), self.vectors.get(f"initial_{name}", first))
            for name, first in zero.items()
        )

    def with_matrices(self, matrices: Mapping[str, Matrix]) -> Recurrent:
        """The same layer with other matrices."""
        return replace(self, matrices=matrices)

    def _check_weights(self) -> None:
        """Raise unless every weight is there and has the size of every use of its name."""
        uses = weights_of(self.program)
        matrices = {name: use.needed for name, use in uses.items() if use.columns is not None}
        vectors = {name: use.needed for name, use in uses.items() if use.columns is None}
        vectors |= {f"initial_{name}": False for name in self.program.state}
        for what, given, known in (
            ("matrices", self.matrices, matrices),
            ("vectors", self.vectors, vectors),
        ):
            for name in given:
                if name not in known:
                    raise ArgumentError(choice_text(what, name, known))
            for name, needed in known.items():
                if needed and given.get(name) is None:
                    raise ArgumentError(
                        f"{what} must hold {name!r}, got {', '.join(given) or 'nothing'}"
                    )
        shapes = {
            name: use.shape(self.units, self.matrices["weight_ih"].shape[1])
            for name, use in uses.items()
        }
        shapes |= {f"initial_{name}": (width,) for name, width in self.state_widths.items()}
        for name, matrix in self.matrices.items():
            if matrix.shape != shapes[name]:
                raise ShapeError(
                    f"{name} must have shape {shape_text(shapes[name])}, got"
                    f" {shape_text(matrix.shape)}"
                )
        for name, vector in self.vectors.items():
            check_vector(name, vector, shapes[name][0])
