"""Swap torch.nn's recurrent modules for recurra's inside a model, keeping the parameters
themselves.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from recurra.display import card, note, table
from recurra.errors import ArgumentError
from recurra.layers.torch_like import GRU, LSTM, RNN
from recurra.layers.torch_like_cell import GRUCell, LSTMCell, RNNCell

LAYERS = {nn.RNN: RNN, nn.LSTM: LSTM, nn.GRU: GRU}
CELLS = {nn.RNNCell: RNNCell, nn.LSTMCell: LSTMCell, nn.GRUCell: GRUCell}


class Replacement(NamedTuple):
    """What `replace` did.

    Attributes:
        replaced: by module name, what it was.
        left: by module name, why a recurrent module was left.
    """

    replaced: dict[str, str]
    left: dict[str, str]

    def __str__(self) -> str:
        lines = [f"replaced {name}: {what}" for name, what in self.replaced.items()]
        lines += [f"left {name}: {why}" for name, why in self.left.items()]
        if self.replaced:
            kinds = sorted({what.partition("(")[0] for what in self.replaced.values()})
            lines.append(
                f"no longer torch.nn's {', '.join(kinds)}: code that asks for isinstance(module,"
                f" torch.nn.{kinds[0]}) passes them by"
            )
        return "\n".join(lines) or "no recurrent module of torch.nn was found"

    def __repr__(self) -> str:
        return f"Replacement({len(self.replaced)} replaced, {len(self.left)} left)"

    def _repr_html_(self) -> str:
        lines = [[name, "replaced", what] for name, what in self.replaced.items()]
        lines += [[name, "left", why] for name, why in self.left.items()]
        return card(
            "Replacement",
            table(["module", "", "what it was, or why it was left"], lines) or note(self),
        )


def replace(model: nn.Module) -> Replacement:
    """Swap every torch.nn RNN, LSTM, GRU and cell in a model for recurra's, in place.

    The new modules hold the same Parameter objects, so optimisers and state dicts stay good.

    Args:
        model: any module that contains them.

    Returns:
        What was replaced, and what was left and why (a subclass, hooks, parametrisations).

    Raises:
        ArgumentError: `model` itself is such a module, which cannot be swapped in place.

    >>> model = nn.Sequential(nn.Linear(3, 4), nn.GRU(4, 5))
    >>> print(replace(model))
    replaced 1: GRU(4, 5)
    no longer torch.nn's GRU: code that asks for isinstance(module, torch.nn.GRU) passes them by
    """
    if type(model) in {**LAYERS, **CELLS}:
        raise ArgumentError(
            f"model must contain the modules to swap, got a bare {model!r}; use"
            " recurra.convert.from_torch"
        )
    replaced, left, new = {}, {}, {}
    for path, module in list(model.named_modules(remove_duplicate=False)):
        if not isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
            continue
        if why := _obstacle(module):
            left[path] = why
            continue
        if module not in new:
            new[module] = from_torch(module)
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, new[module])
        replaced[path] = repr(module)
    return Replacement(replaced, left)


def _obstacle(module: nn.Module) -> str | None:
    if type(module) not in {**LAYERS, **CELLS}:
        return f"{type(module).__name__} is a subclass, whose own forward would be lost"
    if nn.utils.parametrize.is_parametrized(module):
        return "it has parametrisations"
    if any(
        getattr(module, kind)
        for kind in (
            "_forward_hooks",
            "_forward_pre_hooks",
            "_backward_hooks",
            "_backward_pre_hooks",
        )
    ):
        return "it has hooks"
    bias = [name for name in ("bias_ih", "bias_hh") if module.bias]
    names = (
        module._flat_weights_names
        if isinstance(module, nn.RNNBase)
        else ["weight_ih", "weight_hh", *bias]
    )
    for name in names:
        if name not in module._parameters:
            return f"its {name} is no parameter"
    return None


def from_torch(module: nn.Module) -> nn.Module:
    """Make the recurra module of a torch.nn RNN, LSTM, GRU or cell; they share the parameters.

    Args:
        module: a torch.nn.RNN, LSTM, GRU, RNNCell, LSTMCell or GRUCell.

    Returns:
        The module of the same name in recurra.

    Raises:
        ArgumentError: `module` is something else, or has hooks or parametrisations.

    >>> from_torch(nn.LSTM(3, 4))
    LSTM(3, 4)
    """
    if why := _obstacle(module):
        raise ArgumentError(
            f"module must be a plain torch.nn recurrent module, got {type(module).__name__}: {why}"
        )
    options: dict[str, object] = {"bias": bool(module.bias)}  # torch takes bidirectional=1
    if type(module) in LAYERS:
        options["num_layers"] = int(getattr(module, "num_layers"))  # noqa: B009
        options |= {name: bool(getattr(module, name)) for name in ("batch_first", "bidirectional")}
    if isinstance(module, nn.LSTM):
        options["proj_size"] = module.proj_size
    if isinstance(module, (nn.RNN, nn.RNNCell)):
        options["nonlinearity"] = module.nonlinearity
    kind = {**LAYERS, **CELLS}[type(module)]  # type: ignore[index]
    with torch.device("meta"):
        new = kind(module.input_size, module.hidden_size, init=lambda _: None, **options)  # type: ignore[operator]
    new.init = "torch"
    if type(module) in LAYERS:
        new.dropout = (
            module.dropout
        )  # not through the constructor: torch has warned already where it does nothing
    give_parameters(module, new)
    return new.train(module.training)


def give_parameters(module: nn.Module, new: nn.Module) -> None:
    """Put a module's own parameters into a new one of the same names; two names of one parameter
    stay two names of one.

    Raises:
        ArgumentError: a weight that the new module needs is no parameter; names it.

    >>> theirs = nn.GRU(4, 4, num_layers=2)
    >>> theirs.weight_hh_l1 = theirs.weight_hh_l0
    >>> ours = from_torch(theirs)
    >>> ours.weight_hh_l1 is ours.weight_hh_l0
    True
    """
    for name, parameter in new._parameters.items():
        if parameter is not None and module._parameters.get(name) is None:
            got = type(getattr(module, name, None)).__name__
            raise ArgumentError(
                f"{name} must be a parameter of {type(module).__name__}, got {got}; take hooks and"
                " parametrisations off first"
            )
    for (
        name,
        parameter,
    ) in module._parameters.items():  # named_parameters would name a tied one once
        if parameter is not None:
            setattr(new, name, parameter)
