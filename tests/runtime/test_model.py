"""A model and a session are a line at a prompt and a table in a notebook, open or closed."""

from __future__ import annotations

import subprocess
import sys

import pytest

import recurra
from recurra.network import Network
from recurra.runtime import Model
from tests.display.markup import Markup
from tests.network.nets import every_kind, recurrent


@pytest.fixture
def model() -> Model:
    return Model(Network((recurrent(recurra.cells.GRU(), 3, 5),)))


def test_a_model_is_a_line_and_a_table(model: Model) -> None:
    assert (
        repr(model) == f"Model(3 features -> GRU() -> 5, {model.network.nbytes} bytes of float32)"
    )
    seen = Markup(model._repr_html_())
    assert seen.words.startswith("Model") and seen.cells[1] == [
        "0",
        "Recurrent(3 -> 5, GRU(), float32)",
        "h 5",
    ]


def test_a_session_is_a_line_and_a_table(model: Model) -> None:
    session = model.session(batch=2, nan="reset")
    assert repr(session) == f"Session(batch=2, nan='reset'; {repr(model).removeprefix('Model(')}"
    assert Markup(session._repr_html_()).words.startswith("Session: batch=2, nan='reset'")
    session.close()
    assert repr(session).startswith("Session(closed; 3 features") and Markup(
        session._repr_html_()
    ).words.startswith("Session: closed")


def test_tokens_are_called_tokens() -> None:
    assert repr(Model(every_kind())).startswith(
        "Model(11 tokens -> Embedding -> LSTM() -> Residual -> "
    )


def test_what_is_shown_needs_no_torch() -> None:
    code = """
import sys, numpy as np
from recurra.network import Linear, Matrix, Network
from recurra.runtime import Model
model = Model(Network((Linear(Matrix(np.ones((2, 3), np.float32))),)))
for each in (model, model.session(), model.network):
    repr(each), each._repr_html_()
print(*({"torch", "IPython", "rich", "matplotlib"} & set(sys.modules)))
"""
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
        ).stdout
        == "\n"
    )
