"""Long short-term memory: plain, with peepholes, with a projection."""

from __future__ import annotations

import numpy as np

from tests.textbook.scalar import Row, Values, dot, joined, sigmoid, times


def lstm(p: dict[str, np.ndarray], x: Row, s: Values, m: Row) -> Values:
    """The LSTM with a forget gate, each W (H, H + I) acting on [h_{t-1}, x_t].

        f_t = sigmoid(W_f [h_{t-1}, x_t] + b_f)
        i_t = sigmoid(W_i [h_{t-1}, x_t] + b_i)
        c~_t = tanh(W_C [h_{t-1}, x_t] + b_C)          returned as g
        c_t = f_t * c_{t-1} + i_t * c~_t
        o_t = sigmoid(W_o [h_{t-1}, x_t] + b_o)
        h_t = o_t * tanh(c_t)

    Hochreiter & Schmidhuber (1997), doi:10.1162/neco.1997.9.8.1735; forget gate from Gers,
    Schmidhuber & Cummins (2000), doi:10.1162/089976600300015015; as printed in Olah (2015),
    Understanding LSTM Networks.
    """
    hx = joined(times(m, s["h"]), x)
    new: dict[str, list[float]] = {name: [] for name in ("i", "f", "g", "o", "h", "c")}
    for j in range(len(p["b_f"])):
        f = sigmoid(dot(p["W_f"][j], hx) + p["b_f"][j])
        i = sigmoid(dot(p["W_i"][j], hx) + p["b_i"][j])
        g = np.tanh(dot(p["W_c"][j], hx) + p["b_c"][j])
        c = f * s["c"][j] + i * g
        o = sigmoid(dot(p["W_o"][j], hx) + p["b_o"][j])
        h = o * np.tanh(c)
        for name, value in (("i", i), ("f", f), ("g", g), ("o", o), ("h", h), ("c", c)):
            new[name].append(value)
    return new


def peephole(p: dict[str, np.ndarray], x: Row, s: Values, m: Row) -> Values:
    """The LSTM whose gates see the cell: i and f the old one, o the new one.

        i_t = sigmoid(W_xi x_t + W_hi h_{t-1} + W_ci c_{t-1} + b_i)
        f_t = sigmoid(W_xf x_t + W_hf h_{t-1} + W_cf c_{t-1} + b_f)
        c_t = f_t c_{t-1} + i_t tanh(W_xc x_t + W_hc h_{t-1} + b_c)
        o_t = sigmoid(W_xo x_t + W_ho h_{t-1} + W_co c_t + b_o)
        h_t = o_t tanh(c_t)

    Graves (2013), arXiv:1308.0850, eq. 7 to 11; W_ci, W_cf and W_co are diagonal, here p_i, p_f and
    p_o.
    """
    h_prev = times(m, s["h"])
    new: dict[str, list[float]] = {name: [] for name in ("i", "f", "g", "o", "h", "c")}
    for j in range(len(p["b_f"])):
        c_prev = s["c"][j]
        i = sigmoid(
            dot(p["W_xi"][j], x) + dot(p["W_hi"][j], h_prev) + p["p_i"][j] * c_prev + p["b_i"][j]
        )
        f = sigmoid(
            dot(p["W_xf"][j], x) + dot(p["W_hf"][j], h_prev) + p["p_f"][j] * c_prev + p["b_f"][j]
        )
        g = np.tanh(dot(p["W_xc"][j], x) + dot(p["W_hc"][j], h_prev) + p["b_c"][j])
        c = f * c_prev + i * g
        o = sigmoid(
            dot(p["W_xo"][j], x) + dot(p["W_ho"][j], h_prev) + p["p_o"][j] * c + p["b_o"][j]
        )
        h = o * np.tanh(c)
        for name, value in (("i", i), ("f", f), ("g", g), ("o", o), ("h", h), ("c", c)):
            new[name].append(value)
    return new


def projected(p: dict[str, np.ndarray], x: Row, s: Values, m: Row) -> Values:
    """The LSTM whose output is projected to P units, which are also what it feeds back.

        i, f, o, g as in the plain LSTM, acting on [r_{t-1}, x_t]
        c_t = f_t * c_{t-1} + i_t * g_t
        m_t = o_t * tanh(c_t)
        r_t = W_rm m_t                                 returned as h, P wide

    Sak, Senior & Beaufays (2014), arXiv:1402.1128, section 2 (LSTMP), without its peepholes.
    """
    rx = joined(times(m, s["h"]), x)
    new: dict[str, list[float]] = {name: [] for name in ("i", "f", "g", "o", "c")}
    output = []
    for j in range(len(p["b_f"])):
        i = sigmoid(dot(p["W_i"][j], rx) + p["b_i"][j])
        f = sigmoid(dot(p["W_f"][j], rx) + p["b_f"][j])
        o = sigmoid(dot(p["W_o"][j], rx) + p["b_o"][j])
        g = np.tanh(dot(p["W_c"][j], rx) + p["b_c"][j])
        c = f * s["c"][j] + i * g
        output.append(o * np.tanh(c))
        for name, value in (("i", i), ("f", f), ("g", g), ("o", o), ("c", c)):
            new[name].append(value)
    return new | {"h": [dot(p["W_rm"][k], output) for k in range(len(p["W_rm"]))]}
