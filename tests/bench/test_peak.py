"""The peak is what the native module measured on torch's threads, or nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from recurra import native
from recurra.bench import peak


def test_it_is_measured_on_the_threads_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(
        peak, "native", SimpleNamespace(fma_peak=lambda **options: asked.append(options) or 150)
    )
    assert peak.fma_peak(0.25) == 150.0
    assert (
        asked == [{"seconds": 0.25, "pool": peak.pool()}]
        and asked[0]["pool"][-1] == torch.get_num_threads()
    )


def test_where_threads_cannot_be_borrowed_there_is_no_figure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peak, "native", SimpleNamespace(fma_peak=lambda **options: 150))
    monkeypatch.setattr(peak, "pool", lambda: (0, 0, 0, torch.get_num_threads() + 1))
    assert peak.fma_peak(0.25) is None


def test_without_a_measurement_there_is_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak, "native", SimpleNamespace())
    assert peak.fma_peak(0.25) is None


@pytest.mark.skipif(
    not hasattr(native, "fma_peak"), reason="this native module does not measure it"
)
def test_the_native_module_gives_a_figure() -> None:
    figure = peak.fma_peak(0.01)
    assert figure is not None and figure > 0
