"""Chunks equal the whole, in values and gradients."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from recurra.engine import scan
from tests.cells.zoo import ZOO, Scene, assert_close, gradients, scene
from tests.engine.test_methods import methods, ragged

EDGES = [0, 1, 4, 5, 9]


def chunked(
    at: Scene, method: str, reverse: bool, lengths: Any = None, resets: Any = None
) -> tuple[Any, Any]:
    """Run a scene in pieces, the state carried; lasting masks come with the first piece and ride
    along.
    """
    parts, state = [], at.state
    pairs = list(itertools.pairwise(EDGES))
    noise = dict(at.noise or {})
    for start, stop in reversed(pairs) if reverse else pairs:
        own = {name: d if name in at.cell.lasting() else d[start:stop] for name, d in noise.items()}
        if parts and own:
            own |= {
                name: torch.full_like(own[name], torch.nan)
                for name in at.cell.lasting()
                if name in own
            }
        found = scan(
            at.cell,
            at.weights,
            at.x[start:stop],
            state,
            noise=own or None,
            reverse=reverse,
            method=method,
            lengths=None if lengths is None else (lengths - start).clamp(0, stop - start),
            resets=None if resets is None else resets[start:stop],
        )
        parts.append(found.h)
        state = found.final
    return torch.cat(parts[::-1] if reverse else parts), state


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", ["plain", "lengths resets"])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", ZOO)
def test_chunks_equal_the_whole(name: str, training: bool, kind: str, reverse: bool) -> None:
    at = scene(ZOO[name], T=9, B=4, learned=True, training=training)
    options = ragged(9, 4, kind)
    whole = scan(
        at.cell,
        at.weights,
        at.x,
        at.state,
        noise=at.noise,
        reverse=reverse,
        method="loop",
        **options,
    )
    wanted = gradients([whole.h, whole.final], at.leaves())
    for method in ["loop", *methods(at.cell)]:
        found = chunked(at, method, reverse, **options)
        assert_close(found, [whole.h, whole.final])
        d = gradients(found, at.leaves())
        for leaf in wanted:
            assert_close(d[leaf], wanted[leaf], 1e-11, f"d {leaf}")
