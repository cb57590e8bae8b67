"""Zoneout around any transcription; recurrent dropout is the `m` that every transcription takes.

Recurrent dropout: Gal & Ghahramani (2016), arXiv:1512.05287, section 4.2, with the mask z_h only.
The h that a recurrent weight multiplies (in the textbook GRU r * h too) is multiplied by one mask
for the whole sequence; where h itself is kept by a gate it is not.
"""

from __future__ import annotations

import numpy as np

from tests.textbook.scalar import Row, Step, Values, keep


def zoneout(
    step: Step,
    p: dict[str, np.ndarray],
    x: np.ndarray,
    state: dict[str, np.ndarray],
    d: dict[str, np.ndarray],
    m: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Zoneout at training: a unit whose d is 1 keeps its old value.

        c_t = d^c_t * c_{t-1} + (1 - d^c_t) * (f_t * c_{t-1} + i_t * g_t)
        h_t = d^h_t * h_{t-1} + (1 - d^h_t) * (o_t * tanh(f_t * c_{t-1} + i_t * g_t))

    h is made from the cell before its zoneout.  Krueger et al. (2016), arXiv:1606.01305, section 3.

    Args:
        step: the transcription that is wrapped.
        p: its weights.
        x: (T, B, I).
        state: the first state by name, (B, width) each.
        d: the masks by the state's name, (T, B, width) each; a state without one is not zoned out.
        m: (B, width of h), the mask of recurrent dropout, or None.

    Returns:
        Each state and gate by name, (T, B, width).
    """
    found: dict[str, list[list[Row]]] = {}
    now = {name: [state[name][b] for b in range(x.shape[1])] for name in state}
    for t in range(x.shape[0]):
        for b in range(x.shape[1]):
            s: Values = {name: now[name][b] for name in state}
            new = step(p, x[t, b], s, np.ones(len(s["h"])) if m is None else m[b])
            for name in d:
                mask = d[name][t, b]
                assert len(mask) == len(new[name])
                new[name] = [
                    mask[j] * s[name][j] + (1.0 - mask[j]) * new[name][j] for j in range(len(mask))
                ]
            keep(found, new, t)
            for name in state:
                now[name][b] = new[name]
    return {name: np.array(values, dtype=np.float64) for name, values in found.items()}


def zoneout_evaluation(
    step: Step,
    p: dict[str, np.ndarray],
    x: np.ndarray,
    state: dict[str, np.ndarray],
    rate: dict[str, float],
    m: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Zoneout at evaluation: the rate, which is the mean of d, in place of d.

    Krueger et al. (2016), arXiv:1606.01305, section 3.
    Args and Returns as in `zoneout`, with `rate` by the state's name.
    """
    d = {name: np.full((x.shape[0], *state[name].shape), rate[name]) for name in rate}
    return zoneout(step, p, x, state, d, m)
