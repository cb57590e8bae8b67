"""The onnx package's own backend cases of these operators."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import onnx.backend.test.case.node as node_cases
import pytest
import torch

from recurra.convert import from_onnx_node

for name in ("rnn", "lstm", "gru"):
    importlib.import_module(f"onnx.backend.test.case.node.{name}")  # which collects its cases
CASES = {
    case.name: case
    for case in node_cases._NodeTestCases
    if case.model.graph.node[0].op_type in ("RNN", "LSTM", "GRU")
}


def test_there_are_eighteen_cases() -> None:
    """Six for each operator: defaults, bias, lengths or peepholes, layout 1, reverse,
    bidirectional.
    """
    assert len(CASES) == 18


@pytest.mark.parametrize("name", sorted(CASES))
def test_backend_case(name: str) -> None:
    """X is fed; every other input counts as an initializer."""
    case = CASES[name]
    node = case.model.graph.node[0]
    ((values, wanted),) = case.data_sets
    inputs = dict(zip([role for role in node.input if role], values, strict=True))
    layout = any(attribute.name == "layout" and attribute.i for attribute in node.attribute)
    x = torch.from_numpy(inputs.pop("X"))
    layer = from_onnx_node(node, inputs)
    with torch.no_grad():
        y, state = layer(x.transpose(0, 1) if layout else x)
    D = len(layer.directions)
    found = [as_onnx(y.unflatten(-1, (D, -1)).transpose(1, 2), layout)]
    found += [as_onnx(value, layout) for value in (state if isinstance(state, tuple) else (state,))]
    pairs = dict(zip([role for role in node.output if role], wanted, strict=True))
    assert pairs
    for mine, role in zip(found, ("Y", "Y_h", "Y_c")):
        if role in pairs:
            assert mine.shape == pairs[role].shape
            np.testing.assert_allclose(mine, pairs.pop(role), rtol=case.rtol, atol=case.atol)
    assert not pairs


def as_onnx(value: torch.Tensor, layout: bool) -> Any:
    """(T, D, B, H) or (D, B, H) as the node lays it out: with layout 1 the batch is first."""
    return value.movedim(-2, 0).numpy() if layout else value.numpy()
