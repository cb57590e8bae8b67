"""A cell's random factors, drawn natively: what they depend on, and that they are what the cell
asked for.
"""

from __future__ import annotations

import pytest
import torch

from recurra import cells, native
from recurra.kernels.noise import draw

BOTH = cells.Zoneout(cells.RecurrentDropout(cells.LSTM(), 0.3), h=0.1, c=0.05)
LIKE = torch.zeros(())


def test_shapes_types_and_values_are_those_of_pytorch_s_own_draws() -> None:
    for dtype in (torch.float32, torch.float64):
        native_, plain = (
            by(BOTH, (70, 20), 31, torch.zeros((), dtype=dtype)) for by in (draw, cells.draw)
        )
        assert native_.keys() == plain.keys() and len(plain) == 3
        for name, factor in native_.items():
            assert factor.shape == plain[name].shape and factor.dtype == dtype
            assert set(factor.unique().tolist()) == set(plain[name].unique().tolist())
            assert abs(float(factor.mean() - plain[name].mean())) < 0.02


def test_the_generator_decides_and_each_noise_and_each_call_has_its_own() -> None:
    def drawn(seed: int) -> list[dict[str, torch.Tensor]]:
        generator = torch.Generator().manual_seed(seed)
        return [draw(BOTH, (7, 4), 33, LIKE, generator) for _ in range(2)]

    first, again, other = drawn(5), drawn(5), drawn(6)
    for one, two, three in zip(first, again, other):
        assert all(
            torch.equal(one[name], two[name]) and not torch.equal(one[name], three[name])
            for name in one
        )
    assert all(not torch.equal(first[0][name], first[1][name]) for name in first[0])
    h, c = (first[0][name] for name in ("zoneout_h", "zoneout_c"))
    assert not torch.equal(h, c)
    torch.manual_seed(9)
    one = draw(BOTH, (7, 4), 33, LIKE)
    torch.manual_seed(9)
    assert all(
        torch.equal(one[name], value) for name, value in draw(BOTH, (7, 4), 33, LIKE).items()
    )


def test_the_two_dtypes_draw_the_same_factors() -> None:
    one, two = (
        draw(BOTH, (7, 4), 33, torch.zeros((), dtype=dtype), torch.Generator().manual_seed(1))
        for dtype in (torch.float32, torch.float64)
    )
    assert all(torch.equal(one[name], value.float()) for name, value in two.items())


def test_a_cell_without_noise_draws_nothing_and_leaves_the_generator() -> None:
    generator = torch.Generator().manual_seed(1)
    before = generator.get_state()
    assert draw(cells.LSTM(), (7, 4), 33, LIKE, generator) == {} and torch.equal(
        generator.get_state(), before
    )


def test_other_tensors_are_left_to_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "draw", lambda **_: pytest.fail("drawn natively"))
    for like in (torch.zeros((), dtype=torch.bfloat16), torch.zeros((), device="meta")):
        assert draw(BOTH, (7, 4), 33, like)["zoneout_h"].device.type == like.device.type


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_noise_that_is_never_or_always_zero(probability: float) -> None:
    class Certain(cells.Elman):
        def noises(self) -> dict[str, cells.Noise]:
            return {"mask": cells.Noise("h", probability, 2.0)}

    assert draw(Certain(), (7, 4), 33, LIKE)["mask"].unique().tolist() == [2.0 * (1 - probability)]


def test_the_operator_keeps_pytorch_s_rules() -> None:
    keys = torch.ops.aten.random(torch.empty(2, dtype=torch.int64))
    torch.library.opcheck(torch.ops.recurra.draw.default, (keys, 1, [3, 4], 2**31, 2.0, LIKE))
