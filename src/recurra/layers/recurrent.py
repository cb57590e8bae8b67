"""One cell over time, with its parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from recurra import init as initialisers
from recurra.cells import Cell
from recurra.check import check_flag, check_whole, plain
from recurra.engine import Scan, scan, single
from recurra.errors import ArgumentError
from recurra.kernels.noise import draw
from recurra.layers.memory import check_memory
from recurra.layers.sequence import SequenceModule, unchanged

METHODS = frozenset({"forward", "scan", "weights"})
"""What makes a step; a subclass that has its own goes through them."""


class Recurrent(SequenceModule):
    """A cell over time.

    Args:
        cell: the equations; `recurra.cells` has them, or your own subclass of `recurra.Cell`.
        input_size: I.
        hidden_size: H.
        biases: 2 as in torch, 1 as in textbooks (an LSTM then has exactly 4 (H^2 + H I + H)
            parameters), or 0.
        learned_state: learn the first state (`initial_h` and so on) in place of zero.
        init: "orthogonal" (with forget bias 1), "torch", or a function of `recurra.init`.
        device, dtype: of the parameters.
        recompute: with gradients, hold only the states for the backward pass, as for
            `recurra.engine.scan`.

    Raises:
        ArgumentError: a size is not positive, `biases` or `init` is unknown, or a switch is not
            True or False.

    >>> layer = Recurrent(recurra.cells.LSTM(), 3, 4, biases=1)
    >>> y, state = layer(torch.zeros(7, 2, 3))
    >>> y.shape, state.c.shape
    (torch.Size([7, 2, 4]), torch.Size([2, 4]))
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        biases: int = 2,
        learned_state: bool = False,
        init: Any = "orthogonal",
        device: Any = None,
        dtype: Any = None,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(cell, Cell):
            raise ArgumentError(
                f"cell must be a cell, got {cell!r}; write recurra.cells.LSTM(), for example"
            )
        self.cell, self.biases = cell, plain(biases)
        self.input_size = input_size = check_whole("input_size", input_size)
        self.hidden_size = hidden_size = check_whole("hidden_size", hidden_size)
        check_flag("learned_state", learned_state)
        check_flag("recompute", recompute)
        self.output_size, self.recompute = cell.width(cell.state[0], hidden_size), recompute
        shapes = cell.weights(input_size, hidden_size, biases)
        if learned_state:
            shapes |= {f"initial_{name}": (cell.width(name, hidden_size),) for name in cell.state}
        self._names = {name: name for name in shapes}
        check_memory("hidden_size", hidden_size, shapes.values(), device, dtype)
        self.init = init
        for name, shape in shapes.items():
            if hasattr(self, name):
                raise ArgumentError(
                    f"weights and params of {cell!r} must not be called as an attribute of a layer,"
                    f" got {name!r}; rename it"
                )
            self.register_parameter(
                name, nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
            )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start the weights anew, as `init` says; a learned state starts at zero."""
        initialisers.apply(self, self.init)
        with torch.no_grad():
            for name in self._names:
                if name.startswith("initial_"):
                    getattr(self, name).zero_()

    def weights(self) -> dict[str, Tensor]:
        """The weights by name, as `scan` takes them."""
        return weights_of(self, self._names)

    def parts(self) -> Iterator[tuple[Cell, dict[str, Tensor]]]:
        """The cell with its weights, for `recurra.init` and inspection; not its learned state."""
        yield (
            self.cell,
            {name: w for name, w in self.weights().items() if not name.startswith("initial_")},
        )

    def forward(
        self,
        x: Tensor,
        state: Any = None,
        *,
        lengths: Any = None,
        resets: Any = None,
        method: str = "auto",
    ) -> tuple[Tensor, Any]:
        """Run a sequence.

        Args:
            x: (T, B, I).
            state: the state to begin with; the layer's own if None.
            lengths: (B,), steps of each row; past them the output is zero and the state is held.
            resets: (T, B) bool, True where a step begins a new segment.
            method: how, as for `recurra.engine.scan`.

        Returns:
            The output (T, B, H) and the final state.
        """
        done = self.scan(x, state, lengths=lengths, resets=resets, method=method)
        return done.h, done.final

    def step_at_once(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any] | None:
        drawn = self.training and self.cell.noises()
        if (
            drawn
            or not isinstance(x, Tensor)
            or x.ndim != 2
            or not unchanged(self, Recurrent, METHODS)
        ):
            return None
        done = single.run(self.cell, self.weights(), x, state)
        return done and (done.h, done.final)

    def streaming_obstacle(self) -> str | None:
        return None

    def scan(
        self,
        x: Tensor,
        state: Any = None,
        *,
        lengths: Any = None,
        resets: Any = None,
        reverse: bool = False,
        method: str = "auto",
        keep: Iterable[str] = (),
        weights: dict[str, Tensor] | None = None,
        noise: Any = None,
    ) -> Scan:
        """Run a sequence with every option of `recurra.engine.scan`; noise is drawn here when
        training.

        `weights` stands in for the layer's own (a weight transform's), `noise` for what would be
        drawn.
        """
        weights = self.weights() if weights is None else weights
        if (
            self.training
            and self.cell.noises()
            and isinstance(x, Tensor)
            and x.ndim == 3
            and x.is_floating_point()
        ):
            noise = draw(self.cell, (x.shape[0], x.shape[1]), self.hidden_size, x) | (noise or {})
        return scan(
            self.cell,
            weights,
            x,
            state,
            lengths=lengths,
            resets=resets,
            reverse=reverse,
            noise=noise,
            method=method,
            keep=keep,
            recompute=self.recompute and torch.is_grad_enabled(),
        )

    def extra_repr(self) -> str:
        return (
            f"{self.cell!r}, {self.input_size}, {self.hidden_size}, biases={self.biases}"
            + ", recompute=True" * self.recompute
        )


def weights_of(module: nn.Module, names: Mapping[str, str]) -> dict[str, Tensor]:
    """A module's weights by a cell's names for them.

    >>> list(weights_of(nn.LSTM(3, 4), {"weight_hh": "weight_hh_l0"}))
    ['weight_hh']
    """
    own: Mapping[str, Any] = (
        module._parameters
    )  # a module's attributes are slow to find; one that is computed is not among these
    return {name: own[at] if at in own else getattr(module, at) for name, at in names.items()}
