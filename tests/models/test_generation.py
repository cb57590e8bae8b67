"""Sampling: the distribution by hand, and the loop equal to a plain one."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import torch
from torch import Tensor

from recurra.errors import ArgumentError, DataError
from recurra.models import Bytes, Characters, LanguageModel, distribution, generate, sample
from tests.cells.zoo import assert_close

V = 6


def made(**options: Any) -> LanguageModel:
    """A model with sharp opinions, in training mode, with dropout that would show."""
    model = LanguageModel(**{"vocab_size": V, "embed": 4, "hidden": 5, "dropout": 0.5} | options)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(2)))
    return model.train()


CHANCES = torch.tensor([0.1, 0.4, 0.05, 0.3, 0.15], dtype=torch.float64)


def only(*kept: int) -> Tensor:
    chosen = torch.zeros(5, dtype=torch.float64)
    chosen[list(kept)] = CHANCES[list(kept)]
    return chosen / chosen.sum()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, CHANCES),
        ({"temperature": 0}, only(1)),
        ({"temperature": 1e-320}, only(1)),
        ({"temperature": 1e-30}, only(1)),
        ({"temperature": 0.5}, CHANCES**2 / (CHANCES**2).sum()),
        ({"temperature": 2.0}, CHANCES**0.5 / (CHANCES**0.5).sum()),
        ({"top_k": 1}, only(1)),
        ({"top_k": 3}, only(1, 3, 4)),
        ({"top_k": 5}, CHANCES),
        ({"top_k": 99}, CHANCES),
        ({"top_p": 1e-9}, only(1)),
        ({"top_p": 0.39}, only(1)),
        ({"top_p": 0.41}, only(1, 3)),
        ({"top_p": 0.69}, only(1, 3)),
        ({"top_p": 0.71}, only(1, 3, 4)),
        ({"top_p": 0.94}, only(0, 1, 3, 4)),
        ({"top_p": 0.99}, CHANCES),
        (
            {"top_k": 3, "top_p": 0.8},
            only(1, 3),
        ),  # 0.4 and 0.3 of the 0.85 that top_k left are over 0.8
        ({"top_k": 3, "top_p": 0.83}, only(1, 3, 4)),
        ({"temperature": 0, "top_k": 3, "top_p": 0.8}, only(1)),
    ],
    ids=str,
)
@pytest.mark.parametrize("shift", [0.0, 300.0])
def test_distribution_by_hand(options: dict[str, Any], expected: Tensor, shift: float) -> None:
    found = distribution(CHANCES.log() + shift, **options)
    assert_close(found, expected, 1e-12 if not shift else 1e-10)
    assert torch.equal(found == 0, expected < 1e-300)


def test_a_tiny_temperature_in_float32_takes_the_most_likely() -> None:
    for temperature in (1e-30, 1e-44, 1e-60):
        assert torch.equal(
            distribution(CHANCES.log().float(), temperature), torch.eye(5, dtype=torch.float32)[1]
        )


def test_top_k_keeps_k_of_equals() -> None:
    found = distribution(torch.zeros(5), top_k=2)
    assert sorted(found.tolist()) == [0, 0, 0, 0.5, 0.5]


def test_nucleus_of_equals_is_the_smallest_set() -> None:
    assert sorted(distribution(torch.zeros(4), top_p=0.5).tolist()) == [0, 0, 0.5, 0.5]


@pytest.mark.parametrize(
    "options", [{}, {"temperature": 0.7, "top_k": 4}, {"temperature": 1.3, "top_p": 0.9}], ids=str
)
def test_generation_equals_a_plain_loop_over_steps(options: dict[str, Any]) -> None:
    model, prompt = made(), [3, 1, 4, 1]
    found = list(generate(model, prompt, 30, seed=7, **options))
    model.eval()
    generator, state, expected = torch.Generator().manual_seed(7), None, []
    with torch.no_grad():
        for token in prompt:
            logits, state = model.step(torch.tensor([token]), state)
        for _ in range(30):
            token = int(
                torch.multinomial(distribution(logits[0], **options), 1, generator=generator)
            )
            expected.append(token)
            logits, state = model.step(torch.tensor([token]), state)
    assert found == expected and len(set(found)) > 1


def test_temperature_zero_is_argmax_whatever_the_seed() -> None:
    model, sequence = made(), [2]
    with torch.no_grad():
        for _ in range(20):
            sequence.append(int(model.eval()(torch.tensor(sequence)[:, None])[0][-1, 0].argmax()))
    for seed in (0, 1, None):
        assert list(generate(model, [2], 20, temperature=0, seed=seed)) == sequence[1:]


def test_a_seed_reproduces_and_leaves_torch_alone() -> None:
    model = made()
    before = torch.random.get_rng_state()
    first = list(generate(model, [0], 40, seed=5))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert list(generate(model, [0], 40, seed=5)) == first != list(generate(model, [0], 40, seed=6))


def test_without_a_seed_torchs_own_generator_draws() -> None:
    model, drawn = made(), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(list(generate(model, [0], 40)))
    assert drawn[0] == drawn[1] != drawn[2]


def test_tokens_come_as_often_as_the_model_says() -> None:
    """One step from the same state, 1500 times: each count within 4.5 standard deviations of its
    chance.
    """
    model, draws = made(), 1500
    with torch.no_grad():
        chance = model.eval()(torch.tensor([[1]]))[0][0, 0].softmax(-1)
    torch.manual_seed(3)
    found = (
        torch.bincount(
            torch.tensor([next(generate(model, [1], 1)) for _ in range(draws)]), minlength=V
        )
        / draws
    )
    assert bool(((found - chance).abs() <= 4.5 * (chance * (1 - chance) / draws).sqrt()).all())
    assert float(chance.max()) < 0.95


def test_every_part_of_the_model_keeps_its_mode() -> None:
    model = made()
    model.recurrent.layers[1].eval()
    before = [part.training for part in model.modules()]
    drawing = generate(model, [0], 5)
    next(drawing)
    assert [part.training for part in model.modules()] == before
    drawing.close()
    with pytest.raises(DataError, match=r"x must hold tokens in 0\.\.5, got 99"):
        list(generate(model, [99], 5))
    assert [part.training for part in model.modules()] == before


def test_a_model_under_training_generates_without_dropout() -> None:
    model = made()
    assert list(generate(model.train(), [0], 30, seed=1)) == list(
        generate(model.eval(), [0], 30, seed=1)
    )


def test_length_zero_draws_nothing() -> None:
    assert list(generate(made(), [0], 0)) == []


WRONG = [
    ({"prompt": []}, "prompt must hold at least one token, got none"),
    *(
        ({"length": value}, f"length must be a whole number, 0 or more, got {value!r}")
        for value in (-1, 2.5, True)
    ),
    *(
        (
            {"temperature": value},
            f"temperature must be a number, 0 or more, got {value}; 0 takes the most likely token",
        )
        for value in (-0.5, math.inf, math.nan)
    ),
    *(
        ({"top_k": value}, f"top_k must be a positive whole number, got {value!r}")
        for value in (0, -2, 1.5)
    ),
    *(
        (
            {"top_p": value},
            f"top_p must be a number in (0, 1], got {value}; leave it out to keep every token",
        )
        for value in (0, -0.1, 1.1, math.nan)
    ),
]


@pytest.mark.parametrize(("options", "message"), WRONG, ids=[message for _, message in WRONG])
def test_options_are_checked_before_the_first_token(options: dict[str, Any], message: str) -> None:
    given = {"prompt": [0], "length": 3} | options
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}$"):
        generate(made(), **given)


TEXT = "ab\ncde"


def test_sample_is_generate_as_text() -> None:
    vocabulary = Characters.of(TEXT)
    model = made(vocabulary=vocabulary)
    for prompt in ("bad", "a"):
        tokens = generate(model, vocabulary.encode(prompt).tolist(), 25, seed=1, top_k=4)
        assert sample(model, prompt, 25, seed=1, top_k=4) == vocabulary.decode(list(tokens))


def test_without_a_prompt_sampling_begins_after_a_line_break_or_the_first_symbol() -> None:
    model = made(vocabulary=Characters.of(TEXT))
    assert (
        sample(model, "", 25, seed=1)
        == sample(model, "\n", 25, seed=1)
        != sample(model, "a", 25, seed=1)
    )
    model = made(vocabulary=Characters("bacdef"))
    assert sample(model, length=25, seed=1) == sample(model, "b", 25, seed=1)
    model = made(vocabulary=Bytes(), vocab_size=256)
    assert sample(model, length=25, seed=1) == sample(model, "\n", 25, seed=1)


def test_sample_draws_500_by_default() -> None:
    assert len(sample(made(vocabulary=Characters.of(TEXT)), seed=1)) == 500


def test_sample_says_what_it_lacks() -> None:
    message = (
        "model must have a vocabulary to sample text, got one without; pass vocabulary= when"
        " making it"
    )
    with pytest.raises(ArgumentError, match=f"^{message}$"):
        sample(made(), "a")
    with pytest.raises(
        DataError, match=r"^prompt must hold only the model's 6 characters, got 'z' at character 2"
    ):
        sample(made(vocabulary=Characters.of(TEXT)), "az")


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_weights_that_are_not_finite_are_said(temperature: float) -> None:
    model = made()
    with torch.no_grad():
        model.decoder_bias.fill_(torch.nan)
    message = (
        "logits must be finite, got nan; the model's weights are damaged, or its training diverged"
    )
    with pytest.raises(ArgumentError, match=f"^{message}$"):
        list(generate(model, [0], 3, temperature=temperature))
    assert distribution(torch.tensor([0.0, -math.inf])).tolist() == [1.0, 0.0]
