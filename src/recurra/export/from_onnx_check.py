"""A network beside the ONNX model that it was made from, over a few calls, each from the state that
the one before left.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from recurra.errors import ConversionError, MissingDependency
from recurra.export.from_onnx_elements import FREE, Elements, needed
from recurra.export.from_onnx_file import pruned
from recurra.export.from_onnx_limits import Run, check_run
from recurra.export.from_onnx_states import Carried
from recurra.export.torch_check import difference, example_of, example_sizes, in_order
from recurra.network import Network
from recurra.network.network import walk

Array = npt.NDArray[Any]
CALLS, STEPS = 3, 5
"""Of a sequence, and of one step."""
KINDS = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}
"""NumPy's types by ONNX Runtime's names."""


class Signature(NamedTuple):
    """How a model is called.

    Attributes:
        taken, given: the orders of the axes of its input, and of its output; "1" is an axis of one.
        output: a name.
        sizes: of the input's axes, None for a free one.
        pasts: what `Path.pasts` says.
    """

    taken: str
    given: str
    output: str
    sizes: Sequence[int | None] | None
    pasts: Sequence[Mapping[str, str]]


def compare(elements: Elements, network: Network, signature: Signature, carried: Carried) -> None:
    """Run a model from states drawn at random, call after call.

    Args:
        elements: of the model's graph.
        network: made of it.
        signature: how it is called.
        carried: how its states go from one call to the next; without one that is handed back there
            is one call.

    Raises:
        ConversionError: the network gives other numbers, or the model does not run.
        MissingDependency: the onnxruntime package is not installed.
    """
    taken = signature.taken
    sizes, alone = dict(zip(taken, signature.sizes or ())), "T" not in taken
    calls = (
        (STEPS if alone or sizes.get("T") == 1 else CALLS) if any(carried.outputs.values()) else 1
    )
    usual = example_sizes(network, sizes)
    _check_size(elements, network, usual["B"], calls * (1 if alone else usual["T"]))
    x = example_of(network, taken, sizes)
    rows = x.shape[taken.index("B")]
    model = _alone(
        elements, [signature.output, *filter(None, carried.outputs.values())], tuple(x.shape)
    )
    parts = [
        x,
        *(example_of(network, taken, dict(zip(taken, x.shape)), seed) for seed in range(1, calls)),
    ]
    draws = np.random.default_rng(0)
    states = {name: draws.standard_normal(shape) / 2 for name, shape in carried.inputs.items()}
    given = {name: states[name] for name in carried.outputs}
    done = _run(model, [part.numpy() for part in parts], signature.output, given, carried.outputs)
    theirs = [_in_time(torch.from_numpy(np.asarray(y, np.float64)), signature.given) for y in done]
    mine = [part[None] if alone else in_order(part, taken) for part in parts]
    difference(
        network,
        torch.cat(mine).numpy(),
        torch.cat(theirs).numpy(),
        _first(network, states, carried, signature, rows),
    )


def _check_size(elements: Elements, network: Network, rows: int, steps: int) -> None:
    """Raise where it takes too much to run the network and the graph."""
    given = sum(math.prod(size) for size in elements.sizes.values() if size is not None)
    ends = network.output_size + network.input_size * (not network.reads_tokens)
    weights = sum(matrix.values.size for matrix in network.matrices())
    taken = Run(
        steps * sum(1 for _ in walk(network.layers)),
        rows * steps * ends + given,
        rows * steps * weights,
    )
    check_run(taken, f"{rows:,} rows of {steps:,} steps", elements.held)


def _alone(elements: Elements, outputs: Sequence[str], shape: tuple[int, ...]) -> Any:
    """A model of what outputs need, all of whose sizes are known to be small before it runs."""
    first, *_ = elements.inputs
    exact = elements.at({first.name: shape})
    nodes = needed(elements.graph, outputs)
    for node in nodes:
        for name in node.output:
            if name in exact.sized and name not in exact.moving and exact.constant(name) is None:
                raise ConversionError(
                    f"{name} must be a size that can be told before the graph runs, got"
                    f" {node.op_type}; pass check=False"
                )
    return pruned(elements.onnx, elements.model, nodes, outputs, list(elements.sizes))


def _in_time(y: torch.Tensor, order: str) -> torch.Tensor:
    """An output as (T, B, O)."""
    y = in_order(
        y.squeeze([place for place, axis in enumerate(order) if axis == "1"]),
        order.replace("1", ""),
    )
    return y if "T" in order else y[None]


def _first(
    network: Network, states: dict[str, Array], carried: Carried, signature: Signature, rows: int
) -> dict[str, Array]:
    """The network's state, by its names, that the graph's inputs say."""
    numbers, pasts = (
        np.concatenate([each.reshape(-1) for each in states.values()]),
        iter(signature.pasts),
    )
    specs, found = iter(network.states), {}
    for role, place in (item for layer in carried.layers for item in layer.items()):
        value = numbers[place]
        if role == "past":
            order = next(pasts)[signature.taken]
            value = value.transpose([order.index(axis) for axis in "BTC"])
        found[next(specs).name] = value.reshape(rows, -1)
    return found


def _run(
    model: Any,
    parts: Sequence[Array],
    output: str,
    states: dict[str, Array],
    after: Mapping[str, str | None],
) -> list[Any]:
    """What the model gives for inputs one after the other; other inputs than its states are
    zero.
    """
    try:
        import onnxruntime
    except ImportError:
        text = (
            "recurra.export.network_of needs the onnxruntime package to check an ONNX file; install"
            " it with: pip install onnxruntime"
        )
        raise MissingDependency(f"{text}, or pass check=False") from None
    try:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        first, *others = session.get_inputs()
        back = {name: other for name, other in after.items() if other is not None}
        done = []
        for x in parts:
            feed = {
                each.name: states[each.name] if each.name in states else np.zeros(_sizes(each))
                for each in others
            }
            feed = {
                each.name: array.astype(KINDS[each.type])
                for each, array in zip(others, feed.values())
            }
            y, *left = session.run(
                [output, *back.values()], {first.name: x.astype(KINDS[first.type]), **feed}
            )
            states = states | {
                name: value.reshape(states[name].shape) for name, value in zip(back, left)
            }
            done.append(y)
        return done
    except Exception as error:  # whatever the runtime may raise
        line = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise ConversionError(
            f"module must run in ONNX Runtime, got {type(error).__name__}: {line}"
        ) from error


def _sizes(value: Any) -> list[int]:
    return [size if isinstance(size, int) else FREE for size in value.shape]
