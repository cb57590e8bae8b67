"""The contract, measured: whole sequence = chunks = steps = fused, ragged and with resets."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recurra import state as states
from recurra.engine import forcing
from recurra.errors import ArgumentError, MethodUnavailable
from recurra.layers import SequenceModule
from recurra.layers.sequence import run_time_first
from recurra.layers.weight_hooks import copy_module

CHUNKS = (1, 2, 7, 64)


class Row(NamedTuple):
    """One path against the reference.

    Attributes:
        path: what was run.
        difference: the largest difference from the float64 loop, over outputs and final state.
        bound: what the contract allows; None where the path does not exist.
        steps: steps compared.
        note: why there is no figure, if there is none.
    """

    path: str
    difference: float
    bound: float | None
    steps: int
    note: str = ""

    @property
    def holds(self) -> bool:
        """Whether the difference is within the bound; a path that does not exist holds."""
        return self.bound is None or self.difference <= self.bound


def verify(model: SequenceModule, x: Tensor, tell: Callable[[str], object] = str) -> list[Row]:
    """Run a model along every path and compare each with the plain loop in float64.

        |path - f64| <= 2 max |loop32 - f64| + 16 eps max(1, |f64|max)        float32
        |path - f64| <= 1e-12 max(1, |f64|max)                                float64

    Args:
        model: a module over time that can stream; it is run as at evaluation and left as it is.
        x: (T, B, ...), what it is run on, whatever order of axes it takes; T at least 3, B at least
            1.
        tell: called with the name of each path before it is run.

    Returns:
        A row for each path.

    Raises:
        ArgumentError: the model cannot stream, or `x` is too short.

    >>> import recurra
    >>> rows = verify(recurra.Recurrent(recurra.cells.GRU(), 3, 4), torch.randn(9, 2, 3))
    >>> all(row.holds for row in rows)
    True
    """
    if why := model.streaming_obstacle():
        raise ArgumentError(f"model must be able to stream, got {type(model).__name__}: {why}")
    if len(x) < 3:
        raise ArgumentError(f"x must have at least 3 steps, got {len(x)}")
    model = copy_module(model)
    double = copy.deepcopy(model).double()
    wide = x.double() if x.is_floating_point() else x
    single = next(model.parameters()).dtype == torch.float32
    rows = []
    with torch.no_grad():
        for kind, options in _kinds(x):
            with forcing("loop"):
                reference = _flat(run_time_first(double, wide, **options))
                loop = _flat(run_time_first(model, x, **options))
            bound = _bound(loop, reference, single)
            for path, run in _paths(kind, model, x, options):
                tell(path)
                try:
                    rows.append(Row(path, difference(_flat(run()), reference), bound, len(x)))
                except MethodUnavailable as error:
                    rows.append(Row(path, 0.0, None, 0, str(error)))
    return rows


def _kinds(x: Tensor) -> Iterator[tuple[str, dict[str, Any]]]:
    """The ways that a batch can be: full, ragged, with resets, both."""
    steps, rows = x.shape[:2]
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(0, steps + 1, (rows,), generator=generator)
    lengths[0], lengths[-1] = steps, 1 if rows > 1 else steps
    resets = torch.rand(steps, rows, generator=generator) < 3 / steps
    resets[steps // 2] = True
    lengths, resets = lengths.to(x.device), resets.to(x.device)
    yield "", {}
    yield ", ragged", {"lengths": lengths}
    yield ", resets", {"resets": resets}
    yield ", ragged with resets", {"lengths": lengths, "resets": resets}


def _paths(
    kind: str, model: SequenceModule, x: Tensor, options: dict[str, Any]
) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What is run on one kind of batch."""
    yield f"loop{kind}", lambda: _forced("loop", model, x, options)
    yield f"whole{kind}", lambda: run_time_first(model, x, **options)
    yield f"fused{kind}", lambda: _forced("fused", model, x, options)
    for size in CHUNKS:
        if size < len(x):
            yield f"chunks of {size}{kind}", lambda size=size: in_chunks(model, x, size, **options)  # type: ignore[misc]
    if not kind:
        yield "step by step", lambda: _in_steps(model, x)


def _forced(method: str, model: SequenceModule, x: Tensor, options: dict[str, Any]) -> Any:
    with forcing(method):
        return run_time_first(model, x, **options)


def in_chunks(
    model: SequenceModule, x: Tensor, size: int, *, lengths: Any = None, resets: Any = None
) -> tuple[Tensor, Any]:
    """Run a module over a sequence in chunks of `size` steps, the state carried."""
    outputs, state = [], None
    for start in range(0, len(x), size):
        part = x[start : start + size]
        here = None if lengths is None else (lengths - start).clamp(0, len(part))
        y, state = run_time_first(
            model,
            part,
            state,
            lengths=here,
            resets=None if resets is None else resets[start : start + size],
        )
        outputs.append(y)
    return torch.cat(outputs), state


def _in_steps(model: SequenceModule, x: Tensor) -> tuple[Tensor, Any]:
    outputs, state = [], None
    for step in x:
        y, state = model.step(step, state)
        outputs.append(y)
    return torch.stack(outputs), state


def _flat(result: tuple[Tensor, Any]) -> list[Tensor]:
    """The output and every tensor of the state."""
    found = [result[0]]
    states.transform(result[1], lambda value: found.append(value) or value)  # type: ignore[func-returns-value]
    return found


def difference(path: list[Tensor], reference: list[Tensor]) -> float:
    """The largest difference over all tensors; infinite where one side is not a number."""
    largest = max(
        float((p.double() - r.double()).abs().max()) for p, r in zip(path, reference, strict=True)
    )
    return largest if largest == largest else float("inf")


def _bound(loop: list[Tensor], reference: list[Tensor], single: bool) -> float:
    scale = max(1.0, max(float(r.abs().max()) for r in reference))
    if not single:
        return 1e-12 * scale
    return 2 * difference(loop, reference) + 16 * torch.finfo(torch.float32).eps * scale
