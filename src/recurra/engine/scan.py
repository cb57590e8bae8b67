"""`scan`: one cell over a sequence, by the method asked for or by a fixed rule."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from types import ModuleType
from typing import Any, NamedTuple

from torch import Tensor

from recurra.cells import GRU, LSTM, Cell, Elman, Probed, ProjectedLSTM
from recurra.cells.values import Values, Weights
from recurra.cells.wrappers import probe_name
from recurra.engine import checkpointed, fused, loop, parallel, single, vendor
from recurra.engine.context import Probe, forced, probes_wanted, tell
from recurra.engine.job import Job, Scan, prepare
from recurra.engine.transforms import tracing
from recurra.errors import ArgumentError, MethodUnavailable, SlowWarning, choice_text

METHODS: dict[str, ModuleType] = {
    "checkpointed": checkpointed,
    "fused": fused,
    "loop": loop,
    "parallel": parallel,
    "vendor": vendor,
}
"""How a scan can be run, by name: each module has `reason(job)` (why not, or None) and
`run(job)`.
"""
AUTO = ("fused", "vendor", "parallel", "loop")
"""The rule of "auto": the first of these that can run the job, and that is not passed over;
docs/decisions/0003 has the figures.
"""
PACKING: dict[str, tuple[type[Cell], ...]] = {"vendor": (LSTM, ProjectedLSTM), "fused": (Cell,)}
"""Methods that pack the weights at every call on a CPU, for these cells: a single step does not
repay it.
"""

_WARNED: set[tuple[str, str]] = set()
"""Cells that were said to run by the loop, with the reason."""


def scan(
    cell: Cell,
    weights: Weights,
    x: Tensor,
    state: Any = None,
    *,
    lengths: Any = None,
    resets: Any = None,
    reverse: bool = False,
    noise: Values | None = None,
    method: str = "auto",
    keep: Iterable[str] = (),
    recompute: bool = False,
) -> Scan:
    """Run a cell over a sequence.

    Args:
        cell: the cell.
        weights: by name, as `cell.weights` lists them; `initial_h` (H,) and so on, or (B, H), are
            its own first state.
        x: (T, B, I).
        state: the state to begin with, each value (B, width); the layer's own (zero or learned) if
            None.
        lengths: (B,), steps of each row. Past them the state is held, the output is zero, x is
            never read.
        resets: (T, B) bool: step t begins a new segment of that row, from the layer's own state.
            Going backward the state is reset after t. Ignored past a row's length.
        reverse: run from each row's own last step to its first.
        noise: by name, what `recurra.cells.draw` drew; None at evaluation.
        method: "auto", "loop" (the definition), "checkpointed", "fused", "parallel" or "vendor".
        keep: "states", "gates" or both: also return them for every step.
        recompute: hold only the states for the backward pass and find the rest again, for about
            half the memory and one more forward pass; by "fused" only.

    Returns:
        A `Scan`: h (T, B, width of h), final state, and states and gates if asked for.

    Raises:
        ShapeError, DtypeError, ArgumentError: an argument does not fit; names it and both sides.
        MethodUnavailable: the method cannot run this; gives the reason.

    >>> import torch
    >>> from recurra.cells import Elman
    >>> weights = {"weight_ih": torch.eye(2), "weight_hh": torch.zeros(2, 2)}
    >>> scan(Elman("relu"), weights, torch.ones(3, 1, 2)).h[:, 0, 0]
    tensor([1., 1., 1.])
    """
    plain = (
        lengths is None
        and resets is None
        and noise is None
        and method == "auto"
        and not (reverse or keep or recompute)
    )
    if (
        plain
        and getattr(x, "ndim", 0) == 3
        and (step := single.run(cell, weights, x, state)) is not None
    ):
        return step
    if (probes := probes_wanted()) is not None:
        cell, noise = _probe(cell, weights, x, reverse, noise, probes)
    job = prepare(
        cell,
        weights,
        x,
        state,
        lengths=lengths,
        resets=resets,
        reverse=reverse,
        noise=noise,
        keep=keep,
        recompute=recompute,
    )
    choice = choose_method(job, forced(method))
    tell(job, choice)
    done: Scan = METHODS[choice.method].run(job)
    return done


def _probe(
    cell: Cell,
    weights: Weights,
    x: Tensor,
    reverse: bool,
    noise: Values | None,
    probes: list[Probe],
) -> tuple[Cell, Values]:
    """Wrap the cell so that its state takes probes, and note them."""
    hidden = weights["weight_ih"].shape[0] // len(cell.gates)
    tensors = {
        name: x.new_zeros(*x.shape[:2], cell.width(name, hidden), requires_grad=True)
        for name in cell.state
    }
    probes.append(Probe(cell, tensors, reverse))
    return Probed(cell), (noise or {}) | {
        probe_name(name): tensor for name, tensor in tensors.items()
    }


class Choice(NamedTuple):
    """Which method runs, and why.

    Attributes:
        method: its name.
        why: one line.
        refused: by method, why it could not.
    """

    method: str
    why: str
    refused: dict[str, str]


WHY = {
    "vendor": "PyTorch's own operator runs a plain cell",
    "parallel": "the cell is linear in its state, so all steps run at once",
    "fused": "the native module runs the cell's own program",
    "loop": "the plain loop runs everything",
}

MEASURED: dict[type[Cell], str] = {
    LSTM: "1.2 times the speed of torch.nn.LSTM",
    GRU: "2.2 times torch.nn.GRU",
    Elman: "1.8 times torch.nn.RNN",
}
"""Fused, in training, on two cores with AVX-512: docs/decisions/0003 has the ranges."""


def _why(name: str, job: Job) -> str:
    """Why "auto" takes a method, with the figure of this cell, where there is one, and of which
    machine it is.
    """
    figure = MEASURED.get(type(job.cell)) if name == "fused" else None
    if figure is None:
        return WHY[name]
    return (
        f"{WHY[name]} ({figure} in training on two cores with AVX-512; `recurra bench` measures"
        " yours)"
    )


def choose_method(job: Job, method: str) -> Choice:
    """Resolve a method's name for a job: "auto" by the fixed rule, any other only if it fits."""
    if job.recompute:
        return _recomputing(job, method)
    if tracing() and method in ("auto", *METHODS):
        return _traced(job, method)
    if method == "auto":
        refused: dict[str, str] = {}
        for name in AUTO:
            why = METHODS[name].reason(job) or _passed_over(name, job)
            if why is None:
                return (
                    _by_loop(job, refused)
                    if name == "loop"
                    else Choice(name, _why(name, job), refused)
                )
            refused[name] = why
    if method not in METHODS:
        raise ArgumentError(choice_text("method", method, ["auto", *METHODS]))
    if (why := METHODS[method].reason(job)) is not None:
        raise MethodUnavailable(
            f"method {method!r} cannot run this: {why}; use method='auto' or 'loop'"
        )
    return Choice(method, "asked for", {})


def _by_loop(job: Job, refused: dict[str, str]) -> Choice:
    """The loop, and once for each cell a warning where it is slow for want of something that the
    caller can change.
    """
    advice = fused.advice(job) if len(job.x) > 1 else None
    if advice is None:
        return Choice("loop", WHY["loop"], refused)
    if (key := (repr(job.cell), refused["fused"])) not in _WARNED:
        _WARNED.add(key)
        text = f"{job.cell!r} runs step by step, many times slower than fused: {refused['fused']}"
        warnings.warn(
            f"{text}; {advice}, or pass method='loop' if it is meant", SlowWarning, stacklevel=5
        )
    return Choice("loop", f"{WHY['loop']}; to run it fused, {advice}", refused)


def _traced(job: Job, method: str) -> Choice:
    """What torch.jit.trace may record: PyTorch's operator, which takes any number of steps, or one
    step alone.
    """
    name = "vendor" if method == "auto" else method
    why = METHODS[name].reason(job)
    if why is None and name == "vendor":
        return Choice(name, WHY[name] if method == "auto" else "asked for", {})
    if job.x.shape[0] == 1 and (name == "loop" or method == "auto"):
        return Choice(
            "loop", "torch.jit.trace records one step", {} if why is None else {name: why}
        )
    reason = (
        why or "it would record the steps of this input, and go wrong on any other number of them"
    )
    raise MethodUnavailable(
        f"method {method!r} cannot run this while torch.jit.trace records it: {reason}; trace one"
        " step, or use torch.export, recurra.export.to_onnx or torch.onnx.export(dynamo=True)"
    )


def _recomputing(job: Job, method: str) -> Choice:
    """The one method that can find again what it did not hold."""
    if method not in ("auto", *METHODS):
        raise ArgumentError(choice_text("method", method, ["auto", *METHODS]))
    why = fused.reason(job) if method in ("auto", "fused") else f"only 'fused' does, got {method!r}"
    if why is not None:
        raise MethodUnavailable(
            f"recompute=True cannot run this: {why}; use method='checkpointed' without recompute"
        )
    return Choice("fused", "asked for" if method == "fused" else "recompute asks for it", {})


def _passed_over(name: str, job: Job) -> str | None:
    """Why "auto" leaves a method that could run the job: it would pack the weights for one step."""
    if (
        job.x.shape[0] == 1
        and job.x.device.type == "cpu"
        and isinstance(job.cell, PACKING.get(name, ()))
    ):
        if name == "fused" and fused.unpacked(job):
            return None
        return "it packs the weights at every call, which a single step does not repay"
    return None
