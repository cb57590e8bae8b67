"""A network beside the module that it was made from, on a few steps."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

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
STEPS, MOST_STEPS, BATCH, CHUNK = 5, 40, 2, 2
COMPUTE, CARRY = (
    "compute what its layers say",
    "go on from the state that it hands back as its layers say",
)
SLACK = 32
"""How many times the bound of two exact paths they may differ; a forward that does something else
differs by far more.
"""


class Signature(NamedTuple):
    """How a module is called.

    Attributes:
        taken, given: the orders of the axes that it takes, and of those that it gives.
        output: which of its outputs is meant, a place or a key; None for the only one, or the
            first.
    """

    taken: str
    given: str
    output: int | str | None = None


def compare(module: nn.Module, network: Network, signature: Signature, example: Any) -> float:
    """The largest difference between a module's output and the network's; where it hands back a
    state, call after call too.

    Args:
        module: run as it is, at evaluation; a copy in float32 if its weights are of half precision.
        network: made of it.
        signature: how it is called.
        example: an input as the module takes it; drawn at random if None.

    Raises:
        ConversionError: they differ by more than rounding explains, or the module does not run.
    """
    taken = signature.taken
    alone = "T" not in taken  # the module makes one step
    drawn = (
        example_of(network, f"T{taken}" if alone else taken)
        if example is None
        else torch.as_tensor(example).detach().cpu()
    )
    x = torch.stack([drawn] * STEPS) if alone and example is not None else drawn
    x = x if network.reads_tokens else x.float()
    theirs = outputs(module, x, signature)
    mine = (x if alone else in_order(x, taken)).numpy()
    found = (
        difference(network, mine[:1], theirs[:1].numpy())
        if alone
        else difference(network, mine, theirs.numpy())
    )
    calls = theirs if alone else outputs(module, x, signature, CHUNK)
    return (
        found if calls is None else max(found, difference(network, mine, calls.numpy(), need=CARRY))
    )


def outputs(module: nn.Module, x: Tensor, signature: Signature, chunk: int | None = None) -> Any:
    """What a module gives at evaluation, (T, B, O) in float64; one that makes a step is given the
    state that it hands back.

    Args:
        module: run as it is; a copy in float32 if its weights are of half precision.
        x: as the module takes it; with time before that if it makes one step.
        signature: how it is called.
        chunk: steps of a call, each of which goes on from the state that the one before handed
            back; None for all at once. The output is None then of a module that hands back no
            state, or does not take it.

    Raises:
        ConversionError: it does not run.
    """
    weight = next(module.parameters(), torch.zeros(()))
    if weight.dtype in (torch.float16, torch.bfloat16):
        module = copy_module(module).float()
        weight = weight.float()
    taken = signature.taken
    x = x.to(weight.device, weight.dtype if x.is_floating_point() else x.dtype, copy=True)
    with (
        evaluating(module),
        torch.no_grad(),
        torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, allow_tf32=False),
    ):
        if chunk is not None:
            parts = _chained(module, x.split(chunk, taken.index("T")), signature)
            return (
                None
                if parts is None
                else torch.cat([in_order(part.double().cpu(), signature.given) for part in parts])
            )
        theirs = _run(module, x, signature).double().cpu()
    return in_order(theirs, signature.given) if "T" in taken else theirs


def difference(
    network: Network,
    x: Array,
    theirs: Array,
    first: Mapping[str, Array] | None = None,
    need: str = COMPUTE,
) -> float:
    """The largest difference between a network's output and another model's.

    Args:
        network: run by its loop.
        x: (T, B, I), or tokens (T, B).
        theirs: (T, B, O).
        first: states that it begins with, (B, width) by name; its own if None.
        need: what the other model must do.

    Raises:
        ConversionError: they differ by more than rounding explains.
    """
    exact = _looped(network, x, first, "float64")
    if exact.shape != theirs.shape:
        raise ConversionError(
            f"module must give {shape_text(exact.shape)}, as its layers say, got"
            f" {shape_text(theirs.shape)}"
        )
    found, scale = float(np.abs(exact - theirs).max()), max(1.0, float(np.abs(exact).max()))
    allowed = SLACK * 16 * float(np.finfo(np.float32).eps) * scale
    if not found <= allowed:
        allowed += SLACK * 2 * float(np.abs(_looped(network, x, first, "float32") - exact).max())
    if not found <= allowed:
        raise ConversionError(
            f"module must {need}, got numbers that differ by {found:.1e}; is forward its own?"
        )
    return found


def _looped(network: Network, x: Array, first: Mapping[str, Array] | None, dtype: str) -> Array:
    loop = Loop(network, x.shape[1], dtype)
    loop.state |= {name: state.astype(dtype) for name, state in (first or {}).items()}
    return loop.run(x)


def example_of(
    network: Network, order: str, sizes: Mapping[str, int | None] | None = None, seed: int = 0
) -> Tensor:
    """Steps drawn at random, more than the convolutions look back.

    Args:
        network: what they are for.
        order: of the axes.
        sizes: of axes, where they must be so.
        seed: of the draw.
    """
    draws = np.random.default_rng(seed)
    known = example_sizes(network, sizes)
    shape = [known[axis] for axis in order]
    return torch.from_numpy(
        draws.integers(0, network.input_size, shape)
        if network.reads_tokens
        else draws.standard_normal(shape)
    )


def example_sizes(
    network: Network, sizes: Mapping[str, int | None] | None = None
) -> dict[str, int]:
    """How large an example is along each axis."""
    past = sum(layer.past for _, layer in walk(network.layers) if isinstance(layer, Conv))
    usual = {"T": min(max(STEPS, past + 2), MOST_STEPS), "B": BATCH, "C": network.input_size}
    return {axis: (sizes or {}).get(axis) or size for axis, size in usual.items()}


def in_order(x: Tensor, order: str) -> Tensor:
    """An array whose axes lie in some order, as (T, B, ...)."""
    return x.permute([order.index(axis) for axis in "TBC" if axis in order])


def _run(module: nn.Module, x: Tensor, signature: Signature) -> Tensor:
    order = signature.taken
    try:
        return (
            chosen(_called(module, x), signature.output)
            if "T" in order
            else _steps(module, x, signature)
        )
    except Exception as error:  # whatever a forward may raise
        line = (str(error).strip().splitlines() or ["no reason given"])[0]
        form = (
            f"{shape_text(order)}, here {shape_text(x.shape)}"
            if "T" in order
            else f"{shape_text(order)}, here {shape_text(x.shape[1:])}"
        )
        raise ConversionError(
            f"module must run on an input {form}, got {type(error).__name__}: {line}"
        ) from error


def _steps(module: nn.Module, x: Tensor, signature: Signature) -> Tensor:
    """Step after step of a module that makes one; one that hands back no state is called again, and
    may hold it itself.
    """
    done = _called(module, x[0])
    made = [chosen(done, signature.output)]
    for step in x[1:]:
        left = (done,) if isinstance(module, ONE_STEP) else _state(done, signature.output)
        done = _called(module, step) if left is None else _again(module, step, left)
        made.append(chosen(done, signature.output))
    return torch.stack(made)


def _chained(
    module: nn.Module, parts: tuple[Tensor, ...], signature: Signature
) -> list[Tensor] | None:
    """The output of each part, from the state that the part before it left; None where a module has
    no way to do that.
    """
    try:
        done = _called(module, parts[0])
        made = [chosen(done, signature.output)]
        for part in parts[1:]:
            left = _state(done, signature.output)
            if left is None or isinstance(module, (nn.Sequential, nn.ModuleList)):
                return None
            done = _again(module, part, left)
            made.append(chosen(done, signature.output))
        return made
    except (
        Exception
    ):  # what it hands back is no state that it takes, or it takes as many steps as an example has
        return None


def _state(done: Any, output: int | str | None) -> tuple[Any, ...] | None:
    """What a module hands back beside its output; None where that is nothing."""
    if not isinstance(done, (tuple, list, Mapping)):
        return None
    items = done.items() if isinstance(done, Mapping) else enumerate(done)
    return tuple(value for key, value in items if key != _place(done, output)) or None


def _again(module: nn.Module, x: Tensor, left: tuple[Any, ...]) -> Any:
    """A further call, with the state that the one before handed back: as one argument, or one by
    one.
    """
    inner = left[0] if len(left) == 1 else left
    try:
        return module(x, inner)
    except Exception:
        if not isinstance(inner, (tuple, list)):
            raise
        return module(x, *inner)


def _called(module: Any, x: Tensor) -> Any:
    """What a module gives, in a Sequential too where PyTorch's own call would not do: an output and
    a state, or a softmax's loss.
    """
    if isinstance(module, nn.AdaptiveLogSoftmaxWithLoss):
        return log_chances(module, x)
    if isinstance(module, (nn.Sequential, nn.ModuleList)) and contains(module):
        done: Any = x
        for child in module:
            done = _called(child, chosen(done, None))
        return done
    others = list(inspect.signature(module.forward).parameters.values())[1:]
    wanted = [
        p
        for p in others
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    return module(x, *[None] * len(wanted))


def chosen(done: Any, output: int | str | None) -> Tensor:
    """One of the outputs that a module gives; the only one, or the first of several, if None."""
    found: Tensor = done[_place(done, output)] if isinstance(done, (tuple, list, Mapping)) else done
    return found


def _place(done: Any, output: int | str | None) -> Any:
    """Where among several outputs one is; a field of a named tuple by its number."""
    if isinstance(done, Mapping):
        return next(iter(done)) if output is None else output
    return done._fields.index(output) if isinstance(output, str) else output or 0


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """A module at evaluation; what each of its parts holds is as it was afterwards."""
    before = [
        (held, dict(held))
        for each in module.modules()
        for held in (vars(each), each._parameters, each._buffers, each._modules)
    ]
    try:
        module.eval()
        yield
    finally:
        for held, content in before:
            held.clear()
            held.update(content)
