"""Weights to and from other libraries: exact, or refused with the attribute named."""

from recurra.errors import import_for

import_for(__name__, "torch")

from recurra.convert.keras import Backward, from_keras, from_keras_weights, to_keras_weights
from recurra.convert.onnx import from_onnx_node
from recurra.convert.onnx_layer import OnnxLayer
from recurra.convert.onnx_writer import to_onnx_node
from recurra.convert.textbook import from_textbook
from recurra.convert.torch_nn import to_torch
from recurra.layers.replace import from_torch

__all__ = [
    "Backward",
    "OnnxLayer",
    "from_keras",
    "from_keras_weights",
    "from_onnx_node",
    "from_textbook",
    "from_torch",
    "to_keras_weights",
    "to_onnx_node",
    "to_torch",
]
