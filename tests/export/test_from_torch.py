"""Networks of modules against the modules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import recurra
from recurra.errors import ArgumentError, ConversionError
from recurra.export import network_of, to_rcr
from recurra.models import Characters, LanguageModel
from recurra.models.cell import CELLS
from recurra.network import Loop
from recurra.runtime import load
from tests.cells.zoo import CoupledLSTM


def agrees(module: nn.Module, call: Callable[[Any], Any], x: Any) -> None:
    """The loop over the network gives what the module gives in float64; its weights are those of
    float32.
    """
    module.eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(parameter.float())
        wanted = call(torch.from_numpy(x))
    assert np.abs(Loop(network_of(module), x.shape[1]).run(x) - wanted.numpy()).max() < 1e-12


X = np.random.default_rng(0).standard_normal((7, 2, 3))
LAYERS: dict[str, Callable[[], Any]] = {
    "LSTM": lambda: recurra.LSTM(3, 4, num_layers=3),
    "GRU": lambda: recurra.GRU(3, 4, 2, bias=False),
    "RNN": lambda: recurra.RNN(3, 4),
    "projected": lambda: recurra.LSTM(3, 4, 2, proj_size=2),
    "own cell": lambda: recurra.Recurrent(CoupledLSTM(), 3, 4),
    "learned": lambda: recurra.Recurrent(recurra.cells.GRU(), 3, 4, learned_state=True, biases=1),
    "torch LSTM": lambda: nn.LSTM(3, 4, 2),
    "torch GRU": lambda: nn.GRU(3, 4, bias=False),
    "torch RNN": lambda: nn.RNN(3, 4, 2, "relu"),
    "torch projected": lambda: nn.LSTM(3, 4, 2, proj_size=3),
    "stack": lambda: recurra.Stack(
        [
            recurra.Recurrent(recurra.cells.LayerNormLSTM(), 3, 4),
            recurra.LockedDropout(0.3),
            recurra.Residual(
                recurra.Recurrent(recurra.Zoneout(recurra.cells.LSTM(), h=0.1, c=0.05), 4, 4)
            ),
            recurra.WeightDropout(recurra.Recurrent(recurra.cells.GRU(), 4, 5), 0.5),
            nn.Linear(5, 2),
            nn.Tanh(),
        ]
    ),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_layers_are_taken_exactly(kind: str) -> None:
    module = LAYERS[kind]()
    agrees(module, lambda x: module(x)[0], X)


def test_batch_first_is_only_how_the_layer_is_called() -> None:
    for module in (recurra.LSTM(3, 4, batch_first=True), nn.GRU(3, 4, batch_first=True)):
        agrees(module, lambda x, module=module: module(x.transpose(0, 1))[0].transpose(0, 1), X)


def test_layers_without_a_state_in_a_row() -> None:
    parts = [
        nn.Linear(3, 6),
        nn.GELU(),
        nn.LayerNorm(6, 1e-3),
        nn.Dropout(0.5),
        nn.ReLU(),
        nn.Linear(6, 2, bias=False),
    ]
    module = nn.Sequential(*parts, nn.GELU("tanh"), nn.Sigmoid(), nn.Identity())
    agrees(module, module, X)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    "options", [{}, {"tied": False}, {"embed": 3}, {"locked": True, "zoneout": (0.1, 0.0)}]
)
def test_language_models_are_taken_exactly(cell: str, options: dict[str, Any]) -> None:
    model = LanguageModel(6, **{"embed": 5, "hidden": 5, "cell": cell} | options)
    agrees(model, lambda x: model(x)[0], np.random.default_rng(0).integers(0, 6, (8, 2)))
    network = network_of(model)
    assert (network.layers[0].weight is network.layers[-1].weight) == options.get("tied", True)  # type: ignore[union-attr]


def test_language_models_with_clusters_of_words_are_taken_exactly() -> None:
    model = LanguageModel(30, 8, 8, cell="gru", tied=False, adaptive=(4, 12), div_value=2.0)
    agrees(model, lambda x: model(x)[0], np.random.default_rng(0).integers(0, 30, (8, 2)))
    assert network_of(model).output_size == 30


@pytest.mark.parametrize("bias", [True, False])
def test_an_adaptive_softmax_of_torchs_stands_for_its_log_prob(bias: bool) -> None:
    softmax = nn.AdaptiveLogSoftmaxWithLoss(5, 11, [3, 7], 2.0, head_bias=bias)
    lstm = nn.LSTM(3, 5)
    agrees(
        nn.Sequential(lstm, softmax),
        lambda x: softmax.log_prob(lstm(x)[0].flatten(0, 1)).view(7, 2, 11),
        X,
    )
    assert network_of(softmax).output_size == 11


def test_a_file_holds_the_vocabulary_and_the_facts(tmp_path: Path) -> None:
    model = LanguageModel(3, embed=4, hidden=4, vocabulary=Characters("abc")).float()
    to_rcr(model, tmp_path / "m.rcr", precision="int8", facts={"licence": "MIT"})
    network = load(tmp_path / "m.rcr").network
    assert (
        network.vocabulary == Characters("abc").record()
        and network.facts == {"licence": "MIT"}
        and network.precision == "int8"
    )
    to_rcr(nn.GRU(3, 4), tmp_path / "g.rcr", vocabulary=None)
    assert load(tmp_path / "g.rcr").network.vocabulary is None


def test_an_example_says_how_wide_the_input_is(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Tanh(), nn.ReLU())
    with pytest.raises(ConversionError, match="give an example of the input$"):
        to_rcr(module, tmp_path / "m.rcr")
    to_rcr(module, tmp_path / "m.rcr", example=torch.randn(5, 2, 7))
    assert load(tmp_path / "m.rcr").network.input_size == 7


class Other(nn.LSTM):
    def forward(self, *args: Any) -> Any:
        y, state = super().forward(*args)
        return y * 2, state


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (
        lambda: nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)),
        "module.1 must be a layer that streams, got BatchNorm1d; recurra takes ",
    ),
    (
        lambda: nn.LSTM(3, 4, bidirectional=True),
        "module must run forward only to stream, got bidirectional=True: it needs",
    ),
    (
        lambda: recurra.Stack([BOTH()]),
        (
            "module.0 must be able to stream, got Bidirectional: a bidirectional layer needs the"
            " whole future"
        ),
    ),
    (
        lambda: nn.Sequential(nn.Tanh(), nn.Linear(3, 3)),
        "module.0 must come after a layer that says how wide it is, got Tanh first",
    ),
    (
        lambda: nn.LayerNorm((3, 4)),
        "module must be a LayerNorm over the last axis, got one over (3, 4)",
    ),
    (
        lambda: nn.Embedding(3, 4, max_norm=1.0),
        "module must be an embedding without max_norm, got max_norm=1.0",
    ),
    (lambda: nn.Identity(), "module must hold layers that compute something, got none"),
    (lambda: Other(3, 4), "module must compute what its layers say, got numbers that differ by "),
]


def BOTH() -> recurra.Bidirectional:
    return recurra.Bidirectional(*(recurra.Recurrent(recurra.cells.GRU(), 3, 4) for _ in range(2)))


@pytest.mark.parametrize(("make", "text"), REFUSED, ids=[text[:60] for _, text in REFUSED])
def test_what_cannot_be_taken_is_named(make: Callable[[], Any], text: str) -> None:
    with pytest.raises(ConversionError) as raised:
        network_of(make())
    assert str(raised.value).startswith(text)


def test_weights_that_are_not_finite_and_other_things_are_refused() -> None:
    layer = nn.Linear(2, 2)
    nn.init.constant_(layer.bias, float("nan"))
    with pytest.raises(
        ConversionError, match="module.bias must be finite, got a weight that is not"
    ):
        network_of(layer)
    with pytest.raises(
        ArgumentError, match="module must be a torch.nn.Module or the path of an ONNX file, got int"
    ):
        network_of(3)  # type: ignore[arg-type]
    assert network_of(Other(3, 4), check=False).output_size == 4
