"""What torch.jit.trace records is right for any number of steps, or is refused in words."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import recurra
from recurra import cells
from recurra.errors import ArgumentError, MethodUnavailable

pytestmark = pytest.mark.filterwarnings(
    "ignore:.torch.jit.trace",
    "ignore:You are using the legacy TorchScript",
    "ignore:The feature will be removed",
    "ignore:Exporting a model to ONNX with a batch_size",
    "ignore::torch.jit.TracerWarning",
)
I, H = 3, 4


class Called(nn.Module):
    """A module's output, called as `call` says."""

    def __init__(self, module: nn.Module, call: Callable[..., Any]) -> None:
        super().__init__()
        self.module, self.call = module, call

    def forward(self, *inputs: Tensor) -> Any:
        return self.call(self.module, *inputs)


def recurrent(cell: cells.Cell, size: int = I, **options: Any) -> recurra.Recurrent:
    return recurra.Recurrent(cell, size, H, **options)


MAKE: dict[str, Callable[[], nn.Module]] = {
    **{
        f"{name} {options}": lambda name=name, options=options: getattr(recurra, name)(
            I, H, **options
        )
        for name in ("RNN", "LSTM", "GRU")
        for options in (
            {},
            {"bidirectional": True},
            {"num_layers": 2, "bidirectional": True, "batch_first": True},
        )
    },
    "projected": lambda: recurra.LSTM(I, H, proj_size=2, bidirectional=True),
    "learned": lambda: recurrent(cells.LSTM(), learned_state=True, biases=1),
    "bidirectional": lambda: recurra.Bidirectional(recurrent(cells.GRU()), recurrent(cells.LSTM())),
    "stack": lambda: recurra.Stack(
        [recurrent(cells.GRU()), recurra.Residual(recurrent(cells.LSTM(), H)), nn.Linear(H, 2)]
    ),
    "weights": lambda: recurra.WeightDropout(recurrent(cells.GRU()), 0.5),
}


def trace(module: nn.Module, *inputs: Tensor) -> Any:
    return torch.jit.trace(module.eval(), inputs, check_trace=False)


def assert_equal(found: Any, wanted: Any) -> None:
    if isinstance(wanted, tuple):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted):
            assert_equal(one, other)
    else:
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 6])
@pytest.mark.parametrize("name", list(MAKE))
def test_a_trace_is_right_for_any_number_of_steps_and_rows(name: str, steps: int) -> None:
    module = Called(MAKE[name](), lambda module, x: module(x) if name != "stack" else module(x)[0])
    shape = (
        (lambda t, b: (b, t, I))
        if getattr(module.module, "batch_first", False)
        else (lambda t, b: (t, b, I))
    )
    traced = trace(module, torch.randn(shape(steps, 2)))
    for other in (shape(11, 3), shape(1, 1), shape(6, 2)):
        x = torch.randn(other)
        assert_equal(traced(x), module(x))


@pytest.mark.parametrize(
    "name", ["GRU {'bidirectional': True}", "LSTM {}", "bidirectional", "stack"]
)
def test_a_trace_takes_other_lengths(name: str) -> None:
    module = Called(MAKE[name](), lambda module, x, lengths: module(x, lengths=lengths)[0])
    traced = trace(module, torch.randn(6, 3, I), torch.tensor([6, 0, 2]))
    for lengths in ([11, 1, 4, 7], [0, 11, 3, 0]):
        x, counts = torch.randn(11, 4, I), torch.tensor(lengths)
        assert_equal(traced(x, counts), module(x, counts))
    with pytest.raises(
        ArgumentError,
        match="^lengths must hold a row with a step while torch.jit.trace records, got only zeros",
    ):
        trace(module, torch.randn(6, 2, I), torch.tensor([0, 0]))


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_a_trace_takes_packed_sequences(kind: str) -> None:
    def call(module: nn.Module, x: Tensor, lengths: Tensor) -> Tensor:
        y, _ = module(pack_padded_sequence(x, lengths, enforce_sorted=False))
        return pad_packed_sequence(y)[0]

    module = Called(getattr(recurra, kind)(I, H, bidirectional=True), call)
    traced = trace(module, torch.randn(6, 2, I), torch.tensor([2, 6]))
    x, lengths = torch.randn(11, 3, I), torch.tensor([4, 11, 1])
    assert_equal(traced(x, lengths), module(x, lengths))


@pytest.mark.parametrize("steps", [1, 6])
def test_the_older_exporter_of_onnx_is_right_for_any_number_of_steps(steps: int) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    module = Called(
        recurra.LSTM(I, H, bidirectional=True, dtype=torch.float32),
        lambda module, x, lengths: module(x, lengths=lengths)[0],
    )
    file, axes = io.BytesIO(), {"x": {0: "T", 1: "B"}, "lengths": {0: "B"}}
    inputs = (torch.randn(steps, 2, I, dtype=torch.float32), torch.tensor([1, steps]))
    torch.onnx.export(
        module.eval(), inputs, file, input_names=["x", "lengths"], dynamic_axes=axes, dynamo=False
    )
    x, lengths = torch.randn(11, 3, I, dtype=torch.float32), torch.tensor([4, 11, 1])
    (found,) = onnxruntime.InferenceSession(file.getvalue()).run(
        None, {"x": x.numpy(), "lengths": lengths.numpy()}
    )
    torch.testing.assert_close(torch.from_numpy(found), module(x, lengths), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("cell", "call", "why"),
    [
        (
            cells.GRU(),
            lambda m, x, r: m(x, resets=r)[0],
            "the steps at which rows are reset depend on data, which torch.jit.trace does",
        ),
        (
            cells.LayerNormLSTM(),
            lambda m, x, r: m(x)[0],
            "PyTorch has no operator for LayerNormLSTM()",
        ),
        (cells.MinGRU(), lambda m, x, r: m(x)[0], "PyTorch has no operator for MinGRU()"),
        (
            cells.GRU(),
            lambda m, x, r: m(x, method="loop")[0],
            "it would record the steps of this input, and go wrong on any other",
        ),
        (
            cells.MinGRU(),
            lambda m, x, r: m(x, method="parallel")[0],
            "it would record the steps of this input",
        ),
        (
            cells.LSTM(),
            lambda m, x, r: m(x, method="checkpointed")[0],
            "it would record the steps of this input",
        ),
        (
            cells.LSTM(),
            lambda m, x, r: m(x, method="fused")[0],
            "torch.jit.trace sees nothing of the native module",
        ),
    ],
)
def test_what_would_record_a_number_of_steps_is_refused(
    cell: cells.Cell, call: Callable[..., Any], why: str
) -> None:
    text = f"cannot run this while torch.jit.trace records it: {why}"
    with pytest.raises(
        MethodUnavailable,
        match=(
            f"^method '.*' {re.escape(text)}.*; trace one step, or use torch.export, recurra.export"
        ),
    ):
        trace(
            Called(recurrent(cell), call), torch.randn(6, 2, I), torch.zeros(6, 2, dtype=torch.bool)
        )


@pytest.mark.parametrize("cell", [cells.LayerNormLSTM(), cells.MinGRU(), cells.GRU()], ids=repr)
def test_one_step_of_any_cell_is_traced_and_takes_no_more(cell: cells.Cell) -> None:
    layer = recurrent(cell)
    step = Called(layer, lambda module, x: module.step(x))
    traced, x = trace(step, torch.randn(2, I)), torch.randn(5, I)
    assert_equal(traced(x), tuple(step(x)))

    one = Called(
        layer,
        lambda module, x, starts: module(x, (torch.ones(2, H),) * len(cell.state), resets=starts)[
            0
        ],
    )
    traced = trace(one, torch.randn(1, 2, I), torch.zeros(1, 2, dtype=torch.bool))
    x, starts = torch.randn(1, 2, I), torch.tensor([[False, True]])
    assert_equal(traced(x, starts), one(x, starts))
    with pytest.raises(RuntimeError, match="shape .* is invalid for input of size"):
        traced(torch.randn(3, 2, I), torch.zeros(3, 2, dtype=torch.bool))


def test_a_trace_warns_of_nothing_in_recurra() -> None:
    code = (
        "import torch, recurra; torch.jit.trace(recurra.GRU(3, 4, bidirectional=True),"
        " (torch.zeros(2, 1, 3),))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert "TracerWarning" not in done.stderr
