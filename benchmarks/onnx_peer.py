"""The step of a torch.nn.LSTM or GRU in ONNX Runtime, one thread, float32 or dynamically
quantised.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROWS = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}
"""ONNX's order of gates (i o f c, z r h) out of torch's (i f g o, r z n)."""


def onnx_step(
    kind: str, layer: Any, x: np.ndarray[Any, Any], int8: bool = False
) -> Callable[[], object]:
    """A call that runs one step with the state fed back, as a stream would.

    Args:
        kind: "lstm" or "gru".
        layer: torch.nn's, one direction.
        x: (1, I), the input.
        int8: quantise the weights as onnxruntime.quantization.quantize_dynamic does.
    """
    import onnx
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "step.onnx"
        onnx.save(_graph(kind, layer), path)
        if int8:
            quantize_dynamic(path, Path(folder) / "int8.onnx", weight_type=QuantType.QInt8)
            path = Path(folder) / "int8.onnx"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
    names = [each.name for each in session.get_inputs()][1:]
    state = {name: np.zeros((1, 1, layer.hidden_size), np.float32) for name in names}
    wide = x[None]

    def step() -> object:
        nonlocal state
        y, *after = session.run(None, {"x": wide, **state})
        state = dict(zip(names, after))
        return y

    return step


def _graph(kind: str, layer: Any) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    hidden, parts = layer.hidden_size, ("h", "c") if kind == "lstm" else ("h",)
    nodes, weights, inputs, outputs = [], [numpy_helper.from_array(np.array([1]), "axis")], [], []
    inputs.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, layer.input_size]))
    before = "x"
    for number in range(layer.num_layers):
        for name, array in _arrays(kind, layer, number).items():
            weights.append(numpy_helper.from_array(array, f"{name}{number}"))
        states = [f"{part}{number}" for part in parts]
        after = [f"{part}{number}_out" for part in parts]
        for name, group in ((states, inputs), (after, outputs)):
            group += [
                helper.make_tensor_value_info(each, TensorProto.FLOAT, [1, 1, hidden])
                for each in name
            ]
        attributes = {"hidden_size": hidden} | ({"linear_before_reset": 1} if kind == "gru" else {})
        given = [before, *(f"{name}{number}" for name in "WRB"), "", *states]
        nodes.append(helper.make_node(kind.upper(), given, [f"Y{number}", *after], **attributes))
        before = f"y{number}"
        nodes.append(helper.make_node("Squeeze", [f"Y{number}", "axis"], [before]))
    outputs.insert(0, helper.make_tensor_value_info(before, TensorProto.FLOAT, [1, 1, hidden]))
    graph = helper.make_graph(nodes, "step", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def _arrays(kind: str, layer: Any, number: int) -> dict[str, np.ndarray[Any, Any]]:
    def ordered(name: str) -> np.ndarray[Any, Any]:
        array = getattr(layer, f"{name}_l{number}").detach().numpy()
        blocks = array.reshape(len(ROWS[kind]), layer.hidden_size, *array.shape[1:])
        return np.ascontiguousarray(blocks[list(ROWS[kind])].reshape(array.shape))

    bias = np.concatenate([ordered("bias_ih"), ordered("bias_hh")])
    return {"W": ordered("weight_ih")[None], "R": ordered("weight_hh")[None], "B": bias[None]}
