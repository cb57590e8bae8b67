"""Every option of the language model: what it does, that it streams, and that it is kept."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from torch import Tensor, nn

import recurra
from recurra import cells, parity
from recurra import state as states
from recurra.errors import ArgumentError, ShapeError
from recurra.layers import LockedDropout
from recurra.models import LanguageModel, generate, load, save
from tests.cells.zoo import assert_close, tensors
from tests.models.test_language_model import B, T, V, randomised, tokens

try:
    import tomllib
except ImportError:
    import tomli as tomllib

OPTIONS: dict[str, dict[str, Any]] = {
    "widths": {"hidden": (6, 3, 5), "layers": 3},
    "zoneout": {"zoneout": (0.2, 0.1)},
    "zoneout of a gru": {"cell": "gru", "zoneout": (0.2, 0.0)},
    "locked": {"locked": True, "input_dropout": 0.3, "output_dropout": 0.4},
    "fresh": {"input_dropout": 0.3, "output_dropout": 0.4},
    "words": {"embedding_dropout": 0.3},
    "weights": {"weight_dropout": 0.5},
    "adaptive": {"tied": False, "adaptive": (2, 4), "div_value": 2.0},
    "one cutoff": {"tied": False, "adaptive": 3},
    "init": {"init": 0.1},
    "torch": {"init": "torch", "tied": False},
    "all": {
        "hidden": [8, 4],
        "locked": True,
        "input_dropout": 0.3,
        "output_dropout": 0.4,
        "embedding_dropout": 0.1,
        "weight_dropout": 0.5,
        "zoneout": [0.1, 0.2],
        "tied": False,
        "adaptive": [2, 4],
        "div_value": 2.0,
        "init": 0.5,
    },
}
every_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


def made(**options: Any) -> LanguageModel:
    return randomised(LanguageModel(**{"vocab_size": V, "embed": 4, "hidden": 5} | options))


# What holds for each


@every_option
def test_steps_equal_chunks_equal_whole(options: dict[str, Any]) -> None:
    model = made(**options).eval()
    x = tokens()
    whole, final = model(x)
    state, steps = None, []
    for x_t in x:
        logits, state = model.step(x_t, state)
        steps.append(logits)
    assert_close((torch.stack(steps), state), (whole, final))
    stream = recurra.Stream(model, batch=B)
    pushed = [stream.push(part) for part in (x[:4], x[4], x[5:])]
    assert_close(torch.cat([pushed[0], pushed[1][None], pushed[2]]), whole)
    stream.reset([1])
    assert_close(stream.push(x[0])[1], whole[0, 1])


@every_option
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_contract_holds(options: dict[str, Any], dtype: torch.dtype) -> None:
    rows = parity.verify(made(**options).to(dtype), tokens(70, 2))
    assert len(rows) > 20 and all(row.holds and row.bound is not None for row in rows), [
        row for row in rows if not row.holds
    ]


@every_option
def test_gradient_reaches_every_parameter(options: dict[str, Any]) -> None:
    model = made(**options).train()
    features = model.features(tokens(30, 20))
    (
        model.cost(features.dropped, tokens(31, 20)[1:]) + model.penalty(features, 0.1, 0.1)
    ).backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None and bool(weight.grad.any()), name


@every_option
def test_options_are_kept_by_json_toml_and_a_models_file(
    options: dict[str, Any], tmp_path: Path
) -> None:
    model = made(**options).eval()
    save(model, tmp_path / "m")
    expected = model(tokens())[0]
    for kept in (
        json.loads(json.dumps(model.options)),
        tomllib.loads(tomli_w.dumps(model.options)),
        load(tmp_path / "m").options,
    ):
        assert kept == model.options
        twin = LanguageModel(**kept).eval()
        twin.load_state_dict(model.state_dict())
        assert twin.options == model.options and torch.equal(twin(tokens())[0], expected)
    assert torch.equal(load(tmp_path / "m")(tokens())[0], expected)


@every_option
def test_forward_and_loss_are_made_of_features_logits_and_cost(options: dict[str, Any]) -> None:
    model, x, y = made(**options).eval(), tokens(), tokens(T + 1)[1:].clone()
    y[2, 1] = -100
    resets, state = torch.rand(T, B) < 0.3, model(tokens(4))[1]
    features = model.features(x, state, resets=resets)
    logits, final = model(x, state, resets=resets)
    assert_close((model.logits(features.dropped), features.state), (logits, final))
    assert torch.equal(features.raw, features.dropped)
    assert_close(model.loss(x, y, state, resets=resets), (model.cross_entropy(logits, y), final))
    assert_close(model.cost(features.dropped[3:], y[3:]), model.cross_entropy(logits[3:], y[3:]))
    ragged = model.features(x, lengths=torch.tensor([T, 4, 1]))
    assert_close(ragged.raw[:4, 1], model.features(x[:4]).raw[:, 1])
    assert not bool(ragged.raw[4:, 1].any())


@every_option
def test_sampling_and_explaining(options: dict[str, Any]) -> None:
    model, sequence = made(**options), [2]
    for _ in range(12):
        sequence.append(int(model.eval()(torch.tensor(sequence)[:, None])[0][-1, 0].argmax()))
    assert list(generate(model.train(), [2], 12, temperature=0)) == sequence[1:]
    assert recurra.explain(model, tokens()).count("(T 9, B 3, ") == model.options["layers"]


# What each does


def test_each_layer_has_its_width() -> None:
    model = LanguageModel(V, embed=4, hidden=(6, 3, 4), layers=3)
    assert [layer.hidden_size for layer in model.recurrent.layers[::2]] == [6, 3, 4] and isinstance(
        model.bottleneck, nn.Identity
    )
    assert LanguageModel(V, embed=4, hidden=(4, 3)).bottleneck.weight.shape == (4, 3)
    assert LanguageModel(V, embed=4, hidden=(4, 3), tied=False).decoder.shape == (V, 3)


def test_zoneout_by_name_equals_the_wrapper() -> None:
    named, wrapped = made(zoneout=(0.3, 0.2)), made(cell=cells.Zoneout(cells.LSTM(), h=0.3, c=0.2))
    for mode in (named.eval(), named.train()):
        wrapped.train(mode.training)
        found = []
        for model in (named, wrapped):
            torch.manual_seed(3)
            found.append(model(tokens()))
        assert_close(found[0], found[1])


def masks(model: LanguageModel, number: int, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
    """What a dropout in front of, between or (number -1) behind the layers multiplied with, and the
    state after.
    """
    seen: list[tuple[Tensor, Tensor]] = []
    part = model.output_dropout.layers[0] if number < 0 else model.recurrent.layers[number]
    handle = part.register_forward_hook(
        lambda _, given, out: seen.append((given[0], out[0] if isinstance(out, tuple) else out))
    )
    _, state = model(x, state)
    handle.remove()
    ((given, out),) = seen
    return (out / given).detach().round(decimals=9), state


@pytest.mark.parametrize(
    ("name", "number"), [("input_dropout", 0), ("dropout", 2), ("output_dropout", -1)]
)
@pytest.mark.parametrize("locked", [True, False])
def test_dropout_goes_where_its_name_says(name: str, number: int, locked: bool) -> None:
    rates = {"input_dropout": 0.2, "dropout": 0.3, "output_dropout": 0.5}
    model = made(embed=12, hidden=12, locked=locked, **rates).train()
    mask, state = masks(model, number, tokens())
    kept = mask != 0
    assert 0 < int((~kept).sum()) < kept.numel()
    assert_close(mask[kept], torch.full_like(mask[kept], 1 / (1 - rates[name])), 1e-8)
    assert torch.equal(mask, mask[:1].expand_as(mask)) == locked
    again, _ = masks(model, number, tokens(), states.redraw(states.detach(state)))
    assert not torch.equal(again[0], mask[0])
    carried, _ = masks(model, number, tokens(), state)
    assert torch.equal(carried, mask) == locked
    assert bool((masks(model.eval(), number, tokens())[0] == 1).all())


def test_locked_chunks_equal_the_whole_in_training() -> None:
    model = made(locked=True, input_dropout=0.3, output_dropout=0.4).train()
    torch.manual_seed(1)
    whole = model.features(tokens())
    torch.manual_seed(1)
    first = model.features(tokens()[:4])
    rest = model.features(tokens()[4:], first.state)
    assert_close(
        (torch.cat([first.dropped, rest.dropped]), rest.state), (whole.dropped, whole.state)
    )
    assert not torch.equal(whole.dropped, whole.raw)
    assert bool(
        (
            whole.dropped[:, 0]
            == whole.raw[:, 0]
            * states.flatten(whole.state)[1][f"state.{len(whole.state) - 1}.mask"][0]
        ).all()
    )


def test_penalties_read_what_was_dropped_and_what_was_not() -> None:
    model = made(output_dropout=0.5, locked=True).train()
    resets = torch.zeros(T, B, dtype=torch.bool)
    resets[4, 1] = True
    features = model.features(tokens(), resets=resets)
    assert_close(model.penalty(features, activation=2.0), 2 * features.dropped.square().mean())
    changes = (features.raw[1:] - features.raw[:-1]) * ~resets[1:, :, None]
    assert_close(model.penalty(features, temporal=3.0, resets=resets), 3 * changes.square().mean())
    assert float(model.penalty(features)) == 0.0


def test_embedding_dropout_drops_words_in_training_only() -> None:
    model, seen = made(embed=6, embedding_dropout=0.5), []
    x = torch.arange(V).repeat(4, 1)
    model.recurrent.register_forward_hook(lambda _, given, out: seen.append(given[0]))
    model.train()(x)
    model.eval()(x)
    share = seen[0] / seen[1]
    assert (
        torch.equal(share, share[:1, :, :1].expand_as(share))
        and 0 < int((share[0, :, 0] == 0).sum()) < V
    )
    assert_close(seen[1], model.embedding(x))


def test_weight_dropout_thins_the_recurrent_weights_in_training_only() -> None:
    model = made(hidden=16, weight_dropout=0.4).train()
    for part in model.recurrent.layers[::2]:
        share = part.weights()["weight_hh"] / part.layer.weight_hh
        assert {round(value, 12) for value in share.flatten().tolist()} == {0.0, round(1 / 0.6, 12)}
        assert part.weights()["weight_ih"] is part.layer.weight_ih
    assert not torch.equal(model(tokens())[0], model(tokens())[0])
    assert torch.equal(model.eval()(tokens())[0], model(tokens())[0])


def test_adaptive_logits_are_log_probabilities() -> None:
    model = made(tied=False, adaptive=(2, 4), div_value=2.0).eval()
    logits, _ = model(tokens())
    assert_close(logits.exp().sum(-1), torch.ones(T, B))
    assert_close(logits.log_softmax(-1), logits)
    assert (
        model.decoder is None
        and model.decoder_bias is None
        and [part[0].out_features for part in model.adaptive.tail] == [2, 1]
    )


@pytest.mark.parametrize("cell", ["lstm", "layer_norm_lstm"])
def test_init_says_where_weights_begin(cell: str) -> None:
    sizes: dict[str, Any] = {
        "vocab_size": 11,
        "embed": 8,
        "hidden": 16,
        "cell": cell,
        "tied": False,
    }
    model = LanguageModel(**sizes, init=0.05)
    layer = LanguageModel(**sizes, init="torch").recurrent.layers[2]
    for part, bound in ((model, 0.05), (layer, 16**-0.5)):
        for name, weight in part.named_parameters():
            largest = float(weight.detach().abs().max())
            assert bool((weight == 1).all()) if "gain" in name else bound / 2 < largest <= bound, (
                name
            )
    layer = LanguageModel(**sizes).recurrent.layers[2]
    assert_close(layer.weight_hh[:16].T @ layer.weight_hh[:16], torch.eye(16), 1e-6)


def test_chrono_initialisation_reaches_every_layer() -> None:
    model = LanguageModel(V, 4, 16, weight_dropout=0.5)
    recurra.init.chrono(model, 500)
    for part in model.recurrent.layers[::2]:
        i, f, _, _ = part.layer.bias_ih.detach().chunk(4)
        assert_close(i, -f)
        assert 3.0 < float(f.max()) <= 6.3 and float(f.min()) >= 0


# What is refused


WRONG: list[tuple[dict[str, Any], str]] = [
    *(
        ({name: value}, f"{name} must be a number in [0, 1), got {value!r}")
        for name in ("input_dropout", "output_dropout", "embedding_dropout", "weight_dropout")
        for value in (-0.1, 1, float("nan"), True, "0.1")
    ),
    *(
        ({"hidden": value}, f"hidden must have a width for each of the 2 layers, got {value!r}")
        for value in ((), (4,), (4, 4, 4), [4])
    ),
    ({"hidden": (4, 0)}, "hidden must be a positive whole number, got 0"),
    ({"hidden": (4, 3.0)}, "hidden must be a positive whole number, got 3.0"),
    ({"zoneout": 0.1}, "zoneout must be two rates (h, c), each in [0, 1), got 0.1"),
    (
        {"cell": "gru", "zoneout": (0.1, 0.2)},
        "zoneout must be (h, 0) for GRU(), whose state is ('h',), got (0.1, 0.2)",
    ),
    (
        {"cell": "min_gru", "weight_dropout": 0.5},
        "weight_dropout must be 0 for MinGRU(), which has no weight_hh, got 0.5",
    ),
    *(
        ({name: value}, f"{name} must be True or False, got {value!r}")
        for name in ("tied", "locked")
        for value in ("no", 1, None)
    ),
    (
        {"adaptive": (2, 4)},
        (
            "tied must be False with adaptive, whose rare words have narrower vectors, so that"
            " there is no one matrix to share, got True; pass tied=False, or leave adaptive out"
        ),
    ),
    (
        {"adaptive": (4, 2), "tied": False},
        "adaptive must be increasing whole numbers in 1..6, got [4, 2]",
    ),
    ({"adaptive": 7, "tied": False}, "adaptive must be increasing whole numbers in 1..6, got [7]"),
    (
        {"adaptive": (2, 4), "tied": False},
        (
            "adaptive must leave the last of its clusters a width, got 5 / 4^2; use fewer cutoffs,"
            " or a smaller div_value"
        ),
    ),
    (
        {"adaptive": (2, 4), "tied": False, "div_value": 0.5},
        "div_value must be a number, 1 or more, got 0.5",
    ),
    ({"div_value": 2.0}, "div_value must be left out without adaptive, got 2.0"),
    *(
        ({"init": value}, f"init must be 'default', 'torch' or a positive number, got {value!r}")
        for value in ("orthogonal", 0, -0.1, True, float("inf"), float("nan"), None)
    ),
]


@pytest.mark.parametrize(
    ("options", "message"),
    WRONG,
    ids=[f"{number} {message[:30]}" for number, (_, message) in enumerate(WRONG)],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}$"):
        LanguageModel(**{"vocab_size": V, "embed": 4, "hidden": 5} | options)


@pytest.mark.parametrize(
    "state",
    [(None,) * 3, (None,) * 5, [None] * 4, torch.zeros(3, 5)],
    ids=["3", "5", "list", "tensor"],
)
def test_a_state_of_another_model_is_refused(state: Any) -> None:
    model = LanguageModel(V, 4, 5, output_dropout=0.5)
    got = len(state) if isinstance(state, tuple) else type(state).__name__
    with pytest.raises(
        ShapeError, match=f"^state must be a tuple of 4, one for each layer, got {got}$"
    ):
        model(tokens(), state)


def test_a_mask_is_part_of_the_state_only_where_it_is_used() -> None:
    _, state = LanguageModel(V, 4, 5, locked=True, output_dropout=0.5).train()(tokens())
    assert [tuple(value.shape) for value in tensors(state)] == [(B, 5)] * 6 and isinstance(
        state[-1], tuple
    )
    _, state = LanguageModel(V, 4, 5, output_dropout=0.5).train()(tokens())
    assert len(state) == 4 and state[-1] is None
    assert not any(isinstance(part, LockedDropout) for part in LanguageModel(V, 4, 5).modules())
