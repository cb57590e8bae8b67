"""Kernels: programs as the native module takes them, and scans run by it. Importing this needs no PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recurra.kernels.encode import encode

if TYPE_CHECKING:
    from recurra.kernels.forward import forward

__all__ = ["encode", "forward"]


def __getattr__(name: str) -> Any:
    if name == "forward":
        import importlib

        function = importlib.import_module("recurra.kernels.forward").forward
        globals()["forward"] = function
        return function
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
