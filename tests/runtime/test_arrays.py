from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recurra.cells import LSTM
from recurra.errors import DtypeError
from recurra.network import Embedding, Linear, Network
from recurra.program import from_json, to_json, trace
from recurra.runtime import Model, scan
from tests.network.nets import matrix


@pytest.mark.parametrize("steps", [(), (3,)])
def test_mask_is_refused_by_a_session(steps: tuple[int, ...]) -> None:
    features, tokens = (
        Model(Network((Linear(matrix(2, 4)),))).session(2),
        Model(Network((Embedding(matrix(5, 4)),))).session(2),
    )
    given: list[tuple[Any, Any]] = [
        (features, np.ones((*steps, 2, 4), np.float32)),
        (tokens, np.ones((*steps, 2), np.int64)),
    ]
    for session, x in given:
        session.push(x)
        for masked in (np.ma.masked_equal(x, 0), np.ma.masked_equal(x, 1)):
            with pytest.raises(
                DtypeError,
                match=(
                    r"^x must be an array without a mask, got a masked one; use x.filled\(value\)$"
                ),
            ):
                session.push(masked)


def test_another_kind_of_array_is_taken_by_its_numbers() -> None:
    class Named(np.ndarray[Any, Any]):
        """An array with a name."""

    session, x = (
        Model(Network((Linear(matrix(2, 4)),))).session(1),
        np.arange(4, dtype=np.float32)[None],
    )
    assert np.array_equal(session.push(x.view(Named)), session.push(x).copy())


@pytest.mark.parametrize("name", ["x", "weight_hh", "state.h", "lengths", "resets"])
def test_mask_is_refused_by_a_scan(name: str) -> None:
    weights = {"weight_ih": np.ones((8, 3)), "weight_hh": np.ones((8, 2))}
    given: dict[str, Any] = {
        "x": np.ones((4, 1, 3)),
        "lengths": np.array([3]),
        "resets": np.zeros((4, 1), bool),
    }
    state = {"h": np.zeros((1, 2)), "c": np.zeros((1, 2))}
    for values in (given, weights, state):
        key = name.removeprefix("state.")
        if key in values:
            values[key] = np.ma.masked_array(values[key], mask=True)
    with pytest.raises(
        DtypeError, match=f"^{name} must be an array without a mask, got a masked one"
    ):
        scan(from_json(to_json(trace(LSTM()))), weights, given.pop("x"), state, **given)
