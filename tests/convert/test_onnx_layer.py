from __future__ import annotations

import re
from typing import Any

import pytest
import torch

import recurra
from recurra import cells
from recurra.convert import OnnxLayer
from recurra.errors import ArgumentError, ShapeError

T, B, I, H = 7, 3, 2, 5
RUNS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}


def layer_of(
    direction: str = "forward", cell: cells.Cell | None = None, **options: Any
) -> OnnxLayer:
    layers = [
        recurra.Recurrent(cell or cells.LSTM(), I, H, init="torch", dtype=torch.float64)
        for _ in RUNS[direction]
    ]
    return OnnxLayer(layers, direction, **options)


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(
        *shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64
    )


@pytest.mark.parametrize("direction", RUNS)
def test_every_direction_is_a_scan_of_its_own_layer(direction: str) -> None:
    layer, x, lengths = layer_of(direction), normal(T, B, I), torch.tensor([T, 0, 3])
    D = len(RUNS[direction])
    h, c = normal(D, B, H), normal(D, B, H) / 2
    y, (y_h, y_c) = layer(x, (h, c), lengths=lengths)
    for d, reverse in enumerate(RUNS[direction]):
        done = layer.directions[d].scan(
            x, (h[d], c[d]), lengths=lengths, reverse=reverse, method="loop"
        )
        for mine, wanted in (
            (y[..., d * H : (d + 1) * H], done.h),
            (y_h[d], done.final.h),
            (y_c[d], done.final.c),
        ):
            torch.testing.assert_close(mine, wanted, rtol=0, atol=1e-12)
    assert torch.equal(y_h[:, 1], h[:, 1]) and torch.equal(y_c[:, 1], c[:, 1])


def test_a_state_with_one_value_is_bare() -> None:
    layer = layer_of("bidirectional", cells.GRU())
    y, h = layer(normal(T, B, I), normal(2, B, H))
    assert y.shape == (T, B, 2 * H) and h.shape == (2, B, H)
    assert not torch.equal(h, layer(normal(T, B, I))[1])


def test_the_nodes_own_state_and_lengths_are_used_where_none_is_given() -> None:
    x, h, lengths = normal(T, B, I), normal(2, B, H), torch.tensor([1, T, 3])
    held = layer_of("bidirectional", states={"h": h}, sequence_lens=lengths)
    bare = OnnxLayer(list(held.directions), "bidirectional")
    wanted = bare(x, (h, torch.zeros_like(h)), lengths=lengths)
    for mine, theirs in zip(flat(held(x)), flat(wanted)):
        assert torch.equal(mine, theirs)
    given = held(x, (2 * h, h), lengths=torch.tensor([T, T, T]))
    for mine, theirs in zip(flat(given), flat(bare(x, (2 * h, h)))):
        assert torch.equal(mine, theirs)


def flat(result: Any) -> list[torch.Tensor]:
    y, (h, c) = result
    return [y, h, c]


def test_a_reset_goes_to_the_nodes_own_state() -> None:
    x, h = normal(T, B, I), normal(1, B, H)
    resets = torch.zeros(T, B, dtype=torch.bool)
    resets[4] = True
    layer = layer_of(states={"h": h})
    y, _ = layer(x, (h + 1, h), resets=resets)
    torch.testing.assert_close(y[4:], layer(x[4:])[0], rtol=0, atol=1e-12)


def test_state_and_lengths_are_saved_and_moved() -> None:
    layer = layer_of(
        states={"h": normal(1, B, H), "c": normal(1, B, H)}, sequence_lens=torch.tensor([1, 2, 3])
    )
    assert {"initial_h", "initial_c", "sequence_lens"} < set(layer.state_dict())
    layer.float()
    assert layer.initial_c.dtype == torch.float32 and layer.sequence_lens.dtype == torch.int64
    assert layer(normal(T, B, I).float())[0].dtype == torch.float32


def test_steps_equal_the_whole() -> None:
    layer, x = layer_of(states={"h": normal(1, B, H)}), normal(T, B, I)
    whole, state = layer(x)[0], None
    for t in range(T):
        y, state = layer.step(x[t], state)
        torch.testing.assert_close(y, whole[t], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (
            layer_of("reverse"),
            "a layer that runs backward needs the whole future before its first output",
        ),
        (
            layer_of("bidirectional"),
            "a layer that runs backward needs the whole future before its first output",
        ),
        (
            layer_of(sequence_lens=torch.tensor([1, 2, 3])),
            "the node's sequence_lens count the steps of whole rows",
        ),
    ],
)
def test_what_cannot_stream_says_so(layer: OnnxLayer, why: str) -> None:
    assert layer.streaming_obstacle() == why
    with pytest.raises(
        ArgumentError,
        match=re.escape(f"step must be called on a module that can stream, got OnnxLayer: {why}"),
    ):
        layer.step(normal(B, I))


def test_a_built_in_cell_runs_by_pytorchs_operator() -> None:
    layer, lengths = (
        layer_of("bidirectional", states={"h": normal(2, B, H)}),
        torch.tensor([T, 0, 3]),
    )
    with recurra.engine.forcing("vendor"):
        assert (
            recurra.explain(layer, normal(T, B, I), lengths=lengths).count("vendor: asked for") == 2
        )


def test_every_cell_is_found_by_the_initialisers() -> None:
    layer = layer_of("bidirectional")
    recurra.init.forget_bias(layer, 3.0)
    assert all((one.bias_ih[H : 2 * H] == 3.0).all() for one in layer.directions)
    assert repr(layer).startswith("OnnxLayer(\n  bidirectional")


def test_directions_must_fit_the_layers() -> None:
    one = recurra.Recurrent(cells.GRU(), I, H)
    for direction in ("bidirectional", "both"):
        text = (
            "direction must be 'forward', 'reverse' or, with two layers, 'bidirectional', got"
            f" '{direction}'"
        )
        with pytest.raises(ArgumentError, match=text):
            OnnxLayer([one], direction)


def test_states_and_batches_that_do_not_fit_are_refused() -> None:
    layer, x = layer_of("bidirectional", states={"h": normal(2, B, H)}), normal(T, B, I)
    with pytest.raises(ShapeError, match=r"state must be a tuple \(h, c\), got Tensor"):
        layer(x, normal(2, B, H))
    with pytest.raises(
        ShapeError, match=r"state \(c\) must have shape \(2, B, H\), got \(1, 3, 5\)"
    ):
        layer(x, (normal(2, B, H), normal(1, B, H)))
    with pytest.raises(ShapeError, match=r"state \(h\) must have shape \(2, B, H\), got NoneType"):
        layer(x, (None, None))
    with pytest.raises(
        ShapeError,
        match=r"x must have B = 3 rows, as the node's initial_h has, got shape \(7, 2, 2\)",
    ):
        layer(normal(T, 2, I))


def test_what_is_fed_must_be_given() -> None:
    layer, x = layer_of(fed=["initial_c", "sequence_lens"]), normal(T, B, I)
    state, lengths = (normal(1, B, H), normal(1, B, H)), torch.tensor([T, 2, 3])
    with pytest.raises(
        ArgumentError,
        match=(
            r"^state must be given, h \(D, B, H\), c \(D, B, H\), as the node reads initial_c from"
        ),
    ):
        layer(x, lengths=lengths)
    with pytest.raises(
        ArgumentError,
        match=r"^lengths must be given, \(B,\), as the node reads sequence_lens from its graph's",
    ):
        layer(x, state)
    bare = OnnxLayer(list(layer.directions))
    for mine, theirs in zip(
        flat(layer(x, state, lengths=lengths)), flat(bare(x, state, lengths=lengths))
    ):
        assert torch.equal(mine, theirs)
