"""Whether a program computes given equations, whatever its names and the order of its nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from recurra.program.graph import Program

Equation = Any
"""A value as it is computed: a number; ("state", "h"), ("param", "p"), ("u", "f") for what is read;
("v", "f", operand) for a gate's block of the product of an operand; (operation, *arguments).
"""
COMMUTATIVE = frozenset({"add", "mul", "maximum", "minimum", "eq"})


def matching_names(program: Program, equations: Mapping[str, Equation]) -> dict[str, str] | None:
    """The names that a program has for those of some equations; None where it computes others.

    A sum or a product may be in either order; products have a weight and no norm, all values are
    H wide.

    Args:
        program: the program.
        equations: each new state from the old ones, by name, the output first.

    Returns:
        By "state.h", "param.p", "gate.f" as the equations name them, the program's names.

    >>> from recurra.cells import Elman
    >>> from recurra.program import trace
    >>> pre_activation = ("add", ("u", "n"), ("v", "n", ("state", "h")))
    >>> matching_names(trace(Elman()), {"h": ("tanh", pre_activation)})
    {'state.h': 'h', 'gate.n': 'h'}
    """
    if program.widths or program.input_norm or len(program.state) != len(equations):
        return None
    names = {f"state.{ours}": theirs for ours, theirs in zip(equations, program.state)}
    pairs = list(zip(program.state.values(), equations.values()))
    return next(_matches(program, pairs, names), None)


def _matches(
    program: Program, pairs: Sequence[tuple[int, Equation]], names: dict[str, str]
) -> Iterator[dict[str, str]]:
    """Every way to give names so that each node is its equation."""
    if not pairs:
        yield names
        return
    (number, equation), rest = pairs[0], pairs[1:]
    node = program.nodes[number]
    if isinstance(equation, float):
        if node.op == "const" and node.value == equation:
            yield from _matches(program, rest, names)
        return
    op, *args = equation
    if op != node.op:
        return
    if op in ("state", "param", "u", "v"):
        kind = op if op in ("state", "param") else "gate"
        named = _named(names, kind, args[0], node.name)
        operand = [] if op != "v" else _operand(program, node.phase, args[1])
        if named is not None and operand is not None:
            yield from _matches(program, [*operand, *rest], named)
        return
    for order in (args, args[::-1]) if op in COMMUTATIVE else (args,):
        yield from _matches(program, [*zip(node.args, order, strict=True), *rest], names)


def _named(names: dict[str, str], kind: str, ours: str, theirs: str) -> dict[str, str] | None:
    """The names with one more; None where it has another already, or another has it."""
    key = f"{kind}.{ours}"
    if key in names:
        return names if names[key] == theirs else None
    taken = any(each.startswith(f"{kind}.") and name == theirs for each, name in names.items())
    return None if taken else {**names, key: theirs}


def _operand(program: Program, phase: int, equation: Equation) -> list[tuple[int, Equation]] | None:
    """What is multiplied, to be compared; None where there is a norm or no weight."""
    product = program.bodies[phase].product
    if product is None or product.weight is None or product.norm:
        return None
    return [(product.operand, equation)]
