"""How much of the loss's gradient reaches each hidden state."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recurra.engine import Job
from recurra.inspection.example import example_of
from recurra.inspection.observe import observe, reachable, undisturbed
from recurra.wording import count_text

GONE = 0.01
"""A gradient below this share of its largest is gone: Adam's steps follow the other 99 %."""


class Reach(NamedTuple):
    """How far back a gradient counts.

    Attributes:
        steps: the largest lag at which it does, the median of the rows; NaN where no gradient
            arrives.
        measured: the largest lag that there was to measure.
    """

    steps: float
    measured: float

    @property
    def whole(self) -> bool:
        """Whether it counts as far back as was measured, so that it may count further still."""
        return not self.steps < self.measured

    def text(self) -> str:
        """In words.

        >>> Reach(12.0, 99.0).text(), Reach(4.0, 4.0).text()
        ('reach 12 of 99 steps', 'reach all 4 steps measured')
        """
        if math.isnan(self.steps):
            return "no gradient arrives"
        measured = count_text(int(self.measured), "step")
        return (
            f"reach all {measured} measured"
            if self.whole
            else f"reach {self.steps:.0f} of {measured}"
        )


class GradientFlow(NamedTuple):
    """Gradients of a loss at every hidden state.

    Attributes:
        layers: the cell of each scan, in the order they ran.
        norms: (L, T), |dL/dh_t|: over each row's units the Euclidean norm, then the mean over rows.
            Where scans have different lengths, T is the longest's, and a shorter one's row ends in
            NaN.
    """

    layers: tuple[str, ...]
    norms: Tensor

    def __str__(self) -> str:
        lines = [f"|dL/dh_t| over {self.norms.shape[1]} steps"]
        for number, (name, padded) in enumerate(zip(self.layers, self.norms)):
            row = padded[: max(1, int((~padded.isnan()).sum()))]
            ratio = float(row[0] / row[-1]) if float(row[-1]) else float("nan")
            lines.append(
                f"  layer {number} {name}: first step {float(row[0]):.3g}, last step"
                f" {float(row[-1]):.3g}, first/last {ratio:.3g}"
            )
        return "\n".join(lines)

    def __repr__(self) -> str:
        return (
            f"GradientFlow({count_text(len(self.layers), 'layer')},"
            f" {count_text(self.norms.shape[1], 'step')})"
        )

    def _repr_html_(self) -> str:
        from recurra.inspection.notebook import flow_html

        return flow_html(self)


def gradient_flow(
    model: nn.Module,
    batch: tuple[Any, ...] | None = None,
    *,
    inputs: Any = None,
    target: Any = None,
    loss: Callable[[Any], Tensor] | None = None,
    loss_at: str = "every step",
) -> GradientFlow:
    """Measure |dL/dh_t| for every layer and step, through probes added to h; the model is left as
    it was.

    Args:
        model: a recurra layer, torch.nn.RNN, LSTM or GRU, or any module that holds some. Its loss
            is its own `cross_entropy(logits, y)` if it has that method; else the mean cross entropy
            where y holds whole numbers, and half the sum of squares of its outputs against y (zero
            if there is none) where it does not. What is past a row's length does not count, nor
            does a whole number of -100.
        batch: (x, y), or (x,), or a `recurra.train.Chunk`, whose resets then hold; batch first
            where the model takes it so.
        inputs: in place of a batch: all that the model is called with, a tuple by position or a
            dict by name; so a state before, lengths, a mask. Lengths are looked for here, in the
            order of the output's rows.
        target: what the output should be.
        loss: in place of a target: a function of all that the model gives, for a loss of one's own.
        loss_at: "every step", or "last step": only the last step's loss counts, so that what
            arrives earlier came back through time. Of each row it is the last step that counts at
            all.

    Returns:
        The norms. h_t counts with all that comes after it, not its own output alone.

    Raises:
        ArgumentError: `loss_at` is neither, no recurrent layer ran, there is no y where one is
            needed, or something was given that has no place.
        ShapeError: `y` is not of the output's shape.

    >>> import recurra
    >>> gradient_flow(recurra.LSTM(3, 4), (torch.randn(7, 2, 3),)).norms.shape
    torch.Size([1, 7])
    >>> x, lengths = torch.randn(2, 7, 3), [7, 4]
    >>> layer = recurra.GRU(3, 4, num_layers=2, batch_first=True)
    >>> gradient_flow(
    ...     layer, inputs=dict(input=x, lengths=lengths), loss=lambda out: out[0].square().sum()
    ... ).norms.shape
    torch.Size([2, 7])
    """
    net, _ = reachable(model)
    with undisturbed(model):
        seen = observe(net, example_of(model, batch, inputs, target, loss), loss_at).scans
    return GradientFlow(
        tuple(each.name for each in seen),
        padded([flow_norms(each.gradient["h"], each.job) for each in seen]),
    )


def flow_norms(gradient: Tensor, job: Job) -> Tensor:
    """(T,), the norm over units of dL/dh (T, B, width), then its mean over the rows that have the
    step.

    In float64, where squares do not overflow; zero at a step that no row has.
    """
    norms = gradient.double().norm(dim=-1)
    rows = norms.shape[1] if job.valid is None else job.valid.sum(-1).clamp(min=1)
    return (norms.sum(-1) / rows).to(gradient.dtype)


def reach_of(
    gradients: Mapping[str, Tensor], resets: Tensor | None = None, reverse: bool = False
) -> Reach:
    """How many steps back the gradient of a scan still counts.

    Of each row, the largest k with |dL/dh_(t-k)| or |dL/dc_(t-k)| at least `GONE` of its own
    largest value along the row, where t is the last step that the loss's gradient reaches at all;
    then the median of the rows. c is asked too, since an LSTM whose gates hardly write carries its
    memory there, while almost nothing passes through an earlier h.

    Args:
        gradients: by the name of the state, (T, B, width), of the loss of one step of each row.
        resets: (T, B) bool, or None; nothing is measured beyond one.
        reverse: whether the scan ran backward, so that back means later.

    >>> reach_of({"h": torch.tensor([0.0, 0.001, 0.02, 0.5, 1.0, 0.0])[:, None, None]})
    Reach(steps=2.0, measured=4.0)
    """
    norms = torch.stack(
        [gradient.detach().double().norm(dim=-1) for gradient in gradients.values()]
    )
    norms = norms.nan_to_num(nan=math.inf, posinf=math.inf)
    begins = torch.zeros_like(norms[0], dtype=torch.bool) if resets is None else resets
    if (
        reverse
    ):  # a reset begins anew after its step: the one that runs next is the first of its segment
        norms, begins = norms.flip(1), begins.flip(0).roll(1, 0)
    arrived = norms.any(0).any(0)
    norms, begins = norms[:, :, arrived], begins[:, arrived]
    if not norms.numel():
        return Reach(math.nan, math.nan)
    steps = torch.arange(norms.shape[1], device=norms.device, dtype=torch.float64)[:, None]
    last = torch.where((norms > 0).any(0), steps, -1.0).amax(0)
    start = torch.where(begins & (steps <= last), steps, 0.0).amax(0)
    peaks = norms.amax(1, keepdim=True)
    counts = (((norms >= GONE * peaks) & (norms > 0)) | norms.isinf()).any(0) & (steps >= start)
    first = torch.where(counts, steps, math.inf).amin(0)
    return Reach(float((last - first).median()), float((last - start).median()))


def padded(rows: Sequence[Tensor]) -> Tensor:
    """Rows side by side, (L, longest), NaN past a shorter one's end.

    >>> padded([torch.ones(1), torch.ones(2)])
    tensor([[1., nan],
            [1., 1.]])
    """
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=float("nan"))
