from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from recurra.cells import GRU, LayerNormLSTM
from recurra.errors import ProgramError
from recurra.program import from_json, to_json, trace
from tests.cells.zoo import ZOO


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("training", [False, True])
def test_json_gives_the_same_program(name: str, training: bool) -> None:
    cell = ZOO[name]
    program = trace(cell, cell.noises() if training else ())
    again = from_json(to_json(program))
    assert again == program
    assert hash(again) == hash(program)


def broken(change: Callable[[dict[str, Any]], object]) -> str:
    record = json.loads(to_json(trace(LayerNormLSTM())))
    change(record)
    return json.dumps(record)


def operation(record: dict[str, Any], ops: str = "mul") -> list[Any]:
    return next(node for node in record["nodes"] if node[0] in ops.split())


HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "version": (
        lambda r: r.update(version=2),
        "version must be 1, got 2; save the program with this recurra",
    ),
    "no nodes": (
        lambda r: r.pop("nodes"),
        "text must be a program saved by to_json, got something else (KeyError('nodes'))",
    ),
    "unknown op": (
        lambda r: operation(r).__setitem__(0, "system"),
        "op must be of the alphabet, got 'system' at node",
    ),
    "later node": (
        lambda r: operation(r).__setitem__(1, [0, 10**6]),
        "must be earlier nodes, got (0, 1000000)",
    ),
    "negative node": (
        lambda r: operation(r).__setitem__(1, [0, -1]),
        "must be earlier nodes, got (0, -1)",
    ),
    "truth for a node": (
        lambda r: operation(r).__setitem__(1, [0, False]),
        "must be earlier nodes, got (0, False)",
    ),
    "one argument": (lambda r: operation(r).__setitem__(1, [0]), "must be 2 for mul, got 1"),
    "source with arguments": (
        lambda r: r["nodes"][1].__setitem__(1, [0]),
        "args of node 1 must be 0 for",
    ),
    "unary with two": (
        lambda r: operation(r, "tanh sigmoid").__setitem__(1, [0, 1]),
        "must be 1 for",
    ),
    "name": (
        lambda r: r["nodes"][0].__setitem__(2, None),
        "node 0 must have a name, a number and a width, got",
    ),
    "value": (
        lambda r: r["nodes"][0].__setitem__(3, "1"),
        "node 0 must have a name, a number and a width, got",
    ),
    "phase": (
        lambda r: r["nodes"][0].__setitem__(4, 99),
        "phase of node 0 must be one of the 2, got 99",
    ),
    "extra field": (lambda r: r["nodes"][0].append(1), "text must be a program"),
    "state beyond": (lambda r: r["state"].update(h=10**6), "every number must be a node of the"),
    "derivative beyond": (
        lambda r: r["derivative"][0][0].__setitem__(0, [10**6]),
        "every number must be a node of the",
    ),
    "operand beyond": (
        lambda r: r["bodies"][0][1].__setitem__(0, 10**6),
        "every number must be a node of the",
    ),
    "phases missing": (
        lambda r: r["derivative"][0].pop(),
        "derivative must have 2 phases, got 1 and 2",
    ),
    "rows beyond": (
        lambda r: r["bodies"][0][1].__setitem__(6, 3),
        "product of phase 0 must lie within its 4 blocks, got",
    ),
    "norm": (
        lambda r: r["bodies"][0][1].__setitem__(5, [9]),
        "product of phase 0 must lie within its 4 blocks, got",
    ),
    "negative rows": (
        lambda r: r["bodies"][0][1].__setitem__(6, -1),
        "product of phase 0 must have gates and whole sizes, got",
    ),
    "state a list": (lambda r: r.update(state=[1]), "state must be names, each once, got [1]"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_json_is_refused(name: str) -> None:
    change, message = HOSTILE[name]
    with pytest.raises(ProgramError, match=re.escape(message)):
        from_json(broken(change))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "3",
        '{"version": 1}',
        "[" * 100_000,
        "{" * 10,
        '{"version": 1, "nodes": [[]]}',
    ],
)
def test_text_that_is_no_program_is_refused(text: str) -> None:
    with pytest.raises(
        ProgramError, match="text must be a program saved by to_json, got something else"
    ):
        from_json(text)


@given(st.data())
def test_no_single_change_of_a_number_gives_anything_but_a_program_or_a_refusal(
    data: st.DataObject,
) -> None:
    text = to_json(trace(GRU()))
    spots = [match.span() for match in re.finditer(r"(?<=[ \[])-?\d+(?=[,\]])", text)]
    start, stop = data.draw(st.sampled_from(spots))
    value = data.draw(
        st.sampled_from(["-1", "1e9", "null", '"x"', "[]", "{}", "7", "123456789", "true", "NaN"])
    )
    try:
        program = from_json(text[:start] + value + text[stop:])
    except ProgramError:
        return
    assert from_json(to_json(program)) == program or value == "NaN"
