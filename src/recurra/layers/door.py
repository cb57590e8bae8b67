"""The door between torch.nn's forms of a batch and the one form inside: (T, B, I) with lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from recurra.errors import ArgumentError, DtypeError, ShapeError, shape_text


class Arrival(NamedTuple):
    """A batch as it is inside, and what is needed to give the output the form that the input had.

    Attributes:
        x: (T, B, I).
        lengths: (B,) or None.
        resets: (T, B) or None.
        unbatched: the input was one sequence (T, I).
        packed: the PackedSequence that came, or None; its rows are inside in its sorted order.
        order, back: row numbers from the caller's order to the sorted one and back, or None.
    """

    x: Tensor
    lengths: Any
    resets: Any
    unbatched: bool = False
    packed: PackedSequence | None = None
    order: Tensor | None = None
    back: Tensor | None = None


def enter(x: Any, batch_first: bool, input_size: int, lengths: Any, resets: Any) -> Arrival:
    """Bring a batch inside.

    Raises:
        ShapeError: `input` has the wrong number of axes or the wrong width.
        ArgumentError: a PackedSequence came together with lengths or resets.
    """
    if isinstance(x, PackedSequence):
        if lengths is not None or resets is not None:
            raise ArgumentError(
                "lengths and resets must be None for a PackedSequence, got one; pass the padded"
                " tensor instead"
            )
        _check_width(x.data, input_size, ("N", input_size), 2)
        padded, row_lengths = pad_packed_sequence(
            x._replace(sorted_indices=None, unsorted_indices=None)
        )
        return Arrival(
            padded,
            row_lengths.to(padded.device),
            None,
            False,
            x,
            x.sorted_indices,
            x.unsorted_indices,
        )
    if not isinstance(x, Tensor):
        raise DtypeError(f"input must be a tensor or a PackedSequence, got {type(x).__name__}")
    if x.ndim == 2:
        _check_width(x, input_size, ("T", input_size), 2)
        return _enter_one(x, lengths, resets)
    _check_width(
        x, input_size, ("B", "T", input_size) if batch_first else ("T", "B", input_size), 3
    )
    if batch_first:
        x, resets = turn_time_first(x, resets)
    return Arrival(x, lengths, resets)


def turn_time_first(x: Tensor, resets: Any) -> tuple[Tensor, Any]:
    """A batch (B, T, ...) and its resets (B, T), or None, with the time in front.

    Raises:
        ShapeError: `resets` has not the first axes of `x`.

    >>> turn_time_first(torch.zeros(2, 5, 3), None)[0].shape
    torch.Size([5, 2, 3])
    """
    if resets is not None:
        resets = torch.as_tensor(resets, device=x.device)
        if resets.shape != x.shape[:2]:
            wanted = shape_text(x.shape[:2])
            raise ShapeError(
                f"resets must have shape {wanted}, as the first axes of input, got"
                f" {shape_text(resets.shape)}"
            )
        resets = resets.transpose(0, 1)
    return x.transpose(0, 1), resets


def _enter_one(x: Tensor, lengths: Any, resets: Any) -> Arrival:
    """Bring one sequence (T, I) inside, as a batch of one."""
    if lengths is not None:
        lengths = torch.as_tensor(lengths, device=x.device)
        if lengths.numel() != 1:
            raise ShapeError(
                "lengths must be one number for one sequence, got shape"
                f" {shape_text(lengths.shape)}"
            )
        lengths = lengths.reshape(1)
    if resets is not None:
        resets = torch.as_tensor(resets, device=x.device)
        if tuple(resets.shape) != (len(x),):
            raise ShapeError(
                f"resets must have shape ({len(x)},) for one sequence, got"
                f" {shape_text(resets.shape)}"
            )
        resets = resets[:, None]
    return Arrival(x[:, None], lengths, resets, unbatched=True)


def leave(y: Tensor, came: Arrival, batch_first: bool) -> Any:
    """Give an output (T, B, .) the form of the input."""
    if came.packed is not None:
        packed = pack_padded_sequence(y, came.lengths.cpu())
        return PackedSequence(
            packed.data,
            packed.batch_sizes,
            came.packed.sorted_indices,
            came.packed.unsorted_indices,
        )
    if came.unbatched:
        return y.squeeze(1)
    return y.transpose(0, 1) if batch_first else y


def enter_state(
    hx: Any, widths: Mapping[str, int], layers: int, came: Arrival
) -> list[tuple[Tensor, ...]]:
    """From torch's (L*D, B, H) to one state for each layer and direction.

    Raises:
        ShapeError: `hx` is not one such tensor for each of `widths`.
    """
    values = hx if len(widths) > 1 else (hx,)
    if not isinstance(values, (tuple, list)) or len(values) != len(widths):
        got = (
            f"a {type(values).__name__} of {len(values)}"
            if isinstance(values, (tuple, list))
            else type(values).__name__
        )
        raise ShapeError(f"hx must be a tuple ({', '.join(widths)}), got {got}")
    entered = []
    for (name, width), value in zip(widths.items(), values):
        if not isinstance(value, Tensor):
            raise ShapeError(f"hx must hold tensors, got {type(value).__name__}")
        wanted = (layers, *([] if came.unbatched else [came.x.shape[1]]), width)
        if tuple(value.shape) != wanted:
            raise ShapeError(
                f"hx ({name}) must have shape {shape_text(wanted)}, got {shape_text(value.shape)}"
            )
        value = value.unsqueeze(1) if came.unbatched else value
        entered.append(value if came.order is None else value.index_select(1, came.order))
    return [tuple(parts) for parts in zip(*(value.unbind(0) for value in entered))]


def leave_state(finals: Sequence[Any], count: int, came: Arrival) -> Any:
    """From one state for each layer and direction to torch's; `count` values of each."""
    values = [torch.stack([final[i] for final in finals]) for i in range(count)]
    values = [value.squeeze(1) if came.unbatched else value for value in values]
    values = [value if came.back is None else value.index_select(1, came.back) for value in values]
    return tuple(values) if len(values) > 1 else values[0]


def _check_width(x: Tensor, input_size: int, wanted: tuple[int | str, ...], axes: int) -> None:
    if x.ndim != axes or x.shape[-1] != input_size:
        also = f" or (T, {input_size}) for one sequence" if axes == 3 else ""
        raise ShapeError(
            f"input must have shape {shape_text(wanted)}{also}, got {shape_text(x.shape)}"
        )
