"""Sizes that no machine holds are refused before memory is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import recurra
from recurra.errors import ArgumentError
from recurra.layers import memory
from recurra.models import LanguageModel


@pytest.mark.parametrize(
    "make",
    [
        lambda: recurra.LSTM(3, 10**9),
        lambda: recurra.GRU(10**18, 4),
        lambda: recurra.LSTMCell(3, 10**30),
        lambda: LanguageModel(9, 10**12),
        lambda: recurra.Recurrent(recurra.cells.GRU(), 3, 10**9),
        lambda: LanguageModel(9, 4, 10**9),
        lambda: LanguageModel(10**15, 4, 5),
        lambda: LanguageModel(10**9, 2, 10**5, 1, tied=False),
    ],
)
def test_weights_beyond_all_memory(make: Callable[[], Any]) -> None:
    with pytest.raises(
        ArgumentError,
        match=(
            r"^(hidden_size|embed and hidden) must make weights that fit into memory, got .*GB;"
            r" take less$"
        ),
    ):
        make()


def test_layers_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_physical", lambda: 100_000)
    LanguageModel(9, 4, 16, layers=4)
    with pytest.raises(
        ArgumentError,
        match=r"^embed and hidden must make weights that fit into memory, got \(4, 16\)",
    ):
        LanguageModel(9, 4, 16, layers=40)


def test_more_layers_than_a_file_holds() -> None:
    with pytest.raises(ArgumentError, match=r"^layers must be at most 1000, got 1000000000$"):
        LanguageModel(9, 4, 5, layers=10**9)
