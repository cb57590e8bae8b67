"""Whether a program that was read from somewhere can be run."""

from __future__ import annotations

import sys

from recurra.errors import ProgramError
from recurra.program.graph import ALPHABET, SOURCES, TERNARY, UNARY, Product, Program
from recurra.program.weights import weights_of


def check(program: Program) -> None:
    """Raise unless a program can be run: a file may say anything.

    Every operation is known and has its arguments, every number is a node's, every name is there,
    and what is read was computed before and has as many units.

    Raises:
        ProgramError: it cannot; says where.

    >>> from recurra.cells import GRU
    >>> from recurra.program import trace
    >>> check(trace(GRU()))
    """
    _check_lists(program)
    for number, node in enumerate(program.nodes):
        if node.op not in ALPHABET and node.op not in SOURCES:
            raise ProgramError(f"op must be of the alphabet, got {node.op!r} at node {number}")
        if any(type(arg) is not int or not 0 <= arg < number for arg in node.args):
            raise ProgramError(f"args of node {number} must be earlier nodes, got {node.args}")
        wanted = (
            0 if node.op in SOURCES else 1 if node.op in UNARY else 3 if node.op in TERNARY else 2
        )
        if len(node.args) != wanted:
            raise ProgramError(
                f"args of node {number} must be {wanted} for {node.op}, got {len(node.args)}"
            )
        if not (isinstance(node.name, str) and _number(node.value) and isinstance(node.width, str)):
            raise ProgramError(
                f"node {number} must have a name, a number and a width, got {list(node)}"
            )
        if type(node.phase) is not int or not 0 <= node.phase <= len(program.bodies):
            raise ProgramError(
                f"phase of node {number} must be one of the {len(program.bodies)}, got"
                f" {node.phase!r}"
            )
    _check_numbers(program)
    for phase, body in enumerate(program.bodies):
        if body.product is not None:
            _check_product(phase, body.product, {"hidden", *program.widths})
        elif phase:
            raise ProgramError(f"phase {phase} must have a product, got none; only the first may")
    weights_of(program)
    _check_order(program)


def _number(value: object) -> bool:
    """Whether a constant can be a float: an integer may be too large."""
    return isinstance(value, float) or (isinstance(value, int) and abs(value) <= sys.float_info.max)


def _check_numbers(program: Program) -> None:
    """Every number that is given is a node's; the derivative has both halves of every phase."""
    d = program.derivative
    if len(d.bodies) != len(program.bodies) or len(d.dv) != len(program.bodies):
        raise ProgramError(
            f"derivative must have {len(program.bodies)} phases, got {len(d.bodies)} and"
            f" {len(d.dv)}"
        )
    groups = [program.state, program.gates, d.du, *d.dv, d.dstate, d.dnoise, d.dparam]
    numbers = [i for group in groups for i in group.values()]
    numbers += [i for body in program.bodies for i in (*body.operand_nodes, *body.nodes)]
    numbers += [body.product.operand for body in program.bodies if body.product is not None]
    numbers += [i for halves in d.bodies for half in halves for i in half]
    if any(type(i) is not int or not 0 <= i < len(program.nodes) for i in numbers):
        raise ProgramError(
            f"every number must be a node of the {len(program.nodes)}, got one beyond"
        )


def _check_lists(program: Program) -> None:
    """The lists of names hold each once; there is a state and a gate; the norm of the input covers
    the gates.
    """
    for what in ("state", "gates", "noise", "params", "widths"):
        names = list(getattr(program, what))
        if len(set(names)) != len(names) or not all(isinstance(name, str) for name in names):
            raise ProgramError(f"{what} must be names, each once, got {names}")
    if not isinstance(program.cell, str) or not program.state or not program.gates:
        raise ProgramError(
            f"program must have a cell's name, a state and a gate, got {program.cell!r} with"
            f" {len(program.gates)} gates"
        )
    if unknown := set(program.widths) - set(program.state):
        raise ProgramError(f"widths must be those of states, got {sorted(unknown)}")
    norm = program.input_norm
    if any(type(size) is not int or size < 1 for size in norm) or (
        norm and sum(norm) != len(program.gates)
    ):
        raise ProgramError(
            f"input_norm must cover the {len(program.gates)} gates, got {list(norm)}"
        )


def _check_product(phase: int, said: Product, widths: set[str]) -> None:
    """A product has names and widths that are there, its blocks lie within its weight, and its norm
    covers them.
    """
    texts = (*said.gates, *(name for name in said.vectors if name is not None))
    if (
        not all(isinstance(name, str) for name in texts)
        or len(set(said.gates)) != len(said.gates)
        or {said.width, said.reads} - widths
    ):
        raise ProgramError(
            f"product of phase {phase} must have names and widths that are there, got {list(said)}"
        )
    if said.weight is None and (len(said.gates) != 1 or said.width != said.reads):
        raise ProgramError(
            f"product of phase {phase} must have a weight, or give back what it reads, got"
            f" {list(said)}"
        )
    sizes = (said.first, said.total, *said.norm)
    if any(type(size) is not int for size in sizes) or min(sizes) < 0 or not said.gates:
        raise ProgramError(
            f"product of phase {phase} must have gates and whole sizes, got {list(said)}"
        )
    own = said.first == 0 and said.total == len(said.gates)
    if not said.norm and (said.gain is not None or (said.bias is not None and said.weight is None)):
        raise ProgramError(
            f"product of phase {phase} must have a norm for its gain, a norm or a weight for its"
            f" bias, got {list(said)}"
        )
    if (
        (said.weight is None and not own)
        or said.first + len(said.gates) > said.total
        or (said.norm and sum(said.norm) != len(said.gates))
    ):
        raise ProgramError(
            f"product of phase {phase} must lie within its {said.total} blocks, got {list(said)}"
        )


def _check_order(program: Program) -> None:
    """What is read is named by the program and was computed before, with as many units; in the end
    all states and gates are there.
    """
    nodes, widths = program.nodes, {"hidden", *program.widths}
    lists = {
        "state": program.state,
        "u": program.gates,
        "param": program.params,
        "noise": program.noise,
    }
    names = {op: dict.fromkeys(given) for op, given in lists.items()}
    ready: set[int] = set()
    uniform: set[int] = set()
    sources: dict[tuple[str, str], str] = {}
    for number, node in enumerate(nodes):
        if node.width not in widths or (node.op == "u" and node.width != "hidden"):
            raise ProgramError(
                f"width of node {number} must be one of {sorted(widths)}, hidden of a u, got"
                f" {node.width!r}"
            )
        if node.op in names and node.name not in names[node.op]:
            raise ProgramError(
                f"node {number} must read one of {list(names[node.op])}, got {node.op}"
                f" {node.name!r}"
            )
        if node.op in names and sources.setdefault((node.op, node.name), node.width) != node.width:
            raise ProgramError(
                f"node {number} must read {node.name!r} {sources[node.op, node.name]} wide, got"
                f" {node.width}"
            )
        if node.op in names or node.op == "const":
            ready.add(number)
        if node.op == "const" or (node.args and uniform.issuperset(node.args)):
            uniform.add(number)
    for phase, body in enumerate(program.bodies):
        _check_steps(program, body.operand_nodes, ready, uniform)
        if body.product is not None:
            operand = body.product.operand
            if operand not in ready - uniform or nodes[operand].width != body.product.reads:
                raise ProgramError(
                    f"operand of phase {phase} must be there, {body.product.reads} wide, got node"
                    f" {operand}"
                )
            ready |= _made(program, phase, body.product)
        elif body.operand_nodes:
            raise ProgramError(
                f"operand_nodes of phase {phase} must be none where nothing is multiplied, got"
                f" {list(body.operand_nodes)}"
            )
        _check_steps(program, body.nodes, ready, uniform)
    before = {node.name: node.width for node in nodes if node.op == "state"}
    for name, number in [*program.state.items(), *program.gates.items()]:
        wanted = before.get(name, nodes[number].width) if name in program.state else "hidden"
        if number not in ready or (number not in uniform and nodes[number].width != wanted):
            raise ProgramError(f"{name} must be computed, {wanted} wide, got node {number}")


def _made(program: Program, phase: int, product: Product) -> set[int]:
    """The nodes that a product makes."""
    made, gates = set(), set(product.gates)
    for number, node in enumerate(program.nodes):
        if node.op == "v" and node.phase == phase and node.name in gates:
            if node.width != product.width:
                raise ProgramError(f"node {number} must be {product.width} wide, got {list(node)}")
            made.add(number)
    return made


def _check_steps(
    program: Program, numbers: tuple[int, ...], ready: set[int], uniform: set[int]
) -> None:
    """Operations, each on what is ready and of one width, after which they are ready."""
    for number in numbers:
        node = program.nodes[number]
        if node.op not in ALPHABET or not ready.issuperset(node.args):
            raise ProgramError(
                f"node {number} must be an operation on what was computed before, got {node.op} of"
                f" {node.args}"
            )
        if number in ready:
            raise ProgramError(f"node {number} must be computed once, got it again")
        wide = {program.nodes[arg].width for arg in node.args if arg not in uniform}
        if len(wide) > 1 or (wide and {node.width} != wide and uniform.isdisjoint(node.args)):
            raise ProgramError(
                f"node {number} must be as wide as what it reads, {sorted(wide)}, got"
                f" {node.width!r}"
            )
        ready.add(number)
