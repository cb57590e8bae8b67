"""What a program is: nodes in one numbered list, grouped by the phases of a cell.

Plain data, without torch: whoever runs, prints or saves a cell's equations reads these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

SOURCES = ("u", "v", "state", "noise", "param", "const", "grad", "grad_operand")
"""Kinds of node that are read, not computed; the `grad`s are read by the derivative."""

UNARY = (
    "neg",
    "abs",
    "sign",
    "exp",
    "expm1",
    "log",
    "log1p",
    "sqrt",
    "sin",
    "cos",
    "erf",
    "tanh",
    "sigmoid",
    "relu",
)
BINARY = ("add", "sub", "mul", "div", "maximum", "minimum", "gt", "ge", "lt", "le", "eq")
TERNARY = ("where",)
ALPHABET = UNARY + BINARY + TERNARY
"""Every operation of a program. A comparison gives 1 or 0; `where(k, x, y)` is x where k is not
0.
"""


class Node(NamedTuple):
    """One value: a source (`name` says which, `value` a constant) or an operation on earlier nodes.

    `phase` is the number of the phase whose body computes it, or whose v it is; `width` names its
    units: "hidden", or the state whose width it has.
    """

    op: str
    args: tuple[int, ...] = ()
    name: str = ""
    value: float = 0.0
    phase: int = 0
    width: str = "hidden"


class Product(NamedTuple):
    """How a phase makes its v from its operand; as `recurra.cells.Phase` says it, with what follows
    from its rules spelt out.

        v = operand weight[rows]^T + bias[rows]               where `norm` is empty
        v = norm(operand weight[rows]^T) gain[rows] + bias[rows]

    Of weight, bias and gain each may be None: then v is the operand, nothing is added, or nothing
    is multiplied. `first` and `total` count blocks of the weight: this phase uses rows
    first..first+len(gates) of total. `norm` gives the number of blocks in each normalised group.
    """

    operand: int
    gates: tuple[str, ...]
    weight: str | None
    bias: str | None
    gain: str | None
    norm: tuple[int, ...]
    first: int
    total: int
    width: str
    reads: str

    @property
    def vectors(self) -> tuple[str | None, str | None, str | None]:
        """The weight, the bias and the gain."""
        return self.weight, self.bias, self.gain

    @property
    def adds_bias(self) -> bool:
        """Whether the bias is added to the product itself: a norm adds it after its gain."""
        return self.bias is not None and not self.norm

    def rows(self, unit: int) -> slice:
        """The rows of weight, bias and gain that are read, where a block has `unit` of them."""
        return slice(self.first * unit, (self.first + len(self.gates)) * unit)


class Body(NamedTuple):
    """What a phase computes, in order: its operand's nodes, its product, its nodes. Only the first
    of a program may be without a product.
    """

    operand_nodes: tuple[int, ...]
    product: Product | None
    nodes: tuple[int, ...]


@dataclass(frozen=True)
class Derivative:
    """The vector-Jacobian product of one step, phase by phase from the last.

    Attributes:
        bodies: for each phase, last first: the nodes before its product's own backward (which turns
            dv into the source `grad_operand`), and those after it.
        du, dstate, dnoise, dparam: node of each gradient by name; a missing name has gradient 0.
        dv: by phase, node of each gate's gradient.
    """

    bodies: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
    du: dict[str, int]
    dv: tuple[dict[str, int], ...]
    dstate: dict[str, int]
    dnoise: dict[str, int]
    dparam: dict[str, int]


@dataclass(frozen=True)
class Program:
    """One step of a cell as a list of elementwise operations between products; `print` it to read
    it.

    Attributes:
        cell: how the cell prints.
        nodes: all values, of the step and of its derivative.
        bodies: what each phase computes.
        state, gates: node of each new state and gate by name.
        noise, params: names read.
        widths: the states whose width is not the hidden size.
        input_norm: for `project`, the number of blocks in each normalised group.
        derivative: the step's vector-Jacobian product.
    """

    cell: str
    nodes: tuple[Node, ...]
    bodies: tuple[Body, ...]
    state: dict[str, int]
    gates: dict[str, int]
    noise: tuple[str, ...]
    params: tuple[str, ...]
    widths: tuple[str, ...]
    input_norm: tuple[int, ...]
    derivative: Derivative

    def __hash__(self) -> int:
        return hash((self.cell, self.nodes))

    def __repr__(self) -> str:
        from recurra.display import one_line
        from recurra.wording import count_text

        steps = sum(len(body.operand_nodes) + len(body.nodes) for body in self.bodies)
        back = sum(len(part) for parts in self.derivative.bodies for part in parts)
        return (
            f"Program({one_line(self.cell)}:"
            f" {count_text(steps, 'operation')}{f', {back:,} in the derivative' if back else ''})"
        )

    def __str__(self) -> str:
        from recurra.program.listing import program_text

        return program_text(self)

    def _repr_html_(self) -> str:
        from recurra.display import card, listing

        return card("Program", listing(self))


@dataclass
class Builder:
    """Collects nodes, each once: an equal node gets the number of the first."""

    nodes: list[Node] = field(default_factory=list)
    seen: dict[Node, int] = field(default_factory=dict)

    def source(self, op: str, name: str, phase: int = 0, width: str = "hidden") -> int:
        """Add a value that is read."""
        return self._number(Node(op, (), name, 0.0, phase, width))

    def const(self, value: float) -> int:
        """Add a constant."""
        return self._number(Node("const", (), "", float(value)))

    def op(self, op: str, args: Sequence[int], phase: int) -> int:
        """Add an operation; simplifies what costs nothing to simplify."""
        nodes = [self.nodes[i] for i in args]
        if op == "mul" and (one := self._is_one(args)) is not None:
            return one
        if op in ("add", "mul"):
            args = sorted(args)
        width = next((node.width for node in nodes if node.op != "const"), "hidden")
        return self._number(Node(op, tuple(args), "", 0.0, phase, width))

    def _is_one(self, args: Sequence[int]) -> int | None:
        for here, other in (args, reversed(args)):
            node = self.nodes[here]
            if node.op == "const" and node.value == 1.0:
                return other
        return None

    def _number(self, node: Node) -> int:
        same = node._replace(phase=0) if node.op in ALPHABET else node
        if same not in self.seen:
            self.seen[same] = len(self.nodes)
            self.nodes.append(node)
        return self.seen[same]

    def needed(self, outputs: Sequence[int], since: int = 0) -> list[int]:
        """The operations numbered `since` or later that `outputs` depend on, in order."""
        wanted, todo = set(), [i for i in outputs if i >= since]
        while todo:
            number = todo.pop()
            if number not in wanted:
                wanted.add(number)
                todo += [i for i in self.nodes[number].args if i >= since]
        return sorted(i for i in wanted if self.nodes[i].op in ALPHABET)
