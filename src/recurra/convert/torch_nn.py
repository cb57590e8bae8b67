"""To torch.nn; the way from it is `recurra.layers.from_torch`."""

from __future__ import annotations

from typing import Any

from torch import nn

from recurra.cells import GRU, LSTM, Elman, ProjectedLSTM
from recurra.convert.weights import Part, single_layer
from recurra.errors import ConversionError
from recurra.layers.replace import CELLS, LAYERS, give_parameters

KINDS: dict[type, Any] = {Elman: nn.RNN, LSTM: nn.LSTM, ProjectedLSTM: nn.LSTM, GRU: nn.GRU}
"""The torch.nn layer whose equations a cell's are."""


def to_torch(module: nn.Module) -> nn.Module:
    """Make the torch.nn module of a recurra layer or cell; they share the parameters.

    Names, row orders and equations are torch's already. A layer with `biases=1` gets torch's second
    bias as a parameter of zeros that asks for no gradient, so that both modules go on being equal
    when one is trained.

    Args:
        module: a recurra RNN, LSTM, GRU, RNNCell, LSTMCell or GRUCell; or a `Recurrent`, or a
            `Bidirectional` of two, whose cell is Elman, LSTM, ProjectedLSTM or GRU.

    Returns:
        The torch.nn module, with the same Parameter objects. It takes (T, B, I), unless
        `batch_first` was set.

    Raises:
        ConversionError: torch.nn has no module with these equations; names the cell or the option.
        ArgumentError: a weight is computed by a hook or a parametrisation, and so no parameter;
            names it.

    >>> to_torch(recurra.Recurrent(recurra.cells.GRU(), 3, 4))
    GRU(3, 4)
    """
    for theirs, ours in {**LAYERS, **CELLS}.items():
        if type(module) is ours:
            return _same_name(theirs, module)
    parts = single_layer(module, "torch.nn")
    cell = parts[0].cell
    for part in parts:
        if type(part.cell) not in KINDS:
            names = ", ".join(kind.__name__ for kind in KINDS)
            raise ConversionError(
                f"cell must be one that torch.nn has ({names}), got {part.cell!r}"
            )
        if part.cell != cell:
            raise ConversionError(
                f"cell must be the same both ways in torch.nn, got {cell!r} and {part.cell!r}"
            )
    return _layer(parts).train(module.training)


def _same_name(kind: Any, module: Any) -> nn.Module:
    options = {"bias": module.bias}
    if kind in LAYERS:
        options |= {
            name: getattr(module, name) for name in ("num_layers", "batch_first", "bidirectional")
        }
    if kind is nn.LSTM:
        options["proj_size"] = module.proj_size
    if kind in (nn.RNN, nn.RNNCell):
        options["nonlinearity"] = module.nonlinearity
    new = kind(module.input_size, module.hidden_size, device="meta", **options)
    if kind in LAYERS:
        new.dropout = module.dropout
    give_parameters(module, new)
    return new.train(module.training)


def _layer(parts: list[Part]) -> nn.Module:
    cell, weights = parts[0]
    rows, inputs = weights["weight_ih"].shape
    hidden = rows // len(cell.gates)
    width = cell.width("h", hidden)
    bias = any("bias_ih" in part.weights for part in parts)
    options: dict[str, Any] = {"bias": bias, "bidirectional": len(parts) == 2}
    if isinstance(cell, Elman):
        options["nonlinearity"] = cell.nonlinearity
    if isinstance(cell, ProjectedLSTM):
        if width >= hidden:
            raise ConversionError(
                f"proj_size must be less than hidden_size = {hidden} in torch.nn, got {width}"
            )
        options["proj_size"] = width
    new = KINDS[type(cell)](inputs, hidden, device="meta", **options)
    for part, suffix in zip(parts, ("_l0", "_l0_reverse")):
        for name in ("bias_ih", "bias_hh") if bias else ():
            setattr(
                new,
                name + suffix,
                nn.Parameter(part.weights["weight_ih"].new_zeros(rows), requires_grad=False),
            )
        for name, weight in part.weights.items():
            if not isinstance(weight, nn.Parameter):
                raise ConversionError(
                    f"{name} must be a parameter, got one that a hook or a parametrisation"
                    " computes; take it off first"
                )
            setattr(new, name + suffix, weight)
    return new
