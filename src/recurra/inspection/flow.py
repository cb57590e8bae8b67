"""How much of the loss's gradient reaches each hidden state."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recurra.engine import probing
from recurra.errors import ArgumentError


class GradientFlow(NamedTuple):
    """Gradients of a loss at every hidden state.

    Attributes:
        layers: the cell of each scan, in the order they ran.
        norms: (L, T), |dL/dh_t|: over each row's units the Euclidean norm, then the mean over rows.
    """

    layers: tuple[str, ...]
    norms: Tensor

    def __str__(self) -> str:
        lines = [f"|dL/dh_t| over {self.norms.shape[1]} steps"]
        for number, (name, row) in enumerate(zip(self.layers, self.norms)):
            ratio = float(row[0] / row[-1]) if float(row[-1]) else float("nan")
            lines.append(f"  layer {number} {name}: first step {float(row[0]):.3g}, last step {float(row[-1]):.3g}, first/last {ratio:.3g}")
        return "\n".join(lines)


def gradient_flow(model: nn.Module, batch: tuple[Any, ...], state: Any = None, *, loss_at: str = "every step") -> GradientFlow:
    """Measure |dL/dh_t| for every layer and step, through probes added to h; the model is left as it was.

    Args:
        model: a model with `cross_entropy(logits, y)`, or a layer with `forward(x, state)`, whose loss is then half the
            sum of squares of its outputs against y (zero if the batch has none).
        batch: (x, y), or (x,).
        state: the state before.
        loss_at: "every step", or "last step": only the last step's loss counts, so that what arrives earlier came
            back through time.

    Returns:
        The norms. h_t counts with all that comes after it, not its own output alone.

    Raises:
        ArgumentError: `loss_at` is neither, or no recurrent layer ran.

    >>> import recurra
    >>> gradient_flow(recurra.LSTM(3, 4), (torch.randn(7, 2, 3),)).norms.shape
    torch.Size([1, 7])
    """
    if not isinstance(batch, (tuple, list)):
        raise ArgumentError(f"batch must be a tuple (x,) or (x, y), got {type(batch).__name__}")
    if loss_at not in ("every step", "last step"):
        raise ArgumentError(f"loss_at must be 'every step' or 'last step', got {loss_at!r}")
    with torch.enable_grad(), probing() as probes:
        output, _ = model(batch[0], state)
        y = batch[1] if len(batch) > 1 else None
        if getattr(model, "batch_first", False) and output.ndim == 3:
            output, y = output.transpose(0, 1), None if y is None else y.transpose(0, 1)
        loss = _loss(model, output, y, slice(-1, None) if loss_at == "last step" else slice(None))
    if not probes:
        raise ArgumentError(f"model must run a recurra layer, got {type(model).__name__}, which ran none")
    gradients = torch.autograd.grad(loss, [probe.tensor for probe in probes], allow_unused=True, materialize_grads=True)
    norms = torch.stack([gradient.detach().norm(dim=-1).mean(-1) for gradient in gradients])
    return GradientFlow(tuple(repr(probe.cell) for probe in probes), norms)


def _loss(model: Any, output: Tensor, y: Tensor | None, steps: slice) -> Tensor:
    if hasattr(model, "cross_entropy"):
        if y is None:
            raise ArgumentError(f"batch must be (x, y) for {type(model).__name__}, got x alone")
        loss: Tensor = model.cross_entropy(output[steps], y[steps])
        return loss
    error = output if y is None else output - y
    return 0.5 * error[steps].square().sum()
