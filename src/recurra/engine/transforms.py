"""Is the call inside a function transform (vmap, grad, jvp) or forward-mode differentiation?"""

from __future__ import annotations

import torch
from torch.autograd import forward_ad

from recurra.compiling import constant


def transform_active() -> bool:
    """Whether torch.func or forward-mode differentiation is at work: operators without rules for it are then wrong.

    >>> torch.func.vmap(lambda x: x * transform_active())(torch.ones(1))
    tensor([1.])
    """
    return _interpreted() or forward_ad._current_level >= 0


@constant  # torch.compile guards the transforms itself
def _interpreted() -> bool:
    return torch._C._functorch.peek_interpreter_stack() is not None
