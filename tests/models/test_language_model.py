"""The language model equals the same net written with torch.nn, and says what is wrong with its
arguments.
"""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra import cells
from recurra import state as states
from recurra.errors import ArgumentError, DataError, DtypeError, ShapeError
from recurra.models import Characters, LanguageModel
from recurra.models.language_model import CELLS
from tests.cells.zoo import CoupledLSTM, assert_close

V, T, B = 7, 9, 3


def tokens(steps: int = T, rows: int = B, size: int = V) -> Tensor:
    return torch.randint(size, (steps, rows), generator=torch.Generator().manual_seed(steps))


def randomised(model: LanguageModel) -> LanguageModel:
    """Every weight drawn, so that no bias is zero by chance of the start."""
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(0.5 * torch.randn(weight.shape, generator=generator))
    return model


def by_hand(model: LanguageModel, x: Tensor) -> Tensor:
    """The same net in torch.nn, its weights taken one by one."""
    layers, hidden = model.options["layers"], model.options["hidden"]
    net = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[model.options["cell"]](
        model.options["embed"], hidden, layers
    )
    weights = dict(model.named_parameters())
    for layer in range(layers):
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(net, f"{name}_l{layer}").data.copy_(
                weights[f"recurrent.layers.{2 * layer}.{name}"].data
            )
    h, _ = net(F.embedding(x, weights["embedding.weight"]))
    if "bottleneck.weight" in weights:
        h = h @ weights["bottleneck.weight"].T + weights["bottleneck.bias"]
    decoder = weights["embedding.weight"] if model.options["tied"] else weights["decoder"]
    return h @ decoder.T + weights["decoder_bias"]


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize(
    ("embed", "hidden", "tied"), [(5, 5, True), (4, 6, True), (4, 6, False), (5, 5, False)]
)
def test_logits_equal_torch_nn(cell: str, embed: int, hidden: int, tied: bool) -> None:
    model = randomised(LanguageModel(V, embed, hidden, 2, cell, dropout=0.0, tied=tied))
    assert ("bottleneck.weight" in model.state_dict()) == (tied and embed != hidden)
    assert ("decoder" in model.state_dict()) == (not tied)
    expected, x = by_hand(model, tokens()), tokens()
    assert_close(model(x)[0], expected)
    y = tokens(T + 1)[1:]
    assert_close(model.loss(x, y)[0], F.cross_entropy(expected.flatten(0, 1), y.flatten()))


def test_dropout_acts_between_layers_in_training_only() -> None:
    model = randomised(LanguageModel(V, 4, 4, 3, "gru", dropout=0.5))
    assert [type(layer).__name__ for layer in model.recurrent.layers] == [
        "Recurrent",
        "Dropout",
        "Recurrent",
        "Dropout",
        "Recurrent",
    ]
    x, seen = tokens(), []
    for layer in (1, 3):
        model.recurrent.layers[layer].register_forward_hook(
            lambda _, given, out: seen.append((given[0], out))
        )
    model.eval()(x)
    assert all(torch.equal(given, out) for given, out in seen) and len(seen) == 2
    seen.clear()
    model.train()(x)
    for given, out in seen:
        kept = out != 0
        assert 0 < int((~kept).sum()) < kept.numel()
        assert_close(out[kept], 2 * given[kept])


def test_loss_is_in_nats() -> None:
    model = LanguageModel(V, 4, 4)
    with torch.no_grad():
        model.decoder_bias.zero_()
        model.embedding.weight.zero_()
    loss, _ = model.eval().loss(tokens(), tokens())
    assert loss.item() == pytest.approx(torch.log(torch.tensor(float(V))).item(), abs=1e-12)


def test_ignored_targets_are_not_counted() -> None:
    model = randomised(LanguageModel(V, 4, 4)).eval()
    x, y = tokens(), tokens().clone()
    y[::2, 1] = -100
    y[3] = -100
    logits = model(x)[0].log_softmax(-1)
    chosen = [-logits[t, b, y[t, b]] for t in range(T) for b in range(B) if y[t, b] >= 0]
    assert_close(model.loss(x, y)[0], torch.stack(chosen).mean())
    assert_close(model.loss(x, y.int())[0], torch.stack(chosen).mean())


def test_the_loss_of_no_target_is_zero_with_zero_gradient() -> None:
    model = LanguageModel(V, 4, 4)
    loss, _ = model.loss(tokens(), torch.full((T, B), -100))
    loss.backward()
    assert loss.item() == 0.0 and all(
        not bool(weight.grad.any()) for weight in model.parameters() if weight.grad is not None
    )


MODELS: dict[str, Any] = {name: name for name in CELLS} | {
    "own": CoupledLSTM(),
    "projected": cells.ProjectedLSTM(3),
    "zoneout": cells.Zoneout(cells.LSTM(), h=0.2, c=0.1),
}


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("cell", MODELS.values(), ids=MODELS)
def test_steps_equal_chunks_equal_whole(cell: Any, tied: bool) -> None:
    model = randomised(LanguageModel(V, 4, 5, 2, cell, tied=tied)).eval()
    x = tokens()
    whole, final = model(x)
    assert whole.shape == (T, B, V)
    state, steps = None, []
    for x_t in x:
        logits, state = model.step(x_t, state)
        steps.append(logits)
    assert_close((torch.stack(steps), state), (whole, final))
    state, chunks = None, []
    for part in x.split([1, 5, 3]):
        logits, state = model(part, state)
        chunks.append(logits)
    assert_close((torch.cat(chunks), state), (whole, final))


@pytest.mark.parametrize("cell", MODELS.values(), ids=MODELS)
def test_gradient_reaches_every_parameter(cell: Any) -> None:
    for tied in (True, False):
        model = randomised(LanguageModel(V, 4, 5, 2, cell, tied=tied)).train()
        model.loss(tokens(), tokens(T + 1)[1:])[0].backward()
        for name, weight in model.named_parameters():
            assert weight.grad is not None and bool(weight.grad.any()), name


def test_a_row_past_its_length_and_after_a_reset() -> None:
    model = randomised(LanguageModel(V, 4, 5)).eval()
    x, lengths = tokens(), torch.tensor([T, 4, 1])
    logits, final = model(x, lengths=lengths)
    for row, length in enumerate(lengths.tolist()):
        alone, state = model(x[:length, row : row + 1])
        assert_close(logits[:length, row : row + 1], alone)
        assert_close(states.select(final, [row]), state)
    resets = torch.zeros(T, B, dtype=torch.bool)
    resets[4, 1] = True
    logits, final = model(x, resets=resets)
    alone, state = model(x[4:, 1:2])
    assert_close((logits[4:, 1:2], states.select(final, [1])), (alone, state))
    assert_close(logits[:, :1], model(x[:, :1])[0])
    assert_close(
        model.loss(x, x, resets=resets)[0], F.cross_entropy(logits.flatten(0, 1), x.flatten())
    )


def test_int32_tokens_and_a_state_are_taken() -> None:
    model = randomised(LanguageModel(V, 4, 5)).eval()
    _, state = model(tokens(4))
    assert_close(model(tokens().int(), state)[0], model(tokens(), state)[0])
    assert not torch.equal(model(tokens(), state)[0], model(tokens())[0])
    assert_close(
        model.loss(tokens(), tokens(), state)[0],
        model.cross_entropy(model(tokens(), state)[0], tokens()),
    )


def test_parameters_of_the_textbook_size() -> None:
    """2 x 256 LSTM, embedding 128, 65 characters: 65*128 + 4*(256*(128 + 256) + 2*256) + 4*(256*512
    + 2*256) + 65*256 + 65.
    """
    model = LanguageModel(65, embed=128, hidden=256, layers=2, tied=False)
    assert sum(weight.numel() for weight in model.parameters()) == 8320 + 395_264 + 526_336 + 16_705


def test_a_tied_model_is_smaller_by_its_decoder() -> None:
    def count(tied: bool) -> int:
        return sum(weight.numel() for weight in LanguageModel(11, 6, 6, tied=tied).parameters())

    assert count(False) - count(True) == 11 * 6


def test_a_copy_shares_nothing() -> None:
    model = randomised(LanguageModel(V, 4, 5))
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.embedding.weight.zero_()
    assert bool(model.embedding.weight.any())


WRONG: list[tuple[dict[str, Any], str]] = [
    *(
        ({name: value}, f"{name} must be a positive whole number, got {value!r}")
        for name in ("vocab_size", "embed", "hidden", "layers")
        for value in (0, -3, 2.0, True, "4")
    ),
    (
        {"cell": "lstmm"},
        (
            "cell must be one of 'gru', 'layer_norm_gru', 'layer_norm_lstm', 'lstm', 'min_gru',"
            " 'min_lstm', 'peephole_lstm', 'reset_before_gru', 'rnn', got 'lstmm'; did you mean"
            " 'lstm'?"
        ),
    ),
    (
        {"cell": cells.LSTM},
        (
            "cell must be a cell, got <class 'recurra.cells.lstm.LSTM'>; write"
            " recurra.cells.LSTM(), for example"
        ),
    ),
    *(
        ({"dropout": value}, f"dropout must be a number in [0, 1), got {value!r}")
        for value in (-0.1, 1.0, float("nan"), True, "0.1", None)
    ),
    (
        {"vocabulary": Characters.of("abc")},
        "vocab_size must be the size of the vocabulary, 3, got 7",
    ),
]


@pytest.mark.parametrize(("options", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}$"):
        LanguageModel(**{"vocab_size": V, "embed": 4, "hidden": 5} | options)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (torch.zeros(3, dtype=torch.long), ShapeError, "x must have shape (T, B), got (3,)"),
        (
            torch.zeros(3, 2, 1, dtype=torch.long),
            ShapeError,
            "x must have shape (T, B), got (3, 2, 1)",
        ),
        ([[1, 2]], ShapeError, "x must have shape (T, B), got list"),
        (
            torch.zeros(3, 2, dtype=torch.float64),
            DtypeError,
            "x must hold tokens as int64, got torch.float64",
        ),
        (torch.tensor([[V]]), DataError, "x must hold tokens in 0..6, got 7"),
        (torch.tensor([[-1, 9]]), DataError, "x must hold tokens in 0..6, got -1"),
        (
            torch.zeros(0, 2, dtype=torch.long),
            ShapeError,
            "x must have at least one step and one row, got shape (0, 2, 4)",
        ),
    ],
)
def test_tokens_are_checked(x: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        LanguageModel(V, 4, 5)(x)


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (
            torch.zeros(T, dtype=torch.long),
            ShapeError,
            "y must have shape (9, 3), as the logits, got (9,)",
        ),
        (
            torch.zeros(B, T, dtype=torch.long),
            ShapeError,
            "y must have shape (9, 3), as the logits, got (3, 9)",
        ),
        (
            torch.zeros(T, B, dtype=torch.float64),
            DtypeError,
            "y must hold tokens as int64, got torch.float64",
        ),
        (torch.full((T, B), V), DataError, "y must hold tokens in 0..6, got 7"),
        (torch.full((T, B), -1), DataError, "y must hold tokens in 0..6, got -1"),
    ],
)
def test_targets_are_checked(y: Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        LanguageModel(V, 4, 5).loss(tokens(), y)


def test_a_state_of_another_batch_is_refused() -> None:
    model = LanguageModel(V, 4, 5)
    _, state = model(tokens(rows=2))
    with pytest.raises(ShapeError, match=re.escape("state.h must have shape (3, 5), got (2, 5)")):
        model(tokens(), state)
