"""Carried state: detach, reset, select, concatenate, save and load, without knowing whose it is.

A state is a tensor, None (a mask that is not in use), or a tuple of states; every tensor has the
batch at axis -2.
"""

from __future__ import annotations

from recurra.errors import import_for

import_for(__name__, "torch")

import json
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from recurra.cells.named import named_type
from recurra.checksum import checksum
from recurra.durable import write_durably
from recurra.errors import DataError, DtypeError, RunError, ShapeError, reason, shape_text
from recurra.regular_file import check_regular
from recurra.rows import row_numbers


def transform(state: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Apply `change` to every tensor of a state, keeping its shape as a tree."""
    if state is None:
        return None
    if isinstance(state, Tensor):
        return change(state)
    if not isinstance(state, tuple):
        raise DtypeError(f"state must be a tensor or a tuple of states, got {type(state).__name__}")
    parts = [transform(part, change) for part in state]
    return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)


def detach(state: Any) -> Any:
    """Cut the graph: the same values, without history. Truncated backpropagation carries this.

    >>> detach((torch.ones(1, 2, requires_grad=True) * 2,))[0].requires_grad
    False
    """
    return transform(state, Tensor.detach)


def redraw(state: Any) -> Any:
    """Drop the masks that last a sequence (dropout), so that the next call draws new ones.

    >>> redraw(named_type("State", ("h", "dropout_h"))(1, 2))
    State(h=1, dropout_h=None)
    """
    if hasattr(state, "_fields"):
        return type(state)(
            *(None if _is_mask(name) else redraw(part) for name, part in zip(state._fields, state))
        )
    return tuple(redraw(part) for part in state) if isinstance(state, tuple) else state


def _is_mask(name: str) -> bool:
    return name == "mask" or name.startswith("dropout")


def batch_size(state: Any) -> int | None:
    """B of a state; None for one without tensors.

    >>> batch_size((torch.zeros(2, 5, 3), None))
    5
    """
    if isinstance(state, Tensor):
        return state.shape[-2]
    sizes = [batch_size(part) for part in state or ()]
    return next((size for size in sizes if size is not None), None)


def reset(state: Any, rows: Sequence[int] | Tensor, initial: Any = None) -> Any:
    """Set some rows back to the first state, leaving the others.

    Args:
        state: the state.
        rows: which rows: their numbers, each once, or (B,) bool.
        initial: the first state, of the same form; zero if None.

    Returns:
        A new state.

    Raises:
        ShapeError: a mask or `initial` does not fit the state.
        ArgumentError: `rows` are no row numbers, or zeros and ones that look like a mask.

    >>> reset((torch.ones(2, 1),), [0])[0].flatten()
    tensor([0., 1.])
    """
    if initial is None:
        initial = transform(state, torch.zeros_like)
    else:
        same_form(initial, state)

    def merge(now: Any, first: Any) -> Any:
        if isinstance(now, tuple):
            parts = [merge(n, f) for n, f in zip(now, first)]
            return type(now)(*parts) if hasattr(now, "_fields") else tuple(parts)
        if now is None or first is None:
            return now
        axis, numbers = now.ndim - 2, row_indices(rows, now.shape[-2]).to(now.device)
        return now.index_copy(axis, numbers, first.index_select(axis, numbers))

    return merge(state, initial)


def select(state: Any, rows: Sequence[int] | Tensor) -> Any:
    """Take some rows, in the order given; a row may be taken twice.

    Args:
        state: the state.
        rows: which rows: their numbers, or (B,) bool.

    Raises:
        ShapeError: a mask does not fit the batch.
        ArgumentError: `rows` are no row numbers, or an array of zeros and ones that looks like a
            mask.

    >>> select((torch.arange(3.0)[:, None],), [2, 0])[0].flatten()
    tensor([2., 0.])
    """

    def take(value: Tensor) -> Tensor:
        return value.index_select(
            value.ndim - 2, row_indices(rows, value.shape[-2], repeated=True).to(value.device)
        )

    return transform(state, take)


def row_indices(rows: Any, batch: int, *, repeated: bool = False) -> Tensor:
    """Row numbers, from numbers or a mask, on the CPU; the rules are `recurra.rows.row_numbers`'s.

    >>> row_indices(torch.tensor([True, False, True]), 3)
    tensor([0, 2])
    """
    if isinstance(rows, Tensor):
        rows = rows.detach().cpu()
        rows = (rows.double() if rows.is_floating_point() else rows).numpy()
    return torch.from_numpy(row_numbers(rows, batch, repeated=repeated))


def concat(states: Sequence[Any]) -> Any:
    """Put the rows of several states of one form together.

    Raises:
        ShapeError: the states have different forms.

    >>> concat([(torch.zeros(1, 2),), (torch.ones(2, 2),)])[0].shape
    torch.Size([3, 2])
    """
    if not states:
        raise ShapeError("states must hold at least one state, got none")
    first = states[0]
    if first is None or isinstance(first, Tensor):
        if any((state is None) != (first is None) or isinstance(state, tuple) for state in states):
            raise ShapeError(
                "states must have one form, got some with a value where others have none"
            )
        return None if first is None else torch.cat(list(states), dim=-2)
    if any(not isinstance(state, tuple) or len(state) != len(first) for state in states):
        raise ShapeError(
            f"states must have one form, a tuple of {len(first)}, got others; they come from"
            " different models"
        )
    parts = [concat(parts) for parts in zip(*states)]
    return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)


def flatten(state: Any, name: str = "state") -> tuple[Any, dict[str, Tensor]]:
    """Take a state apart into its form, which JSON can hold, and its tensors, each a copy.

    Args:
        state: the state.
        name: what the tensors' names begin with.

    >>> flatten((torch.ones(1, 2), None))[0]
    {'fields': None, 'parts': ['state.0', None]}
    """
    tensors: dict[str, Tensor] = {}
    return _form(state, name, tensors), tensors


def unflatten(form: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Put a state together again.

    Raises:
        KeyError, TypeError: `form` is none that `flatten` gave, or a tensor is missing.

    >>> unflatten(*flatten((torch.ones(1, 2), None)))
    (tensor([[1., 1.]]), None)
    """
    if form is None or isinstance(form, str):
        return form and tensors[form]
    parts = [unflatten(part, tensors) for part in form["parts"]]
    return (
        tuple(parts)
        if form["fields"] is None
        else named_type("State", tuple(form["fields"]))(*parts)
    )


def save(state: Any, path: str | PathLike[str]) -> None:
    """Write a state to a safetensors file, whole or not at all; its form and a checksum go into the
    header.

    Raises:
        RunError: the file cannot be written.
    """
    form, tensors = flatten(state)
    text = json.dumps(form)
    header = {"recurra_state": text, "crc32": str(checksum(text, tensors))}
    try:
        write_durably(Path(path), lambda beside: save_file(tensors, beside, metadata=header))
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"path must be a file that can be written, got {str(path)!r} ({reason(error)})"
        ) from None


def load(path: str | PathLike[str]) -> Any:
    """Read a state written by `save`. Nothing in the file is executed.

    Raises:
        DataError: the file is missing, damaged, or not a saved state.
    """
    try:
        check_regular(path)
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        text = header["recurra_state"]
        if header["crc32"] != str(checksum(text, tensors)):
            raise ValueError("its checksum is another; it is damaged")
        return unflatten(json.loads(text), tensors)
    except Exception as error:  # a file may say anything
        raise DataError(
            f"path must be a state saved by recurra.state.save, got {str(path)!r} ({reason(error)})"
        ) from None


def _form(state: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    if state is None:
        return None
    if isinstance(state, Tensor):
        tensors[name] = state.detach().clone(
            memory_format=torch.contiguous_format
        )  # no two may share memory in the file
        return name
    labels = getattr(state, "_fields", range(len(state)))
    parts = [_form(part, f"{name}.{label}", tensors) for label, part in zip(labels, state)]
    return {"fields": list(labels) if hasattr(state, "_fields") else None, "parts": parts}


def same_form(state: Any, other: Any) -> None:
    """Raise unless two states have the same form and shapes; the message names both shapes."""
    if isinstance(state, tuple) and isinstance(other, tuple) and len(state) == len(other):
        for left, right in zip(state, other):
            same_form(left, right)
    elif isinstance(state, Tensor) and isinstance(other, Tensor):
        if state.shape != other.shape:
            raise ShapeError(
                f"state must have shape {shape_text(other.shape)}, got {shape_text(state.shape)}"
            )
    elif state is not None and other is not None:
        raise ShapeError(
            "state must have the form of this model's, got another; it comes from a different model"
        )
