"""A program as JSON and back. Plain data: loading executes nothing."""

from __future__ import annotations

import json
from typing import Any

from recurra.errors import ProgramError
from recurra.program.graph import ALPHABET, SOURCES, TERNARY, UNARY, Body, Derivative, Node, Product, Program

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
        _check(program)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError) as error:
        if isinstance(error, ProgramError):
            raise
        raise ProgramError(f"text must be a program saved by to_json, got something else ({error!r})") from None
    return program


def _read(record: dict[str, Any]) -> Program:
    bodies = tuple(Body(tuple(o), _product(p), tuple(n)) for o, p, n in record["bodies"])
    halves, du, dv, dstate, dnoise, dparam = record["derivative"]
    halves = tuple((tuple(first), tuple(second)) for first, second in halves)
    noise, params, widths, input_norm = (tuple(record[name]) for name in ("noise", "params", "widths", "input_norm"))
    derivative = Derivative(halves, du, tuple(dv), dstate, dnoise, dparam)
    nodes = tuple(Node(op, tuple(args), *rest) for op, args, *rest in record["nodes"])
    cell, state, gates = record["cell"], record["state"], record["gates"]
    return Program(cell, nodes, bodies, state, gates, noise, params, widths, input_norm, derivative)


def _product(p: list[Any] | None) -> Product | None:
    if p is None:
        return None
    operand, gates, weight, bias, gain, norm, first, total, width, reads = p
    return Product(operand, tuple(gates), weight, bias, gain, tuple(norm), first, total, width, reads)


def _check(program: Program) -> None:
    """Every operation known and with its arguments, every argument earlier than its use, every number a node's."""
    for number, node in enumerate(program.nodes):
        if node.op not in ALPHABET and node.op not in SOURCES:
            raise ProgramError(f"op must be of the alphabet, got {node.op!r} at node {number}")
        if any(type(arg) is not int or not 0 <= arg < number for arg in node.args):
            raise ProgramError(f"args of node {number} must be earlier nodes, got {node.args}")
        wanted = 0 if node.op in SOURCES else 1 if node.op in UNARY else 3 if node.op in TERNARY else 2
        if len(node.args) != wanted:
            raise ProgramError(f"args of node {number} must be {wanted} for {node.op}, got {len(node.args)}")
        if not (isinstance(node.name, str) and isinstance(node.value, (int, float)) and isinstance(node.width, str)):
            raise ProgramError(f"node {number} must have a name, a number and a width, got {list(node)}")
        if type(node.phase) is not int or not 0 <= node.phase <= len(program.bodies):
            raise ProgramError(f"phase of node {number} must be one of the {len(program.bodies)}, got {node.phase!r}")
    _check_numbers(program)
    for phase, body in enumerate(program.bodies):
        if body.product is not None:
            _check_product(phase, body.product)


def _check_numbers(program: Program) -> None:
    """Every number that is given is a node's; the derivative has both halves of every phase."""
    d = program.derivative
    if len(d.bodies) != len(program.bodies) or len(d.dv) != len(program.bodies):
        raise ProgramError(f"derivative must have {len(program.bodies)} phases, got {len(d.bodies)} and {len(d.dv)}")
    groups = [program.state, program.gates, d.du, *d.dv, d.dstate, d.dnoise, d.dparam]
    numbers = [i for group in groups for i in group.values()]
    numbers += [i for body in program.bodies for i in (*body.operand_nodes, *body.nodes)]
    numbers += [body.product.operand for body in program.bodies if body.product is not None]
    numbers += [i for halves in d.bodies for half in halves for i in half]
    if any(type(i) is not int or not 0 <= i < len(program.nodes) for i in numbers):
        raise ProgramError(f"every number must be a node of the {len(program.nodes)}, got one beyond")


def _check_product(phase: int, said: Product) -> None:
    """A product's blocks lie within its weight, and its norm covers them."""
    sizes = (said.first, said.total, *said.norm)
    if any(type(size) is not int for size in sizes) or min(sizes) < 0 or not said.gates:
        raise ProgramError(f"product of phase {phase} must have gates and whole sizes, got {list(said)}")
    if said.first + len(said.gates) > said.total or (said.norm and sum(said.norm) != len(said.gates)):
        raise ProgramError(f"product of phase {phase} must lie within its {said.total} blocks, got {list(said)}")
