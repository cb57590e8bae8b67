from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from recurra.cells import LSTM, Cell, Phase, ProjectedLSTM, ResetBeforeGRU, Zoneout
from recurra.errors import MissingDependency, ProgramError
from recurra.kernels import encode
from recurra.kernels.encode import load_native
from recurra.kernels.layout import Layout
from recurra.kernels.section import OPS, OUTPUTS, SOURCES
from recurra.program import from_json, to_json, trace
from tests.kernels.scene import CELLS


def test_same_program_and_sizes_give_the_same_object() -> None:
    program = trace(LSTM())
    code = encode(program, 5, (5, 5), 3)
    assert encode(program, 5, (5, 5), 3) is code
    others = [
        encode(program, 6, (6, 6), 3),
        encode(program, 5, (5, 5), 4),
        encode(program, 5, (5, 5), 3, noise_gradients=True),
    ]
    assert len({id(each.native) for each in (code, *others)}) == 4


@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_every_cell_is_encoded(cell: Cell) -> None:
    widths = tuple(cell.width(name, 7) for name in cell.state)
    code = encode(trace(cell, cell.noises()), 7, widths, 3)
    assert code.widths == {"hidden": 7} | dict(zip(cell.state, widths, strict=True))
    assert set(code.noises) == set(cell.noises())
    assert set(code.params) == set(cell.params)
    assert {
        name: shape for name, shape in zip(code.names, code.shapes, strict=True)
    } == cell.weights(3, 7)


def test_program_from_json_is_encoded() -> None:
    assert encode(from_json(to_json(trace(ResetBeforeGRU()))), 3, (3,), 2).hidden == 3


def test_widths_that_do_not_fit_are_refused() -> None:
    with pytest.raises(
        ProgramError,
        match=r"LSTM\(\): the native module cannot run the program: width of a source must be",
    ):
        encode(trace(LSTM()), 5, (4, 5), 3)


class Long(Cell):
    """A cell of many products."""

    gates = tuple(f"g{i}" for i in range(21))

    def phases(self) -> Any:
        return tuple(
            Phase(lambda a, s, g=gate: {g: getattr(a, g), "h": getattr(a, g)}, (gate,))
            for gate in self.gates
        )


def test_too_many_phases_are_refused() -> None:
    with pytest.raises(
        ProgramError, match="number of phases must be at least 1 and at most 16, got 21"
    ):
        encode(trace(Long()), 5, (5,), 3)


def test_operation_is_computed_once_and_registers_are_used_again() -> None:
    layout = Layout(trace(LSTM()), {"hidden": 5, "h": 5, "c": 5})
    [(width, registers, sources, instructions, outputs)] = layout.phase(0)[2]
    assert width == 5
    assert len(instructions) == 13 and registers < 13
    assert sum(op == OPS["tanh"] for op, *_ in instructions) == 2
    assert sorted(kind for kind, *_ in sources) == sorted(
        [SOURCES["u"]] * 4 + [SOURCES["v"]] * 4 + [SOURCES["state"]]
    )
    assert [(kind, index) for _, kind, index in outputs] == [
        (OUTPUTS["slot"], i) for i in (0, 1)
    ] + [(OUTPUTS["gate"], i) for i in range(4)]


def test_each_width_has_its_own_section() -> None:
    layout = Layout(trace(Zoneout(ProjectedLSTM(2), h=0.1, c=0.1)), {"hidden": 5, "h": 2, "c": 5})
    widths = [[part[0] for part in body] for _, _, body in layout.phases()]
    assert widths == [[5], [2, 5]]


def test_missing_native_module_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "recurra.native", None)
    with pytest.raises(
        MissingDependency,
        match=(
            r"recurra.native must be built for this, got none; install recurra with a C\+\+"
            r" compiler"
        ),
    ):
        load_native()


def test_importing_kernels_needs_no_torch() -> None:
    code = "import sys, recurra.kernels, recurra.program; print('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip()
        == "False"
    )
