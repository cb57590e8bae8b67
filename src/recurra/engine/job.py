"""What a scan is to do, checked and completed: every method gets the same `Job` and returns a
`Scan`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recurra.cells import Cell
from recurra.cells.values import Values, Weights
from recurra.check import check_flag
from recurra.engine.transforms import batched
from recurra.errors import ArgumentError, DtypeError, ShapeError, choice_text, shape_text

KEEPS = ("states", "gates")


class Scan(NamedTuple):
    """What a scan gives back.

    Attributes:
        h: (T, B, width of h), the output of each step; zero past a row's length.
        final: the state after the last step.
        states: every step's state, each value (T, B, width), if asked for.
        gates: every step's gates, each (T, B, H), zero past a row's length, if asked for.
    """

    h: Tensor
    final: Any
    states: Any = None
    gates: Any = None


@dataclass(frozen=True)
class Job:
    """One scan, with every argument checked.

    Attributes:
        x: (T, B, I); what is past a row's length must not be read: `clean_x` is zero there.
        state: the state to begin with.
        initial: the state that a reset gives: the layer's own. Without resets, the same as `state`.
        lengths: (B,) int64, or None.
        valid, resets: (T, B) bool, or None; resets are False past a row's length.
        noise: random factors, (T, B, width) or, lasting, in the state; None at evaluation.
        recompute: hold only the states for the backward pass, and find the rest again.
    """

    cell: Cell
    weights: Weights
    x: Tensor
    state: Any
    initial: Any
    lengths: Tensor | None
    valid: Tensor | None
    resets: Tensor | None
    reverse: bool
    noise: Values | None
    keep: frozenset[str]
    recompute: bool = False

    @property
    def cell_text(self) -> str:
        """How the cell prints; torch.compile, which cannot follow a dataclass's own text, sees its
        name only.
        """
        return type(self.cell).__name__ if torch.compiler.is_compiling() else repr(self.cell)

    @property
    def clean_x(self) -> Tensor:
        """x, zero past a row's length."""
        if self.valid is None:
            return self.x
        return torch.where(
            self.valid[..., None], self.x, torch.zeros((), dtype=self.x.dtype, device=self.x.device)
        )

    @property
    def hidden_size(self) -> int:
        """H, read off the weights."""
        return self.weights["weight_ih"].shape[0] // len(self.cell.gates)

    def part(self, start: int, stop: int, state: Any) -> Job:
        """The same job over steps start..stop only, from another state."""

        def cut(steps: Tensor | None) -> Tensor | None:
            return None if steps is None else steps[start:stop]

        noise = self.noise and {name: factor[start:stop] for name, factor in self.noise.items()}
        lengths = None if self.lengths is None else (self.lengths - start).clamp(0, stop - start)
        return replace(
            self,
            x=self.x[start:stop],
            state=state,
            lengths=lengths,
            valid=cut(self.valid),
            resets=cut(self.resets),
            noise=noise,
        )


def prepare(
    cell: Cell,
    weights: Weights,
    x: Tensor,
    state: Any,
    *,
    lengths: Any = None,
    resets: Any = None,
    reverse: bool = False,
    noise: Values | None = None,
    keep: Iterable[str] = (),
    recompute: bool = False,
) -> Job:
    """Check the arguments of `scan` and make a job of them."""
    if not isinstance(cell, Cell):
        raise ArgumentError(
            f"cell must be a cell, got {cell!r}; write recurra.cells.LSTM(), for example"
        )
    check_weights(cell, weights)
    check_flag("reverse", reverse)
    check_flag("recompute", recompute)
    check_together(weights)
    _check_x(weights, x)
    steps, rows = x.shape[:2]
    lengths = check_lengths(lengths, steps, rows, x.device)
    resets = check_resets(resets, steps, rows, x.device)
    valid = None if lengths is None else torch.arange(steps, device=x.device)[:, None] < lengths
    if valid is not None:
        resets = None if resets is None else resets & valid
    keeps = frozenset(keep)
    for name in keeps - set(KEEPS):
        raise ArgumentError(choice_text("keep", name, KEEPS))
    drawn, masks = _split_noise(cell, weights["weight_ih"].shape[0] // len(cell.gates), noise, x)
    initial = (
        initial_state(cell, weights, x, masks) if state is None or resets is not None else None
    )
    state = initial if state is None else check_state(cell, weights, state, x, masks)
    if initial is None:
        initial = state
    elif lasting := cell.lasting():
        initial = initial._replace(**{name: getattr(state, name) for name in lasting})
    return Job(
        cell, weights, x, state, initial, lengths, valid, resets, reverse, drawn, keeps, recompute
    )


def check_weights(cell: Cell, weights: Weights) -> None:
    """Raise unless the weights are this cell's: every name there, every shape right."""
    if torch.compiler.is_compiling():
        return
    if (
        "weight_ih" not in weights
        or weights["weight_ih"].ndim != 2
        or weights["weight_ih"].shape[0] % len(cell.gates)
    ):
        got = shape_text(weights["weight_ih"].shape) if "weight_ih" in weights else "none"
        raise ShapeError(
            f"weights['weight_ih'] must have shape ({len(cell.gates)} H, I) for {cell!r}, got {got}"
        )
    rows, width = weights["weight_ih"].shape
    hidden = rows // len(cell.gates)
    shapes = cell.weights(width, hidden, ("bias_ih" in weights) + ("bias_hh" in weights))
    first = {
        f"initial_{name}": (cell.width(name, hidden),)
        for name in cell.state
        if f"initial_{name}" in weights
    }
    shapes |= {
        name: shape if weights[name].ndim == 1 else (len(weights[name]), *shape)
        for name, shape in first.items()
    }
    for name in shapes.keys() | weights.keys():
        if name not in shapes:
            raise ArgumentError(choice_text("weights", name, shapes))
        if name not in weights or tuple(weights[name].shape) != shapes[name]:
            got = shape_text(weights[name].shape) if name in weights else "none"
            raise ShapeError(
                f"weights[{name!r}] must have shape {shape_text(shapes[name])} for {cell!r}, got"
                f" {got}"
            )


def _check_x(weights: Weights, x: Any) -> None:
    if not isinstance(x, Tensor):
        raise DtypeError(f"x must be a tensor, got {type(x).__name__}; use torch.as_tensor")
    weight = weights["weight_ih"]
    if x.ndim != 3 or x.shape[-1] != weight.shape[1]:
        raise ShapeError(f"x must have shape (T, B, {weight.shape[1]}), got {shape_text(x.shape)}")
    if not x.shape[0] or not x.shape[1]:
        raise ShapeError(
            f"x must have at least one step and one row, got shape {shape_text(x.shape)}"
        )
    check_placement("x", x, weight)


def check_together(weights: Weights) -> None:
    """Raise unless every weight is on the device of `weight_ih` and, but for autocast, of its
    dtype.
    """
    first = weights["weight_ih"]
    for name, weight in weights.items():
        if weight.device != first.device:
            use = (
                "load the weights first"
                if weight.device.type == "meta"
                else f"move the whole module to {str(first.device)!r}"
            )
            raise DtypeError(
                f"weights[{name!r}] must be on the device of weights['weight_ih'], {first.device},"
                f" got {weight.device}; {use}"
            )
        if weight.dtype != first.dtype and not autocasting(first.device):
            raise DtypeError(
                f"weights[{name!r}] must have the dtype of weights['weight_ih'], {first.dtype}, got"
                f" {weight.dtype}; use weight.to({first.dtype})"
            )


def check_placement(name: str, x: Tensor, weight: Tensor) -> None:
    """Raise unless an input has the device and, but for autocast, the dtype of the weights."""
    if x.device != weight.device:
        raise DtypeError(
            f"{name} must be on the device of the weights, {weight.device}, got {x.device}; use"
            f" x.to({str(weight.device)!r})"
        )
    if x.dtype != weight.dtype and not autocasting(x.device):
        raise DtypeError(
            f"{name} must have the dtype of the weights, {weight.dtype}, got {x.dtype}; use"
            f" x.to({weight.dtype})"
        )


def check_lengths(lengths: Any, steps: int, rows: int, device: torch.device) -> Tensor | None:
    """Return `lengths` as int64 (B,), each within 0..T."""
    if lengths is None:
        return None
    counts: Tensor = torch.as_tensor(lengths, device=device)
    if counts.dtype.is_floating_point or counts.dtype == torch.bool:
        raise DtypeError(f"lengths must be whole numbers, got {counts.dtype}")
    if tuple(counts.shape) != (rows,):
        raise ShapeError(
            f"lengths must have shape ({rows},), one for each row, got {shape_text(counts.shape)}"
        )
    if not torch.compiler.is_compiling() and not batched(
        counts
    ):  # each of vmap's own is clamped to 0..T by the comparison with steps
        low, high = int(counts.min()), int(counts.max())
        if low < 0 or high > steps:
            raise ArgumentError(
                f"lengths must be between 0 and T = {steps}, got {low if low < 0 else high}"
            )
    return counts.long()


def check_resets(resets: Any, steps: int, rows: int, device: torch.device) -> Tensor | None:
    """Return `resets` as bool (T, B)."""
    if resets is None:
        return None
    starts: Tensor = torch.as_tensor(resets, device=device)
    if tuple(starts.shape) != (steps, rows):
        raise ShapeError(
            f"resets must have shape ({steps}, {rows}), as the first axes of x, got"
            f" {shape_text(starts.shape)}"
        )
    if starts.dtype.is_floating_point:
        raise DtypeError(
            f"resets must be bool, True where a step begins a new segment, got {starts.dtype}"
        )
    return starts.bool()


def autocasting(device: torch.device) -> bool:
    """Whether autocast is on for a device; torch has no answer for "meta"."""
    return device.type != "meta" and torch.is_autocast_enabled(device.type)


def state_dtype(x: Tensor) -> torch.dtype:
    """The dtype that a state has: that of x, or autocast's."""
    return torch.get_autocast_dtype(x.device.type) if autocasting(x.device) else x.dtype


def initial_state(cell: Cell, weights: Weights, x: Tensor, masks: Mapping[str, Tensor]) -> Any:
    """The layer's own first state: learned where the weights hold `initial_h` and so on, else
    zero.
    """
    rows, hidden = x.shape[1], weights["weight_ih"].shape[0] // len(cell.gates)
    values = []
    for name in cell.state:
        learned = weights.get(f"initial_{name}")
        if learned is not None and learned.ndim == 2 and len(learned) != rows:
            raise ShapeError(
                f"weights['initial_{name}'] must have one row or B = {rows}, got {len(learned)}"
            )
        shape = (rows, cell.width(name, hidden))
        zero = x.new_zeros(shape, dtype=state_dtype(x))
        values.append(zero if learned is None else learned.to(zero.dtype).expand(shape))
    return cell.state_type()(*values, *(masks.get(name) for name in cell.lasting()))


def check_state(
    cell: Cell, weights: Weights, state: Any, x: Tensor, masks: Mapping[str, Tensor]
) -> Any:
    """Return a given state as the cell's own type, every value of the right shape and dtype."""
    fields = cell.state + cell.lasting()
    if not isinstance(state, tuple) or len(state) not in (len(fields), len(cell.state)):
        got = (
            f"{type(state).__name__} of {len(state)}"
            if isinstance(state, tuple)
            else type(state).__name__
        )
        raise ShapeError(
            f"state must be a tuple ({', '.join(fields)}), got {got}; {cell!r} makes it"
        )
    if hasattr(state, "_fields") and state._fields[: len(cell.state)] != cell.state:
        raise ShapeError(
            f"state must have the values {cell.state} of {cell!r}, got {state._fields}; it is"
            " another cell's"
        )
    hidden = weights["weight_ih"].shape[0] // len(cell.gates)
    values = [
        check_value(f"state.{name}", value, (x.shape[1], cell.width(name, hidden)), x)
        for name, value in zip(cell.state, state)
    ]
    if not masks:
        return cell.state_type()(*values, *[None] * len(cell.lasting()))
    carried = dict(zip(cell.lasting(), state[len(cell.state) :]))
    for name, mask in carried.items():
        if mask is None:
            carried[name] = masks.get(name)
        else:
            carried[name] = _check_factor(
                f"state.{name}", mask, (x.shape[1], cell.width(cell.noises()[name].of, hidden)), x
            )
    return cell.state_type()(
        *values, *(carried.get(name, masks.get(name)) for name in cell.lasting())
    )


def check_value(name: str, value: Any, shape: tuple[int, ...], x: Tensor) -> Tensor:
    """Return one value of a state after looking at its shape, device and dtype."""
    tensor, wanted = _check_factor(name, value, shape, x), state_dtype(x)
    if tensor.dtype not in (wanted, x.dtype):
        raise DtypeError(f"{name} must have the dtype of x, {x.dtype}, got {tensor.dtype}")
    return tensor.to(wanted)


def _split_noise(
    cell: Cell, hidden: int, noise: Values | None, x: Tensor
) -> tuple[Values | None, Values]:
    """Sort noise into what is drawn each step and the masks that ride in the state."""
    if noise is None:
        return None, {}
    known = cell.noises()
    for name, factor in noise.items():
        if name not in known:
            raise ArgumentError(
                choice_text("noise", name, known)
                if known
                else f"noise must be None for {cell!r}, got {name!r}"
            )
        axes = x.shape[1:2] if known[name].lasting else x.shape[:2]
        _check_factor(f"noise[{name!r}]", factor, (*axes, cell.width(known[name].of, hidden)), x)
    each_step = {name: factor for name, factor in noise.items() if not known[name].lasting}
    return each_step, {name: factor for name, factor in noise.items() if known[name].lasting}


def _check_factor(name: str, factor: Any, shape: tuple[int, ...], x: Tensor) -> Tensor:
    """Return a random factor after looking at its shape and device; its dtype may be wider than
    autocast's.
    """
    if not isinstance(factor, Tensor):
        raise DtypeError(f"{name} must be a tensor, got {type(factor).__name__}")
    if tuple(factor.shape) != shape:
        raise ShapeError(
            f"{name} must have shape {shape_text(shape)}, got {shape_text(factor.shape)}; nothing"
            " is broadcast"
        )
    if factor.device != x.device:
        raise DtypeError(f"{name} must be on the device of x, {x.device}, got {factor.device}")
    return factor
