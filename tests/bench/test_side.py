"""A side runs forward and backward with every gradient, or forward alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import recurra
from recurra.bench.registry import Shape, cell_case, step_case, variant_case
from recurra.bench.side import Side, plain, with_noise

AT = Shape(4, 3, 2, 5, 2)


def test_what_is_timed_asks_for_the_gradients_of_x_and_of_every_weight() -> None:
    for side in cell_case("cells", "lstm", AT).sides(AT).values():
        gradients: Any = side.way(torch.randn(4, 3, 2, dtype=torch.float32))()
        assert [each.shape for each in gradients] == [
            (4, 3, 2),
            *(p.shape for p in side.module.parameters()),
        ]
        assert all(each.abs().sum() > 0 for each in gradients)


def test_both_sides_hold_the_same_weights_in_float32() -> None:
    ours, peer = cell_case("cells", "gru", AT).sides(AT).values()
    for mine, theirs in zip(ours.module.parameters(), peer.module.parameters(), strict=True):
        assert mine.dtype == theirs.dtype == torch.float32 and torch.equal(mine, theirs)


def test_steps_run_without_gradients_and_carry_the_state() -> None:
    x = torch.randn(4, 1, 2, dtype=torch.float32)
    for side in step_case("gru", AT).sides(AT).values():
        y, _ = side.way(x)()  # type: ignore[misc]
        assert not y.requires_grad
        torch.testing.assert_close(y, side.module(x)[0].detach())


def test_noise_is_drawn_in_training_and_handed_in_for_a_comparison() -> None:
    side = variant_case("lstm", AT).sides(AT)["Zoneout LSTM"]
    x = torch.randn(4, 3, 2, dtype=torch.float32)
    noise = side.noise(x)
    assert noise is not None and set(noise) == {"zoneout_h", "zoneout_c"}
    first, again = (side.results(x, noise)["the output"] for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(side.results(x)["the output"], side.results(x)["the output"])
    assert (
        Side(nn.LSTM(2, 5), plain).noise(x) is None
        and Side(recurra.Recurrent(recurra.cells.LSTM(), 2, 5), with_noise).noise(x) is None
    )


def test_results_name_every_value_and_gradient() -> None:
    def twice(module: nn.Module, x: Tensor, noise: Any) -> tuple[Tensor, Any]:
        return module(x) * 2, (x[0], (x[1],))

    module = nn.Linear(2, 3)
    found = Side(module, twice).results(torch.randn(4, 3, 2))
    assert list(found) == [
        "the output",
        "the final state (1)",
        "the final state (2)",
        "the gradient of x",
        "the gradient of weight",
        "the gradient of bias",
    ]
