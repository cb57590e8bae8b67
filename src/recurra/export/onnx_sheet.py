"""Where the nodes of an ONNX graph are written, one after another."""

from __future__ import annotations

import itertools
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from recurra.errors import MissingDependency

Array = npt.NDArray[Any]
OPSET = 17
"""The first with LayerNormalization; ONNX Runtime 1.12 and later read it."""
IR_VERSION = 8
"""The form of the file that goes with it."""


def require_onnx(what: str) -> ModuleType:
    """The onnx package, imported when it is needed.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        import onnx
        import onnx.helper
        import onnx.numpy_helper
    except ImportError:
        raise MissingDependency(
            f"recurra.export.{what} needs the onnx package; install it with: pip install onnx"
        ) from None
    return onnx


class Sheet:
    """Nodes in the order in which they run, and the arrays that they read.

    Args:
        onnx: the package.
        above: the sheet that this one is the body of, whose values and arrays it sees; None for the
            graph itself.

    Attributes:
        nodes: the NodeProtos.
        arrays: the TensorProtos, all on the outermost sheet.

    >>> sheet = Sheet(require_onnx("Sheet"))
    >>> sheet.add("Neg", sheet.add("Add", "x", "y"))
    'Neg_2'
    >>> [node.op_type for node in sheet.nodes]
    ['Add', 'Neg']
    """

    def __init__(self, onnx: ModuleType, above: Sheet | None = None) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self._shown: dict[str, str] = {}
        self.arrays: list[Any] = above.arrays if above else []
        self._count: itertools.count[int] = above._count if above else itertools.count(1)
        self._known: dict[tuple[Any, ...], str] = above._known if above else {}

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Write a node with one output; returns the output's name."""
        return self.many(op, inputs, 1, **attributes)[0]

    def many(self, op: str, inputs: tuple[str, ...], count: int, **attributes: Any) -> list[str]:
        """Write a node with several outputs; returns their names."""
        name = f"{op}_{next(self._count)}"
        outputs = [name] if count == 1 else [f"{name}_{number}" for number in range(count)]
        self.nodes.append(
            self.onnx.helper.make_node(op, list(inputs), outputs, name=name, **attributes)
        )
        return outputs

    def name(self, inner: str, outer: str) -> None:
        """Give a value the name that the graph's user sees; where it has such a name already, copy
        it.
        """
        source = self._shown.get(inner, inner)
        if source != inner or not any(inner in node.output for node in self.nodes):
            self.nodes.append(
                self.onnx.helper.make_node("Identity", [source], [outer], name=f"Identity_{outer}")
            )
            return
        self._shown[inner] = outer
        for node in self.nodes:
            for names in (node.input, node.output):
                names[:] = [outer if name == inner else name for name in names]

    def array(self, array: Array, name: str) -> str:
        """Keep an array under a name; returns the name."""
        array = np.ascontiguousarray(array)
        kind = self.onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        return self.raw(array, kind, name)

    def raw(self, array: Array, kind: int, name: str) -> str:
        """Keep an array's bytes as numbers of an ONNX kind; returns the name."""
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        self.arrays.append(
            self.onnx.helper.make_tensor(name, kind, array.shape, little.tobytes(), raw=True)
        )
        return name

    def number(self, value: float) -> str:
        """A float32 constant, each kept once."""
        with np.errstate(over="ignore"):
            return self._constant(np.asarray(value, np.float32))

    def whole(self, *values: int) -> str:
        """A list of int64, each kept once: axes, sizes, a shape."""
        return self._constant(np.asarray(values, np.int64))

    def _constant(self, array: Array) -> str:
        key = (array.dtype.name, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = self.array(array, f"constant_{len(self._known)}")
        return self._known[key]

    def split(self, value: str, sizes: list[int], axis: int = -1) -> list[str]:
        """A value in parts along an axis."""
        return (
            [value]
            if len(sizes) == 1
            else self.many("Split", (value, self.whole(*sizes)), len(sizes), axis=axis)
        )
