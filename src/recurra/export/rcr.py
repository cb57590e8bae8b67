"""From a PyTorch module to the runtime's file."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

from torch import nn

from recurra.export.from_torch import network_of
from recurra.network.file import write


def to_rcr(
    module: nn.Module | str | PathLike[str],
    path: str | PathLike[str],
    *,
    precision: str = "float32",
    output: int | str | None = None,
    example: Any = None,
    vocabulary: Mapping[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write a module, or an ONNX file, as a `.rcr` file, for `recurra.runtime.load`.

    Args:
        module: what `network_of` takes.
        path: where.
        precision: of the matrices: "float32", "bfloat16" or "int8" (a scale for each row).
        output, example, vocabulary, facts: as for `network_of`.

    Raises:
        ConversionError: something in the module cannot be taken; named, with the reason.
        ArgumentError: `precision` is unknown, or there is no such `output`.
        RunError: the file cannot be written.
    """
    network = network_of(module, output=output, example=example, vocabulary=vocabulary, facts=facts)
    write(network.quantised(precision), path)
