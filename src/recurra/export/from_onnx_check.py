"""A network beside the ONNX model that it was made from, on a few steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from recurra.errors import ConversionError, MissingDependency
from recurra.export.torch_check import difference, example_of, in_order
from recurra.network import Network

KINDS = {
    "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16, "tensor(int64)": np.int64,
    "tensor(int32)": np.int32, "tensor(bool)": np.bool_,
}  # fmt: skip
"""NumPy's types by ONNX Runtime's names."""


def compare(model: Any, network: Network, orders: tuple[str, str], output: str, sizes: Sequence[int | None] | None) -> None:
    """Run a model on a few steps, from states of zero; one that makes a single step on that.

    Args:
        model: an onnx.ModelProto.
        network: made of it.
        orders: of the axes that it takes, and that `output` has; "1" is an axis of one.
        output: a name.
        sizes: of the input's axes, None for a free one.

    Raises:
        ConversionError: the network gives other numbers, or the model does not run.
        MissingDependency: the onnxruntime package is not installed.
    """
    taken, given = orders
    x = example_of(network, taken, dict(zip(taken, sizes or ())))
    theirs = torch.from_numpy(_run(model, x, output, x.shape[taken.index("B")]).astype(np.float64))
    theirs = theirs.squeeze([place for place, axis in enumerate(given) if axis == "1"])
    alone = "T" not in taken
    x = x[None] if alone else in_order(x, taken)
    theirs = in_order(theirs, given.replace("1", ""))
    difference(network, x.numpy(), (theirs[None] if alone else theirs).numpy())


def _run(model: Any, x: torch.Tensor, output: str, batch: int) -> Any:
    """What the model gives for an input, other inputs zero."""
    try:
        import onnxruntime
    except ImportError:
        text = "recurra.export.network_of needs the onnxruntime package to check an ONNX file; install it with: pip install onnxruntime"
        raise MissingDependency(f"{text}, or pass check=False") from None
    try:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        first, *others = session.get_inputs()
        states: dict[str, Any] = {
            each.name: np.zeros([size if isinstance(size, int) else batch for size in each.shape], KINDS[each.type]) for each in others
        }
        return session.run([output], {first.name: x.numpy().astype(KINDS[first.type]), **states})[0]
    except Exception as error:  # whatever the runtime may raise
        line = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise ConversionError(f"module must run in ONNX Runtime, got {type(error).__name__}: {line}") from error
