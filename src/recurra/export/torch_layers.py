"""Modules whose meaning is known, PyTorch's and recurra's: which layers each puts into a flow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from recurra import cells
from recurra.cells import Cell
from recurra.errors import ConversionError, shape_text
from recurra.export.torch_conv import convolved, padded
from recurra.export.torch_flow import Flow, Path, WidthUnknown
from recurra.layers import Bidirectional, LockedDropout, Stack, WeightDropout
from recurra.layers import Recurrent as RecurrentLayer
from recurra.layers import Residual as ResidualLayer
from recurra.layers.torch_like import TorchLike
from recurra.layers.torch_like_cell import TorchLikeCell
from recurra.models import LanguageModel
from recurra.network import (
    Activation,
    AdaptiveSoftmax,
    Embedding,
    Layer,
    LayerNorm,
    Linear,
    Matrix,
    Recurrent,
)
from recurra.program import trace
from recurra.program.evaluation import forward_only

DROPPED = (nn.modules.dropout._DropoutNd, nn.Identity, LockedDropout)
FUNCTIONS: dict[type, str] = {nn.ReLU: "relu", nn.Tanh: "tanh", nn.Sigmoid: "sigmoid"}
OVER_TIME = (RecurrentLayer, WeightDropout, TorchLike, nn.RNNBase)
ONE_STEP = (TorchLikeCell, nn.RNNCellBase)
CONTAINERS: tuple[Any, ...] = (nn.Sequential, nn.ModuleList, Stack, ResidualLayer, LanguageModel)
TAKEN = (
    "recurra takes Embedding, Linear, LayerNorm, causal Conv1d, ReLU, Tanh, Sigmoid, GELU, dropout,"
    " AdaptiveLogSoftmaxWithLoss, RNN, LSTM, GRU, their cells and its own layers, in Sequential or"
    " in a forward that calls one after another and adds x + f(x)"
)


TRACED = (nn.Linear, nn.Embedding, nn.LayerNorm, nn.Conv1d)
"""A subclass of these that has a forward of its own is looked into."""


class Past(NamedTuple):
    """The state that a layer leaves; nothing that goes on step by step can be made of it."""

    name: str


def contains(module: nn.Module) -> bool:
    """Whether a module runs others, as a container that is known does."""
    for kind in CONTAINERS:
        if isinstance(module, kind):
            return type(module).forward is kind.forward
    return False


def is_known(module: nn.Module) -> bool:
    """Whether a module's meaning is known, or else refused: its forward is not looked into.

    >>> is_known(nn.LSTM(3, 4)), is_known(nn.BatchNorm1d(3)), is_known(
    ...     type("Own", (nn.Module,), {})()
    ... )
    (True, True, False)
    """
    if isinstance(module, CONTAINERS):
        return contains(module)
    for kind in TRACED:
        if isinstance(module, kind):
            return type(module).forward is kind.forward
    home = type(module).__module__
    return isinstance(module, (*OVER_TIME, *ONE_STEP, Bidirectional, LockedDropout)) or (
        home.startswith(("torch.nn.", "torch.ao.", "torch.jit."))
        and not home.startswith("torch.nn.utils.")
    )


def taken(path: Path, name: str, module: nn.Module, flow: Flow) -> Any:
    """A flow through a module that is no container: the flow, or a tuple of it and the state.

    Raises:
        ConversionError: the module does not stream, or cannot read this flow.
    """
    if isinstance(module, OVER_TIME):
        return _over_time(path, name, module, flow), Past(name)
    if isinstance(module, ONE_STEP):
        path.narrow(
            name,
            flow,
            lambda now: now == "BC",
            f"read one step, (B, C), as {type(module).__name__} does",
        )
        done = path.then(name, flow, recurrent(path, name, *_cell(module)), pointwise=False)
        path.states.append(done)
        return (
            (done, Past(name))
            if isinstance(module, nn.LSTMCell)
            or len(getattr(module, "cell", cells.GRU()).state) > 1
            else done
        )
    if isinstance(module, LockedDropout):
        return flow, Past(name)
    if isinstance(module, DROPPED):
        return flow
    if isinstance(module, nn.Conv1d):
        return convolved(path, name, module, flow)
    if isinstance(module, nn.ConstantPad1d):
        return padded(path, name, flow, module.padding, module.value)
    if type(module) in FUNCTIONS or isinstance(module, nn.GELU):
        kind = FUNCTIONS.get(type(module)) or (
            "gelu" if module.approximate == "none" else "gelu_tanh"
        )
        return activated(path, name, str(kind), flow, type(module).__name__)
    return _plain(path, name, module, flow)


def activated(path: Path, name: str, kind: str, flow: Flow, called: str) -> Flow:
    """A flow through an elementwise function."""
    path.narrow(name, flow, lambda now: "C" in now, "read features")
    width = path.width_of(flow)
    if width is None:
        raise WidthUnknown(
            f"{name} must come after a layer that says how wide it is, got {called} first; give an"
            " example of the input"
        )
    return path.then(name, flow, Activation(kind, width))


def embedded(path: Path, name: str, weight: Tensor, flow: Flow) -> Flow:
    """A flow of tokens through a table."""
    path.narrow(name, flow, lambda now: "C" not in now, "read tokens")
    done = path.then(name, flow, Embedding(path.weights.matrix(f"{name}.weight", weight)))
    return Flow(done.layers, {order: f"{axes}C" for order, axes in done.axes.items()})


def multiplied(path: Path, name: str, weight: Tensor, bias: Tensor | None, flow: Flow) -> Flow:
    """A flow times a matrix (O, I), and a bias."""
    path.narrow(name, flow, lambda now: now[-1:] == "C", "read features in the last axis")
    matrix = path.weights.matrix(f"{name}.weight", weight)
    return path.then(name, flow, Linear(matrix, path.weights.vector(f"{name}.bias", bias)))


def adaptive(path: Path, name: str, module: nn.AdaptiveLogSoftmaxWithLoss, flow: Flow) -> Flow:
    """A flow to the log-probabilities of all words, which stand for an adaptive softmax."""
    path.narrow(name, flow, lambda now: now[-1:] == "C", "read features in the last axis")
    matrix = path.weights.matrix
    tails: Any = enumerate(module.tail)
    clusters = tuple(
        (
            matrix(f"{name}.tail.{number}.0.weight", narrow.weight),
            matrix(f"{name}.tail.{number}.1.weight", wide.weight),
        )
        for number, (narrow, wide) in tails
    )
    head = matrix(f"{name}.head.weight", module.head.weight)
    return path.then(
        name,
        flow,
        AdaptiveSoftmax(head, path.weights.vector(f"{name}.head.bias", module.head.bias), clusters),
    )


def normed(path: Path, name: str, module: Any, flow: Flow) -> Flow:
    """A flow through a LayerNorm; of `module` its normalized_shape, weight, bias and eps are
    read.
    """
    if len(module.normalized_shape) != 1:
        raise ConversionError(
            f"{name} must be a LayerNorm over the last axis, got one over"
            f" {tuple(module.normalized_shape)}"
        )
    path.narrow(name, flow, lambda now: now[-1:] == "C", "read features in the last axis")
    gain, bias = (
        path.weights.vector(f"{name}.weight", module.weight),
        path.weights.vector(f"{name}.bias", module.bias),
    )
    return path.then(name, flow, LayerNorm(module.normalized_shape[0], gain, bias, module.eps))


def _plain(path: Path, name: str, module: nn.Module, flow: Flow) -> Flow:
    if isinstance(module, nn.Embedding):
        if module.max_norm is not None:
            raise ConversionError(
                f"{name} must be an embedding without max_norm, got max_norm={module.max_norm}"
            )
        return embedded(path, name, module.weight, flow)
    if isinstance(module, nn.Linear):
        return multiplied(path, name, module.weight, module.bias, flow)
    if isinstance(module, nn.LayerNorm):
        return normed(path, name, module, flow)
    if isinstance(module, nn.AdaptiveLogSoftmaxWithLoss):
        return adaptive(path, name, module, flow)
    if isinstance(module, Bidirectional):
        raise ConversionError(
            f"{name} must be able to stream, got Bidirectional: {module.streaming_obstacle()}"
        )
    kind, of_torch = type(module), type(module).__module__.startswith("torch.nn.modules")
    got = (
        kind.__name__
        if of_torch or kind.__name__ not in TAKEN
        else f"{kind.__module__}.{kind.__name__}"
    )
    raise ConversionError(f"{name} must be a layer that streams, got {got}; {TAKEN}")


def _over_time(path: Path, name: str, module: Any, flow: Flow) -> Flow:
    if getattr(module, "bidirectional", False):
        raise ConversionError(
            f"{name} must run forward only to stream, got bidirectional=True: it needs the whole"
            " future"
        )
    wanted = "BTC" if getattr(module, "batch_first", False) else "TBC"
    read = (
        f"read {shape_text(wanted)}, as {type(module).__name__} with batch_first={wanted == 'BTC'}"
        " does"
    )
    path.narrow(name, flow, lambda now: now == wanted, read)
    layers: Iterator[Layer]
    if isinstance(module, nn.RNNBase):
        layers = (recurrent(path, name, *part) for part in _torch_parts(module))
    elif isinstance(module, TorchLike):
        layers = (recurrent(path, name, *part) for part in module.parts())
    else:
        layer: Any = module.layer if isinstance(module, WeightDropout) else module
        layers = iter([recurrent(path, name, layer.cell, layer.weights())])
    return path.then(name, flow, *layers, pointwise=False)


def recurrent(path: Path, name: str, cell: Cell, weights: Mapping[str, Tensor]) -> Recurrent:
    """The layer of a cell over time."""
    matrices: dict[str, Matrix] = {}
    vectors = {}
    for key, weight in weights.items():
        if weight.ndim == 2:
            matrices[key] = path.weights.matrix(f"{name}.{key}", weight)
        else:
            vectors[key] = path.weights.array(f"{name}.{key}", weight)
    return Recurrent(forward_only(trace(cell)), matrices, vectors)


def _torch_parts(module: nn.RNNBase) -> Iterator[tuple[Cell, dict[str, Tensor]]]:
    cell: Cell = cells.GRU()
    if isinstance(module, nn.LSTM):
        cell = cells.ProjectedLSTM(module.proj_size) if module.proj_size else cells.LSTM()
    elif isinstance(module, nn.RNN):
        cell = cells.Elman(module.nonlinearity)
    for number in range(module.num_layers):
        named = {
            key: getattr(module, f"{key}_l{number}", None)
            for key in ("weight_ih", "weight_hh", "weight_hr", "bias_ih", "bias_hh")
        }
        yield cell, {key: weight for key, weight in named.items() if weight is not None}


def _cell(module: Any) -> tuple[Cell, dict[str, Tensor]]:
    if isinstance(module, TorchLikeCell):
        return next(module.parts())
    cell: Cell = cells.LSTM() if isinstance(module, nn.LSTMCell) else cells.GRU()
    if isinstance(module, nn.RNNCell):
        cell = cells.Elman(module.nonlinearity)
    named = {key: getattr(module, key) for key in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    return cell, {key: weight for key, weight in named.items() if weight is not None}


Call = Callable[[str, nn.Module, Flow], Any]


def contained(path: Path, name: str, module: Any, flow: Flow, call: Call) -> Any:
    """A flow through the modules of a container, each by `call`."""
    if isinstance(module, (nn.Sequential, nn.ModuleList, Stack)):
        turns = getattr(module, "batch_first", False)
        if turns:
            path.narrow(
                name,
                flow,
                lambda now: now[:2] == "BT",
                "read (B, T, ...), as Stack with batch_first=True does",
            )
        done: Any = _turned(path, name, flow) if turns else flow
        for number, child in enumerate(module.layers if isinstance(module, Stack) else module):
            done = call(f"{name}.{number}", child, first(done))
        if turns:
            done = _turned(path, name, first(done))
        return (first(done), Past(name)) if isinstance(module, Stack) else done
    if isinstance(module, ResidualLayer):
        inner = first(call(f"{name}.layer", module.layer, flow))
        if len(inner.layers) == len(flow.layers):
            raise ConversionError(
                f"{name} must hold a layer that computes something, got {module.layer!r}"
            )
        return path.sum(name, flow, inner), Past(name)
    path.narrow(name, flow, lambda now: now == "TB", "read tokens (T, B)")
    flow = embedded(path, f"{name}.embedding", module.embedding.weight, flow)
    flow = first(call(f"{name}.recurrent", module.recurrent, flow))
    flow = first(call(f"{name}.bottleneck", module.bottleneck, flow))
    if module.adaptive is not None:
        return adaptive(path, f"{name}.adaptive", module.adaptive, flow), Past(name)
    weight = module.embedding.weight if module.decoder is None else module.decoder
    return multiplied(path, f"{name}.decoder", weight, module.decoder_bias, flow), Past(name)


def _turned(path: Path, name: str, flow: Flow) -> Flow:
    """A flow with its first two axes exchanged."""
    return path.moved(name, flow, lambda axes: (1, 0, *range(2, axes)))


def first(done: Any) -> Flow:
    """What a module gives, without its state."""
    flow: Flow = done[0] if isinstance(done, tuple) else done
    return flow
