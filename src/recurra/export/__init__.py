"""Networks as files that others run: the runtime's own, graphs for ONNX and PyTorch, C headers.
PyTorch is loaded when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recurra.errors import import_for

if TYPE_CHECKING:
    from recurra.export.c_header import to_c, write_c
    from recurra.export.from_torch import network_of
    from recurra.export.onnx_graph import to_onnx
    from recurra.export.rcr import to_rcr
    from recurra.export.signature import initial_states
    from recurra.export.torch_graph import to_pt2

_HOME = {
    "to_c": "c_header",
    "write_c": "c_header",
    "network_of": "from_torch",
    "to_onnx": "onnx_graph",
    "initial_states": "signature",
    "to_rcr": "rcr",
    "to_pt2": "torch_graph",
}

__all__ = ["initial_states", "network_of", "to_c", "to_onnx", "to_pt2", "to_rcr", "write_c"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_for(f"recurra.export.{name}", f"recurra.export.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
