"""What a sanitizer should see of sessions: every layer and precision at odd sizes, rows and chunks,
and two threads.

`make sanitize` runs this file on an instrumented module.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from recurra.cells import GRU, LSTM, LayerNormLSTM, ProjectedLSTM, ResetBeforeGRU
from recurra.errors import RunError
from recurra.network import Conv, Linear, Network
from recurra.runtime import Model
from tests.network.nets import PRECISIONS, adaptive, every_kind, held, matrix, numbers, recurrent


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("hidden", [1, 5, 17, 63, 130])
def test_cells_at_odd_sizes(hidden: int, precision: str) -> None:
    for cell in (LSTM(), GRU(), LayerNormLSTM(), ResetBeforeGRU()):
        network = Network(
            (recurrent(cell, 7, hidden), Linear(matrix(3, hidden), numbers(3)))
        ).quantised(precision)
        for rows, steps in ((1, 3), (3, 2), (13, 1)):
            x = numbers(steps, rows, 7)
            held(network, x, Model(network).session(rows).push(x))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_layer(precision: str) -> None:
    tokens = np.random.default_rng(0).integers(0, 11, (70, 2))
    network = every_kind(7).quantised(precision)
    held(network, tokens, Model(network).session(2).push(tokens))
    wide = Network(
        (
            recurrent(ProjectedLSTM(3), 5, 9),
            Conv(matrix(4, 12, 1), numbers(4), 3, 4, 2),
            Conv(matrix(6, 4), None, 4, 2, 3, 2),
        )
    )
    with pytest.raises(Exception, match="must"):
        wide.quantised("int4")
    x = numbers(67, 1, 5)
    held(wide.quantised(precision), x, Model(wide.quantised(precision)).session(1).push(x))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("sizes", [(1, (1,)), (17, (33, 65, 7))], ids=str)
def test_adaptive_softmaxes_at_odd_sizes(sizes: Any, precision: str) -> None:
    network = Network((recurrent(GRU(), 7, 5), adaptive(5, *sizes))).quantised(precision)
    for rows, steps in ((1, 70), (3, 2), (13, 1)):
        x = numbers(steps, rows, 7)
        held(network, x, Model(network).session(rows).push(x))


def test_two_threads_share_a_model_and_none_a_session() -> None:
    model, x = Model(Network((recurrent(LSTM(), 16, 130),)).quantised("int8")), numbers(100, 1, 16)
    shared, right, results, refused = model.session(1), model.session(1).push(x), [], []

    def run() -> None:
        results.append(model.session(1).push(x))
        for step in x:
            try:
                shared.push(step)
            except RunError as error:
                refused.append(str(error))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(result, right) for result in results)
    assert not [text for text in refused if "one thread at a time" not in text]


def test_what_does_not_fit_reads_nothing() -> None:
    session = Model(Network((Linear(matrix(3, 5)),))).session(2)
    odd: list[Any] = [
        np.zeros((2, 4), np.float32),
        np.zeros((3, 5), np.float32),
        np.zeros(5, np.float32),
        b"xxxx",
        3,
        None,
    ]
    for x in odd:
        with pytest.raises((ValueError, TypeError)):
            session.push(x)
