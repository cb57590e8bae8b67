"""PyTorch's own operator: oneDNN on a CPU, cuDNN on a GPU."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from recurra.cells import GRU, LSTM, Elman, ProjectedLSTM
from recurra.engine.checkpointed import join
from recurra.engine.job import Job, Scan, state_dtype
from recurra.engine.loop import choose
from recurra.engine.transforms import tracing, transform_active
from recurra.errors import ArgumentError

OPERATORS: dict[type, Any] = {LSTM: torch.lstm, ProjectedLSTM: torch.lstm, GRU: torch.gru}
"""The operator of each cell; an Elman cell has one for each nonlinearity."""


def reason(job: Job) -> str | None:
    """Why PyTorch has no operator for a job."""
    if type(job.cell) not in (*OPERATORS, Elman):
        return f"PyTorch has no operator for {job.cell_text}"
    if job.keep:
        return f"PyTorch's operator does not return {' and '.join(sorted(job.keep))}"
    if transform_active():
        return "PyTorch's operator has no rules for function transforms and forward mode"
    if tracing() and job.resets is not None:
        return (
            "the steps at which rows are reset depend on data, which torch.jit.trace does not see"
        )
    if torch.compiler.is_compiling() and (job.lengths is not None or job.resets is not None):
        return "lengths and resets depend on data, which torch.compile does not see"
    if (
        torch.compiler.is_compiling()
        and type(job.cell) is LSTM
        and job.x.device.type == "cpu"
        and torch.is_grad_enabled()
    ):
        return "torch.compile has no backward for oneDNN's LSTM"
    if (
        type(job.cell) is LSTM
        and job.x.device.type == "cpu"
        and state_dtype(job.x) == torch.bfloat16
        and not _bfloat16()
    ):
        return "oneDNN's LSTM has no bfloat16 on this processor"
    return None


def _bfloat16() -> bool:
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def run(job: Job) -> Scan:
    """Run torch.lstm, torch.gru, torch.rnn_tanh or torch.rnn_relu, split where any row is reset."""
    if job.resets is None:
        return _run(job)
    columns = job.resets.any(1).nonzero().flatten().tolist()
    edges = [0, *(t for t in columns if t), len(job.x)]
    parts, state = [], job.state
    stretches = list(pairwise(edges))
    for start, stop in reversed(stretches) if job.reverse else stretches:
        if not job.reverse:
            state = choose(job.resets[start], job.initial, state)
        parts.append(_run(job.part(start, stop, state)))
        state = parts[-1].final
        if job.reverse:
            state = choose(job.resets[start], job.initial, state)
    return join(parts[::-1] if job.reverse else parts, state)


def _run(job: Job) -> Scan:
    """Run one stretch without resets."""
    if job.reverse:
        scan = _run(replace(job, x=_reverse(job.x, job.lengths), reverse=False))
        return scan._replace(h=_reverse(scan.h, job.lengths))
    if job.lengths is None:
        h, final = _operator(job, job.x, job.state)
        return Scan(h, final)
    return _run_ragged(job, job.lengths.cpu())


def _run_ragged(job: Job, lengths: Tensor) -> Scan:
    """Run the rows that have any step, packed; the others keep their state."""
    steps, rows = job.x.shape[:2]
    some = lengths.nonzero().flatten().to(job.x.device)
    width = job.state[0].shape[-1]
    if not some.shape[0]:
        if tracing():
            raise ArgumentError(
                "lengths must hold a row with a step while torch.jit.trace records, got only zeros"
            )
        zero = _zero_of((job.x, *job.weights.values()))
        h = job.x.new_zeros(steps, rows, width, dtype=job.state[0].dtype)
        return Scan(
            h + zero.to(h.dtype),
            type(job.state)(*(value + zero.to(value.dtype) for value in job.state)),
        )
    packed = pack_padded_sequence(job.x[:, some], lengths[lengths > 0], enforce_sorted=False)
    order, back = packed.sorted_indices, packed.unsorted_indices
    state = type(job.state)(*(value[some][order] for value in job.state))
    data, final = _operator(job, packed.data, state, packed.batch_sizes)
    h, _ = pad_packed_sequence(packed._replace(data=data), total_length=steps)
    whole = h.new_zeros(steps, rows, width).index_copy(1, some, h)
    return Scan(
        whole,
        type(job.state)(
            *(old.index_copy(0, some, new[back]) for old, new in zip(job.state, final))
        ),
    )


def _zero_of(tensors: Iterable[Tensor]) -> Tensor:
    """Zero, with a graph to these tensors, through which their gradients are zero; no number of
    theirs is read.
    """
    return torch.stack([tensor.flatten()[:0].sum() for tensor in tensors]).sum()


def _operator(
    job: Job, x: Tensor, state: Any, batch_sizes: Tensor | None = None
) -> tuple[Tensor, Any]:
    """Call PyTorch with one layer, one direction."""
    operator = OPERATORS.get(type(job.cell)) or getattr(torch, f"rnn_{job.cell.nonlinearity}")  # type: ignore[attr-defined]
    weights, has_biases = _flat(job)
    first = [value[None] for value in state]
    hx = first if len(first) > 1 else first[0]
    options = (has_biases, 1, 0.0, False, False)
    if batch_sizes is None:
        h, *final = operator(x, hx, weights, *options, False)
    else:
        h, *final = operator(x, batch_sizes, hx, weights, *options)
    return h, type(state)(*(value[0] for value in final))


def _flat(job: Job) -> tuple[list[Tensor], bool]:
    """The weights in PyTorch's order; a cell with one bias gets a second of zeros."""
    weights = job.weights
    flat = [weights["weight_ih"], weights["weight_hh"]]
    if has_biases := "bias_ih" in weights:
        bias = weights["bias_ih"]
        flat += [bias, weights["bias_hh"] if "bias_hh" in weights else torch.zeros_like(bias)]
    return ([*flat, weights["weight_hr"]] if "weight_hr" in weights else flat), has_biases


def _reverse(values: Tensor, lengths: Tensor | None) -> Tensor:
    """Each row's steps from its own last one to its first; padding stays in place."""
    if lengths is None:
        return values.flip(0)
    steps = torch.arange(values.shape[0], device=values.device)[:, None]
    order = torch.where(steps < lengths, lengths - 1 - steps, steps)
    return values.gather(0, order[..., None].expand_as(values))
