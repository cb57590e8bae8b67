"""A program is a line at a prompt and its whole text when printed, without torch, with its
derivative or without.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

import recurra
from recurra.display import Text
from recurra.program import from_json, show, to_json, trace
from recurra.program.evaluation import forward_only
from tests.cells.zoo import ZOO
from tests.display.markup import Markup


@pytest.mark.parametrize("name", ZOO)
def test_a_program_is_a_line_and_its_text(name: str) -> None:
    program = trace(ZOO[name])
    assert "\n" not in repr(program) and repr(program).startswith(f"Program({program.cell}: ")
    assert str(program) == show(ZOO[name]) == str(from_json(to_json(program)))
    assert Markup(program._repr_html_()).words == "Program" + str(program)


def test_the_operations_are_counted() -> None:
    assert (
        repr(trace(recurra.cells.Elman()))
        == "Program(Elman(nonlinearity='tanh'): 2 operations, 3 in the derivative)"
    )


@pytest.mark.parametrize("name", ZOO)
def test_the_step_alone_is_listed_alone(name: str) -> None:
    whole = trace(ZOO[name])
    alone = forward_only(whole)
    assert str(alone) == str(whole).partition("\n\nderivative\n")[0] and "derivative" not in str(
        alone
    ) + repr(alone)


def test_show_gives_text_that_shows_as_it_is() -> None:
    shown = show(recurra.cells.Elman())
    assert (
        type(shown) is Text
        and repr(shown) == str(shown) == shown
        and shown.startswith("Elman(nonlinearity='tanh')\n\nstep\n")
    )


def test_a_program_is_printed_without_torch() -> None:
    text = to_json(trace(recurra.cells.LSTM()))
    code = (
        "import sys; from recurra.program import from_json; print(from_json(sys.stdin.read()));"
        " assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=text, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == str(show(recurra.cells.LSTM())) + "\n"


def test_a_cells_name_does_not_steer_the_terminal() -> None:
    record = to_json(trace(recurra.cells.GRU())).replace("GRU()", "\\u001b[2J \\ud800 \\u202e")
    text = show(from_json(record))
    assert text.splitlines()[0] == "\\x1b[2J \\ud800 \\u202e"
