"""Convolutions over time that look back only: padding before, the Conv1d, and cutting off what is
too much.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from recurra.errors import ConversionError
from recurra.export.torch_flow import Flow, Path
from recurra.network import Conv
from recurra.wording import count_text

Array = npt.NDArray[Any]


def padded(path: Path, name: str, flow: Flow, pads: Any, value: Any) -> Flow:
    """A flow with zeros before its first step; `pads` counts them from the last axis, as
    torch.nn.functional.pad's.

    Raises:
        ConversionError: it pads something else, or after the last step.
    """
    pairs = list(zip(pads[::2], pads[1::2]))
    padding = [number for number, pair in enumerate(pairs, 1) if pair != (0, 0)]
    if not padding:
        return flow
    if len(padding) > 1 or any(not isinstance(count, int) for count in pads):
        raise ConversionError(f"{name} must pad the axis of time only, got {tuple(pads)}")
    path.narrow(
        name,
        flow,
        lambda now: now[-padding[0] :][:1] == "T",
        f"pad the axis of time only, which {tuple(pads)} does not do",
    )
    before, after = pairs[padding[0] - 1]
    if after < 0 and not before:
        return cut(name, flow, -after)
    if before < 0 or after:
        raise ConversionError(
            f"{name} must pad before the first step only to be causal, got {(before, after)}; use"
            f" {(before + after, 0)}"
        )
    if value:
        raise ConversionError(f"{name} must pad with zeros, got {value}")
    path.check_whole(name, replace(flow, early=0))
    return replace(flow, early=flow.early + before)


def cut(name: str, flow: Flow, count: int) -> Flow:
    """A flow without its last steps.

    Raises:
        ConversionError: they are not those that a convolution gave too many.
    """
    if flow.early or not 0 <= count <= flow.late:
        raise ConversionError(
            f"{name} must give an output at each step, got a selection of steps that leaves out"
            f" {count - flow.late}"
        )
    return replace(flow, late=flow.late - count)


def convolved(path: Path, name: str, module: Any, flow: Flow) -> Flow:
    """A flow through a causal Conv1d; of `module` its weight, bias and options are read.

    Raises:
        ConversionError: it is not causal, or gives another number of steps.
    """
    path.narrow(
        name,
        flow,
        lambda now: now == "BCT",
        "read (B, C, T), as torch.nn.Conv1d does; x.transpose(1, 2) before it",
    )
    (kernel,), (dilation,), (stride,) = module.kernel_size, module.dilation, module.stride
    if stride != 1:
        raise ConversionError(
            f"{name} must give an output at each step, got a Conv1d of stride {stride}"
        )
    past, padding = (kernel - 1) * dilation, _padding(name, module, (kernel - 1) * dilation)
    if flow.late:
        path.check_whole(name, flow)
    _check_causal(name, past, flow.early, padding)
    vector = path.weights.vector(f"{name}.bias", module.bias)
    weight = path.weights.matrix(f"{name}.weight", module.weight, _rows)
    conv = Conv(
        weight, vector, module.weight.shape[1] * module.groups, kernel, dilation, module.groups
    )
    return replace(flow, layers=(*flow.layers, conv), early=0, late=padding)


def _padding(name: str, module: Any, past: int) -> int:
    """Zeros on either side."""
    if module.padding == "same" and past:
        raise ConversionError(
            f"{name} must look back only, got a Conv1d with padding='same', "
            f"which looks {count_text(past - past // 2, 'step')} into the future; "
            f"use padding={past} and cut the last {past} steps off"
        )
    padding = 0 if isinstance(module.padding, str) else int(module.padding[0])
    if padding and module.padding_mode != "zeros":
        raise ConversionError(
            f"{name} must pad with zeros, got padding_mode={module.padding_mode!r}"
        )
    return padding


def _check_causal(name: str, past: int, early: int, padding: int) -> None:
    ahead = past - early - padding
    if ahead > 0 and padding:
        raise ConversionError(
            f"{name} must look back only, got a Conv1d with padding={padding}, which looks"
            f" {count_text(ahead, 'step')} into the future; use padding={past} and cut the last"
            f" {past} steps off"
        )
    if ahead:
        raise ConversionError(
            f"{name} must give as many steps as it takes, got a Conv1d after {early + padding}"
            f" zeros; it looks {past} steps back: put nn.ConstantPad1d(({past}, 0), 0.0) before it"
        )


def _rows(weight: Array) -> Array:
    """(O, I / groups, K) as rows of taps, the oldest first."""
    return np.swapaxes(weight, 1, 2).reshape(len(weight), -1)
