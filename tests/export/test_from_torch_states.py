"""What PyTorch modules hand back: the state as their layers leave it, or refused; and which output
is the network's.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import recurra
from recurra.errors import ArgumentError, ConversionError
from recurra.export import network_of, to_rcr
from recurra.network import Loop
from recurra.parity import verify_module

X = np.random.default_rng(0).standard_normal((9, 2, 3))


class Own(nn.Module):
    """Parts, and a forward given as a function of them, the input and a state."""

    def __init__(self, run: Callable[..., Any]) -> None:
        super().__init__()
        self.run = run
        self.lstm, self.gru, self.cell, self.gate = (
            nn.LSTM(3, 4),
            nn.GRU(3, 4),
            nn.LSTMCell(3, 4),
            nn.GRUCell(3, 4),
        )
        self.head, self.value, self.drop = nn.Linear(4, 2), nn.Linear(4, 1), nn.Dropout(0.5)

    def forward(self, x: Tensor, state: Any = None) -> Any:
        return self.run(self, x, state)


class Separate(Own):
    def forward(self, x: Tensor, h: Any = None, c: Any = None) -> Any:  # type: ignore[override]
        return self.run(self, x, h, c)


class Answer(NamedTuple):
    action: Any
    value: Any


def heads(m: Any, x: Tensor, state: Any) -> Any:
    y, state = m.gru(x, state)
    return state, m.head(y), m.value(y)


def tagged(m: Any, x: Tensor, state: Any) -> Any:
    state, action, value = heads(m, x, state)
    return {"state": state, "action": action, "value": value}


def named(m: Any, x: Tensor, state: Any) -> Any:
    return Answer(*heads(m, x, state)[1:])


def agrees(module: nn.Module, pick: Any, **options: Any) -> None:
    """The network gives what `pick` takes of what the module gives for a sequence."""
    network = network_of(module, **options)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(parameter.float())
        wanted = pick(module.eval()(torch.from_numpy(X)))
    assert np.abs(Loop(network, 2).run(X) - wanted.numpy()).max() < 1e-12


CHOICES: list[tuple[Any, Any, Callable[[Any], Any], str]] = [
    (heads, 1, lambda done: done[1], "1, 2"),
    (heads, 2, lambda done: done[2], "1, 2"),
    (tagged, "action", lambda done: done["action"], "'action', 'value'"),
    (tagged, "value", lambda done: done["value"], "'action', 'value'"),
    (named, "value", lambda done: done.value, "0, 1"),
    (named, 0, lambda done: done.action, "0, 1"),
]


@pytest.mark.parametrize(
    ("run", "output", "pick", "names"),
    CHOICES,
    ids=[f"{run.__name__}-{output}" for run, output, *_ in CHOICES],
)
def test_of_several_outputs_one_is_chosen(
    run: Any, output: Any, pick: Any, names: str, tmp_path: Path
) -> None:
    agrees(Own(run), pick, output=output)
    with pytest.raises(
        ConversionError,
        match=(
            rf"^module must give one output beside its states, got {names}; choose one by output= "
        ),
    ):
        network_of(Own(run))
    to_rcr(Own(run), tmp_path / "m.rcr", output=output)
    (row,) = verify_module(Own(run).float(), X.astype(np.float32), output=output)
    assert row.holds


def test_the_only_output_that_is_no_state_is_taken_wherever_it_stands() -> None:
    agrees(Own(lambda m, x, s: heads(m, x, s)[:2]), lambda done: done[1])
    agrees(Own(lambda m, x, s: {"y": m.head(m.gru(x, s)[0])}), lambda done: done["y"])
    agrees(
        Own(lambda m, x, s: {"state": m.gru(x, s)[1], "y": m.head(m.gru(x, s)[0])}),
        lambda done: done["y"],
    )
    agrees(Own(lambda m, x, s: [m.lstm(x, s)[1], m.head(m.lstm(x, s)[0])]), lambda done: done[1])
    agrees(Own(lambda m, x, s: (m.head(m.gru(x, s)[0]),)), lambda done: done[0])


def test_an_output_that_cannot_be_taken_is_not_passed_over() -> None:
    module = Own(lambda m, x, s: (m.head(y := m.gru(x, s)[0]), torch.softmax(m.value(y), -1)))
    with pytest.raises(
        ConversionError, match="^module must give one output beside its states, got 0, 1; "
    ):
        network_of(module)
    agrees(module, lambda done: done[0], output=0)
    with pytest.raises(
        ConversionError,
        match="^module must be made of layers that stream, got softmax in its forward; ",
    ):
        network_of(module, output=1)


def test_an_output_that_is_not_there_is_named() -> None:
    for module, output, text in [
        (Own(heads), 3, "output must be one of 0, 1, 2, got 3"),
        (Own(tagged), "valu", "output must be one of 'state', 'action', 'value', got 'valu'"),
        (Own(lambda m, x, s: m.head(m.gru(x, s)[0])), 0, "output must be left out, got 0"),
        (
            nn.GRU(3, 4),
            "y",
            "output must be left out with GRU, which has one output besides its state, got 'y'",
        ),
    ]:
        with pytest.raises(ArgumentError, match=f"^{text}$"):
            network_of(module, output=output)


def test_a_module_before_others_gives_its_output_first() -> None:
    inner = Own(lambda m, x, s: (m.gru(x, s)[1], m.gru(x, s)[0]))
    with pytest.raises(
        ConversionError,
        match="^module.0 must give its output first, for the module after it, got it as output 1$",
    ):
        network_of(nn.Sequential(inner, nn.Linear(4, 2)))


def cell_step(m: Any, x: Tensor, state: Any) -> Any:
    state = m.cell(x, state)
    return m.head(state[0]), state


def apart(m: Any, x: Tensor, h: Any, c: Any) -> Any:
    h, c = m.cell(x, None if h is None else (h, c))
    return m.head(h), h, c


STEPS: dict[str, Callable[[], nn.Module]] = {
    "gru": lambda: Own(lambda m, x, s: (m.head(h := m.gate(x, s)), h)),
    "lstm": lambda: Own(cell_step),
    "apart": lambda: Separate(apart),
    "given together": lambda: Separate(
        lambda m, x, h, c: (lambda y, h, c: (y, (h, c)))(*apart(m, x, h, c))
    ),
    "trained": lambda: Own(lambda m, x, s: (m.head(m.drop(h := m.gate(x, s))), h)).train(),
}


@pytest.mark.parametrize("what", STEPS)
def test_a_step_goes_on_from_what_it_hands_back(what: str) -> None:
    module = STEPS[what]()
    loop = Loop(network_of(module), 2)
    module.eval()
    state: tuple[Any, ...] = ()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(parameter.float())
        for x in X:
            y, *left = module(torch.from_numpy(x), *state)
            state = tuple(left[0] if what == "given together" else left)
            assert np.abs(loop.push(x) - y.numpy()).max() < 1e-12


class Holding(Own):
    """A step that keeps its state itself."""

    state: Any = None

    def forward(self, x: Tensor) -> Any:  # type: ignore[override]
        self.state = self.gate(x, self.state)
        return self.head(self.state)


def test_a_step_that_holds_its_state_is_run_on() -> None:
    module = Holding(lambda: None)
    network = network_of(module)
    assert (
        module.state is None
        and np.abs(
            Loop(network, 2).push(X[0]) - module(torch.from_numpy(X[0])).detach().numpy()
        ).max()
        < 1e-6
    )


def decayed(m: Any, x: Tensor, state: Any) -> Any:
    state = None if state is None else tuple(0.85 * each for each in state)
    y, state = m.lstm(x, state)
    return m.head(y), state


def step_decayed(m: Any, x: Tensor, state: Any) -> Any:
    h, c = m.cell(x, None if state is None else (state[0], 0.85 * state[1]))
    return m.head(h), (h, c)


def forgetful(m: Any, x: Tensor, state: Any) -> Any:
    y, left = m.lstm(x)
    return m.head(y), left


def scaled(m: Any, x: Tensor, state: Any) -> Any:
    y, (h, c) = m.lstm(x, state)
    return m.head(y), (h, 0.85 * c)


def exchanged(m: Any, x: Tensor, state: Any) -> Any:
    y, (h, c) = m.lstm(x, state)
    return m.head(y), (c, h)


def scaled_step(m: Any, x: Tensor, h: Any, c: Any) -> Any:
    y, h, c = apart(m, x, h, c)
    return y, h, 0.85 * c


def turned_step(m: Any, x: Tensor, state: Any) -> Any:
    h, c = m.cell(x, state)
    return m.head(h), (c, h)


GOES_ON = (
    "module must go on from the state that it hands back as its layers say, got numbers that"
    " differ by"
)
SEVERAL = "module must give one output beside its states, got 0, "
FIRST: dict[str, Any] = {"output": 0}
LOST: dict[str, tuple[Callable[[], nn.Module], dict[str, Any], str]] = {
    "decayed on the way in": (lambda: Own(decayed), {}, GOES_ON),
    "decayed at a step": (lambda: Own(step_decayed), {}, GOES_ON),
    "not read": (lambda: Own(forgetful), {}, GOES_ON),
    "exchanged": (lambda: Own(exchanged), {}, GOES_ON),
    "scaled": (lambda: Own(scaled), {}, SEVERAL),
    "scaled, chosen": (lambda: Own(scaled), FIRST, GOES_ON),
    "scaled at a step": (lambda: Separate(scaled_step), {}, SEVERAL),
    "scaled at a step, chosen": (lambda: Separate(scaled_step), FIRST, GOES_ON),
    "exchanged at a step": (lambda: Own(turned_step), {}, GOES_ON),
    "begun anew": (lambda: Own(lambda m, x, s: m.head(m.gate(x))), {}, GOES_ON),
    "zero at a step": (
        lambda: Own(lambda m, x, s: (m.head(h := m.gate(x, s)), torch.zeros_like(h))),
        {},
        GOES_ON,
    ),
    "begun anew in a row": (lambda: nn.Sequential(nn.GRUCell(3, 4), nn.Linear(4, 2)), {}, GOES_ON),
    "c read": (
        lambda: Own(lambda m, x, s: m.head(m.cell(x, s)[1])),
        {},
        "module.head must read what comes at each step, got the ",
    ),
    "h_n of another": (
        lambda: Own(lambda m, x, s: m.lstm(x, (m.gru(x)[1], torch.zeros(1, 2, 4)))[0]),
        {},
        "module.lstm must begin with its own first st",
    ),
}


@pytest.mark.parametrize("what", LOST)
def test_a_state_that_is_changed_exchanged_or_lost_is_refused(what: str) -> None:
    make, options, text = LOST[what]
    with pytest.raises(ConversionError) as raised:
        network_of(make(), **options)
    assert str(raised.value).startswith(text)


def test_recurras_own_layers_go_on_too() -> None:
    for module in (
        recurra.LSTM(3, 4, 2),
        recurra.Stack([recurra.Recurrent(recurra.cells.GRU(), 3, 4), nn.Linear(4, 2)]),
    ):
        assert network_of(module).input_size == 3
