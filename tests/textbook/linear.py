"""Recurrent networks that are linear in h."""

from __future__ import annotations

import numpy as np

from tests.textbook.scalar import Row, Values, dot, sigmoid


def min_gru(p: dict[str, np.ndarray], x: Row, s: Values, m: Row) -> Values:
    """A GRU whose gate and candidate do not see h; z takes the new.

        h_t = (1 - z_t) * h_{t-1} + z_t * h~_t
        z_t = sigmoid(Linear(x_t))
        h~_t = Linear(x_t)                             returned as n

    Feng et al. (2024), arXiv:2410.01201, section 3.1.
    There is no recurrent product, so m is not read.
    """
    units = range(len(p["b_z"]))
    z = [sigmoid(dot(p["W_z"][j], x) + p["b_z"][j]) for j in units]
    n = [dot(p["W_h"][j], x) + p["b_h"][j] for j in units]
    return {"z": z, "n": n, "h": [(1.0 - z[j]) * s["h"][j] + z[j] * n[j] for j in units]}


def min_lstm(p: dict[str, np.ndarray], x: Row, s: Values, m: Row) -> Values:
    """An LSTM whose gates and candidate do not see h, whose two gates are made to sum to one.

        h_t = f'_t * h_{t-1} + i'_t * h~_t
        f_t = sigmoid(Linear(x_t)),  i_t = sigmoid(Linear(x_t))
        f'_t, i'_t = f_t / (f_t + i_t), i_t / (f_t + i_t)
        h~_t = Linear(x_t)                             returned as n

    Feng et al. (2024), arXiv:2410.01201, section 3.2.
    There is no recurrent product, so m is not read.
    """
    units = range(len(p["b_f"]))
    f = [sigmoid(dot(p["W_f"][j], x) + p["b_f"][j]) for j in units]
    i = [sigmoid(dot(p["W_i"][j], x) + p["b_i"][j]) for j in units]
    n = [dot(p["W_h"][j], x) + p["b_h"][j] for j in units]
    h = [f[j] / (f[j] + i[j]) * s["h"][j] + i[j] / (f[j] + i[j]) * n[j] for j in units]
    return {"f": f, "i": i, "n": n, "h": h}
