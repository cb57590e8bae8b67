"""ONNX's RNN, LSTM and GRU as their documentation prints them, row by row; and a run in ONNX
Runtime.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import helper

Array = np.ndarray
Function = Callable[[Array], Array]


def functions(names: list[str], alphas: list[float], betas: list[float]) -> list[Function]:
    """ONNX's activations, with their constants consumed in order."""
    alphas, betas, found = list(alphas), list(betas), []

    def constant(values: list[float], default: float) -> float:
        return values.pop(0) if values else float(np.float32(default))

    for name in names:
        alpha, beta = 0.0, 0.0
        if name in ("Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh", "HardSigmoid", "Elu"):
            alpha = constant(alphas, {"LeakyRelu": 0.01, "HardSigmoid": 0.2}.get(name, 1.0))
        if name in ("Affine", "ScaledTanh", "HardSigmoid"):
            beta = constant(betas, 0.5 if name == "HardSigmoid" else 0.0)
        found.append(function(name, alpha, beta))
    return found


def function(name: str, alpha: float, beta: float) -> Function:
    return {
        "Relu": lambda x: np.maximum(x, 0),
        "Tanh": np.tanh,
        "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
        "Affine": lambda x: alpha * x + beta,
        "LeakyRelu": lambda x: np.where(x >= 0, x, alpha * x),
        "ThresholdedRelu": lambda x: np.where(x >= alpha, x, 0),
        "ScaledTanh": lambda x: alpha * np.tanh(beta * x),
        "HardSigmoid": lambda x: np.minimum(np.maximum(alpha * x + beta, 0), 1),
        "Elu": lambda x: np.where(x >= 0, x, alpha * (np.exp(x) - 1)),
        "Softsign": lambda x: x / (1 + np.abs(x)),
        "Softplus": lambda x: np.log(1 + np.exp(x)),
    }[name]


def step(
    op: str, w: dict[str, Array], x: Array, h: Array, c: Array, options: dict[str, Any]
) -> tuple[Array, Array]:
    """One step of one row."""
    act, clip = options["functions"], options.get("clip")

    def bound(a: Array) -> Array:
        return a if clip is None else np.clip(a, -clip, clip)

    gates = {"RNN": "i", "LSTM": "iofc", "GRU": "zrh"}[op]
    H = len(h)
    W, R = (dict(zip(gates, w[name].reshape(len(gates), H, -1))) for name in ("W", "R"))
    Wb, Rb = (dict(zip(gates, part.reshape(len(gates), H))) for part in np.split(w["B"], 2))
    u, v = ({k: M[k] @ value + b[k] for k in gates} for M, value, b in ((W, x, Wb), (R, h, Rb)))
    if op == "RNN":
        return act[0](bound(u["i"] + v["i"])), c
    if op == "GRU":
        z, r = act[0](bound(u["z"] + v["z"])), act[0](bound(u["r"] + v["r"]))
        n = r * v["h"] if options.get("linear_before_reset") else R["h"] @ (r * h) + Rb["h"]
        return (1 - z) * act[1](bound(u["h"] + n)) + z * h, c
    Pi, Po, Pf = np.split(w["P"], 3)
    i = act[0](bound(u["i"] + v["i"] + Pi * c))
    f = 1 - i if options.get("input_forget") else act[0](bound(u["f"] + v["f"] + Pf * c))
    new = f * c + i * act[1](bound(u["c"] + v["c"]))
    o = act[0](bound(u["o"] + v["o"] + Po * new))
    return o * act[2](new), new


def run_printed(op: str, inputs: dict[str, Array], attributes: dict[str, Any]) -> list[Array]:
    """Y (T, D, B, H), Y_h and Y_c (D, B, H) in float64; a row of length 0 keeps its first state."""
    inputs = {
        name: value.astype(np.float64) if value.dtype.kind == "f" else value
        for name, value in inputs.items()
    }
    X, R, direction = inputs["X"], inputs["R"], attributes.get("direction", "forward")
    D, T, B, H = len(R), X.shape[0], X.shape[1], R.shape[-1]
    default = {"RNN": ["Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"]}[op]
    names = attributes.get("activations") or default * D
    alphas, betas = (
        [float(np.float32(v)) for v in attributes.get(f"activation_{k}", [])]
        for k in ("alpha", "beta")
    )
    act = functions(names, alphas, betas)
    options = dict(
        attributes, clip=float(np.float32(attributes["clip"])) if "clip" in attributes else None
    )
    lens = inputs.get("sequence_lens", np.full(B, T))
    Y, Y_h, Y_c = np.zeros((T, D, B, H)), np.zeros((D, B, H)), np.zeros((D, B, H))
    for d in range(D):
        w = {
            name: inputs[name][d] if name in inputs else np.zeros(size)
            for name, size in (("W", 0), ("R", 0), ("B", 2 * R.shape[1]), ("P", 3 * H))
        }
        options["functions"] = act[d * len(default) : (d + 1) * len(default)]
        for b in range(B):
            h, c = (
                inputs[name][d, b] if name in inputs else np.zeros(H)
                for name in ("initial_h", "initial_c")
            )
            steps = range(int(lens[b]))
            for t in reversed(steps) if direction == "reverse" or d else steps:
                h, c = step(op, w, X[t, b], h, c, options)
                Y[t, d, b] = h
            Y_h[d, b], Y_c[d, b] = h, c
    return [Y, Y_h, Y_c][: 3 if op == "LSTM" else 2]


def model_of(node: Any, inputs: dict[str, Array]) -> onnx.ModelProto:
    """A model of one node whose inputs are all fed."""
    infos = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for n, v in inputs.items()
    ]
    kind = helper.np_dtype_to_tensor_dtype(inputs[node.input[1]].dtype)
    outputs = [
        helper.make_tensor_value_info(name, kind, [None] * (3 if number else 4))
        for number, name in enumerate(node.output)
    ]
    graph = helper.make_graph([node], "one", infos, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)


def run_runtime(node: Any, inputs: dict[str, Array]) -> list[Array]:
    """The outputs of ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    model = model_of(node, inputs).SerializeToString()
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"]).run(
        None, inputs
    )
