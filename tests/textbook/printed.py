"""From a cell's weights, by torch's names, to the letters that the papers print."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

Arrays = Mapping[str, np.ndarray]
Letters = dict[str, np.ndarray]


def block(weights: Arrays, name: str, k: int, gates: int) -> np.ndarray:
    """The k-th of a weight's blocks of rows; zeros for a bias that is absent."""
    if name not in weights:
        assert name == "bias_hh", name
        return np.zeros(len(weights["weight_ih"]) // gates)
    rows = len(weights[name]) // gates
    assert rows * gates == len(weights[name])
    return weights[name][k * rows : (k + 1) * rows]


def joined(letters: str) -> Callable[[Arrays], Letters]:
    """One W (H, H + I) on [h, x] and one b for each letter, as textbooks print them."""

    def read(weights: Arrays) -> Letters:
        p = {}
        for k, letter in enumerate(letters):
            part = {
                name: block(weights, name, k, len(letters))
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            }
            p[f"W_{letter}"] = np.concatenate([part["weight_hh"], part["weight_ih"]], axis=1)
            p[f"b_{letter}"] = part["bias_ih"] + part["bias_hh"]
        return p

    return read


def elman(weights: Arrays) -> Letters:
    """W_h, W_x and b."""
    return {
        "W_h": weights["weight_hh"],
        "W_x": weights["weight_ih"],
        "b": weights["bias_ih"] + block(weights, "bias_hh", 0, 1),
    }


def peephole(weights: Arrays) -> Letters:
    """W_x., W_h. and b. of i, f, c and o, and the three diagonals."""
    p = {name: weights[name] for name in ("p_i", "p_f", "p_o")}
    for k, letter in enumerate("ifco"):
        p[f"W_x{letter}"] = block(weights, "weight_ih", k, 4)
        p[f"W_h{letter}"] = block(weights, "weight_hh", k, 4)
        p[f"b_{letter}"] = block(weights, "bias_ih", k, 4) + block(weights, "bias_hh", k, 4)
    return p


def projected(weights: Arrays) -> Letters:
    """The plain LSTM's letters and W_rm."""
    return joined("ifco")(weights) | {"W_rm": weights["weight_hr"]}


def gru(weights: Arrays) -> Letters:
    """W_i., W_h., b_i. and b_h. of r, z and n."""
    p = {}
    for k, letter in enumerate("rzn"):
        for printed, name in (
            ("W_i", "weight_ih"),
            ("W_h", "weight_hh"),
            ("b_i", "bias_ih"),
            ("b_h", "bias_hh"),
        ):
            p[printed + letter] = block(weights, name, k, 3)
    return p


def layer_norm_lstm(weights: Arrays) -> Letters:
    """W_h and W_x over all four blocks, alpha and beta of the three norms."""
    shift = weights.get("bias_hh", np.zeros_like(weights["gain_hh"]))
    p = {
        "W_h": weights["weight_hh"],
        "W_x": weights["weight_ih"],
        "alpha_1": weights["gain_hh"],
        "beta_1": shift,
    }
    p |= {"alpha_2": weights["gain_ih"], "beta_2": weights["bias_ih"]}
    return p | {"alpha_3": weights["gain_c"], "beta_3": weights["bias_c"]}


def layer_norm_gru(weights: Arrays) -> Letters:
    """W_h and W_x over r and z, U and W of the candidate, alpha and beta of the four norms."""
    units = len(weights["weight_ih"]) // 3
    gates, candidate = slice(0, 2 * units), slice(2 * units, 3 * units)
    shift = weights.get("bias_hh", np.zeros_like(weights["gain_hh"]))
    p = {"W_h": weights["weight_hh"][gates], "W_x": weights["weight_ih"][gates]}
    p |= {"U": weights["weight_hh"][candidate], "W": weights["weight_ih"][candidate]}
    p |= {"alpha_1": weights["gain_hh"][gates], "beta_1": shift[gates]}
    p |= {"alpha_2": weights["gain_ih"][gates], "beta_2": weights["bias_ih"][gates]}
    p |= {"alpha_3": weights["gain_ih"][candidate], "beta_3": weights["bias_ih"][candidate]}
    return p | {"alpha_4": weights["gain_hh"][candidate], "beta_4": shift[candidate]}


def linear(letters: str) -> Callable[[Arrays], Letters]:
    """One W (H, I) on x and one b for each letter."""

    def read(weights: Arrays) -> Letters:
        p = {}
        for k, letter in enumerate(letters):
            p[f"W_{letter}"] = block(weights, "weight_ih", k, len(letters))
            p[f"b_{letter}"] = block(weights, "bias_ih", k, len(letters))
        return p

    return read
