"""Weights as textbooks print them, taken over exactly."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recurra.cells import LSTM, Cell, Elman, ResetBeforeGRU
from recurra.errors import ConversionError, DtypeError, ShapeError, shape_text

ELMAN = ("W_h", "W_x", "b")
JOINED: dict[str, tuple[type[Cell], str]] = {"LSTM": (LSTM, "ifco"), "GRU": (ResetBeforeGRU, "rzh")}
"""The forms whose W act on [h, x]: their cell, and the printed letter of each of its gates, in the
cell's order.
"""

PRINTED = {
    "RNN": ELMAN,
    "LSTM": ("W_f", "b_f", "W_i", "b_i", "W_c", "b_c", "W_o", "b_o"),
    "GRU": ("W_z", "b_z", "W_r", "b_r", "W_h", "b_h"),
}
OUTPUT = {"W_y", "b_y"}


def from_textbook(**weights: Any) -> tuple[Cell, dict[str, Tensor]]:
    """Take over the weights of a recurrent network as textbooks print them; the form is recognised
    by the names.

        RNN     h_t  = tanh(W_h h_{t-1} + W_x x_t + b)

        LSTM    f_t  = sigmoid(W_f [h_{t-1}, x_t] + b_f)
                i_t  = sigmoid(W_i [h_{t-1}, x_t] + b_i)
                c~_t = tanh(W_c [h_{t-1}, x_t] + b_c)
                c_t  = f_t * c_{t-1} + i_t * c~_t
                o_t  = sigmoid(W_o [h_{t-1}, x_t] + b_o)
                h_t  = o_t * tanh(c_t)

        GRU     z_t  = sigmoid(W_z [h_{t-1}, x_t] + b_z)
                r_t  = sigmoid(W_r [h_{t-1}, x_t] + b_r)
                h~_t = tanh(W_h [r_t * h_{t-1}, x_t] + b_h)
                h_t  = (1 - z_t) * h_{t-1} + z_t * h~_t

    The textbook's GRU resets before its product: another cell than torch.nn.GRU.  The output layer,
    y_t = softmax(W_y h_t + b_y), is no part of the cell; its weights go into a torch.nn.Linear.

    Args:
        **weights: NumPy arrays, nested lists or tensors, by their printed names.
            RNN: `W_h` (H, H), `W_x` (H, I), `b` (H,).
            LSTM: `W_f`, `W_i`, `W_c`, `W_o` (H, H + I), h first; `b_f`, `b_i`, `b_c`, `b_o` (H,).
            GRU: `W_z`, `W_r`, `W_h` (H, H + I), h first; `b_z`, `b_r`, `b_h` (H,).

    Returns:
        The cell (`Elman`, `LSTM` or `ResetBeforeGRU`) and its weights with one bias: `weight_ih`
        (G*H, I), `weight_hh` (G*H, H) and `bias_ih` (G*H,), copies in the widest dtype given; lists
        and integers count as float64.

    Raises:
        ConversionError: a name is missing, or belongs to no form or to another one.
        ShapeError: a weight does not fit; names it and both shapes.
        DtypeError: a weight does not hold real numbers, or lies on another device than the rest.

    Source: Elman (1990), doi:10.1207/s15516709cog1402_1; Gers et al. (2000),
        doi:10.1162/089976600300015015; Chung et al. (2014), arXiv:1412.3555; with [h, x] joined as
        in Olah (2015), Understanding LSTM Networks.

    >>> cell, weights = from_textbook(W_h=[[0.5]], W_x=[[1.0, 2.0]], b=[0.0])
    >>> cell, {name: tuple(weight.shape) for name, weight in weights.items()}
    (Elman(nonlinearity='tanh'), {'weight_ih': (1, 2), 'weight_hh': (1, 1), 'bias_ih': (1,)})
    """
    form = _form(weights)
    tensors = _tensors({name: weights[name] for name in PRINTED[form]})
    if form == "RNN":
        return Elman(), _elman(tensors)
    cell, letters = JOINED[form]
    return cell(), _joined(tensors, letters)


def _form(weights: dict[str, Any]) -> str:
    """The form that the names belong to."""
    given = set(weights)
    form = max(
        PRINTED,
        key=lambda name: (len(given & set(PRINTED[name])), -len(set(PRINTED[name]) - given)),
    )
    names = PRINTED[form]
    if not given & set(names):
        forms = "; ".join(f"{', '.join(printed)} ({name})" for name, printed in PRINTED.items())
        raise ConversionError(
            f"weights must be named as one printed form, got {_listed(weights)}; the forms are"
            f" {forms}"
        )
    missing = [name for name in names if name not in given]
    for name in weights:
        if name in OUTPUT:
            raise ConversionError(
                f"weights must be the recurrent layer's alone, got {name!r}; load W_y and b_y into"
                " a torch.nn.Linear"
            )
        if name not in names:
            near = difflib.get_close_matches(name, missing, n=1, cutoff=0.5)
            advice = f"did you mean {near[0]!r}?" if near else "leave it out"
            raise ConversionError(
                f"weights of the {form} must be named {', '.join(names)}, got {name!r}; {advice}"
            )
    if missing:
        got, zeros = (
            _listed(weights),
            (
                " (a bias that is not there is zeros)"
                if all(name[0] == "b" for name in missing)
                else ""
            ),
        )
        raise ConversionError(
            f"weights of the {form} must be {', '.join(names)}, got {got}; add"
            f" {', '.join(missing)}{zeros}"
        )
    return form


def _listed(names: Any) -> str:
    return ", ".join(names) or "none"


def _tensors(weights: dict[str, Any]) -> dict[str, Tensor]:
    """Copies in one floating dtype, on one device."""
    tensors = {name: _tensor(name, value) for name, value in weights.items()}
    first, *rest = tensors
    dtype = tensors[first].dtype
    for name in rest:
        if tensors[name].device != tensors[first].device:
            raise DtypeError(
                f"{name} must be on {tensors[first].device} like {first}, got"
                f" {tensors[name].device}; move it with .to()"
            )
        dtype = torch.promote_types(dtype, tensors[name].dtype)
    return {name: tensor.to(dtype) for name, tensor in tensors.items()}


def _tensor(name: str, value: Any) -> Tensor:
    """A copy of real numbers as a tensor, detached; integers become float64."""
    if isinstance(value, Tensor):
        tensor = value.detach().clone()
    else:
        try:
            array = np.array(value)
        except ValueError:
            raise ShapeError(
                f"{name} must have rows of one length, got ragged ones; fill them up or leave the"
                " longer ones out"
            ) from None
        if array.dtype.kind not in "fiu":
            raise DtypeError(f"{name} must hold real numbers, got {array.dtype}; pass floats")
        tensor = torch.from_numpy(array.astype(_native(array.dtype), order="C"))
    if tensor.is_complex() or tensor.dtype == torch.bool:
        raise DtypeError(f"{name} must hold real numbers, got {tensor.dtype}; pass floats")
    return tensor if tensor.is_floating_point() else tensor.to(torch.float64)


def _native(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """A dtype that torch has, too: float16 to float64 in this machine's byte order; float64 for all
    others.
    """
    return (
        dtype.newbyteorder("=")
        if dtype.kind == "f" and dtype.itemsize <= 8
        else np.dtype(np.float64)
    )


def _elman(p: dict[str, Tensor]) -> dict[str, Tensor]:
    W_h, W_x = p["W_h"], p["W_x"]
    units = W_h.shape[0] if W_h.dim() else 0
    _check("W_h", W_h, (units or "H", units or "H"))
    _check("W_x", W_x, (units, W_x.shape[1] if W_x.dim() == 2 and W_x.shape[1] else "I"))
    _check("b", p["b"], (units,))
    return {"weight_ih": W_x, "weight_hh": W_h, "bias_ih": p["b"]}


def _joined(p: dict[str, Tensor], letters: str) -> dict[str, Tensor]:
    """Split each W (H, H + I) into what acts on h and what acts on x; stack the gates in the cell's
    order.
    """
    first, *rest = [name for name in p if name.startswith("W")]
    shape = tuple(p[first].shape)
    if len(shape) != 2 or not 0 < shape[0] < shape[1]:
        turned = (
            "transpose it"
            if len(shape) == 2 and shape[0] > shape[1] > 0
            else "its columns are those of h, then those of x"
        )
        raise ShapeError(f"{first} must have shape (H, H + I), got {shape_text(shape)}; {turned}")
    units = shape[0]
    for name in rest:
        _check(name, p[name], shape)
    for letter in letters:
        _check(f"b_{letter}", p[f"b_{letter}"], (units,))
    stacked = torch.cat([p[f"W_{letter}"] for letter in letters])
    bias = torch.cat([p[f"b_{letter}"] for letter in letters])
    return {
        "weight_ih": stacked[:, units:].contiguous(),
        "weight_hh": stacked[:, :units].contiguous(),
        "bias_ih": bias,
    }


def _check(name: str, tensor: Tensor, shape: Sequence[int | str]) -> None:
    """Refuse a tensor of another shape than this one."""
    if tuple(tensor.shape) != tuple(shape):
        raise ShapeError(
            f"{name} must have shape {shape_text(shape)}, got {shape_text(tensor.shape)}"
        )
