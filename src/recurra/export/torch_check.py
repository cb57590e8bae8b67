"""A network beside the module that it was made from, on a few steps."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from recurra.errors import ConversionError, shape_text
from recurra.export.torch_layers import ONE_STEP, contains
from recurra.layers.weight_hooks import copy_module
from recurra.models.softmax import log_chances
from recurra.network import Conv, Loop, Network
from recurra.network.network import walk

Array = npt.NDArray[Any]
STEPS, MOST_STEPS, BATCH = 5, 40, 2
SLACK = 32
"""How many times the bound of two exact paths they may differ; a forward that does something else differs by far more."""


def compare(module: nn.Module, network: Network, orders: tuple[str, str], example: Any) -> float:
    """The largest difference between a module's output and the network's.

    Args:
        module: run as it is, at evaluation; a copy in float32 if its weights are of half precision.
        network: made of it.
        orders: of the axes that the module takes, and that it gives.
        example: an input as the module takes it; drawn at random if None.

    Raises:
        ConversionError: they differ by more than rounding explains, or the module does not run.
    """
    taken = orders[0]
    alone = "T" not in taken  # the module makes one step
    drawn = example_of(network, f"T{taken}" if alone else taken) if example is None else torch.as_tensor(example).detach().cpu()
    x = drawn[None] if alone and example is not None else drawn
    x = x if network.reads_tokens else x.float()
    theirs = outputs(module, x, orders)
    return difference(network, (x if alone else in_order(x, taken))[: len(theirs)].numpy(), theirs.numpy())


def outputs(module: nn.Module, x: Tensor, orders: tuple[str, str]) -> Tensor:
    """What a module gives at evaluation, (T, B, O) in float64; one that makes a step is run as far as it hands back its state.

    Args:
        module: run as it is; a copy in float32 if its weights are of half precision.
        x: as the module takes it; with time before that if it makes one step.
        orders: of the axes that it takes, and that it gives.

    Raises:
        ConversionError: it does not run.
    """
    weight = next(module.parameters(), torch.zeros(()))
    if weight.dtype in (torch.float16, torch.bfloat16):
        module = copy_module(module).float()
        weight = weight.float()
    taken, given = orders
    x = x.to(weight.device, weight.dtype if x.is_floating_point() else x.dtype, copy=True)
    with evaluating(module), torch.no_grad(), torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, allow_tf32=False):
        theirs = _run(module, x, taken).double().cpu()
    return in_order(theirs, given) if "T" in taken else theirs


def difference(network: Network, x: Array, theirs: Array) -> float:
    """The largest difference between a network's output and another model's.

    Args:
        network: run by its loop.
        x: (T, B, I), or tokens (T, B).
        theirs: (T, B, O).

    Raises:
        ConversionError: they differ by more than rounding explains.
    """
    exact = Loop(network, x.shape[1]).run(x)
    if exact.shape != theirs.shape:
        raise ConversionError(f"module must give {shape_text(exact.shape)}, as its layers say, got {shape_text(theirs.shape)}")
    found, scale = float(np.abs(exact - theirs).max()), max(1.0, float(np.abs(exact).max()))
    allowed = SLACK * 16 * float(np.finfo(np.float32).eps) * scale
    if not found <= allowed:
        allowed += SLACK * 2 * float(np.abs(Loop(network, x.shape[1], "float32").run(x) - exact).max())
    if not found <= allowed:
        raise ConversionError(f"module must compute what its layers say, got numbers that differ by {found:.1e}; is forward its own?")
    return found


def example_of(network: Network, order: str, sizes: Mapping[str, int | None] | None = None) -> Tensor:
    """Steps drawn at random, more than the convolutions look back.

    Args:
        network: what they are for.
        order: of the axes.
        sizes: of axes, where they must be so.
    """
    draws = np.random.default_rng(0)
    past = sum(layer.past for layer in walk(network.layers) if isinstance(layer, Conv))
    usual = {"T": min(max(STEPS, past + 2), MOST_STEPS), "B": BATCH, "C": network.input_size}
    shape = [(sizes or {}).get(axis) or usual[axis] for axis in order]
    return torch.from_numpy(draws.integers(0, network.input_size, shape) if network.reads_tokens else draws.standard_normal(shape))


def in_order(x: Tensor, order: str) -> Tensor:
    """An array whose axes lie in some order, as (T, B, ...)."""
    return x.permute([order.index(axis) for axis in "TBC" if axis in order])


def _run(module: nn.Module, x: Tensor, order: str) -> Tensor:
    try:
        return _first(_called(module, x)) if "T" in order else _steps(module, x)
    except Exception as error:  # whatever a forward may raise
        line = (str(error).strip().splitlines() or ["no reason given"])[0]
        form = (
            f"{shape_text(order)}, here {shape_text(x.shape)}" if "T" in order else f"{shape_text(order)}, here {shape_text(x.shape[1:])}"
        )
        raise ConversionError(f"module must run on an input {form}, got {type(error).__name__}: {line}") from error


def _steps(module: nn.Module, x: Tensor) -> Tensor:
    """Step after step of a module that makes one: as far as it hands back its state."""
    state, outputs = None, []
    cell = isinstance(module, ONE_STEP)
    for number, step in enumerate(x):
        done = module(step, state) if number and state is not None else _called(module, step)
        outputs.append(_first(done))
        state = done if cell else done[1] if isinstance(done, tuple) and len(done) == 2 else None
        if state is None:
            break
    return torch.stack(outputs)


def _called(module: Any, x: Tensor) -> Any:
    """What a module gives, in a Sequential too where PyTorch's own call would not do: an output and a state, or a softmax's loss."""
    if isinstance(module, nn.AdaptiveLogSoftmaxWithLoss):
        return log_chances(module, x)
    if isinstance(module, (nn.Sequential, nn.ModuleList)) and contains(module):
        done: Any = x
        for child in module:
            done = _called(child, _first(done))
        return done
    others = list(inspect.signature(module.forward).parameters.values())[1:]
    wanted = [p for p in others if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return module(x, *[None] * len(wanted))


def _first(done: Any) -> Tensor:
    output: Tensor = done[0] if isinstance(done, (tuple, list)) else done
    return output


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """A module at evaluation; what each of its parts holds is as it was afterwards."""
    before = [(held, dict(held)) for each in module.modules() for held in (vars(each), each._parameters, each._buffers, each._modules)]
    try:
        module.eval()
        yield
    finally:
        for held, content in before:
            held.clear()
            held.update(content)
