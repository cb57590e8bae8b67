"""The most multiply-adds a second that the processor can do, measured, never computed from its
clock.
"""

from __future__ import annotations

import torch

from recurra import native
from recurra.kernels.pool import pool


def fma_peak(seconds: float) -> float | None:
    """GFLOP/s of float32 multiply-adds in registers, on as many threads as torch uses, measured for
    so long.

    None where that cannot be measured: the native module does not do it, or cannot borrow torch's
    threads.
    """
    measured, lent = getattr(native, "fma_peak", None), pool()
    if measured is None or lent[-1] != torch.get_num_threads():
        return None
    return float(measured(seconds=seconds, pool=lent))
