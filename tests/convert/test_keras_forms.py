"""Arrays of Keras' older layers: CuDNN's order, and activations that have to be told."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch

from recurra.cells import GRU, LSTM, Elman, ResetBeforeGRU
from recurra.convert import from_keras, from_keras_weights
from recurra.convert.onnx_cells import Activation
from recurra.errors import ConversionError
from tests.network.nets import numbers

T, B, I, H = 6, 2, 3, 4
GATES = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1}
X = numbers(T, B, I).astype(np.float64)


def sigmoid(a: Any) -> Any:
    return 1 / (1 + np.exp(-a))


def hard_2(a: Any) -> Any:
    """Keras 2: K.hard_sigmoid."""
    return np.clip(0.2 * a + 0.5, 0, 1)


def hard_3(a: Any) -> Any:
    """Keras 3: relu6(x + 3) / 6."""
    return np.clip(a + 3, 0, 6) / 6


FUNCTIONS: dict[Any, Any] = {
    ("sigmoid", None): sigmoid,
    ("hard_sigmoid", 2): hard_2,
    ("hard_sigmoid", 3): hard_3,
    ("relu", None): lambda a: np.maximum(a, 0),
    ("tanh", None): np.tanh,
    ("linear", None): lambda a: a,
}


def arrays(kind: str, bias: tuple[int, ...] | None) -> list[np.ndarray]:
    shapes = [(I, GATES[kind] * H), (H, GATES[kind] * H), *([bias] if bias else [])]
    return [numbers(*shape, seed=seed).astype(np.float64) for seed, shape in enumerate(shapes)]


def lstm(weights: Any, gate: Any, act: Any) -> Any:
    kernel, recurrent, bias = weights
    h, c, outputs = np.zeros((B, H)), np.zeros((B, H)), []
    for x in X:
        i, f, g, o = np.split(x @ kernel + h @ recurrent + bias, 4, 1)
        c = gate(f) * c + gate(i) * act(g)
        h = gate(o) * act(c)
        outputs.append(h)
    return np.stack(outputs)


def gru(weights: Any, gate: Any, act: Any) -> Any:
    """After the product where there are two biases, else before it."""
    kernel, recurrent, bias = weights
    h, outputs = np.zeros((B, H)), []
    for x in X:
        x_z, x_r, x_h = np.split(x @ kernel + (bias if bias.ndim == 1 else bias[0]), 3, 1)
        r_z, r_r, r_h = np.split(recurrent, 3, 1)
        b_z, b_r, b_h = np.split(np.zeros(3 * H) if bias.ndim == 1 else bias[1], 3)
        z, r = gate(x_z + h @ r_z + b_z), gate(x_r + h @ r_r + b_r)
        inner = (r * h) @ r_h if bias.ndim == 1 else r * (h @ r_h + b_h)
        h = z * h + (1 - z) * act(x_h + inner)
        outputs.append(h)
    return np.stack(outputs)


def simple(weights: Any, gate: Any, act: Any) -> Any:
    kernel, recurrent, bias = weights
    h, outputs = np.zeros((B, H)), []
    for x in X:
        h = act(x @ kernel + h @ recurrent + bias)
        outputs.append(h)
    return np.stack(outputs)


FORMS = {
    "LSTM": (lstm, "LSTM", (4 * H,)),
    "GRU": (gru, "GRU", (2, 3 * H)),
    "GRU before": (gru, "GRU", (3 * H,)),
    "SimpleRNN": (simple, "SimpleRNN", (H,)),
}


def gives(layer: Any) -> Any:
    return layer(torch.from_numpy(X))[0].detach().numpy()


PAIRS = [
    (act, gate)
    for act in FUNCTIONS
    for gate in FUNCTIONS
    if None in (act[1], gate[1]) or act[1] == gate[1]
]


@pytest.mark.parametrize(("act", "gate"), PAIRS, ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_every_activation_is_taken_as_keras_has_it(form: str, act: Any, gate: Any) -> None:
    run, kind, bias = FORMS[form]
    gate = ("sigmoid", None) if kind == "SimpleRNN" else gate
    weights = [0.3 * array for array in arrays(kind, bias)]
    told = {} if kind == "SimpleRNN" else {"recurrent_activation": gate[0]}
    layer = from_keras_weights(kind, weights, activation=act[0], keras=act[1] or gate[1], **told)
    wanted = run(weights, FUNCTIONS[gate], FUNCTIONS[act])
    assert np.abs(gives(layer) - wanted).max() <= 1e-12 * max(1.0, np.abs(wanted).max())


def fortran(weights: list[np.ndarray]) -> list[np.ndarray]:
    """Arrays of the plain layer as CuDNN has them, element by element."""
    kernel, recurrent, bias = weights
    gates = kernel.shape[1] // H
    turned, back = np.empty_like(kernel), np.empty_like(recurrent)
    for gate in range(gates):
        block = kernel[:, gate * H : (gate + 1) * H]
        column_by_column = [block[i, j] for j in range(H) for i in range(I)]
        for place, value in enumerate(column_by_column):
            turned[place // H, gate * H + place % H] = value
        for i in range(H):
            for j in range(H):
                back[j, gate * H + i] = recurrent[i, gate * H + j]
    return [turned, back, bias]


def test_arrays_of_a_cudnn_lstm() -> None:
    kernel, recurrent, bias = arrays("LSTM", (8 * H,))
    layer = from_keras_weights("LSTM", fortran([kernel, recurrent, bias]))
    wanted = lstm([kernel, recurrent, bias[: 4 * H] + bias[4 * H :]], sigmoid, np.tanh)
    assert layer.cell == LSTM() and np.abs(gives(layer) - wanted).max() < 1e-12  # type: ignore[union-attr]


def test_arrays_of_a_cudnn_gru() -> None:
    kernel, recurrent, bias = arrays("GRU", (6 * H,))
    layer = from_keras_weights(
        "GRU", fortran([kernel, recurrent, bias]), recurrent_activation="sigmoid", reset_after=True
    )
    wanted = gru([kernel, recurrent, bias.reshape(2, -1)], sigmoid, np.tanh)
    assert layer.cell == GRU() and np.abs(gives(layer) - wanted).max() < 1e-12  # type: ignore[union-attr]


def test_a_cudnn_layer_is_taken_as_it_is() -> None:
    class CuDNNLSTM:
        def get_config(self) -> dict[str, Any]:
            return {"units": H}

        def get_weights(self) -> list[np.ndarray]:
            return fortran(arrays("LSTM", (8 * H,)))

    kernel, recurrent, bias = arrays("LSTM", (8 * H,))
    assert (
        np.abs(
            gives(from_keras(CuDNNLSTM()))
            - lstm([kernel, recurrent, bias[: 4 * H] + bias[4 * H :]], sigmoid, np.tanh)
        ).max()
        < 1e-12
    )


def test_a_layer_of_keras_2_brings_its_own_hard_sigmoid() -> None:
    class GRU:
        recurrent_activation = staticmethod(hard_2)

        def get_config(self) -> dict[str, Any]:
            return {
                "activation": "tanh",
                "recurrent_activation": "hard_sigmoid",
            }  # Keras 2.0 had no reset_after

        def get_weights(self) -> list[np.ndarray]:
            return arrays("GRU", (3 * H,))

    layer = from_keras(GRU())
    assert layer.cell.f == Activation("HardSigmoid", 0.2, 0.5)  # type: ignore[union-attr]
    assert np.abs(gives(layer) - gru(arrays("GRU", (3 * H,)), hard_2, np.tanh)).max() < 1e-12
    GRU.recurrent_activation = staticmethod(lambda a: a)
    with pytest.raises(
        ConversionError, match="^keras must say whose hard_sigmoid it is, 2 or 3, got None; "
    ):
        from_keras(GRU())


def test_the_form_of_a_gru_is_read_off_its_bias() -> None:
    for bias, cell in (((2, 3 * H), GRU()), ((3 * H,), ResetBeforeGRU())):
        layer = from_keras_weights("GRU", arrays("GRU", bias), recurrent_activation="sigmoid")
        assert layer.cell == cell  # type: ignore[union-attr]
    assert from_keras_weights("SimpleRNN", arrays("SimpleRNN", None)).cell == Elman()  # type: ignore[union-attr]


CUDNN = "for the arrays of a CuDNN"
ASKED: list[tuple[str, Any, dict[str, Any], str]] = [
    (
        "LSTM",
        (4 * H,),
        {},
        (
            "recurrent_activation must be given for LSTM, got none; 'hard_sigmoid' is the default"
            " up to Keras 2.2, "
        ),
    ),
    (
        "GRU",
        (2, 3 * H),
        {},
        (
            "recurrent_activation must be given for GRU, got none; 'hard_sigmoid' is the default up"
            " to Keras 2.2, "
        ),
    ),
    (
        "LSTM",
        (4 * H,),
        {"recurrent_activation": "hard_sigmoid"},
        "keras must say whose hard_sigmoid it is, 2 or 3, got None; keras=2 for ",
    ),
    (
        "LSTM",
        (4 * H,),
        {"recurrent_activation": "hard_sigmoid", "keras": 1},
        "keras must say whose hard_sigmoid it is, 2 or 3, got 1; ",
    ),
    (
        "LSTM",
        (4 * H,),
        {"recurrent_activation": "relus"},
        "recurrent_activation must be one of 'hard_sigmoid', 'linear', 'relu', ",
    ),
    (
        "LSTM",
        (4 * H,),
        {"recurrent_activation": {"class_name": "own"}},
        "recurrent_activation must be one of 'hard_sigmoid', ",
    ),
    (
        "SimpleRNN",
        (H,),
        {"recurrent_activation": "sigmoid"},
        "recurrent_activation must be left out for SimpleRNN, which has no gates",
    ),
    (
        "GRU",
        None,
        {"recurrent_activation": "sigmoid"},
        "reset_after must be given for a GRU without bias, got none; True is the ",
    ),
    (
        "LSTM",
        (8 * H,),
        {"recurrent_activation": "hard_sigmoid"},
        f"recurrent_activation must be 'sigmoid' {CUDNN}LSTM, ",
    ),
    (
        "LSTM",
        (8 * H,),
        {"activation": "relu"},
        f"activation must be 'tanh' {CUDNN}LSTM, which its bias says, got 'relu'",
    ),
    (
        "GRU",
        (6 * H,),
        {"reset_after": False},
        f"reset_after must be True {CUDNN}GRU, which its bias says, got False",
    ),
]


@pytest.mark.parametrize(
    ("kind", "bias", "options", "text"), ASKED, ids=[text[:60] for *_, text in ASKED]
)
def test_what_the_arrays_do_not_say_is_asked(
    kind: str, bias: Any, options: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConversionError, match=f"^{re.escape(text)}"):
        from_keras_weights(kind, arrays(kind, bias), **options)
