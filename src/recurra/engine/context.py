"""Contexts around any module: force a method, listen to choices, put a probe on every state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from torch import Tensor

from recurra.cells import Cell

_forced: list[str] = []
_listeners: list[Callable[[Any, Any], None]] = []
_probes: list[list[Probe]] = []


class Probe(NamedTuple):
    """Zeros added to the state at every step of one scan: their gradients are dL/dh and dL/dc.

    Attributes:
        cell: the cell of the scan.
        tensors: by the name of the state, (T, B, its width), each requires grad.
        reverse: whether the scan ran backward.
    """

    cell: Cell
    tensors: dict[str, Tensor]
    reverse: bool


@contextmanager
def forcing(method: str) -> Iterator[None]:
    """Run every scan that asks for "auto" inside by one method; a scan that it does not fit raises.

    >>> import torch, recurra
    >>> with forcing("loop"):
    ...     y, state = recurra.GRU(3, 4)(torch.zeros(5, 1, 3))
    """
    _forced.append(method)
    try:
        yield
    finally:
        _forced.pop()


def forced(method: str) -> str:
    """The method to use where `method` was asked for."""
    return _forced[-1] if _forced and method == "auto" else method


@contextmanager
def listening(listener: Callable[[Any, Any], None]) -> Iterator[None]:
    """Call `listener(job, choice)` for every scan inside."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def tell(job: Any, choice: Any) -> None:
    """Tell the listeners what was chosen for a job."""
    for listener in _listeners:
        listener(job, choice)


@contextmanager
def probing() -> Iterator[list[Probe]]:
    """Put a probe on the state in every scan inside; they are listed in the order the scans ran.

    >>> import torch, recurra
    >>> with probing() as probes:
    ...     y, state = recurra.GRU(3, 4)(torch.zeros(5, 1, 3))
    >>> torch.autograd.grad(y.sum(), probes[0].tensors['h'])[0].shape
    torch.Size([5, 1, 4])
    """
    found: list[Probe] = []
    _probes.append(found)
    try:
        yield found
    finally:
        _probes.pop()


def probes_wanted() -> list[Probe] | None:
    """The list that a scan is to add its probe to, if any."""
    return _probes[-1] if _probes else None


def watched() -> bool:
    """Whether any of these contexts is at work.

    >>> with forcing("loop"):
    ...     watched()
    True
    """
    return bool(_forced or _listeners or _probes)
