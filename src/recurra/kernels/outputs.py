"""What a scan is to do beside its numbers, and the list of tensors that it gives back."""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recurra.kernels.encode import Encoded
from recurra.kernels.launch import Arrays, Made


class Options(NamedTuple):
    """How a scan runs; as text, the names of those that are on.

    Attributes:
        reverse: from each row's own last step to its first.
        states, gates: give back every step's.
        saving: keep what a backward pass reads.
        recompute: of that only the states; the rest is found again.
        noise: the backward pass is to find the gradients of noise.

    >>> Options(reverse=True, states=True).text()
    'reverse states'
    """

    reverse: bool = False
    states: bool = False
    gates: bool = False
    saving: bool = False
    recompute: bool = False
    noise: bool = False

    def text(self) -> str:
        """The names of the options that are on."""
        return " ".join(name for name, value in zip(self._fields, self) if value)


@functools.lru_cache(maxsize=64)
def options_of(text: str) -> Options:
    """The options that a text names.

    >>> options_of("reverse states") == Options(reverse=True, states=True)
    True
    """
    return Options(**dict.fromkeys(text.split(), True))


class Outputs(NamedTuple):
    """The tensors of one scan.

    Attributes:
        h: (T, B, width of h).
        final: (B, width) each.
        held: h with each row's last state past its length, where lengths and states are asked for.
        states: the states after every step but h, which is the first of them; kept for a backward
            pass, too.
        gates: every step's, if asked for.
        saved: (T, B, numbers that the program saves), if kept for a backward pass.
    """

    h: Tensor
    final: Sequence[Tensor]
    held: Tensor | None
    states: Sequence[Tensor]
    gates: Sequence[Tensor]
    saved: Tensor | None

    def flat(self) -> list[Tensor]:
        """One list; `unflat` takes it apart."""
        return [
            self.h,
            *self.final,
            *([] if self.held is None else [self.held]),
            *self.states,
            *self.gates,
            *([] if self.saved is None else [self.saved]),
        ]

    def made(self) -> Made:
        """The same for the native module."""
        states = [self.held, *self.states] if self.states or self.held is not None else []
        return Made(self.h, self.final, states, self.gates, self.saved, self.held is not None)


def allocate(code: Encoded, x: Tensor, ragged: bool, options: Options) -> Outputs:
    """Memory for what a scan gives back."""
    steps, rows, _ = x.shape

    def empty(*shape: int) -> Tensor:
        return x.new_empty(shape)

    def kept(*shape: int) -> Tensor:
        return (
            reused(shape, x.dtype)
            if x.device.type == "cpu" and type(x) is Tensor
            else empty(*shape)
        )

    h, *others = [width for _, width in code.states]
    recording = options.states or options.saving
    saved = options.saving and not options.recompute and code.native.saved_size
    return Outputs(
        empty(steps, rows, h),
        [empty(rows, width) for _, width in code.states],
        empty(steps, rows, h) if options.states and ragged else None,
        (
            [(empty if options.states else kept)(steps, rows, width) for width in others]
            if recording
            else ()
        ),
        [empty(steps, rows, code.hidden) for _ in code.program.gates] if options.gates else (),
        kept(steps, rows, code.native.saved_size) if saved else None,
    )


def reused(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Memory that goes from one call to the next: what only a backward pass reads is large, and
    fresh pages are slow.

    >>> reused((2, 3), torch.float32).shape
    torch.Size([2, 3])
    """
    from recurra import native

    size = math.prod(shape) * dtype.itemsize
    memory = native.Memory(size)
    view: Any = (ctypes.c_char * max(size, 1)).from_address(memory.address)
    view.owner = memory  # the tensor holds the view, the view the memory
    return (
        torch.frombuffer(view, dtype=dtype, count=math.prod(shape)).view(shape)
        if size
        else torch.empty(shape, dtype=dtype)
    )


def unflat(
    values: Sequence[Tensor], states: int, gates: int, ragged: bool, options: Options
) -> Outputs:
    """What `flat` made one list of, for a cell with so many states and gates."""
    place = 1 + states
    h, final, held = values[0], values[1:place], None
    if options.states and ragged:
        held, place = values[place], place + 1
    others = values[place : place + states - 1] if options.states or options.saving else ()
    place += len(others)
    found = values[place : place + gates] if options.gates else ()
    place += len(found)
    return Outputs(h, final, held, others, found, values[place] if len(values) > place else None)


def contiguous(arrays: Arrays) -> Arrays:
    """The same tensors, contiguous."""

    def each(values: Sequence[Tensor | None]) -> list[Tensor | None]:
        return [None if value is None else value.contiguous() for value in values]

    x, state, initial, weights, noise, lengths, resets, reverse = arrays
    lengths, resets = each([lengths, resets])
    return Arrays(
        x.contiguous(),
        each(state),
        each(initial),
        each(weights),
        each(noise),
        lengths,
        resets,
        reverse,
    )


def place(tensor: Tensor) -> tuple[int, int]:
    """Where a tensor begins, and how many numbers it has.

    >>> place(torch.ones(2, 3))[1]
    6
    """
    return tensor.data_ptr(), tensor.numel()


DTYPES = {torch.float32: "float32", torch.float64: "float64"}
"""The dtypes that the native module computes in."""
