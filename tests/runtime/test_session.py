"""Sessions against the loop: every cell, layer and precision, step by step, in chunks, and many
rows.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.cells import GRU, LSTM, Cell, Elman
from recurra.errors import DtypeError
from recurra.network import (
    ACTIVATIONS,
    Activation,
    Conv,
    LayerNorm,
    Linear,
    Loop,
    Matrix,
    Network,
    Residual,
)
from recurra.program import Node
from recurra.runtime import Model
from tests.cells.zoo import BOUNDED, CoupledLSTM
from tests.kernels.scene import CELLS
from tests.network.nets import PRECISIONS, adaptive, every_kind, held, matrix, numbers, recurrent

TOKENS = np.random.default_rng(0).integers(0, 11, (70, 3))


def pushed(network: Network, x: Any, chunk: int = 0) -> Any:
    """What a session gives, a push for every `chunk` steps; one at a time without."""
    session = Model(network).session(batch=x.shape[1])
    if not chunk:
        return np.stack([session.push(step) for step in x])
    return np.concatenate(
        [session.push(x[start : start + chunk]) for start in range(0, len(x), chunk)]
    )


@pytest.mark.parametrize("cell", [*CELLS, CoupledLSTM()], ids=repr)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_cell_equals_the_loop(cell: Cell, precision: str) -> None:
    for hidden, rows in ((5, 1), (33, 3), (16, 30)):
        layer = recurrent(cell, 7, hidden)
        network = Network((layer, Linear(matrix(9, layer.widths[1]), numbers(9)))).quantised(
            precision
        )
        x = numbers(9, rows, 7)
        held(network, x, pushed(network, x))
        assert np.array_equal(pushed(network, x, 4), pushed(network, x))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_first_product_that_reads_the_input_equals_the_loop(precision: str) -> None:
    layer = recurrent(Elman(), 7, 33)
    nodes, (body,) = layer.program.nodes, layer.program.bodies
    u = [node.op for node in nodes].index("u")
    product = Node("mul", (u, body.product.operand), phase=0, width="hidden")
    first = body._replace(
        operand_nodes=(len(nodes),), product=body.product._replace(operand=len(nodes))
    )
    multiplicative = replace(
        layer, program=replace(layer.program, nodes=(*nodes, product), bodies=(first,))
    )
    network, x = (
        Network((multiplicative, recurrent(LSTM(), 33, 5))).quantised(precision),
        numbers(9, 3, 7),
    )
    held(network, x, pushed(network, x))
    assert np.array_equal(pushed(network, x, 4), pushed(network, x))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_layer_equals_the_loop(precision: str) -> None:
    network = every_kind().quantised(precision)
    steps = pushed(network, TOKENS)
    held(network, TOKENS, steps)
    for chunk in (1, 7, 64, 70):
        assert np.array_equal(pushed(network, TOKENS, chunk), steps)


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_activations_equal_the_loop(kind: str) -> None:
    network, x = Network((Activation(kind, 21),)), numbers(3, 2, 21, scale=4.0)
    held(network, x, pushed(network, x))


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_activations_pass_nan_on(kind: str) -> None:
    x = np.float32([[1, np.nan, -1]])
    assert np.isnan(
        Model(Network((Activation(kind, 3),))).session(1, nan="pass").push(x)
    ).tolist() == [[False, True, False]]


@pytest.mark.parametrize("cell", BOUNDED, ids=repr)
def test_a_nan_is_what_is_greater_and_smaller(cell: Cell) -> None:
    network, x = Network((recurrent(cell, 4, 5),)), numbers(2, 1, 4)
    x[0, 0, 1] = np.nan
    assert (
        np.isnan(Loop(network).run(x)).all()
        and np.isnan(Model(network).session(1, nan="pass").push(x)).all()
    )


def test_an_adaptive_softmax_of_far_apart_logits_equals_the_loop() -> None:
    network, x = Network((adaptive(4, 30, (17, 9)),)), numbers(5, 2, 4, scale=300.0)
    y = pushed(network, x)
    held(network, x, y)
    assert y.min() < -200 and np.isfinite(y).all()


@pytest.mark.parametrize(
    ("kernel", "dilation", "groups"), [(1, 1, 1), (3, 1, 1), (4, 3, 2), (2, 5, 6)]
)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_convolutions_equal_the_loop(
    kernel: int, dilation: int, groups: int, precision: str
) -> None:
    layer = Conv(matrix(12, kernel * 6 // groups), numbers(12), 6, kernel, dilation, groups)
    network, x = Network((layer,)).quantised(precision), numbers(20, 3, 6)
    held(network, x, pushed(network, x))
    assert np.array_equal(pushed(network, x, 7), pushed(network, x))


@pytest.mark.parametrize("isa", ["v2", "v3", "v4"])
def test_every_instruction_set_equals_the_loop(isa: str) -> None:
    code = (
        "from tests.runtime.test_session import *\n"
        "for p in PRECISIONS:\n"
        "    network = every_kind().quantised(p); held(network, TOKENS, pushed(network, TOKENS, 7))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"RECURRA_ISA": isa},
        timeout=120,
    )
    if "RECURRA_ISA must be one of" in done.stderr:
        pytest.skip(f"this machine has no {isa}")
    assert done.returncode == 0, done.stderr.splitlines()[-1]


def test_the_instruction_set_is_chosen_once(monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = Network((recurrent(LSTM(), 7, 33),)).quantised("int8"), numbers(9, 1, 7)
    model, right = Model(network), pushed(network, x)
    session = model.session(1)
    monkeypatch.setenv("RECURRA_ISA", "v9")
    assert np.array_equal(np.stack([session.push(step) for step in x]), right)
    assert np.array_equal(model.session(1).push(x), right)


@given(st.data())
def test_stacks_at_random_equal_the_loop(data: st.DataObject) -> None:
    def layer(width: int, seed: int) -> Any:
        kind = data.draw(
            st.sampled_from(
                ("lstm", "gru", "rnn", "linear", "norm", "act", "conv", "residual", "adaptive")
            )
        )
        out = data.draw(st.integers(1, 40))
        cells = {"lstm": LSTM(), "gru": GRU(), "rnn": Elman()}
        if kind in cells:
            return recurrent(
                cells[kind],
                width,
                out,
                biases=data.draw(st.sampled_from((0, 1, 2))),
                learned=seed % 2 == 0,
                seed=seed,
            )
        if kind == "linear":
            return Linear(matrix(out, width, seed), None if seed % 2 else numbers(out, seed=seed))
        if kind == "norm":
            return LayerNorm(width, numbers(width, seed=seed), None, 1e-3)
        if kind == "act":
            return Activation(data.draw(st.sampled_from(ACTIVATIONS)), width)
        if kind == "conv":
            kernel = data.draw(st.integers(1, 4))
            return Conv(
                matrix(out, kernel * width, seed), None, width, kernel, data.draw(st.integers(1, 3))
            )
        if kind == "adaptive":
            return adaptive(
                width, out, data.draw(st.sampled_from(((1,), (33, 2), (7, 8, 70)))), seed % 2 == 0
            )
        return Residual((recurrent(GRU(), width, width, seed=seed),))

    width = start = data.draw(st.integers(1, 20))
    layers = []
    for seed in range(data.draw(st.integers(1, 4))):
        layers.append(layer(width, seed))
        width = layers[-1].widths[1]
    network = Network(tuple(layers)).quantised(data.draw(st.sampled_from(PRECISIONS)))
    x = numbers(data.draw(st.integers(1, 9)), data.draw(st.integers(1, 5)), start)
    held(network, x, pushed(network, x))
    assert np.array_equal(pushed(network, x, 4), pushed(network, x))


def test_strides_and_kinds_that_mean_the_same_are_taken() -> None:
    network, x = Network((Linear(matrix(2, 3)),)), numbers(4, 2, 6)
    right = pushed(network, np.ascontiguousarray(x[..., ::2]))
    assert np.array_equal(pushed(network, x[..., ::2]), right)
    assert np.array_equal(pushed(network, np.asfortranarray(x[..., ::2]), 4), right)
    plain = np.ascontiguousarray(x[..., ::2])
    unaligned = np.frombuffer(b"." + plain.tobytes(), np.float32, offset=1).reshape(plain.shape)
    fields = np.zeros(plain.shape, [("before", np.int8), ("x", np.float32)])
    fields["x"] = plain
    for same in (
        plain.view(np.recarray),
        unaligned,
        fields["x"],
        np.broadcast_to(plain, plain.shape),
        plain.astype(">f4").astype("=f4"),
    ):
        assert np.array_equal(pushed(network, same), right)
        assert np.array_equal(Model(network).session(2).push(same), right)
    with pytest.raises(DtypeError, match="^x must be float32, got >f4; "):
        pushed(network, plain.astype(">f4"))
    tokens = every_kind()
    for dtype in (np.int32, np.uint8, np.int16, np.longlong, ">i8"):
        assert np.array_equal(
            pushed(tokens, TOKENS[:5].astype(dtype), 5), pushed(tokens, TOKENS[:5])
        )


def test_outputs_that_are_kept_stay_what_they_were() -> None:
    network, x = Network((recurrent(LSTM(), 3, 4),)), numbers(20, 2, 3)
    session = Model(network).session(2)
    kept = [session.push(step) for step in x]
    views = [session.push(step)[:1, 1:] for step in x]
    twice = pushed(network, np.concatenate([x, x]))
    assert np.array_equal(np.stack(kept), twice[:20]) and np.array_equal(
        np.stack(views), twice[20:, :1, 1:]
    )


def test_a_loop_uses_the_same_memory_again() -> None:
    session = Model(Network((recurrent(LSTM(), 3, 4),))).session(1)
    places = set()
    for step in numbers(50, 1, 3):
        y = session.push(step)
        places.add(y.__array_interface__["data"][0])
    assert len(places) == 2


def test_the_runtime_loads_no_torch() -> None:
    code = (
        "import sys, numpy as np; from recurra.network import *; from recurra.runtime import Model,"
        " load, merge\nfrom recurra.network.file import write\nnet ="
        " Network((Linear(Matrix(np.ones((2, 3), np.float32))),)); write(net, sys.argv[1])\nassert"
        " load(sys.argv[1]).session(1).push(np.ones((1, 3), np.float32)).tolist() == [[3.0,"
        " 3.0]]\nassert 'torch' not in sys.modules"
    )
    path = os.path.join(os.environ["RECURRA_CACHE"], "one.rcr")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_the_loop_is_what_it_is_held_to() -> None:
    network, x = every_kind(), TOKENS
    wrong = Loop(network, 3).run(x)
    wrong[-1, 0, 0] += 1e-3
    with pytest.raises(AssertionError, match="is more than"):
        held(network, x, wrong)


@pytest.mark.parametrize("columns", [1, 7, 33, 130, 300, 1100])
def test_int8_is_exact_enough_whatever_the_row(columns: int) -> None:
    network = Network((Linear(matrix(137, columns), numbers(137)),)).quantised("int8")
    for seed in range(40):
        x = numbers(1, 2, columns, seed=seed) * np.float32(10.0 ** (seed - 20))
        held(network, x, pushed(network, x))
    flat = np.full((1, 1, columns), np.float32(0.1))
    held(network, flat, pushed(network, flat))
    held(network, flat * 0, pushed(network, flat * 0))


@pytest.mark.parametrize("columns", [1024, 1032, 2056, 8192, 8200])
def test_int8_sums_of_the_largest_numbers_do_not_run_over(columns: int) -> None:
    network = Network(
        (Linear(Matrix(np.float32([[1], [-1]] * 9) * np.ones(columns, np.float32))),)
    ).quantised("int8")
    for x in (np.ones((1, 1, columns), np.float32), -np.ones((1, 1, columns), np.float32)):
        held(network, x, pushed(network, x))


@pytest.mark.parametrize("columns", [9, 64, 513])
def test_int8_drowns_no_number_beside_a_large_one(columns: int) -> None:
    weights = numbers(37, columns)
    weights[:, 0] = 0
    network = Network((Linear(Matrix(weights)), Activation("tanh", 37))).quantised("int8")
    x = numbers(1, 2, columns)
    x[0, 0, 0] = 40
    held(network, x, pushed(network, x))
    assert np.array_equal(pushed(network, x[:, ::-1])[:, ::-1], pushed(network, x))


def test_int8_passes_on_what_is_not_finite() -> None:
    network = Network((Linear(matrix(20, 9)),)).quantised("int8")
    x = numbers(2, 9)
    x[0, 3] = np.nan
    y = Model(network).session(2, nan="pass").push(x)
    assert np.isnan(y[0]).all() and np.isfinite(y[1]).all()
    x[0, 3] = np.inf
    with np.errstate(all="ignore"):
        right = Loop(network, 2).push(x)
    y = Model(network).session(2, nan="pass").push(x)
    assert np.array_equal(np.isnan(y), np.isnan(right)) and np.array_equal(
        np.isinf(y), np.isinf(right)
    )
    assert np.isinf(right[0]).any() and np.array_equal(y[np.isinf(right)], right[np.isinf(right)])


def test_int8_keeps_the_digits_of_a_row_whose_inverse_would_overflow() -> None:
    network = Network((Linear(matrix(20, 9)),)).quantised("int8")
    x = numbers(2, 9) * np.float32(1e-34)
    right = Loop(network, 2, "float64").push(x)
    np.testing.assert_allclose(
        Model(network).session(2).push(x), right, rtol=0, atol=1e-6 * abs(right).max()
    )
