"""What a model is run on: any inputs, any loss; padding is not measured; what has no place is
refused by name.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import recurra
from recurra.errors import ArgumentError, ShapeError
from recurra.inspection import diagnose, gate_use, gradient_by_lag, gradient_flow
from recurra.inspection.example import described
from recurra.inspection.flow import reach_of
from tests.cells.zoo import assert_close

T, B, I, H, C = 9, 4, 3, 5, 6
LENGTHS = [4, T, 1, 6]


class Classifier(nn.Module):
    """Takes lengths, which it cannot do without, and answers from each row's last step."""

    def __init__(self, batch_first: bool = False) -> None:
        super().__init__()
        self.layer, self.head = recurra.LSTM(I, H, batch_first=batch_first), nn.Linear(H, C)

    def forward(self, x: Tensor, lengths: Any) -> Tensor:
        return self.head(self.layer(x, lengths=lengths)[1][0][-1])


class Tagger(nn.Module):
    """An answer for each step, with lengths and an option of its own."""

    def __init__(self, batch_first: bool = False) -> None:
        super().__init__()
        self.layer, self.head = recurra.GRU(I, H, batch_first=batch_first), nn.Linear(H, C)

    def forward(self, x: Tensor, lengths: Any = None, scale: float = 1.0) -> Tensor:
        return scale * self.head(self.layer(x, lengths=lengths)[0])


class Two(nn.Module):
    """Several answers by name."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head, self.side = recurra.GRU(I, H), nn.Linear(H, C), nn.Linear(H, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y, h = self.layer(x)
        return {"step": self.head(y), "row": self.side(h[-1])}


def padded(y: Tensor, batch_first: bool) -> Tensor:
    return y.transpose(0, 1) if batch_first else y


@pytest.mark.parametrize("batch_first", [False, True])
def test_rows_of_different_lengths_are_measured_like_each_alone(batch_first: bool) -> None:
    """The loss counts what is within a row alone, whatever stands in x and y past it."""
    net, x, y = Tagger(batch_first), torch.randn(T, B, I), torch.randint(C, (T, B))
    found = gradient_flow(
        net, inputs=(padded(x, batch_first), LENGTHS), target=padded(y, batch_first)
    )
    x, y = x.clone(), y.clone()
    for row, length in enumerate(LENGTHS):
        x[length:, row], y[length:, row] = float("nan"), C - 1
    again = gradient_flow(
        net,
        inputs=dict(lengths=torch.tensor(LENGTHS), x=padded(x, batch_first)),
        target=padded(y, batch_first),
    )
    assert_close(found.norms, again.norms, 0)
    alone = [
        gradient_flow(
            net, (padded(x[:n, r, None], batch_first), padded(y[:n, r, None], batch_first))
        )
        for r, n in enumerate(LENGTHS)
    ]
    weights = [n / sum(LENGTHS) for n in LENGTHS]  # the mean over all steps, of a row's mean
    for t in range(T):
        rows = [
            weight * flow.norms[0, t] for flow, weight, n in zip(alone, weights, LENGTHS) if t < n
        ]
        assert_close(found.norms[0, t], torch.stack(rows).mean())


def test_the_last_step_is_each_rows_own() -> None:
    net, x, y = Tagger(), torch.randn(T, B, I), torch.randint(C, (T, B))
    found = gradient_flow(net, inputs=(x, LENGTHS), target=y, loss_at="last step")
    own = gradient_flow(
        net,
        inputs=(x, LENGTHS),
        loss=lambda out: F.cross_entropy(
            out[[n - 1 for n in LENGTHS], range(B)], y[[n - 1 for n in LENGTHS], range(B)]
        ),
    )
    assert_close(found.norms, own.norms)


def test_a_target_of_minus_100_does_not_count() -> None:
    net, x, y = Tagger(), torch.randn(T, B, I), torch.randint(C, (T, B))
    some = y.clone()
    some[[0, 3, 8], [1, 1, 2]] = -100
    expected = gradient_flow(
        net, (x,), loss=lambda out: F.cross_entropy(out.flatten(0, 1), some.flatten())
    )
    assert_close(gradient_flow(net, (x, some)).norms, expected.norms)
    assert not torch.equal(gradient_flow(net, (x, y)).norms, expected.norms)
    with pytest.raises(
        ArgumentError,
        match=r"^y must hold a target that counts, got only -100 or steps past the rows' lengths$",
    ):
        gradient_flow(net, (x, torch.full_like(y, -100)))


def test_the_last_step_is_the_last_that_counts() -> None:
    net, x, y = Tagger(), torch.randn(T, B, I), torch.randint(C, (T, B))
    y[5:, 1], y[8:, 2] = -100, -100
    last = [8, 4, 7, 8], range(B)
    own = gradient_flow(net, (x,), loss=lambda out: F.cross_entropy(out[last], y[last]))
    assert_close(gradient_flow(net, (x, y), loss_at="last step").norms, own.norms)


def test_a_loss_of_ones_own_sees_all_that_the_model_gives() -> None:
    net, x, y = Two(), torch.randn(T, B, I), torch.randint(2, (B,))
    rows = gradient_flow(net, (x,), loss=lambda out: F.cross_entropy(out["row"], y)).norms
    both = gradient_flow(
        net, (x,), loss=lambda out: F.cross_entropy(out["row"], y) + out["step"].square().sum()
    ).norms
    assert (
        rows.shape == both.shape == (1, T)
        and bool((rows > 0).all())
        and not torch.equal(rows, both)
    )
    assert diagnose(net, (x,), loss=lambda out: F.cross_entropy(out["row"], y)).need.asked == T - 1
    assert diagnose(net, (x,), loss=lambda out: out["step"].square().sum()).need.asked is None
    assert diagnose(net, (x,), loss=lambda out: out["step"][-1].sum()).need.asked == T - 1


def test_a_loss_of_ones_own_is_looked_at_on_its_last_step_alone() -> None:
    """As the model's usual loss is: the gradient at the output is cut to the last step that is
    read.
    """
    net, x, y = Tagger(), torch.randn(T, B, I), torch.randint(C, (T, B))
    whole = gradient_flow(
        net,
        (x,),
        loss=lambda out: F.cross_entropy(out.flatten(0, 1), y.flatten()),
        loss_at="last step",
    )
    assert_close(T * whole.norms, gradient_flow(net, (x, y), loss_at="last step").norms)


@pytest.mark.parametrize("measurement", [gate_use, gradient_by_lag])
def test_kin_take_any_inputs_and_need_no_target(measurement: Any) -> None:
    net, x = Classifier(), torch.randn(T, B, I)
    found = measurement(net, inputs=(x, LENGTHS))
    assert found.layers == ("LSTM()",)
    bare = measurement(net.layer, inputs=dict(input=x, lengths=LENGTHS))
    assert_close(found[-1], bare[-1], 0)
    with pytest.raises(AssertionError):
        assert_close(found[-1], measurement(net, inputs=(x, [T] * B))[-1])


def test_what_has_a_step_of_one_number_has_steps() -> None:
    class Level(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head = recurra.GRU(I, H, batch_first=True), nn.Linear(H, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.layer(x)[0]).squeeze(-1)

    net, x, y = Level(), torch.randn(B, T, I), torch.randn(B, T)
    found = diagnose(net, (x, y))
    assert found.need.asked is None
    assert found.performance.loss == pytest.approx(float((net(x) - y).square().mean().detach()))
    assert found.performance.naive == pytest.approx(float(y.var(unbiased=False)))
    last = gradient_flow(net, (x,), loss=lambda out: 0.5 * (out - y)[:, -1].square().sum())
    assert_close(gradient_flow(net, (x, y), loss_at="last step").norms, last.norms)


X = torch.zeros(T, B, I)
Y = torch.zeros(B, dtype=torch.long)
SHAPES = "batch must be (x,) or (x, y)"
REST = "give the rest by name: inputs=(x, lengths), target=y"
X_SHAPE, FORWARD = "a tensor (9, 4, 3)", "lengths: 'Any' = None, scale: 'float' = 1.0) -> 'Tensor'"
REFUSED: list[tuple[type[nn.Module], dict[str, Any], str]] = [
    (
        Classifier,
        dict(batch=(X, LENGTHS, Y)),
        f"{SHAPES}, got ({X_SHAPE}, a list of 4, a tensor (4,)); {REST}",
    ),
    (
        Classifier,
        dict(batch=(X, Y)),
        f"{SHAPES} for a model that takes x alone, got one that needs lengths too; {REST}",
    ),
    (
        Classifier,
        dict(inputs=(X,), target=Y),
        (
            "inputs must fit Classifier.forward(x: 'Tensor', lengths: 'Any') -> 'Tensor', got (a"
            " tensor (9, 4, 3),): missing a required argument: 'lengths'"
        ),
    ),
    (
        Tagger,
        dict(inputs=dict(x=X, length=LENGTHS)),
        (
            f"inputs must fit Tagger.forward(x: 'Tensor', {FORWARD}, got a dict of x, length: got"
            " an unexpected keyword argument 'length'"
        ),
    ),
    (
        Tagger,
        dict(batch=(X, Y), target=Y),
        f"batch must be (x,) where target is given, got ({X_SHAPE}, a tensor (4,))",
    ),
    (
        Tagger,
        dict(batch=(X, Y), loss=torch.sum),
        f"batch must be (x,) where loss is given, got ({X_SHAPE}, a tensor (4,))",
    ),
    (Tagger, dict(batch=(X,), inputs=(X,)), f"{SHAPES}, or inputs be given in its place, got both"),
    (Tagger, dict(), f"{SHAPES}, or inputs be given in its place, got neither"),
    (Tagger, dict(batch=X), f"{SHAPES}, got {X_SHAPE}"),
    (Tagger, dict(batch=()), f"{SHAPES}, got ()"),
    (
        Tagger,
        dict(inputs=X, target=Y, loss=torch.sum),
        "target must be left out where loss is given, got both",
    ),
    (
        Tagger,
        dict(inputs=X, loss=Y),
        "loss must be a function of the model's output, got a tensor (4,)",
    ),
    (
        Tagger,
        dict(inputs=X, loss=lambda out: out),
        "loss must give a tensor of one number, got a tensor (9, 4, 6)",
    ),
    (
        Tagger,
        dict(inputs=X, loss=lambda out: 1.0),
        "loss must give a tensor of one number, got a float",
    ),
    (
        Tagger,
        dict(inputs=X, loss=lambda out: out.detach().sum()),
        (
            "loss must depend on the model's recurrent layers, got one that does not; is their"
            " output detached?"
        ),
    ),
    (
        Tagger,
        dict(inputs=X, target=[1, 2]),
        "target must be a tensor, got a list of 2; give loss=, a function of the model's output",
    ),
    (
        Two,
        dict(inputs=X),
        (
            "loss must be given for a model that gives neither a tensor nor a tensor and a state,"
            " got a dict of step, row from Two; give loss=, a function of it"
        ),
    ),
]


@pytest.mark.parametrize(
    ("model", "given", "message"), REFUSED, ids=[str(number) for number in range(len(REFUSED))]
)
def test_what_has_no_place_is_refused(
    model: type[nn.Module], given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}$"):
        gradient_flow(model(), **_double(given))


def _double(given: Any) -> Any:
    """Tensors of the test's own dtype."""
    if isinstance(given, Tensor):
        return given.double() if given.is_floating_point() else given
    if isinstance(given, dict):
        return {name: _double(value) for name, value in given.items()}
    return tuple(map(_double, given)) if isinstance(given, tuple) else given


def test_lengths_are_not_taken_for_a_target() -> None:
    with pytest.raises(
        ShapeError,
        match=r"^y must have shape \(9, 4\), as the output has, got \(4,\); nothing is broadcast$",
    ):
        gradient_flow(Tagger(), (_double(X), torch.tensor(LENGTHS)))


def test_a_longer_reach_than_was_measured_is_refused() -> None:
    layer = recurra.RNN(I, H, nonlinearity="relu")
    recurra.init.identity(layer)
    message = (
        r"^reach must be at most the 8 steps back that were measured, got 20; give longer rows$"
    )
    with pytest.raises(ArgumentError, match=message):
        diagnose(layer, (torch.rand(T, B, I),), reach=20)


def test_reach_is_the_median_of_the_rows_and_stops_at_a_reset() -> None:
    rows = torch.tensor(
        [[1.0, 0.0, 0.5, 1e-3], [1.0, 1.0, 1.0, 1e-3], [1.0, 0.02, 1.0, 1.0], [1.0, 1.0, 1.0, 0.0]]
    )
    assert reach_of({"h": rows[..., None]}) == (2.0, 3.0)
    resets = torch.zeros(4, 4, dtype=torch.bool)
    resets[2] = True
    assert reach_of({"h": rows[..., None]}, resets) == (1.0, 1.0)
    assert reach_of({"h": rows.flip(0)[..., None]}, resets.flip(0).roll(1, 0), reverse=True) == (
        1.0,
        1.0,
    )
    assert (
        reach_of({"h": torch.zeros(4, 2, 1)})[0] != reach_of({"h": torch.zeros(4, 2, 1)})[0]
    )  # nan: nothing arrives
    carried = {
        "h": torch.tensor([0.0, 0.0, 1e-9, 1.0])[:, None, None],
        "c": torch.tensor([0.1, 0.3, 0.9, 0.0])[:, None, None],
    }
    assert reach_of(carried) == (3.0, 3.0)


def test_things_are_described_in_a_few_words() -> None:
    assert described({}) == "an empty dict" and described(3.0) == "a float"
