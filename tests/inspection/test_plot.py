"""Drawings are written, and show what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure

import recurra
from recurra.errors import ArgumentError
from recurra.inspection import GradientFlow, gradient_flow, plot_flow, plot_history

HISTORY = [
    {"kind": "train", "step": 1, "loss": 3.0},
    {"kind": "train", "step": 2, "loss": 2.5},
    {"kind": "validation", "step": 2, "validation_loss": 2.6},
    {"kind": "train", "step": 3, "loss": 2.0},
    {"kind": "validation", "step": 3, "validation_loss": 2.2},
]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Every figure that was saved."""
    figures: list[Figure] = []
    plain = Figure.savefig

    def note(self: Figure, *args: Any, **options: Any) -> None:
        figures.append(self)
        plain(self, *args, **options)

    monkeypatch.setattr(Figure, "savefig", note)
    return figures


def lines(figure: Figure) -> dict[str, tuple[list[float], list[float]]]:
    return {
        str(line.get_label()): (list(line.get_xdata()), list(line.get_ydata()))
        for line in figure.axes[0].lines
    }


def test_flow_is_drawn_by_step(tmp_path: Path, drawn: list[Figure]) -> None:
    flow = gradient_flow(recurra.LSTM(3, 4, 2), (torch.randn(6, 2, 3),), loss_at="last step")
    plot_flow(flow, tmp_path / "flow.png")
    assert (tmp_path / "flow.png").read_bytes().startswith(b"\x89PNG")
    expected = {
        f"layer {layer}: LSTM()": (list(range(1, 7)), flow.norms[layer].tolist())
        for layer in (0, 1)
    }
    assert lines(drawn[0]) == expected and drawn[0].axes[0].get_yscale() == "log"


def test_a_flow_with_zeros_is_drawn(tmp_path: Path) -> None:
    plot_flow(GradientFlow(("Elman()",), torch.tensor([[0.0, 0.0, 1.0]])), tmp_path / "some.png")
    plot_flow(GradientFlow(("Elman()",), torch.zeros(1, 3)), tmp_path / "none.png")
    assert (tmp_path / "none.png").exists() and (tmp_path / "some.png").exists()


def test_history_is_drawn_by_training_step(tmp_path: Path, drawn: list[Figure]) -> None:
    plot_history(HISTORY, str(tmp_path / "loss.svg"))
    assert b"<svg" in (tmp_path / "loss.svg").read_bytes()
    assert lines(drawn[0]) == {
        "training, each chunk": ([1, 2, 3], [3.0, 2.5, 2.0]),
        "validation": ([2, 3], [2.6, 2.2]),
    }


def test_history_without_validation_is_drawn(tmp_path: Path, drawn: list[Figure]) -> None:
    plot_history(HISTORY[:2], tmp_path / "loss.png")
    assert list(lines(drawn[0])) == ["training, each chunk"]


@pytest.mark.parametrize("history", [[], HISTORY[2:3]], ids=len)
def test_a_history_of_no_step_is_refused(tmp_path: Path, history: list[dict[str, Any]]) -> None:
    with pytest.raises(
        ArgumentError, match=r"^history must hold at least one training row, got none$"
    ):
        plot_history(history, tmp_path / "loss.png")
    assert not list(tmp_path.iterdir())
