"""What a stranger's ONNX nodes and tensors may hold: read in one place, whatever is wrong with them
an error that names them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from recurra.errors import ConversionError, RecurraError, quoted, reason

Array = npt.NDArray[Any]
NO_NUMBERS = (0, 8, 14, 15)
"""The kinds of a tensor that are undefined, texts and complex numbers."""


def title(node: Any) -> str:
    """A node's name, or what it is and gives.

    >>> from onnx.helper import make_node
    >>> title(make_node("Relu", ["x"], ["y"])), title(make_node("Relu", ["x"], ["y"], name="first"))
    ('Relu of y', 'first')
    """
    name = node.name or f"{node.op_type} of {', '.join(each for each in node.output if each)}"
    return name if name.isprintable() else quoted(name)


@contextmanager
def visiting(node: Any) -> Iterator[None]:
    """Read a node: whatever goes wrong, and is no error of recurra's own, becomes one that names
    the node.

    Args:
        node: an onnx.NodeProto.

    Raises:
        ConversionError: something went wrong; that is its cause.
    """
    try:
        with np.errstate(all="ignore"):
            yield
    except RecurraError:
        raise
    except (
        Exception
    ) as error:  # a node may hold anything, and each part of it is read somewhere else
        text = (
            f"{title(node)} must be as ONNX defines {quoted(node.op_type)}, got one that cannot be"
            f" read ({reason(error)})"
        )
        raise ConversionError(text) from error


def array_of(tensor: Any, what: str | None = None) -> Array:
    """The numbers of a tensor of a file.

    Args:
        tensor: an onnx.TensorProto that holds its data itself.
        what: its name in messages; its own if None.

    Raises:
        ConversionError: it holds something else than numbers, or more or fewer than it says.

    >>> from onnx.helper import make_tensor
    >>> array_of(make_tensor("w", 1, [2], [1.0, 2.0]))
    array([1., 2.], dtype=float32)
    """
    from onnx.numpy_helper import to_array

    name = quoted(tensor.name) if what is None else what
    if tensor.data_type in NO_NUMBERS or tensor.data_location or len(tensor.external_data):
        got = (
            "data outside the file"
            if tensor.data_location or len(tensor.external_data)
            else f"kind {tensor.data_type}"
        )
        raise ConversionError(f"{name} must be a tensor of real numbers, got {got}")
    try:
        array = np.asarray(to_array(tensor))
        if array.shape != tuple(tensor.dims) or array.size != math.prod(tensor.dims):
            raise ValueError(f"{array.size} numbers")
        return array
    except Exception as error:  # each kind of data is read in another way
        dims = quoted(list(tensor.dims))
        raise ConversionError(
            f"{name} must hold as many numbers as its dims {dims} say, got others ({reason(error)})"
        ) from error
