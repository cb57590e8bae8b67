"""Contexts around a model nest, and are gone after an error."""

from __future__ import annotations

import pytest
import torch

import recurra
from recurra.engine import forcing, probing
from recurra.engine.context import forced, listening, probes_wanted
from recurra.errors import ArgumentError, MethodUnavailable
from tests.cells.zoo import assert_close


def methods(net: torch.nn.Module) -> list[str]:
    seen: list[str] = []
    with listening(lambda job, choice: seen.append(choice.method)):
        net(torch.zeros(3, 1, 2))
    return seen


def test_forcing_nests_and_ends() -> None:
    net = recurra.GRU(2, 3, 2)
    free = methods(net)
    with forcing("loop"):
        assert methods(net) == ["loop"] * 2
        with forcing("checkpointed"):
            assert methods(net) == ["checkpointed"] * 2
        assert methods(net) == ["loop"] * 2
        assert forced("fused") == "fused"
    assert methods(net) == free and free != ["loop"] * 2


def test_forcing_ends_with_an_error() -> None:
    net = recurra.GRU(2, 3)
    free = methods(net)
    for method, error in (("parallel", MethodUnavailable), ("fussed", ArgumentError)):
        with pytest.raises(error), forcing("loop"), forcing(method):
            net(torch.zeros(3, 1, 2))
        assert forced("auto") == "auto" and methods(net) == free


def test_probing_nests_and_ends() -> None:
    net, x = recurra.GRU(2, 3), torch.randn(4, 1, 2)
    plain = net(x)[0]
    with probing() as outer:
        assert_close(net(x)[0], plain)
        with probing() as inner:
            net(x)
        net(x)
    assert (len(outer), len(inner)) == (2, 1) and probes_wanted() is None
    net(x)
    assert (len(outer), len(inner)) == (2, 1)


def test_probing_ends_with_an_error() -> None:
    with pytest.raises(RuntimeError, match="inside"), probing(), probing():
        raise RuntimeError("inside")
    assert probes_wanted() is None


def test_listening_ends_with_an_error() -> None:
    seen: list[str] = []
    with (
        pytest.raises(RuntimeError, match="inside"),
        listening(lambda job, choice: seen.append("x")),
    ):
        raise RuntimeError("inside")
    recurra.GRU(2, 3)(torch.zeros(3, 1, 2))
    assert not seen
