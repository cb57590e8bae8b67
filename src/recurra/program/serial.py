"""A program as JSON and back. Plain data: loading executes nothing."""

from __future__ import annotations

import json
from typing import Any

from recurra.errors import ProgramError
from recurra.program.check import check
from recurra.program.graph import Body, Derivative, Node, Product, Program
from recurra.program.limits import check_size

VERSION = 1


def to_json(program: Program) -> str:
    """Write a program as JSON.

    >>> from recurra.cells import GRU
    >>> from recurra.program import from_json, trace
    >>> from_json(to_json(trace(GRU()))) == trace(GRU())
    True
    """
    d = program.derivative
    record = {
        "version": VERSION,
        "cell": program.cell,
        "nodes": [
            [node.op, list(node.args), node.name, node.value, node.phase, node.width]
            for node in program.nodes
        ],
        "bodies": [
            [body.operand_nodes, body.product and list(body.product), body.nodes]
            for body in program.bodies
        ],
        **{
            name: getattr(program, name)
            for name in ("state", "gates", "noise", "params", "widths", "input_norm")
        },
        "derivative": [d.bodies, d.du, d.dv, d.dstate, d.dnoise, d.dparam],
    }
    return json.dumps(record)


def from_json(text: str) -> Program:
    """Read a program from JSON.

    Raises:
        ProgramError: the text is not a program, or one that names an unknown operation or a later
            node.
    """
    try:
        record = json.loads(text)
        if record["version"] != VERSION:
            raise ProgramError(
                f"version must be {VERSION}, got {record['version']!r}; save the program with this"
                " recurra"
            )
        program = _read(record)
        check_size(program)
        check(program)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError) as error:
        if isinstance(error, ProgramError):
            raise
        raise ProgramError(
            f"text must be a program saved by to_json, got something else ({error!r})"
        ) from None
    return program


def _read(record: dict[str, Any]) -> Program:
    bodies = tuple(Body(tuple(o), _product(p), tuple(n)) for o, p, n in record["bodies"])
    halves, du, dv, dstate, dnoise, dparam = record["derivative"]
    halves = tuple((tuple(first), tuple(second)) for first, second in halves)
    noise, params, widths, input_norm = (
        tuple(record[name]) for name in ("noise", "params", "widths", "input_norm")
    )
    derivative = Derivative(halves, du, tuple(dv), dstate, dnoise, dparam)
    nodes = tuple(Node(op, tuple(args), *rest) for op, args, *rest in record["nodes"])
    cell, state, gates = record["cell"], record["state"], record["gates"]
    return Program(cell, nodes, bodies, state, gates, noise, params, widths, input_norm, derivative)


def _product(p: list[Any] | None) -> Product | None:
    if p is None:
        return None
    operand, gates, weight, bias, gain, norm, first, total, width, reads = p
    return Product(
        operand, tuple(gates), weight, bias, gain, tuple(norm), first, total, width, reads
    )
