from __future__ import annotations

import copy
import pickle
import re
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from recurra import cells
from recurra.cells import Cell, LinearCell, Phase, draw
from recurra.cells.named import named_type
from recurra.errors import ArgumentError
from tests.cells.zoo import BUILT_IN, OWN, ZOO, CoupledLSTM, assert_close, scene


@pytest.mark.parametrize("name", BUILT_IN | {"own": None})
def test_equal_cells_are_equal_hash_equal_print_and_pickle(name: str) -> None:
    cell = BUILT_IN.get(
        name, cells.Zoneout(cells.RecurrentDropout(cells.ProjectedLSTM(3), 0.2), h=0.1)
    )
    again = pickle.loads(pickle.dumps(cell))
    assert (
        again == cell
        and hash(again) == hash(cell)
        and repr(again) == repr(cell)
        and copy.deepcopy(cell) == cell
    )
    assert eval(repr(cell), vars(cells)) == cell
    assert cell != cells.Probed(cell)
    with pytest.raises(AttributeError):
        cell.anything = 1


@pytest.mark.parametrize("biases", [0, 1, 2])
@pytest.mark.parametrize("name", ZOO)
def test_weights_fit_a_step_and_every_one_counts(name: str, biases: int) -> None:
    cell = ZOO[name]
    shapes = cell.weights(3, 5, biases)
    weights = {key: torch.randn(shape).requires_grad_() for key, shape in shapes.items()}
    state = cell.state_type()(
        *(torch.randn(2, cell.width(key, 5)) for key in cell.state), *[None] * len(cell.lasting())
    )
    after, gates = cell.step(weights, cell.project(weights, torch.randn(2, 3)), state)
    assert gates._fields == cell.gates and after._fields[: len(cell.state)] == cell.state
    assert all(
        value.shape == before.shape for value, before in zip(after, state) if before is not None
    )
    d = torch.autograd.grad(
        sum(value.square().sum() for value in after if value is not None), list(weights.values())
    )
    assert all(float(each.abs().sum()) > 0 for each in d), [
        key for key, each in zip(weights, d) if not float(each.abs().sum())
    ]


def test_the_shapes_are_torchs() -> None:
    theirs = torch.nn.LSTM(3, 5, proj_size=2)
    shapes = cells.ProjectedLSTM(2).weights(3, 5)
    assert {f"{name}_l0": shape for name, shape in shapes.items()} == {
        name: tuple(p.shape) for name, p in theirs.named_parameters()
    }
    with pytest.raises(ArgumentError, match="biases must be a whole number in 0..2, got 3"):
        cells.LSTM().weights(3, 5, 3)


@pytest.mark.parametrize("name", [name for name in ZOO if name not in OWN and name != "ZoneoutOwn"])
def test_retention_is_the_share_of_the_old_state_that_is_kept(name: str) -> None:
    at = scene(ZOO[name], T=1)
    last = "c" if "c" in at.cell.state else "h"
    state = at.cell.state_type()(*at.state, *[None] * len(at.cell.lasting()))
    u = at.cell.project(at.weights, at.x)[0]
    frozen = {
        key: (
            torch.zeros_like(weight)
            if key in ("weight_hh", "p_i", "p_f", "p_o", "gain_hh")
            else weight
        )
        for key, weight in at.weights.items()
    }
    after, gates = at.cell.step(frozen, u, state)
    kept = at.cell.retention(gates)
    (d,) = torch.autograd.grad(getattr(after, last).sum(), getattr(state, last), allow_unused=True)
    assert_close(torch.zeros_like(kept) if d is None else d, kept)
    assert float(kept.detach().min()) >= 0 and float(kept.detach().max()) <= 1


class Silent(Cell):
    gates = ("n",)


def test_what_a_cell_does_not_say_is_named() -> None:
    with pytest.raises(
        NotImplementedError, match="Silent does not say what it keeps; define retention"
    ):
        Silent().retention(None)
    at = dict(Silent().weights(3, 4))
    weights = {key: torch.zeros(shape) for key, shape in at.items()}
    with pytest.raises(
        NotImplementedError, match=r"Silent must define pointwise\(self, a, s\) or phases\(self\)"
    ):
        Silent().step(weights, torch.zeros(2, 4), Silent().state_type()(torch.zeros(2, 4)))

    class Linear(LinearCell):
        gates = ("n",)

    with pytest.raises(NotImplementedError, match=r"Linear must define coefficients\(self, a\)"):
        Linear().pointwise(None, None)  # type: ignore[arg-type]
    assert repr(Silent()) == "Silent()"


@pytest.mark.parametrize("word", ["u", "v", "new", "noise", "values", "label"])
@pytest.mark.parametrize("kind", ["state", "gates", "params"])
def test_reserved_names_are_refused(kind: str, word: str) -> None:
    with pytest.raises(
        ArgumentError,
        match=(
            f"{kind} of Taken must avoid the reserved names label, new, noise, u, v, values, got"
            f" .'{word}',"
        ),
    ):
        type("Taken", (Cell,), {kind: (word,)})


class Doubled(Cell):
    """Two phases that name the same rows."""

    gates = ("n",)

    def phases(self) -> tuple[Phase, ...]:
        return Phase(self.pointwise, ("n",)), Phase(self.pointwise, ("n",))

    def pointwise(self, a: Any, s: Any) -> dict[str, Tensor]:
        return dict(h=torch.tanh(a.n), n=a.n)


def test_two_phases_cannot_name_the_same_rows() -> None:
    with pytest.raises(
        ArgumentError,
        match=re.escape(
            "phases of Doubled() must name different gates of each weight, got [('weight_hh',"
            " ('n',)), ('weight_hh', ('n',))]"
        ),
    ):
        Doubled().weights(3, 4)


def test_a_foreign_phase_has_no_rows() -> None:
    with pytest.raises(
        ArgumentError, match="phase must be one of the cell's own, got one with gates"
    ):
        cells.LSTM().rows(Phase(Silent().pointwise, ("x",)))


def test_noise_has_its_rate_its_shape_and_its_generator() -> None:
    cell = cells.Zoneout(cells.RecurrentDropout(cells.ProjectedLSTM(30), 0.25), h=0.4, c=0.1)
    drawn = draw(
        cell, (50, 20), 40, torch.zeros(1, dtype=torch.float32), torch.Generator().manual_seed(1)
    )
    assert {name: tuple(d.shape) for name, d in drawn.items()} == {
        "dropout_h": (20, 30),
        "zoneout_h": (50, 20, 30),
        "zoneout_c": (50, 20, 40),
    }
    assert {d.dtype for d in drawn.values()} == {torch.float32}
    assert (
        abs(float(drawn["zoneout_h"].mean()) - 0.4) < 0.02
        and abs(float(drawn["zoneout_c"].mean()) - 0.1) < 0.02
    )
    assert (
        abs(float((drawn["dropout_h"] == 0).double().mean()) - 0.25) < 0.06
        and abs(float(drawn["dropout_h"].max()) - 4 / 3) < 1e-6
    )
    again = draw(
        cell, (50, 20), 40, torch.zeros(1, dtype=torch.float32), torch.Generator().manual_seed(1)
    )
    assert_close(again, drawn, 0.0)
    assert draw(cells.LSTM(), (2, 2), 3, torch.zeros(1)) == {} and "probe_h" not in draw(
        cells.Probed(cells.LSTM()), (2, 2), 3, torch.zeros(1)
    )


@dataclass(frozen=True)
class Wide(Cell):
    gates = ("n",)
    rate: float = 0.1


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: cells.Elman("sigmoid"),
            "nonlinearity must be one of 'relu', 'tanh', got 'sigmoid'",
        ),
        (
            lambda: cells.ProjectedLSTM(0),
            "proj_size must be a positive whole number, got 0; use LSTM for no projection",
        ),
        (
            lambda: cells.Zoneout(cells.LSTM, h=0.1),
            (
                "cell must be a cell, got <class 'recurra.cells.lstm.LSTM'>; write"
                " Zoneout(recurra.cells.LSTM())"
            ),
        ),
        (
            lambda: cells.Probed("gru"),
            "cell must be a cell, got 'gru'; write Probed(recurra.cells.LSTM())",
        ),
        (lambda: cells.Zoneout(cells.LSTM(), h=1.0), "h must be a number in [0, 1), got 1.0"),
        (lambda: cells.Zoneout(cells.LSTM(), c=-0.1), "c must be a number in [0, 1), got -0.1"),
        (
            lambda: cells.Zoneout(cells.GRU(), c=0.1),
            "c must be 0 for a cell whose state is ('h',), got 0.1",
        ),
        (lambda: cells.RecurrentDropout(cells.GRU(), 1), "rate must be a number in [0, 1), got 1"),
        (
            lambda: cells.Zoneout(cells.Zoneout(cells.GRU(), h=0.1), h=0.1).noises(),
            "cell must not be a Zoneout already, got Zoneout(cell=GRU()",
        ),
        (
            lambda: cells.Probed(cells.Probed(cells.GRU())).noises(),
            "cell must not be a Probed already, got Probed(cell=GRU())",
        ),
        (
            lambda: cells.RecurrentDropout(cells.RecurrentDropout(cells.GRU(), 0.1), 0.1).noises(),
            "cell must not be a RecurrentDropout already",
        ),
    ],
)
def test_bad_options_are_named(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}"):
        make()


def test_named_types_are_one_for_each_list_of_names() -> None:
    assert (
        named_type("State", ("h", "c"))
        is named_type("State", ("h", "c"))
        is not named_type("Gates", ("h", "c"))
    )
    assert cells.LSTM().state_type() is CoupledLSTM().state_type()


def test_wrapping_hands_everything_through() -> None:
    inner = cells.LayerNormLSTM()
    outer = cells.Probed(cells.Zoneout(inner, h=0.1))
    assert (outer.state, outer.gates, outer.params, outer.input_norm) == (
        inner.state,
        inner.gates,
        inner.params,
        inner.input_norm,
    )
    assert outer.weights(3, 4) == inner.weights(3, 4) and list(outer.noises()) == [
        "zoneout_h",
        "probe_h",
        "probe_c",
    ]


def test_first_mistakes_in_a_cell_of_ones_own_are_said_in_one_line() -> None:
    with pytest.raises(
        ArgumentError, match=r"gates of Comma must be a tuple of names, got 'n'; write \('n',\)"
    ):
        type("Comma", (Cell,), {"gates": "n"})
