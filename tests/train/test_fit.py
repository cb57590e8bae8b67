"""The loop equals a bare PyTorch loop, keeps the best model, and ends well whatever happens."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import recurra
from recurra import cells
from recurra import state as states
from recurra.errors import ArgumentError, DataError
from recurra.models import LanguageModel
from recurra.train import (
    Corpus,
    Recipe,
    Run,
    Streams,
    chunk_loss,
    contiguous,
    evaluate,
    fit,
    from_text,
    open_run,
    read_history,
    tbptt,
)
from recurra.train.processes import Alone
from tests.cells.zoo import assert_close
from tests.train.moments import Chunks

TEXT = "the cat sat on the mat and the rat sat on the cat; " * 12
DOCUMENTS = [
    "to be or not to be",
    "that is the question",
    "whether tis nobler in the mind to suffer",
] * 8


def corpus(texts: Any = TEXT) -> Corpus:
    return from_text(texts)


def made(data: Corpus, **options: Any) -> LanguageModel:
    torch.manual_seed(3)
    given = {"embed": 6, "hidden": 7, "dropout": 0.2, "vocabulary": data.vocabulary} | options
    return LanguageModel(len(data.vocabulary), **given)


def bare(
    model: LanguageModel, data: Corpus, recipe: Recipe
) -> tuple[list[tuple[float, float, float]], dict[str, Tensor], list[float]]:
    """Truncated backpropagation written out: (loss, norm, lr) of each step, the best weights, each
    validation's loss.
    """
    torch.manual_seed(recipe.seed)
    stride = recipe.stride or recipe.window
    train = contiguous(data.train.tokens, recipe.batch, data.train.starts)
    held = contiguous(
        data.validation.tokens,
        min(recipe.batch, len(data.validation.tokens) - 1),
        data.validation.starts,
    )
    steps, starts = len(train.x), []
    while not starts or starts[-1] + recipe.window < steps:
        starts.append(starts[-1] + stride if starts else 0)
    adam, rows, best, validations = torch.optim.Adam(model.parameters(), lr=recipe.lr), [], {}, []
    for _ in range(recipe.epochs):
        model.train()
        state, done = None, 0
        for start in starts:
            stop = min(start + recipe.window, steps)
            cut, logits, at = min(stride, stop - start), [], start
            for end in sorted({start + cut, stop}):
                resets = None if train.resets is None else train.resets[at:end]
                part, after = model(train.x[at:end], state, resets=resets)
                logits.append(part)
                state, at = after, end
                carried = after if end == start + cut else carried  # noqa: F821
            flat = torch.cat(logits)[done - start :].flatten(0, 1)
            loss = F.cross_entropy(flat, train.y[done:stop].flatten(), ignore_index=-100)
            adam.zero_grad()
            loss.backward()
            norm = math.sqrt(
                sum(float(weight.grad.square().sum()) for weight in model.parameters())
            )
            if recipe.clip_norm is not None and norm > recipe.clip_norm:
                for weight in model.parameters():
                    weight.grad *= recipe.clip_norm / (norm + 1e-6)
            if recipe.schedule == "cosine":
                share = len(rows) / (recipe.epochs * len(starts))
                adam.param_groups[0]["lr"] = recipe.lr * (1 + math.cos(math.pi * share)) / 2
            adam.step()
            rows.append((loss.item(), norm, adam.param_groups[0]["lr"]))
            state, done = states.redraw(states.detach(carried)), stop
        model.eval()
        with torch.no_grad():
            logits, _ = model(held.x, resets=held.resets)
            validations.append(
                F.cross_entropy(logits.flatten(0, 1), held.y.flatten(), ignore_index=-100).item()
            )
        if validations[-1] == min(validations):
            best = {name: value.clone() for name, value in model.state_dict().items()}
    return rows, best, validations


CASES = {
    "plain": (Recipe(epochs=3, window=11, batch=4, lr=0.01), TEXT, {}),
    "documents": (
        Recipe(epochs=2, window=11, batch=5, lr=0.01, seed=7),
        DOCUMENTS,
        {"cell": "gru"},
    ),
    "stride": (
        Recipe(epochs=2, window=12, stride=5, batch=4, lr=0.01, clip_norm=0.3),
        DOCUMENTS,
        {"dropout": 0.0},
    ),
    "cosine": (
        Recipe(epochs=3, window=20, batch=3, lr=0.02, schedule="cosine", clip_norm=None),
        TEXT,
        {"tied": False},
    ),
    "rising": (Recipe(epochs=5, window=20, batch=3, lr=0.1), TEXT, {"cell": "rnn"}),
    "masks": (
        Recipe(epochs=2, window=13, batch=4, lr=0.01),
        TEXT,
        {"cell": cells.RecurrentDropout(cells.LSTM(), 0.4)},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_fit_equals_a_bare_loop(case: str) -> None:
    recipe, texts, options = CASES[case]
    data = corpus(texts)
    mine, plain = made(data, **options), made(data, **options)
    run = fit(mine, data, recipe, show=False)
    rows, best, validations = bare(plain, data, recipe)
    train = [row for row in run.history if row["kind"] == "train"]
    assert len(train) == len(rows) and [row["step"] for row in train] == list(
        range(1, len(rows) + 1)
    )
    for row, (loss, norm, lr) in zip(train, rows):
        assert row["loss"] == pytest.approx(loss, abs=1e-6) and row["grad_norm"] == pytest.approx(
            norm, abs=1e-6
        )
        assert row["lr"] == pytest.approx(lr, abs=1e-12)
    found = [row for row in run.history if row["kind"] == "validation"]
    assert [row["validation_loss"] for row in found] == pytest.approx(validations, abs=1e-6)
    assert (
        run.best_loss == pytest.approx(min(validations), abs=1e-6)
        and run.model is mine
        and not run.stopped
        and run.folder is None
    )
    assert_close(mine.state_dict(), best, 1e-6)
    if case == "rising":
        assert min(validations) < validations[-1], (
            "the best must not be the last, or restoring it shows nothing"
        )


def test_a_model_that_comes_in_evaluation_mode_is_trained_with_dropout() -> None:
    data, losses = corpus(), []
    for mode in (True, False):
        run = fit(made(data).train(mode), data, Recipe(epochs=2, window=30, batch=4), show=False)
        losses.append([row["loss"] for row in run.history if row["kind"] == "train"])
        assert not run.model.training
    assert losses[0] == losses[1]


def test_history_counts_every_token() -> None:
    data = corpus(DOCUMENTS)
    run = fit(made(data), data, Recipe(epochs=2, window=9, stride=4, batch=4), show=False)
    streams = contiguous(data.train.tokens, 4, data.train.starts)
    for epoch in (1, 2):
        rows = [row for row in run.history if row["epoch"] == epoch]
        *train, last = rows
        assert [row["kind"] for row in rows] == ["train"] * len(train) + ["validation"]
        assert (
            sum(row["tokens"] for row in train) == last["tokens"] == int((streams.y != -100).sum())
        )
        assert last["train_loss"] == pytest.approx(
            sum(row["loss"] * row["tokens"] for row in train) / last["tokens"]
        )
        assert (
            last["step"] == train[-1]["step"] and last["elapsed_s"] > 0 and last["tokens_per_s"] > 0
        )


def test_the_loss_falls_on_a_small_text() -> None:
    data = corpus()
    run = fit(
        made(data, dropout=0.0), data, Recipe(epochs=12, window=20, batch=4, lr=0.03), show=False
    )
    losses = [row["loss"] for row in run.history if row["kind"] == "train"]
    assert losses[-1] < 0.3 * losses[0] and run.best_loss < 0.3 * math.log(len(data.vocabulary))


def test_a_seed_makes_the_run() -> None:
    data, losses = corpus(), []
    for seed in (1, 1, 2):
        run = fit(made(data), data, Recipe(epochs=1, window=30, batch=4, seed=seed), show=False)
        losses.append([row["loss"] for row in run.history if row["kind"] == "train"])
    assert losses[0] == losses[1] != losses[2]


def test_clipping_bounds_what_adam_sees_and_the_row_has_the_norm_before() -> None:
    data = corpus()
    model, seen = made(data), []
    recipe = Recipe(epochs=1, window=30, batch=4, clip_norm=0.01)

    def look(row: dict[str, Any]) -> None:
        norm = math.sqrt(
            sum(
                float(weight.grad.square().sum())
                for weight in model.parameters()
                if weight.grad is not None
            )
        )
        seen.append((row["grad_norm"], norm))

    fit(model, data, recipe, show=False, callbacks=[Chunks(look)])
    assert (
        all(before > 0.02 and after == pytest.approx(0.01, rel=1e-3) for before, after in seen)
        and len(seen) > 2
    )


def test_cosine_ends_at_zero() -> None:
    data = corpus()
    run = fit(
        made(data),
        data,
        Recipe(epochs=3, window=30, batch=4, lr=0.1, schedule="cosine"),
        show=False,
    )
    rates = [row["lr"] for row in run.history if row["kind"] == "train"]
    count = len(rates)
    assert rates == sorted(rates, reverse=True) and rates[0] == 0.1
    assert (
        rates[-1] == pytest.approx(0.1 * (1 + math.cos(math.pi * (count - 1) / count)) / 2)
        and rates[-1] < 0.1 * 3 / count**2
    )


def test_recipe_defaults() -> None:
    data = from_text(TEXT[:100], validation=0.2)
    run = fit(made(data), data, show=False)
    rows = [row for row in run.history if row["kind"] == "train"]
    assert (
        run.history[-1]["epoch"] == Recipe().epochs == 10
        and rows[0]["lr"] == 1e-3
        and rows[0]["tokens"] == 79
    )


def test_validation_shorter_than_the_batch() -> None:
    data = from_text(TEXT[:100], validation=0.03)
    assert len(data.validation.tokens) == 3
    assert math.isfinite(fit(made(data), data, Recipe(epochs=1, batch=20), show=False).best_loss)


@pytest.mark.parametrize(("window", "stride"), [(2, None), (3, 1), (5, 2)])
def test_documents_of_one_letter_between_others_are_passed_by(
    window: int, stride: int | None
) -> None:
    """A chunk in which nothing is predicted takes no step; with weights that stand still the others
    cost what they do in the whole.
    """
    texts = [*"abcab", "abcabcabcabc", *"abc", "abcabcabc"] * 2
    data = from_text(texts, validation=0.3)
    model = made(data, dropout=0.0)
    run = fit(
        model, data, Recipe(epochs=2, window=window, stride=stride, batch=1, lr=1e-14), show=False
    )
    rows = [row for row in run.history if row["kind"] == "train"]
    streams = contiguous(data.train.tokens, 1, data.train.starts)
    with torch.no_grad():
        logits, _ = model(streams.x, resets=streams.resets)
    each = F.cross_entropy(
        logits.flatten(0, 1), streams.y.flatten(), ignore_index=-100, reduction="none"
    )
    counted = [chunk.counted for chunk in tbptt(streams, window, stride)]
    pairs = list(zip(each.split(counted), streams.y.flatten().split(counted)))
    expected = [float(losses[y != -100].mean()) for losses, y in pairs if bool((y != -100).any())]
    assert len(expected) < len(pairs) and [row["loss"] for row in rows] == pytest.approx(
        expected * 2, abs=1e-9
    )


# On disk and on screen


def test_a_run_on_disk_is_the_run_in_memory(tmp_path: Path) -> None:
    data = corpus()
    model, seen = made(data), []

    def look(row: dict[str, Any]) -> None:
        seen.append(read_history(tmp_path / "deep" / "run")[-1] == row)

    run = fit(
        model,
        data,
        Recipe(epochs=3, window=30, batch=4, lr=0.3),
        out=str(tmp_path / "deep" / "run"),
        show=False,
        callbacks=[Chunks(look)],
    )
    assert isinstance(run, Run) and run.folder == tmp_path / "deep" / "run" and all(seen) and seen
    assert read_history(run.folder) == run.history
    assert sorted(path.name for path in run.folder.iterdir()) == [
        ".lock",
        "config.toml",
        "history.jsonl",
        "last",
        "model.safetensors",
    ]
    back = open_run(run.folder)
    assert_close(back.state_dict(), model.state_dict(), 0)
    assert back.vocabulary == data.vocabulary
    held = contiguous(data.validation.tokens, 4)
    assert evaluate(back, held) == pytest.approx(run.best_loss, abs=1e-12)


def test_quiet_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    data = corpus()
    fit(made(data), data, Recipe(epochs=2, batch=4), show=False)
    assert capfd.readouterr() == ("", "")


def test_a_record_a_validation_where_there_is_no_terminal(
    capfd: pytest.CaptureFixture[str],
) -> None:
    data = corpus()
    run = fit(made(data), data, Recipe(epochs=2, batch=4, lr=0.01))
    out, err = capfd.readouterr()
    rows = [row for row in run.history if row["kind"] == "validation"]
    assert out == "" and [json.loads(line) for line in err.splitlines()] == rows and len(rows) == 2


# Evaluation


@pytest.mark.parametrize("window", [1, 7, 1000])
def test_evaluation_does_not_depend_on_the_window(window: int) -> None:
    data = corpus(DOCUMENTS)
    model, streams = made(data).train(), contiguous(data.train.tokens, 3, data.train.starts)
    model.recurrent.layers[1].eval()
    before = [part.training for part in model.modules()]
    found = evaluate(model, streams, window)
    assert [part.training for part in model.modules()] == before
    with torch.no_grad():
        whole, _ = model.eval().loss(streams.x, streams.y, resets=streams.resets)
    assert found == pytest.approx(whole.item(), abs=1e-12)


@pytest.mark.parametrize("rows", [1, 5])
def test_each_process_evaluates_its_rows(rows: int) -> None:
    data, sums = corpus(DOCUMENTS), []
    model, streams = made(data), contiguous(data.train.tokens, rows, data.train.starts)

    class Half(Alone):
        count = 2

        def sum(self, *values: float) -> tuple[float, ...]:
            sums.append(values)
            return values[0], max(1.0, values[1])

    for rank in (0, 1):
        team = Half(torch.device("cpu"))
        team.rank = rank
        evaluate(model, streams, window=7, team=team)
    whole = evaluate(model, streams, window=7, team=Alone(torch.device("cpu")))
    assert sum(total for total, _ in sums) / sum(count for _, count in sums) == pytest.approx(
        whole, abs=1e-12
    )


def test_evaluation_of_nothing_is_refused() -> None:
    streams = Streams(torch.zeros(3, 1, dtype=torch.long), torch.full((3, 1), -100))
    with pytest.raises(DataError, match=r"^streams must hold a target that counts, got none$"):
        evaluate(made(corpus()), streams)


class Own(torch.nn.Module):
    """Somebody's own model."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.out = recurra.GRU(3, 8), torch.nn.Linear(8, 1)

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        y, state = self.rnn(x, state)
        return self.out(y), state


def test_another_model_is_told_what_to_do_and_that_works() -> None:
    model: Any = Own()
    text = (
        "model must be a recurra.models.LanguageModel, got Own; for a module of your own, walk"
        " through recurra.train.tbptt(recurra.train.Streams(x, y), window) in a loop of your own"
    )
    streams = Streams(torch.randn(20, 2, 3), torch.randn(20, 2, 1))
    chunk, *_ = tbptt(streams, 20)
    for call in (
        lambda: fit(model, from_text("abcdefg" * 30), Recipe(epochs=1)),
        lambda: evaluate(model, streams),
        lambda: chunk_loss(model, chunk, None),
    ):
        with pytest.raises(ArgumentError, match=f"^{re.escape(text)}$"):
            call()

    optimiser, losses = torch.optim.Adam(model.parameters(), lr=0.05), []
    for _ in range(8):
        state, total = None, 0.0
        for part in recurra.train.tbptt(streams, window=5):
            y, state = model(part.x, state)
            loss = (y - part.y).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            state, total = recurra.state.detach(state), total + float(loss.detach())
        losses.append(total)
    assert losses[-1] < losses[0]


def test_what_is_no_corpus_and_no_recipe_is_named() -> None:
    corpus: Any = from_text("abcdefg" * 30)
    model = LanguageModel(len(corpus.vocabulary), embed=4, hidden=4)
    with pytest.raises(
        ArgumentError,
        match=(
            r"^data must be a Corpus, got str; use recurra.train.from_text or"
            r" recurra.train.from_files$"
        ),
    ):
        fit(model, "abcdefg")  # type: ignore[arg-type]
    with pytest.raises(
        ArgumentError,
        match=(
            r"^recipe must be a Recipe, got dict; use recurra.train.Recipe\(epochs=10\), for"
            r" example$"
        ),
    ):
        fit(model, corpus, {"epochs": 1})  # type: ignore[arg-type]
