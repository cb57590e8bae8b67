"""What stands for the values of an ONNX graph, besides a flow: constants, sizes, and what a state
begins with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy.typing as npt

Array = npt.NDArray[Any]


class Given(NamedTuple):
    """A further input of a graph: a first state.

    Attributes:
        name: the input's.
        sizes: of its axes, None for a free one; None for all that are not followed.
    """

    name: str
    sizes: Sequence[int | None] | None


class Sizes(NamedTuple):
    """Whole numbers that depend on how large the input is.

    Attributes:
        items: numbers, or an `Extent` for the length of an axis; None for what is not followed.
    """

    items: Sequence[Any]


class Steady(NamedTuple):
    """A constant that is repeated for each row: a learned first state.

    Attributes:
        array: before it is repeated.
    """

    array: Array


class Node(NamedTuple):
    """A node with its inputs.

    Attributes:
        name: its own, or made of its outputs' names.
        proto: the onnx.NodeProto.
        inputs: values; None for one that is left out.
        attributes: by name.
        evaluate: runs a node on constants, and gives a tuple.
        sizes: of the axes of the graph's input, None for a free one, or for all.
    """

    name: str
    proto: Any
    inputs: Sequence[Any]
    attributes: dict[str, Any]
    evaluate: Callable[[Any, list[Any]], tuple[Any, ...]]
    sizes: Sequence[int | None] | None

    @property
    def op(self) -> str:
        """The operator; with its domain, where that is not ONNX's own."""
        domain = str(self.proto.domain)
        return (
            str(self.proto.op_type)
            if domain in ("", "ai.onnx")
            else f"{domain}.{self.proto.op_type}"
        )

    @property
    def outputs(self) -> list[str]:
        """The outputs' names."""
        return list(self.proto.output)

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        return self.attributes.get(name, default)
