"""What may not come in as an array."""

from __future__ import annotations

import sys
from typing import Any

from recurra.errors import DtypeError


def refuse_mask(name: str, array: Any) -> None:
    """Raise where an array has a mask: what is under it would count as numbers.

    Raises:
        DtypeError: it has.
    """
    masked = sys.modules.get("numpy.ma")  # whoever has such an array has loaded it
    if masked is not None and isinstance(array, masked.MaskedArray):
        raise DtypeError(
            f"{name} must be an array without a mask, got a masked one; use {name}.filled(value)"
        )
