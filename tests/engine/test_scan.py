"""What `scan` refuses, keeps and chooses."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

import recurra
from recurra import cells
from recurra.engine import METHODS, choose_method, explain, prepare, scan
from recurra.engine.scan import WHY
from recurra.errors import ArgumentError, DtypeError, MethodUnavailable, ShapeError, SlowWarning
from tests.cells.zoo import ZOO, assert_close, gradients, scene

scanning = importlib.import_module("recurra.engine.scan")  # recurra.engine.scan is the function
ZEROS = torch.zeros(3, 5, dtype=torch.float64)


def refused(error: type[Exception], message: str, name: str = "LSTM", **changes: Any) -> None:
    """One call of T 6, B 3, I 2, H 5 with some arguments changed, and what it says."""
    at = scene(ZOO[name])
    arguments: dict[str, Any] = dict(cell=at.cell, weights=at.weights, x=at.x, state=at.state)
    with pytest.raises(error, match=re.escape(message)):
        scan(**(arguments | changes))


@pytest.mark.parametrize(
    "error, message, changes",
    [
        (
            ArgumentError,
            "cell must be a cell, got 'lstm'; write recurra.cells.LSTM(), for example",
            dict(cell="lstm"),
        ),
        (DtypeError, "x must be a tensor, got list; use torch.as_tensor", dict(x=[1.0])),
        (ShapeError, "x must have shape (T, B, 2), got (6, 3, 4)", dict(x=torch.zeros(6, 3, 4))),
        (ShapeError, "x must have shape (T, B, 2), got (6, 2)", dict(x=torch.zeros(6, 2))),
        (
            ShapeError,
            "x must have at least one step and one row, got shape (0, 3, 2)",
            dict(x=torch.zeros(0, 3, 2)),
        ),
        (
            ShapeError,
            "x must have at least one step and one row, got shape (6, 0, 2)",
            dict(x=torch.zeros(6, 0, 2)),
        ),
        (
            DtypeError,
            "x must be on the device of the weights, cpu, got meta; use x.to('cpu')",
            dict(x=torch.zeros(6, 3, 2, device="meta")),
        ),
        (
            DtypeError,
            (
                "x must have the dtype of the weights, torch.float64, got torch.float32; use"
                " x.to(torch.float64)"
            ),
            dict(x=torch.zeros(6, 3, 2, dtype=torch.float32)),
        ),
        (
            DtypeError,
            "x must have the dtype of the weights, torch.float64, got torch.int64",
            dict(x=torch.zeros(6, 3, 2).long()),
        ),
        (
            DtypeError,
            "lengths must be whole numbers, got torch.float64",
            dict(lengths=torch.ones(3, dtype=torch.float64)),
        ),
        (
            DtypeError,
            "lengths must be whole numbers, got torch.bool",
            dict(lengths=[True, False, True]),
        ),
        (
            ShapeError,
            "lengths must have shape (3,), one for each row, got (2,)",
            dict(lengths=[1, 2]),
        ),
        (ShapeError, "lengths must have shape (3,), one for each row, got ()", dict(lengths=4)),
        (ArgumentError, "lengths must be between 0 and T = 6, got 7", dict(lengths=[7, 1, 1])),
        (ArgumentError, "lengths must be between 0 and T = 6, got -1", dict(lengths=[6, 1, -1])),
        (
            ShapeError,
            "resets must have shape (6, 3), as the first axes of x, got (3, 6)",
            dict(resets=torch.zeros(3, 6).bool()),
        ),
        (
            DtypeError,
            "resets must be bool, True where a step begins a new segment, got torch.float64",
            dict(resets=torch.zeros(6, 3, dtype=torch.float64)),
        ),
        (
            ArgumentError,
            "keep must be one of 'gates', 'states', got 'state'; did you mean 'states'?",
            dict(keep=["state"]),
        ),
        (
            ArgumentError,
            (
                "method must be one of 'auto', 'checkpointed', 'fused', 'loop', 'parallel',"
                " 'vendor', got 'fussed'; did you mean 'fused'?"
            ),
            dict(method="fussed"),
        ),
        (
            ShapeError,
            "state must be a tuple (h, c), got Tensor; LSTM() makes it",
            dict(state=torch.zeros(3, 5)),
        ),
        (
            ShapeError,
            "state must be a tuple (h, c), got tuple of 1; LSTM() makes it",
            dict(state=(torch.zeros(3, 5),)),
        ),
        (
            ShapeError,
            "state.c must have shape (3, 5), got (3, 4); nothing is broadcast",
            dict(state=(ZEROS, ZEROS[:, :4])),
        ),
        (
            ShapeError,
            "state.h must have shape (3, 5), got (1, 5); nothing is broadcast",
            dict(state=(torch.zeros(1, 5), torch.zeros(1, 5))),
        ),
        (
            ShapeError,
            "state.h must have shape (3, 5), got (5,); nothing is broadcast",
            dict(state=(torch.zeros(5), torch.zeros(5))),
        ),
        (DtypeError, "state.c must be a tensor, got float", dict(state=(ZEROS, 1.0))),
        (
            DtypeError,
            "state.h must be on the device of x, cpu, got meta",
            dict(state=(torch.zeros(3, 5, device="meta"), torch.zeros(3, 5))),
        ),
        (
            DtypeError,
            "state.h must have the dtype of x, torch.float64, got torch.float32",
            dict(state=(torch.zeros(3, 5, dtype=torch.float32), torch.zeros(3, 5))),
        ),
        (
            ArgumentError,
            "noise must be None for LSTM(), got 'zoneout_h'",
            dict(noise={"zoneout_h": torch.zeros(6, 3, 5)}),
        ),
    ],
)
def test_bad_arguments_are_named(
    error: type[Exception], message: str, changes: dict[str, Any]
) -> None:
    refused(error, message, **changes)


def test_another_cells_state_is_named() -> None:
    state = recurra.cells.LSTM().state_type()(torch.zeros(3, 5), torch.zeros(3, 5))
    refused(
        ShapeError, "state must be a tuple (h), got State of 2; GRU() makes it", "GRU", state=state
    )
    state = cells.Cell.state_type(Pair())(torch.zeros(3, 5), torch.zeros(3, 5))
    refused(
        ShapeError,
        "state must have the values ('h', 'c') of LSTM(), got ('h', 'm'); it is another cell's",
        state=state,
    )


class Pair(cells.Cell):
    state, gates = ("h", "m"), ("n",)


@pytest.mark.parametrize(
    "error, message, noise",
    [
        (
            ArgumentError,
            (
                "noise must be one of 'zoneout_c', 'zoneout_h', got 'zone_h'; did you mean"
                " 'zoneout_h'?"
            ),
            {"zone_h": torch.zeros(6, 3, 5)},
        ),
        (
            ShapeError,
            "noise['zoneout_h'] must have shape (6, 3, 5), got (5, 3, 5)",
            {"zoneout_h": torch.zeros(5, 3, 5)},
        ),
        (
            ShapeError,
            "noise['zoneout_h'] must have shape (6, 3, 5), got (6, 3, 1)",
            {"zoneout_h": torch.zeros(6, 3, 1)},
        ),
        (DtypeError, "noise['zoneout_h'] must be a tensor, got float", {"zoneout_h": 0.5}),
    ],
)
def test_bad_noise_is_named(error: type[Exception], message: str, noise: dict[str, Any]) -> None:
    refused(error, message, "Zoneout", noise=noise)


def test_a_carried_mask_of_another_batch_is_named() -> None:
    at = scene(ZOO["RecurrentDropout"], training=True)
    state = (at.state[0], torch.ones(1, 5))
    with pytest.raises(
        ShapeError,
        match=re.escape("state.dropout_h must have shape (3, 5), got (1, 5); nothing is broadcast"),
    ):
        scan(at.cell, at.weights, at.x, state, noise=at.noise)


@pytest.mark.parametrize(
    "name, method, options, message",
    [
        ("ResetBeforeGRU", "vendor", {}, "PyTorch has no operator for ResetBeforeGRU()"),
        ("Zoneout", "vendor", {}, "PyTorch has no operator for Zoneout(cell=LSTM(), h=0.3, c=0.2)"),
        (
            "LSTM",
            "vendor",
            dict(keep=["gates", "states"]),
            "PyTorch's operator does not return gates and states",
        ),
        ("LSTM", "parallel", {}, "LSTM() is not linear in its state (MinGRU and MinLSTM are)"),
        (
            "ZoneoutLinear",
            "parallel",
            {},
            (
                "Zoneout(cell=MinGRU(), h=0.3, c=0.0) is not linear in its state (MinGRU and"
                " MinLSTM are)"
            ),
        ),
    ],
)
def test_a_method_that_does_not_fit_says_why(
    name: str, method: str, options: dict[str, Any], message: str
) -> None:
    at = scene(ZOO[name])
    with pytest.raises(
        MethodUnavailable,
        match=(
            f"^method '{method}' cannot run this: {re.escape(message)}; use method='auto' or"
            " 'loop'$"
        ),
    ):
        scan(at.cell, at.weights, at.x, method=method, **options)


@pytest.mark.parametrize(
    "method, message",
    [
        ("vendor", "PyTorch's operator has no rules for function transforms and forward mode"),
        (
            "checkpointed",
            "function transforms and forward-mode gradients see through no recomputation",
        ),
        ("fused", "the fused scan has no rules for function transforms and forward mode"),
    ],
)
def test_methods_that_see_no_transforms_say_so(method: str, message: str) -> None:
    at = scene(cells.LSTM())
    with pytest.raises(MethodUnavailable, match=re.escape(message)):
        torch.func.vmap(
            lambda x: scan(at.cell, at.weights, x[:, None], method=method).h, in_dims=1
        )(at.x)


def test_forward_mode_goes_by_the_loop() -> None:
    at = scene(cells.LSTM())
    with torch.autograd.forward_ad.dual_level():
        assert choose_method(prepare(at.cell, at.weights, at.x, None), "auto").method == "loop"


def test_fused_says_why_it_cannot() -> None:
    at = scene(cells.LSTM())
    half = {name: weight.detach().bfloat16() for name, weight in at.weights.items()}
    with pytest.raises(
        MethodUnavailable,
        match=re.escape("no fused LSTM() on cpu for bfloat16 (float32 and float64 are)"),
    ):
        scan(at.cell, half, at.x.detach().bfloat16(), method="fused")
    meta = {name: weight.detach().to("meta") for name, weight in at.weights.items()}
    with pytest.raises(MethodUnavailable, match=re.escape("no fused LSTM() on meta (cpu is)")):
        scan(at.cell, meta, at.x.detach().to("meta"), method="fused")
    with (
        torch.autocast("cpu", torch.bfloat16),
        pytest.raises(MethodUnavailable, match="for bfloat16"),
    ):
        scan(at.cell, at.weights, at.x.detach(), method="fused")


@contextmanager
def unsaid() -> Iterator[None]:
    """As in a process that has warned of no cell yet."""
    before = set(scanning._WARNED)
    scanning._WARNED.clear()
    yield
    scanning._WARNED.update(before)


def single_precision(cell: cells.Cell) -> dict[str, torch.Tensor]:
    return {name: weight.detach().float() for name, weight in scene(cell).weights.items()}


def test_a_cell_that_falls_to_the_loop_says_so_once_and_what_to_do() -> None:
    cell, other, x = cells.LayerNormLSTM(), cells.LayerNormGRU(), torch.randn(6, 3, 2).float()
    weights = single_precision(cell)
    text = (
        "LayerNormLSTM() runs step by step, many times slower than fused: no fused LayerNormLSTM()"
        " on cpu for bfloat16 (float32 and float64 are); call it in `with torch.autocast('cpu',"
        " enabled=False)`, on x.float(), or pass method='loop' if it is meant"
    )
    with unsaid(), torch.autocast("cpu", torch.bfloat16):
        with pytest.warns(SlowWarning, match=f"^{re.escape(text)}$") as caught:
            scan(cell, weights, x)
        assert len(caught) == 1
        scan(cell, weights, x)  # warnings are errors here
        with pytest.warns(SlowWarning, match="LayerNormGRU"):
            scan(other, single_precision(other), x)
    half = {name: weight.bfloat16() for name, weight in weights.items()}
    with unsaid(), pytest.warns(SlowWarning, match="; use float32, or pass method='loop'"):
        scan(cell, half, x.bfloat16())


def test_what_is_meant_or_quick_warns_of_nothing() -> None:
    cell, x = cells.LayerNormLSTM(), torch.randn(6, 3, 2).float()
    weights = single_precision(cell)
    with unsaid(), torch.autocast("cpu", torch.bfloat16):
        scan(cell, weights, x, method="loop")
        if torch.ops.mkldnn._is_mkldnn_bf16_supported():
            scan(cells.LSTM(), single_precision(cells.LSTM()), x)
        scan(cell, weights, x[:1])
    with unsaid():
        scan(cell, weights, x, keep=("gates",))
        torch.func.vmap(lambda x: scan(cell, weights, x[:, None]).h, in_dims=1)(x)


@pytest.mark.parametrize(
    ("cell", "figure"),
    [
        (cells.LSTM(), "1.2 times the speed of torch.nn.LSTM"),
        (cells.GRU(), "2.2 times torch.nn.GRU"),
        (cells.Elman("relu"), "1.8 times torch.nn.RNN"),
        (cells.LayerNormLSTM(), None),
        (cells.Zoneout(cells.LSTM(), h=0.1), None),
    ],
)
def test_a_figure_is_of_the_cell_and_says_of_which_machine(
    cell: cells.Cell, figure: str | None
) -> None:
    text = explain(recurra.Recurrent(cell, 3, 4), torch.zeros(5, 2, 3)).splitlines()[1]
    end = (
        f" ({figure} in training on two cores with AVX-512; `recurra bench` measures yours)"
        if figure
        else ""
    )
    assert text == f"   fused: the native module runs the cell's own program{end}"


class Averaging(cells.Cell):
    """Elementwise it is not; the loop can run it all the same."""

    gates = ("n",)

    def pointwise(self, a: Any, s: Any) -> dict[str, torch.Tensor]:
        return dict(h=torch.tanh(a.n - a.n.mean(-1, keepdim=True)), n=a.n)


def test_a_cell_that_is_not_elementwise_runs_by_the_loop() -> None:
    at = scene(Averaging())
    with (
        torch.no_grad(),
        unsaid(),
        pytest.warns(
            SlowWarning, match="write the cell so that it can be traced, or pass method='loop'"
        ),
    ):
        assert scan(at.cell, at.weights, at.x).h.shape == (6, 3, 5)
        with pytest.raises(MethodUnavailable, match="method 'fused' cannot run this"):
            scan(at.cell, at.weights, at.x, method="fused")


@pytest.mark.parametrize(
    "name, keep, method",
    [
        ("LSTM", (), "fused"),
        ("LSTM", ("gates",), "loop"),
        ("MinGRU", ("gates",), "parallel"),
        ("TwoPhase", (), "fused"),
        ("Decay", ("states",), "fused"),
    ],
)
def test_auto_chooses_by_a_fixed_rule_and_gives_reasons(
    name: str, keep: tuple[str, ...], method: str
) -> None:
    at = scene(ZOO[name])
    choice = choose_method(prepare(at.cell, at.weights, at.x, None, keep=keep), "auto")
    assert choice.method == method and choice.why.startswith(WHY[method])
    assert all(reason for reason in choice.refused.values()) and bool(choice.refused) == (
        method != "fused"
    )
    found = scan(at.cell, at.weights, at.x, keep=keep)
    assert_close(found, scan(at.cell, at.weights, at.x, keep=keep, method="loop"))


def test_states_and_gates_come_when_asked_for() -> None:
    at = scene(cells.PeepholeLSTM(), training=True)
    found = scan(at.cell, at.weights, at.x, at.state)
    assert found.states is None and found.gates is None
    found = scan(at.cell, at.weights, at.x, at.state, keep=("states", "gates"))
    assert found.states._fields == ("h", "c") and found.gates._fields == ("i", "f", "g", "o")
    assert all(value.shape == (6, 3, 5) for value in (*found.states, *found.gates))
    assert_close(found.states.h, found.h)
    assert_close([value[-1] for value in found.states], found.final)
    c = found.gates.f[3] * found.states.c[2] + found.gates.i[3] * found.gates.g[3]
    assert_close(c, found.states.c[3])


def test_states_are_held_and_gates_zero_past_a_length() -> None:
    at = scene(cells.LSTM())
    found = scan(at.cell, at.weights, at.x, at.state, lengths=[2, 0, 6], keep=("states", "gates"))
    assert_close(found.states.c[2:, 0], found.final.c[0].expand(4, 5))
    assert_close(found.states.c[:, 1], at.state[1][1].expand(6, 5))
    assert float(found.gates.f.detach()[2:, 0].abs().max()) == 0


def test_explain_tells_each_scan() -> None:
    net = recurra.LSTM(3, 4, num_layers=2, bidirectional=True)
    text = explain(net, torch.zeros(5, 2, 3))
    assert text.startswith(
        "1. LSTM() (T 5, B 2, I 3, H 4, float64, cpu)\n   fused: the native module runs"
    )
    assert "4. LSTM() (T 5, B 2, I 8, H 4, float64, cpu, backward)" in text
    assert explain(torch.nn.Linear(2, 2), torch.zeros(2)) == "no scan was run"
    with pytest.raises(ShapeError):
        explain(net, torch.zeros(5, 2, 7))
    assert explain(net, torch.zeros(1, 1, 3)).count("vendor") == 4


def test_explain_within_explain_listens_on() -> None:
    inner = recurra.GRU(3, 4)

    class Outer(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            explain(inner, x)
            return inner(x)[0]

    assert explain(Outer(), torch.zeros(2, 1, 3)).count("GRU()") == 2


def saved(T: int, method: str) -> int:
    """Elements that the backward pass of one scan holds, each storage once; the input and the
    output aside.
    """
    at = scene(cells.Elman(), T=T, B=1, I=1, H=4)
    sizes: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes() // 8
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        found = scan(at.cell, at.weights, at.x, method=method)
    assert found.h.grad_fn is not None
    return sum(sizes.values()) - T


def test_checkpointing_holds_about_the_square_root_of_the_time() -> None:
    held = {T: saved(T, "checkpointed") for T in (400, 1600, 6400)}
    assert held[6400] < 5 * held[400]
    assert held[6400] < 10 * 6400**0.5
    assert saved(400, "loop") > 400 * 4


def test_checkpointing_recomputes_about_the_square_root_of_the_time_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lengths: list[int] = []
    run = METHODS["loop"].run
    monkeypatch.setattr(
        METHODS["loop"], "run", lambda job: (lengths.append(len(job.x)), run(job))[1]
    )
    at = scene(cells.Elman(), T=401, B=1, I=1, H=4)
    gradients(scan(at.cell, at.weights, at.x, method="checkpointed"), at.leaves())
    assert sum(lengths) == 2 * 401 and max(lengths) <= 21


@pytest.mark.slow
def test_thirty_thousand_steps_train() -> None:
    at = scene(cells.Elman(), T=30_000, B=1, I=1, H=4)
    found = scan(at.cell, at.weights, at.x, method="checkpointed")
    d = gradients([found.h[-1]], at.leaves())
    assert d["x"][-10:].abs().max() > 1e-6 and all(value.isfinite().all() for value in d.values())


def test_every_method_is_known_by_its_reason() -> None:
    assert set(METHODS) == {"checkpointed", "fused", "loop", "parallel", "vendor"}
    assert (
        METHODS["loop"].reason(
            prepare(cells.LSTM(), scene(cells.LSTM()).weights, torch.zeros(1, 1, 2), None)
        )
        is None
    )
