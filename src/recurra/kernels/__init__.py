"""Kernels: programs as the native module takes them, and scans run by it. Importing this needs no
PyTorch.

`recurra.kernels.operator` registers `recurra::scan_forward` and `recurra::scan_backward`.
"""

from __future__ import annotations

from recurra.kernels.encode import encode

__all__ = ["encode"]
