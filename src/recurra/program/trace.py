"""From a cell's equations to its program: run them once on tiny tensors and write down what is
done.
"""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from recurra.cells import Cell, Known, Phase, Pre
from recurra.cells.reads import check_complete, check_returned
from recurra.errors import ProgramError
from recurra.program.derivative import Ops, differentiate
from recurra.program.graph import ALPHABET, Body, Builder, Product, Program
from recurra.program.lowering import LOWER

HOMES = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1]))
ROWS = 3
"""The batch of the tensors traced with; the sizes are odd and distinct, so that a hidden broadcast
shows.
"""


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes every operation on known tensors into a builder."""

    def __init__(
        self, builder: Builder, phase: int, number: dict[int, int], keep: list[Tensor]
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ops, self.number, self.keep = Ops(builder, phase), number, keep

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.split("::")[1]
        if name in ("_local_scalar_dense", "is_nonzero", "equal"):
            raise ProgramError(
                "pointwise must not branch on data or read a value out of a tensor; use torch.where"
            )
        if name not in LOWER:
            raise ProgramError(_refusal(name))
        _check_operands(name, [arg for arg in args if isinstance(arg, Tensor)])
        out = func(*args, **(kwargs or {}))
        try:
            node = LOWER[name](
                self.ops, *(self.of(arg) for arg in args), **self._options(kwargs or {})
            )
        except (NotImplementedError, TypeError, ValueError) as reason:
            raise ProgramError(_refusal(f"{name} with these options ({reason})")) from None
        self.remember(out[0] if isinstance(out, tuple) else out, node)
        return out

    def _options(self, kwargs: dict[str, Any]) -> dict[str, int | None]:
        layout = ("dtype", "layout", "device", "pin_memory", "memory_format")
        return {name: self.of(value) for name, value in kwargs.items() if name not in layout}

    def of(self, value: Any) -> int | None:
        """The node of an argument."""
        if value is None:
            return None
        if not isinstance(value, Tensor):
            return self.ops.const(value)
        if id(value) in self.number:
            return self.number[id(value)]
        if value.ndim == 0 and not value.requires_grad:
            return self.ops.const(value.item())
        raise ProgramError(
            "pointwise must read only a, s and constants, got a tensor of shape"
            f" {tuple(value.shape)} from outside; name it in params, or make it in pointwise"
        )

    def remember(self, tensor: Tensor, node: int) -> None:
        """Note which node a tensor is; it is kept alive so that its identity stays its own."""
        self.number[id(tensor)] = node
        self.keep.append(tensor)


def _check_operands(name: str, operands: list[Tensor]) -> None:
    """Refuse what runs in torch but is not one number after another: two widths, two truth values
    added.
    """
    widths = {operand.shape[-1] for operand in operands if operand.ndim}
    if len(widths) > 1:
        raise ProgramError(
            _refusal(f"{name} of values that are {' and '.join(map(str, sorted(widths)))} wide")
        )
    if (
        name == "add"
        and len(operands) > 1
        and all(operand.dtype == torch.bool for operand in operands)
    ):
        raise ProgramError(
            _refusal("add of comparisons, which torch takes for `or`; multiply each by 1.0 first")
        )


def _refusal(what: str) -> str:
    got = what.lstrip("_")  # torch.softmax is _softmax within
    return (
        f"pointwise must use elementwise operations only, got {got}; the alphabet is"
        f" {', '.join(ALPHABET)}, and what is made of them"
    )


def _line(error: Exception) -> str:
    """Where in the user's own file an error came up; nothing for a cell of recurra."""
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(HOMES)
    ]
    return (
        f" (line {own[-1].lineno} of {Path(own[-1].filename).name}: {own[-1].line})" if own else ""
    )


class _Tracer:
    """Holds what is known while the phases of one cell are traced in turn."""

    def __init__(self, cell: Cell, noise: tuple[str, ...]) -> None:
        self.cell, self.builder = cell, Builder()
        self.number: dict[int, int] = {}
        self.keep: list[Tensor] = []
        self.hidden = _hidden(cell)
        self.widths = {name: cell.width(name, self.hidden) for name in cell.state}
        params = {name: self.source("param", name, shape=(self.hidden,)) for name in cell.params}
        known = {name: self.source("state", name, of=name) for name in cell.state}
        factors = {name: self.source("noise", name, of=cell.noises()[name].of) for name in noise}
        self.s = Known(known | params, factors)
        self.u = {gate: self.source("u", gate) for gate in cell.gates}

    def symbol(self, width: int) -> str:
        """The name of a width."""
        return next(
            (name for name, units in self.widths.items() if units == width != self.hidden), "hidden"
        )

    def source(
        self, op: str, name: str, *, of: str = "", phase: int = 0, shape: tuple[int, ...] = ()
    ) -> Tensor:
        """A tensor that stands for a value that is read."""
        tensor = torch.zeros(shape or (ROWS, self.widths.get(of, self.hidden)))
        width = self.symbol(tensor.shape[-1])
        self.number[id(tensor)] = self.builder.source(op, name, phase, width)
        self.keep.append(tensor)
        return tensor

    def run(self, number: int, equations: Callable[[], Any]) -> Any:
        """Run equations under the recorder; their mistakes become one clear line."""
        try:
            with torch.no_grad(), _Recorder(self.builder, number, self.number, self.keep):
                return equations()
        except ProgramError as error:
            raise ProgramError(f"{self.cell!r}: {error}{_line(error)}") from None
        except (RuntimeError, NotImplementedError) as error:
            line = str(error).splitlines()[0]
            raise ProgramError(
                f"{self.cell!r}: pointwise must be elementwise, got an operation that failed:"
                f" {line}{_line(error)}"
            ) from None

    def bodies(self) -> tuple[Body, ...]:
        """Trace every phase; what follows without a product is part of the one before."""
        bodies: list[Body] = []
        for phase in self.cell.active_phases():
            if phase.gates or not bodies:
                bodies.append(self.phase(len(bodies), phase))
            else:
                more = self.phase(len(bodies) - 1, phase).nodes
                bodies[-1] = bodies[-1]._replace(nodes=bodies[-1].nodes + more)
        return tuple(bodies)

    def phase(self, number: int, phase: Phase) -> Body:
        """Trace one phase: its operand, its v, its maths."""
        start = len(self.builder.nodes)
        product, v = None, {}
        if phase.gates:
            operand = self.run(number, lambda: phase.operand(self.s))
            product = self.product(phase, self.node(operand, phase.reads))
            width = phase.gates[0] if phase.gates[0] in self.cell.state else ""
            middle = len(self.builder.nodes)
            v = {gate: self.source("v", gate, of=width, phase=number) for gate in phase.gates}
        else:
            middle = start
        found = self.run(number, lambda: phase.pointwise(Pre(self.u, v), self.s))
        for name, value in check_returned(phase, found).items():
            self.node(value, name)
        self.s.new.values.update(found)
        return Body(
            self.operations(start, middle),
            product,
            self.operations(middle, len(self.builder.nodes)),
        )

    def product(self, phase: Phase, operand: int) -> Product:
        """A phase's product with its rows spelt out."""
        return Product(
            operand,
            phase.gates,
            *phase.vectors,
            tuple(map(len, phase.norm)),
            *self.cell.rows(phase),
            self.symbol(self.cell.phase_width(phase, self.hidden)),
            self.symbol(self.cell.width(phase.reads, self.hidden)),
        )

    def node(self, value: Any, name: str) -> int:
        """The node of a value that a cell returned, after looking at its shape."""
        wanted = (ROWS, self.widths.get(name, self.hidden))
        if not isinstance(value, Tensor):
            raise ProgramError(
                f"{self.cell!r}: {name} must be a tensor, got {type(value).__name__}"
            )
        if tuple(value.shape) != wanted:
            raise ProgramError(
                f"{self.cell!r}: {name} must have shape (B, {wanted[1]}) when H is {self.hidden},"
                f" got {tuple(value.shape)}"
            )
        if id(value) not in self.number:
            raise ProgramError(
                f"{self.cell!r}: {name} must be computed from a and s, got a tensor from outside"
            )
        return self.number[id(value)]

    def operations(self, start: int, stop: int) -> tuple[int, ...]:
        """The operations among nodes start..stop."""
        return tuple(i for i in range(start, stop) if self.builder.nodes[i].op in ALPHABET)


def _hidden(cell: Cell) -> int:
    """A size for H that no width that the cell fixes itself is equal to."""
    for hidden in (7, 11, 13):
        if all(
            (cell.width(n, 7) == 7 and cell.width(n, 11) == 11) or cell.width(n, hidden) != hidden
            for n in cell.state
        ):
            return hidden
    raise ProgramError(f"{cell!r}: a state's width must be hidden_size or differ from it")


def trace(cell: Cell, noise: Iterable[str] = ()) -> Program:
    """Trace a cell's equations, and their derivative, into a program.

    Args:
        cell: the cell.
        noise: names of the random factors that will be handed in; empty at evaluation.

    Returns:
        The program; the same object for equal arguments.

    Raises:
        ProgramError: the equations are not elementwise; names the operation or the value.

    >>> from recurra.cells import LSTM
    >>> [len(body.nodes) for body in trace(LSTM()).bodies]
    [13]
    """
    if not isinstance(cell, Cell):
        raise ProgramError(
            f"cell must be a cell, got {cell!r}; write recurra.cells.LSTM(), for example"
        )
    try:
        hash(cell)
    except TypeError as error:
        raise ProgramError(
            f"cell must be hashable, got {cell!r} ({error}); make its class a"
            " dataclass(frozen=True)"
        ) from None
    return _trace(cell, tuple(sorted(noise)))


@functools.lru_cache(maxsize=512)
def _trace(cell: Cell, noise: tuple[str, ...]) -> Program:
    # torch.export would write down the switching of gradients, and not be able to read it again;
    # in inference mode torch would hand composite operations over whole
    with torch._C.DisableTorchFunction(), torch.inference_mode(False):
        tracer = _Tracer(cell, noise)
        bodies = tracer.bodies()
    new = tracer.s.new.values
    check_complete(cell, new)
    state, gates = (
        {name: tracer.number[id(new[name])] for name in names} for names in (cell.state, cell.gates)
    )
    derivative = differentiate(tracer.builder, bodies, state)
    widths = tuple(name for name, units in tracer.widths.items() if units != tracer.hidden)
    norm = tuple(map(len, cell.input_norm))
    return Program(
        repr(cell),
        tuple(tracer.builder.nodes),
        bodies,
        state,
        gates,
        noise,
        tuple(cell.params),
        widths,
        norm,
        derivative,
    )
