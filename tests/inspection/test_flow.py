"""|dL/dh_t| equals autograd through a plain Python loop that retains every h_t."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import recurra
from recurra import Recurrent, Stack, cells
from recurra.errors import ArgumentError
from recurra.inspection import GradientFlow, gradient_flow
from recurra.models import LanguageModel
from tests.cells.zoo import assert_close

T, B, I, H = 7, 3, 2, 4


def lstm_by_hand(net: Any, x: Tensor, layers: int) -> tuple[Tensor, list[list[Tensor]]]:
    """Two layers of LSTM as nested lists: the output and every h_t, each retaining its gradient."""
    weights = dict(net.named_parameters())
    kept: list[list[Tensor]] = []
    for layer in range(layers):
        w, r, b, c = (
            weights[f"{name}_l{layer}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        h = memory = torch.zeros(x.shape[1], H)
        out = []
        for x_t in x:
            i, f, g, o = (x_t @ w.T + b + h @ r.T + c).chunk(4, -1)
            memory = f.sigmoid() * memory + i.sigmoid() * g.tanh()
            h = o.sigmoid() * memory.tanh()
            h.retain_grad()
            out.append(h)
        kept.append(out)
        x = torch.stack(out)
    return x, kept


def norms(kept: list[list[Tensor]]) -> Tensor:
    rows = [
        [torch.zeros(B) if h.grad is None else h.grad.norm(dim=-1) for h in out] for out in kept
    ]
    return torch.stack([torch.stack([row.mean() for row in out]) for out in rows])


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(T, B, I, generator=generator), torch.randn(T, B, H, generator=generator)


@pytest.mark.parametrize("with_y", [True, False])
@pytest.mark.parametrize("loss_at", ["every step", "last step"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_flow_equals_retained_gradients_of_a_plain_loop(
    loss_at: str, with_y: bool, batch_first: bool
) -> None:
    net = recurra.LSTM(I, H, 2, batch_first=batch_first)
    x, y = batch()
    out, kept = lstm_by_hand(net, x, 2)
    error = out - y if with_y else out
    (0.5 * (error if loss_at == "every step" else error[-1:]).square().sum()).backward()
    given = tuple(
        value.transpose(0, 1) if batch_first else value for value in ((x, y) if with_y else (x,))
    )
    net.zero_grad()
    flow = gradient_flow(net, given, loss_at=loss_at)
    assert (
        flow.layers == ("LSTM()", "LSTM()")
        and flow.norms.shape == (2, T)
        and not flow.norms.requires_grad
    )
    assert_close(flow.norms, norms(kept))
    assert bool((flow.norms > 0).all())


@pytest.mark.parametrize("loss_at", ["every step", "last step"])
def test_flow_of_a_language_model(loss_at: str) -> None:
    model = LanguageModel(5, I, H, 1, "gru", dropout=0.0, tied=False)
    x, y = (
        torch.randint(5, (T, B), generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)
    )
    _, state = model(y)
    weights = {
        name.rsplit(".", 1)[-1]: weight for name, weight in model.recurrent.named_parameters()
    }
    h, kept = state[0].h.detach(), []
    for x_t in model.embedding(x):
        h = torch.gru_cell(
            x_t,
            h,
            weights["weight_ih"],
            weights["weight_hh"],
            weights["bias_ih"],
            weights["bias_hh"],
        )
        h.retain_grad()
        kept.append(h)
    logits = torch.stack(kept) @ model.decoder.T + model.decoder_bias  # type: ignore[union-attr]
    steps = slice(None) if loss_at == "every step" else slice(-1, None)
    F.cross_entropy(logits[steps].flatten(0, 1), y[steps].flatten()).backward()
    assert_close(
        gradient_flow(model, inputs=(x, state), target=y, loss_at=loss_at).norms, norms([kept])
    )


def test_the_last_step_alone_counts_once_there() -> None:
    """An Elman layer with identity weights and relu: the loss at the end comes back
    undiminished.
    """
    net = Recurrent(cells.Elman("relu"), 1, 1, biases=0)
    with torch.no_grad():
        net.weight_ih.fill_(1.0)
        net.weight_hh.fill_(0.5)
    flow = gradient_flow(net, (torch.ones(4, 1, 1),), loss_at="last step")
    last = 1 + 0.5 + 0.25 + 0.125
    assert_close(flow.norms[0], last * torch.tensor([0.125, 0.25, 0.5, 1.0]))


def test_the_model_is_left_as_it_was() -> None:
    model = Stack(
        [Recurrent(cells.Zoneout(cells.LSTM(), h=0.3), I, H), nn.Dropout(0.5), recurra.GRU(H, H)]
    ).train()
    model.layers[1].eval()
    modes = [part.training for part in model.modules()]
    for weight in model.parameters():
        weight.grad = torch.full_like(weight, 3.0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        gradient_flow(model, batch()[:1])
    assert [part.training for part in model.modules()] == modes
    assert all(
        weight.grad is not None and bool((weight.grad == 3).all()) for weight in model.parameters()
    )
    assert_close(model.state_dict(), before, 0)
    x = torch.randn(2, 1, I)
    assert_close(model.eval()(x)[0], model(x)[0], 0)


def test_frozen_weights_still_show_their_flow() -> None:
    net = recurra.GRU(I, H).requires_grad_(False)
    assert bool((gradient_flow(net, batch()).norms > 0).all())


def test_a_layer_that_no_loss_depends_on_has_no_flow() -> None:
    class Aside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.aside = recurra.GRU(I, H), recurra.RNN(I, H)

        def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
            self.aside(x)
            return self.used(x)

    flow = gradient_flow(Aside(), batch())
    assert flow.layers == ("Elman('tanh')", "GRU()") or len(flow.layers) == 2
    assert not bool(flow.norms[0].any()) and bool((flow.norms[1] > 0).all())


def test_it_prints_first_and_last() -> None:
    flow = GradientFlow(("LSTM()", "GRU()"), torch.tensor([[0.5, 1.0, 2.0], [1.0, 0.0, 0.0]]))
    assert str(flow).splitlines() == [
        "|dL/dh_t| over 3 steps",
        "  layer 0 LSTM(): first step 0.5, last step 2, first/last 0.25",
        "  layer 1 GRU(): first step 1, last step 0, first/last nan",
    ]


@pytest.mark.parametrize(
    ("model", "given", "options", "message"),
    [
        (
            recurra.GRU(I, H),
            (torch.zeros(T, B, I),),
            {"loss_at": "end"},
            "loss_at must be 'every step' or 'last step', got 'end'",
        ),
        (
            Stack([nn.Linear(I, H)]),
            (torch.zeros(T, B, I),),
            {},
            "model must run a recurra layer, got Stack, which ran none",
        ),
        (
            LanguageModel(5, I, H),
            (torch.zeros(T, B, dtype=torch.long),),
            {},
            "batch must be (x, y) for LanguageModel, got x alone",
        ),
    ],
)
def test_what_cannot_be_measured(
    model: Any, given: Any, options: dict[str, Any], message: str
) -> None:
    given = tuple(
        value.to(next(model.parameters()).dtype) if value.is_floating_point() else value
        for value in given
    )
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}$"):
        gradient_flow(model, given, **options)


@pytest.mark.parametrize("batch_first", [False, True])
def test_one_sequence_without_a_batch(batch_first: bool) -> None:
    net = recurra.GRU(I, H, batch_first=batch_first)
    x, y = (value[:, 0] for value in batch())
    batched = (value[None] if batch_first else value[:, None] for value in (x, y))
    for loss_at in ("every step", "last step"):
        alone = gradient_flow(net, (x, y), loss_at=loss_at)
        assert alone.norms.shape == (1, T)
    assert_close(alone.norms, gradient_flow(net, tuple(batched), loss_at="last step").norms)
