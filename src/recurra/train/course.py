"""A run while it goes on: where it stands, what it does next, and what it tells and leaves
behind.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

from torch import Tensor

from recurra.errors import RunError
from recurra.models import LanguageModel
from recurra.models.claims import check_weights
from recurra.models.files import read_header
from recurra.train import checkpoint
from recurra.train.blame import first_not_finite, weights_not_finite
from recurra.train.evaluation import evaluate
from recurra.train.folder import MODEL, Folder
from recurra.train.interrupt import Wish
from recurra.train.learner import Learner
from recurra.train.processes import Alone
from recurra.train.progress import Display
from recurra.train.recipe import Recipe
from recurra.train.resuming import collect
from recurra.train.run import Row, Run
from recurra.train.windows import Cut, count_chunks, cuts


class Course:
    """What a run holds while it goes on. Callbacks are given it.

    Attributes:
        model, recipe, run: as for `fit`.
        epoch: the pass, from 1.
        index: chunks of this pass that are done.
        step: updates that were done.
        ended: set it to end the run after the chunk; its last checkpoint then is its end.
    """

    folder: Folder | None = None
    wish = Wish()

    def __init__(
        self,
        model: LanguageModel,
        recipe: Recipe,
        streams: tuple[Any, Any],
        team: Alone,
        callbacks: Sequence[Any],
    ) -> None:
        self.model, self.recipe, self.team, self.callbacks = model, recipe, team, callbacks
        self.streams, self.held_out = streams
        self.epoch, self.index, self.step, self.since_best, self.ended = 1, 0, 0, 0, False
        self.sums = {"loss": 0.0, "tokens": 0, "elapsed_s": 0.0}  # since the last validation
        self.a_pass = count_chunks(
            self.streams.steps, recipe.window, recipe.stride or recipe.window
        )
        self.learner = Learner(model, recipe, self.streams, team, self.a_pass * recipe.epochs)
        self.run = Run(model)
        self.display = Display(recipe.epochs, self.a_pass, show=False)
        self.best: dict[str, Tensor] | None = None
        self.fingerprint = ""
        self.validated_at = self.kept_at = 0.0

    # What there is to do

    def cuts(self) -> Iterator[Cut]:
        """The chunks of this pass that are left to do."""
        seed = (
            (self.recipe.seed * 1_000_003 + self.epoch) % 2**63 if self.recipe.vary_window else None
        )
        return islice(
            cuts(self.streams.steps, self.recipe.window, self.recipe.stride, generator_seed=seed),
            self.index,
            None,
        )

    def learn(self, cut: Cut) -> Row | None:
        """Do a chunk; give its row, or None where it holds nothing to learn."""
        began = time.perf_counter()
        figures = self.learner.learn(cut, self.epoch)
        self.index += 1
        if figures is None:
            return None
        self.step += 1
        row = {"kind": "train", "epoch": self.epoch, "step": self.step} | figures._asdict()
        if not figures.finite:
            self.note(row)
            raise RunError(
                self._not_finite("loss", figures.loss, figures.grad_norm)
                + f"; {first_not_finite(self.learner)}"
            )
        elapsed = time.perf_counter() - began
        for name, value in (
            ("loss", figures.loss * figures.tokens),
            ("tokens", figures.tokens),
            ("elapsed_s", elapsed),
        ):
            self.sums[name] += value
        row["tokens_per_s"] = figures.tokens / elapsed
        self.note(row)
        self.display.chunk(row, (self.epoch - 1) * self.a_pass + self.index)
        return row

    def _not_finite(self, name: str, loss: float, norm: float | None = None) -> str:
        found = "" if norm is None else f" (gradient norm {norm})"
        kept = "; the best model so far is kept" if math.isfinite(self.run.best_loss) else ""
        kept += "; the last checkpoint stands" if self.folder else ""
        return (
            f"{name} and gradient must stay finite, got {loss} at step {self.step} of epoch"
            f" {self.epoch}{found}; try a smaller lr than {self.recipe.lr} or a smaller"
            f" clip_norm{kept}"
        )

    def validate(self) -> Row:
        """Evaluate on the held-out part; keep the model if it is the best."""
        with self.learner.average.in_place() if self.learner.average else nullcontext():
            loss = evaluate(self.model, self.held_out, self.recipe.window, self.team)
            best = loss < self.run.best_loss
            if best:
                self._keep_best(loss)
        tokens = max(1, self.sums["tokens"])
        row = {
            "kind": "validation",
            "epoch": self.epoch,
            "step": self.step,
            "validation_loss": loss,
            "best": best,
            "train_loss": self.sums["loss"] / tokens,
            "elapsed_s": self.sums["elapsed_s"],
            "tokens": self.sums["tokens"],
            "tokens_per_s": self.sums["tokens"] / max(1e-9, self.sums["elapsed_s"]),
        }
        self.note(row)
        self.display.validation(row)
        if not math.isfinite(loss):
            raise RunError(self._not_finite("validation loss", loss))
        self.learner.judge(loss)
        self.since_best = 0 if best else self.since_best + 1
        self.ended = self.ended or (
            self.recipe.stop_after is not None and self.since_best >= self.recipe.stop_after
        )
        self.sums, self.validated_at = dict.fromkeys(self.sums, 0), self.step
        return row

    def validation_due(self, end_of_pass: bool = False) -> bool:
        """Whether it is time for a validation: every so many updates, or at each pass's end; always
        at the run's.
        """
        if self.validated_at == self.step:
            return False
        if self.recipe.validate_every is None or (end_of_pass and self.epoch == self.recipe.epochs):
            return end_of_pass
        return self.step % self.recipe.validate_every == 0

    def _keep_best(self, loss: float) -> None:
        if self.run.folder is None:
            self.best = {name: value.clone() for name, value in self.model.state_dict().items()}
        if self.folder:
            self.folder.keep(self.model)
        self.run.best_loss = loss

    def next_pass(self) -> None:
        """Begin the next pass: its rows start anew."""
        self.epoch, self.index, self.learner.carried = (
            self.epoch + 1,
            0,
            [None] * len(self.learner.parts),
        )
        self.ended = self.ended or self.epoch > self.recipe.epochs

    # What it tells and leaves behind

    def tell(self, moment: str, *given: Any) -> None:
        """Tell each callback that has this moment."""
        for callback in self.callbacks:
            if hasattr(callback, moment):
                getattr(callback, moment)(self, *given)

    def note(self, row: Row) -> None:
        """Add a row to the history: on disk where there is a folder, else in memory."""
        if self.run.folder is None:
            self.run.rows.append(row)
        if self.folder:
            self.folder.row(row)

    def agree(self) -> tuple[bool, bool]:
        """Whether the run is to stop, and whether a checkpoint is due: the same answer in every
        process.
        """
        due = (
            self.run.folder is not None
            and time.monotonic() - self.kept_at >= self.recipe.checkpoint_s
        )
        stop, late = self.team.sum(self.wish.asked, due and self.team.rank == 0)
        return bool(stop), bool(late)

    def keep(self) -> None:
        """Write a checkpoint, where there is a folder."""
        if self.run.folder is None:
            return
        if broken := weights_not_finite(self.model):
            raise RunError(self._not_finite("weights", math.nan) + f"; {broken}")
        tensors, record = collect(self)
        if self.folder:
            checkpoint.write(
                self.folder.checkpoints,
                self.learner.updates,
                tensors,
                record | {"history": self.folder.mark()},
            )
        self.kept_at = time.monotonic()

    def finish(self) -> None:
        """Leave the model with its best weights; one stopped before any validation is kept as it
        is.
        """
        try:
            self._recall_best()
        finally:
            if self.folder:
                self.folder.close()
        self.model.eval()

    def _recall_best(self) -> None:
        """Take the best weights, from memory or from the folder, whose file may be whoever's.

        Raises:
            DataError: the folder's are not this model's.
        """
        if self.best is not None:
            self.model.load_state_dict(self.best)
        elif math.isfinite(self.run.best_loss) and self.run.folder:
            best = read_header(Path(self.run.folder) / MODEL)[1]
            check_weights(
                {name: tuple(value.shape) for name, value in self.model.state_dict().items()}, best
            )
            self.model.load_state_dict(best)
        elif self.folder and self.run.stopped:
            self.folder.keep(self.model)
