"""The simple recurrent network."""

from __future__ import annotations

import numpy as np

from tests.textbook.scalar import Row, Values, dot, times


def elman(p: dict[str, np.ndarray], x: Row, s: Values, m: Row) -> Values:
    """h_t = tanh(W_h h_{t-1} + W_x x_t + b).

    Elman (1990), doi:10.1207/s15516709cog1402_1; as printed in Goodfellow, Bengio & Courville
    (2016), Deep Learning, eq. 10.8 and 10.9 (W, U and b there).
    """
    h = times(m, s["h"])
    return {
        "h": [
            np.tanh(dot(p["W_h"][j], h) + dot(p["W_x"][j], x) + p["b"][j])
            for j in range(len(p["b"]))
        ]
    }


def elman_relu(p: dict[str, np.ndarray], x: Row, s: Values, m: Row) -> Values:
    """h_t = max(0, W_h h_{t-1} + W_x x_t + b).

    Le, Jaitly & Hinton (2015), arXiv:1504.00941, section 2: the recurrent network of rectified
    linear units.
    """
    h = times(m, s["h"])
    return {
        "h": [
            max(0.0, dot(p["W_h"][j], h) + dot(p["W_x"][j], x) + p["b"][j])
            for j in range(len(p["b"]))
        ]
    }


def output(p: dict[str, np.ndarray], h: Row) -> list[float]:
    """y_t = softmax(W_y h_t + b_y).

    Goodfellow, Bengio & Courville (2016), Deep Learning, eq. 10.10 and 10.11 (V and c there).
    """
    a = [dot(p["W_y"][k], h) + p["b_y"][k] for k in range(len(p["b_y"]))]
    total = 0.0
    for k in range(len(a)):
        total = total + np.exp(a[k])
    return [np.exp(a[k]) / total for k in range(len(a))]
