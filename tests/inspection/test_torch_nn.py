"""torch.nn's layers, alone and inside a module, are seen into and left as they were."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import recurra
from recurra.errors import ArgumentError, ShapeError
from recurra.inspection import diagnose, gate_use, gradient_by_lag, gradient_flow
from recurra.inspection.observe import reachable
from tests.cells.zoo import assert_close

T, B, I, H = 7, 3, 2, 4


class Tagger(nn.Module):
    """A user's model: takes no state, gives logits alone, batch first."""

    def __init__(self, layer: nn.Module | None = None) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, I)
        self.layer = layer or nn.LSTM(I, H, 2, batch_first=True, dropout=0.3)
        self.head = nn.Linear(H, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(self.embedding(x))[0])


def state_of(model: nn.Module) -> tuple[Any, ...]:
    grads = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    return (
        {n: v.clone() for n, v in model.state_dict().items()},
        grads,
        [m.training for m in model.modules()],
        torch.get_rng_state(),
    )


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_bare_layers_equal_recurras(kind: str, batch_first: bool) -> None:
    theirs = getattr(nn, kind)(I, H, 2, batch_first=batch_first, bidirectional=True)
    ours = recurra.convert.from_torch(theirs)
    batch = (
        torch.randn((B, T, I) if batch_first else (T, B, I)),
        torch.randn((B, T, 2 * H) if batch_first else (T, B, 2 * H)),
    )
    for loss_at in ("every step", "last step"):
        found, expected = (gradient_flow(net, batch, loss_at=loss_at) for net in (theirs, ours))
        assert found.layers == expected.layers and len(found.layers) == 4
        assert_close(found.norms, expected.norms, 0)
    assert_close(gradient_by_lag(theirs, batch).norms, gradient_by_lag(ours, batch).norms, 0)
    assert gate_use(theirs, batch).saturation == gate_use(ours, batch).saturation
    assert type(theirs) is getattr(nn, kind)


def test_the_flow_is_that_of_torchs_own_backward() -> None:
    """One layer's output gradient plus what comes back from later steps: by torch, step after
    step.
    """
    cell, x, h = nn.GRUCell(I, H), torch.randn(T, B, I), torch.zeros(B, H)
    net = nn.GRU(I, H)
    net.load_state_dict({f"{name}_l0": value for name, value in cell.state_dict().items()})
    kept = []
    for x_t in x:
        h = cell(x_t, h)
        h.retain_grad()
        kept.append(h)
    (0.5 * torch.stack(kept).square().sum()).backward()
    norms = torch.stack([h.grad.norm(dim=-1).mean() for h in kept])  # type: ignore[union-attr]
    assert_close(gradient_flow(net, (x,)).norms[0], norms)


@pytest.mark.parametrize("training", [True, False])
def test_a_model_is_left_as_it_was(training: bool) -> None:
    model = Tagger().train(training)
    model.head.eval()
    for number, weight in enumerate(model.parameters()):
        weight.grad = torch.full_like(weight, 3.0) if number % 2 else None
    before, kinds = state_of(model), [type(module) for module in model.modules()]
    x, y = torch.randint(5, (B, T)), torch.randint(5, (B, T))
    before = (*before[:3], torch.get_rng_state())
    first = diagnose(model, (x, y)).to_dict()
    gradient_flow(model, (x, y))
    assert_close(state_of(model)[:2], before[:2], 0)
    assert state_of(model)[2] == before[2] and torch.equal(state_of(model)[3], before[3])
    assert [type(module) for module in model.modules()] == kinds
    assert diagnose(model, (x, y)).to_dict() == first and len(first["layers"]) == 2


def test_a_twin_shares_the_parameters() -> None:
    model = Tagger()
    twin, left = reachable(model)
    assert (
        twin is not model
        and not left
        and all(a is b for a, b in zip(model.parameters(), twin.parameters()))
    )


@pytest.mark.parametrize(("rows", "steps"), [(3, 7), (4, 4)])
def test_batch_first_inside_a_model_is_honoured(rows: int, steps: int) -> None:
    """The last step alone counts, so the first layer's gradient is largest there and nothing comes
    from other rows.
    """
    model, x, y = (
        Tagger(nn.GRU(I, H, batch_first=True)),
        torch.randint(5, (rows, steps)),
        torch.randint(5, (rows, steps)),
    )
    turned = Tagger(nn.GRU(I, H))
    turned.load_state_dict(model.state_dict())
    for loss_at in ("every step", "last step"):
        found, expected = (
            gradient_flow(model, (x, y), loss_at=loss_at),
            gradient_flow(turned, (x.T, y.T), loss_at=loss_at),
        )
        assert found.norms.shape == (1, steps)
        assert_close(found.norms, expected.norms)


def test_whole_numbers_ask_for_cross_entropy() -> None:
    model, x, y = Tagger(nn.GRU(I, H)), torch.randint(5, (T, B)), torch.randint(5, (T, B))
    net = recurra.convert.from_torch(model.layer)  # type: ignore[arg-type]
    with recurra.engine.probing() as probes:
        logits = model.head(net(model.embedding(x))[0])
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten())
    expected = torch.autograd.grad(loss, probes[0].tensors["h"])[0].norm(dim=-1).mean(-1)
    assert_close(gradient_flow(model, (x, y)).norms[0], expected)
    with pytest.raises(
        ShapeError,
        match=(
            r"^y must have shape \(7, 3\), as the output has, got \(7, 1\); nothing is broadcast$"
        ),
    ):
        gradient_flow(model, (x, y[:, :1]))
    with pytest.raises(
        ShapeError, match=r"^y must have shape \(7, 3, 5\), as the output has, got \(7, 3\)"
    ):
        gradient_flow(model, (x, y.double()))


def test_an_output_without_steps_counts_whole() -> None:
    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head = nn.LSTM(I, H), nn.Linear(H, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.layer(x)[1][0][-1])

    model, x, y = Classifier(), torch.randn(T, B, I), torch.tensor([0, 2, 1])
    every, last = (
        gradient_flow(model, (x, y), loss_at=loss_at).norms
        for loss_at in ("every step", "last step")
    )
    assert_close(every, last, 0)
    assert bool((every > 0).all()) and every.shape == (1, T)


def test_packing_inside_a_model_is_seen() -> None:
    class Packing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.GRU(I, H)

        def forward(self, x: Tensor) -> Tensor:
            return pad_packed_sequence(
                self.layer(pack_padded_sequence(x, torch.tensor([T, 4, 2])))[0]
            )[0]

    flow = gradient_flow(Packing(), (torch.randn(T, B, I),))
    assert flow.norms.shape == (1, T) and bool((flow.norms > 0).all())


@pytest.mark.parametrize("lengths", [[T, 4, 2], [2, T, 4]])
def test_packed_rows_are_measured_like_padded_ones_of_the_same_lengths(lengths: list[int]) -> None:
    net, x, y = recurra.GRU(I, H), torch.randn(T, B, I), torch.randn(T, B, H)
    packed = (
        pack_padded_sequence(value, torch.tensor(lengths), enforce_sorted=False) for value in (x, y)
    )
    for loss_at in ("every step", "last step"):
        found = gradient_flow(net, tuple(packed := [*packed]), loss_at=loss_at)
        padded = gradient_flow(
            net, inputs=dict(input=x, lengths=lengths), target=y, loss_at=loss_at
        )
        assert_close(found.norms, padded.norms)
    assert diagnose(net, tuple(packed)).performance.loss == pytest.approx(
        diagnose(net, inputs=dict(input=x, lengths=lengths), target=y).performance.loss
    )


def test_what_cannot_be_seen_into_is_said() -> None:
    class Own(nn.GRU):
        """A subclass, whose own forward would be lost."""

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.plain, self.own = nn.GRU(I, H), Own(H, H)

        def forward(self, x: Tensor) -> Tensor:
            return self.own(self.plain(x)[0])[0]

    found = diagnose(Two(), (torch.randn(T, B, I),))
    assert list(found.unseen) == ["own"] and "not seen into: own, Own is a subclass" in str(found)
    assert found.to_dict()["unseen"] == found.unseen
    for model in (Own(I, H), nn.Sequential(nn.Linear(I, H))):
        with pytest.raises(
            ArgumentError, match=r"^model must run a recurra layer, got \w+, which ran none$"
        ):
            gradient_flow(model, (torch.randn(T, B, I),))


def test_a_model_that_cannot_be_copied_is_refused() -> None:
    model = Tagger()
    model.cached = torch.ones(2, requires_grad=True) * 2  # type: ignore[assignment]
    message = (
        r"^model must be one that copy.deepcopy can copy, got Tagger \(Only Tensors created.*\);"
        r" call recurra.replace\(model\) on it first$"
    )
    with pytest.raises(ArgumentError, match=message):
        gradient_flow(model, (torch.randint(5, (B, T)),))


def test_a_state_is_handed_on_and_asked_for() -> None:
    class Needy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.GRU(I, H)

        def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
            return self.layer(x, state)

    model, x, h = Needy(), torch.randn(T, B, I), torch.randn(1, B, H)
    assert_close(gradient_flow(model, (x,)).norms, gradient_flow(model.layer, (x,)).norms, 0)
    assert_close(
        gradient_flow(model, inputs=(x, h)).norms,
        gradient_flow(model.layer, inputs=(x, h)).norms,
        0,
    )
    assert not torch.equal(
        gradient_flow(model, (x,)).norms, gradient_flow(model, inputs=(x, h)).norms
    )


def test_scans_of_different_lengths_stand_side_by_side() -> None:
    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = recurra.GRU(I, H)

        def forward(self, x: Tensor) -> Tensor:
            first, state = self.layer(x[:2])
            return torch.cat([first, self.layer(x[2:], state)[0]])

    model, x = Halves(), torch.randn(T, B, I)
    flow = gradient_flow(model, (x,))
    whole = gradient_flow(model.layer, (x,)).norms[0]
    assert flow.norms.shape == (2, 5) and flow.norms[0, 2:].isnan().all()
    assert_close(torch.cat([flow.norms[0, :2], flow.norms[1]]), whole)
    assert "layer 0 GRU(): first step" in str(flow) and "nan" not in str(flow)
    assert [layer["steps"] for layer in diagnose(model, (x,)).to_dict()["layers"]] == [2, 5]


def test_nothing_warns() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        diagnose(nn.LSTM(I, H, 2), (torch.randn(T, B, I),))
