"""No speed is given while two sides that must be equal differ."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from recurra.engine import forcing
from recurra.errors import RecurraError
from recurra.wording import count_text

if TYPE_CHECKING:
    from recurra.bench.registry import Case
    from recurra.bench.side import Side


class Disagreement(RecurraError):
    """A row's values or gradients are not those of its reference; the message names the row."""


def wrong(case: Case, threads: int) -> list[str]:
    """Compare each side of a case with its reference on a small piece, values and every gradient,
    by the contract's bound.

        |path - f64| <= 2 max |loop32 - f64| + 16 eps max(1, |f64|max)

    f64 is the reference in float64: torch.nn where it has the cell, else the plain loop. Where it
    is torch.nn, the loop in float64 must equal it within 1e-10 max(1, |f64|max), so that a loop
    gone wrong does not widen the bound.

    Returns:
        A line for each side that does not hold.
    """
    lines = []
    shape = case.shape.small()
    sides = case.sides(shape)
    x = torch.randn(*shape[:3], dtype=torch.float32)
    for name, against in case.references.items():
        side, reference = sides[name], sides[against]
        noise = side.noise(x)
        path = side.results(x, noise)
        with forcing("loop"):
            loop, expected = side.results(x, noise), _wide(reference, x, noise)
            exact = expected if against == name else _wide(side, x, noise)
        row = (
            f"{case.part} {case.name if name == 'ours' else name} at {case.shape} on"
            f" {count_text(threads, 'thread')}"
        )
        judged = "the loop" if against == name else "torch.nn"
        lines += [
            f"{row}: {text} from {judged}"
            for text in _beyond(path, loop, expected) or _apart(exact, expected)
        ]
    return lines


def _wide(side: Side, x: Tensor, noise: dict[str, Tensor] | None) -> dict[str, Tensor]:
    """What a side gives in float64, with the same weights and noise."""
    wide = side._replace(module=copy.deepcopy(side.module).double())
    return wide.results(
        x.double(), None if noise is None else {key: value.double() for key, value in noise.items()}
    )


def _beyond(
    path: dict[str, Tensor], loop: dict[str, Tensor], expected: dict[str, Tensor]
) -> list[str]:
    """The first value that is beyond its bound."""
    for name in expected:
        value, slow, wide = (each[name].detach().double() for each in (path, loop, expected))
        if value.shape != wide.shape:
            return [f"{name} has another shape"]
        got = float((value - wide).abs().max())
        bound = 2 * float((slow - wide).abs().max()) + 16 * torch.finfo(torch.float32).eps * max(
            1.0, float(wide.abs().max())
        )
        if not got <= bound:
            return [f"{name} is {got:.2g} (at most {bound:.2g})"]
    return []


def _apart(exact: dict[str, Tensor], expected: dict[str, Tensor]) -> list[str]:
    """The first value of the loop in float64 that is not the reference's."""
    for name, wide in expected.items():
        got, bound = (
            float((exact[name] - wide).detach().abs().max()),
            1e-10 * max(1.0, float(wide.detach().abs().max())),
        )
        if not got <= bound:
            return [f"{name} of the loop in float64 is {got:.2g} (at most {bound:.2g})"]
    return []
