"""States of ONNX graphs: carried as the layer leaves them, or refused by name; and which output is
the network's.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import recurra
from recurra.errors import ArgumentError, ConversionError
from recurra.export import from_onnx as importer
from recurra.export import network_of, to_rcr
from recurra.network import Matrix, Network, Recurrent
from tests.export.onnx_files import node, written
from tests.network.nets import numbers

I, H = 3, 4
STEPS = numbers(12, 1, I)


class Cells(nn.Module):
    """Parts, and a step given as a function of them, x and the states."""

    def __init__(self, run: Callable[..., Any]) -> None:
        super().__init__()
        self.run = run
        self.lstm, self.gru, self.two = nn.LSTM(I, H), nn.GRU(I, H), nn.LSTM(I, H, 2)
        self.after, self.head, self.value = nn.GRU(H, H), nn.Linear(H, 2), nn.Linear(H, 1)

    def forward(self, x: Tensor, *states: Tensor) -> Any:
        return self.run(self, x[None], *states)


def step(
    path: Path, run: Callable[..., Any], states: dict[str, tuple[int, ...]], outputs: list[str]
) -> Path:
    """The graph of one step, as PyTorch writes it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        given = tuple(torch.zeros(size, dtype=torch.float32) for size in ((1, I), *states.values()))
        names = {"input_names": ["x", *states], "output_names": outputs}
        torch.onnx.export(Cells(run).eval().float(), given, str(path), dynamo=False, **names)
    return path


def equals(
    path: Path,
    back: dict[str, str],
    output: str,
    states: dict[str, tuple[int, ...]],
    named: bool = False,
) -> Network:
    """The network equals the file in ONNX Runtime, step after step, each state given what `back`
    says of it.
    """
    network = network_of(path, output=output if named else None)
    session, mine = (
        onnxruntime.InferenceSession(str(path)),
        recurra.runtime.Model(network).session(1),
    )
    state = {name: np.zeros(size, np.float32) for name, size in states.items()}
    for x in STEPS:
        made = dict(
            zip([each.name for each in session.get_outputs()], session.run(None, {"x": x, **state}))
        )
        state = {name: made[back[name]] for name in state}
        assert np.abs(mine.push(x) - made[output].reshape(1, -1)).max() < 1e-5
    return network


ONE, TWO = (1, 1, H), (2, 1, H)
LSTM, STACKED = {"h": ONE, "c": ONE}, {"h": TWO, "c": TWO}
NEXT = {"h": "h_out", "c": "c_out"}


def lstm(m: Any, x: Tensor, h: Tensor, c: Tensor) -> Any:
    y, (h, c) = m.lstm(x, (h, c))
    return m.head(y[0]), h, c


def stacked(m: Any, x: Tensor, h: Tensor, c: Tensor) -> Any:
    y, (h, c) = m.two(x, (h, c))
    return m.head(y[0]), h, c


def joined(m: Any, x: Tensor, s: Tensor) -> Any:
    """Both states of an LSTM side by side in one, batch first."""
    h, c = s.transpose(0, 1).split(H, 2)
    y, (h, c) = m.lstm(x, (h.contiguous(), c.contiguous()))
    return m.head(y[0]), torch.cat([h, c], 2).transpose(0, 1)


def two_layers(m: Any, x: Tensor, a: Tensor, b: Tensor) -> Any:
    y, a = m.gru(x, a)
    y, b = m.after(y, b)
    return m.head(y[0]), a, b


KEPT: dict[str, tuple[Any, dict[str, tuple[int, ...]], list[str], dict[str, str]]] = {
    "lstm": (lstm, LSTM, ["y", "h_out", "c_out"], NEXT),
    "stacked": (stacked, STACKED, ["y", "h_out", "c_out"], NEXT),
    "no names": (lstm, LSTM, ["y", "p", "q"], {"h": "p", "c": "q"}),
    "states first": (
        lambda m, x, h, c: lstm(m, x, h, c)[::-1],
        LSTM,
        ["cn", "hn", "y"],
        {"h": "hn", "c": "cn"},
    ),
    "joined": (joined, {"state": (1, 1, 2 * H)}, ["y", "state_n"], {"state": "state_n"}),
    "split by layers": (
        lambda m, x, h, g, c: (lambda y, hh, cc: (y, hh[:1], hh[1:], cc))(
            *stacked(m, x, torch.cat([h, g]), c)
        ),
        {"h_0": ONE, "h_1": ONE, "c": TWO},
        ["y", "h_0_out", "h_1_out", "c_out"],
        {"h_0": "h_0_out", "h_1": "h_1_out", "c": "c_out"},
    ),
    "two layers": (
        two_layers,
        {"a": ONE, "b": ONE},
        ["y", "a_out", "b_out"],
        {"a": "a_out", "b": "b_out"},
    ),
    "out of order, named": (
        lambda m, x, a, b: (lambda y, a, b: (b, y, a))(*two_layers(m, x, a, b)),
        {"a": ONE, "b": ONE},
        ["b_out", "y", "a_out"],
        {"a": "a_out", "b": "b_out"},
    ),
    "the state is the output": (lambda m, x, h: m.gru(x, h)[1], {"h": ONE}, ["y"], {"h": "y"}),
    "both": (
        lambda m, x, h: (lambda y, h: (h[0], h))(*m.gru(x, h)),
        {"h": ONE},
        ["y", "h_out"],
        {"h": "h_out"},
    ),
}


@pytest.mark.parametrize("what", KEPT)
def test_states_that_are_only_moved_about_are_carried(what: str, tmp_path: Path) -> None:
    run, states, outputs, back = KEPT[what]
    equals(step(tmp_path / "m.onnx", run, states, outputs), back, "y", states)


BACK = r" must come back from an output as \S*(LSTM|GRU).* leaves it, moved about at most, got "
NAMED = " must come back from the output of its name, "
ANEW = r"\S+ must be given all of its state by inputs of the graph, "


def changed(change: Callable[[Tensor], Tensor]) -> Any:
    def run(m: Any, x: Tensor, h: Tensor, c: Tensor) -> Any:
        y, h, c = lstm(m, x, h, c)
        return y, h, change(c)

    return run


def shared(m: Any, x: Tensor, h: Tensor) -> Any:
    y, h = m.after(m.gru(x, h)[0], h)
    return m.head(y[0]), h


def crossed(m: Any, x: Tensor, h: Tensor, c: Tensor) -> Any:
    y, h, c = stacked(m, x, h, c)
    return y, torch.cat([h[1:], h[:1]]), c


LOST: dict[str, tuple[Any, dict[str, tuple[int, ...]], list[str], str]] = {
    "scaled": (
        changed(lambda c: 0.85 * c),
        LSTM,
        ["y", "h_out", "c_out"],
        f"c{BACK}c_out, which .*Mul.* makes; .*",
    ),
    "clamped": (
        changed(lambda c: c.clamp(-1, 1)),
        LSTM,
        ["y", "h_out", "c_out"],
        f"c{BACK}c_out, which .*Clip.* makes; .*",
    ),
    "normalised": (
        changed(lambda c: c / c.norm()),
        LSTM,
        ["y", "h_out", "c_out"],
        f"c{BACK}c_out, .*",
    ),
    "rounded": (
        changed(lambda c: c.half().float()),
        LSTM,
        ["y", "h_out", "c_out"],
        f"c{BACK}c_out, .*",
    ),
    "zeroed": (
        changed(torch.zeros_like),
        LSTM,
        ["y", "h_out", "c_out"],
        f"c{BACK}c_out, which no layer makes; .*",
    ),
    "zeroed and unnamed": (
        changed(torch.zeros_like),
        LSTM,
        ["y", "p", "q"],
        f"c{BACK}none such of y, p, q; .*",
    ),
    "given back as it came": (
        lambda m, x, h, c: (*lstm(m, x, h, c)[:2], c),
        LSTM,
        ["y", "h_out", "c_out"],
        f"c{BACK}.*",
    ),
    "lost": (
        lambda m, x, h, c: lstm(m, x, h, c)[:2],
        LSTM,
        ["y", "h_out"],
        f"c{BACK}none such of y, h_out; .*",
    ),
    "none given back": (
        lambda m, x, h: m.head(m.gru(x, h)[0][0]),
        {"h": ONE},
        ["y"],
        f"h{BACK}none such of y; .*",
    ),
    "exchanged": (
        lambda m, x, h, c: (lambda y, h, c: (y, c, h))(*lstm(m, x, h, c)),
        LSTM,
        ["y", "h_out", "c_out"],
        f"h{NAMED}h_out, .*",
    ),
    "exchanged, no names": (
        lambda m, x, h, c: (lambda y, h, c: (y, c, h))(*lstm(m, x, h, c)),
        LSTM,
        ["y", "p", "q"],
        (
            "states must go in and come out in one order, or under names that say which is which,"
            " got h, c and q, p"
        ),
    ),
    "exchanged on the way in": (
        lambda m, x, h, c: lstm(m, x, c, h),
        LSTM,
        ["y", "h_out", "c_out"],
        f"[hc]{NAMED}[hc]_out, .*",
    ),
    "crossed between layers": (crossed, STACKED, ["y", "h_out", "c_out"], f"h{BACK}h_out, .*"),
    "crossed between inputs": (
        lambda m, x, a, b: (lambda y, a, b: (y, b, a))(*two_layers(m, x, a, b)),
        {"a": ONE, "b": ONE},
        ["y", "a_out", "b_out"],
        f"a{NAMED}a_out, .*",
    ),
    "scaled on the way in": (
        lambda m, x, h, c: lstm(m, x, h, 0.85 * c),
        LSTM,
        ["y", "h_out", "c_out"],
        "c must be the input or .*Mul.*",
    ),
    "one for two layers": (
        shared,
        {"h": ONE},
        ["y", "h_out"],
        "h must be one state of one layer, got that of .*GRU.* and .*",
    ),
    "one for h and c": (
        lambda m, x, h: lstm(m, x, h, h)[:2],
        {"h": ONE},
        ["y", "h_out"],
        "h must be one state of one layer, got that of .*",
    ),
    "begun anew": (
        lambda m, x: m.head(m.gru(x)[0][0]),
        {},
        ["y"],
        f"{ANEW}for the graph makes one step at a call, got one that begins .*",
    ),
    "begun anew, given back": (
        lambda m, x: (m.head(m.gru(x)[0][0]), m.gru(x)[1]),
        {},
        ["y", "h_out"],
        f"{ANEW}for the graph makes .*",
    ),
    "one begun anew": (
        lambda m, x, h: (lambda y, h: (m.head(m.after(y)[0][0]), h))(*m.gru(x, h)),
        {"h": ONE},
        ["y", "h_out"],
        f"{ANEW}as .*GRU is, .*",
    ),
    "c begun anew": (
        lambda m, x, h: lstm(m, x, h, h.new_zeros(1, 1, H))[:2],
        {"h": ONE},
        ["y", "h_out"],
        f"{ANEW}as .*LSTM is, got one that begins .*",
    ),
    "read": (
        lambda m, x, h: (m.head(h[0]), m.gru(x, h)[1]),
        {"h": ONE},
        ["y", "h_out"],
        "h must be the input or a first state, got .*",
    ),
}


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("what", LOST)
def test_states_that_are_changed_exchanged_or_lost_are_refused(
    what: str, check: bool, tmp_path: Path
) -> None:
    run, states, outputs, text = LOST[what]
    with pytest.raises(ConversionError, match=f"^{text}$"):
        network_of(step(tmp_path / "m.onnx", run, states, outputs), check=check)


def weights(gates: int = 3) -> dict[str, Any]:
    return {"w": numbers(1, gates * H, I), "r": numbers(1, gates * H, H), "one": np.array([1])}


def sequence(
    path: Path,
    nodes: list[Any],
    outputs: list[str],
    more: dict[str, Any] | None = None,
    axes: Any = ("t", "b", I),
) -> Path:
    """A GRU over time, and more nodes."""
    gru = node(
        "GRU", f"x w r - - {'h' if more else '-'}", "Y Yh", hidden_size=H, linear_before_reset=1
    )
    return written(
        path,
        [gru, node("Squeeze", "Y one", "y"), *nodes],
        weights() | {"two": np.float32(2)},
        axes,
        more=more or {},
        outputs=outputs,
    )


STATE = {"h": (1, "b", H)}


def test_a_sequence_may_keep_its_state_to_itself(tmp_path: Path) -> None:
    for outputs, more in [(["y"], None), (["Yh", "y"], None), (["y"], STATE), (["y", "Yh"], STATE)]:
        network = network_of(sequence(tmp_path / "m.onnx", [], outputs, more))
        assert network.output_size == H and len(network.states) == 1


def test_a_sequence_that_changes_its_state_is_refused(tmp_path: Path) -> None:
    path = sequence(tmp_path / "m.onnx", [node("Mul", "Yh two", "h_out")], ["y", "h_out"], STATE)
    for output in (None, "y"):
        with pytest.raises(
            ConversionError,
            match=(
                r"^h must come back from an output as GRU of Y, Yh leaves it, .*got h_out, which"
                r" Mul of h_out makes"
            ),
        ):
            network_of(path, output=output)


def test_a_sequence_of_one_step_must_be_given_its_state(tmp_path: Path) -> None:
    path = sequence(tmp_path / "m.onnx", [], ["y", "Yh"], axes=(1, "b", I))
    with pytest.raises(
        ConversionError,
        match=(
            "^GRU of Y, Yh must be given all of its state by inputs of the graph, for the graph"
            " makes one"
        ),
    ):
        network_of(path)
    assert (
        network_of(
            sequence(tmp_path / "m.onnx", [], ["y", "Yh"], STATE, axes=(1, "b", I))
        ).output_size
        == H
    )


def test_a_first_state_in_the_file_does_not_do_for_one_step(tmp_path: Path) -> None:
    path = sequence(tmp_path / "m.onnx", [], ["y"], STATE, axes=(1, 1, I))
    model = onnx.load(path)
    del model.graph.input[1]
    model.graph.initializer.append(onnx.numpy_helper.from_array(numbers(1, 1, H), "h"))
    onnx.save(model, path)
    with pytest.raises(
        ConversionError,
        match=(
            "^GRU of Y, Yh must be given all of its state by inputs of the graph, for the graph"
            " makes one"
        ),
    ):
        network_of(path)


def test_the_file_is_run_on_from_states_that_are_not_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network with other recurrent weights, or with h and c exchanged, is seen at the first step
    already.
    """
    path, compare = step(tmp_path / "m.onnx", lstm, LSTM, ["y", "h_out", "c_out"]), importer.compare

    def other(model: Any, network: Network, signature: Any, carried: Any) -> None:
        first, head = network.layers
        assert isinstance(first, Recurrent)
        matrices = {
            **first.matrices,
            "weight_hh": Matrix(first.matrices["weight_hh"].values * np.float32(1.01)),
        }
        with pytest.raises(
            ConversionError,
            match="^module must compute what its layers say, got numbers that differ",
        ):
            compare(
                model,
                Network((replace(first, matrices=matrices), head)),
                signature,
                carried._replace(outputs=dict.fromkeys("hc")),
            )
        (places,) = carried.layers
        exchanged = carried._replace(layers=[{"h": places["c"], "c": places["h"]}])
        with pytest.raises(
            ConversionError,
            match="^module must compute what its layers say, got numbers that differ",
        ):
            compare(model, network, signature, exchanged)
        compare(model, network, signature, carried)
        runs.append(carried.outputs)

    runs: list[Any] = []
    monkeypatch.setattr(importer, "compare", other)
    network_of(path)
    assert runs == [{"h": "h_out", "c": "c_out"}]


def heads(m: Any, x: Tensor, h: Tensor) -> Any:
    y, h = m.gru(x, h)
    return h, m.head(y[0]), m.value(y[0])


def test_of_several_outputs_one_is_chosen_by_name(tmp_path: Path) -> None:
    path = step(tmp_path / "m.onnx", heads, {"h": ONE}, ["h_out", "action", "value"])
    with pytest.raises(
        ConversionError,
        match=(
            r"^module must give one output beside its states, got 'action', 'value'; choose one by"
            r" output="
        ),
    ):
        network_of(path)
    for output, size in (("action", 2), ("value", 1), ("h_out", H)):
        network = equals(path, {"h": "h_out"}, output, {"h": ONE}, named=True)
        assert network.output_size == size
    to_rcr(path, tmp_path / "m.rcr", output="value")
    assert recurra.runtime.load(tmp_path / "m.rcr").network.output_size == 1
    with pytest.raises(
        ArgumentError,
        match="^output must be one of 'action', 'h_out', 'value', got 'valu'; did you mean 'value'",
    ):
        network_of(path, output="valu")


def test_a_network_needs_only_its_own_layers_states(tmp_path: Path) -> None:
    """Another head's layer may do with its state what it likes."""

    def run(m: Any, x: Tensor, a: Tensor, b: Tensor) -> Any:
        (y, a), (z, b) = m.gru(x, a), m.gru(x, b)
        return m.head(y[0]), m.value(z[0]), a, 0.5 * b

    path = step(
        tmp_path / "m.onnx", run, {"a": ONE, "b": ONE}, ["action", "value", "a_out", "b_out"]
    )
    assert network_of(path, output="action").output_size == 2
    with pytest.raises(ConversionError, match=f"^b{BACK}b_out, which .*Mul.* makes"):
        network_of(path, output="value")


def test_states_of_cells_alone_are_chosen_by_name(tmp_path: Path) -> None:
    path = step(
        tmp_path / "m.onnx", lambda m, x, h, c: m.lstm(x, (h, c))[1], LSTM, ["h_out", "c_out"]
    )
    with pytest.raises(
        ConversionError,
        match="^module must give one output beside its states, got 'h_out', 'c_out'; choose one",
    ):
        network_of(path)
    equals(path, NEXT, "h_out", LSTM, named=True)
    with pytest.raises(
        ConversionError,
        match="^module must give an output at each step, got c_out, which is none; ",
    ):
        network_of(path, output="c_out")


def test_rows_must_be_as_many_as_the_inputs(tmp_path: Path) -> None:
    path = sequence(tmp_path / "m.onnx", [], ["y", "Yh"], {"h": (1, 3, H)}, axes=("t", 2, I))
    text = r"h must be a state of GRU of Y, Yh with the rows \(1, 2, 4\) of x, got \(1, 3, 4\)"
    with pytest.raises(ConversionError, match=f"^{text}$"):
        network_of(path, check=False)
