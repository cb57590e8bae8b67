"""Recurrent tasks of the literature: drawn as printed, and learnt whole by `make bench-quality`."""

from __future__ import annotations

import math
import os

import pytest
import torch

from benchmarks.tasks import Plan, adding, copy, text, train_task

ASKED = pytest.mark.skipif(
    not os.environ.get("RECURRA_QUALITY"), reason="takes minutes: make bench-quality runs it"
)


def test_adding_wants_the_sum_of_the_two_marked_numbers() -> None:
    x, y = adding(20).draw(50, torch.Generator().manual_seed(0))
    for row in range(50):
        at = x[:, row, 1].nonzero().flatten().tolist()
        assert (
            len(at) == 2
            and at[0] < 10 <= at[1]
            and float(y[row]) == pytest.approx(float(x[at, row, 0].sum()))
        )


def test_copy_wants_the_symbols_after_the_delimiter() -> None:
    x, wanted = copy(7).draw(30, torch.Generator().manual_seed(0))
    seen = x.argmax(-1)
    assert (
        x.shape == (27, 30, 10) and torch.equal(wanted[-10:], seen[:10]) and not wanted[:-10].any()
    )
    assert int(seen[:10].min()) >= 1 and int(seen[:10].max()) == 8 and bool((seen[16] == 9).all())
    assert not seen[10:16].any() and not seen[17:].any()


def test_without_memory_the_errors_are_those_of_the_literature() -> None:
    assert copy(500).memoryless == pytest.approx(10 * math.log(8) / 520) and copy(
        500
    ).bound == pytest.approx(0.0040, abs=1e-5)
    task = copy(40)
    _, wanted = task.draw(500, torch.Generator().manual_seed(0))
    knows_when = torch.full((60, 500, 9), -30.0)
    knows_when[:-10, :, 0] = 0.0
    knows_when[-10:, :, 1:] = 0.0
    assert float(task.cost(knows_when, wanted)) == pytest.approx(task.memoryless, rel=1e-5)
    _, y = adding(40).draw(20_000, torch.Generator().manual_seed(0))
    assert float(adding(40).cost(torch.ones(40, 20_000, 1), y)) == pytest.approx(
        adding(40).memoryless, rel=0.03
    )


def test_a_short_task_is_learnt_and_a_hopeless_one_is_not() -> None:
    done = train_task(adding(10, bound=0.02), limit_s=60)
    assert done.learnt and done.updates > 20 and "adding: error" in text([done._asdict()])
    assert not train_task(adding(10), Plan(lr=1e-9), limit_s=0.2).learnt


@ASKED
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("task", [adding(600), copy(500)], ids=lambda task: task.name)
def test_a_task_is_learnt_within_ten_minutes(task: object) -> None:
    torch.set_num_threads(2)
    done = train_task(task)  # type: ignore[arg-type]
    print(text([done._asdict()]))
    assert done.learnt and done.seconds < 600
