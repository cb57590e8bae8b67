"""Where every value of a step's derivative is kept, and what the step itself keeps for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from recurra.kernels.layout import by_width, constant_operations, ranks
from recurra.kernels.section import SOURCES, Key, Numbers, Write
from recurra.program.graph import ALPHABET, Node, Program

if TYPE_CHECKING:
    from recurra import native

BASIS = ("state", "noise", "param", "const")
"""Sources of a step that its derivative reads again."""
PARTS = ("operand", "before", "after")
"""A phase's parts in the derivative, in the order in which they run."""


class Gradient(NamedTuple):
    """A gradient that the derivative leaves behind: its node (None: it is 0), where, and how
    wide.
    """

    node: int | None
    kind: str
    place: int
    units: int


class Adjoint:
    """Decides where every value of a step's derivative is kept.

    Args:
        program: the program.
        widths: units of each state by name, and of "hidden".
        noise_gradients: whether the gradients of noise are written; if not, what only they need is
            left out.

    Attributes:
        nodes: the program's, and a constant 0 where it had none.
        saved: the nodes of the step that are kept for the derivative.
        slot_widths: of the derivative's own slots.
    """

    def __init__(self, program: Program, widths: dict[str, int], noise_gradients: bool) -> None:
        self.program, self.widths = program, widths
        self.products = [body.product for body in program.bodies]
        self.nodes, self.zero = _with_zero(program.nodes)
        self.ranks = ranks(program, self.nodes, widths)
        self.dv = program.derivative.dv or ({},) * len(program.bodies)
        self.first = [self._first_of_u(phase) for phase in range(len(self.products))]
        self.free = frozenset(constant_operations(self.nodes))
        self.given = self._homes_given()
        outputs = list(self._outputs(noise_gradients))
        self.new = {node: i for i, node in reversed(list(enumerate(program.state.values())))}
        self.saved = self._choose(outputs)
        self.kept: dict[int, native.Source] = {
            node: (SOURCES["new"], i, 0) for node, i in self.new.items()
        }
        self.kept |= {node: (SOURCES["saved"], i, 0) for i, node in enumerate(self.saved)}
        self.kept = {
            node: source for node, source in self.kept.items() if self.nodes[node].op not in BASIS
        }
        self.writes: list[tuple[Key | None, int, Write]] = []
        self.slot_widths: list[int] = []
        self.home = self._settle(outputs)
        self.numbers = Numbers(
            self.nodes, self.products, self.ranks, self.home, self.free, self.kept
        )

    @property
    def constants(self) -> list[float]:
        """The values of the constants, of the step too."""
        return [node.value for node in self.nodes if node.op == "const"]

    def encoded(self) -> native.Backward:
        """The derivative as the native module takes it."""
        phases = []
        for phase in reversed(range(len(self.products))):
            operand, before, after = (self._sections((phase, part)) for part in PARTS)
            phases.append((phase, operand, before, self.first[phase], after))
        return self.slot_widths, phases, self._sections(None)

    def _sections(self, here: Key | None) -> list[native.Section]:
        return by_width(
            self.numbers, here, ((units, write) for key, units, write in self.writes if key == here)
        )

    def _first_of_u(self, phase: int) -> int:
        """The block of u whose gradients those of this phase's v are, and of the next; -1: apart;
        -2: there is none.
        """
        product, program = self.products[phase], self.program
        if product is None or not self.dv[phase]:
            return -2
        gates, du, dv = list(program.gates), program.derivative.du, self.dv[phase]
        same = product.gates[0] in gates and all(
            gate in du and dv.get(gate) == du[gate] for gate in product.gates
        )
        first = gates.index(product.gates[0]) if same else 0
        together = same and tuple(gates[first : first + len(product.gates)]) == product.gates
        plain = product.weight is not None and not product.norm and not program.input_norm
        return (
            first
            if together and plain and self.widths[product.width] == self.widths["hidden"]
            else -1
        )

    def _homes_given(self) -> dict[int, Key]:
        """Where the derivative's own operations are computed."""
        home: dict[int, Key] = {}
        phases = reversed(range(len(self.products)))
        for phase, halves in zip(phases, self.program.derivative.bodies):
            for part, half in zip(("before", "after"), halves, strict=True):
                home |= {i: (phase, part) for i in half if i not in self.free}
        return home

    def _outputs(self, noise_gradients: bool) -> Iterator[tuple[Key | None, Gradient]]:
        """Every gradient that is left behind, with the part that does it; None: that in which its
        node is at home.
        """
        derivative, widths, hidden = self.program.derivative, self.widths, self.widths["hidden"]
        place: dict[int, Key] = {}
        for phase, first in enumerate(self.first):
            product = self.products[phase]
            if first >= 0 and product is not None:
                place |= {first + i: (phase, "before") for i in range(len(product.gates))}
            elif first == -1 and product is not None:
                for i, gate in enumerate(product.gates):
                    yield (
                        (phase, "before"),
                        Gradient(self.dv[phase].get(gate), "dv", i, widths[product.width]),
                    )
        for i, gate in enumerate(self.program.gates):
            yield place.get(i), Gradient(derivative.du.get(gate), "du", i, hidden)
        for i, name in enumerate(self.program.state):
            yield None, Gradient(derivative.dstate.get(name), "dstate", i, widths[name])
        for kind, found in (("noise", derivative.dnoise), ("param", derivative.dparam)):
            if kind == "param" or noise_gradients:
                for key, i in self.ranks[kind].items():
                    yield (
                        None,
                        Gradient(found.get(str(key)), f"d{kind}", i, self._units(kind, str(key))),
                    )

    def _units(self, kind: str, name: str) -> int:
        return next(
            self.widths[node.width] for node in self.nodes if node.op == kind and node.name == name
        )

    def _operands(self) -> dict[int, int]:
        """By phase that has a product, the node of its operand."""
        return {phase: product.operand for phase, product in enumerate(self.products) if product}

    def _choose(self, outputs: Sequence[tuple[Key | None, Gradient]]) -> list[int]:
        """The values of the step that must be kept: what is read and is not elementwise in what is
        known anyway.

        The earlier first, so that a later one that follows from it is computed again.
        """
        todo = [gradient.node for _, gradient in outputs if gradient.node is not None]
        found: set[int] = set()
        roots = set(self._operands().values())
        while todo:
            number = todo.pop()
            if number in self.given and number not in found:
                found.add(number)
                todo += self.nodes[number].args
            elif number not in self.given:
                roots.add(number)
        saved: list[int] = []
        known: dict[int, bool] = {}
        for number in sorted(roots):
            if self.nodes[number].op not in ("grad", "grad_operand") and not self._follows(
                number, known
            ):
                saved.append(number)
                known[number] = True
        return saved

    def _follows(self, number: int, known: dict[int, bool]) -> bool:
        """Whether a value of the step is elementwise in old and new states, noise, params,
        constants and what is known.
        """
        if number not in known:
            node = self.nodes[number]
            known[number] = (
                node.op in BASIS
                or number in self.new
                or (node.op in ALPHABET and all([self._follows(arg, known) for arg in node.args]))
            )
        return known[number]

    def _settle(self, outputs: Sequence[tuple[Key | None, Gradient]]) -> dict[int, Key]:
        """Give every operation its home, every gradient its section, and a slot to what is read
        away from home.

        A value of the step that is computed again is at home in the first part that reads it.
        """
        home, readers = dict(self.given), dict[int, set[Key]]()
        writes: list[tuple[Key | None, int, Write]] = []
        for phase, operand in self._operands().items():
            product = self.products[phase]
            assert product is not None
            writes.append(
                ((phase, "operand"), self.widths[product.reads], Write(operand, "operand", 0))
            )
        for key, (node, kind, place, units) in outputs:
            number = self.zero if node is None else node
            computed = self.nodes[number].op in ALPHABET and number not in self.free
            writes.append(
                (
                    key or self.given.get(number, (0, "after") if computed else None),
                    units,
                    Write(number, kind, place),
                )
            )
        for key, _, write in writes:
            if key is not None:
                readers.setdefault(write.node, set()).add(key)
        for number in range(len(self.nodes) - 1, -1, -1):
            if (
                number not in readers
                or number in self.kept
                or number in self.free
                or self.nodes[number].op not in ALPHABET
            ):
                continue
            here = home.setdefault(number, min(readers[number], key=self._turn))
            for arg in self.nodes[number].args:
                readers.setdefault(arg, set()).add(here)
            if readers[number] != {here}:
                self.kept[number] = SOURCES["slot"], len(self.slot_widths), 0
                units = self.widths[self.nodes[number].width]
                self.writes.append((here, units, Write(number, "slot", len(self.slot_widths))))
                self.slot_widths.append(units)
        self.writes += writes
        return home

    def _turn(self, key: Key) -> tuple[int, int]:
        """When a part runs."""
        return -key[0], PARTS.index(key[1])


def _with_zero(nodes: tuple[Node, ...]) -> tuple[tuple[Node, ...], int]:
    """The nodes and the number of a constant 0 among them, added at the end where there is none."""
    zero = next(
        (i for i, node in enumerate(nodes) if node.op == "const" and node.value == 0.0), None
    )
    return (nodes, zero) if zero is not None else ((*nodes, Node("const")), len(nodes))
