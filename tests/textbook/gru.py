"""Gated recurrent units: reset after the product (cuDNN, torch) and reset before it (the
textbook's).
"""

from __future__ import annotations

import numpy as np

from tests.textbook.scalar import Row, Values, dot, joined, sigmoid, times


def gru(p: dict[str, np.ndarray], x: Row, s: Values, m: Row) -> Values:
    """Reset after the recurrent product; z keeps the old.

        r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)
        z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)
        n = tanh(W_in x + b_in + r * (W_hn h + b_hn))
        h' = (1 - z) * n + z * h

    As printed in the documentation of torch.nn.GRU and of cuDNN's CUDNN_GRU; Cho et al. (2014),
    arXiv:1406.1078, eq. 5 to 8, but for the place of r.
    """
    mh = times(m, s["h"])
    new: dict[str, list[float]] = {name: [] for name in ("r", "z", "n", "h")}
    for j in range(len(p["b_ir"])):
        r = sigmoid(dot(p["W_ir"][j], x) + p["b_ir"][j] + dot(p["W_hr"][j], mh) + p["b_hr"][j])
        z = sigmoid(dot(p["W_iz"][j], x) + p["b_iz"][j] + dot(p["W_hz"][j], mh) + p["b_hz"][j])
        n = np.tanh(
            dot(p["W_in"][j], x) + p["b_in"][j] + r * (dot(p["W_hn"][j], mh) + p["b_hn"][j])
        )
        h = (1.0 - z) * n + z * s["h"][j]
        for name, value in (("r", r), ("z", z), ("n", n), ("h", h)):
            new[name].append(value)
    return new


def reset_before(p: dict[str, np.ndarray], x: Row, s: Values, m: Row) -> Values:
    """Reset before the recurrent product; z takes the new; each W (H, H + I) acts on [h, x].

        z_t = sigmoid(W_z [h_{t-1}, x_t] + b_z)
        r_t = sigmoid(W_r [h_{t-1}, x_t] + b_r)
        h~_t = tanh(W_h [r_t * h_{t-1}, x_t] + b_h)    returned as n
        h_t = (1 - z_t) * h_{t-1} + z_t * h~_t

    Chung et al. (2014), arXiv:1412.3555, section 3.2 (z as here), after Cho et al. (2014),
    arXiv:1406.1078, eq. 5 to 8 (z the other way round); with [h, x] joined as in Olah (2015),
    Understanding LSTM Networks.
    """
    units = range(len(p["b_z"]))
    hx = joined(times(m, s["h"]), x)
    z = [sigmoid(dot(p["W_z"][j], hx) + p["b_z"][j]) for j in units]
    r = [sigmoid(dot(p["W_r"][j], hx) + p["b_r"][j]) for j in units]
    rhx = joined(times(m, times(r, s["h"])), x)
    n = [np.tanh(dot(p["W_h"][j], rhx) + p["b_h"][j]) for j in units]
    h = [(1.0 - z[j]) * s["h"][j] + z[j] * n[j] for j in units]
    return {"r": r, "z": z, "n": n, "h": h}
