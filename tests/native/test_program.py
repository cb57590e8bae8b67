"""What could crash is refused before it runs."""

from __future__ import annotations

from typing import Any

import pytest

from recurra import native

SLOT, GATE, OPERAND = range(3)
U, V, STATE, NOISE, PARAM, CONST, KEPT = range(7)
TANH, ADD = native.OPS.index("tanh"), native.OPS.index("add")


def good() -> dict[str, Any]:
    """An Elman cell of five units: h = tanh(u + W h)."""
    operand = (5, 0, [(STATE, 0, 0)], [], [(0, OPERAND, 0)])
    body = (5, 1, [(U, 0, 0), (V, 0, 0)], [(ADD, 0, 0, 1, 0), (TANH, 0, 2, 0, 0)], [(2, SLOT, 0), (2, GATE, 0)])
    phase = ([operand], (True, 0, 1, 1, 5, 5, []), [body])
    return dict(hidden=5, gates=1, states=[5], noises=[], params=[], slots=[5], constants=[], phases=[phase], last=[])


def with_body(**parts: Any) -> dict[str, Any]:
    """The good program with parts of its body replaced."""
    program = good()
    names = ("width", "registers", "sources", "instructions", "outputs")
    operand, product, [body] = program["phases"][0]
    program["phases"] = [(operand, product, [tuple(parts.get(name, value) for name, value in zip(names, body, strict=True))])]
    return program


def with_product(**parts: Any) -> dict[str, Any]:
    """The good program with parts of its product replaced."""
    program = good()
    names = ("weighted", "first", "blocks", "total", "unit", "reads", "norm")
    operand, product, body = program["phases"][0]
    program["phases"] = [(operand, tuple(parts.get(name, value) for name, value in zip(names, product, strict=True)), body)]
    return program


def test_good_program_is_taken() -> None:
    assert isinstance(native.Program(**good()), native.Program)


BAD = [
    (good() | {"hidden": 0}, "hidden must be at least 1"),
    (good() | {"hidden": 1 << 21}, "hidden must be at least 1 and at most"),
    (good() | {"gates": -1}, "gates must be at least 0"),
    (good() | {"states": []}, "number of states must be at least 1"),
    (good() | {"slots": []}, "number of slots must be at least that of states"),
    (good() | {"slots": [4]}, "width of slot 0 must be that of its state"),
    (good() | {"params": [-2]}, "width must be at least 1"),
    (good() | {"phases": []}, "number of phases must be at least 1"),
    (good() | {"phases": good()["phases"] * 17}, "number of phases must be at least 1 and at most 16, got 17"),
    (good() | {"phases": [([], *good()["phases"][0][1:])]}, "operand of a product must be written by a section"),
    (with_body(outputs=[(2, GATE, 0)]), "slot 0 must be written by a section"),
    (with_body(width=0), "width of a section must be at least 1"),
    (with_body(width=4), "width of a source must be that of its section, 4, got 5"),
    (with_body(registers=0), "register must be at least 0 and below 0, got 0"),
    (with_body(registers=5000), "registers must be at most 1024"),
    (with_body(sources=[(7, 0, 0), (V, 0, 0)]), "kind of a source must be at least 0 and below 7, got 7"),
    (with_body(sources=[(U, 0, 1), (V, 0, 0)]), "block of u must be at least 0 and below 1, got 1"),
    (with_body(sources=[(U, 0, 0), (V, 1, 0)]), "phase of v must be at least 0 and below 1, got 1"),
    (with_body(sources=[(U, 0, 0), (V, 0, 1)]), "block of v must be at least 0 and below 1, got 1"),
    (with_body(sources=[(U, 0, 0), (STATE, 1, 0)]), "state, noise or param must be at least 0 and below 1, got 1"),
    (with_body(sources=[(U, 0, 0), (NOISE, 0, 0)]), "state, noise or param must be at least 0 and below 0, got 0"),
    (with_body(sources=[(U, 0, 0), (PARAM, -1, 0)]), "state, noise or param must be at least 0 and below 0, got -1"),
    (with_body(sources=[(U, 0, 0), (CONST, 0, 0)]), "constant must be at least 0 and below 0, got 0"),
    (with_body(sources=[(U, 0, 0), (KEPT, 1, 0)]), "slot must be at least 0 and below 1, got 1"),
    (with_body(sources=[(U, 0, 0), (KEPT, 0, 0)]), "slot must be written before it is read, got 0"),
    (with_body(sources=[(U, 0, 0)] * 600), "number of sources must be at most 512, got 600"),
    (with_body(instructions=[(99, 0, 0, 1, 0)]), "op must be at least 0 and below 26, got 99"),
    (with_body(instructions=[(-1, 0, 0, 1, 0)]), "op must be at least 0 and below 26, got -1"),
    (with_body(instructions=[(ADD, 0, 0, 3, 0)]), "argument of an op must be at least 0 and below 3, got 3"),
    (with_body(instructions=[(ADD, 0, 0, 2, 0)]), "argument of an op must be computed before, got 2"),
    (with_body(instructions=[]), "value of an output must be computed before, got 2"),
    (with_body(outputs=[(3, SLOT, 0)]), "value of an output must be at least 0 and below 3, got 3"),
    (with_body(outputs=[(2, 3, 0)]), "kind of an output must be at least 0 and below 3, got 3"),
    (with_body(outputs=[(2, SLOT, 1)]), "slot must be at least 0 and below 1, got 1"),
    (with_body(outputs=[(2, GATE, 1)]), "gate must be at least 0 and below 1, got 1"),
    (with_body(outputs=[(2, OPERAND, 0)]), "operand must be written in a phase that has a product"),
    (with_product(unit=0), "unit of the product of phase 0 must be at least 1"),
    (with_product(reads=6), "width of a section must be that of its output, 6, got 5"),
    (with_product(blocks=0), "blocks of the product of phase 0 must be at least 1"),
    (with_product(blocks=2), "first block of the product of phase 0 must leave room for its blocks"),
    (with_product(first=1), "first block of the product of phase 0 must leave room for its blocks"),
    (with_product(weighted=False, unit=4), "reads of the product of phase 0 must be its blocks' units"),
    (with_product(norm=[2]), "a norm's blocks in the product of phase 0 must be at least 1 and at most 1"),
    (with_product(blocks=2, total=2, norm=[1]), "norm of the product of phase 0 must cover every block"),
]


@pytest.mark.parametrize(("program", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_program_is_refused(program: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        native.Program(**program)


def arguments() -> dict[str, Any]:
    """Arguments of a scan, wrong addresses in them; each test makes one a thing that is refused first."""
    return dict(
        program=native.Program(**good()), dtype="float32", sizes=(3, 2), reverse=False, u=64, h=64, state=([64], [], [64]),
        kept=([], []), weights=[(64, 0, 0)], noise=[], params=[], lengths=0, resets=0, pool=(0, 1),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"u": 0}, "u must be an address, got 0"),
        ({"h": 0}, "h must be an address, got 0"),
        ({"weights": [(0, 0, 0)]}, "weight must be an address, got 0"),
        ({"weights": []}, "weights must have one entry for each of 1 phases, got 0"),
        ({"state": ([0], [], [64])}, "state must be an address, got 0"),
        ({"state": ([64, 64], [], [64])}, "state must have 1 addresses, got 2"),
        ({"state": ([64], [], [])}, "final must have 1 addresses, got 0"),
        ({"resets": 64}, "initial must have 1 addresses, got 0"),
        ({"kept": ([64, 64], [])}, "states must have 1 addresses, got 2"),
        ({"kept": ([], [0])}, "gates must be an address, got 0"),
        ({"noise": [(64, True)]}, "noise must have 0 addresses, got 1"),
        ({"params": [64]}, "params must have 0 addresses, got 1"),
        ({"dtype": "float16"}, "dtype must be 'float32' or 'float64', got 'float16'"),
        ({"sizes": (-1, 2)}, "sizes must be at least 0"),
    ],
)
def test_bad_arguments_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        native.forward(**(arguments() | changed))


def test_no_row_is_nothing_to_do() -> None:
    nothing = {"sizes": (3, 0), "u": 0, "h": 0, "state": ([0], [], [0])}
    assert native.forward(**(arguments() | nothing)) is None
