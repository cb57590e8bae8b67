"""Networks as files that others run: the runtime's own, ONNX graphs, C headers. What needs PyTorch is loaded when it is used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recurra.export.c_header import to_c, write_c
    from recurra.export.from_torch import network_of
    from recurra.export.onnx_graph import initial_states, to_onnx
    from recurra.export.to_runtime import runtime

_HOME = {
    "to_c": "c_header", "write_c": "c_header", "network_of": "from_torch", "to_onnx": "onnx_graph", "initial_states": "onnx_graph",
    "runtime": "to_runtime",
}  # fmt: skip

__all__ = ["initial_states", "network_of", "runtime", "to_c", "to_onnx", "write_c"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"recurra.export.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
