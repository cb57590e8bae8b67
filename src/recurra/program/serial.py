"""A program as JSON and back. Plain data: loading executes nothing."""

from __future__ import annotations

import json
from typing import Any

from recurra.errors import ProgramError
from recurra.program.graph import ALPHABET, SOURCES, Body, Derivative, Node, Product, Program

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
        "nodes": [[node.op, list(node.args), node.name, node.value, node.phase, node.width] for node in program.nodes],
        "bodies": [[body.operand_nodes, body.product and list(body.product), body.nodes] for body in program.bodies],
        **{name: getattr(program, name) for name in ("state", "gates", "noise", "params", "widths", "input_norm")},
        "derivative": [d.bodies, d.du, d.dv, d.dstate, d.dnoise, d.dparam],
    }
    return json.dumps(record)


def from_json(text: str) -> Program:
    """Read a program from JSON.

    Raises:
        ProgramError: the text is not a program, or one that names an unknown operation or a later node.
    """
    try:
        record = json.loads(text)
        if record["version"] != VERSION:
            raise ProgramError(f"version must be {VERSION}, got {record['version']!r}; save the program with this recurra")
        program = _read(record)
    except (KeyError, TypeError, ValueError, IndexError, RecursionError) as error:
        if isinstance(error, ProgramError):
            raise
        raise ProgramError(f"text must be a program saved by to_json, got something else ({error!r})") from None
    _check(program)
    return program


def _read(record: dict[str, Any]) -> Program:
    bodies = tuple(Body(tuple(o), _product(p), tuple(n)) for o, p, n in record["bodies"])
    halves, du, dv, dstate, dnoise, dparam = record["derivative"]
    halves = tuple((tuple(first), tuple(second)) for first, second in halves)
    return Program(
        record["cell"], tuple(Node(op, tuple(args), *rest) for op, args, *rest in record["nodes"]), bodies,
        record["state"], record["gates"],
        *(tuple(record[name]) for name in ("noise", "params", "widths", "input_norm")),
        Derivative(halves, du, tuple(dv), dstate, dnoise, dparam),
    )  # fmt: skip


def _product(p: list[Any] | None) -> Product | None:
    return None if p is None else Product(p[0], tuple(p[1]), *p[2:5], tuple(p[5]), *p[6:])


def _check(program: Program) -> None:
    """Every operation known, every argument earlier than its use, every number a node's."""
    for number, node in enumerate(program.nodes):
        if node.op not in ALPHABET and node.op not in SOURCES:
            raise ProgramError(f"op must be of the alphabet, got {node.op!r} at node {number}")
        if any(not isinstance(arg, int) or not 0 <= arg < number for arg in node.args):
            raise ProgramError(f"args of node {number} must be earlier nodes, got {node.args}")
    d = program.derivative
    groups = [program.state, program.gates, d.du, *d.dv, d.dstate, d.dnoise, d.dparam]
    named = [i for group in groups for i in group.values()]
    listed = [i for body in program.bodies for i in (*body.operand_nodes, *body.nodes)]
    if any(not isinstance(i, int) or not 0 <= i < len(program.nodes) for i in named + listed):
        raise ProgramError(f"every number must be a node of the {len(program.nodes)}, got one beyond")
