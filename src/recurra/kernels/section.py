"""One section of a program as numbers: what it reads, its instructions on registers, what it
writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from recurra.program.graph import ALPHABET, Node, Product

if TYPE_CHECKING:
    from recurra import native

OPS = {name: number for number, name in enumerate(ALPHABET)}
SOURCES = {
    name: number
    for number, name in enumerate(
        ("u", "v", "state", "noise", "param", "const", "slot", "saved", "new", "grad", "operand")
    )
}
"""Kinds of value that a section reads; a step's own sections the first seven, its derivative's not
u and v.
"""
OUTPUTS = {
    name: number
    for number, name in enumerate(
        ("slot", "gate", "operand", "saved", "du", "dv", "dstate", "dnoise", "dparam")
    )
}
"""Kinds of value that a section leaves behind."""

Key = tuple[int, str]
"""Where an operation is computed: the native phase, and its part: "operand" or "body"; "operand",
"before" or "after" of the derivative.
"""


class Write(NamedTuple):
    """A value that a section leaves behind: in a slot, as a gate's record, as the operand."""

    node: int
    kind: str
    place: int


@dataclass(frozen=True)
class Numbers:
    """A program's names as numbers, for the sections of the step or for those of its derivative.

    Attributes:
        nodes: the program's, and a constant 0 where it has none.
        products: of each phase.
        ranks: by kind of source, the number of each name (of each node, for "const").
        home: where each operation is computed.
        free: nodes that any section computes for itself: sums u + v, and what is made of constants
            only.
        kept: by node, the source that holds it once it was computed: a slot, what was saved, a new
            state.
    """

    nodes: Sequence[Node]
    products: Sequence[Product | None]
    ranks: dict[str, dict[str | int, int]]
    home: dict[int, Key]
    free: frozenset[int]
    kept: dict[int, native.Source]

    def computed(self, node: int, here: Key | None) -> bool:
        """Whether a section computes the node itself, rather than reading it."""
        return node in self.free or (here is not None and self.home.get(node) == here)

    def source(self, number: int) -> native.Source:
        """Where a node that is not computed here is read."""
        if number in self.kept:
            return self.kept[number]
        node = self.nodes[number]
        if node.op == "v":
            product = self.products[node.phase]
            assert product is not None
            return SOURCES["v"], node.phase, product.gates.index(node.name)
        if node.op == "u":
            return SOURCES["u"], 0, self.ranks["u"][node.name]
        if node.op == "grad_operand":
            return SOURCES["operand"], node.phase, 0
        name: str | int = number if node.op == "const" else node.name
        kind = "state" if node.op == "grad" else node.op
        return SOURCES[node.op], self.ranks[kind][name], 0


def section(numbers: Numbers, here: Key | None, width: int, writes: list[Write]) -> native.Section:
    """Write the section that computes what `writes` need and leaves it there.

    Args:
        numbers: the program's names as numbers.
        here: which operations it computes; None for only those that anybody may.
        width: its units.
        writes: what it leaves behind.
    """
    order = _closure(numbers, here, (write.node for write in writes))
    wanted = {write.node for write in writes}
    sources: dict[native.Source, int] = {}
    for item in [arg for number in order for arg in numbers.nodes[number].args] + sorted(wanted):
        if not numbers.computed(item, here):
            sources.setdefault(numbers.source(item), len(sources))
    registers = _Registers(numbers, order, wanted)

    def value(item: int) -> int:
        if numbers.computed(item, here):
            return len(sources) + registers.of[item]
        return sources[numbers.source(item)]

    instructions = []
    for position, number in enumerate(order):
        node = numbers.nodes[number]
        args = [value(item) for item in node.args] + [0, 0]
        registers.place(position, number)
        instructions.append((OPS[node.op], registers.of[number], args[0], args[1], args[2]))
    outputs = [(value(write.node), OUTPUTS[write.kind], write.place) for write in writes]
    return width, registers.count, list(sources), instructions, outputs


def _closure(numbers: Numbers, here: Key | None, nodes: Iterable[int]) -> list[int]:
    """The operations that a section computes, in order."""
    found, todo = set(), list(nodes)
    while todo:
        number = todo.pop()
        if number not in found and numbers.computed(number, here):
            found.add(number)
            todo += numbers.nodes[number].args
    return sorted(found)


class _Registers:
    """Gives each value a register, and takes it back after its last use."""

    def __init__(self, numbers: Numbers, order: list[int], wanted: set[int]) -> None:
        self.of: dict[int, int] = {}
        self.count, self.idle = 0, list[int]()
        self.ends: dict[int, list[int]] = {}
        last = {}
        for position, number in enumerate(order):
            last[number] = position
            last.update(dict.fromkeys(numbers.nodes[number].args, position))
        for number in order:
            if number not in wanted:
                self.ends.setdefault(last[number], []).append(number)

    def place(self, position: int, number: int) -> None:
        """Choose the register of the value that is computed at this position."""
        self.idle += [self.of[ended] for ended in self.ends.get(position, []) if ended in self.of]
        if self.idle:
            self.of[number] = self.idle.pop()
        else:
            self.of[number] = self.count
            self.count += 1
