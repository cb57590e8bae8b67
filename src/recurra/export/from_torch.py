"""From a PyTorch module to a network: recurra's own models and layers, and torch.nn's where they stand in a row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recurra import cells
from recurra.cells import Cell
from recurra.errors import ArgumentError, ConversionError
from recurra.layers import Bidirectional, LockedDropout, SequenceModule, Stack, WeightDropout
from recurra.layers import Recurrent as RecurrentLayer
from recurra.layers import Residual as ResidualLayer
from recurra.layers.torch_like import TorchLike
from recurra.models import LanguageModel
from recurra.network import Activation, Embedding, Layer, LayerNorm, Linear, Loop, Matrix, Network, Recurrent, Residual
from recurra.program import trace
from recurra.program.evaluation import forward_only

DROPPED = (nn.Dropout, nn.Dropout1d, nn.AlphaDropout, nn.Identity, LockedDropout)
FUNCTIONS: dict[type, str] = {nn.ReLU: "relu", nn.Tanh: "tanh", nn.Sigmoid: "sigmoid"}
STEPS = 5
"""Steps on which the network is compared with the module that it was made from."""


def network_of(
    module: nn.Module, *, vocabulary: Mapping[str, Any] | None = None, facts: Mapping[str, Any] | None = None, check: bool = True
) -> Network:
    """The network that a module computes at evaluation, its weights as float32.

    Takes a `LanguageModel`; `Recurrent`, `RNN`, `LSTM`, `GRU`, `Stack`, `Residual` and what drops out; torch.nn's Embedding,
    Linear, LayerNorm, ReLU, Tanh, Sigmoid, GELU, RNN, LSTM, GRU and dropout; all of them in `Sequential` and `ModuleList`. Cells
    of one's own come along as programs.

    Args:
        module: what to take; it is left as it is.
        vocabulary: what the tokens stand for, as `record()` gives it; that of a LanguageModel if None.
        facts: of the model: "licence" and so on.
        check: run a module that has a forward of its own kind, and refuse where the network gives other numbers.

    Raises:
        ConversionError: something in it cannot be taken; named, with the reason.

    >>> network = network_of(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), recurra.LSTM(4, 5)))
    >>> network.input_size, network.output_size, [spec.name for spec in network.states]
    (3, 5, ['2.h', '2.c'])
    """
    if not isinstance(module, nn.Module):
        raise ArgumentError(f"module must be a torch.nn.Module, got {type(module).__name__}")
    layers = tuple(_layers("module", module))
    if not layers:
        raise ConversionError("module must hold layers that compute something, got none")
    if isinstance(module, LanguageModel) and vocabulary is None and module.vocabulary is not None:
        vocabulary = module.vocabulary.record()
    network = Network(layers, vocabulary, dict(facts or {}))
    if check and isinstance(module, (SequenceModule, nn.LSTM, nn.GRU, nn.RNN)):
        _compare(module, network)
    return network


def _layers(name: str, module: nn.Module, width: int | None = None) -> Iterator[Layer]:
    """The layers that a module stands for, in order; `width` is that of what goes in, where it is known."""
    if isinstance(module, (nn.Sequential, nn.ModuleList, Stack)):
        for number, child in enumerate(module.layers if isinstance(module, Stack) else module):
            for made in _layers(f"{name}.{number}", child, width):
                width = made.widths[1]
                yield made
    elif isinstance(module, LanguageModel):
        yield from _language_model(name, module)
    elif isinstance(module, ResidualLayer):
        inner = tuple(_layers(f"{name}.layer", module.layer, width))
        if not inner:
            raise ConversionError(f"{name} must hold a layer that computes something, got {module.layer!r}")
        yield Residual(inner)
    elif isinstance(module, (RecurrentLayer, WeightDropout)):
        layer: Any = module.layer if isinstance(module, WeightDropout) else module
        yield _recurrent(name, layer.cell, layer.weights())
    elif isinstance(module, (TorchLike, nn.RNN, nn.LSTM, nn.GRU)):
        if module.bidirectional:
            raise ConversionError(f"{name} must run forward only to stream, got bidirectional=True: it needs the whole future")
        yield from _torch_layers(name, module) if isinstance(module, nn.RNNBase) else (_recurrent(name, *part) for part in module.parts())
    elif type(module) in FUNCTIONS or isinstance(module, nn.GELU):
        if width is None:
            raise ConversionError(f"{name} must come after a layer that says how wide it is, got {type(module).__name__} first")
        kind = FUNCTIONS.get(type(module)) or ("gelu" if module.approximate == "none" else "gelu_tanh")
        yield Activation(str(kind), width)
    elif not isinstance(module, DROPPED):
        yield _plain(name, module)


def _plain(name: str, module: nn.Module) -> Layer:
    """A layer of torch.nn that has no state."""
    if isinstance(module, nn.Embedding):
        if module.max_norm is not None:
            raise ConversionError(f"{name} must be an embedding without max_norm, got max_norm={module.max_norm}")
        return Embedding(Matrix(_array(f"{name}.weight", module.weight)))
    if isinstance(module, nn.Linear):
        return Linear(Matrix(_array(f"{name}.weight", module.weight)), _optional(f"{name}.bias", module.bias))
    if isinstance(module, nn.LayerNorm):
        if len(module.normalized_shape) != 1:
            raise ConversionError(f"{name} must be a LayerNorm over the last axis, got one over {tuple(module.normalized_shape)}")
        gain, bias = _optional(f"{name}.weight", module.weight), _optional(f"{name}.bias", module.bias)
        return LayerNorm(module.normalized_shape[0], gain, bias, module.eps)
    if isinstance(module, Bidirectional):
        raise ConversionError(f"{name} must be able to stream, got Bidirectional: {module.streaming_obstacle()}")
    raise ConversionError(
        f"{name} must be a layer that streams, got {type(module).__name__}; recurra takes Embedding, Linear, LayerNorm, ReLU, Tanh, "
        "Sigmoid, GELU, dropout, RNN, LSTM, GRU and its own layers, in Sequential"
    )


def _language_model(name: str, model: LanguageModel) -> Iterator[Layer]:
    if model.adaptive is not None:
        raise ConversionError(f"{name} must have a softmax over all words to stream, got an adaptive one; train with adaptive left out")
    table = Matrix(_array("embedding.weight", model.embedding.weight))
    yield Embedding(table)
    yield from _layers(f"{name}.recurrent", model.recurrent)
    if isinstance(model.bottleneck, nn.Linear):
        yield _plain(f"{name}.bottleneck", model.bottleneck)
    weight = table if model.decoder is None else Matrix(_array("decoder", model.decoder))
    yield Linear(weight, _optional("decoder_bias", model.decoder_bias))


def _recurrent(name: str, cell: Cell, weights: Mapping[str, Tensor]) -> Recurrent:
    arrays = {key: _array(f"{name}.{key}", weight) for key, weight in weights.items()}
    matrices = {key: Matrix(array) for key, array in arrays.items() if array.ndim == 2}
    return Recurrent(forward_only(trace(cell)), matrices, {key: array for key, array in arrays.items() if array.ndim == 1})


def _torch_layers(name: str, module: Any) -> Iterator[Recurrent]:
    cell: Cell = cells.GRU()
    if isinstance(module, nn.LSTM):
        cell = cells.ProjectedLSTM(module.proj_size) if module.proj_size else cells.LSTM()
    elif isinstance(module, nn.RNN):
        cell = cells.Elman(module.nonlinearity)
    for number in range(module.num_layers):
        named = {key: getattr(module, f"{key}_l{number}", None) for key in ("weight_ih", "weight_hh", "weight_hr", "bias_ih", "bias_hh")}
        yield _recurrent(name, cell, {key: weight for key, weight in named.items() if weight is not None})


def _array(name: str, weight: Tensor) -> np.ndarray[Any, Any]:
    array: np.ndarray[Any, Any] = np.array(weight.detach().cpu().float().numpy(), copy=True, order="C")
    if not np.isfinite(array).all():
        raise ConversionError(f"{name} must be finite, got a weight that is not")
    return array


def _optional(name: str, weight: Tensor | None) -> np.ndarray[Any, Any] | None:
    return None if weight is None else _array(name, weight)


def _compare(module: nn.Module, network: Network) -> None:
    """Raise unless both give the same: a subclass may compute something else."""
    draws = np.random.default_rng(0)
    shape = (STEPS, 2) if network.reads_tokens else (STEPS, 2, network.input_size)
    x = draws.integers(0, network.input_size, shape) if network.reads_tokens else draws.standard_normal(shape)
    weight = next(module.parameters())
    given = torch.from_numpy(x) if network.reads_tokens else torch.from_numpy(x).to(weight.dtype)
    turned, before = bool(getattr(module, "batch_first", False)), module.training
    try:
        with torch.no_grad():
            done = module.eval()((given.transpose(0, 1) if turned else given).to(weight.device))
    finally:
        module.train(before)
    theirs = done[0] if isinstance(done, tuple) else done
    theirs = (theirs.transpose(0, 1) if turned else theirs).double().cpu().numpy()
    ours = Loop(network, 2).run(x)
    difference = float(np.abs(ours - theirs).max()) if ours.shape == theirs.shape else float("inf")
    if not difference <= 1e-3 * max(1.0, float(np.abs(theirs).max())):
        raise ConversionError(f"module must compute what its layers say, got numbers that differ by {difference:.1e}; is forward its own?")
