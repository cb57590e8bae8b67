"""What a model is run on, and what is asked of its output."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from recurra.errors import ArgumentError, shape_text

STATE_NAMES = frozenset({"state", "hx", "h0", "h_0", "hidden", "hc"})
"""Parameters of a `forward` that take the state before: what is run without one is given None."""
SHAPES = "batch must be (x,) or (x, y)"
CURE = "give the rest by name: inputs=(x, lengths), target=y"


class Example(NamedTuple):
    """One call of a model, and the loss that is asked of what it gives.

    Attributes:
        inputs: by position.
        options: by name.
        target: what the output should be, or None.
        loss: a function of the output that gives the loss, or None.
    """

    inputs: tuple[Any, ...]
    options: dict[str, Any]
    target: Any = None
    loss: Callable[[Any], Tensor] | None = None

    def run(self, model: nn.Module) -> Any:
        """What the model gives."""
        return model(*self.inputs, **self.options)


def example_of(
    model: nn.Module, batch: Any = None, inputs: Any = None, target: Any = None, loss: Any = None
) -> Example:
    """Put together what a measurement was given; what has no place is refused.

    Args:
        model: what is to be run.
        batch: (x, y), (x,), or a `recurra.train.Chunk`, whose resets then hold.
        inputs: in place of a batch: what `model` is called with, a tuple by position, a dict by
            name, or one tensor.
        target: what the output should be.
        loss: in place of a target: a function of all that `model` gives.

    Raises:
        ArgumentError: something was given twice or not at all, or does not fit the model's
            `forward`; names it.
    """
    if (batch is None) == (inputs is None):
        raise ArgumentError(
            f"{SHAPES}, or inputs be given in its place, got"
            f" {'neither' if batch is None else 'both'}"
        )
    if target is not None and loss is not None:
        raise ArgumentError("target must be left out where loss is given, got both")
    if loss is not None and not callable(loss):
        raise ArgumentError(f"loss must be a function of the model's output, got {described(loss)}")
    if inputs is None:
        return _of_batch(model, batch, target, loss)
    if isinstance(inputs, Mapping):
        made = Example((), dict(inputs), target, loss)
    else:
        made = Example(
            tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,), {}, target, loss
        )
    _check_call(model, made)
    return made


def _of_batch(model: nn.Module, batch: Any, target: Any, loss: Any) -> Example:
    if not isinstance(batch, (tuple, list)) or not batch or hasattr(batch, "batch_sizes"):
        raise ArgumentError(f"{SHAPES}, got {described(batch)}")
    chunk = hasattr(batch, "resets")
    if len(batch) > 2 and not chunk:
        raise ArgumentError(f"{SHAPES}, got {described(batch)}; {CURE}")
    y = batch[1] if len(batch) > 1 else None
    if y is not None and (target is not None or loss is not None):
        raise ArgumentError(
            f"batch must be (x,) where {'loss' if target is None else 'target'} is given, got"
            f" {described(batch)}"
        )
    needed = _needed(model)
    if len(needed) > 1 and needed[1] not in STATE_NAMES:
        raise ArgumentError(
            f"{SHAPES} for a model that takes x alone, got one that needs"
            f" {' and '.join(needed[1:])} too; {CURE}"
        )
    resets = getattr(batch, "resets", None)
    options = {} if resets is None else {"resets": resets}
    return Example(
        (batch[0], *[None] * (len(needed) - 1)), options, target if y is None else y, loss
    )


def _needed(model: nn.Module) -> list[str]:
    """The parameters that the model's `forward` cannot do without."""
    parameters = inspect.signature(model.forward).parameters.values()
    return [
        each.name
        for each in parameters
        if each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD
    ]


def _check_call(model: nn.Module, made: Example) -> None:
    signature = inspect.signature(model.forward)
    try:
        signature.bind(*made.inputs, **made.options)
    except TypeError as error:
        got = described(made.inputs or made.options)
        raise ArgumentError(
            f"inputs must fit {type(model).__name__}.forward{signature}, got {got}: {error}"
        ) from None


def described(value: Any) -> str:
    """What was given, in a few words.

    >>> import torch
    >>> described((torch.zeros(3, 2), [1, 2])), described(None)
    ('(a tensor (3, 2), a list of 2)', 'None')
    """
    if isinstance(value, Tensor):
        return f"a tensor {shape_text(value.shape)}"
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return f"({', '.join(map(described, value))}{',' * (len(value) == 1)})"
    if isinstance(value, Mapping):
        return f"a dict of {', '.join(map(str, value))}" if value else "an empty dict"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return "None" if value is None else f"a {type(value).__name__}"
