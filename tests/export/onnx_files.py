"""ONNX files as PyTorch's exporters write them, and graphs written by hand."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from recurra.export import network_of
from recurra.network import Loop, Network
from tests.network.nets import numbers

Array = np.ndarray[Any, Any]
FLOAT, TOKENS = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


class Tagger(nn.Module):
    """Tokens (B, T) through two LSTMs, layer norm and GELU."""

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.table, self.lstm = nn.Embedding(11, 6), nn.LSTM(6, 8, 2, batch_first=True)
        self.norm, self.out = nn.LayerNorm(8), nn.Linear(8, 5)
        self.gelu, self.drop = nn.GELU(approximate), nn.Dropout(0.5)
        nn.init.normal_(self.norm.weight)
        nn.init.normal_(self.norm.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.drop(self.gelu(self.norm(self.lstm(self.table(x))[0]))))  # type: ignore[no-any-return]


class Stateful(nn.Module):
    """Features (T, B, I) through two GRUs that are given their state and hand it back."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.out = nn.GRU(6, 8, 2), nn.Linear(8, 1)

    def forward(self, x: torch.Tensor, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y, h = self.gru(x, h)
        return torch.sigmoid(self.out(y)), h


class Convolved(nn.Module):
    """Features (B, T, I) through a causal convolution, one that cuts its end off, and an RNN."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (
            nn.Conv1d(4, 6, 3, dilation=2),
            nn.Conv1d(6, 6, 2, padding=1, groups=2),
        )
        self.rnn = nn.RNN(6, 5, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.first(nn.functional.pad(x.transpose(1, 2), (4, 0))))
        return self.rnn((x + torch.tanh(self.second(x)[..., :-1])).transpose(1, 2))[0]  # type: ignore[no-any-return]


def exported(
    module: nn.Module,
    inputs: tuple[torch.Tensor, ...],
    path: Path,
    opset: int,
    axes: dict[int, str],
) -> Path:
    """A file of PyTorch's own exporter, with free axes."""
    names = ["x", "h"][: len(inputs)]
    free = {"x": axes, "h": {1: "b"}, "y": axes}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval().float(),
            inputs,
            str(path),
            opset_version=opset,
            dynamo=False,
            input_names=names,
            output_names=["y"],
            dynamic_axes={name: free[name] for name in (*names, "y")},
        )
    return path


def node(op: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    """A node, its inputs and outputs written with spaces between; "-" is one left out."""
    names = [[each.replace("-", "") for each in text.split()] for text in (inputs, outputs)]
    return onnx.helper.make_node(op, *names, **attributes)


def written(
    path: Path,
    nodes: list[Any],
    constants: dict[str, Any],
    axes: Any = ("t", "b", 3),
    kind: int = FLOAT,
    **options: Any,
) -> Path:
    """A graph from x, and the further inputs of `options["more"]`, to `options["outputs"]`, by
    default y, as a file.
    """
    inputs = [onnx.helper.make_tensor_value_info("x", kind, axes)]
    inputs += [
        onnx.helper.make_tensor_value_info(name, FLOAT, size)
        for name, size in options.get("more", {}).items()
    ]
    given = FLOAT if kind == TOKENS else kind
    outputs = [
        onnx.helper.make_tensor_value_info(name, given, None)
        for name in options.get("outputs", ["y"])
    ]
    arrays = [
        onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()
    ]
    graph = onnx.helper.make_graph(nodes, "graph", inputs, outputs, arrays)
    domains = [
        onnx.helper.make_opsetid("", options.get("opset", 17)),
        onnx.helper.make_opsetid("others", 1),
    ]
    onnx.save(onnx.helper.make_model(graph, opset_imports=domains, ir_version=8), path)
    return path


def answer(path: Path, x: Array, output: str = "y", **more: Array) -> Array:
    """What ONNX Runtime gives."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found: Array = session.run([output], {"x": x, **more})[0]
    return found


def agrees(path: Path, x: Array, order: str = "TBC", **more: Array) -> Network:
    """The network of a file gives what ONNX Runtime gives, whose output lies in the same order as
    its input; the network.
    """
    network = network_of(path, check=False)
    places = [order.index(axis) for axis in "TBC" if axis in order]
    mine = x.transpose(places[: x.ndim])
    theirs = answer(path, x, **more).transpose(places)
    found = Loop(network, mine.shape[1]).run(mine)
    assert found.shape == theirs.shape and np.abs(found - theirs).max() < 1e-5 * max(
        1.0, float(np.abs(found).max())
    )
    return network_of(path)


X = numbers(7, 2, 3)
