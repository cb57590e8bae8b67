"""How weights begin. Each function takes a layer, or a module that holds layers, and changes it in
place.
"""

from __future__ import annotations

from recurra.errors import import_for

import_for(__name__, "torch")

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from recurra.cells import Cell
from recurra.check import check_number
from recurra.errors import ArgumentError, choice_text


def parts(module: nn.Module) -> Iterator[tuple[Cell, dict[str, Tensor]]]:
    """Every cell in a module with its weights by name.

    Raises:
        ArgumentError: there is none.
    """
    layers: list[Any] = [child for child in module.modules() if hasattr(child, "parts")]
    found = [part for layer in layers for part in layer.parts()]
    if not found:
        raise ArgumentError(f"module must hold a recurra layer, got {type(module).__name__}")
    yield from found


def default(module: nn.Module) -> None:
    """Orthogonal weights and forget bias 1: where every layer starts."""
    orthogonal(module)
    if any("f" in cell.gates and "bias_ih" in weights for cell, weights in parts(module)):
        forget_bias(module, 1.0)


@torch.no_grad()
def orthogonal(module: nn.Module) -> None:
    """Make every gate's block of every matrix orthogonal; gains 1, biases and peepholes 0.

    An orthogonal recurrent matrix neither shrinks nor stretches what it carries.

    Source: Saxe et al. (2013), arXiv:1312.6120.
    """
    for cell, weights in parts(module):
        for name, weight in weights.items():
            if weight.ndim == 2:
                for block in weight.chunk(len(cell.blocks(name))):
                    wide = torch.float64 if block.dtype == torch.float64 else torch.float32
                    block.copy_(
                        nn.init.orthogonal_(
                            torch.empty(block.shape, dtype=wide, device=block.device)
                        )
                    )
            else:
                weight.fill_(1.0 if name.startswith("gain") and name not in cell.params else 0.0)


@torch.no_grad()
def forget_bias(module: nn.Module, value: float = 1.0) -> None:
    """Set the forget gate's bias (in `bias_ih`; its part of `bias_hh` to 0): a net begins by
    remembering.

    Raises:
        ArgumentError: no cell in the module has a forget gate with a bias.

    Source: Jozefowicz et al. (2015), proceedings.mlr.press/v37/jozefowicz15.html.
    """
    done = False
    for cell, weights in parts(module):
        if "f" in cell.gates and "bias_ih" in weights:
            _set_bias(cell, weights, "f", torch.tensor(float(value)))
            done = True
    if not done:
        raise ArgumentError(
            "module must hold a cell with a forget gate and a bias, got none; use chrono for a GRU"
        )


def _set_bias(cell: Cell, weights: dict[str, Tensor], gate: str, value: Tensor) -> None:
    for name in ("bias_ih", "bias_hh"):
        gates = cell.blocks(name)
        if name in weights and gate in gates:
            block = weights[name].chunk(len(gates))[gates.index(gate)]
            block.copy_(value if name == "bias_ih" else torch.zeros(()))


@torch.no_grad()
def chrono(module: nn.Module, longest: int) -> None:
    """Spread the gates' biases so that units remember from 1 to `longest` steps.

        b = log(uniform(1, longest - 1)) for what keeps, -b for what writes

    Args:
        module: what holds the layers.
        longest: the longest dependence expected, in steps, at least 3.

    Raises:
        ArgumentError: `longest` is too small, or a cell has no gate that keeps its state.

    Source: Tallec & Ollivier (2018), arXiv:1804.11188.
    """
    check_number("longest", longest, 3, advice="it counts steps")
    for cell, weights in parts(module):
        signs = _keeping(cell)
        if not signs or "bias_ih" not in weights:
            raise ArgumentError(
                f"module must hold cells with gates that keep and a bias, got {cell!r}"
            )
        units = weights["bias_ih"].shape[0] // len(cell.gates)
        bias = torch.log(torch.empty(units).uniform_(1, longest - 1))
        for gate, sign in signs.items():
            _set_bias(cell, weights, gate, sign * bias)


def _keeping(cell: Cell) -> dict[str, float]:
    """Gates that move a cell's retention, with the direction; an LSTM's input gate writes what f
    keeps.
    """
    middle = {gate: torch.tensor(0.5) for gate in cell.gates}
    signs: dict[str, float] = {}
    for gate in cell.gates:
        more = cell.retention(cell.gates_type()(**(middle | {gate: torch.tensor(0.75)})))
        change = float(more - cell.retention(cell.gates_type()(**middle)))
        if change:
            signs[gate] = math.copysign(1.0, change)
    if "f" in signs and "i" in cell.gates:
        signs.setdefault("i", -1.0)
    return signs


@torch.no_grad()
def identity(module: nn.Module, scale: float = 1.0) -> None:
    """Make every block of `weight_hh` the identity times `scale`, biases 0; the rest is left alone.

    Source: Le et al. (2015), arXiv:1504.00941, for Elman("relu").
    """
    for cell, weights in parts(module):
        if "weight_hh" in weights:
            for block in weights["weight_hh"].chunk(len(cell.blocks("weight_hh"))):
                block.copy_(scale * torch.eye(*block.shape))
        for name in ("bias_ih", "bias_hh"):
            if name in weights:
                weights[name].zero_()


@torch.no_grad()
def torch_uniform(module: nn.Module) -> None:
    """Draw every weight and bias from U(-1/sqrt(H), 1/sqrt(H)), as torch.nn does; gains 1."""
    for cell, weights in parts(module):
        bound = 1 / math.sqrt(weights["weight_ih"].shape[0] / len(cell.gates))
        for name, weight in weights.items():
            if name.startswith("gain"):
                weight.fill_(1.0)
            else:
                weight.uniform_(-bound, bound)


@torch.no_grad()
def uniform(module: nn.Module, bound: float) -> None:
    """Draw every parameter of a module from U(-bound, bound), those outside its layers too; gains
    of layer norms become 1.

    Raises:
        ArgumentError: `bound` is not positive.

    Source: Zaremba et al. (2014), arXiv:1409.2329, with 0.1, 0.05 and 0.04 for its three sizes.
    """
    bound = check_number("bound", bound, ends="()")
    for name, weight in module.named_parameters():
        if name.rpartition(".")[2].startswith("gain"):
            weight.fill_(1.0)
        else:
            weight.uniform_(-bound, bound)


INITIALISERS = {"orthogonal": default, "torch": torch_uniform}
"""What a layer's `init` takes: by name, or any function of a module."""


def apply(module: nn.Module, init: object) -> None:
    """Start a layer's weights as its `init` argument says; its named tuples too, which
    torch.compile cannot make.
    """
    for cell, _ in parts(module):
        cell.state_type(), cell.gates_type()
    if callable(init):
        init(module)
    elif isinstance(init, str) and init in INITIALISERS:
        INITIALISERS[init](module)
    else:
        raise ArgumentError(choice_text("init", init, INITIALISERS))
