"""Programs that a file may hold and nobody can run are refused, each for its reason; those of every
cell are taken.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from recurra.cells import GRU, Cell, LayerNormLSTM, MinGRU, PeepholeLSTM, ProjectedLSTM, Zoneout
from recurra.errors import ProgramError
from recurra.program import from_json, to_json, trace
from recurra.program.check import check
from recurra.program.evaluation import forward_only
from tests.cells.zoo import ZOO


@pytest.mark.parametrize("name", ZOO)
def test_programs_of_cells_are_taken(name: str) -> None:
    check(trace(ZOO[name], ZOO[name].noises()))
    check(forward_only(trace(ZOO[name])))


def first(record: dict[str, Any], op: str, name: str = "") -> list[Any]:
    found: list[Any] = next(
        node for node in record["nodes"] if node[0] == op and node[2].startswith(name)
    )
    return found


def product(record: dict[str, Any], phase: int, **fields: Any) -> None:
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
    for name, value in fields.items():
        record["bodies"][phase][1][places.index(name)] = value


def constant_operand(record: dict[str, Any]) -> None:
    record["nodes"].append(["const", [], "", 1.0, 0, "hidden"])
    product(record, 0, operand=len(record["nodes"]) - 1)


def mixed_widths(record: dict[str, Any]) -> None:
    h, c = (
        next(i for i, node in enumerate(record["nodes"]) if node[0] == "state" and node[2] == name)
        for name in "hc"
    )
    count = len(record["nodes"])
    record["nodes"] += [
        ["const", [], "", 1.0, 0, "hidden"],
        ["where", [count, h, c], "", 0.0, 0, "hidden"],
    ]
    record["bodies"][0][2].append(count + 1)


def operand_of_nothing(record: dict[str, Any]) -> None:
    """What the only phase computes, said to be an operand of a product that it has not."""
    operand, none, nodes = record["bodies"][0]
    record["bodies"][0] = [[*operand, *nodes], none, []]


def without_a_product(record: dict[str, Any]) -> None:
    """A second phase that multiplies nothing, where only the first may."""
    record["bodies"].append([[], None, []])
    bodies, _, dv, *_ = record["derivative"]
    bodies.append([[], []])
    dv.append({})


PEEPHOLE, PROJECTED, NORMED, ZONEOUT = (
    PeepholeLSTM(),
    ProjectedLSTM(2),
    LayerNormLSTM(),
    Zoneout(GRU(), h=0.1),
)
REFUSED: dict[str, tuple[Cell, Callable[[dict[str, Any]], object], str]] = {
    "names twice": (
        PEEPHOLE,
        lambda r: r.update(params=["p_i", "p_i", "p_o"]),
        "params must be names, each once, got ['p_i', 'p_i'",
    ),
    "no gates": (
        PEEPHOLE,
        lambda r: r.update(gates={}),
        "program must have a cell's name, a state and a gate, got 'PeepholeLSTM()' w",
    ),
    "no state": (
        PEEPHOLE,
        lambda r: r.update(state={}),
        "program must have a cell's name, a state and a gate, got 'PeepholeLSTM()' w",
    ),
    "input norm": (
        NORMED,
        lambda r: r.update(input_norm=[1, 1]),
        "input_norm must cover the 4 gates, got [1, 1]",
    ),
    "unknown width": (
        PEEPHOLE,
        lambda r: first(r, "u").__setitem__(5, "x"),
        "must be one of ['hidden'], hidden of a u, got 'x'",
    ),
    "narrow u": (
        PROJECTED,
        lambda r: first(r, "u").__setitem__(5, "h"),
        "must be one of ['h', 'hidden'], hidden of a u, got 'h'",
    ),
    "unknown param": (
        PEEPHOLE,
        lambda r: first(r, "param").__setitem__(2, "q"),
        "must read one of ['p_i', 'p_f', 'p_o'], got param 'q'",
    ),
    "unknown state": (
        PEEPHOLE,
        lambda r: first(r, "state").__setitem__(2, "q"),
        "must read one of ['h', 'c'], got state 'q'",
    ),
    "computed late": (
        PEEPHOLE,
        lambda r: r["bodies"][0][2].reverse(),
        "must be an operation on what was computed before, got",
    ),
    "a large constant": (
        PEEPHOLE,
        lambda r: r["nodes"].append(["const", [], "", 10**400, 0, "hidden"]),
        "must have a name, a number and a width, got ['c",
    ),
    "a source": (
        PEEPHOLE,
        lambda r: r["bodies"][0][2].append(0),
        "node 0 must be an operation on what was computed before, got ",
    ),
    "left out": (
        PEEPHOLE,
        lambda r: r["bodies"][0][2].pop(),
        "h must be computed, hidden wide, got node",
    ),
    "two widths": (
        PROJECTED,
        lambda r: first(r, "state", "c").__setitem__(5, "h"),
        "must be as wide as what it reads, ['h', 'hidden']",
    ),
    "state's width": (
        PROJECTED,
        lambda r: r["state"].update(h=r["state"]["c"]),
        "h must be computed, h wide, got node",
    ),
    "operand's width": (
        PROJECTED,
        lambda r: product(r, 0, reads="hidden"),
        "operand of phase 0 must be there, hidden wide, got node 0",
    ),
    "operand too early": (
        PROJECTED,
        lambda r: product(r, 0, operand=r["bodies"][1][1][0]),
        "operand of phase 0 must be there, h wide",
    ),
    "product's width": (
        PROJECTED,
        lambda r: product(r, 1, width="x"),
        "product of phase 1 must have names and widths that are there, got",
    ),
    "gates twice": (
        PEEPHOLE,
        lambda r: product(r, 0, gates=["i", "i", "g", "o"]),
        "product of phase 0 must have names and widths",
    ),
    "no weight": (
        PEEPHOLE,
        lambda r: product(r, 0, weight=None),
        "product of phase 0 must have a weight, or give back what it reads, got",
    ),
    "operand the same for all": (
        PEEPHOLE,
        constant_operand,
        "operand of phase 0 must be there, hidden wide, got node",
    ),
    "one of two widths": (
        PROJECTED,
        mixed_widths,
        "must be as wide as what it reads, ['h', 'hidden'], got 'hidden'",
    ),
    "an operand of nothing": (
        MinGRU(),
        operand_of_nothing,
        "operand_nodes of phase 0 must be none where nothing is multiplied, got [",
    ),
    "nothing multiplied": (
        ZONEOUT,
        without_a_product,
        "phase 1 must have a product, got none; only the first may",
    ),
    "a bias of nothing": (
        NORMED,
        lambda r: product(r, 1, norm=[], gain=None),
        "product of phase 1 must have a norm for its gain, a norm or a weight for its bias, got",
    ),
    "a gain of nothing": (
        PEEPHOLE,
        lambda r: product(r, 0, gain="gain_hh"),
        "product of phase 0 must have a norm for its gain, a norm or a weight for its bias, got",
    ),
    "computed twice": (
        ZONEOUT,
        lambda r: r["bodies"][0][2].append(r["bodies"][0][2][-1]),
        "must be computed once, got it again",
    ),
    "beyond its weight": (
        PEEPHOLE,
        lambda r: product(r, 0, first=1),
        "product of phase 0 must lie within its 4 blocks, got",
    ),
    "v's width": (
        PROJECTED,
        lambda r: first(r, "v", "h").__setitem__(5, "hidden"),
        "must be h wide, got",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_run_is_refused(name: str) -> None:
    cell, change, message = REFUSED[name]
    record = json.loads(to_json(forward_only(trace(cell))))
    change(record)
    with pytest.raises(ProgramError, match=re.escape(message)):
        from_json(json.dumps(record))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda r: r.update(bodies=[[[], None, []]] * 17),
            "program must have at most 16 phases, got 17",
        ),
        (
            lambda r: r.update(nodes=r["nodes"][:1] * 50_001),
            "program must have at most 50,000 nodes, got 50,001",
        ),
        (
            lambda r: r.update(params=[f"p{number}" for number in range(1001)]),
            "program must have at most 1,000 params, got 1,001",
        ),
    ],
)
def test_a_program_beyond_all_cells_is_refused_at_once(
    change: Callable[[dict[str, Any]], object], message: str
) -> None:
    record = json.loads(to_json(trace(PEEPHOLE)))
    change(record)
    with pytest.raises(ProgramError, match=f"^{message}$"):
        from_json(json.dumps(record))
