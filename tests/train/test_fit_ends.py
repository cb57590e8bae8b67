"""What cannot be trained is refused before anything is touched, and what goes wrong on the way
leaves a usable run.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recurra.cells import Cell
from recurra.errors import ArgumentError, DataError, RunError, SlowWarning
from recurra.models import Characters, LanguageModel, load
from recurra.train import (
    Corpus,
    Part,
    Recipe,
    contiguous,
    evaluate,
    fit,
    from_text,
    open_run,
    read_history,
)
from tests.cells.zoo import assert_close
from tests.train.moments import Chunks

TEXT = "the cat sat on the mat and the rat sat on the cat; " * 12


def corpus() -> Corpus:
    return from_text(TEXT)


def made(data: Corpus, **options: Any) -> LanguageModel:
    torch.manual_seed(3)
    return LanguageModel(
        len(data.vocabulary),
        **{"embed": 6, "hidden": 7, "dropout": 0.2, "vocabulary": data.vocabulary} | options,
    )


# What is refused, before anything is touched


class Summed(Cell):
    """A cell that the plain loop alone can run."""

    state, gates = ("h",), ("n",)

    def pointwise(self, a: Any, s: Any) -> dict[str, torch.Tensor]:
        return dict(h=torch.tanh(a.n - a.n.sum() / 100), n=a.n)


def part(*tokens: int, starts: tuple[int, ...] = ()) -> Part:
    return Part(np.array(tokens, dtype=np.int64), starts)


AB = Characters.of("ab")


@pytest.mark.parametrize(
    ("data", "options", "recipe", "error", "message"),
    [
        (
            corpus(),
            {"vocabulary": None, "vocab_size": 4},
            Recipe(),
            ArgumentError,
            "model must have vocab_size 13, as the data has, got 4",
        ),
        (
            Corpus(part(*[0, 1] * 50), part(0, 1, 0), AB),
            {"vocabulary": Characters.of("xy")},
            Recipe(),
            ArgumentError,
            "model must have the vocabulary of the data, got another one of the same size",
        ),
        (
            Corpus(part(0, 1, 0, 1), part(0, 1), AB),
            {},
            Recipe(batch=4),
            ArgumentError,
            "batch must be less than the 4 tokens of the training part, got 4",
        ),
        (
            Corpus(part(0, 1, 0, 1), part(0), AB),
            {},
            Recipe(batch=2),
            DataError,
            "data must have at least two tokens for validation, got 1",
        ),
        (
            Corpus(part(0, 1, 0, 1), part(0, 1, starts=(1,)), AB),
            {},
            Recipe(batch=2),
            DataError,
            "data must have a token to predict for validation, got only documents of one token",
        ),
        (
            Corpus(part(0, 1, 0, starts=(0, 1, 2)), part(0, 1), AB),
            {},
            Recipe(batch=2),
            DataError,
            "data must have a token to predict for training, got only documents of one token",
        ),
        (
            corpus(),
            {"cell": Summed()},
            Recipe(batch=2),
            ArgumentError,
            (
                "cell must have a program to be saved with a model, got Summed(): pointwise must"
                " use elementwise operations only, got sum"
            ),
        ),
    ],
    ids=["size", "vocabulary", "batch", "short", "validation", "training", "cell"],
)
def test_what_cannot_be_trained(
    tmp_path: Path,
    data: Corpus,
    options: dict[str, Any],
    recipe: Recipe,
    error: type[Exception],
    message: str,
) -> None:
    model = LanguageModel(
        **{
            "vocab_size": len(data.vocabulary),
            "embed": 4,
            "hidden": 4,
            "vocabulary": data.vocabulary,
        }
        | options
    )
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        fit(model, data, recipe, out=tmp_path / "run", show=False)
    assert not (tmp_path / "run").exists()


def test_a_cell_without_a_program_trains_without_a_folder() -> None:
    data = corpus()
    with pytest.warns(SlowWarning, match=r"^Summed\(\) runs step by step"):
        assert math.isfinite(
            fit(made(data, cell=Summed()), data, Recipe(epochs=1, batch=4), show=False).best_loss
        )


# What goes wrong on the way


def test_a_loss_that_is_not_finite_stops_and_keeps_the_best(tmp_path: Path) -> None:
    data = corpus()
    model, rows = made(data), []

    def poison(row: dict[str, Any]) -> None:
        rows.append(row)
        if row["epoch"] == 2:
            with torch.no_grad():
                model.decoder_bias[0] = math.nan

    message = (
        "loss and gradient must stay finite, got nan at step {} of epoch 2 (gradient norm nan); "
        "try a smaller lr than 0.01 or a smaller clip_norm; the best model so far is kept; "
        "the last checkpoint stands; the weights decoder_bias are not finite"
    )
    with pytest.raises(RunError) as caught:
        fit(
            model,
            data,
            Recipe(epochs=3, window=30, batch=4, lr=0.01),
            out=tmp_path / "run",
            show=False,
            callbacks=[Chunks(poison)],
        )
    assert str(caught.value) == message.format(rows[-1]["step"] + 1)
    history = read_history(tmp_path / "run")
    assert history[-1]["loss"] is None and history[-1]["step"] == rows[-1]["step"] + 1
    assert_close(model.state_dict(), load(tmp_path / "run" / "model.safetensors").state_dict(), 0)
    assert (
        all(bool(weight.isfinite().all()) for weight in model.parameters()) and not model.training
    )


def test_a_gradient_that_is_not_finite_stops_before_it_is_taken() -> None:
    data = corpus()
    model = made(data)
    model.bottleneck.weight.register_hook(lambda gradient: gradient * math.inf)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    message = (
        r"^loss and gradient must stay finite, got 2\.\d+ at step 1 of epoch 1 \(gradient norm"
        r" (nan|inf)\);"
    )
    with pytest.raises(RunError, match=message) as caught:
        fit(model, data, Recipe(epochs=1, window=30, batch=4), show=False)
    assert "kept" not in str(caught.value)
    assert_close(model.state_dict(), before, 0)


def test_a_validation_that_is_not_finite_stops(tmp_path: Path) -> None:
    data = corpus()
    model = made(data)
    steps = len(contiguous(data.train.tokens, 4).x)

    def poison(row: dict[str, Any]) -> None:
        with torch.no_grad():
            model.decoder_bias[0] = math.inf

    with pytest.raises(
        RunError,
        match=(
            r"^validation loss and gradient must stay finite, got nan at step 1 of epoch 1; try a"
            r" smaller lr"
        ),
    ):
        fit(
            model,
            data,
            Recipe(epochs=1, window=steps, batch=4),
            out=tmp_path / "run",
            show=False,
            callbacks=[Chunks(poison)],
        )
    assert [row["kind"] for row in read_history(tmp_path / "run")] == ["train", "validation"]


@pytest.mark.parametrize("at", [1, 2, 30])
def test_an_interrupt_leaves_a_model_and_a_closed_history(tmp_path: Path, at: int) -> None:
    data = corpus()
    model, opened = made(data), []

    def stop(row: dict[str, Any]) -> None:
        opened.append(row)
        if row["step"] == at:
            raise KeyboardInterrupt

    run = fit(
        model,
        data,
        Recipe(epochs=30, window=30, batch=4, lr=0.01),
        out=tmp_path / "run",
        show=False,
        callbacks=[Chunks(stop)],
    )
    assert run.stopped and run.folder == tmp_path / "run" and not model.training
    assert (
        read_history(tmp_path / "run") == run.history
        and run.history[-1] == opened[-1]
        and opened[-1]["step"] == at
    )
    assert_close(open_run(tmp_path / "run").state_dict(), model.state_dict(), 0)
    if at == 30:
        held = contiguous(data.validation.tokens, 4)
        assert evaluate(model, held) == pytest.approx(run.best_loss, abs=1e-12)
        assert run.best_loss == min(
            row["validation_loss"] for row in run.history if row["kind"] == "validation"
        )


def test_an_interrupt_before_any_validation_without_a_folder_leaves_the_model_as_it_is() -> None:
    data, seen = corpus(), []
    model = made(data)

    def stop(row: dict[str, Any]) -> None:
        seen.append({name: value.clone() for name, value in model.state_dict().items()})
        raise KeyboardInterrupt

    run = fit(
        model, data, Recipe(epochs=1, window=30, batch=4), show=False, callbacks=[Chunks(stop)]
    )
    assert run.stopped and run.best_loss == math.inf
    assert_close(model.state_dict(), seen[-1], 0)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("a" * 60, {}),
        (TEXT, {"window": 1, "batch": 30}),
        (TEXT, {"batch": 1, "window": 200}),
        (TEXT, {"window": 10_000}),
        ("ab" * 20, {"batch": 35}),
    ],
)
def test_the_edges_train(text: str, fields: dict[str, Any], tmp_path: Path) -> None:
    """A vocabulary of one, a window of one step, a batch of one row, a window and a batch longer
    than the corpus.
    """
    data = from_text(text)
    run = fit(
        made(data),
        data,
        Recipe(**{"epochs": 2, "batch": 4} | fields),
        out=tmp_path / "run",
        show=False,
    )
    assert math.isfinite(run.best_loss) and (run.best_loss == 0.0) == (len(data.vocabulary) == 1)


def test_another_error_closes_the_history_and_goes_on_up(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    data = corpus()
    with pytest.raises(ZeroDivisionError):
        fit(
            made(data),
            data,
            Recipe(epochs=1, window=30, batch=4),
            out=tmp_path / "run",
            show=False,
            callbacks=[Chunks(lambda row: 1 / 0)],
        )
    assert len(read_history(tmp_path / "run")) == 1
