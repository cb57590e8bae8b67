"""Against Keras itself, with its torch backend."""

from __future__ import annotations

import os
import re
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np
import pytest
import torch

import recurra
from recurra import cells
from recurra.convert import Backward, from_keras, from_keras_weights, to_keras_weights
from recurra.convert.onnx_cells import SIGMOID, Activation, OnnxGRU, OnnxLSTM, OnnxRNN
from recurra.errors import ArgumentError, ConversionError

keras = pytest.importorskip("keras")
# Keras' own get_weights does this under NumPy 2 with its torch backend.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

B, T, I, H = 3, 7, 5, 4
BOUND = {"float32": 1e-6, "float64": 1e-12}
HARD, RELU = Activation("HardSigmoid", 1 / 6, 0.5), Activation("Relu")
FUSED = ("LSTM", "GRU reset_after")
"""What Keras hands to PyTorch's own operator. The rest it multiplies in float32 whatever the dtype
(outside TensorFlow its float64 is not one), so there the float64 bound is held by a transcription
of its equations.
"""
FORMS = {
    "SimpleRNN": ("SimpleRNN", {}, cells.Elman()),
    "SimpleRNN relu": ("SimpleRNN", {"activation": "relu"}, cells.Elman("relu")),
    "LSTM": ("LSTM", {}, cells.LSTM()),
    "GRU reset_after": ("GRU", {"reset_after": True}, cells.GRU()),
    "GRU reset before": ("GRU", {"reset_after": False}, cells.ResetBeforeGRU()),
}
OTHERS = {
    "SimpleRNN hard_sigmoid": ("SimpleRNN", {"activation": "hard_sigmoid"}, OnnxRNN(HARD)),
    "SimpleRNN linear": (
        "SimpleRNN",
        {"activation": "linear"},
        OnnxRNN(Activation("Affine", 1.0, 0.0)),
    ),
    "LSTM hard_sigmoid": ("LSTM", {"recurrent_activation": "hard_sigmoid"}, OnnxLSTM(HARD)),
    "LSTM relu": ("LSTM", {"activation": "relu"}, OnnxLSTM(SIGMOID, RELU, RELU)),
    "LSTM both": (
        "LSTM",
        {"activation": "hard_sigmoid", "recurrent_activation": "relu"},
        OnnxLSTM(RELU, HARD, HARD),
    ),
    "GRU hard_sigmoid": (
        "GRU",
        {"recurrent_activation": "hard_sigmoid"},
        OnnxGRU(HARD, linear_before_reset=True),
    ),
    "GRU hard_sigmoid, reset before": (
        "GRU",
        {"recurrent_activation": "hard_sigmoid", "reset_after": False},
        OnnxGRU(HARD),
    ),
    "GRU relu": ("GRU", {"activation": "relu"}, OnnxGRU(SIGMOID, RELU, linear_before_reset=True)),
    "GRU both, reset before": (
        "GRU",
        {"activation": "hard_sigmoid", "recurrent_activation": "relu", "reset_after": False},
        OnnxGRU(RELU, HARD),
    ),
}
FORMS |= OTHERS


def keras_layer(
    form: str, dtype: str = "float64", bidirectional: bool = False, **options: Any
) -> Any:
    """A built Keras layer with random weights, biases included."""
    kind, own, _ = FORMS[form]
    layer = getattr(keras.layers, kind)(
        H, return_sequences=True, return_state=True, dtype=dtype, **own, **options
    )
    layer = keras.layers.Bidirectional(layer, dtype=dtype) if bidirectional else layer
    layer.build((B, T, I))
    rng = np.random.default_rng(3)
    layer.set_weights(
        [0.5 * rng.standard_normal(tuple(w.shape)).astype(dtype) for w in layer.weights]
    )
    return layer


def compare(layer: Any, ours: torch.nn.Module, dtype: str, *, first: bool = True) -> None:
    """Outputs and final states of both on one input, from a first state of ones halved."""
    exact = isinstance(cell_of(ours), (cells.LSTM, cells.GRU))
    bound = BOUND[dtype if exact else "float32"]
    ours = ours.to(getattr(torch, dtype))
    x = torch.randn(T, B, I, generator=torch.Generator().manual_seed(5), dtype=torch.float64).to(
        getattr(torch, dtype)
    )
    names, both = cell_of(ours).state, isinstance(ours, recurra.Bidirectional)
    state = [torch.full((B, H), 0.5, dtype=x.dtype) for _ in names] if first else None
    y, *final = layer(x.transpose(0, 1), initial_state=state and (state * 2 if both else state))
    mine, after = ours(x, state and ((tuple(state), tuple(state)) if both else tuple(state)))
    flat = [value for part in after for value in part] if both else list(after)
    for left, right in zip([mine.transpose(0, 1), *flat], [y, *final], strict=True):
        assert left.dtype == right.dtype
        assert (left - right).abs().max() <= bound * max(1.0, right.abs().max().item())


def cell_of(ours: torch.nn.Module) -> cells.Cell:
    return next(module.cell for module in ours.modules() if isinstance(module, recurra.Recurrent))


def printed(form: str, arrays: list[np.ndarray], x: np.ndarray) -> np.ndarray:
    """Keras' equations as its cells' `call` has them, with biases."""
    kernel, recurrent, bias = arrays
    sigmoid, h, outputs = (lambda a: 1 / (1 + np.exp(-a))), np.zeros((x.shape[1], H)), []
    for x_t in x:
        if form.startswith("SimpleRNN"):
            a = x_t @ kernel + bias + h @ recurrent
            h = np.maximum(a, 0) if "relu" in form else np.tanh(a)
        else:
            x_z, x_r, x_h = np.split(x_t @ kernel + bias, 3, -1)
            r_z, r_r, r_h = np.split(recurrent, 3, -1)
            z, r = sigmoid(x_z + h @ r_z), sigmoid(x_r + h @ r_r)
            h = z * h + (1 - z) * np.tanh(x_h + (r * h) @ r_h)
        outputs.append(h)
    return np.stack(outputs)


@pytest.mark.parametrize("form", [form for form in FORMS if form not in (*FUSED, *OTHERS)])
def test_float64_equals_kerass_equations(form: str) -> None:
    layer = keras_layer(form)
    x = torch.randn(T, B, I, dtype=torch.float64)
    wanted = printed(form, layer.get_weights(), x.numpy())
    assert np.abs(from_keras(layer)(x)[0].detach().numpy() - wanted).max() <= 1e-12 * max(
        1.0, np.abs(wanted).max()
    )


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("options", [{}, {"use_bias": False}, {"go_backwards": True}], ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_from_keras_gives_kerass_numbers_and_back(
    form: str, options: dict[str, Any], dtype: str
) -> None:
    layer = keras_layer(form, dtype, **options)
    ours = from_keras(layer)
    inner = ours.layer if options.get("go_backwards") else ours
    assert inner.cell == FORMS[form][2] and isinstance(ours, Backward) == (
        "go_backwards" in options
    )
    compare(layer, ours, dtype)
    for there, back in zip(layer.get_weights(), to_keras_weights(ours), strict=True):
        assert there.dtype == back.dtype and np.array_equal(there, back)


@pytest.mark.parametrize("form", FORMS)
def test_bidirectional_gives_kerass_numbers_and_back(form: str) -> None:
    layer = keras_layer(form, bidirectional=True)
    ours = from_keras(layer)
    compare(layer, ours, "float64")
    for there, back in zip(layer.get_weights(), to_keras_weights(ours), strict=True):
        assert np.array_equal(there, back)


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("biases", [0, 1, 2])
@pytest.mark.parametrize("form", FORMS)
def test_to_keras_gives_our_numbers(form: str, biases: int, dtype: str) -> None:
    ours = recurra.Recurrent(
        FORMS[form][2], I, H, biases=biases, init="torch", dtype=getattr(torch, dtype)
    )
    layer = keras_layer(form, dtype, use_bias=biases > 0)
    layer.set_weights(to_keras_weights(ours))
    compare(layer, ours, dtype, first=False)


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_to_keras_takes_torch_like_layers(name: str, bidirectional: bool) -> None:
    ours = getattr(recurra, name)(
        I, H, bidirectional=bidirectional, init="torch", dtype=torch.float64
    )
    layer = keras_layer(
        {"RNN": "SimpleRNN", "GRU": "GRU reset_after"}.get(name, name), bidirectional=bidirectional
    )
    layer.set_weights(to_keras_weights(ours))
    x = torch.randn(T, B, I, dtype=torch.float64)
    bound = BOUND["float32" if name == "RNN" else "float64"]
    torch.testing.assert_close(
        ours(x)[0], layer(x.transpose(0, 1))[0].transpose(0, 1), rtol=0, atol=bound
    )


def test_one_direction_with_a_bias_gives_both_one() -> None:
    layers = [
        recurra.Recurrent(cells.LSTM(), I, H, biases=biases, init="torch", dtype=torch.float64)
        for biases in (1, 0)
    ]
    arrays = to_keras_weights(recurra.Bidirectional(*layers))
    assert len(arrays) == 6 and not arrays[5].any() and arrays[2].all()


@pytest.mark.parametrize("go_backwards", [False, True])
def test_lengths_are_kerass_mask(go_backwards: bool) -> None:
    layer = keras_layer("LSTM", go_backwards=go_backwards, zero_output_for_mask=True)
    x, lengths = torch.randn(T, B, I, dtype=torch.float64), torch.tensor([T, 1, 4])
    mask = torch.arange(T) < lengths[:, None]
    y, h, c = layer(x.transpose(0, 1), mask=mask)
    mine, after = from_keras(layer)(x, lengths=lengths)
    for left, right in zip([mine.transpose(0, 1), *after], [y, h, c], strict=True):
        torch.testing.assert_close(
            left, right, rtol=0, atol=BOUND["float32"]
        )  # a mask leads Keras past the fused operator


def test_from_keras_weights_needs_no_layer_and_copies() -> None:
    layer = keras_layer("GRU reset before")
    arrays = layer.get_weights()
    ours = from_keras_weights("GRU", arrays, reset_after=False, recurrent_activation="sigmoid")
    kept = ours.weight_ih.detach().clone()
    arrays[0][:] = 0
    assert torch.equal(ours.weight_ih, kept)
    relu = from_keras_weights(
        "SimpleRNN", [np.ones((2, 3)), np.ones((3, 3))], activation="relu", go_backwards=True
    )
    assert isinstance(relu, Backward) and relu.layer.cell == cells.Elman("relu")


def test_backward_resets_and_refuses_to_stream() -> None:
    layer = recurra.Recurrent(cells.GRU(), I, H, dtype=torch.float64)
    x, resets = torch.randn(T, 1, I, dtype=torch.float64), torch.zeros(T, 1, dtype=torch.bool)
    resets[3] = True
    whole = Backward(layer)(x, resets=resets)[0]
    parts = [Backward(layer)(part)[0] for part in (x[3:], x[:3])]
    torch.testing.assert_close(whole, torch.cat(parts), rtol=0, atol=1e-12)
    text = (
        "step must be called on a module that can stream, got Backward: a layer that runs backward"
        " needs the whole future"
    )
    with pytest.raises(ArgumentError, match=text):
        Backward(layer).step(x[0])
    assert "backward" in recurra.Stack([Backward(layer)]).streaming_obstacle()
    with pytest.raises(ArgumentError, match="layer must be a Recurrent layer, got Linear"):
        Backward(torch.nn.Linear(3, 4))


@pytest.mark.parametrize(
    ("form", "options", "message"),
    [
        (
            "LSTM",
            {"activation": "selu"},
            (
                "activation must be one of 'hard_sigmoid', 'linear', 'relu', 'sigmoid', 'tanh', got"
                " 'selu'"
            ),
        ),
        (
            "SimpleRNN",
            {"activation": "softplus"},
            "activation must be one of 'hard_sigmoid', 'linear', 'relu', 'sigmoid', 'tanh', got",
        ),
        (
            "LSTM",
            {"recurrent_activation": "softsign"},
            "recurrent_activation must be one of 'hard_sigmoid', 'linear', 'relu', 'sigm",
        ),
        (
            "LSTM",
            {"dropout": 0.25},
            "dropout must be 0, got 0.25; it acts in training only: from_keras_weights takes",
        ),
        (
            "GRU reset_after",
            {"recurrent_dropout": 0.5},
            "recurrent_dropout must be 0, got 0.5; it acts in training only",
        ),
    ],
)
def test_options_with_other_equations_are_refused(
    form: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConversionError, match=re.escape(message)):
        from_keras(keras_layer(form, **options))


def test_other_layers_are_refused() -> None:
    with pytest.raises(
        ConversionError,
        match=(
            "layer must be one of 'CuDNNGRU', 'CuDNNLSTM', 'GRU', 'LSTM', 'SimpleRNN', got 'Dense'"
        ),
    ):
        from_keras(keras.layers.Dense(3))
    with pytest.raises(
        ConversionError,
        match=r"kind must be one of 'GRU', 'LSTM', 'SimpleRNN', got 'LTSM'; did you mean 'LSTM'\?",
    ):
        from_keras_weights("LTSM", [])
    with pytest.raises(
        ConversionError,
        match=(
            "weights must be kernel, recurrent_kernel and perhaps bias, got 0 arrays; build the"
            " layer"
        ),
    ):
        from_keras(keras.layers.LSTM(3))


def test_other_bidirectional_wrappers_are_refused() -> None:
    layer = keras.layers.Bidirectional(keras.layers.LSTM(H), merge_mode="sum")
    with pytest.raises(
        ConversionError,
        match=(
            "merge_mode must be 'concat', got 'sum'; convert forward_layer and backward_layer alone"
        ),
    ):
        from_keras(layer)
    backward = keras_layer("LSTM", go_backwards=True)
    swapped = SimpleNamespace(merge_mode="concat", forward_layer=backward, backward_layer=backward)
    with pytest.raises(
        ConversionError, match="go_backwards must be False forward and True backward, got otherwise"
    ):
        from_keras(type("Bidirectional", (SimpleNamespace,), {})(**vars(swapped)))


@pytest.mark.parametrize(
    ("kind", "shapes", "options", "message"),
    [
        ("LSTM", [(5, 15), (4, 16)], {}, "kernel must have shape (5, 16), got (5, 15)"),
        ("LSTM", [(5, 16), (4, 12)], {}, "recurrent_kernel must have shape (4, 16), got (4, 12)"),
        ("LSTM", [(5, 16), (4, 16), (2, 16)], {}, "bias must have shape (16,), got (2, 16)"),
        (
            "GRU",
            [(5, 12), (4, 12), (12,)],
            {"reset_after": True},
            "bias must have shape (2, 12), got (12,); reset_after says which form",
        ),
        ("LSTM", [(5, 15), (4, 16), (32,)], {}, "kernel must have shape (5, 16), got (5, 15)"),
        (
            "GRU",
            [(5, 12), (4, 12), (2, 12)],
            {"reset_after": False},
            "bias must have shape (12,), got (2, 12); reset_after says",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    kind: str, shapes: list[Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConversionError, match=re.escape(message)):
        from_keras_weights(
            kind, [np.zeros(shape) for shape in shapes], recurrent_activation="sigmoid", **options
        )


def test_cells_that_keras_does_not_have_are_refused() -> None:
    with pytest.raises(
        ConversionError,
        match=r"cell must be one that Keras has \(Elman, LSTM, GRU, ResetBeforeGRU, .*\), got Peep",
    ):
        to_keras_weights(recurra.Recurrent(cells.PeepholeLSTM(), I, H))
    for cell in (
        OnnxLSTM(clip=1.0),
        OnnxLSTM(input_forget=True),
        OnnxLSTM(h=RELU),
        OnnxGRU(Activation("Elu", 1.0)),
        OnnxRNN(SIGMOID, 2.0),
    ):
        with pytest.raises(
            ConversionError, match=r"cell must be one that Keras has \(Elman, .*\), got Onnx"
        ):
            to_keras_weights(recurra.Recurrent(cell, I, H))
    both = recurra.Bidirectional(
        recurra.Recurrent(cells.GRU(), I, H), recurra.Recurrent(cells.ResetBeforeGRU(), I, H)
    )
    with pytest.raises(
        ConversionError,
        match=r"cell must be the same both ways in Keras, got GRU\(\) and ResetBeforeGRU\(\)",
    ):
        to_keras_weights(both)
    with pytest.raises(ConversionError, match="num_layers must be 1 for Keras, got 2"):
        to_keras_weights(recurra.GRU(I, H, num_layers=2))
