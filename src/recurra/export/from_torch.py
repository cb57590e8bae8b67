"""From a PyTorch module to a network: recurra's own models and layers, torch.nn's, and modules made
of them; or from an ONNX file.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

import torch
from torch import nn

from recurra.errors import ArgumentError, ConversionError, ShapeError, shape_text
from recurra.export.from_onnx import from_onnx
from recurra.export.torch_check import Signature, compare, evaluating
from recurra.export.torch_flow import ORDERS, Flow, Path, led
from recurra.export.torch_forward import followed
from recurra.export.torch_layers import contained, contains, first, is_known, taken
from recurra.layers import SequenceModule
from recurra.layers.weight_hooks import compute_weights
from recurra.models import LanguageModel
from recurra.network import Layer, Network


def network_of(
    module: nn.Module | str | PathLike[str],
    *,
    output: int | str | None = None,
    example: Any = None,
    vocabulary: Mapping[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
    check: bool = True,
) -> Network:
    """The network that a module, or an ONNX file, computes at evaluation, its weights as float32,
    rounded where they hold more.

    Takes a `LanguageModel`; `Recurrent`, `RNN`, `LSTM`, `GRU`, their cells, `Stack`, `Residual` and
    what drops out; torch.nn's Embedding, Linear, LayerNorm, ReLU, Tanh, Sigmoid, GELU, RNN, LSTM,
    GRU, their cells, dropout, Conv1d that looks back only, and AdaptiveLogSoftmaxWithLoss, which
    stands for its `log_prob`; all of them in `Sequential` and `ModuleList`, and in a module with a
    forward of its own that calls one after another and adds x + f(x). Cells of one's own come along
    as programs. However a module takes its input, (T, B, I), (B, T, I) or (B, I, T), the network's
    is (T, B, I); every row begins with the layers' own first state.

    Of an ONNX file the nodes may be Gather of a table, MatMul, Gemm, Add, LayerNormalization, Relu,
    Tanh, Sigmoid, Gelu, Dropout, Conv that looks back only, RNN, LSTM, GRU, and what exporters put
    about them; layer norm and GELU spelt out in simpler operators are known too, and an adaptive
    softmax as `to_onnx` writes it. Further inputs may be states, or the past of a Conv, each handed
    back by an output as its layer leaves it, moved about at most; the network keeps them itself,
    from zero. A file that `to_onnx` wrote says the rest: learned first states, vocabulary, facts.

    Args:
        module: what to take, left as it is; a path is that of an ONNX file.
        output: which output the network's is where there are several beside the states: of an ONNX
            file its name, of a module its place in the tuple that the forward gives, or its key or
            field.
        example: an input as the module takes it, for `check`, and to tell how wide an input is that
            no layer says; else drawn. An ONNX file says it by itself.
        vocabulary: what the tokens stand for, as `record()` gives it; that of a LanguageModel, or
            of recurra's own file, if None.
        facts: of the model: "licence" and so on.
        check: run the module, an ONNX file by ONNX Runtime, on a few steps and from the states that
            it hands back, and refuse where the network gives other numbers.

    Raises:
        ConversionError: something in it cannot be taken; named, with the reason.
        DtypeError: a weight is of no floating-point dtype, or holds no numbers yet.
        ProgramError: a cell of one's own cannot be traced.
        ArgumentError: `module` is none, or has no such `output`, or `example` does not fit, or it
            comes with a file.
        DataError: the file is no ONNX model.
        MissingDependency: the file needs the onnx package, or to check the onnxruntime package.

    >>> network = network_of(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), recurra.LSTM(4, 5)))
    >>> network.input_size, network.output_size, [spec.name for spec in network.states]
    (3, 5, ['2.h', '2.c'])
    """
    if isinstance(module, (str, PathLike)):
        if example is not None:
            raise ArgumentError("example must be left out with a file, got one")
        return from_onnx(module, output=output, vocabulary=vocabulary, facts=facts, check=check)
    if not isinstance(module, nn.Module):
        raise ArgumentError(
            "module must be a torch.nn.Module or the path of an ONNX file, got"
            f" {type(module).__name__}"
        )
    module = getattr(module, "_orig_mod", module)  # of torch.compile
    if any(isinstance(each, torch.jit.ScriptModule) for each in module.modules()):
        raise ConversionError(
            "module must be made of Python's modules, got TorchScript; give the module that it was"
            " made of"
        )
    if isinstance(module, LanguageModel) and vocabulary is None and module.vocabulary is not None:
        vocabulary = module.vocabulary.record()
    layers, signature = layers_of(module, example, output)
    network = Network(layers, vocabulary, dict(facts or {}))
    if check:
        compare(module, network, signature, example)
    return network


def layers_of(
    module: nn.Module, example: Any = None, output: int | str | None = None
) -> tuple[tuple[Layer, ...], Signature]:
    """The layers of a module's network, and how the module is called; see `network_of`."""
    done: list[Any] = []

    def walk(path: Path) -> Flow:
        done.append(_through(path, "module", module, path.begin(), output))
        return first(done[-1])

    try:
        with evaluating(module), torch.no_grad():
            compute_weights(module)
            shape = None if example is None else torch.as_tensor(example)
            orders = ORDERS if shape is None else _orders(shape)
            widths = (
                {}
                if shape is None
                else {order: shape.shape[order.index("C")] for order in orders if "C" in order}
            )
            path, flow = led(walk, orders, widths)
            Network(flow.layers)
    except ShapeError as error:
        raise ConversionError(
            f"module must be made of layers that fit together, got some where {error}"
        ) from error
    order = path.orders[0]
    return flow.layers, Signature(order, flow.axes[order], _key(done[-1]))


def _key(done: Any) -> Any:
    """Which of its outputs a module's output is; None where it has no other."""
    return done[2] if isinstance(done, tuple) and len(done) > 2 else None


def _orders(example: torch.Tensor) -> list[str]:
    """The orders that an example may be in."""
    orders = [
        order
        for order in ORDERS
        if len(order) == example.ndim and ("C" in order) == example.is_floating_point()
    ]
    if not orders:
        wanted = "features of 2 or 3 axes, or tokens of 1 or 2"
        raise ArgumentError(
            f"example must be {wanted}, got {example.dtype} of shape {shape_text(example.shape)}"
        )
    return orders


def _through(
    path: Path, name: str, module: nn.Module, flow: Flow, output: int | str | None = None
) -> Any:
    """A flow through any module."""

    def call(name: str, module: nn.Module, flow: Flow) -> Any:
        done = _through(path, name, module, flow)
        if _key(done):
            raise ConversionError(
                f"{name} must give its output first, for the module after it, got it as output"
                f" {_key(done)!r}"
            )
        return done

    if output is not None and (contains(module) or is_known(module)):
        raise ArgumentError(
            f"output must be left out with {type(module).__name__}, which has one output besides"
            f" its state, got {output!r}"
        )
    if contains(module):
        return contained(path, name, module, flow, call)
    if is_known(module):
        return taken(path, name, module, flow)
    if isinstance(module, SequenceModule) and (why := module.streaming_obstacle()):
        raise ConversionError(f"{name} must be able to stream, got {type(module).__name__}: {why}")
    return followed(path, name, module, flow, call, output)
