"""What a run's history says of its gradients: how often they were clipped, and how far they
jump.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from recurra.check import is_number


class TrainingNorms(NamedTuple):
    """The gradient norms of a run, before clipping.

    Attributes:
        steps: rows of kind "train".
        clipped: the share of them whose norm was above `clip_norm`; None without one.
        median, largest: of the norms after the first tenth of the steps, when a run has found its
            feet; None without any.
        infinite: how many were not finite.
    """

    steps: int
    clipped: float | None
    median: float | None
    largest: float | None
    infinite: int

    @property
    def jump(self) -> float | None:
        """The largest norm over the median."""
        return self.largest / self.median if self.median and self.largest is not None else None

    def __str__(self) -> str:
        said = [f"{self.steps} steps"]
        if self.clipped is not None:
            said.append(f"{self.clipped:.1%} of them clipped")
        if self.median is not None:
            said.append(
                f"gradient norm {self.median:.3g} in the middle, {self.largest:.3g} at most after"
                " the first tenth"
            )
        if self.infinite:
            said.append(f"{self.infinite} not finite")
        return ", ".join(said)


def training_norms(
    history: Iterable[Mapping[str, Any]], clip_norm: float | None = None
) -> TrainingNorms | None:
    """Read the gradient norms of a run.

    Args:
        history: its rows; those of kind "train" with a `grad_norm` count.
        clip_norm: the norm that gradients were scaled to, as in its recipe.

    Returns:
        The figures; None where no row counts.

    >>> print(
    ...     training_norms(
    ...         [{"kind": "train", "grad_norm": norm} for norm in (0.5, 2.0, 1.0, 3.0)],
    ...         clip_norm=1.0,
    ...     )
    ... )
    4 steps, 50.0% of them clipped, gradient norm 1.5 in the middle, 3 at most after the first tenth
    """
    rows = [row for row in history if row.get("kind") == "train" and "grad_norm" in row]
    given = [
        row["grad_norm"] for row in rows if row["grad_norm"] is None or is_number(row["grad_norm"])
    ]
    if not given:
        return None
    norms = [float("inf") if norm is None else float(norm) for norm in given]
    settled = [norm for norm in norms[len(norms) // 10 :] if norm < float("inf")]
    return TrainingNorms(
        steps=len(norms),
        clipped=None if clip_norm is None else sum(norm > clip_norm for norm in norms) / len(norms),
        median=statistics.median(settled) if settled else None,
        largest=max(settled) if settled else None,
        infinite=sum(not norm < float("inf") for norm in norms),
    )
