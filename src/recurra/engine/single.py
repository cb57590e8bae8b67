"""One step of a few rows without gradients: the cell's program, handed to the native module at
once.

What runs here, "auto" would run fused, to the same bits. The checks that remain are comparisons;
whatever does not pass them is left to the general way, which gives its result or its error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import Parameter

from recurra.cells import Cell
from recurra.cells.values import Weights
from recurra.engine.context import watched
from recurra.engine.job import Scan, check_weights, initial_state
from recurra.engine.transforms import tracing, transform_active
from recurra.errors import RecurraError
from recurra.kernels.encode import MOST_KEPT, encode
from recurra.kernels.launch import NONE, Array
from recurra.kernels.outputs import DTYPES, place
from recurra.kernels.pool import pool
from recurra.program import trace

if TYPE_CHECKING:
    from recurra import native

PLAIN = (Tensor, Parameter)
"""Types of tensors that are numbers in memory and no more."""


class Ready(NamedTuple):
    """What is known before any step of a cell whose weights have certain names and shapes.

    Attributes:
        forward: the native scan.
        program: the native program.
        rows: how many it takes with the weights as they are.
        input_size: I.
        widths: units of each state.
        shapes: of the weights, in their order.
        parts, params: the weights that the native module reads, as places among them; -1 for none.
        kind: the type of the state.
        masks: None for each mask that lasts a sequence; they end the state.
    """

    forward: Callable[..., None]
    program: native.Program
    rows: int
    input_size: int
    widths: tuple[int, ...]
    shapes: tuple[torch.Size, ...]
    parts: tuple[tuple[int, int, int], ...]
    params: tuple[int, ...]
    kind: Any
    masks: tuple[None, ...]


_KEPT: dict[Any, Ready | None] = {}


def run(cell: Cell, weights: Weights, x: Tensor, state: Any) -> Scan | None:
    """Run one step, or leave it to the general way.

    Args:
        cell: the cell.
        weights: by name; they may have changed, or be others, since the last step.
        x: (1, B, I), or (B, I).
        state: the state before; the layer's own if None.

    Returns:
        What `scan` gives, h in the form of `x`, in fresh memory; None where a gradient, a graph, a
        transform or a listener is wanted, where there are more steps or rows, and where an argument
        is not as it must be.

    >>> from recurra.cells import Elman
    >>> weights = {"weight_ih": torch.eye(2), "weight_hh": torch.zeros(2, 2)}
    >>> run(Elman("relu"), weights, torch.ones(1, 2), None).h
    tensor([[1., 1.]])
    >>> run(Elman("relu"), weights, torch.ones(7, 1, 2), None)
    """
    if not _ordinary(x) or (ready := _find(cell, weights)) is None:
        return None
    if state is None:
        state = initial_state(cell, weights, x.view(1, *x.shape[-2:]), {})
    elif type(state) is not ready.kind and (
        type(state) is not tuple or len(state) - len(ready.widths) not in (0, len(ready.masks))
    ):
        return None
    done = _run([(ready, weights)], x, state, ())
    return None if done is None else Scan(done[0], ready.kind(*done[1], *ready.masks))


def run_layers(
    cell: Cell, layers: Sequence[Weights], x: Tensor, state: Sequence[Any]
) -> tuple[Tensor, list[Tensor]] | None:
    """Run one step of layers of one cell, each over the output of the one before.

    Args:
        cell: the cell.
        layers: the weights of each.
        x: (B, I), or (I,) for one sequence.
        state: each value of the cell's state, (L, B, width), or (L, width) for one sequence.

    Returns:
        The output in the form of `x`, and the state after in that of `state`; None as for `run`.
    """
    if not _ordinary(x) or x.ndim not in (1, 2):
        return None
    ready = [_find(cell, weights) for weights in layers]
    return _run([*zip(ready, layers)], x, state, (len(layers),))


def _run(
    layers: Sequence[tuple[Ready | None, Weights]],
    x: Tensor,
    state: Sequence[Any],
    lead: tuple[int, ...],
) -> tuple[Tensor, list[Tensor]] | None:
    """Run the layers; `lead` are the axes of the state in front of the batch's."""
    first, axes, dtype, recording = layers[0][0], x.shape[:-1], x.dtype, torch.is_grad_enabled()
    rows = axes[-1] if axes else 1
    if first is None or not 0 < rows <= first.rows or (recording and x.requires_grad):
        return None
    if (before := _values(first, state, (*lead, *axes[-1:]), dtype, recording)) is None:
        return None
    h, after = x.contiguous(), [torch.empty_like(value) for value in before]
    threads, old, new = (
        pool(),
        [value.data_ptr() for value in before],
        [value.data_ptr() for value in after],
    )
    sizes = [rows * width for width in first.widths]
    for number, (ready, weights) in enumerate(layers):
        if number:
            old, new = (
                [at + x.element_size() * size for at, size in zip(each, sizes)]
                for each in (old, new)
            )
        if (
            ready is None
            or h.shape[-1] != ready.input_size
            or (at := _addresses(ready, weights, dtype, recording)) is None
        ):
            return None
        u, h = h, h.new_empty((*axes, ready.widths[0]))
        ready.forward(
            program=ready.program,
            dtype=DTYPES[dtype],
            sizes=(1, rows),
            reverse=False,
            x=place(u),
            h=place(h),
            state=([*zip(old, sizes)], (), [*zip(new, sizes)]),
            kept=((), ()),
            held=False,
            saved=NONE,
            weights=[(at[i], at[j], at[k]) for i, j, k in ready.parts],
            noise=(),
            params=[at[i] for i in ready.params] if ready.params else (),
            lengths=NONE,
            resets=NONE,
            pool=threads,
        )
    return h, after


def _ordinary(x: Any) -> bool:
    """Whether an input is one step of numbers on the CPU, and nothing is at work that must see, or
    changes, what is done.
    """
    return (
        not torch.compiler.is_compiling()
        and type(x) in PLAIN
        and x.is_cpu
        and x.dtype in DTYPES
        and x.layout is torch.strided
        and not tracing()
        and (x.ndim < 3 or x.shape[0] == 1)
        and not watched()
        and not torch._C._len_torch_dispatch_stack()
        and not torch._C._len_torch_function_stack()
        and not torch.is_autocast_enabled("cpu")
        and not transform_active()
    )


def _find(cell: Cell, weights: Weights) -> Ready | None:
    """What is known for a cell and its weights' names and sizes; None where they do not fit, or
    there is no program.
    """
    try:
        key = (cell, weights["weight_ih"].shape, *weights)
        return _KEPT[key]
    except KeyError:
        if "weight_ih" not in weights or not isinstance(cell, Cell):
            return None
    except (AttributeError, TypeError):  # a weight that is no tensor, a cell without a hash
        return None
    try:
        check_weights(cell, weights)
    except RecurraError:
        return None
    if len(_KEPT) >= MOST_KEPT:
        _KEPT.clear()
    _KEPT[key] = ready = _ready(cell, weights)
    return ready


def _ready(cell: Cell, weights: Weights) -> Ready | None:
    size, input_size = weights["weight_ih"].shape
    hidden = size // len(cell.gates)
    widths = tuple([cell.width(name, hidden) for name in cell.state])
    try:
        code = encode(trace(cell), hidden, widths, input_size)
    except RecurraError:
        return None
    from recurra import native

    names = list(weights)
    places = [names.index(name) if name in names else -1 for name in code.names] + [-1]
    return Ready(
        native.forward,
        code.native,
        native.UNPACKED,
        input_size,
        widths,
        tuple([weight.shape for weight in weights.values()]),
        tuple([(places[i], places[j], places[k]) for i, j, k in code.parts]),
        tuple([names.index(name) for name in code.params]),
        cell.state_type(),
        (None,) * len(cell.lasting()),
    )


def _addresses(
    ready: Ready, weights: Weights, dtype: torch.dtype, recording: bool
) -> list[Array] | None:
    """Where the weights are now, and last what stands for none; None where one is not as it must
    be, or asks for a gradient.
    """
    at: list[Array] = []
    for weight, shape in zip(weights.values(), ready.shapes):
        if (
            type(weight) not in PLAIN
            or weight.dtype is not dtype
            or weight.shape != shape
            or not weight.is_cpu
        ):
            return None
        if (
            weight.layout is not torch.strided
            or not weight.is_contiguous()
            or (recording and weight.requires_grad)
        ):
            return None
        at.append(place(weight))
    at.append(NONE)
    return at


def _values(
    ready: Ready, state: Sequence[Any], axes: tuple[int, ...], dtype: torch.dtype, recording: bool
) -> list[Tensor] | None:
    """The values of a state, contiguous; None where one is not as it must be, or asks for a
    gradient.
    """
    values = []
    for width, value in zip(ready.widths, state):
        if (
            type(value) not in PLAIN
            or value.dtype is not dtype
            or value.shape != (*axes, width)
            or not value.is_cpu
        ):
            return None
        if value.layout is not torch.strided or (recording and value.requires_grad):
            return None
        values.append(value.contiguous())
    return values
