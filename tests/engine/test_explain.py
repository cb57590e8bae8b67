"""An explanation reads as text at a prompt, and as a table in a notebook."""

from __future__ import annotations

import copy
import pickle
import warnings

import torch

import recurra
from recurra.engine import Explanation, explain
from recurra.engine.explain import ExplainedScan
from recurra.errors import SlowWarning
from tests.display.markup import Markup


def test_an_explanation_shows_as_it_is_and_by_scan() -> None:
    text = explain(recurra.LSTM(3, 4, num_layers=2), torch.zeros(5, 2, 3))
    assert (
        isinstance(text, str)
        and repr(text) == str(text) == text
        and text.startswith("1. LSTM() (T 5, B 2, ")
    )
    first, second = text.scans
    assert (first.cell, first.method, first.refused) == (
        "LSTM()",
        "fused",
        {},
    ) and second.sizes == "T 5, B 2, I 4, H 4, float64, cpu"
    assert f"2. LSTM() ({second.sizes})\n   fused: {second.why}" in text
    cells = Markup(text._repr_html_()).cells
    assert cells[0] == ["", "cell", "sizes", "method", "why"] and cells[2] == [
        "2",
        "LSTM()",
        second.sizes,
        "fused",
        second.why,
    ]


def test_what_was_refused_has_a_column() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16), warnings.catch_warnings():
        warnings.simplefilter("ignore", SlowWarning)  # where oneDNN has no bfloat16
        text = explain(
            recurra.LSTM(3, 4, dtype=torch.float32), torch.zeros(5, 2, 3, dtype=torch.float32)
        )
    (scan,) = text.scans
    assert f"\n     not fused: {scan.refused['fused']}" in text
    reasons = Markup(text._repr_html_()).cells[1][-1]
    assert reasons.startswith(f"fused: {scan.refused['fused']}")


def test_a_call_without_a_scan_says_so() -> None:
    text = explain(torch.nn.Linear(2, 2), torch.zeros(2))
    assert (
        text == "no scan was run"
        and text.scans == ()
        and "no scan was run" in Markup(text._repr_html_()).words
    )


def test_names_stay_text() -> None:
    text = Explanation([ExplainedScan("<script>", "<b>", "loop", "<i>", {"fused": "&"})])
    assert Markup(text._repr_html_()).cells[1] == [
        "1",
        "<script>",
        "<b>",
        "loop",
        "<i>",
        "fused: &",
    ]


def test_an_explanation_can_be_kept() -> None:
    text = explain(recurra.GRU(3, 4), torch.zeros(5, 2, 3))
    for kept in (pickle.loads(pickle.dumps(text)), copy.deepcopy(text)):
        assert kept == text and kept.scans == text.scans and type(kept) is Explanation
