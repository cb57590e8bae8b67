"""What each field of a recipe does to an update."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from recurra.models import LanguageModel
from recurra.train import Recipe, TokenStreams, evaluate, fit, from_text
from recurra.train.learner import Learner
from recurra.train.processes import Alone
from recurra.train.windows import Cut
from tests.train.moments import Chunks

DOCUMENTS = [
    "to be or not to be",
    "that is the question",
    "whether tis nobler in the mind to suffer",
] * 8
DATA = from_text(DOCUMENTS)
CPU = torch.device("cpu")


def made(**options: Any) -> LanguageModel:
    torch.manual_seed(3)
    return LanguageModel(
        len(DATA.vocabulary),
        **({"embed": 6, "hidden": 7, "dropout": 0.0, "vocabulary": DATA.vocabulary} | options),
    ).train()


def learner(model: LanguageModel, **fields: Any) -> Learner:
    recipe = Recipe(**({"window": 12, "batch": 6, "lr": 0.1, "optimizer": "sgd"} | fields))
    return Learner(
        model,
        recipe,
        TokenStreams(DATA.train.tokens, recipe.batch, DATA.train.starts),
        Alone(CPU),
        20,
    )


def after(cuts: int = 3, **fields: Any) -> tuple[list[Any], dict[str, torch.Tensor]]:
    model = made()
    course = learner(model, **fields)
    figures = [course.learn(Cut(12 * i, 12 * (i + 1), 12, 12), 1) for i in range(cuts)]
    return figures, {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("parts", [2, 3, 6])
@pytest.mark.parametrize(
    "fields", [{}, {"activation_penalty": 0.5, "temporal_penalty": 0.7}], ids=["plain", "penalties"]
)
def test_rows_in_parts_have_the_gradient_of_the_whole(parts: int, fields: dict[str, Any]) -> None:
    whole, weights = after(**fields)
    figures, same = after(accumulate=parts, **fields)
    for one, other in zip(whole, figures):
        assert one == pytest.approx(other, abs=1e-12)
    torch.testing.assert_close(weights, same, rtol=0, atol=1e-12)


def test_penalties_are_added_to_the_gradient_and_not_to_the_loss() -> None:
    (plain,), before = after(1)
    for name in ("activation_penalty", "temporal_penalty"):
        (figures,), weights = after(1, **{name: 3.0})
        assert figures.loss == plain.loss and figures.grad_norm != plain.grad_norm
        assert any(not torch.equal(value, before[key]) for key, value in weights.items())


def test_values_are_cut_and_the_norm_is_the_one_before() -> None:
    model = made()
    course = learner(model, clip_norm=None, clip_value=1e-3)
    figures = course.learn(Cut(0, 12, 12, 12), 1)
    assert figures is not None and figures.grad_norm > 0.1
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    assert max(float(gradient.abs().max()) for gradient in gradients) == pytest.approx(1e-3)


def test_the_rate_is_the_schedules() -> None:
    figures, _ = after(4, schedule="cosine", warmup=2)
    expected = [0.1 * min(1, (n + 1) / 2) * (1 + math.cos(math.pi * n / 20)) / 2 for n in range(4)]
    assert [figure.lr for figure in figures] == pytest.approx(expected)


def test_a_varied_window_stretches_the_rate() -> None:
    course = learner(made(), vary_window=True)
    rates = [course.learn(Cut(0, stop, stop, stop), 1).lr for stop in (6, 12, 24)]  # type: ignore[union-attr]
    assert rates == pytest.approx([0.05, 0.1, 0.2])


def test_bfloat16_is_used_for_products() -> None:
    model, seen = made().float(), []
    model.bottleneck.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    plain = learner(made().float()).learn(Cut(0, 12, 12, 12), 1)
    low = learner(model, precision="bfloat16").learn(Cut(0, 12, 12, 12), 1)
    assert low is not None and plain is not None and set(seen) == {torch.bfloat16}
    assert low.loss != plain.loss and low.loss == pytest.approx(plain.loss, rel=2e-2)


def test_a_validation_every_so_many_updates() -> None:
    run = fit(made(), DATA, Recipe(epochs=2, window=12, batch=6, validate_every=5), show=False)
    rows = [row["step"] for row in run.history if row["kind"] == "validation"]
    last = max(row["step"] for row in run.history)
    assert rows == sorted({*range(5, last + 1, 5), last}) and last % 5
    for row, before in zip(rows, [0, *rows]):
        trained = [
            each for each in run.history if each["kind"] == "train" and before < each["step"] <= row
        ]
        validation = next(
            each for each in run.history if each["kind"] == "validation" and each["step"] == row
        )
        assert validation["tokens"] == sum(each["tokens"] for each in trained)


def test_the_run_ends_when_validations_get_no_better() -> None:
    run = fit(made(), DATA, Recipe(epochs=50, window=12, batch=6, lr=1.0, stop_after=3), show=False)
    best = [row["best"] for row in run.history if row["kind"] == "validation"]
    assert best[-4:] == [True, False, False, False] and len(best) < 50 and not run.stopped
    assert evaluate(
        run.model, TokenStreams(DATA.validation.tokens, 6, DATA.validation.starts)
    ) == pytest.approx(run.best_loss, abs=1e-12)


def test_asgd_validates_and_keeps_the_mean() -> None:
    recipe = Recipe(epochs=8, window=12, batch=6, optimizer="asgd", lr=10.0, average_after=1)
    seen: list[Any] = []

    class Look:
        def on_validation(self, course: Any, row: dict[str, Any]) -> None:
            average = course.learner.average
            if average.count and row["best"]:
                seen.append({name: value.clone() for name, value in average.means.items()})

    run = fit(made(), DATA, recipe, show=False, callbacks=[Look()])
    assert seen, "the mean was never the best"
    torch.testing.assert_close(dict(run.model.named_parameters()), seen[-1], rtol=0, atol=0)


def test_callbacks_are_told_in_order_and_may_add_rows_and_end_the_run() -> None:
    told: list[str] = []

    class All:
        def on_start(self, course: Any) -> None:
            told.append(f"start {course.epoch} {course.step}")

        def on_chunk(self, course: Any, row: dict[str, Any], chunk: Any) -> None:
            assert chunk.x.shape[1] == 6 and row["step"] == course.step
            told.append(f"chunk {row['step']}")
            course.note({"kind": "mine", "step": row["step"]})

        def on_validation(self, course: Any, row: dict[str, Any]) -> None:
            told.append(f"validation {row['step']}")
            course.ended = True

        def on_end(self, course: Any) -> None:
            told.append("end")

    run = fit(
        made(),
        DATA,
        Recipe(epochs=3, window=40, batch=6),
        show=False,
        callbacks=[All(), Chunks(lambda row: None)],
    )
    assert told == ["start 1 0", "chunk 1", "chunk 2", "chunk 3", "validation 3", "end"]
    assert [row["kind"] for row in run.history] == ["train", "mine"] * 3 + ["validation"]
