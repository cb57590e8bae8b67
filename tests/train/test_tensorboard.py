"""Rows become events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from recurra.errors import MissingDependency
from recurra.models import LanguageModel
from recurra.train import Recipe, TensorBoard, fit, from_text


def test_rows_become_events(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    data = from_text("the cat sat on the mat; " * 20)
    model = LanguageModel(len(data.vocabulary), 6, 7)
    run = fit(
        model,
        data,
        Recipe(epochs=2, window=20, batch=4),
        show=False,
        callbacks=[TensorBoard(tmp_path, every=2)],
    )
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    train = [row for row in run.history if row["kind"] == "train"]
    for name in ("loss", "grad_norm", "lr", "tokens_per_s"):
        found = [(event.step, event.value) for event in events.Scalars(f"train/{name}")]
        assert found == [
            (row["step"], pytest.approx(row[name], rel=1e-6))
            for row in train
            if row["step"] % 2 == 0
        ]
    validations = [row for row in run.history if row["kind"] == "validation"]
    assert [event.value for event in events.Scalars("validation/loss")] == pytest.approx(
        [row["validation_loss"] for row in validations]
    )


def test_without_the_package_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    real = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name == "torch.utils.tensorboard":
            raise ImportError("no tensorboard")
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        MissingDependency,
        match=(
            r'^TensorBoard needs a package; install it with: pip install "recurra\[tensorboard\]"$'
        ),
    ):
        TensorBoard("x")
    assert torch is not None
