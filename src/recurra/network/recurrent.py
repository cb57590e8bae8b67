"""A cell over time as data: its program, and the weights that it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from recurra.errors import ArgumentError, ShapeError, choice_text, shape_text
from recurra.network.description import layer_text
from recurra.network.matrix import Matrix, check_vector
from recurra.program.graph import Product, Program

Array = npt.NDArray[Any]


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

    __repr__ = layer_text

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
