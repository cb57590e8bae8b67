"""Weights that a hook computes from others: pruning, weight norm and spectral norm, as
torch.nn.utils puts them on a module.
"""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

HOOKS = (BasePruningMethod, SpectralNorm, WeightNorm)
Module = TypeVar("Module", bound=nn.Module)


def compute_weights(module: nn.Module, at_evaluation: bool = False) -> None:
    """Compute anew what hooks compute when a module, or one inside it, is called.

    A call does it by itself; whoever reads the weights without a call finds those of the last one,
    from before a state dict was loaded or the optimiser stepped.

    Args:
        module: what to look through.
        at_evaluation: as in eval mode, in which spectral norm leaves its buffers as they are.

    >>> from torch.nn.utils import prune
    >>> gru = recurra.GRU(3, 4)
    >>> pruned = prune.random_unstructured(gru, "weight_hh_l0", 0.5)
    >>> zeroed = gru.weight_hh_l0_orig.data.zero_()
    >>> compute_weights(gru)
    >>> bool(gru.weight_hh_l0.any())
    False
    """
    for each in module.modules():
        for hook in each._forward_pre_hooks.values():
            if isinstance(hook, HOOKS):
                training = each.training
                each.training = training and not at_evaluation
                hook(each, ())
                each.training = training


def copy_module(module: Module) -> Module:
    """A copy in eval mode with its weights computed, also of one whose weights have a graph, which
    copy.deepcopy does not take.
    """
    before = [(vars(each), dict(vars(each))) for each in module.modules()]
    try:
        for held, content in before:
            held.update({key: _without_graph(value) for key, value in content.items()})
        new = copy.deepcopy(module).eval()
    finally:
        for held, content in before:
            held.update(content)
    with torch.no_grad():
        compute_weights(new)
    return new


def _without_graph(value: Any) -> Any:
    """A tensor, or a list of them, as a parameter's value is: cut from what it was computed of."""
    if isinstance(value, list):
        return [_without_graph(each) for each in value]
    return value.detach() if isinstance(value, torch.Tensor) and not value.is_leaf else value
