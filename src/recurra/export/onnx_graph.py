"""A network as an ONNX model: one step, or a sequence of any length."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path
from typing import Any

from recurra.durable import write_durably
from recurra.errors import ArgumentError, ConversionError, RunError, choice_text
from recurra.export.onnx_backend import Written
from recurra.export.onnx_sheet import IR_VERSION, OPSET, Sheet, require_onnx
from recurra.export.onnx_weights import Weights
from recurra.export.signature import KINDS, record, state_names
from recurra.network import Network
from recurra.network.equations import chain

FORMAT = "recurra-onnx-1"
MOST_BYTES = 2**31 - 2**20
"""Of all arrays: a protobuf message, which an ONNX file is, ends at 2 GB."""


def to_onnx(
    network: Network, path: str | PathLike[str] | None = None, *, kind: str = "step"
) -> Any:
    """Make the ONNX model of a network, opset 17, in which the state goes in and comes out.

        "step"        x (batch, I), state_1_h (batch, H), ...
                      -> y (batch, O), state_1_h_out (batch, H), ...
        "sequence"    x (time, batch, I), state_1_h (batch, H), ...
                      -> y (time, batch, O), state_1_h_out (batch, H), ...

    Batch and time may be of any size, and differ from run to run; a sequence in chunks, each with
    the state that the one before gave, equals the whole. A network that reads tokens takes x of
    int64 without the last axis. `initial_states` gives the state to begin with. LSTM, GRU and
    simple RNN layers become ONNX's operators; any other cell a Scan, or in the step graph the nodes
    themselves, printed from its program. Quantised matrices are kept as they are, and turned into
    float32 where they are used.

    The model's metadata hold under "recurra" a JSON record: the states with their names, widths and
    first values, the vocabulary, the facts, the opset.

    Args:
        network: the network.
        path: where the model is written too, if anywhere.
        kind: "step" or "sequence".

    Returns:
        The onnx.ModelProto.

    Raises:
        ArgumentError: `kind` is neither.
        ConversionError: the weights take more than 2 GB, or two states would have one name.
        RunError: the file cannot be written.
        MissingDependency: the onnx package is not installed.

    Source: the ONNX operators of opset 17; the LSTM, GRU and RNN of version 14.

    >>> import numpy as np
    >>> from recurra.network import Linear, Matrix
    >>> model = to_onnx(Network((Linear(Matrix(np.ones((2, 3), np.float32))),)), kind="sequence")
    >>> [node.op_type for node in model.graph.node]
    ['Transpose', 'MatMul']
    """
    if kind not in KINDS:
        raise ArgumentError(choice_text("kind", kind, KINDS))
    onnx = require_onnx("to_onnx")
    _check_size(network)
    model = _model(network, kind, Sheet(onnx))
    if path is not None:
        path = Path(path)
        try:
            write_durably(path, lambda beside: beside.write_bytes(model.SerializeToString()))
        except OSError as error:
            raise RunError(
                f"path must be a file that can be written, got {str(path)!r} ({error})"
            ) from None
    return model


def _check_size(network: Network) -> None:
    if network.nbytes > MOST_BYTES:
        raise ConversionError(
            f"network must take less than {MOST_BYTES} bytes as one ONNX file, got"
            f" {network.nbytes}; quantise it"
        )


def _model(network: Network, kind: str, sheet: Sheet) -> Any:
    """The model, its nodes written on a fresh sheet."""
    onnx, names = sheet.onnx, state_names(network)
    written = Written(network, Weights(sheet), names, kind == "sequence")
    sheet.name(chain(written, network.layers, "", "x"), "y")
    for name, value in written.after.items():
        sheet.name(value, f"{names[name]}_out")
    steps = ["time", "batch"] if kind == "sequence" else ["batch"]
    kinds = onnx.TensorProto
    described = onnx.helper.make_tensor_value_info
    x = (
        described("x", kinds.INT64, steps)
        if network.reads_tokens
        else described("x", kinds.FLOAT, [*steps, network.input_size])
    )
    before = [
        described(names[spec.name], kinds.FLOAT, ["batch", spec.width]) for spec in network.states
    ]
    after = [
        described(f"{names[spec.name]}_out", kinds.FLOAT, ["batch", spec.width])
        for spec in network.states
    ]
    y = described("y", kinds.FLOAT, [*steps, network.output_size])
    graph = onnx.helper.make_graph(
        sheet.nodes, f"recurra_{kind}", [x, *before], [y, *after], sheet.arrays
    )
    opset = [onnx.helper.make_opsetid("", OPSET)]
    model = onnx.helper.make_model(
        graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="recurra"
    )
    onnx.helper.set_model_props(
        model, {"recurra": json.dumps(record(network, kind, format=FORMAT, opset=OPSET))}
    )
    return model
