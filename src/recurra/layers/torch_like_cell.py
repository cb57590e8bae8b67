"""RNNCell, LSTMCell and GRUCell with torch.nn's signature: one step, the loop in the user's
hands.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from recurra import init as initialisers
from recurra.cells import GRU, LSTM, Cell, Elman
from recurra.check import check_flag, check_whole
from recurra.engine.job import check_placement, check_together, check_value, initial_state
from recurra.errors import ShapeError, shape_text
from recurra.layers.memory import check_memory


class TorchLikeCell(nn.Module):
    """One step of one cell, with torch.nn's parameter names."""

    def __init__(
        self, cell: Cell, sizes: tuple[int, int], bias: bool, init: Any, device: Any, dtype: Any
    ) -> None:
        super().__init__()
        self.input_size = check_whole("input_size", sizes[0])
        self.hidden_size = check_whole("hidden_size", sizes[1])
        check_flag("bias", bias)
        self.cell, self.bias, self.init = cell, bias, init
        shapes = cell.weights(self.input_size, self.hidden_size, 2 if bias else 0)
        self._names = tuple(shapes)
        check_memory("hidden_size", self.hidden_size, shapes.values(), device, dtype)
        for name, shape in shapes.items():
            self.register_parameter(
                name, nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
            )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start the weights anew, as `init` says."""
        initialisers.apply(self, self.init)

    def parts(self) -> Iterator[tuple[Cell, dict[str, Tensor]]]:
        """The cell with its weights."""
        yield self.cell, {name: getattr(self, name) for name in self._names}

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        """Advance one step.

        Args:
            input: (B, I), or (I,) for one sequence.
            hx: the state before, (B, H) each, for an LSTM a pair (h, c); zero if None.

        Returns:
            The state after, in the form of `hx`.

        Raises:
            ShapeError, DtypeError: `input` or `hx` does not fit; names both sides.
        """
        if (
            not isinstance(input, Tensor)
            or input.ndim not in (1, 2)
            or input.shape[-1] != self.input_size
        ):
            got = shape_text(input.shape) if isinstance(input, Tensor) else type(input).__name__
            raise ShapeError(
                f"input must have shape (B, {self.input_size}) or ({self.input_size},), got {got}"
            )
        x = input if input.ndim == 2 else input[None]
        weights = {name: getattr(self, name) for name in self._names}
        check_together(weights)
        check_placement("input", x, weights["weight_ih"])
        state = self._enter_state(hx, x, weights, input.ndim == 1)
        after, _ = self.cell.step(weights, self.cell.project(weights, x), state)
        values = [value if input.ndim == 2 else value[0] for value in after]
        return tuple(values) if len(values) > 1 else values[0]

    def _enter_state(self, hx: Any, x: Tensor, weights: dict[str, Tensor], unbatched: bool) -> Any:
        if hx is None:
            return initial_state(self.cell, weights, x[None], {})
        values = hx if len(self.cell.state) > 1 else (hx,)
        if not isinstance(values, (tuple, list)) or len(values) != len(self.cell.state):
            raise ShapeError(
                f"hx must be a tuple ({', '.join(self.cell.state)}), got {type(values).__name__}"
            )
        entered = [
            check_value(
                f"hx ({name})",
                value[None] if unbatched and isinstance(value, Tensor) else value,
                (len(x), self.hidden_size),
                x,
            )
            for name, value in zip(self.cell.state, values)
        ]
        return self.cell.state_type()(*entered)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}{'' if self.bias else ', bias=False'}"


class RNNCell(TorchLikeCell):
    """One step of an Elman network, with the signature of torch.nn.RNNCell.

    >>> RNNCell(3, 4)(torch.zeros(2, 3)).shape
    torch.Size([2, 4])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
        init: Any = "orthogonal",
    ) -> None:
        super().__init__(Elman(nonlinearity), (input_size, hidden_size), bias, init, device, dtype)
        self.nonlinearity = nonlinearity


class LSTMCell(TorchLikeCell):
    """One step of an LSTM, with the signature of torch.nn.LSTMCell.

    >>> h, c = LSTMCell(3, 4)(torch.zeros(2, 3))
    >>> c.shape
    torch.Size([2, 4])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        init: Any = "orthogonal",
    ) -> None:
        super().__init__(LSTM(), (input_size, hidden_size), bias, init, device, dtype)


class GRUCell(TorchLikeCell):
    """One step of a GRU, with the signature of torch.nn.GRUCell.

    >>> GRUCell(3, 4)(torch.zeros(2, 3)).shape
    torch.Size([2, 4])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        init: Any = "orthogonal",
    ) -> None:
        super().__init__(GRU(), (input_size, hidden_size), bias, init, device, dtype)
