"""What a checkpoint holds of a run, and how the run goes on from it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from recurra import __version__
from recurra import state as states
from recurra.errors import DataError, RunError, reason
from recurra.models import LanguageModel
from recurra.models.claims import build
from recurra.train.checkpoint import Checkpoint
from recurra.train.checkpoint_record import check_means, check_moments, check_record, recalled
from recurra.train.corpus import Corpus
from recurra.train.generators import generator_states, set_generators
from recurra.train.optimizer import moment_names
from recurra.train.recipe import Recipe
from recurra.train.schedule import Schedule
from recurra.vocabulary.vocabulary import Vocabulary
from recurra.wording import count_text

if TYPE_CHECKING:
    from recurra.train.course import Course

PLACE = ("epoch", "index", "step", "since_best", "ended", "sums", "validated_at")
"""What of a course is a plain value that must go on."""


def collect(course: Course) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Everything that a run needs to go on, but for the length of its history: tensors, and a
    record for JSON.

    Every process of the run takes part, since each carries states and draws noise of its own.
    """
    learner, own = course.learner, []
    tensors: dict[str, Tensor] = {}
    tensors |= {f"model.{name}": value for name, value in course.model.state_dict().items()}
    for number, moments in learner.optimizer.state_dict()["state"].items():
        tensors |= {
            f"optimizer.{number}.{key}": value
            for key, value in moments.items()
            if isinstance(value, Tensor)
        }
    if learner.average:
        tensors |= {f"average.{name}": value for name, value in learner.average.means.items()}
    for rank, (plain, owned) in enumerate(course.team.gather(_own(course))):
        own.append(plain)
        tensors |= {f"rank{rank}.{name}": value for name, value in owned.items()}
    record = {name: getattr(course, name) for name in PLACE} | {
        "own": own,
        "setting": setting(course),
        "data": course.fingerprint,
        "updates": learner.updates,
        "best_loss": course.run.best_loss,
        "schedule": learner.schedule.record(),
        "average": (
            learner.average and {"losses": learner.average.losses, "count": learner.average.count}
        ),
    }
    return tensors, record


def _own(course: Course) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What only this process has: its carried states and its generators."""
    generators, plain = generator_states(course.team.device)
    form, carried = states.flatten(tuple(course.learner.carried), "carried")
    tensors = {name: value.cpu() for name, value in carried.items()} | {
        f"generator.{name}": value for name, value in generators.items()
    }
    return {"carried": form, "generators": plain}, tensors


def rebuild(options: Mapping[str, Any], found: Checkpoint, vocabulary: Vocabulary) -> LanguageModel:
    """The model of a run, with the weights of a checkpoint.

    Raises:
        RunError: the weights are another model's.
        ArgumentError: an option is outside its range.
    """
    try:
        return build(options, within(found.tensors, "model."), vocabulary)
    except DataError as error:
        raise RunError(
            f"checkpoint must be of this model, got another's ({reason(error)})"
        ) from None


def recall(course: Course, found: Checkpoint) -> list[str]:
    """Go on from a checkpoint.

    Returns:
        Sentences on what is not as it was, so that the run may differ in its last bits.

    Raises:
        RunError: the data, the model or the number of processes is another, or the checkpoint is
            not as a run wrote it.
    """
    check_record(found.record)
    with recalled():
        return _recall(course, found)


def _recall(course: Course, found: Checkpoint) -> list[str]:
    record, tensors, learner, device = (
        found.record,
        found.tensors,
        course.learner,
        course.team.device,
    )
    if record["data"] != course.fingerprint:
        raise RunError(
            f"data must be those of the run, {record['data']}, got {course.fingerprint}; give the"
            " same text"
        )
    if len(record["own"]) != course.team.count:
        many = len(record["own"])
        text = (
            f"run must go on in {count_text(many, 'process')}, as before, got {course.team.count}"
        )
        raise RunError(f"{text}; start it with: torchrun --nproc-per-node {many}")
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in within(tensors, "optimizer.").items():
        number, _, key = name.partition(".")
        moments.setdefault(int(number), {})[key] = value
    check_moments(moments, list(course.model.parameters()), moment_names(course.recipe))
    learner.optimizer.load_state_dict(
        {"state": moments, "param_groups": learner.optimizer.state_dict()["param_groups"]}
    )
    for name in PLACE:
        setattr(course, name, record[name])
    course.run.best_loss, learner.updates = record["best_loss"], record["updates"]
    learner.schedule.recall(record["schedule"])
    if learner.average:
        learner.average.losses, learner.average.count = (
            record["average"]["losses"],
            record["average"]["count"],
        )
        check_means(within(tensors, "average."), dict(course.model.named_parameters()))
        learner.average.means = {
            name: value.to(device) for name, value in within(tensors, "average.").items()
        }
    plain, owned = record["own"][course.team.rank], within(tensors, f"rank{course.team.rank}.")
    carried = states.transform(
        states.unflatten(plain["carried"], owned), lambda value: value.to(device)
    )
    if not isinstance(carried, tuple) or len(carried) != len(learner.parts):
        raise RunError(
            f"checkpoint must hold the states of {len(learner.parts)} parts, got"
            f" {type(carried).__name__}"
        )
    learner.carried = list(carried)
    set_generators(within(owned, "generator."), plain["generators"], device)
    course.ended = course.ended or course.epoch > course.recipe.epochs
    now = setting(course)
    return [
        f"{name} was {was}, is {now.get(name)}"
        for name, was in record["setting"].items()
        if now.get(name) != was
    ]


def lengthen(course: Course, before: Recipe) -> list[str]:
    """Let a run go on to another number of epochs, those of its recipe now.

    Args:
        course: as its checkpoint left it.
        before: its recipe until now.

    Returns:
        Sentences on what will not be as in a run of so many epochs from the start.

    Raises:
        RunError: it was ended before its epochs were done, or the epochs are fewer than those that
            are done or begun.
    """
    recipe, begun = course.recipe, course.epoch - 1 + bool(course.index)
    if recipe.epochs < begun:
        raise RunError(
            f"epochs must be at least {begun}, as many as are"
            f" {'begun' if course.index else 'done'}, got {recipe.epochs}"
        )
    stopped = recipe.stop_after is not None and course.since_best >= recipe.stop_after
    if course.ended and (stopped or course.epoch <= before.epochs):
        why = f"stop_after = {recipe.stop_after} ended it" if stopped else "it was ended"
        raise RunError(
            f"run must have gone through its {count_text(before.epochs, 'epoch')} to go on to"
            f" others, got one that stands at {begun}: {why}"
        )
    first, course.ended = course.ended, course.epoch > recipe.epochs
    notes = []
    if recipe.schedule in ("cosine", "one_cycle") and not course.ended:
        rates = [
            Schedule(kept, course.a_pass * kept.epochs).rate(course.learner.updates, course.epoch)
            for kept in (before, recipe)
        ]
        was = f"the rate was {rates[0]:.2g}, is {rates[1]:.2g}"
        notes.append(
            f"the {recipe.schedule} schedule is from here on that of"
            f" {count_text(recipe.epochs, 'epoch')}: {was}"
        )
    if first and recipe.validate_every is not None:
        notes.append(f"the validation after epoch {before.epochs} was the run's last, and counts")
    return notes


def setting(course: Course) -> dict[str, Any]:
    """What bits may depend on apart from the run itself."""
    return {
        "recurra": __version__,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": course.team.device.type,
    }


def fingerprint(data: Corpus) -> str:
    """A corpus in a word: its numbers of tokens and a checksum of them.

    >>> from recurra.train.corpus import from_text
    >>> fingerprint(from_text("to be or not to be", validation=0.5))
    '9 + 9 tokens, 4cf09cbd'
    """
    found = 0
    for part in (data.train, data.validation):
        for begin in range(0, len(part.tokens), 1 << 22):
            found = zlib.crc32(part.tokens[begin : begin + (1 << 22)].tobytes(), found)
    return f"{len(data.train.tokens)} + {len(data.validation.tokens)} tokens, {found:08x}"


def within(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, by the rest of their names.

    >>> within({"model.weight": torch.zeros(1), "rank0.weight": torch.ones(1)}, "model.")
    {'weight': tensor([0.])}
    """
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
