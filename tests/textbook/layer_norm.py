"""The LSTM and the GRU with layer normalisation."""

from __future__ import annotations

import numpy as np

from tests.textbook.scalar import Row, Values, dot, sigmoid, times

EPS = 1e-5


def norm(a: Row, alpha: Row, beta: Row) -> list[float]:
    """LN(a; alpha, beta) = alpha * (a - mu) / sigma + beta, over the whole of a.

    Ba, Kiros & Hinton (2016), arXiv:1607.06450, eq. 4 and 15 to 16; sigma is the square root of the
    mean squared deviation, to which EPS is added.
    """
    size = len(a)
    mu = 0.0
    for k in range(size):
        mu = mu + a[k] / size
    variance = 0.0
    for k in range(size):
        variance = variance + (a[k] - mu) ** 2 / size
    return [alpha[k] * (a[k] - mu) / np.sqrt(variance + EPS) + beta[k] for k in range(size)]


def layer_norm_lstm(p: dict[str, np.ndarray], x: Row, s: Values, m: Row) -> Values:
    """Three norms: of W_h h, of W_x x, and of the cell on its way to the output.

        (f_t, i_t, o_t, g_t) = LN(W_h h_{t-1}; alpha_1, beta_1) + LN(W_x x_t; alpha_2, beta_2) + b
        c_t = sigmoid(f_t) * c_{t-1} + sigmoid(i_t) * tanh(g_t)
        h_t = sigmoid(o_t) * tanh(LN(c_t; alpha_3, beta_3))

    Ba, Kiros & Hinton (2016), arXiv:1607.06450, eq. 20 to 22. b is part of the betas. The blocks of
    rows lie in the order i, f, g, o; a norm over all of them does not depend on it.
    """
    units = len(p["alpha_3"])
    mh = times(m, s["h"])
    a_h = norm([dot(p["W_h"][k], mh) for k in range(4 * units)], p["alpha_1"], p["beta_1"])
    a_x = norm([dot(p["W_x"][k], x) for k in range(4 * units)], p["alpha_2"], p["beta_2"])
    i = [sigmoid(a_h[j] + a_x[j]) for j in range(units)]
    f = [sigmoid(a_h[units + j] + a_x[units + j]) for j in range(units)]
    g = [np.tanh(a_h[2 * units + j] + a_x[2 * units + j]) for j in range(units)]
    o = [sigmoid(a_h[3 * units + j] + a_x[3 * units + j]) for j in range(units)]
    c = [f[j] * s["c"][j] + i[j] * g[j] for j in range(units)]
    seen = norm(c, p["alpha_3"], p["beta_3"])
    return {
        "i": i,
        "f": f,
        "g": g,
        "o": o,
        "c": c,
        "h": [o[j] * np.tanh(seen[j]) for j in range(units)],
    }


def layer_norm_gru(p: dict[str, np.ndarray], x: Row, s: Values, m: Row) -> Values:
    """Four norms: of both gates together and of the candidate, from h and from x.

        (z_t, r_t) = LN(W_h h_{t-1}; alpha_1, beta_1) + LN(W_x x_t; alpha_2, beta_2)
        h^_t = tanh(LN(W x_t; alpha_3, beta_3) + sigmoid(r_t) * LN(U h_{t-1}; alpha_4, beta_4))
        h_t = (1 - sigmoid(z_t)) * h_{t-1} + sigmoid(z_t) * h^_t

    Ba, Kiros & Hinton (2016), arXiv:1607.06450, supplementary material, the GRU of the
    skip-thoughts
    experiment.  W_h and W_x hold r's rows, then z's.
    """
    units = len(p["alpha_3"])
    mh = times(m, s["h"])
    a_h = norm([dot(p["W_h"][k], mh) for k in range(2 * units)], p["alpha_1"], p["beta_1"])
    a_x = norm([dot(p["W_x"][k], x) for k in range(2 * units)], p["alpha_2"], p["beta_2"])
    n_x = norm([dot(p["W"][j], x) for j in range(units)], p["alpha_3"], p["beta_3"])
    n_h = norm([dot(p["U"][j], mh) for j in range(units)], p["alpha_4"], p["beta_4"])
    r = [sigmoid(a_h[j] + a_x[j]) for j in range(units)]
    z = [sigmoid(a_h[units + j] + a_x[units + j]) for j in range(units)]
    n = [np.tanh(n_x[j] + r[j] * n_h[j]) for j in range(units)]
    return {
        "r": r,
        "z": z,
        "n": n,
        "h": [(1.0 - z[j]) * s["h"][j] + z[j] * n[j] for j in range(units)],
    }
