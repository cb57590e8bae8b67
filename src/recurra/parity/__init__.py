"""The contract, measured: whole sequence = chunks = steps = fused = runtime = every export."""

from recurra.parity.exports import verify_exports
from recurra.parity.paths import CHUNKS, Row, difference, in_chunks, verify

__all__ = ["CHUNKS", "Row", "difference", "in_chunks", "verify", "verify_exports"]
