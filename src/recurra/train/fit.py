"""Train a model: a loop that one can read on one screen."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recurra import state as states
from recurra.errors import ArgumentError, DataError, RunError
from recurra.models import LanguageModel
from recurra.models.files import check_named
from recurra.models.language_model import IGNORED
from recurra.models.mode import evaluating
from recurra.train.corpus import Corpus, Part
from recurra.train.folder import Folder
from recurra.train.progress import Display
from recurra.train.recipe import Recipe
from recurra.train.streams import Chunk, Streams, contiguous, tbptt

Row = dict[str, Any]


@dataclass
class Run:
    """What a run did.

    Attributes:
        model: the model, with the weights of its best validation.
        history: rows as plain records: one a chunk (kind "train"), one an epoch (kind "validation").
        best_loss: the best validation loss, in nats a token.
        stopped: whether it was interrupted.
        folder: where it is on disk, or None.
    """

    model: LanguageModel
    history: list[Row] = field(default_factory=list)
    best_loss: float = math.inf
    stopped: bool = False
    folder: Path | None = None


def fit(
    model: LanguageModel, data: Corpus, recipe: Recipe | None = None, out: str | PathLike[str] | None = None, *, show: bool = True,
    on_chunk: Callable[[Row], None] | None = None,
) -> Run:  # fmt: skip
    """Train a language model by truncated backpropagation through time, with Adam.

    The state is carried from chunk to chunk, detached, and its dropout masks are drawn anew for each; at the
    start of a pass and of a document it is the model's own. After each pass the model is validated, and the best
    is kept. An interrupt (Ctrl-C) ends the run with the best model so far.

    Args:
        model: trained in place; ends with its best weights, and with the data's vocabulary.
        data: the corpus.
        recipe: how; the defaults of `Recipe` if None.
        out: a new folder for config.toml, history.jsonl and model.safetensors; None: nothing is written.
        show: print progress on the standard error stream.
        on_chunk: called with each training row.

    Returns:
        The run.

    Raises:
        ArgumentError: the model's vocabulary is not the data's, the batch is larger than the data, or there is an
            `out` but the model's cell has no name to save it by.
        DataError: a part of the data holds no token to predict.
        RunError: `out` cannot be used, or the loss or its gradient is not finite: says at which step; the best model
            is kept.
    """
    course = _Course(model, data, recipe or Recipe(), out, show)
    try:
        with course.display:
            for epoch in range(1, course.recipe.epochs + 1):
                for row in course.train(epoch):
                    course.note(row)
                    course.display.chunk(row)
                    if on_chunk:
                        on_chunk(row)
                course.validate(epoch)
    except KeyboardInterrupt:
        course.run.stopped = True
    finally:
        course.finish()
    return course.run


class _Course:
    """What a run holds while it goes on."""

    def __init__(self, model: LanguageModel, data: Corpus, recipe: Recipe, out: str | PathLike[str] | None, show: bool) -> None:
        if model.vocab_size != len(data.vocabulary):
            raise ArgumentError(f"model must have vocab_size {len(data.vocabulary)}, as the data has, got {model.vocab_size}")
        if (model.vocabulary or data.vocabulary) != data.vocabulary:
            raise ArgumentError("model must have the vocabulary of the data, got another one of the same size")
        if out is not None:
            check_named(model)
        if recipe.batch >= len(data.train.tokens):
            raise ArgumentError(f"batch must be less than the {len(data.train.tokens)} tokens of the training part, got {recipe.batch}")
        torch.manual_seed(recipe.seed)
        model.vocabulary = data.vocabulary
        self.model, self.recipe = model, recipe
        self.streams = _streams("training", data.train, recipe.batch, model)
        self.held_out = _streams("validation", data.validation, recipe.batch, model)
        chunks = sum(_tokens(chunk) > 0 for chunk in tbptt(self.streams, recipe.window, recipe.stride))
        self.optimizer = torch.optim.Adam(model.parameters(), lr=recipe.lr, fused=True)
        self.schedule = _schedule(self.optimizer, recipe, chunks * recipe.epochs)
        self.folder = None if out is None else Folder(out)
        if self.folder:
            self.folder.configure(model, recipe)
        self.display = Display(recipe.epochs, chunks, show)
        self.run = Run(model, folder=self.folder.path if self.folder else None)
        self.best: dict[str, Tensor] | None = None
        self.step = 0

    def train(self, epoch: int) -> Iterator[Row]:
        """Train one pass; give a row for each chunk."""
        self.model.train()
        state = None
        for chunk in tbptt(self.streams, self.recipe.window, self.recipe.stride):
            began, tokens = time.perf_counter(), _tokens(chunk)
            if not tokens:
                state = None  # its last step predicts nothing in any row, so a document begins in each right after it
                continue
            loss, state = chunk_loss(self.model, chunk, state)
            self.optimizer.zero_grad()
            loss.backward()
            limit = math.inf if self.recipe.clip_norm is None else self.recipe.clip_norm
            norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), limit)
            self.step += 1
            row = self._row(epoch, loss, norm)
            if not (math.isfinite(row["loss"]) and math.isfinite(row["grad_norm"])):
                self.note(row)
                raise RunError(self._not_finite("loss", row["loss"], row))
            self.optimizer.step()
            self.schedule.step()
            state = states.redraw(states.detach(state))
            yield row | {"tokens": tokens, "tokens_per_s": tokens / (time.perf_counter() - began)}

    def _row(self, epoch: int, loss: Tensor, norm: Tensor) -> Row:
        lr = self.schedule.get_last_lr()[0]
        return {"kind": "train", "epoch": epoch, "step": self.step, "loss": loss.item(), "grad_norm": norm.item(), "lr": lr}

    def _not_finite(self, name: str, loss: float, row: Row) -> str:
        norm = f" (gradient norm {row['grad_norm']})" if "grad_norm" in row else ""
        kept = "" if self.best is None else "; the best model so far is kept"
        return (
            f"{name} and gradient must stay finite, got {loss} at step {row['step']} of epoch {row['epoch']}{norm}; "
            f"try a smaller lr than {self.recipe.lr} or a smaller clip_norm{kept}"
        )

    def validate(self, epoch: int) -> None:
        """Evaluate on the held-out part; keep the model if it is the best."""
        rows = [row for row in self.run.history if row["kind"] == "train" and row["epoch"] == epoch]
        tokens = sum(row["tokens"] for row in rows)
        loss = evaluate(self.model, self.held_out, self.recipe.window)
        best = loss < self.run.best_loss
        row = {
            "kind": "validation", "epoch": epoch, "step": self.step, "validation_loss": loss, "best": best,
            "train_loss": sum(row["loss"] * row["tokens"] for row in rows) / tokens,
            "elapsed_s": sum(row["tokens"] / row["tokens_per_s"] for row in rows), "tokens": tokens,
        }  # fmt: skip
        self.note(row | {"tokens_per_s": tokens / row["elapsed_s"]})
        self.display.epoch(self.run.history[-1])
        if not math.isfinite(loss):
            raise RunError(self._not_finite("validation loss", loss, row))
        if best:
            self.run.best_loss, self.best = loss, {name: value.clone() for name, value in self.model.state_dict().items()}
            if self.folder:
                self.folder.keep(self.model)

    def note(self, row: Row) -> None:
        """Add a row to the history, in memory and on disk."""
        self.run.history.append(row)
        if self.folder:
            self.folder.row(row)

    def finish(self) -> None:
        """Leave the model with its best weights; one stopped before any validation is kept as it is."""
        if self.best is not None:
            self.model.load_state_dict(self.best)
        elif self.folder and self.run.stopped:
            self.folder.keep(self.model)
        if self.folder:
            self.folder.close()
        self.model.eval()


def chunk_loss(model: LanguageModel, chunk: Chunk, state: Any) -> tuple[Tensor, Any]:
    """The mean loss of a chunk's counted steps, and the state to carry.

    Where the state is carried from the middle of the chunk (stride < window), the chunk runs in two parts.

    Args:
        model: the model.
        chunk: from `tbptt`.
        state: the state before the chunk.

    Returns:
        The loss in nats a token, and the state after `chunk.carry` steps.
    """
    resets = chunk.resets
    if chunk.carry == len(chunk.x):
        logits, carried = model(chunk.x, state, resets=resets)
    else:
        k = chunk.carry
        first, carried = model(chunk.x[:k], state, resets=None if resets is None else resets[:k])
        rest, _ = model(chunk.x[k:], carried, resets=None if resets is None else resets[k:])
        logits = torch.cat([first, rest])
    return model.cross_entropy(logits[-chunk.counted :], chunk.y[-chunk.counted :]), carried


def evaluate(model: LanguageModel, streams: Streams, window: int = 100) -> float:
    """The mean loss of a model over streams, state carried, as at evaluation.

    Args:
        model: the model; its mode is left as it was.
        streams: the data.
        window: steps at a time; changes memory, not the result.

    Returns:
        Nats a token.

    Raises:
        DataError: no target counts.
    """
    total, count, state = 0.0, 0, None
    with torch.no_grad(), evaluating(model):
        for chunk in tbptt(streams, window):
            loss, state = model.loss(chunk.x, chunk.y, state, resets=chunk.resets)
            tokens = _tokens(chunk)
            total, count = total + float(loss) * tokens, count + tokens
    if not count:
        raise DataError("streams must hold a target that counts, got none")
    return total / count


def _tokens(chunk: Chunk) -> int:
    """How many targets count in a chunk's loss."""
    return int((chunk.y[-chunk.counted :] != IGNORED).sum())


def _streams(name: str, part: Part, batch: int, model: LanguageModel) -> Streams:
    if len(part.tokens) < 2:
        raise DataError(f"data must have at least two tokens for {name}, got {len(part.tokens)}")
    streams = contiguous(part.tokens, min(batch, len(part.tokens) - 1), part.starts)
    if not bool((streams.y != IGNORED).any()):
        raise DataError(f"data must have a token to predict for {name}, got only documents of one token")
    device = model.decoder_bias.device
    return Streams(*(None if value is None else value.to(device) for value in streams))  # type: ignore[arg-type]


def _schedule(optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    if recipe.schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    return torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)
