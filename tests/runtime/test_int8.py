"""int8 rows of very different scales, held to the loop on the same weights, with each kind of whole
numbers that a machine may have.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recurra import native
from recurra.cells import GRU, LSTM
from recurra.network import Activation, Linear, Loop, Matrix, Network, Recurrent
from recurra.runtime import Model
from tests.network.nets import held, numbers, recurrent


def pushed(network: Network, x: Any) -> Any:
    session = Model(network).session(x.shape[1])
    return np.stack([session.push(step) for step in x])


def scales(count: int, seed: int, decades: float) -> Any:
    """Powers of ten, most of them 1, some of them large."""
    draws = np.random.default_rng(seed)
    return np.where(draws.random(count) < 0.4, 10 ** draws.uniform(0, decades, count), 1.0)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from([2, 7, 48, 300]),
    st.sampled_from([1.0, 3.0, 6.0, 9.0, 19.0, 30.0]),
    st.booleans(),
)
def test_sums_of_numbers_of_very_different_scales(
    seed: int, columns: int, decades: float, hidden: bool
) -> None:
    """A large number may meet small weights, in some outputs and not in others, and a tanh may hide
    those where it does not.
    """
    draws, large = np.random.default_rng(seed), scales(columns, seed, decades)
    values = draws.integers(-127, 128, (40, columns))
    values[:20] = np.where(large > 1, draws.integers(-1, 2, (20, columns)), values[:20])
    step = np.float32(10.0 ** draws.uniform(-4, -1))
    weight = Matrix(values.astype(np.int8), np.full(40, step, np.float32))
    layers: Any = (
        Linear(weight, numbers(40, seed=seed)),
        *([Activation("tanh", 40)] if hidden else []),
    )
    x = (numbers(2, 3, columns, seed=seed) * large).astype(np.float32)
    held(Network(layers), x, pushed(Network(layers), x))


@pytest.mark.parametrize("magnitude", [20.0, 1e3, 1e5, 1e7, 1e10])
@pytest.mark.parametrize("cell", [LSTM(), GRU()], ids=repr)
def test_several_large_features_with_small_weights(cell: Any, magnitude: float) -> None:
    for hidden, many in ((16, 16), (32, 12), (5, 1)):
        layer = recurrent(cell, 2 * many, hidden)
        matrices = dict(layer.matrices)
        weight = matrices["weight_ih"].quantised("int8").values.copy()
        weight[:, :many] = np.random.default_rng(many).integers(-1, 2, weight[:, :many].shape)
        matrices["weight_ih"] = Matrix(weight, np.full(len(weight), 1e-3, np.float32))
        network = Network((Recurrent(layer.program, matrices, layer.vectors),)).quantised("int8")
        x = numbers(12, 2, 2 * many)
        x[..., :many] = (
            np.float32(magnitude) * np.sign(x[..., :many]) * (1 + 0.1 * np.abs(x[..., :many]))
        )
        held(network, x, pushed(network, x))


@pytest.mark.parametrize("value", [1e19, 2e19, 1e30, 3e38, -3e38])
def test_number_whose_square_overflows_drowns_no_other(value: float) -> None:
    weights = numbers(20, 9)
    weights[:10, 0] = 0
    network = Network((Linear(Matrix(weights)), Activation("tanh", 20))).quantised("int8")
    x = numbers(1, 2, 9)
    x[0, 0, 0] = value
    held(network, x, pushed(network, x))


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("cell", [LSTM(), GRU()], ids=repr)
def test_infinity_passes_as_in_the_loop(cell: Any, value: float) -> None:
    network = Network((recurrent(cell, 9, 12), Linear(Matrix(numbers(5, 12))))).quantised("int8")
    x = numbers(4, 3, 9)
    x[1, 0, 2], x[2, 1] = value, value
    session = Model(network).session(3, nan="pass")
    with np.errstate(all="ignore"):
        right = Loop(network, 3, "float32").run(x)
    found = np.stack([session.push(step).copy() for step in x])
    assert np.array_equal(np.isnan(found), np.isnan(right)) and np.isfinite(found[:, 2]).all()
    assert np.allclose(found, right, rtol=1e-4, atol=1e-4, equal_nan=True)


def test_every_other_instruction_set_too() -> None:
    """With AVX2 a row has fewer digits, and without it none."""
    if "RECURRA_ISA" in os.environ:
        pytest.skip("this is the other one")
    mine = native.info()["isa"]
    for isa in (each for each in native.info()["isas"] if each < mine):
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", __file__]
        done = subprocess.run(
            command,
            env={**os.environ, "RECURRA_ISA": isa},
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, done.stdout[-2000:]
