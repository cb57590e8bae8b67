"""How much of the loss's gradient reaches each hidden state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recurra.inspection.observe import observe, reachable, undisturbed


class GradientFlow(NamedTuple):
    """Gradients of a loss at every hidden state.

    Attributes:
        layers: the cell of each scan, in the order they ran.
        norms: (L, T), |dL/dh_t|: over each row's units the Euclidean norm, then the mean over rows. Where scans have
            different lengths, T is the longest's, and a shorter one's row ends in NaN.
    """

    layers: tuple[str, ...]
    norms: Tensor

    def __str__(self) -> str:
        lines = [f"|dL/dh_t| over {self.norms.shape[1]} steps"]
        for number, (name, padded) in enumerate(zip(self.layers, self.norms)):
            row = padded[: max(1, int((~padded.isnan()).sum()))]
            ratio = float(row[0] / row[-1]) if float(row[-1]) else float("nan")
            lines.append(f"  layer {number} {name}: first step {float(row[0]):.3g}, last step {float(row[-1]):.3g}, first/last {ratio:.3g}")
        return "\n".join(lines)


def gradient_flow(model: nn.Module, batch: tuple[Any, ...], state: Any = None, *, loss_at: str = "every step") -> GradientFlow:
    """Measure |dL/dh_t| for every layer and step, through probes added to h; the model is left as it was.

    Args:
        model: a recurra layer, torch.nn.RNN, LSTM or GRU, or any module that holds some. Its loss is its own
            `cross_entropy(logits, y)` if it has that method; else the mean cross entropy where y holds whole numbers, and
            half the sum of squares of its outputs against y (zero if the batch has none) where it does not.
        batch: (x, y), or (x,), or a `recurra.train.Chunk`, whose resets then hold; batch first where the model takes it so.
        state: the state before.
        loss_at: "every step", or "last step": only the last step's loss counts, so that what arrives earlier came
            back through time.

    Returns:
        The norms. h_t counts with all that comes after it, not its own output alone.

    Raises:
        ArgumentError: `loss_at` is neither, no recurrent layer ran, or there is no y where one is needed.
        ShapeError: `y` is not of the output's shape.

    >>> import recurra
    >>> gradient_flow(recurra.LSTM(3, 4), (torch.randn(7, 2, 3),)).norms.shape
    torch.Size([1, 7])
    >>> gradient_flow(torch.nn.GRU(3, 4, num_layers=2, batch_first=True), (torch.randn(2, 7, 3),)).norms.shape
    torch.Size([2, 7])
    """
    net, _ = reachable(model)
    with undisturbed(model):
        seen = observe(net, batch, state, loss_at)
    return GradientFlow(tuple(each.name for each in seen), padded([flow_norms(each.gradient) for each in seen]))


def flow_norms(gradient: Tensor) -> Tensor:
    """(T,), the norm over units of dL/dh (T, B, width), then its mean over rows: in float64, where squares do not overflow."""
    return gradient.double().norm(dim=-1).mean(-1).to(gradient.dtype)


def padded(rows: Sequence[Tensor]) -> Tensor:
    """Rows side by side, (L, longest), NaN past a shorter one's end.

    >>> padded([torch.ones(1), torch.ones(2)])
    tensor([[1., nan],
            [1., 1.]])
    """
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=float("nan"))
