"""A program and its sizes as the native module's `Program`: every name a number, every value a place."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from recurra.errors import MissingDependency, ProgramError
from recurra.kernels.section import Key, Numbers, Write, section
from recurra.program.graph import ALPHABET, Product, Program

if TYPE_CHECKING:
    from recurra import native

MOST_KEPT = 256
"""Encoded programs that are remembered."""


class Encoded(NamedTuple):
    """A program for the native module, and the names in the order in which it takes arrays.

    Attributes:
        native: the native program.
        program: what it was made from.
        hidden: H.
        widths: units of each state, by its name; "hidden" is H.
        noises, params: the names that are read, with their units.
    """

    native: native.Program
    program: Program
    hidden: int
    widths: dict[str, int]
    noises: dict[str, int]
    params: dict[str, int]


_KEPT: dict[tuple[int, ...], Encoded] = {}


def encode(program: Program, hidden_size: int, widths: tuple[int, ...]) -> Encoded:
    """Encode a program for the native module.

    Args:
        program: the program.
        hidden_size: H.
        widths: units of each state, in the order of `program.state`.

    Returns:
        The encoded program; the same object for the same program and sizes.

    Raises:
        MissingDependency: the native module is not there.
        ProgramError: the program is larger than the native module takes, or its sizes do not fit together.

    >>> from recurra.cells import LSTM
    >>> from recurra.program import trace
    >>> encode(trace(LSTM()), 5, (5, 5)).widths
    {'hidden': 5, 'h': 5, 'c': 5}
    """
    key = (id(program), hidden_size, *widths)
    kept = _KEPT.get(key)
    if kept is None:
        kept = _encode(program, hidden_size, dict(zip(program.state, widths, strict=True)))
        if len(_KEPT) >= MOST_KEPT:
            _KEPT.clear()
        _KEPT[key] = kept
    return kept


def load_native() -> None:
    """Import the native module, or say how to get it.

    Raises:
        MissingDependency: it was not built; gives the command.
    """
    try:
        import recurra.native  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingDependency(
            "recurra.native must be built for this, got none; install recurra with a C++ compiler at hand: "
            "pip install --force-reinstall --no-deps recurra"
        ) from error


def _encode(program: Program, hidden: int, states: dict[str, int]) -> Encoded:
    load_native()
    from recurra import native

    widths = {"hidden": hidden} | states
    layout = _Layout(program, widths)
    noises, params = (layout.read(kind) for kind in ("noise", "param"))
    phases = [layout.phase(number) for number in range(len(program.bodies))]
    last = layout.sections(None)
    try:
        made = native.Program(
            hidden=hidden, gates=len(program.gates), states=list(states.values()), noises=list(noises.values()),
            params=list(params.values()), slots=layout.slot_widths, constants=layout.constants, phases=phases, last=last,
        )  # fmt: skip
    except ValueError as error:
        raise ProgramError(f"{program.cell}: the native module cannot run the program: {error}") from None
    return Encoded(made, program, hidden, widths, noises, params)


class _Layout:
    """Decides where every value of a program is kept."""

    def __init__(self, program: Program, widths: dict[str, int]) -> None:
        self.program, self.widths = program, widths
        self.home: dict[int, Key] = {}
        for phase, body in enumerate(program.bodies):
            self.home |= {i: (phase, "operand") for i in body.operand_nodes}
            self.home |= {i: (phase, "body") for i in body.nodes}
        self.free = self._free()
        self.home = {node: key for node, key in self.home.items() if node not in self.free}
        self.writes = [Write(node, "slot", i) for i, node in enumerate(program.state.values())]
        self.slot_widths = [widths[name] for name in program.state]
        self.slots = {node: i for i, node in reversed(list(enumerate(program.state.values()))) if node in self.home}
        self._keep_shared()
        self.writes += [Write(node, "gate", i) for i, node in enumerate(program.gates.values())]
        consts = [i for i, node in enumerate(program.nodes) if node.op == "const"]
        self.constants = [program.nodes[i].value for i in consts]
        ranks: dict[str, dict[str | int, int]] = {"const": {node: i for i, node in enumerate(consts)}}
        for kind, names in (("u", program.gates), ("state", program.state), ("noise", self.read("noise")), ("param", self.read("param"))):
            ranks[kind] = {name: i for i, name in enumerate(names)}
        self.numbers = Numbers(program, ranks, self.home, self.free, self.slots)

    def _free(self) -> frozenset[int]:
        """Nodes that any section computes for itself: sums u + v, and what is made of constants only."""
        uniform: set[int] = set()
        for number, node in enumerate(self.program.nodes):
            if node.op == "const" or (node.op in ALPHABET and uniform.issuperset(node.args)):
                uniform.add(number)
        sums = {i for i, node in enumerate(self.program.nodes) if node.op == "a"}
        return frozenset(sums | {i for i in uniform if self.program.nodes[i].op != "const"})

    def read(self, kind: str) -> dict[str, int]:
        """Names of a kind that the step reads, with their units."""
        forward = {arg for i in self.home for arg in self.program.nodes[i].args}
        forward |= {*self.program.state.values(), *self.program.gates.values()}
        forward |= {body.product.operand for body in self.program.bodies if body.product}
        found = [self.program.nodes[i] for i in sorted(forward) if self.program.nodes[i].op == kind]
        return {node.name: self.widths[node.width] for node in found}

    def _keep_shared(self) -> None:
        """Give a slot to each operation that a section other than its own reads."""
        for phase, body in enumerate(self.program.bodies):
            for nodes, part in ((body.operand_nodes, "operand"), (body.nodes, "body")):
                args = [arg for number in nodes for arg in self.program.nodes[number].args]
                if part == "operand" and body.product:
                    args.append(body.product.operand)
                for arg in args:
                    if arg in self.home and self.home[arg] != (phase, part) and arg not in self.slots:
                        self.slots[arg] = len(self.slot_widths)
                        self.writes.append(Write(arg, "slot", self.slots[arg]))
                        self.slot_widths.append(self.widths[self.program.nodes[arg].width])

    def units(self, write: Write) -> int:
        """How wide what is written is."""
        return self.widths["hidden"] if write.kind == "gate" else self.slot_widths[write.place]

    def sections(self, here: Key | None) -> list[native.Section]:
        """The sections that compute the operations at home here, one for each width; None: what has no home."""
        writes = [write for write in self.writes if self.home.get(write.node) == here]
        return self.by_width(here, ((self.units(write), write) for write in writes))

    def by_width(self, here: Key | None, writes: Iterable[tuple[int, Write]]) -> list[native.Section]:
        """One section for each width that is written."""
        groups: dict[int, list[Write]] = {}
        for units, write in writes:
            groups.setdefault(units, []).append(write)
        return [section(self.numbers, here, units, group) for units, group in groups.items()]

    def phase(self, number: int) -> native.Phase:
        """The sections and the product of one phase."""
        product = self.program.bodies[number].product
        operand = self.sections((number, "operand"))
        if product:
            operand += self.by_width((number, "operand"), [(self.widths[product.reads], Write(product.operand, "operand", 0))])
        return operand, self._product(product), self.sections((number, "body"))

    def _product(self, product: Product | None) -> native.Product | None:
        if product is None:
            return None
        unit, reads = self.widths[product.width], self.widths[product.reads]
        return product.weight is not None, product.first, len(product.gates), product.total, unit, reads, list(product.norm)
