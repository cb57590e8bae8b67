"""What torch.compile is told, without loading it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def constant(function: Function) -> Function:
    """A function that torch.compile calls while it compiles, and whose result it takes as it is.

    It does what torch.compiler.assume_constant_result does, which loads the compiler to do it: two
    seconds, for every process that never compiles. The tests of compiled layers go red where
    PyTorch no longer reads the mark.
    """
    vars(function)["_dynamo_marked_constant"] = True
    return function
