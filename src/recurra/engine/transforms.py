"""Is the call inside a function transform (vmap, grad, jvp), forward-mode differentiation or
torch.jit.trace?
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor
from torch.autograd import forward_ad

from recurra.compiling import constant

# What recurra compares while torch.jit.trace records are sizes, which it checks; PyTorch does the
# same for its own modules.
warnings.filterwarnings("ignore", category=torch.jit.TracerWarning, module=r"recurra\.")


def transform_active() -> bool:
    """Whether torch.func or forward-mode differentiation is at work: operators without rules for it
    are then wrong.

    >>> torch.func.vmap(lambda x: x * transform_active())(torch.ones(1))
    tensor([1.])
    """
    return _interpreted() or forward_ad._current_level >= 0


@constant  # torch.compile guards the transforms itself
def _interpreted() -> bool:
    return torch._C._functorch.peek_interpreter_stack() is not None


def batched(value: Tensor) -> bool:
    """Whether vmap hands over many tensors as this one, none of whose numbers can be looked at.

    >>> torch.func.vmap(lambda x: x * batched(x))(torch.ones(2))
    tensor([1., 1.])
    """
    functorch = torch._C._functorch
    while functorch.is_functorch_wrapped_tensor(value):
        if functorch.is_batchedtensor(value):
            return True
        value = functorch.get_unwrapped(value)
    return False


def tracing() -> bool:
    """Whether torch.jit.trace, or torch.onnx.export(dynamo=False) by it, records what is done: a
    Python loop's steps are then fixed.

    >>> tracing()
    False
    """
    return bool(torch.jit.is_tracing())  # type: ignore[no-untyped-call]
