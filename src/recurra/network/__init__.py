"""A trained network as data: layers, their weights, and a cell's program where there is one. No
PyTorch.

Whatever streams or is exported is read from here: the runtime, its files, ONNX graphs, C headers.
"""

from recurra.network.layer import Layer, StateSpec
from recurra.network.layers import (
    ACTIVATIONS,
    Activation,
    AdaptiveSoftmax,
    Conv,
    Embedding,
    LayerNorm,
    Linear,
    Residual,
)
from recurra.network.loop import Loop
from recurra.network.matrix import PRECISIONS, Matrix
from recurra.network.network import Network
from recurra.network.recurrent import Recurrent

__all__ = [
    "ACTIVATIONS",
    "PRECISIONS",
    "Activation",
    "AdaptiveSoftmax",
    "Conv",
    "Embedding",
    "Layer",
    "LayerNorm",
    "Linear",
    "Loop",
    "Matrix",
    "Network",
    "Recurrent",
    "Residual",
    "StateSpec",
]
