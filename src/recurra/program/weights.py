"""The weights that a program reads, each with its shape in units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from recurra.errors import ProgramError
from recurra.names import fault_in_names
from recurra.program.graph import Product, Program


class Weight(NamedTuple):
    """A weight as a program reads it.

    Attributes:
        rows: blocks, and the width of one.
        columns: the width of what it is multiplied with, "" of x; None of a vector.
        needed: whether it must be there.
    """

    rows: tuple[int, str]
    columns: str | None
    needed: bool

    def shape(self, units: Mapping[str, int], input_size: int) -> tuple[int, ...]:
        """Its shape, where the units of each width are known."""
        rows = self.rows[0] * units[self.rows[1]]
        return (
            (rows,)
            if self.columns is None
            else (rows, units[self.columns] if self.columns else input_size)
        )


def weights_of(program: Program) -> dict[str, Weight]:
    """Every weight that a program reads, by name: those of x, those of each product in order, then
    the params.

    Raises:
        ProgramError: a name stands for two things, or the products of one weight do not fit
            together.

    >>> from recurra.cells import GRU
    >>> from recurra.program import trace
    >>> weights_of(trace(GRU()))["weight_hh"].shape({"hidden": 4}, 3)
    (12, 4)
    """
    check_names(program)
    gates = len(program.gates), "hidden"
    found = {"weight_ih": Weight(gates, "", True), "bias_ih": Weight(gates, None, False)}
    if program.input_norm:
        found["gain_ih"] = Weight(gates, None, True)
    ends: dict[str, int] = {}
    for product in (body.product for body in program.bodies if body.product):
        weight, bias, gain = product.vectors
        rows = (product.total if weight else len(product.gates)), product.width
        for name, columns, needed in (
            (weight, product.reads, True),
            (bias, None, False),
            (gain, None, True),
        ):
            if name and found.setdefault(name, Weight(rows, columns, needed)) != (
                rows,
                columns,
                needed,
            ):
                raise ProgramError(
                    f"products of {name} must read it in one shape, got {rows} and"
                    f" {found[name].rows} blocks"
                )
        if weight and product.first != ends.get(weight, 0):
            raise ProgramError(
                f"products of {weight} must read its blocks one after another, got one that begins"
                f" at {product.first}"
            )
        if weight:
            ends[weight] = product.first + len(product.gates)
    for name, end in ends.items():
        if end != found[name].rows[0]:
            raise ProgramError(
                f"products of {name} must read all its {found[name].rows[0]} blocks, got {end} read"
            )
    widths = {node.name: node.width for node in program.nodes if node.op == "param"}
    return found | {
        name: Weight((1, widths.get(name, "hidden")), None, True) for name in program.params
    }


def check_names(program: Program) -> None:
    """Raise unless every name of a program is an identifier of one meaning.

    Raises:
        ProgramError: one is not; says which.
    """
    products: list[Product] = [body.product for body in program.bodies if body.product]
    names = {kind: tuple(getattr(program, kind)) for kind in ("state", "params", "noise", "gates")}
    if fault := fault_in_names(names, products):
        raise ProgramError(fault)
