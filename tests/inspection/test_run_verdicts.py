"""What the losses of a run say, and what they are compared with."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import recurra
from recurra.inspection import Diagnosis, diagnose
from recurra.inspection.flow import Reach
from recurra.inspection.loss import Cost
from recurra.inspection.norms import training_norms
from recurra.inspection.performance import Performance, course_of, performance_of
from recurra.inspection.verdicts import Need
from recurra.models import LanguageModel

BASELINE = {
    "kind": "baseline",
    "name": "a 5-gram",
    "loss": 1.579,
    "unigram": 2.9,
    "unit": "nats a token",
}


def rows(
    training: list[float], validation: list[float], *more: dict[str, Any]
) -> list[dict[str, Any]]:
    """A run of so many epochs, a hundred steps each."""
    steps = [
        {"kind": "train", "epoch": 1, "step": step, "loss": 2.0, "grad_norm": 1.0}
        for step in range(1, 101)
    ]
    losses = zip(training, validation, strict=True)
    ends = [
        {
            "kind": "validation",
            "epoch": epoch,
            "step": 100 * epoch,
            "train_loss": train,
            "validation_loss": held_out,
        }
        for epoch, (train, held_out) in enumerate(losses, 1)
    ]
    return [*steps, *ends, *more]


def verdicts(history: Any, **options: Any) -> dict[str, tuple[str, str]]:
    torch.manual_seed(0)
    x, y = torch.randint(20, (2, 12, 4))
    found = diagnose(LanguageModel(20, 8, 8, 1), (x, y), history=history, **options)
    return {verdict.name: (verdict.severity, verdict.evidence) for verdict in found.verdicts}


def test_a_run_worse_than_the_naive_baseline_is_a_problem() -> None:
    found = verdicts(rows([2.1, 1.95, 1.9], [2.0, 1.92, 1.91], BASELINE))
    assert found["worse than the naive baseline"] == (
        "problem",
        (
            "After 3 epochs the loss is 1.91 nats a token, that of a 5-gram 1.579: the net has not"
            " learned what needs no net."
        ),
    )
    assert (
        "even the training loss, 1.9, is no better than 1.579, that of a 5-gram"
        in found["underfitting"][1].lower()
    )
    assert "worse than the naive baseline" not in verdicts(rows([2.1, 1.4], [2.0, 1.45], BASELINE))
    assert "worse than the naive baseline" in verdicts(
        rows([2.1, 1.4], [2.0, 1.45], BASELINE), baseline=1.2
    )
    assert "worse than the naive baseline" not in verdicts(
        rows([2.1, 1.4], [2.0, 1.45]), baseline=1.6
    )


def test_a_validation_loss_that_rises_while_training_falls_overfits() -> None:
    found = verdicts(rows([1.5, 1.2, 0.9, 0.6], [1.5, 1.4, 1.45, 1.6], BASELINE))
    assert found == {
        "overfitting": (
            "warning",
            (
                "The validation loss rose from 1.4 (epoch 2) to 1.6 (epoch 4), while the training"
                " loss fell from 1.2 to 0.6."
            ),
        )
    }
    assert "overfitting" not in verdicts(
        rows([1.5, 1.2, 1.3], [1.5, 1.4, 1.6], BASELINE)
    )  # both rose: no sign of it
    assert "overfitting" not in verdicts(
        rows([1.5, 1.2, 1.1], [1.5, 1.4, 1.41], BASELINE)
    )  # within its noise


def test_a_run_that_ends_while_it_learns_underfits() -> None:
    found = verdicts(rows([1.5, 1.3], [1.5, 1.4], BASELINE))
    assert found == {
        "underfitting": (
            "warning",
            "The run ended while the validation loss was still falling: 1.5, then 1.4.",
        )
    }
    assert verdicts(rows([1.5, 1.3], [1.4, 1.395], BASELINE)) == {}
    assert verdicts(rows([1.3], [1.4], BASELINE)) == {}  # one validation falls from nowhere


def test_the_baseline_and_the_loss_are_said_and_kept() -> None:
    x, y = torch.randint(20, (2, 12, 4))
    model = LanguageModel(20, 8, 8, 1)
    found = diagnose(model, (x, y), history=rows([1.5, 1.3], [1.5, 1.4], BASELINE))
    assert "The loss is 1.4 nats a token, that of a 5-gram 1.579." in str(found).splitlines()
    record = found.to_dict()
    assert (record["loss"], record["naive"], record["baseline"], record["unit"]) == (
        1.4,
        1.579,
        "a 5-gram",
        "nats a token",
    )
    bare = diagnose(model, (x, y))
    shares = y.unique(return_counts=True)[1].double() / y.numel()
    assert bare.performance.naive == pytest.approx(float(-(shares * shares.log()).sum()))
    assert bare.performance.loss == pytest.approx(
        float(model.eval().loss(x, y)[0].detach()), rel=1e-6
    )
    assert (
        bare.performance.trained is None
        and diagnose(model, (x, y), history=()).performance.trained is False
    )
    assert found.performance.trained is True


def test_what_is_known_is_printed_in_sentences() -> None:
    need = Need(Reach(12.0, 99.0), 99.0, "reach=99 is asked for")
    found = Diagnosis(
        (), (), need=need, performance=Performance(0.5, 1.0, "the mean", "mean squared error")
    )
    assert str(found).splitlines()[1:] == [
        "The loss's gradient reaches 12 of 99 steps back; reach=99 is asked for.",
        "The mean squared error is 0.5, that of the mean 1.",
    ]
    assert str(Diagnosis((), ())).splitlines()[1:] == ["The loss's gradient reaches no layer."]


def test_without_a_target_there_is_no_loss_to_speak_of() -> None:
    found = diagnose(recurra.GRU(3, 4), (torch.randn(5, 2, 3),))
    assert (
        found.performance.loss is None
        and "loss is" not in str(found)
        and found.to_dict()["loss"] is None
    )
    assert not found.performance.beats and not found.performance.fails
    assert math.isfinite(found.need.reach.steps)  # type: ignore[union-attr]
    assert "The loss's gradient reaches all 4 steps measured back." in str(found)


def test_rows_that_somebody_wrote_into_a_history_are_passed_over() -> None:
    strange: list[Any] = ["much", True, [1], {}, None]
    rows = [
        {"kind": "validation", "epoch": 1, "train_loss": 2.0, "validation_loss": value}
        for value in strange
    ]
    assert course_of(rows) is None
    assert training_norms([{"kind": "train", "grad_norm": value} for value in strange[:4]]) is None
    performance = performance_of(
        Cost(torch.zeros(()), 1.0, 2.0, "a guess", "nats"),
        [{"kind": "baseline", "loss": "low"}],
        None,
    )
    assert performance.naive == 2.0
