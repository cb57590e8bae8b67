"""What could crash is refused before it runs."""

from __future__ import annotations

from typing import Any

import pytest

from recurra import native

SLOT, GATE, OPERAND, SAVED, DU, DV, DSTATE, DNOISE, DPARAM = range(9)
U, V, STATE, NOISE, PARAM, CONST, KEPT, HELD, NEW, GRAD, BACK = range(11)
TANH, ADD, SUB, MUL = (native.OPS.index(name) for name in ("tanh", "add", "sub", "mul"))


def good() -> dict[str, Any]:
    """An Elman cell of five units: h = tanh(u + W h)."""
    operand = (5, 0, [(STATE, 0, 0)], [], [(0, OPERAND, 0)])
    body = (5, 1, [(U, 0, 0), (V, 0, 0)], [(ADD, 0, 0, 1, 0), (TANH, 0, 2, 0, 0)], [(2, SLOT, 0), (2, GATE, 0)])
    phase = ([operand], (True, 0, 1, 1, 5, 5, []), [body])
    back = (5, 2, [(NEW, 0, 0), (GRAD, 0, 0), (CONST, 0, 0)], [(MUL, 0, 0, 0, 0), (SUB, 1, 2, 3, 0), (MUL, 0, 1, 4, 0)], [(3, DU, 0)])
    through = (5, 0, [(BACK, 0, 0)], [], [(0, DSTATE, 0)])
    return dict(
        hidden=5, gates=1, states=[5], noises=[], params=[], slots=[5], constants=[1.0], input=(True, 0, 1, 1, 5, 3, []),
        phases=[phase], last=[], saved=[], backward=([], [(0, [operand], [back], 0, [])], [through]),
    )  # fmt: skip


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


def with_back(phase: int = 0, du_first: int = 0, **parts: Any) -> dict[str, Any]:
    """The good program with parts of its derivative's first section replaced."""
    program = good()
    names = ("width", "registers", "sources", "instructions", "outputs")
    _, [(_, operand, [before], _, after)], last = program["backward"]
    changed = tuple(parts.get(name, value) for name, value in zip(names, before, strict=True))
    program["backward"] = ([], [(phase, operand, [changed], du_first, after)], last)
    return program


BAD_DERIVATIVES = [
    (with_back(phase=1), "phase of backward must be at least 0 and below 1, got 1"),
    (with_back(du_first=-3), "du_first must be at least -2, got -3"),
    (with_back(du_first=1), "du_first must name blocks of u that are those of v, got 1"),
    (with_back(sources=[(U, 0, 0)] * 3), "source of a backward section must be known in the backward pass, got 0"),
    (with_back(sources=[(HELD, 0, 0)] * 3), "saved value must be at least 0 and below 0, got 0"),
    (with_back(sources=[(NEW, 1, 0)] * 3), "state must be at least 0 and below 1, got 1"),
    (with_back(sources=[(GRAD, -1, 0)] * 3), "state must be at least 0 and below 1, got -1"),
    (with_back(sources=[(KEPT, 0, 0)] * 3), "slot must be at least 0 and below 0, got 0"),
    (with_back(sources=[(BACK, 0, 0)] * 3), "gradient of an operand must be known before it is read, got 0"),
    (with_back(outputs=[(3, GATE, 0)]), "output of a backward section must belong to the backward pass, got 1"),
    (with_back(outputs=[(3, DU, 1)]), "block of u must be at least 0 and below 1, got 1"),
    (with_back(outputs=[(3, DV, 0)]), "gradient of v must be written before the product that takes it, where it is apart, got 0"),
    (with_back(du_first=-1, outputs=[(3, DV, 1)]), "block of v must be at least 0 and below 1, got 1"),
    (with_back(outputs=[(3, DSTATE, 1)]), "state must be at least 0 and below 1, got 1"),
    (with_back(outputs=[(3, DNOISE, 0)]), "noise must be at least 0 and below 0, got 0"),
    (with_back(outputs=[(3, DPARAM, 0)]), "param must be at least 0 and below 0, got 0"),
    (with_back(outputs=[]), "gradient of block 0 must be written by a section"),
    (good() | {"backward": ([], good()["backward"][1] * 2, [])}, "phase of backward must come once, got 0"),
    (good() | {"backward": (*good()["backward"][:2], [])}, "gradient of state 0 must be written by a section"),
    (good() | {"backward": ([0], [], [])}, "width must be at least 1"),
    (good() | {"saved": [0]}, "width must be at least 1"),
    (good() | {"input": (True, 0, 1, 1, 5, 0, [])}, "reads of the input product must be at least 1"),
]
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
    (with_body(sources=[(11, 0, 0), (V, 0, 0)]), "kind of a source must be at least 0 and below 11, got 11"),
    (with_body(sources=[(NEW, 0, 0), (V, 0, 0)]), "source of a forward section must be known in the forward pass, got 8"),
    (with_body(sources=[(U, 0, 1), (V, 0, 0)]), "block of u must be at least 0 and below 1, got 1"),
    (with_body(sources=[(U, 0, 0), (V, 1, 0)]), "phase of v must be at least 0 and below 1, got 1"),
    (with_body(sources=[(U, 0, 0), (V, 0, 1)]), "block of v must be at least 0 and below 1, got 1"),
    (with_body(sources=[(U, 0, 0), (STATE, 1, 0)]), "state must be at least 0 and below 1, got 1"),
    (with_body(sources=[(U, 0, 0), (NOISE, 0, 0)]), "noise must be at least 0 and below 0, got 0"),
    (with_body(sources=[(U, 0, 0), (PARAM, -1, 0)]), "param must be at least 0 and below 0, got -1"),
    (with_body(sources=[(U, 0, 0), (CONST, 1, 0)]), "constant must be at least 0 and below 1, got 1"),
    (with_body(sources=[(U, 0, 0), (KEPT, 1, 0)]), "slot must be at least 0 and below 1, got 1"),
    (with_body(sources=[(U, 0, 0), (KEPT, 0, 0)]), "slot must be written before it is read, got 0"),
    (with_body(sources=[(U, 0, 0)] * 600), "number of sources must be at most 512, got 600"),
    (with_body(instructions=[(99, 0, 0, 1, 0)]), "op must be at least 0 and below 26, got 99"),
    (with_body(instructions=[(-1, 0, 0, 1, 0)]), "op must be at least 0 and below 26, got -1"),
    (with_body(instructions=[(ADD, 0, 0, 3, 0)]), "argument of an op must be at least 0 and below 3, got 3"),
    (with_body(instructions=[(ADD, 0, 0, 2, 0)]), "argument of an op must be computed before, got 2"),
    (with_body(instructions=[]), "value of an output must be computed before, got 2"),
    (with_body(outputs=[(3, SLOT, 0)]), "value of an output must be at least 0 and below 3, got 3"),
    (with_body(outputs=[(2, 9, 0)]), "kind of an output must be at least 0 and below 9, got 9"),
    (with_body(outputs=[(2, SAVED, 0)]), "saved value must be at least 0 and below 0, got 0"),
    (with_body(outputs=[(2, DU, 0)]), "output of a forward section must belong to the forward pass, got 4"),
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


@pytest.mark.parametrize(("program", "message"), BAD + BAD_DERIVATIVES, ids=[message for _, message in BAD + BAD_DERIVATIVES])
def test_bad_program_is_refused(program: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        native.Program(**program)


def arguments() -> dict[str, Any]:
    """Arguments of a scan, wrong addresses in them; each test makes one a thing that is refused first."""
    return dict(
        program=native.Program(**good()), dtype="float32", sizes=(3, 2), reverse=False, x=64, h=64, state=([64], [], [64]),
        kept=([], []), held=False, saved=0, weights=[(64, 0, 0), (64, 0, 0)], noise=[], params=[], lengths=0, resets=0, pool=(0, 0, 0, 1),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": 0}, "x must be an address, got 0"),
        ({"h": 0}, "h must be an address, got 0"),
        ({"weights": [(64, 0, 0), (0, 0, 0)]}, "weights must be an address, got 0"),
        ({"weights": [(64, 0, 0)]}, "weights must have one entry for the input product and each of 1 phases, got 1"),
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


def derivative(**changed: Any) -> dict[str, Any]:
    """Arguments of a backward pass, wrong addresses in them too."""
    given = {name: value for name, value in arguments().items() if name not in ("kept", "held")}
    wanted: Any = (64, [64], [], [(64, 0, 0), (64, 0, 0)], [], [])
    return given | dict(state=([64], []), states=[0], saved=64, given=(64, [0], []), wanted=wanted) | changed


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"program": native.Program(**good() | {"backward": None})}, "program must have a backward pass, got none"),
        ({"h": 0}, "h must be an address, got 0"),
        ({"given": (64, [0, 0], [])}, "gradients of final must have 1 addresses, got 2"),
        ({"given": (64, [0], [0, 0])}, "gradients of states must have 1 addresses, got 2"),
        ({"wanted": (64, [64, 0], [], [(0, 0, 0)] * 2, [], [])}, "gradients of state must have 1 addresses, got 2"),
        ({"wanted": (64, [64], [], [(0, 0, 0)], [], [])},
         "gradients of weights must have one entry for the input product and each of 1 phases, got 1"),
        ({"wanted": (64, [64], [], [(0, 0, 0)] * 2, [64], [])}, "gradients of noise must have 0 addresses, got 1"),
        ({"wanted": (64, [64], [], [(0, 0, 0)] * 2, [], [64])}, "gradients of params must have 0 addresses, got 1"),
        ({"dtype": "float16"}, "dtype must be 'float32' or 'float64', got 'float16'"),
    ],
)  # fmt: skip
def test_bad_arguments_of_a_derivative_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        native.backward(**derivative(**changed))


def test_saved_size_counts_norms_too() -> None:
    assert native.Program(**good()).saved_size == 0
    assert native.Program(**good() | {"saved": [5, 2]}).saved_size == 7
    assert native.Program(**good() | {"saved": [5], "backward": None, "input": (True, 0, 1, 1, 5, 3, [1])}).saved_size == 11


def test_no_row_is_nothing_to_do() -> None:
    nothing = {"sizes": (3, 0), "x": 0, "h": 0, "state": ([0], [], [0])}
    assert native.forward(**(arguments() | nothing)) is None
