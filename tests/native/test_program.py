"""What could crash is refused before it runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recurra import native

SLOT, GATE, OPERAND, SAVED, DU, DV, DSTATE, DNOISE, DPARAM = range(9)
U, V, STATE, NOISE, PARAM, CONST, KEPT, HELD, NEW, GRAD, BACK = range(11)
TANH, ADD, SUB, MUL = (native.OPS.index(name) for name in ("tanh", "add", "sub", "mul"))


def good() -> dict[str, Any]:
    """An Elman cell of five units: h = tanh(u + W h)."""
    operand = (5, 0, [(STATE, 0, 0)], [], [(0, OPERAND, 0)])
    body = (
        5,
        1,
        [(U, 0, 0), (V, 0, 0)],
        [(ADD, 0, 0, 1, 0), (TANH, 0, 2, 0, 0)],
        [(2, SLOT, 0), (2, GATE, 0)],
    )
    phase = ([operand], (True, 0, 1, 1, 5, 5, []), [body])
    back = (
        5,
        2,
        [(NEW, 0, 0), (GRAD, 0, 0), (CONST, 0, 0)],
        [(MUL, 0, 0, 0, 0), (SUB, 1, 2, 3, 0), (MUL, 0, 1, 4, 0)],
        [(3, DU, 0)],
    )
    through = (5, 0, [(BACK, 0, 0)], [], [(0, DSTATE, 0)])
    return dict(
        hidden=5,
        gates=1,
        states=[5],
        noises=[],
        params=[],
        slots=[5],
        constants=[1.0],
        input=(True, 0, 1, 1, 5, 3, []),
        phases=[phase],
        last=[],
        saved=[],
        backward=([], [(0, [operand], [back], 0, [])], [through]),
    )


def with_body(**parts: Any) -> dict[str, Any]:
    """The good program with parts of its body replaced."""
    program = good()
    names = ("width", "registers", "sources", "instructions", "outputs")
    operand, product, [body] = program["phases"][0]
    program["phases"] = [
        (
            operand,
            product,
            [tuple(parts.get(name, value) for name, value in zip(names, body, strict=True))],
        )
    ]
    return program


def with_product(**parts: Any) -> dict[str, Any]:
    """The good program with parts of its product replaced."""
    program = good()
    names = ("weighted", "first", "blocks", "total", "unit", "reads", "norm")
    operand, product, body = program["phases"][0]
    program["phases"] = [
        (
            operand,
            tuple(parts.get(name, value) for name, value in zip(names, product, strict=True)),
            body,
        )
    ]
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
    (
        with_back(sources=[(U, 0, 0)] * 3),
        "source of a backward section must be known in the backward pass, got 0",
    ),
    (with_back(sources=[(HELD, 0, 0)] * 3), "saved value must be at least 0 and below 0, got 0"),
    (with_back(sources=[(NEW, 1, 0)] * 3), "state must be at least 0 and below 1, got 1"),
    (with_back(sources=[(GRAD, -1, 0)] * 3), "state must be at least 0 and below 1, got -1"),
    (with_back(sources=[(KEPT, 0, 0)] * 3), "slot must be at least 0 and below 0, got 0"),
    (
        with_back(sources=[(BACK, 0, 0)] * 3),
        "gradient of an operand must be known before it is read, got 0",
    ),
    (
        with_back(outputs=[(3, GATE, 0)]),
        "output of a backward section must belong to the backward pass, got 1",
    ),
    (with_back(outputs=[(3, DU, 1)]), "block of u must be at least 0 and below 1, got 1"),
    (
        with_back(outputs=[(3, DV, 0)]),
        "gradient of v must be written before the product that takes it, where it is apart, got 0",
    ),
    (
        with_back(du_first=-1, outputs=[(3, DV, 1)]),
        "block of v must be at least 0 and below 1, got 1",
    ),
    (with_back(outputs=[(3, DSTATE, 1)]), "state must be at least 0 and below 1, got 1"),
    (with_back(outputs=[(3, DNOISE, 0)]), "noise must be at least 0 and below 0, got 0"),
    (with_back(outputs=[(3, DPARAM, 0)]), "param must be at least 0 and below 0, got 0"),
    (with_back(outputs=[]), "gradient of block 0 must be written by a section"),
    (
        good() | {"backward": ([], good()["backward"][1] * 2, [])},
        "phase of backward must come once, got 0",
    ),
    (
        good() | {"backward": (*good()["backward"][:2], [])},
        "gradient of state 0 must be written by a section",
    ),
    (good() | {"backward": ([0], [], [])}, "width must be at least 1"),
    (good() | {"saved": [0]}, "width must be at least 1"),
    (
        good() | {"input": (True, 0, 1, 1, 5, 0, [])},
        "reads of the input product must be at least 1",
    ),
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
    (
        good() | {"phases": good()["phases"] * 17},
        "number of phases must be at least 1 and at most 16, got 17",
    ),
    (
        good() | {"phases": [([], *good()["phases"][0][1:])]},
        "operand of a product must be written by a section",
    ),
    (
        good() | {"phases": [good()["phases"][0], (good()["phases"][0][0], None, [])]},
        "operand of a phase must be none where nothing is multip",
    ),
    (with_body(outputs=[(2, GATE, 0)]), "slot 0 must be written by a section"),
    (with_body(width=0), "width of a section must be at least 1"),
    (with_body(width=4), "width of a source must be that of its section, 4, got 5"),
    (with_body(registers=0), "register must be at least 0 and below 0, got 0"),
    (with_body(registers=5000), "registers must be at most 1024"),
    (
        with_body(sources=[(11, 0, 0), (V, 0, 0)]),
        "kind of a source must be at least 0 and below 11, got 11",
    ),
    (
        with_body(sources=[(NEW, 0, 0), (V, 0, 0)]),
        "source of a forward section must be known in the forward pass, got 8",
    ),
    (with_body(sources=[(U, 0, 1), (V, 0, 0)]), "block of u must be at least 0 and below 1, got 1"),
    (with_body(sources=[(U, 0, 0), (V, 1, 0)]), "phase of v must be at least 0 and below 1, got 1"),
    (with_body(sources=[(U, 0, 0), (V, 0, 1)]), "block of v must be at least 0 and below 1, got 1"),
    (with_body(sources=[(U, 0, 0), (STATE, 1, 0)]), "state must be at least 0 and below 1, got 1"),
    (with_body(sources=[(U, 0, 0), (NOISE, 0, 0)]), "noise must be at least 0 and below 0, got 0"),
    (
        with_body(sources=[(U, 0, 0), (PARAM, -1, 0)]),
        "param must be at least 0 and below 0, got -1",
    ),
    (
        with_body(sources=[(U, 0, 0), (CONST, 1, 0)]),
        "constant must be at least 0 and below 1, got 1",
    ),
    (with_body(sources=[(U, 0, 0), (KEPT, 1, 0)]), "slot must be at least 0 and below 1, got 1"),
    (with_body(sources=[(U, 0, 0), (KEPT, 0, 0)]), "slot must be written before it is read, got 0"),
    (with_body(sources=[(U, 0, 0)] * 600), "number of sources must be at most 512, got 600"),
    (with_body(instructions=[(99, 0, 0, 1, 0)]), "op must be at least 0 and below 26, got 99"),
    (with_body(instructions=[(-1, 0, 0, 1, 0)]), "op must be at least 0 and below 26, got -1"),
    (
        with_body(instructions=[(ADD, 0, 0, 3, 0)]),
        "argument of an op must be at least 0 and below 3, got 3",
    ),
    (
        with_body(instructions=[(ADD, 0, 0, 2, 0)]),
        "argument of an op must be computed before, got 2",
    ),
    (with_body(instructions=[]), "value of an output must be computed before, got 2"),
    (with_body(outputs=[(3, SLOT, 0)]), "value of an output must be at least 0 and below 3, got 3"),
    (with_body(outputs=[(2, 9, 0)]), "kind of an output must be at least 0 and below 9, got 9"),
    (with_body(outputs=[(2, SAVED, 0)]), "saved value must be at least 0 and below 0, got 0"),
    (
        with_body(outputs=[(2, DU, 0)]),
        "output of a forward section must belong to the forward pass, got 4",
    ),
    (with_body(outputs=[(2, SLOT, 1)]), "slot must be at least 0 and below 1, got 1"),
    (with_body(outputs=[(2, GATE, 1)]), "gate must be at least 0 and below 1, got 1"),
    (with_body(outputs=[(2, OPERAND, 0)]), "operand must be written in a phase that has a product"),
    (with_product(unit=0), "unit of the product of phase 0 must be at least 1"),
    (with_product(reads=6), "width of a section must be that of its output, 6, got 5"),
    (with_product(blocks=0), "blocks of the product of phase 0 must be at least 1"),
    (
        with_product(blocks=2),
        "first block of the product of phase 0 must leave room for its blocks",
    ),
    (with_product(first=1), "first block of the product of phase 0 must leave room for its blocks"),
    (
        with_product(weighted=False, unit=4),
        "reads of the product of phase 0 must be its blocks' units",
    ),
    (
        with_product(norm=[2]),
        "a norm's blocks in the product of phase 0 must be at least 1 and at most 1",
    ),
    (
        with_product(blocks=2, total=2, norm=[1]),
        "norm of the product of phase 0 must cover every block",
    ),
]


@pytest.mark.parametrize(
    ("program", "message"),
    BAD + BAD_DERIVATIVES,
    ids=[message for _, message in BAD + BAD_DERIVATIVES],
)
def test_bad_program_is_refused(program: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        native.Program(**program)


NONE, STATE_ARRAY = (0, 0), (64, 10)
WEIGHTS = [((64, 15), NONE, NONE), ((64, 25), NONE, NONE)]
NO_WEIGHTS = [(NONE, NONE, NONE)] * 2


def arguments() -> dict[str, Any]:
    """Arguments of a scan, wrong addresses in them; each test makes one a thing that is refused
    first.
    """
    return dict(
        program=native.Program(**good()),
        dtype="float32",
        sizes=(3, 2),
        reverse=False,
        x=(64, 18),
        h=(64, 30),
        state=([STATE_ARRAY], [], [STATE_ARRAY]),
        kept=([], []),
        held=False,
        saved=NONE,
        weights=WEIGHTS,
        noise=[],
        params=[],
        lengths=NONE,
        resets=NONE,
        pool=(0, 0, 0, 1),
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": NONE}, "x must be an address, got 0"),
        ({"h": NONE}, "h must be an address, got 0"),
        ({"weights": [WEIGHTS[0], (NONE, NONE, NONE)]}, "weights must be an address, got 0"),
        (
            {"weights": WEIGHTS[:1]},
            "weights must have one entry for the input product and each of 1 phases, got 1",
        ),
        ({"state": ([NONE], [], [STATE_ARRAY])}, "state must be an address, got 0"),
        ({"state": ([STATE_ARRAY] * 2, [], [STATE_ARRAY])}, "state must have 1 addresses, got 2"),
        ({"state": ([STATE_ARRAY], [], [])}, "final must have 1 addresses, got 0"),
        ({"resets": (64, 6)}, "initial must have 1 addresses, got 0"),
        ({"kept": ([(64, 30)] * 2, [])}, "states must have 1 addresses, got 2"),
        ({"kept": ([], [NONE])}, "gates must be an address, got 0"),
        ({"noise": [((64, 30), True)]}, "noise must have 0 addresses, got 1"),
        ({"params": [(64, 5)]}, "params must have 0 addresses, got 1"),
        ({"dtype": "float16"}, "dtype must be 'float32' or 'float64', got 'float16'"),
        ({"sizes": (-1, 2)}, "sizes must be at least 0"),
        (
            {"sizes": (1 << 40, 1 << 40), "state": ([(64, 5 << 40)], [], [])},
            "sizes must fit into memory, got more",
        ),
    ],
)
def test_bad_arguments_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        native.forward(**(arguments() | changed))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": (64, 17)}, "x must hold 18 numbers, got 17"),
        ({"h": (64, 31)}, "h must hold 30 numbers, got 31"),
        ({"state": ([(64, 5)], [], [STATE_ARRAY])}, "state must hold 10 numbers, got 5"),
        (
            {"state": ([STATE_ARRAY], [(64, 5)], [STATE_ARRAY])},
            "initial must hold 10 numbers, got 5",
        ),
        ({"state": ([STATE_ARRAY], [], [(64, 9)])}, "final must hold 10 numbers, got 9"),
        ({"weights": [((64, 14), NONE, NONE), WEIGHTS[1]]}, "weights must hold 15 numbers, got 14"),
        ({"weights": [WEIGHTS[0], ((64, 5), NONE, NONE)]}, "weights must hold 25 numbers, got 5"),
        (
            {"weights": [((64, 15), (64, 1), NONE), WEIGHTS[1]]},
            "weights, biases must hold 5 numbers, got 1",
        ),
        (
            {"weights": [WEIGHTS[0], ((64, 25), NONE, (64, 4))]},
            "weights, gains must hold 5 numbers, got 4",
        ),
        ({"kept": ([(64, 10)], [])}, "states must hold 30 numbers, got 10"),
        ({"kept": ([], [(64, 29)])}, "gates must hold 30 numbers, got 29"),
        ({"saved": (64, 1)}, "saved must hold 0 numbers, got 1"),
        ({"lengths": (64, 3)}, "lengths must hold 2 numbers, got 3"),
        (
            {"resets": (64, 2), "state": ([STATE_ARRAY], [STATE_ARRAY], [STATE_ARRAY])},
            "resets must hold 6 numbers, got 2",
        ),
    ],
)
def test_array_of_another_length_than_is_read_is_refused(
    changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        native.forward(**(arguments() | changed))


@pytest.mark.parametrize("length", [-1, 4, 1 << 62])
def test_length_beyond_the_steps_is_refused(length: int) -> None:
    lengths = np.array([3, length], np.int64)
    with pytest.raises(ValueError, match=f"lengths must be at least 0 and at most 3, got {length}"):
        native.forward(**(arguments() | {"lengths": (lengths.ctypes.data, 2)}))


def derivative(**changed: Any) -> dict[str, Any]:
    """Arguments of a backward pass, wrong addresses in them too."""
    given = {name: value for name, value in arguments().items() if name not in ("kept", "held")}
    wanted: Any = ((64, 18), [STATE_ARRAY], [], WEIGHTS, [], [])
    return (
        given
        | dict(
            state=([STATE_ARRAY], []),
            states=[NONE],
            saved=NONE,
            given=((64, 30), [NONE], []),
            wanted=wanted,
        )
        | changed
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"program": native.Program(**good() | {"backward": None})},
            "program must have a backward pass, got none",
        ),
        ({"h": NONE}, "h must be an address, got 0"),
        ({"given": ((64, 30), [NONE] * 2, [])}, "gradients of final must have 1 addresses, got 2"),
        (
            {"given": ((64, 30), [NONE], [NONE] * 2)},
            "gradients of states must have 1 addresses, got 2",
        ),
        ({"given": ((64, 29), [NONE], [])}, "gradient of h must hold 30 numbers, got 29"),
        ({"given": ((64, 30), [(64, 9)], [])}, "gradients of final must hold 10 numbers, got 9"),
        (
            {"given": ((64, 30), [NONE], [(64, 10)])},
            "gradients of states must hold 30 numbers, got 10",
        ),
        (
            {"wanted": (NONE, [STATE_ARRAY] * 2, [], NO_WEIGHTS, [], [])},
            "gradients of state must have 1 addresses, got 2",
        ),
        (
            {"wanted": (NONE, [STATE_ARRAY], [], NO_WEIGHTS[:1], [], [])},
            (
                "gradients of weights must have one entry for the input product and each of 1"
                " phases, got 1"
            ),
        ),
        (
            {"wanted": (NONE, [STATE_ARRAY], [], NO_WEIGHTS, [(64, 30)], [])},
            "gradients of noise must have 0 addresses, got 1",
        ),
        (
            {"wanted": (NONE, [STATE_ARRAY], [], NO_WEIGHTS, [], [(64, 5)])},
            "gradients of params must have 0 addresses, got 1",
        ),
        (
            {"wanted": ((64, 6), [], [], NO_WEIGHTS, [], [])},
            "gradient of x must hold 18 numbers, got 6",
        ),
        (
            {"wanted": (NONE, [(64, 5)], [], NO_WEIGHTS, [], [])},
            "gradients of state must hold 10 numbers, got 5",
        ),
        (
            {"wanted": (NONE, [], [(64, 5)], NO_WEIGHTS, [], [])},
            "gradients of initial must hold 10 numbers, got 5",
        ),
        (
            {"wanted": (NONE, [], [], [WEIGHTS[0], ((64, 25), (64, 6), NONE)], [], [])},
            "gradients of weights, biases must hold 5 numbers, got 6",
        ),
        ({"dtype": "float16"}, "dtype must be 'float32' or 'float64', got 'float16'"),
    ],
)
def test_bad_arguments_of_a_derivative_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        native.backward(**derivative(**changed))


def test_saved_size_counts_norms_too() -> None:
    assert native.Program(**good()).saved_size == 0
    assert native.Program(**good() | {"saved": [5, 2]}).saved_size == 7
    assert (
        native.Program(
            **good() | {"saved": [5], "backward": None, "input": (True, 0, 1, 1, 5, 3, [1])}
        ).saved_size
        == 11
    )


def test_no_row_is_nothing_to_do() -> None:
    nothing = {"sizes": (3, 0), "x": NONE, "h": NONE, "state": ([NONE], [], [NONE])}
    assert native.forward(**(arguments() | nothing)) is None
