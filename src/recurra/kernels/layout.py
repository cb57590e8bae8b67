"""Where every value of a step is kept: which section computes it, which slot holds it, what is left
behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from recurra.kernels.section import SOURCES, Key, Numbers, Write, section
from recurra.program.graph import ALPHABET, Node, Product, Program

if TYPE_CHECKING:
    from recurra import native


class Layout:
    """Decides where every value of a step is kept.

    Args:
        program: the program.
        widths: units of each state by name, and of "hidden".
        saved: the nodes that are kept for the derivative.
    """

    def __init__(self, program: Program, widths: dict[str, int], saved: Sequence[int] = ()) -> None:
        self.program, self.widths = program, widths
        self.products = [body.product for body in program.bodies]
        home: dict[int, Key] = {}
        for phase, body in enumerate(program.bodies):
            home |= {i: (phase, "operand") for i in body.operand_nodes}
            home |= {i: (phase, "body") for i in body.nodes}
        self.sums = _sums(program.nodes)
        free = frozenset(self.sums | constant_operations(program.nodes))
        self.home = {node: key for node, key in home.items() if node not in free}
        self.slot_widths = [widths[name] for name in program.state]
        self.slots = {
            node: i
            for i, node in reversed(list(enumerate(program.state.values())))
            if node in self.home
        }
        self.writes = [
            (self.home.get(node), Write(node, "slot", i))
            for i, node in enumerate(program.state.values())
        ]
        self._keep_shared()
        self.writes += [
            (self.home.get(node), Write(node, "gate", i))
            for i, node in enumerate(program.gates.values())
        ]
        self.writes += [(self._from(node), Write(node, "saved", i)) for i, node in enumerate(saved)]
        self.saved_widths = [widths[program.nodes[node].width] for node in saved]
        kept = {node: (SOURCES["slot"], slot, 0) for node, slot in self.slots.items()}
        numbered = ranks(program, program.nodes, widths)
        self.numbers = Numbers(program.nodes, self.products, numbered, self.home, free, kept)

    def _from(self, node: int) -> Key | None:
        """The first part that can leave a value behind: its home, or for a product's own, and its
        sum with the input's, the phase's body.
        """
        source = self.program.nodes[node]
        made = source.op == "v" or node in self.sums
        return (source.phase, "body") if made else self.home.get(node)

    def _keep_shared(self) -> None:
        """Give a slot to each operation that a section other than its own reads."""
        readers = [
            (arg, here)
            for number, here in self.home.items()
            for arg in self.program.nodes[number].args
        ]
        readers += [
            (product.operand, (phase, "operand"))
            for phase, product in enumerate(self.products)
            if product
        ]
        for arg, here in readers:
            if arg in self.home and self.home[arg] != here and arg not in self.slots:
                self.slots[arg] = len(self.slot_widths)
                self.writes.append((self.home[arg], Write(arg, "slot", self.slots[arg])))
                self.slot_widths.append(self.widths[self.program.nodes[arg].width])

    def units(self, write: Write) -> int:
        """How wide what is written is."""
        if write.kind == "gate":
            return self.widths["hidden"]
        return (
            self.slot_widths[write.place]
            if write.kind == "slot"
            else self.saved_widths[write.place]
        )

    def sections(self, here: Key | None) -> list[native.Section]:
        """The sections that compute the operations at home here, one for each width; None: what has
        no home.
        """
        return by_width(
            self.numbers,
            here,
            ((self.units(write), write) for key, write in self.writes if key == here),
        )

    def phase(self, number: int) -> native.Phase:
        """The sections and the product of one phase."""
        product = self.products[number]
        operand = self.sections((number, "operand"))
        if product:
            write = Write(product.operand, "operand", 0)
            operand += by_width(
                self.numbers, (number, "operand"), [(self.widths[product.reads], write)]
            )
        return operand, self._product(product), self.sections((number, "body"))

    def phases(self) -> list[native.Phase]:
        """Every phase in order."""
        return [self.phase(number) for number in range(len(self.products))]

    def _product(self, product: Product | None) -> native.Product | None:
        if product is None:
            return None
        unit, reads = self.widths[product.width], self.widths[product.reads]
        blocks, weighted = len(product.gates), product.weight is not None
        return weighted, product.first, blocks, product.total, unit, reads, list(product.norm)


def by_width(
    numbers: Numbers, here: Key | None, writes: Iterable[tuple[int, Write]]
) -> list[native.Section]:
    """One section for each width that is written."""
    groups: dict[int, list[Write]] = {}
    for units, write in writes:
        groups.setdefault(units, []).append(write)
    return [section(numbers, here, units, group) for units, group in groups.items()]


def _sums(nodes: Sequence[Node]) -> set[int]:
    """The sums u + v: adding again costs less than keeping them."""
    return {
        number
        for number, node in enumerate(nodes)
        if node.op == "add" and {nodes[arg].op for arg in node.args} == {"u", "v"}
    }


def constant_operations(nodes: Sequence[Node]) -> set[int]:
    """Operations on constants only."""
    uniform: set[int] = set()
    for number, node in enumerate(nodes):
        if node.op == "const" or (node.op in ALPHABET and uniform.issuperset(node.args)):
            uniform.add(number)
    return {number for number in uniform if nodes[number].op != "const"}


def read(program: Program, kind: str, widths: Mapping[str, int]) -> dict[str, int]:
    """Names of a kind, "noise" or "param", that the step reads, with their units."""
    found = {
        arg
        for body in program.bodies
        for i in (*body.operand_nodes, *body.nodes)
        for arg in program.nodes[i].args
    }
    found |= {*program.state.values(), *program.gates.values()}
    found |= {body.product.operand for body in program.bodies if body.product}
    nodes = [program.nodes[i] for i in sorted(found) if program.nodes[i].op == kind]
    return {node.name: widths[node.width] for node in nodes}


def ranks(
    program: Program, nodes: Sequence[Node], widths: Mapping[str, int]
) -> dict[str, dict[str | int, int]]:
    """By kind of source, the number of each name; of each node among `nodes` for a constant."""
    found: dict[str, dict[str | int, int]] = {}
    found["const"] = {
        node: i for i, node in enumerate(i for i, node in enumerate(nodes) if node.op == "const")
    }
    for kind, names in (("u", program.gates), ("state", program.state)):
        found[kind] = {name: i for i, name in enumerate(names)}
    for kind in ("noise", "param"):
        found[kind] = {name: i for i, name in enumerate(read(program, kind, widths))}
    return found
