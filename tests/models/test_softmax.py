"""Cross entropy over all words and over clusters of them: by hand, in any precision, without
logits.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from recurra.errors import ArgumentError, DataError, DtypeError, ShapeError
from recurra.models.softmax import adaptive_cost, adaptive_softmax, cross_entropy, log_chances
from tests.cells.zoo import assert_close

V, H, T, B, CUTOFFS = 30, 12, 5, 3, (4, 11)


def clusters() -> tuple[Any, Tensor]:
    """A softmax in three clusters, every weight drawn, and features."""
    softmax = adaptive_softmax(H, V, CUTOFFS, 2.0)
    with torch.no_grad():
        for weight in softmax.parameters():
            weight.normal_()
    return softmax, torch.randn(T, B, H, requires_grad=True)


def by_hand(softmax: Any, h: Tensor, word: int) -> Tensor:
    """log p(word) for one vector of features, from the paper's two equations."""
    head = (softmax.head.weight @ h + softmax.head.bias).exp()
    head = head / head.sum()
    if word < CUTOFFS[0]:
        return head[word].log()
    cluster = 0 if word < CUTOFFS[1] else 1
    down, up = softmax.tail[cluster]
    within = (up.weight @ (down.weight @ h)).exp()
    return (head[CUTOFFS[0] + cluster] * within[word - CUTOFFS[cluster]] / within.sum()).log()


def test_log_chances_by_hand() -> None:
    softmax, h = clusters()
    found = log_chances(softmax, h)
    assert found.shape == (T, B, V)
    assert_close(
        found,
        torch.stack(
            [
                torch.stack([torch.stack([by_hand(softmax, v, w) for w in range(V)]) for v in row])
                for row in h
            ]
        ),
    )
    assert_close(found.exp().sum(-1), torch.ones(T, B))
    assert_close(
        (log_chances(softmax, h[0]), log_chances(softmax, h[0, 1])), (found[0], found[0, 1])
    )


TARGETS: dict[str, Tensor] = {
    "all clusters": torch.tensor([[0, 3, 4], [10, 11, 29], [1, 1, 1], [20, 7, 2], [0, 0, 0]]),
    "the head": torch.randint(4, (T, B)),
    "the last cluster": torch.randint(11, V, (T, B)),
    "some ignored": torch.tensor(
        [[0, -100, 4], [10, 11, 29], [-100, -100, -100], [-100, 7, 2], [0, 0, -100]]
    ),
    "one counts": (
        torch.full((T, B), -100).index_put((torch.tensor([2]), torch.tensor([1])), torch.tensor(17))
    ),
}


@pytest.mark.parametrize("y", TARGETS.values(), ids=TARGETS)
def test_cost_and_gradients_equal_those_of_log_chances(y: Tensor) -> None:
    softmax, h = clusters()
    words = [(t, b, int(y[t, b])) for t in range(T) for b in range(B) if y[t, b] >= 0]
    expected = -torch.stack([by_hand(softmax, h[t, b], word) for t, b, word in words]).mean()
    leaves = [h, *softmax.parameters()]
    wanted = torch.autograd.grad(
        expected, leaves, retain_graph=True, materialize_grads=True, allow_unused=True
    )
    for found in (
        adaptive_cost(softmax, h, y),
        adaptive_cost(softmax, h, y.int()),
        cross_entropy(log_chances(softmax, h), y),
    ):
        assert_close(found, expected)
        assert_close(
            torch.autograd.grad(found, leaves, materialize_grads=True, allow_unused=True),
            wanted,
            1e-12,
        )


def test_where_no_target_counts_the_cost_is_zero() -> None:
    softmax, h = clusters()
    cost = adaptive_cost(softmax, h, torch.full((T, B), -100))
    cost.backward()
    assert cost.item() == 0.0 and h.grad is not None and not bool(h.grad.any())
    assert cross_entropy(torch.randn(T, B, V), torch.full((T, B), -100)).item() == 0.0


class Largest(TorchDispatchMode):
    """Notes the largest tensor that anything makes."""

    numel = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), options: Any = None
    ) -> Any:
        made = function(*args, **(options or {}))
        for value in made if isinstance(made, (tuple, list)) else [made]:
            self.numel = max(self.numel, value.numel() if isinstance(value, Tensor) else 0)
        return made


def test_the_cost_forms_no_logits() -> None:
    softmax, h, y = (
        adaptive_softmax(16, 5000, (50, 500)),
        torch.randn(20, 10, 16, requires_grad=True),
        torch.randint(60, (20, 10)),
    )
    with Largest() as largest:
        adaptive_cost(softmax, h, y).backward()
    weights = max(weight.numel() for weight in softmax.parameters())
    assert largest.numel <= max(weights, 200 * 500) < 200 * 5000
    with Largest() as largest:
        log_chances(softmax, h)
    assert largest.numel == 200 * 5000


@pytest.mark.parametrize(
    "kind", ["autocast", "autocast, features in bfloat16", "weights in bfloat16"]
)
def test_low_precision(kind: str) -> None:
    softmax, h = clusters()
    softmax, h, y = softmax.float(), h.detach().float(), TARGETS["some ignored"]
    exact = adaptive_cost(softmax, h, y), log_chances(softmax, h)
    if kind != "autocast":
        h = h.bfloat16()
    if kind.startswith("weights"):
        softmax = softmax.bfloat16()
    with torch.autocast("cpu", torch.bfloat16, enabled=kind.startswith("autocast")):
        found = adaptive_cost(softmax, h, y), log_chances(softmax, h)
    assert {value.dtype for value in found} == {softmax.head.weight.dtype}
    for one, other in zip(found, exact):
        assert (
            float((one - other).detach().abs().max()) < (0.0 if kind == "autocast" else 0.3) + 1e-6
        )


def test_gradients_reach_every_weight() -> None:
    softmax, h = clusters()
    adaptive_cost(softmax, h, TARGETS["all clusters"]).backward()
    assert all(
        weight.grad is not None and bool(weight.grad.any()) for weight in softmax.parameters()
    )


def test_clusters_get_narrower() -> None:
    assert [tuple(part[0].weight.shape) for part in adaptive_softmax(64, V, CUTOFFS).tail] == [
        (16, 64),
        (4, 64),
    ]
    assert [
        tuple(part[0].weight.shape) for part in adaptive_softmax(64, V, [4, 11], div_value=2).tail
    ] == [(32, 64), (16, 64)]
    assert adaptive_softmax(64, V, CUTOFFS, div_value=1.0).head.bias.shape == (6,)


@pytest.mark.parametrize(
    "cutoffs",
    [(0, 3), (3, 3), (9, 4), (4, 30), (4, 31), (-1, 4), (4.0, 9), (True, 9), 4.0, "ab"],
    ids=str,
)
def test_cutoffs_are_checked(cutoffs: Any) -> None:
    message = f"adaptive must be increasing whole numbers in 1..29, got {cutoffs!r}"
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}$"):
        adaptive_softmax(H, V, cutoffs)


def test_a_cluster_without_a_width_is_refused() -> None:
    message = (
        "adaptive must leave the last of its clusters a width, got 12 / 4^2; use fewer cutoffs, or"
        " a smaller div_value"
    )
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}$"):
        adaptive_softmax(H, V, CUTOFFS)
    assert adaptive_softmax(16, V, CUTOFFS).tail[1][0].out_features == 1


@pytest.mark.parametrize(
    "value", [0.5, 0, -2.0, float("inf"), float("nan"), True, "4", None], ids=str
)
def test_div_value_is_checked(value: Any) -> None:
    with pytest.raises(
        ArgumentError,
        match=f"^{re.escape(f'div_value must be a number, 1 or more, got {value!r}')}$",
    ):
        adaptive_softmax(H, V, CUTOFFS, value)


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (
            torch.zeros(B, T, dtype=torch.long),
            ShapeError,
            "y must have shape (5, 3), as the logits, got (3, 5)",
        ),
        (torch.zeros(T, B), DtypeError, "y must hold tokens as int64, got torch.float32"),
        (torch.full((T, B), V), DataError, "y must hold tokens in 0..29, got 30"),
        (
            TARGETS["some ignored"].where(torch.arange(B) > 0, -2),
            DataError,
            "y must hold tokens in 0..29, got -2",
        ),
        (
            TARGETS["some ignored"].where(torch.arange(B) > 0, V),
            DataError,
            "y must hold tokens in 0..29, got 30",
        ),
    ],
)
def test_targets_are_checked_by_both(y: Tensor, error: type[Exception], message: str) -> None:
    softmax, h = clusters()
    y = y.float() if y.is_floating_point() else y
    for cost in (
        lambda: adaptive_cost(softmax, h, y),
        lambda: cross_entropy(torch.zeros(T, B, V), y),
    ):
        with pytest.raises(error, match=f"^{re.escape(message)}$"):
            cost()


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning"
)
def test_compiled_in_one_graph_the_cost_is_the_same() -> None:
    logits, compiled = (
        torch.randn(T, B, V),
        torch.compile(cross_entropy, fullgraph=True, backend="aot_eager"),
    )
    for y in (TARGETS["all clusters"], TARGETS["some ignored"]):
        assert_close(compiled(logits, y), F.cross_entropy(logits.flatten(0, 1), y.flatten()))


def test_targets_that_are_no_tensor_are_refused() -> None:
    with pytest.raises(
        DtypeError, match=r"^y must be a tensor of tokens, got list; use torch.as_tensor$"
    ):
        cross_entropy(torch.zeros(T, B, V), [[0] * B] * T)  # type: ignore[arg-type]
