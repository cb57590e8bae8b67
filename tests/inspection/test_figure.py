"""A drawing that goes to no file is a figure, which shows itself without pyplot and without a
screen.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch
from matplotlib.figure import Figure

import recurra
from recurra.inspection import diagnose, gradient_flow, plot_flow, plot_history
from recurra.inspection.figure import NotebookFigure

PNG = b"\x89PNG\r\n\x1a\n"


def test_a_drawing_without_a_path_is_a_figure_that_is_a_picture(tmp_path: Path) -> None:
    layer, x = recurra.LSTM(3, 4), torch.randn(6, 2, 3)
    found = diagnose(layer, (x,))
    drawn = [
        found.plot(),
        plot_flow(gradient_flow(layer, (x,))),
        plot_history(
            [{"kind": "train", "step": 1, "loss": 3.0}, {"kind": "train", "step": 2, "loss": 2.0}]
        ),
    ]
    for figure in drawn:
        assert (
            isinstance(figure, Figure)
            and isinstance(figure, NotebookFigure)
            and figure._repr_png_().startswith(PNG)
        )
    assert found.plot(path=tmp_path / "a.png") is None and (
        tmp_path / "a.png"
    ).read_bytes().startswith(PNG)


def test_pyplot_is_not_loaded_and_no_screen_is_asked_for() -> None:
    code = """
import os, sys, torch, recurra
os.environ.pop("DISPLAY", None)
os.environ["MPLBACKEND"] = "tkagg"
recurra.inspection.diagnose(recurra.LSTM(3, 4), (torch.randn(6, 2, 3),)).plot()._repr_png_()
print("matplotlib.pyplot" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "False\n"
