"""The contract, measured: whole sequence = chunks = steps = fused = runtime = every export."""

from recurra.errors import import_for

import_for(__name__, "torch")

from recurra.parity.exports import verify_exports
from recurra.parity.module import verify_module
from recurra.parity.paths import Row, difference, in_chunks, verify

__all__ = ["Row", "difference", "in_chunks", "verify", "verify_exports", "verify_module"]
