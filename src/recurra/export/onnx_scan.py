"""A recurrent layer over time in ONNX: one of its own operators, a Scan, or one step."""

from __future__ import annotations

from recurra.export.onnx_cells import own_operator
from recurra.export.onnx_sheet import Sheet
from recurra.export.onnx_steps import Step
from recurra.export.onnx_weights import Weights
from recurra.network import Recurrent


def recurrent(
    weights: Weights, layer: Recurrent, place: str, x: str, states: dict[str, str], sequence: bool
) -> tuple[str, dict[str, str]]:
    """Write a recurrent layer.

    Args:
        weights: where its weights go, with the graph's sheet.
        layer: the layer.
        place: what the names of its weights begin with.
        x: (T, B, I), or (B, I) for one step.
        states: the values that hold its state, by name, each (B, width).
        sequence: whether x is a sequence.

    Returns:
        The value that holds its output, and those that hold its new state.
    """
    operator = own_operator(layer.program)
    if operator is not None:
        return operator.write(weights, layer, place, x, states, sequence)
    step = Step(weights, layer, place)
    u = step.project(x, sequence)
    if sequence:
        return _scan(step, place, u, states)
    after = step.run(weights.sheet, u, states)
    return after[next(iter(layer.program.state))], after


def _scan(step: Step, place: str, u: str, states: dict[str, str]) -> tuple[str, dict[str, str]]:
    """The layer as a Scan, whose body is the step: it holds the state and reads u row by row."""
    outer, layer = step.weights.sheet, step.layer
    onnx, widths = outer.onnx, layer.state_widths
    body = Sheet(onnx, outer)
    after = step.run(body, f"{place}u", {name: f"{place}{name}" for name in widths})
    for name, value in after.items():
        body.name(value, f"{place}{name}_next")
    body.name(after[next(iter(after))], f"{place}y")

    def described(name: str, width: int) -> object:
        return onnx.helper.make_tensor_value_info(
            f"{place}{name}", onnx.TensorProto.FLOAT, ["batch", width]
        )

    inputs = [described(name, width) for name, width in widths.items()] + [
        described("u", len(layer.program.gates) * layer.hidden)
    ]
    outputs = [described(f"{name}_next", width) for name, width in widths.items()] + [
        described("y", layer.widths[1])
    ]
    graph = onnx.helper.make_graph(body.nodes, f"{place}step", inputs, outputs)
    found = outer.many(
        "Scan",
        (*(states[name] for name in widths), u),
        len(widths) + 1,
        body=graph,
        num_scan_inputs=1,
    )
    return found[-1], dict(zip(widths, found))
