"""Networks run as ONNX models by ONNX Runtime, and held to the loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime

from recurra.export import initial_states, to_onnx
from recurra.network import Loop, Network

Arrays = list[np.ndarray[Any, Any]]
EPS = float(np.finfo(np.float32).eps)


def session(model: Any) -> Any:
    """The model, found right by the checker, in ONNX Runtime with one thread."""
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def whole(network: Network, x: Any) -> Arrays:
    """A sequence at once: the output, then the state."""
    found: Arrays = session(to_onnx(network, kind="sequence")).run(
        None, {"x": x, **initial_states(network, x.shape[1])}
    )
    return found


def in_parts(network: Network, x: Any, size: int) -> Arrays:
    """A sequence in chunks, the state carried."""
    ready, state, outputs = (
        session(to_onnx(network, kind="sequence")),
        initial_states(network, x.shape[1]),
        [],
    )
    for start in range(0, len(x), size):
        y, *after = ready.run(None, {"x": x[start : start + size], **state})
        outputs.append(y)
        state = dict(zip(state, after, strict=True))
    return [np.concatenate(outputs), *state.values()]


def step_by_step(network: Network, x: Any) -> Arrays:
    """A sequence through the step graph."""
    ready, state, outputs = session(to_onnx(network)), initial_states(network, x.shape[1]), []
    for row in x:
        y, *after = ready.run(None, {"x": row, **state})
        outputs.append(y)
        state = dict(zip(state, after, strict=True))
    return [np.stack(outputs), *state.values()]


def looped(network: Network, x: Any, dtype: str) -> Arrays:
    loop = Loop(network, x.shape[1], dtype)
    return [loop.run(x), *loop.state.values()]


def held(network: Network, x: Any, found: Arrays) -> None:
    """Assert that outputs and states are what the loop gives, within the bound."""
    exact, single = looped(network, x, "float64"), looped(network, x, "float32")
    assert [a.shape for a in found] == [a.shape for a in exact]
    assert all(a.dtype == np.float32 for a in found)
    error = max(float(np.abs(a - b).max(initial=0)) for a, b in zip(single, exact))
    allowed = 2 * error + 16 * EPS * max(1.0, *(float(np.abs(a).max(initial=0)) for a in exact))
    difference = max(float(np.abs(a - b).max(initial=0)) for a, b in zip(found, exact))
    assert difference <= allowed, f"{difference:.2e} is more than {allowed:.2e}"


def every_way(network: Network, x: Any) -> None:
    """Assert it of the whole sequence, of two chunks and of single steps."""
    held(network, x, whole(network, x))
    if len(x) > 1:
        held(network, x, in_parts(network, x, (len(x) + 1) // 2))
    held(network, x, step_by_step(network, x))


def drawn(network: Network, steps: int, batch: int, seed: int = 1) -> Any:
    """Input for a network."""
    random = np.random.default_rng(seed)
    if network.reads_tokens:
        return random.integers(0, network.input_size, (steps, batch))
    return random.standard_normal((steps, batch, network.input_size)).astype(np.float32)


def operators(graph: Any) -> list[str]:
    """The operators of a graph, those of a Scan's body left out."""
    return [node.op_type for node in graph.node]
