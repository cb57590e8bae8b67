"""The one object that remembers: a model and its state, one step or one chunk at a time."""

from __future__ import annotations

from recurra.errors import import_for

import_for(__name__, "torch")

import math
from collections.abc import Iterator, Sequence
from os import PathLike
from typing import Any

import torch
from torch import Tensor, nn

from recurra import state as states
from recurra.check import check_whole
from recurra.display import card, note, one_line, table
from recurra.errors import ArgumentError, DataError, DtypeError, ShapeError, choice_text, shape_text
from recurra.layers import SequenceModule
from recurra.layers.replace import LAYERS
from recurra.layers.sequence import run_time_first
from recurra.layers.torch_like_cell import TorchLikeCell
from recurra.models.mode import evaluating

NAN = ("error", "pass", "reset")


class Stream:
    """Runs a model on data that comes in bit by bit, in memory that does not grow.

    Pushing a sequence step by step, in chunks or whole gives the same numbers. The model runs as at
    evaluation and without gradients; its own mode is left as it is.

    Args:
        model: a module over time that can stream: a layer, a stack of them, a language model.
        batch: B, how many streams side by side.
        nan: what a step that is not finite does: "error" names the row and keeps the state, "pass"
            lets it in, "reset" answers NaN and begins that row anew.

    Raises:
        ArgumentError: the model cannot stream; says which layer and why.

    >>> import recurra
    >>> stream = Stream(recurra.LSTM(3, 4), batch=2)
    >>> stream.push(torch.zeros(2, 3)).shape, stream.push(torch.zeros(7, 2, 3)).shape
    (torch.Size([2, 4]), torch.Size([7, 2, 4]))
    """

    def __init__(self, model: nn.Module, batch: int = 1, nan: str = "error") -> None:
        if not isinstance(model, SequenceModule):
            raise ArgumentError(
                f"model must be a recurra module over time, got {type(model).__name__};"
                f" {_way(model)}"
            )
        if why := model.streaming_obstacle():
            raise ArgumentError(f"model must be able to stream, got {type(model).__name__}: {why}")
        batch = check_whole("batch", batch)
        if nan not in NAN:
            raise ArgumentError(choice_text("nan", nan, NAN))
        self.model, self.batch, self.nan = model, batch, nan
        self.state: Any = None
        self._due = torch.zeros(batch, dtype=torch.bool)

    def __repr__(self) -> str:
        return f"Stream({self._model_text()}, batch={self.batch}, nan={self.nan!r})"

    def _repr_html_(self) -> str:
        held = [
            [name, shape_text(value.shape), value.dtype, value.device]
            for name, value in _named(self.state)
        ]
        facts: list[list[Any]] = [
            ["model", self._model_text()],
            ["batch", self.batch],
            ["nan", self.nan],
            ["rows to begin anew", int(self._due.sum())],
        ]
        state = table(["state", "shape", "dtype", "device"], held) or note(
            "The next step starts from the model's own first state."
        )
        return card("Stream", table([], facts), state)

    def _model_text(self) -> str:
        """The model in one line; one that holds others by its kind."""
        text = repr(self.model)
        return type(self.model).__name__ if "\n" in text else one_line(text)

    def push(self, x: Tensor) -> Tensor:
        """Take in one step (B, ...) or a chunk (T, B, ...) and give back as many outputs.

        Args:
            x: features (B, I) or (T, B, I); for a language model tokens (B,) or (T, B).

        Returns:
            The outputs, (B, ...) or (T, B, ...).

        Raises:
            ShapeError: `x` is of another batch or width, or holds no step.
            DtypeError: `x` is not a tensor of the model's dtype.
            ArgumentError: a value of `x` is not finite, and `nan` is "error"; names the step and
                the row. The state is as before.
        """
        if not isinstance(x, Tensor):
            raise DtypeError(f"x must be a tensor, got {type(x).__name__}; use torch.as_tensor")
        axes = 1 if x.dtype in (torch.int64, torch.int32) else 2
        if x.ndim not in (axes, axes + 1) or x.shape[x.ndim - axes] != self.batch:
            wanted: list[int | str] = [self.batch, *("I" for _ in range(axes - 1))]
            raise ShapeError(
                f"x must have shape {shape_text(wanted)} or {shape_text(['T', *wanted])}, got"
                f" {shape_text(x.shape)}"
            )
        chunk = x[None] if x.ndim == axes else x
        if not len(chunk):
            raise ShapeError(f"x must have at least one step, got shape {shape_text(x.shape)}")
        bad = self._bad(chunk)
        if bad is not None:
            chunk = chunk.masked_fill(bad[..., None], 0)
        with torch.no_grad(), evaluating(self.model):
            resets = self._resets(chunk, bad)
            done = (
                self.model.step_at_once(x, self.state)
                if x.ndim == axes and resets is None
                else None
            )
            if done is not None:
                y, self.state = done
                return y
            y, state = run_time_first(self.model, chunk, self.state, resets=resets)
        self.state = states.transform(state, _alone)
        self._due = torch.zeros_like(self._due) if bad is None else bad[-1].cpu()
        if bad is not None:
            y = y.masked_fill(bad[(...,) + (None,) * (y.ndim - 2)], math.nan)
        return y[0] if x.ndim == axes else y

    def reset(self, rows: Sequence[int] | Tensor | None = None) -> None:
        """Begin anew: the next step of these rows starts from the model's own first state.

        Args:
            rows: which rows: their numbers, each once, or (B,) bool; all if None.

        Raises:
            ArgumentError: a row is not one of the batch, or `rows` look like a mask that is not
                bool.
            ShapeError: a mask is not as long as the batch.
        """
        if rows is None:
            self.state, self._due = None, torch.zeros_like(self._due)
            return
        self._due[states.row_indices(rows, self.batch)] = True

    def save(self, path: str | PathLike[str]) -> None:
        """Write the state to a safetensors file, with a checksum.

        Raises:
            RunError: the file cannot be written.
        """
        states.save((self.state, self._due[:, None]), path)

    def load(self, path: str | PathLike[str]) -> None:
        """Go on from a state that `save` wrote.

        Raises:
            DataError: the file is missing, damaged, or not a saved stream; or a value is not
                finite, and `nan` is not "pass".
            ShapeError: it is the state of another batch or another model; of the model only a
                stream that has run knows at once, a fresh one at the next step.
        """
        loaded = states.load(path)
        due = loaded[1] if isinstance(loaded, tuple) and len(loaded) == 2 else None
        if (
            not isinstance(due, Tensor)
            or due.dtype != torch.bool
            or due.ndim != 2
            or due.shape[1] != 1
        ):
            raise DataError(
                f"path must be a file that Stream.save wrote, got {str(path)!r}, another kind of"
                " state"
            )
        if len(due) != self.batch:
            raise ShapeError(
                f"path must hold a stream's state of batch {self.batch}, got batch {len(due)}"
            )
        if self.state is not None and loaded[0] is not None:
            states.same_form(loaded[0], self.state)
        device = next((weight.device for weight in self.model.parameters()), torch.device("cpu"))
        self.state, self._due = (
            states.transform(loaded[0], lambda value: self._sound(value, path).to(device)),
            due[:, 0],
        )

    def _sound(self, value: Tensor, path: str | PathLike[str]) -> Tensor:
        """A value of a loaded state after looking at it."""
        if self.nan != "pass" and not bool(value.isfinite().all()):
            raise DataError(
                f"path must hold finite numbers, got others in {str(path)!r}; open the stream with"
                " nan='pass'"
            )
        if value.ndim < 2 or value.shape[-2] != self.batch:
            raise ShapeError(
                f"path must hold a stream's state of batch {self.batch}, got a value of shape"
                f" {shape_text(value.shape)}"
            )
        return value

    def _resets(self, chunk: Tensor, bad: Tensor | None) -> Tensor | None:
        """Where a row begins anew, (T, B): at once if it is due, and after a bad step."""
        if bad is None and not bool(self._due.any()):
            return None
        resets = torch.zeros(chunk.shape[:2], dtype=torch.bool, device=chunk.device)
        resets[0] = self._due.to(chunk.device)
        if bad is not None:
            resets[1:] = bad[:-1]
        return resets

    def _bad(self, chunk: Tensor) -> Tensor | None:
        """The steps that are not to be taken in, (T, B), if there are any."""
        if (
            self.nan == "pass" or not chunk.is_floating_point() or math.isfinite(chunk.sum().item())
        ):  # a sum is soon made
            return None
        bad = (~chunk.isfinite()).any(-1)
        if not bool(bad.any()):
            return None
        if self.nan == "error":
            step, row = bad.nonzero()[0].tolist()
            raise ArgumentError(
                f"x must be finite, got {chunk[step, row][~chunk[step, row].isfinite()][0].item()}"
                f" at step {step} of row {row}; use nan='pass' to let it in or nan='reset' to begin"
                " the row anew"
            )
        return bad


def _way(model: Any) -> str:
    """How to stream what a stream does not take."""
    if type(model) in LAYERS:
        return "use recurra.Stream(recurra.layers.from_torch(model))"
    if isinstance(model, (nn.RNNCellBase, TorchLikeCell)):
        return (
            "a cell makes one step and hands back its state: call it with that state, or use the"
            " layer of its name"
        )
    if isinstance(model, nn.Sequential) and all(_stacks(child) for child in model):
        return "use recurra.replace(model) and then recurra.Stream(recurra.Stack(model))"
    if isinstance(model, nn.Module):
        return (
            "put its layers into a recurra.Stack, or export the model and open"
            " recurra.runtime.load(path).session(batch)"
        )
    return "give a layer such as recurra.LSTM, a recurra.Stack or a recurra.models.LanguageModel"


def _stacks(child: nn.Module) -> bool:
    """Whether a stack takes a module, once `replace` has swapped it."""
    over_time = (*LAYERS, nn.RNNCellBase, TorchLikeCell, SequenceModule)
    if type(child) in LAYERS or isinstance(child, SequenceModule):
        return not getattr(child, "batch_first", False)
    return not any(isinstance(part, over_time) for part in child.modules())


def _alone(value: Tensor) -> Tensor:
    """The same values in memory of their own: a view of a chunk's last step would keep the whole
    chunk.
    """
    return (
        value
        if value.untyped_storage().nbytes() == value.numel() * value.element_size()
        else value.clone()
    )


def _named(state: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor of a state with its place in it: "1.h"."""
    if isinstance(state, Tensor):
        yield name, state
    for key, part in (
        zip(getattr(state, "_fields", range(len(state))), state) if isinstance(state, tuple) else ()
    ):
        yield from _named(part, f"{name}.{key}" if name else str(key))
