"""Train a model: a loop that one can read on one screen."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from recurra.errors import ArgumentError, DataError
from recurra.models import LanguageModel
from recurra.models.cell_record import open_cell
from recurra.models.files import record_options
from recurra.train.checkpoint import read_newest
from recurra.train.corpus import Corpus, Part, from_source
from recurra.train.course import Course
from recurra.train.folder import LAST, Folder, read_config
from recurra.train.generators import seed_generators
from recurra.train.interrupt import interruptible
from recurra.train.learner import check_model
from recurra.train.processes import Alone, processes
from recurra.train.progress import Display
from recurra.train.recipe import Recipe
from recurra.train.resuming import fingerprint, lengthen, rebuild, recall
from recurra.train.run import Run
from recurra.train.streams import TokenStreams
from recurra.wording import count_text


def fit(
    model: LanguageModel,
    data: Corpus,
    recipe: Recipe | None = None,
    out: str | PathLike[str] | None = None,
    *,
    show: bool = True,
    callbacks: Sequence[Any] = (),
) -> Run:
    """Train a language model by truncated backpropagation through time.

    The state is carried from chunk to chunk, detached, and its dropout masks are drawn anew for
    each; at the start of a pass and of a document it is the model's own. At each validation the
    best model is kept. Ctrl-C ends the run after the chunk, with the best model so far and a
    checkpoint to go on from; so does a request to terminate.

    Args:
        model: trained in place; ends with its best weights, and with the data's vocabulary.
        data: the corpus.
        recipe: how; the defaults of `Recipe` if None.
        out: a new folder for config.toml, history.jsonl, model.safetensors and last/; None: nothing
            is written.
        show: show progress: a bar on a terminal or in a notebook, else a line of JSON a validation
            on the standard error stream.
        callbacks: objects that are told `on_start(course)`, `on_chunk(course, row, chunk)`,
            `on_validation(course, row)` and `on_end(course)`, each if it has that method. `course`
            is the run as it stands: `model`, `recipe`, `run`, `epoch`, `step`, `note(row)` for a
                row of one's own in the history, and `ended`, to be set to end the run.

    Returns:
        The run.

    Raises:
        ArgumentError: the model is no language model, the data no corpus or the recipe none; the
            model's vocabulary is not the data's, the batch is larger than the data or not a
            multiple of the processes, or there is an `out` but the model's cell makes no program to
            save it with.
        DataError: a part of the data holds no token to predict.
        RunError: `out` cannot be used, a process of the run is lost, or the loss or its gradient is
            not finite: says at which step, and what was not finite first; the best model and the
                last checkpoint are kept.
    """
    course = _begin(model, data, recipe or Recipe(), out, callbacks, show)
    with _opened(course, out, resume=False):
        if course.folder:
            course.folder.configure(model, course.recipe, data.source)
    return _go_on(course)


def resume(
    folder: str | PathLike[str],
    data: Corpus | None = None,
    *,
    epochs: int | None = None,
    show: bool = True,
    callbacks: Sequence[Any] = (),
    cells: Iterable[Any] = (),
) -> Run:
    """Go on with a run from its newest whole checkpoint, bit for bit as if it had never ended.

    On the same machine, with the same versions and threads, the run ends with the same weights;
    where one of them is another, that is said, and the last bits may differ. A run that has ended
    is left as it is, unless `epochs` asks for more passes. Then too it ends as a run of so many
    epochs from the start, but for what depends on the length: the rate of the schedules "cosine"
    and "one_cycle" is from here on that of the new length, and with `validate_every` the validation
    at the former end has been counted. Both are said.

    Args:
        folder: the run's.
        data: the corpus; found again by where it came from if None.
        epochs: passes in all, those that are done included; the run's own if None.
        show, callbacks: as for `fit`.
        cells: the classes of cells of one's own that the model is made of, as for
            `recurra.models.load`.

    Returns:
        The run.

    Raises:
        RunError: there is no run or no whole checkpoint there, another process uses it, or the
            data, the number of processes or the version is another; `epochs` is fewer than the
            passes that are done or begun, or the run was ended before its own.
        DataError, ArgumentError: the data cannot be found again, `epochs` is no number of passes,
            or a class of the model's is not among `cells` or is another.
    """
    config, found = read_config(folder), read_newest(Path(folder) / LAST)
    recipe = Recipe.of(config["recipe"])
    before, recipe = recipe, recipe if epochs is None else replace(recipe, epochs=epochs)
    if data is None and "data" not in config:
        raise ArgumentError(
            "data must be given to go on with a run whose data came from memory, got None"
        )
    data = from_source(config["data"]) if data is None else data
    options = config["model"]
    model = rebuild(
        options | {"cell": open_cell(options.get("cell", "lstm"), cells)}, found, data.vocabulary
    )
    course = _begin(model, data, recipe, folder, callbacks, show)
    with _opened(course, folder, resume=True):
        notes = recall(course, found)
        if recipe != before:
            notes += lengthen(course, before)
        lost = course.folder and course.folder.rewind(
            None if course.ended else found.record["history"]
        )  # a run's end may be noted later
        if recipe != before:
            # before the recipe says so: a run that is killed in between can still be asked to be
            # longer
            course.keep()
            if course.folder:
                course.folder.configure(model, recipe, config.get("data"))
    for note in [
        *found.passed_by,
        *([lost] if lost else []),
        *(f"not bit for bit: {note}" for note in notes),
    ]:
        course.display.say(note)
    place = f"after update {course.learner.updates}"
    course.display.say(
        f"the run ended {place}" if course.ended else f"going on {place} in pass {course.epoch}"
    )
    return _go_on(course)


@contextmanager
def _opened(course: Course, out: str | PathLike[str] | None, resume: bool) -> Iterator[None]:
    """Give a course its folder; let go of it if what is done with it first fails."""
    if out is not None:
        course.run.folder = Path(out)
        course.folder = Folder(out, resume) if course.team.rank == 0 else None
    try:
        yield
    except BaseException:
        if course.folder:
            course.folder.close()
        raise


def _go_on(course: Course) -> Run:
    """The loop, and its ends."""
    with interruptible(course.display.say) as course.wish:
        try:
            with course.display:
                _loop(course)
        except KeyboardInterrupt:
            course.run.stopped = True
        except Exception:
            if not course.wish.insisted:
                raise
            course.run.stopped = True
        finally:
            course.wish.ending = True
            course.finish()
    return course.run


def _loop(course: Course) -> None:
    course.kept_at = time.monotonic()
    course.tell("on_start")
    if not course.learner.updates:
        course.keep()
    while not course.ended and not course.run.stopped:
        _pass(course)
    course.tell("on_end")


def _pass(course: Course) -> None:
    """The rest of a pass, chunk by chunk."""
    course.model.train()
    for cut in course.cuts():
        row = course.learn(cut)
        if row:
            course.tell("on_chunk", row, course.learner.chunks[0])
        if row and course.validation_due():
            _validate(course)
        stop, late = course.agree()
        if stop or late or course.ended:
            course.keep()
        course.run.stopped = stop
        if stop or course.ended:
            return
    if course.validation_due(end_of_pass=True):
        course.tell("on_validation", course.validate())
    course.next_pass()
    course.keep()


def _validate(course: Course) -> None:
    course.tell("on_validation", course.validate())
    course.keep()


def _begin(
    model: LanguageModel,
    data: Corpus,
    recipe: Recipe,
    out: Any,
    callbacks: Sequence[Any],
    show: bool,
) -> Course:
    """Look at everything before anything is touched; then draw the streams."""
    check_model(model, "features", "cost", "loss", "vocab_size")
    if not isinstance(data, Corpus):
        raise ArgumentError(
            f"data must be a Corpus, got {type(data).__name__}; use recurra.train.from_text or"
            " recurra.train.from_files"
        )
    if not isinstance(recipe, Recipe):
        raise ArgumentError(
            f"recipe must be a Recipe, got {type(recipe).__name__}; use"
            " recurra.train.Recipe(epochs=10), for example"
        )
    if model.vocab_size != len(data.vocabulary):
        raise ArgumentError(
            f"model must have vocab_size {len(data.vocabulary)}, as the data has, got"
            f" {model.vocab_size}"
        )
    if (model.vocabulary or data.vocabulary) != data.vocabulary:
        raise ArgumentError(
            "model must have the vocabulary of the data, got another one of the same size"
        )
    if out is not None:
        record_options(model)
    if recipe.batch >= len(data.train.tokens):
        raise ArgumentError(
            f"batch must be less than the {count_text(len(data.train.tokens), 'token')} of the"
            f" training part, got {recipe.batch}"
        )
    streams = (
        _streams("training", data.train, recipe.batch),
        _streams("validation", data.validation, recipe.batch),
    )
    team = processes(recipe.device)
    _check_rows(recipe, team)
    seed_generators((recipe.seed + team.rank) % 2**64)
    model.vocabulary = data.vocabulary
    model.to(team.device)
    team.share(model)
    course = Course(model, recipe, streams, team, callbacks)
    course.fingerprint = fingerprint(data) if out is not None else ""
    course.display = Display(
        recipe.epochs, course.a_pass, show and team.rank == 0, data.vocabulary.level
    )
    return course


def _check_rows(recipe: Recipe, team: Alone) -> None:
    if recipe.batch % (team.count * recipe.accumulate):
        each = f"{team.count} processes" + (
            f" times accumulate = {recipe.accumulate}" if recipe.accumulate > 1 else ""
        )
        raise ArgumentError(f"batch must be a multiple of {each}, got {recipe.batch}")


def _streams(name: str, part: Part, batch: int) -> TokenStreams:
    """A part as streams; the batch shrinks to what a short one holds."""
    if len(part.tokens) < 2:
        raise DataError(f"data must have at least two tokens for {name}, got {len(part.tokens)}")
    streams = TokenStreams(part.tokens, min(batch, len(part.tokens) - 1), part.starts)
    if not streams.tokens:
        raise DataError(
            f"data must have a token to predict for {name}, got only documents of one token"
        )
    return streams
