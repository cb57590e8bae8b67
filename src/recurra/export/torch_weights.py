"""Tensors of a PyTorch module as float32 arrays; a tensor that is used twice becomes one matrix."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from recurra.errors import ConversionError, DtypeError
from recurra.network import Matrix

Array = npt.NDArray[Any]


class Weights:
    """Reads tensors, and remembers of which each matrix was made, so that tied ones stay one."""

    def __init__(self) -> None:
        self._known: dict[Any, tuple[Tensor, Matrix]] = {}
        self._constants: dict[Any, Tensor] = {}

    def matrix(
        self, name: str, tensor: Tensor, arranged: Callable[[Array], Array] | None = None
    ) -> Matrix:
        """The matrix of a tensor; the same object wherever the same numbers in memory are meant."""
        _check(name, tensor)
        key = (
            tensor.data_ptr(),
            tensor.shape,
            tensor.stride(),
            tensor.dtype,
            tensor.device,
            arranged,
        )
        if key not in self._known:
            values = self.array(name, tensor)
            # The tensor is held, so that its place in memory is not given to another one.
            self._known[key] = (
                tensor,
                Matrix(values if arranged is None else np.ascontiguousarray(arranged(values))),
            )
        return self._known[key][1]

    def array(self, name: str, tensor: Tensor) -> Array:
        """A copy of a tensor in float32, rounded to nearest where it holds more.

        Raises:
            DtypeError: it does not hold real numbers.
            ConversionError: one is not finite, or too large for float32.
        """
        _check(name, tensor)
        array: Array = np.array(
            tensor.detach().cpu().to(torch.float32).numpy(), copy=True, order="C"
        )
        if not np.isfinite(array).all():
            raise ConversionError(f"{name} must be finite, got a weight that is not")
        return array

    def constant(self, array: Array) -> Tensor:
        """An array as a tensor, the same one for the same numbers: files of graphs hold a tied
        matrix twice.
        """
        whole = np.ascontiguousarray(
            array.astype(np.float32) if array.dtype.name == "bfloat16" else array
        )
        key = (whole.shape, whole.dtype.str, hashlib.sha256(whole.tobytes()).digest())
        return self._constants.setdefault(key, torch.from_numpy(whole.copy()))

    def vector(self, name: str, tensor: Tensor | None) -> Array | None:
        """A vector, or None."""
        return None if tensor is None else self.array(name, tensor)


def _check(name: str, tensor: Tensor) -> None:
    if is_lazy(tensor) or tensor.device.type == "meta":
        raise DtypeError(
            f"{name} must hold numbers, got a tensor without any; run the module once or load its"
            " weights"
        )
    if not tensor.is_floating_point():
        raise DtypeError(f"{name} must be of a floating-point dtype, got {tensor.dtype}")
