"""What inspection found is one line at a prompt, its whole text when printed, and tables and charts
in a notebook.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

import recurra
from recurra.inspection import (
    GateUse,
    GradientByLag,
    GradientFlow,
    diagnose,
    gate_use,
    gradient_by_lag,
    gradient_flow,
)
from tests.display.markup import Markup

I, H, T, B = 3, 6, 12, 4
HOSTILE = "<script>alert(1)</script>"


def batch() -> tuple[torch.Tensor]:
    return (torch.randn(T, B, I),)


def sick() -> torch.nn.Module:
    net = recurra.LSTM(I, H, 2)
    recurra.init.forget_bias(net, -4.0)
    return net


def shown(found: Any) -> Markup:
    return Markup(found._repr_html_())


def test_a_diagnosis_is_a_line_its_text_and_its_tables() -> None:
    rows = [{"kind": "train", "grad_norm": 2.0}] * 3
    found = diagnose(sick(), batch(), window=5, clip_norm=1.5, history=rows)
    assert repr(found) == "Diagnosis(2 layers: vanishing gradient, forget bias too low)"
    assert str(found).startswith(
        "problem: vanishing gradient\n"
    ) and "layer 1 LSTM(): reach" in str(found)
    seen = shown(found)
    for verdict in found.verdicts:
        assert (
            f"{verdict.severity}: {verdict.name}{verdict.evidence}Try: {verdict.advice}."
            in seen.words
        )
    assert [line[0] for line in seen.cells] == [
        "layer",
        "layer 0 LSTM()",
        "layer 1 LSTM()",
        "reach",
        "window",
        "clip_norm",
        "training",
    ]
    assert seen.cells[1][1] == found.layers[0].reach.text().removeprefix("reach ")
    assert (
        seen.cells[1][2:4] == [found.layers[0].memory_text(), found.layers[0].memory_text(0.01)]
        and seen.cells[4][1] == "5 steps"
    )
    assert seen.cells[3][1] == "The loss's gradient reaches 4 of 11 steps back."


def test_a_healthy_net_is_said_to_be() -> None:
    found = diagnose(recurra.LSTM(I, H), batch())
    assert (
        repr(found) == "Diagnosis(1 layer: nothing wrong)"
        and "Nothing is wrong with what was measured." in shown(found).words
    )


def test_what_was_not_seen_into_is_counted_and_named() -> None:
    found = replace(diagnose(recurra.LSTM(I, H), batch()), unseen={HOSTILE: "it has hooks"})
    assert repr(found) == "Diagnosis(1 layer, 1 not seen into: nothing wrong)"
    assert [f"not seen into: {HOSTILE}", "it has hooks"] in shown(found).cells


def test_the_figures_of_a_layer_are_a_line() -> None:
    (layer,) = diagnose(recurra.GRU(I, H), batch()).layers
    assert repr(layer) == "LayerFigures(layer 0 GRU(), 12 steps)"


def test_a_gradient_flow_is_a_line_a_chart_and_its_ends() -> None:
    flow = gradient_flow(recurra.LSTM(I, H, 2), batch(), loss_at="last step")
    assert repr(flow) == "GradientFlow(2 layers, 12 steps)" and str(flow).startswith(
        "|dL/dh_t| over 12 steps\n"
    )
    seen = shown(flow)
    assert seen.tags.count("polyline") == 2 and "step t" in seen.words and "|dL/dh_t|" in seen.words
    first, last = flow.norms[1, 0], flow.norms[1, -1]
    assert seen.cells[2] == [
        "layer 1: LSTM()",
        f"{first:.3g}",
        f"{last:.3g}",
        f"{first / last:.3g}",
    ]


@pytest.mark.parametrize(
    "norms", [[[0.0, 0.0]], [[float("nan"), float("nan")]], [[float("inf"), 1.0]], [[1.0]]], ids=str
)
def test_a_flow_without_figures_is_shown(norms: list[list[float]]) -> None:
    flow = GradientFlow((HOSTILE,), torch.tensor(norms))
    assert "\n" not in repr(flow) and f"layer 0: {HOSTILE}" in shown(flow).words


def test_a_shorter_scan_ends_where_it_ended() -> None:
    flow = GradientFlow(
        ("LSTM()", "GRU()"), torch.tensor([[1.0, 2.0, 4.0], [3.0, 6.0, float("nan")]])
    )
    assert shown(flow).cells[2] == ["layer 1: GRU()", "3", "6", "0.5"]


def test_gradients_by_lag_are_a_line_and_a_chart() -> None:
    found = gradient_by_lag(recurra.LSTM(I, H), batch())
    assert repr(found) == "GradientByLag(1 layer: h, c)" and "falls below 1/e" in str(found)
    seen = shown(found)
    assert seen.tags.count("polyline") == 2 and "dc_t/dc_k, layer 0: LSTM()" in seen.words
    assert (
        "no figure"
        in shown(GradientByLag((HOSTILE,), ({"h": torch.full((3,), float("nan"))},))).words
    )


def test_the_use_of_gates_is_a_line_and_a_table() -> None:
    layer = recurra.LSTM(I, H)
    recurra.init.forget_bias(layer, 20.0)
    use = gate_use(layer, batch())
    assert repr(use) == "GateUse(1 layer; most saturated: f of layer 0, 100.0%)" and str(
        use
    ).startswith("layer 0 LSTM(): saturated i ")
    cells = shown(use).cells
    assert (
        cells[1][:2] == ["layer 0: LSTM()", "i"]
        and cells[2][:3] == ["", "f", "100.0%"]
        and "10 / 50 / 90 %" in cells[1][3]
    )


def test_gates_without_ends_are_shown() -> None:
    use = GateUse((HOSTILE, "Elman()"), ({}, {"h": 0.0}), (None, None), (None, None))
    assert (
        repr(use) == "GateUse(2 layers; no gate is saturated)"
        and repr(GateUse((), (), (), ())) == "GateUse(0 layers; no gate is saturated)"
    )
    assert shown(use).cells[1:] == [
        [f"layer 0: {HOSTILE}", "", "no gate has an end", ""],
        ["layer 1: Elman()", "h", "0.0%", ""],
    ]
