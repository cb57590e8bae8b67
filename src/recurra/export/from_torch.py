"""From a PyTorch module to a network: recurra's own models and layers, torch.nn's, and modules made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from recurra.errors import ArgumentError, ConversionError, ShapeError, shape_text
from recurra.export.torch_check import compare, evaluating
from recurra.export.torch_flow import ORDERS, Flow, Path
from recurra.export.torch_forward import followed
from recurra.export.torch_layers import WidthUnknown, contained, contains, first, is_known, taken
from recurra.layers import SequenceModule
from recurra.models import LanguageModel
from recurra.network import Network


def network_of(
    module: nn.Module, *, example: Any = None, vocabulary: Mapping[str, Any] | None = None, facts: Mapping[str, Any] | None = None,
    check: bool = True,
) -> Network:  # fmt: skip
    """The network that a module computes at evaluation, its weights as float32, rounded where they hold more.

    Takes a `LanguageModel`; `Recurrent`, `RNN`, `LSTM`, `GRU`, their cells, `Stack`, `Residual` and what drops out; torch.nn's
    Embedding, Linear, LayerNorm, ReLU, Tanh, Sigmoid, GELU, RNN, LSTM, GRU, their cells, dropout, and Conv1d that looks back only;
    all of them in `Sequential` and `ModuleList`, and in a module with a forward of its own that calls one after another and adds
    x + f(x). Cells of one's own come along as programs. However a module takes its input, (T, B, I), (B, T, I) or (B, I, T), the
    network's is (T, B, I); every row begins with the layers' own first state.

    Args:
        module: what to take; it is left as it is.
        example: an input as the module takes it, for `check`, and to tell how wide an input is that no layer says; else drawn.
        vocabulary: what the tokens stand for, as `record()` gives it; that of a LanguageModel if None.
        facts: of the model: "licence" and so on.
        check: run the module on a few steps, and refuse where the network gives other numbers.

    Raises:
        ConversionError: something in it cannot be taken; named, with the reason.
        DtypeError: a weight is of no floating-point dtype, or holds no numbers yet.
        ProgramError: a cell of one's own cannot be traced.
        ArgumentError: `module` is none, or `example` does not fit.

    >>> network = network_of(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), recurra.LSTM(4, 5)))
    >>> network.input_size, network.output_size, [spec.name for spec in network.states]
    (3, 5, ['2.h', '2.c'])
    """
    if not isinstance(module, nn.Module):
        raise ArgumentError(f"module must be a torch.nn.Module, got {type(module).__name__}")
    if isinstance(module, LanguageModel) and vocabulary is None and module.vocabulary is not None:
        vocabulary = module.vocabulary.record()
    try:
        with evaluating(module), torch.no_grad():
            path, flow = _led(module, None if example is None else torch.as_tensor(example))
        network = Network(flow.layers, vocabulary, dict(facts or {}))
    except ShapeError as error:
        raise ConversionError(f"module must be made of layers that fit together, got some where {error}") from error
    if check:
        order = path.orders[0]
        compare(module, network, (order, flow.axes[order]), example)
    return network


def _led(module: nn.Module, example: torch.Tensor | None) -> tuple[Path, Flow]:
    """The way through a module, and what comes out of it; where no layer tells the input's width, the example does."""
    orders = ORDERS if example is None else _orders(example)
    try:
        return _path(module, Path(orders))
    except WidthUnknown:
        if example is None:
            raise
    failed: list[ConversionError] = []
    for width in dict.fromkeys(example.shape[order.index("C")] for order in orders):
        try:
            return _path(module, Path([order for order in orders if example.shape[order.index("C")] == width], width))
        except ConversionError as error:
            failed.append(error)
    raise failed[0]


def _path(module: nn.Module, path: Path) -> tuple[Path, Flow]:
    flow = first(_through(path, "module", module, path.begin()))
    if not flow.layers:
        raise ConversionError("module must hold layers that compute something, got none")
    path.check_whole("what follows module", flow)
    return path, flow


def _orders(example: torch.Tensor) -> list[str]:
    """The orders that an example may be in."""
    orders = [order for order in ORDERS if len(order) == example.ndim and ("C" in order) == example.is_floating_point()]
    if not orders:
        wanted = "features of 2 or 3 axes, or tokens of 1 or 2"
        raise ArgumentError(f"example must be {wanted}, got {example.dtype} of shape {shape_text(example.shape)}")
    return orders


def _through(path: Path, name: str, module: nn.Module, flow: Flow) -> Any:
    """A flow through any module."""

    def call(name: str, module: nn.Module, flow: Flow) -> Any:
        return _through(path, name, module, flow)

    if contains(module):
        return contained(path, name, module, flow, call)
    if is_known(module):
        return taken(path, name, module, flow)
    if isinstance(module, SequenceModule) and (why := module.streaming_obstacle()):
        raise ConversionError(f"{name} must be able to stream, got {type(module).__name__}: {why}")
    return followed(path, name, module, flow, call)
