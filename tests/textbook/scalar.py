"""Sums and loops over single numbers; no product here is a matrix product."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

Row = Sequence[float]
Values = dict[str, Row]
Step = Callable[..., Values]


def sigmoid(a: float) -> float:
    """1 / (1 + exp(-a))."""
    return 1.0 / (1.0 + np.exp(-a))


def dot(w: Row, v: Row) -> float:
    """The sum of w_k v_k, one term after the other."""
    assert len(w) == len(v)
    total = 0.0
    for k in range(len(v)):
        total = total + w[k] * v[k]
    return total


def times(m: Row, v: Row) -> list[float]:
    """m_k v_k for each k."""
    assert len(m) == len(v)
    return [m[k] * v[k] for k in range(len(v))]


def joined(h: Row, x: Row) -> list[float]:
    """[h, x], h first."""
    return [*h, *x]


def run(
    step: Step,
    p: dict[str, np.ndarray],
    x: np.ndarray,
    state: dict[str, np.ndarray],
    m: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Take each row through time, one step after the other.

    Args:
        step: a transcription.
        p: its weights.
        x: (T, B, I).
        state: the first state by name, (B, width) each.
        m: (B, width of h), one mask for the whole sequence, or None.

    Returns:
        Each state and gate by name, (T, B, width).
    """
    found: dict[str, list[list[Row]]] = {}
    now = {name: [state[name][b] for b in range(x.shape[1])] for name in state}
    for t in range(x.shape[0]):
        for b in range(x.shape[1]):
            s = {name: now[name][b] for name in state}
            new = step(p, x[t, b], s, np.ones(len(s["h"])) if m is None else m[b])
            keep(found, new, t)
            for name in state:
                now[name][b] = new[name]
    return {name: np.array(values, dtype=np.float64) for name, values in found.items()}


def keep(found: dict[str, list[list[Row]]], new: Values, t: int) -> None:
    """Append one row's values at step t."""
    for name, row in new.items():
        steps = found.setdefault(name, [])
        if len(steps) == t:
            steps.append([])
        steps[t].append(row)
