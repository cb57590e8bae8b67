from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from recurra.cells import GRU, Cell, LayerNormLSTM, PeepholeLSTM, ProjectedLSTM, ResetBeforeGRU
from recurra.errors import ProgramError
from recurra.program import from_json, to_json, trace
from recurra.program.evaluation import forward_only
from recurra.program.weights import weights_of
from tests.cells.zoo import ZOO


@pytest.mark.parametrize("name", ZOO)
def test_weights_are_those_of_the_cell(name: str) -> None:
    cell = ZOO[name]
    units = {"hidden": 5} | {state: cell.width(state, 5) for state in cell.state}
    found = {weight: use.shape(units, 3) for weight, use in weights_of(trace(cell)).items()}
    wanted = cell.weights(3, 5)
    assert found == wanted


def renamed(record: Any, old: str, new: str) -> Any:
    """A tree of JSON with one text in place of another, keys too."""
    if isinstance(record, dict):
        return {
            new if key == old else key: renamed(value, old, new) for key, value in record.items()
        }
    if isinstance(record, list):
        return [renamed(value, old, new) for value in record]
    return new if record == old else record


NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "gain_ih", "gain_hh", "initial_h")
CELLS: dict[str, Cell] = {
    name: ZOO[name]
    for name in ("PeepholeLSTM", "LeakyElman", "ProjectedLSTM", "LayerNormLSTM", "GRU", "Zoneout")
}
RENAMINGS = [
    (name, old, new)
    for name, cell in CELLS.items()
    for old in (*cell.params, *cell.state, *cell.gates)
    for new in NAMES
]


@pytest.mark.parametrize(("name", "old", "new"), RENAMINGS)
def test_value_called_as_a_weight_is_refused(name: str, old: str, new: str) -> None:
    record = renamed(json.loads(to_json(forward_only(trace(CELLS[name])))), old, new)
    if new == f"initial_{old}":
        from_json(json.dumps(record))  # nothing else has that name then
        return
    with pytest.raises(
        ProgramError,
        match=rf"(must not be called as a weight|must have one meaning), got .*{new}|{new} must ",
    ):
        from_json(json.dumps(record))


def product(phase: int, **fields: Any) -> Callable[[dict[str, Any]], None]:
    places = (
        "operand",
        "gates",
        "weight",
        "bias",
        "gain",
        "norm",
        "first",
        "total",
        "width",
        "reads",
    )

    def change(record: dict[str, Any]) -> None:
        for name, value in fields.items():
            record["bodies"][phase][1][places.index(name)] = value

    return change


def second_width(record: dict[str, Any]) -> None:
    record["nodes"].append(["param", [], "p", 0.0, 0, "h"])
    record["nodes"].append(["param", [], "p", 0.0, 0, "hidden"])
    record["params"] = ["p"]


MEANING = "must have one meaning, got"
REFUSED: dict[str, tuple[Cell, Callable[[dict[str, Any]], object], str]] = {
    "x's weight": (
        GRU(),
        product(0, weight="weight_ih"),
        f"weight_ih {MEANING} the weight of x and a weight",
    ),
    "a weight as a bias": (
        GRU(),
        product(0, bias="weight_hh"),
        f"weight_hh {MEANING} a weight and the bias of weight_hh",
    ),
    "a first state as a bias": (
        GRU(),
        product(0, bias="initial_h"),
        "initial_h must be a first state, got the bias of weight_hh",
    ),
    "one bias of two norms": (
        LayerNormLSTM(),
        product(1, bias="bias_hh"),
        f"bias_hh {MEANING} the bias of weight_hh and the",
    ),
    "one gain of two norms": (
        LayerNormLSTM(),
        product(1, gain="gain_hh"),
        f"gain_hh {MEANING} the gain of weight_hh and the",
    ),
    "a gain as a bias": (
        LayerNormLSTM(),
        product(0, gain="bias_hh"),
        f"bias_hh {MEANING} the bias of weight_hh and the gain",
    ),
    "two biases of a weight": (
        ResetBeforeGRU(),
        product(1, bias="b"),
        f"weight_hh {MEANING} a weight and one whose products",
    ),
    "blocks twice": (
        ResetBeforeGRU(),
        product(1, first=0),
        "products of weight_hh must read its blocks one after another, got one that",
    ),
    "blocks left": (
        ResetBeforeGRU(),
        product(1, first=2, total=4),
        "products of weight_hh must read it in one shape",
    ),
    "no identifier": (
        GRU(),
        product(0, bias="a b"),
        "the bias of weight_hh must be an identifier, got 'a b'",
    ),
    "no name": (GRU(), product(0, weight=""), "a weight must be an identifier, got ''"),
    "a gate in code": (
        GRU(),
        lambda r: r.update(renamed(r, "n", "*/ x")),
        "gates must be identifiers, got '*/ x'",
    ),
    "a param twice": (
        PeepholeLSTM(),
        lambda r: r.update(params=["h"]),
        "params must not be called as one of state, got 'h'",
    ),
    "a param of two widths": (ProjectedLSTM(2), second_width, "must read 'p' h wide, got hidden"),
    "widths of nothing": (
        ProjectedLSTM(2),
        lambda r: r.update(widths=["h", "zz"]),
        "widths must be those of states, got ['zz']",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_weights_of_two_meanings_are_refused(name: str) -> None:
    cell, change, message = REFUSED[name]
    record = json.loads(to_json(forward_only(trace(cell))))
    change(record)
    with pytest.raises(ProgramError, match=re.escape(message)):
        from_json(json.dumps(record))
