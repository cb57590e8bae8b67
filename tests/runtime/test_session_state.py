"""What a session remembers: reset, saved, loaded, selected, merged; and what it refuses."""

from __future__ import annotations

import copy
import json
import pickle
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from recurra.cells import GRU, LSTM
from recurra.errors import ArgumentError, DataError, DtypeError, RunError, ShapeError
from recurra.network import Activation, Linear, Loop, Matrix, Network
from recurra.network.file import checksum, write
from recurra.runtime import Model, load, merge
from tests.network.nets import every_kind, matrix, numbers, recurrent

NETWORK = Network((recurrent(LSTM(), 3, 4), recurrent(GRU(), 4, 5)))
X = numbers(12, 3, 3)


def test_rows_are_reset_alone() -> None:
    session = Model(NETWORK).session(3)
    whole = session.push(X)
    for rows in ([1], np.array([False, True, False]), np.array([1], np.int32)):
        session.reset()
        session.push(X[:6])
        session.reset(rows)
        after = session.push(X[6:])
        fresh = Model(NETWORK).session(3).push(X[6:])
        assert np.array_equal(after[:, [0, 2]], whole[6:, [0, 2]]) and np.array_equal(
            after[:, 1], fresh[:, 1]
        )
    before = session.state["0.h"]
    session.reset([])
    assert np.array_equal(session.state["0.h"], before)


def test_the_state_is_the_loops_and_a_copy() -> None:
    session, loop = Model(NETWORK).session(3), Loop(NETWORK, 3)
    assert np.array_equal(session.state["0.h"][1], NETWORK.states[0].first)
    session.push(X)
    loop.run(X)
    for name, value in session.state.items():
        assert np.abs(value - loop.state[name]).max() < 1e-5
    session.state["0.h"][:] = 7
    assert session.state["0.h"].max() < 2


def test_a_saved_state_goes_on_in_another_session(tmp_path: Path) -> None:
    network, tokens = every_kind(), np.random.default_rng(0).integers(0, 11, (9, 2))
    write(network, tmp_path / "m.rcr")
    first = load(tmp_path / "m.rcr").session(2)
    first.push(tokens[:4])
    blob = first.save()
    second = load(tmp_path / "m.rcr").session(2)
    second.load(blob)
    assert np.array_equal(second.push(tokens[4:]), first.push(tokens[4:]))


def test_rows_are_selected_and_merged() -> None:
    model = Model(NETWORK)
    session = model.session(3)
    whole = session.push(X[:6])
    some = session.select([2, 0, 2])
    both = merge([session, some.select(np.array([True, False, False]))])
    rest = session.push(X[6:])
    assert np.array_equal(some.push(X[6:, [2, 0, 2]]), rest[:, [2, 0, 2]]) and whole.shape == (
        6,
        3,
        5,
    )
    assert both.batch == 4 and np.array_equal(both.push(X[6:, [0, 1, 2, 2]]), rest[:, [0, 1, 2, 2]])


def test_nan_is_refused_passed_or_begins_anew() -> None:
    bad, model = X.copy(), Model(NETWORK)
    bad[7, 1, 2] = np.nan
    strict = model.session(3)
    with pytest.raises(
        ArgumentError,
        match=(
            "^x must be finite, got nan at step 7 of row 1; open the session with nan='pass' or"
            " nan='reset'$"
        ),
    ):
        strict.push(bad)
    with pytest.raises(ArgumentError, match="^x must be finite, got nan at row 1; "):
        strict.push(bad[7])
    assert np.array_equal(strict.push(X), model.session(3).push(X))
    passed = model.session(3, nan="pass").push(bad)
    assert np.isnan(passed[7:, 1]).all() and np.array_equal(
        passed[:, [0, 2]], model.session(3).push(X)[:, [0, 2]]
    )
    anew = model.session(3, nan="reset").push(bad)
    assert np.isnan(anew[7, 1]).all() and np.isfinite(np.delete(anew, 7, 0)).all()
    assert np.array_equal(anew[8:, 1], model.session(1).push(X[8:, 1:2])[:, 0]) and np.array_equal(
        anew[:, 0], passed[:, 0]
    )


STEEP = Network((Linear(Matrix(np.full((4, 3), 1e4, np.float32))), recurrent(GRU(), 4, 5)))


def test_finite_input_that_overflows_does_nothing_or_begins_anew() -> None:
    model, bad = Model(STEEP), X.copy()
    bad[7, 1] = 3e38
    strict, right = model.session(3), model.session(3).push(X)
    text = (
        "^x must keep the state and the output finite, got an overflow in row 1; give smaller"
        " numbers, or open the session with nan="
    )
    for given in (bad, bad[7]):
        with pytest.raises(ArgumentError, match=text):
            strict.push(given)
    assert np.array_equal(strict.push(X), right)
    assert np.isnan(model.session(3, nan="pass").push(bad)[7:, 1]).all()
    anew = model.session(3, nan="reset")
    y = anew.push(bad)
    assert np.isnan(y[7, 1]).all() and np.array_equal(y[:, [0, 2]], right[:, [0, 2]])
    assert np.array_equal(y[8:, 1], model.session(1).push(X[8:, 1:2])[:, 0])
    steps = model.session(3, nan="reset")
    assert np.array_equal(np.stack([steps.push(step) for step in bad]), y, equal_nan=True)


def test_a_state_that_is_not_finite_is_loaded_where_that_may_pass() -> None:
    model = Model(NETWORK)
    spoilt = model.session(1, nan="pass")
    spoilt.push(np.full((1, 3), np.nan, np.float32))
    with pytest.raises(
        DataError,
        match=(
            r"^blob must hold finite numbers, got others in '\d\.[hc]'; open the session with"
            r" nan='pass'$"
        ),
    ):
        model.session(1).load(spoilt.save())
    model.session(1, nan="pass").load(spoilt.save())


def test_what_is_saved_may_come_as_any_bytes() -> None:
    session = Model(NETWORK).session(3)
    session.push(X)
    for blob in (bytearray(session.save()), memoryview(session.save())):
        other = Model(NETWORK).session(3)
        other.load(blob)  # type: ignore[arg-type]
        assert np.array_equal(other.state["0.h"], session.state["0.h"])
    with pytest.raises(DtypeError, match="^blob must be bytes, got str$"):
        session.load("x")  # type: ignore[arg-type]


def test_what_is_merged_are_sessions_that_treat_nan_alike() -> None:
    model = Model(NETWORK)
    session = model.session(1)
    for given, text in (
        (session, "must be a list of sessions, got Session"),
        ([session, None], "must hold sessions, got NoneType"),
    ):
        with pytest.raises(DtypeError, match=f"^sessions {text}$"):
            merge(given)  # type: ignore[arg-type]
    with pytest.raises(
        ArgumentError, match="^sessions must be opened with one nan, got 'error', 'reset'$"
    ):
        merge([session, model.session(1, nan="reset")])
    assert merge(each for each in (session, session)).batch == 2
    with pytest.raises(AttributeError):
        session.nan = "pass"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("x", "error", "text"),
    [
        (
            X[0].astype(np.float64),
            DtypeError,
            "x must be float32, got float64; use x.astype('float32')",
        ),
        (X[0].tolist(), DtypeError, "x must be a NumPy array, got list; use numpy.asarray"),
        (X[0, :2], ShapeError, "x must have shape (3, 3) or (T, 3, 3), got (2, 3)"),
        (X[0, :, :2], ShapeError, "x must have shape (3, 3) or (T, 3, 3), got (3, 2)"),
        (X[0].T[:2], ShapeError, "x must have shape (3, 3) or (T, 3, 3), got (2, 3)"),
        (X.transpose(1, 0, 2), ShapeError, "x must have shape (3, 3) or (T, 3, 3), got (3, 12, 3)"),
        (X[None], ShapeError, "x must have shape (3, 3) or (T, 3, 3), got (1, 12, 3, 3)"),
        (
            X[:0],
            ShapeError,
            "x must have shape (3, 3) or (T, 3, 3), got (0, 3, 3); give at least one step",
        ),
        (X.astype(">f4"), DtypeError, "x must be float32, got >f4; use x.astype('float32')"),
    ],
)
def test_what_does_not_fit_is_refused(x: Any, error: type[Exception], text: str) -> None:
    session = Model(NETWORK).session(3)
    with pytest.raises(error) as raised:
        session.push(x)
    assert str(raised.value) == text
    assert np.array_equal(session.push(X), Model(NETWORK).session(3).push(X))


def test_tokens_beyond_the_table_are_named() -> None:
    session = Model(every_kind()).session(2)
    for bad, where in (
        (np.array([1, 11]), "11 at row 1"),
        (np.array([[0, 1], [-1, 0]]), "-1 at step 1 of row 0"),
    ):
        with pytest.raises(ArgumentError) as raised:
            session.push(bad)
        assert str(raised.value) == f"x must hold tokens in 0..10, got {where}"
    with pytest.raises(
        DtypeError, match="x must be whole numbers, got float32; use x.astype\\('int64'\\)"
    ):
        session.push(np.zeros(2, np.float32))


def test_states_of_others_are_refused() -> None:
    model, session = Model(NETWORK), Model(NETWORK).session(3)
    blob = session.save()
    model.session(3).load(blob)  # another packing of the same weights
    other = Network((recurrent(LSTM(), 3, 4, seed=1), recurrent(GRU(), 4, 5)))
    with pytest.raises(
        DataError, match="blob must be a state of this model, got that of another model or version"
    ):
        Model(other).session(3).load(blob)
    with pytest.raises(
        ShapeError, match="blob must be a state of 2 rows, got 3; open a session of that batch"
    ):
        model.session(2).load(blob)
    for broken in (b"", blob[:40], blob[:-1], b"x" * 200):
        with pytest.raises(DataError, match="blob must be what Session.save gave"):
            session.load(broken)
    with pytest.raises(ArgumentError, match="sessions must be of one model, got several"):
        merge([session, Model(other).session(3)])
    with pytest.raises(ArgumentError, match="sessions must hold at least one, got none"):
        merge([])


def named(header: dict[str, Any], arrays: dict[str, Any]) -> bytes:
    return bytes(save(arrays, {"recurra": json.dumps(header)}))


def test_states_that_look_right_are_refused() -> None:
    session = Model(NETWORK).session(3)
    before = session.save()
    header, state = (
        json.loads(
            json.loads(before[8 : 8 + int.from_bytes(before[:8], "little")])["__metadata__"][
                "recurra"
            ]
        ),
        session.state,
    )
    assert named(header, state) == before
    session.push(X)
    after = session.save()
    with pytest.raises(
        DataError,
        match=(
            "^blob must be a state in the form recurra-state-1, got 'recurra-state-2'; use the"
            " recurra that"
        ),
    ):
        session.load(named(header | {"format": "recurra-state-2"}, state))
    header.pop("crc32")
    for name, wrong in (
        ("0.h", state["0.h"][:2]),
        ("1.h", state["1.h"].astype(np.float64)),
        ("0.c", None),
    ):
        arrays = {key: value for key, value in (state | {name: wrong}).items() if value is not None}
        with pytest.raises(
            DataError, match=f"^blob must hold {name} of shape \\(3, .\\), got another$"
        ):
            session.load(named(header | {"crc32": checksum(header, arrays)}, arrays))
    for deep in ("[" * 100_000, '{"a":' * 100_000):
        with pytest.raises(DataError, match="^blob must be what Session.save gave"):
            session.load(bytes(save(state, {"recurra": deep})))
    assert session.save() == after


def test_a_state_of_other_layers_with_the_same_weights_is_refused() -> None:
    layer = recurrent(GRU(), 3, 3)
    blob = Model(Network((layer, Activation("relu", 3)))).session(1).save()
    with pytest.raises(DataError, match="of another model or version"):
        Model(Network((layer, Activation("tanh", 3)))).session(1).load(blob)


def test_rows_that_do_not_fit_into_memory_are_refused() -> None:
    with pytest.raises(
        ArgumentError, match="^batch must fit into memory, got 16777216; take fewer rows$"
    ):
        Model(Network((Activation("relu", 1 << 20),))).session(1 << 24)


def test_other_threads_run_while_one_pushes() -> None:
    session, ticks, done = (
        Model(Network((Linear(matrix(512, 512)),))).session(1),
        [0.0],
        threading.Event(),
    )
    x = numbers(20_000, 1, 512)

    def tick() -> None:
        while not done.is_set():
            ticks.append(time.perf_counter())

    thread = threading.Thread(target=tick)
    thread.start()
    began = time.perf_counter()
    session.push(x)
    took = time.perf_counter() - began
    done.set()
    thread.join()
    assert any(began + took / 4 < each < began + took * 3 / 4 for each in ticks)


def test_options_out_of_range_are_refused() -> None:
    model = Model(NETWORK)
    for batch in (0, -1, 1.5, True, 1 << 30):
        with pytest.raises(ArgumentError, match=r"batch must be a whole number in 1\.\.16777216"):
            model.session(batch)  # type: ignore[arg-type]
    assert model.session(np.int64(2)).batch == 2  # type: ignore[arg-type]
    with pytest.raises(
        ArgumentError, match="nan must be one of 'error', 'pass', 'reset', got 'skip'"
    ):
        model.session(nan="skip")
    with pytest.raises(ArgumentError, match="rows must hold at least one row, got none"):
        model.session(3).select([])


def test_a_closed_session_says_so() -> None:
    with Model(NETWORK).session(3) as session:
        session.push(X)
    for use in (
        lambda: session.push(X),
        session.reset,
        session.save,
        session.close,
        lambda: session.select([0]),
    ):
        with pytest.raises(RunError, match="session must be open to .*, got a closed one"):
            use()


def test_two_threads_in_one_session_are_refused_and_nothing_is_lost() -> None:
    network = Network((recurrent(LSTM(), 64, 256), recurrent(LSTM(), 256, 256)))
    model, x = Model(network), numbers(400, 1, 64)
    session, refused = model.session(1), []

    right = model.session(1).push(x)
    for _ in range(20):
        session.reset()
        results: list[Any] = []
        thread = threading.Thread(target=lambda: results.append(session.push(x)))  # noqa: B023
        thread.start()
        while thread.is_alive() and not refused:
            if session._native.busy:  # type: ignore[union-attr]
                try:
                    session.push(x[0])
                except RunError as error:
                    refused.append(str(error))
        thread.join()
        if refused:
            break
    assert (
        refused[0]
        == "session must be used by one thread at a time, got two; open a session for each"
    )
    assert np.array_equal(results[-1], right)


def test_sessions_of_one_model_run_in_threads() -> None:
    model, x = Model(Network((recurrent(LSTM(), 16, 96),))), numbers(300, 1, 16)
    right, results = model.session(1).push(x), [np.zeros(0)] * 4

    def run(i: int) -> None:
        session = model.session(1)
        results[i] = np.stack([session.push(step) for step in x])

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(result, right) for result in results)


def test_a_session_outlives_what_it_was_made_from() -> None:
    session = Model(
        Network((Linear(matrix(400, 300), numbers(400)), recurrent(GRU(), 400, 8)))
    ).session(2)
    x = numbers(5, 2, 300)
    first = session.push(x)
    session.reset()
    garbage = [np.full(100_000, np.nan, np.float32) for _ in range(10)]
    assert np.array_equal(session.push(x), first) and len(garbage) == 10


def test_an_infinity_is_not_finite_either() -> None:
    bad, session = X[:3].copy(), Model(NETWORK).session(3)
    bad[1, 2, 0] = -np.inf
    with pytest.raises(ArgumentError, match="^x must be finite, got -inf at step 1 of row 2; "):
        session.push(bad)
    anew = Model(NETWORK).session(3, nan="reset").push(bad)
    assert np.isnan(anew[1, 2]).all() and np.isfinite(np.delete(anew, 1, 0)).all()


def test_a_damaged_state_is_refused_and_the_old_one_stays() -> None:
    session = Model(NETWORK).session(3)
    session.push(X)
    blob, before = session.save(), session.state
    with pytest.raises(
        DataError,
        match=(
            "^blob must be a state as it was saved, got one whose checksum is another; it is"
            " damaged$"
        ),
    ):
        session.load(blob[:-2] + bytes([blob[-2] ^ 1]) + blob[-1:])
    assert all(np.array_equal(before[name], array) for name, array in session.state.items())


def test_a_session_is_neither_copied_nor_pickled() -> None:
    session = Model(NETWORK).session(1)
    for make in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(
            RunError,
            match=(
                "^session must stay where it was opened, got a copy of it asked for; use select, or"
                " save and load$"
            ),
        ):
            make(session)


def test_new_sessions_treat_nan_as_the_old_one() -> None:
    session = Model(NETWORK).session(2, nan="reset")
    assert session.select([0]).nan == merge([session]).nan == "reset"


def test_what_is_done_to_an_output_is_gone_at_the_next_step() -> None:
    session, right = Model(NETWORK).session(3), Model(NETWORK).session(3)
    for number, step in enumerate(X):
        y, wanted = session.push(step), right.push(step).copy()
        assert (
            y.shape == (3, 5)
            and y.dtype == np.float32
            and y.flags.writeable
            and np.array_equal(y, wanted)
        )
        if number % 3 == 0:
            y.shape = (15,)
        elif number % 3 == 1:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                y.strides = (4, 12)
        else:
            y.dtype = np.int32  # type: ignore[misc]
            y.flags.writeable = False
        del y


def test_no_thread_touches_a_state_while_another_has_its_turn() -> None:
    session, blob = Model(NETWORK).session(3), Model(NETWORK).session(3).save()
    assert session._native is not None and session._native.enter()
    for touch in (
        session.reset,
        session.save,
        lambda: session.load(blob),
        session.close,
        lambda: session.push(X),
    ):
        with pytest.raises(RunError, match="one thread at a time"):
            touch()
    session._native.leave()
    assert session.push(X).shape == (12, 3, 5)


@pytest.mark.parametrize(
    "copied", [lambda model: pickle.loads(pickle.dumps(model)), copy.copy, copy.deepcopy]
)
def test_a_copy_of_a_model_is_that_model(copied: Any) -> None:
    model = Model(NETWORK)
    other = copied(model)
    assert (
        np.array_equal(other.session(3).push(X), model.session(3).push(X))
        and other.fingerprint == model.fingerprint
    )
