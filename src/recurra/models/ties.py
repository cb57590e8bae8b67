"""Weights that have several names in a model: a file of tensors holds each name's own, and beside
them which are one.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors on the CPU, each in memory of its own: a file of tensors takes no two names of one
    memory.

    >>> one = torch.ones(2)
    >>> done = separate({"a": one, "b": one})
    >>> done["a"].data_ptr() == done["b"].data_ptr()
    False
    """
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }


def tied(model: nn.Module) -> dict[str, str]:
    """Every further name of a parameter that has several, with its first.

    >>> gru = nn.GRU(4, 4, num_layers=2)
    >>> gru.weight_hh_l1 = gru.weight_hh_l0
    >>> tied(gru)
    {'weight_hh_l1': 'weight_hh_l0'}
    """
    firsts: dict[Tensor, str] = {}
    names = [
        (name, firsts.setdefault(weight, name))
        for name, weight in model.named_parameters(remove_duplicate=False)
    ]
    return {name: first for name, first in names if name != first}


def tie(model: nn.Module, names: Mapping[str, str]) -> None:
    """Make each name that of the parameter of another name, as `tied` lists them."""
    for name, first in names.items():
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, model.get_parameter(first))
