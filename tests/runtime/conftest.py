from __future__ import annotations

from typing import Any

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def poisoned_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that numpy.empty hands out is NaN, so that reading it before writing it shows."""
    monkeypatch.setattr(np, "empty", lambda *args, **options: _fill(empty(*args, **options)))


empty = np.empty


def _fill(array: Any) -> Any:
    if array.dtype.kind == "f":
        array.fill(np.nan)
    return array
