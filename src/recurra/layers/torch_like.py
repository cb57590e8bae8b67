"""RNN, LSTM and GRU with the signature, parameter names and state of torch.nn's, and more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from recurra import init as initialisers
from recurra.cells import GRU as GRUCellEquations
from recurra.cells import LSTM as LSTMCellEquations
from recurra.cells import Cell, Elman, ProjectedLSTM
from recurra.check import check_flag, check_number, check_whole, is_whole
from recurra.engine import scan, single
from recurra.errors import ArgumentError, ShapeError, shape_text
from recurra.layers import door
from recurra.layers.dropout import warn_of_idle_dropout
from recurra.layers.memory import check_memory
from recurra.layers.recurrent import weights_of
from recurra.layers.sequence import SequenceModule, unchanged

METHODS = frozenset({"forward", "layer_weights"})
"""What makes a step; a subclass that has its own goes through them."""


class Options(NamedTuple):
    """The options that RNN, LSTM and GRU share, in torch.nn's words."""

    num_layers: int = 1
    bias: bool = True
    batch_first: bool = False
    dropout: float = 0.0
    bidirectional: bool = False
    proj_size: int = 0
    recompute: bool = False


class TorchLike(SequenceModule):
    """Layers and directions of one cell, as torch.nn arranges them; RNN, LSTM and GRU say which
    cell.

    Parameters have torch.nn's names (`weight_ih_l0`, `bias_hh_l1_reverse`, ...), so state dicts go
    both ways.
    """

    mode: str

    def __init__(
        self,
        cell: Cell,
        sizes: tuple[int, int],
        options: Options,
        init: Any,
        device: Any,
        dtype: Any,
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size, options = _checked(type(self).__name__, *sizes, options)
        self.num_layers, self.bias, self.batch_first, self.dropout = options[:4]
        self.bidirectional, self.proj_size, self.recompute = options[4:]
        self.cell, self.init = cell, init
        self.output_size = cell.width("h", self.hidden_size) * self.directions
        self._names: dict[tuple[int, int], dict[str, str]] = {}
        for layer, direction in self._places():
            size = self.input_size if layer == 0 else self.output_size
            shapes = cell.weights(size, self.hidden_size, 2 if self.bias else 0)
            check_memory("hidden_size", self.hidden_size, shapes.values(), device, dtype)
            self._names[layer, direction] = {
                name: _torch_name(name, layer, direction) for name in shapes
            }
            for name in sorted(shapes, key=lambda name: name == "weight_hr"):
                parameter = nn.Parameter(torch.empty(shapes[name], device=device, dtype=dtype))
                self.register_parameter(_torch_name(name, layer, direction), parameter)
        self.reset_parameters()

    @property
    def directions(self) -> int:
        """D: 2 if bidirectional, else 1."""
        return 2 if self.bidirectional else 1

    def _places(self) -> Iterator[tuple[int, int]]:
        yield from (
            (layer, direction)
            for layer in range(self.num_layers)
            for direction in range(self.directions)
        )

    def reset_parameters(self) -> None:
        """Start the weights anew, as `init` says."""
        initialisers.apply(self, self.init)

    def layer_weights(self, layer: int, direction: int = 0) -> dict[str, Tensor]:
        """One layer's weights under the cell's own names."""
        return weights_of(self, self._names[layer, direction])

    def parts(self) -> Iterator[tuple[Cell, dict[str, Tensor]]]:
        """Every layer and direction, for `recurra.init` and inspection."""
        yield from (
            (self.cell, self.layer_weights(layer, direction)) for layer, direction in self._places()
        )

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """As in torch.nn: a list for each layer and direction."""
        return [list(self.layer_weights(*place).values()) for place in self._places()]

    def flatten_parameters(self) -> None:
        """Kept because torch.nn has it: weights are packed when a sequence runs, so nothing is to
        be done before.
        """

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: Any = None,
        *,
        lengths: Any = None,
        resets: Any = None,
        method: str = "auto",
    ) -> tuple[Any, Any]:
        """Run a sequence, as torch.nn does; `lengths` and `resets` do without packing.

        Args:
            input: (T, B, I), (B, T, I) with batch_first, (T, I) for one sequence, or a
                PackedSequence.
            hx: the first state: (L*D, B, H), for an LSTM a pair (h, c); zero if None.
            lengths: (B,), steps of each row; past them the output is zero and the state is held.
            resets: bool, the first two axes of `input`: True where a step begins a new segment of
                its row.
            method: how each layer's scan runs, as for `recurra.engine.scan`.

        Returns:
            The output (T, B, D*H) in the form of `input`, and the final state in the form of `hx`.

        Raises:
            ShapeError: `input` or `hx` does not fit; names both shapes.
        """
        came = door.enter(input, self.batch_first, self.input_size, lengths, resets)
        widths = {name: self.cell.width(name, self.hidden_size) for name in self.cell.state}
        state = (
            None
            if hx is None
            else door.enter_state(hx, widths, self.num_layers * self.directions, came)
        )
        x, finals = came.x, []
        for layer in range(self.num_layers):
            outs = []
            for direction in range(self.directions):
                before = None if state is None else state[layer * self.directions + direction]
                done = scan(
                    self.cell,
                    self.layer_weights(layer, direction),
                    x,
                    before,
                    lengths=came.lengths,
                    resets=came.resets,
                    reverse=bool(direction),
                    method=method,
                    recompute=self.recompute and torch.is_grad_enabled(),
                )
                outs.append(done.h)
                finals.append(done.final)
            x = torch.cat(outs, -1) if len(outs) > 1 else outs[0]
            if self.dropout and layer < self.num_layers - 1:
                x = F.dropout(x, self.dropout, self.training)
        return door.leave(x, came, self.batch_first), door.leave_state(finals, len(widths), came)

    def step(self, input: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
        """Run one step.

        Args:
            input: (B, I), or (I,) for one sequence.
            hx: the state before, as for `forward`.

        Returns:
            The output (B, H), and the state after.

        Raises:
            ArgumentError: the net is bidirectional.
            ShapeError: `input` or `hx` does not fit; names both shapes.
        """
        if why := self.streaming_obstacle():
            raise ArgumentError(
                f"step must be called on a module that can stream, got {type(self).__name__}: {why}"
            )
        if (
            not isinstance(input, Tensor)
            or input.ndim not in (1, 2)
            or input.shape[-1] != self.input_size
        ):
            got = shape_text(input.shape) if isinstance(input, Tensor) else type(input).__name__
            raise ShapeError(
                f"input must have shape (B, {self.input_size}) or ({self.input_size},) for one"
                f" sequence, got {got}"
            )
        if not torch.compiler.is_compiling() and (done := self.step_at_once(input, hx)) is not None:
            return done
        axis = 1 if self.batch_first and input.ndim == 2 else 0
        y, state = self(input.unsqueeze(axis), hx)
        return y.squeeze(axis), state

    def step_at_once(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any] | None:
        values = state if len(self.cell.state) > 1 else (state,)
        if not isinstance(values, (tuple, list)) or len(values) != len(self.cell.state):
            return None
        if (
            self.bidirectional
            or not unchanged(self, TorchLike, METHODS)
            or (self.dropout and self.training and self.num_layers > 1)
        ):
            return None
        done = single.run_layers(
            self.cell, [self.layer_weights(layer) for layer in range(self.num_layers)], x, values
        )
        return done and (done[0], tuple(done[1]) if len(values) > 1 else done[1][0])

    def streaming_obstacle(self) -> str | None:
        return (
            "a bidirectional layer needs the whole future before its first output"
            if self.bidirectional
            else None
        )

    def extra_repr(self) -> str:
        words = [f"{self.input_size}, {self.hidden_size}"]
        plain = Options()
        for name, usual in plain._asdict().items():
            if getattr(self, name) != usual:
                words.append(f"{name}={getattr(self, name)}")
        return ", ".join(words)


class RNN(TorchLike):
    """Elman network with the signature of torch.nn.RNN; the equations are `recurra.cells.Elman`'s.

    Args:
        input_size, hidden_size: I and H.
        num_layers: layers one after another.
        nonlinearity: "tanh" or "relu".
        bias: whether there are biases.
        batch_first: input and output are (B, T, .) in place of (T, B, .).
        dropout: dropout rate of the outputs between layers, when training.
        bidirectional: also run from each row's end.
        device, dtype: of the parameters.
        init: "orthogonal", "torch", or a function of `recurra.init`.
        recompute: with gradients, hold only the states for the backward pass, as for
            `recurra.engine.scan`.

    Raises:
        ArgumentError: an option is outside its range.

    >>> y, h = RNN(3, 4)(torch.zeros(5, 2, 3))
    >>> y.shape, h.shape
    (torch.Size([5, 2, 4]), torch.Size([1, 2, 4]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        init: Any = "orthogonal",
        recompute: bool = False,
    ) -> None:
        self.nonlinearity = nonlinearity
        options = Options(num_layers, bias, batch_first, dropout, bidirectional, 0, recompute)
        super().__init__(
            Elman(nonlinearity), (input_size, hidden_size), options, init, device, dtype
        )
        self.nonlinearity, self.mode = nonlinearity, f"RNN_{nonlinearity.upper()}"


class LSTM(TorchLike):
    """Long short-term memory with the signature of torch.nn.LSTM; the equations are
    `recurra.cells.LSTM`'s.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device,
        dtype, init, recompute: as for `RNN`.
        proj_size: units of a projected output, 0 for none; less than `hidden_size`.

    Raises:
        ArgumentError: an option is outside its range.

    >>> lstm = LSTM(3, 4, num_layers=2)
    >>> y, (h, c) = lstm(torch.zeros(5, 2, 3))
    >>> y_t, state = lstm.step(torch.zeros(2, 3), (h, c))
    >>> y.shape, y_t.shape
    (torch.Size([5, 2, 4]), torch.Size([2, 4]))
    """

    mode = "LSTM"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
        init: Any = "orthogonal",
        recompute: bool = False,
    ) -> None:
        options = Options(
            num_layers, bias, batch_first, dropout, bidirectional, proj_size, recompute
        )
        cell = (
            ProjectedLSTM(proj_size)
            if is_whole(proj_size) and proj_size > 0
            else LSTMCellEquations()
        )
        super().__init__(cell, (input_size, hidden_size), options, init, device, dtype)


class GRU(TorchLike):
    """Gated recurrent unit with the signature of torch.nn.GRU; the equations are
    `recurra.cells.GRU`'s.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device,
        dtype, init, recompute: as for `RNN`.

    Raises:
        ArgumentError: an option is outside its range.

    >>> GRU(3, 4, bidirectional=True)(torch.zeros(5, 2, 3))[0].shape
    torch.Size([5, 2, 8])
    """

    mode = "GRU"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        init: Any = "orthogonal",
        recompute: bool = False,
    ) -> None:
        options = Options(num_layers, bias, batch_first, dropout, bidirectional, 0, recompute)
        super().__init__(
            GRUCellEquations(), (input_size, hidden_size), options, init, device, dtype
        )


def _torch_name(name: str, layer: int, direction: int) -> str:
    return f"{name}_l{layer}{'_reverse' if direction else ''}"


def _checked(
    kind: str, input_size: Any, hidden_size: Any, options: Options
) -> tuple[int, int, Options]:
    """The sizes and options by the rules of torch.nn's constructors."""
    input_size = check_whole("input_size", input_size)
    hidden_size = check_whole("hidden_size", hidden_size)
    layers = check_whole("num_layers", options.num_layers)
    for name in ("bias", "batch_first", "bidirectional", "recompute"):
        check_flag(name, getattr(options, name))
    rate = check_number("dropout", options.dropout, 0, 1, "[]")
    advice = "0 is none, and hidden_size - 1 the most"
    proj_size = check_whole("proj_size", options.proj_size, 0, hidden_size - 1, advice)
    if rate > 0 and layers == 1:
        warn_of_idle_dropout(kind, rate, "num_layers=1", stacklevel=5)
    options = options._replace(num_layers=layers, dropout=rate, proj_size=proj_size)
    return input_size, hidden_size, options
