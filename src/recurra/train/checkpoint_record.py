"""Whether what a checkpoint says can be gone on from: a file may say anything, and its checksum
with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from recurra.errors import RecurraError, RunError, quoted, reason
from recurra.train.ranges import number, whole


def _count(value: Any) -> bool:
    return whole(value, 0)


def _loss(value: Any) -> bool:
    return isinstance(value, float) or _count(value)


def _table(**fields: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda v: (
        isinstance(v, dict)
        and v.keys() == fields.keys()
        and all(fits(v[name]) for name, fits in fields.items())
    )


def _list(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda v: isinstance(v, list) and all(map(fits, v))


FIELDS: dict[str, Callable[[Any], bool]] = {
    "epoch": whole,
    "index": _count,
    "step": _count,
    "since_best": _count,
    "ended": lambda v: isinstance(v, bool),
    "sums": _table(loss=number, tokens=number, elapsed_s=number),
    "validated_at": number,
    "updates": _count,
    "best_loss": _loss,
    "history": _count,
    "data": lambda v: isinstance(v, str),
    "setting": lambda v: isinstance(v, dict),
    "schedule": _table(best=_loss, waited=_count, drop=number),
    "own": _list(lambda v: isinstance(v, dict)),
    "average": lambda v: v is None or _table(losses=_list(_loss), count=_count)(v),
}
"""What each field of a checkpoint's record is."""


def check_record(record: Any) -> None:
    """Raise unless a record has all fields, each of its kind.

    Raises:
        RunError: one is missing, or holds something else; names it.

    >>> check_record({})
    Traceback (most recent call last):
    ...
    recurra.errors.RunError: checkpoint must hold epoch as the run wrote it, got none; begin again
        in a new folder
    """
    given = record if isinstance(record, dict) else {}
    for name, fits in FIELDS.items():
        if name not in given or not fits(given[name]):
            got = quoted(given[name]) if name in given else "none"
            raise RunError(
                f"checkpoint must hold {name} as the run wrote it, got {got}; begin again in a new"
                " folder"
            )


def check_moments(
    moments: Mapping[int, Mapping[str, Tensor]], weights: Sequence[Tensor], names: tuple[str, ...]
) -> None:
    """Raise unless what an optimiser remembers is of its weights.

    Args:
        moments: by the number of the weight, and by name.
        weights: the optimiser's.
        names: what it remembers of each weight, once it had an update.

    Raises:
        RunError: something is missing, or of another shape.
    """
    for place, own in moments.items():
        if not 0 <= place < len(weights) or sorted(own) != sorted(names):
            raise RunError(
                f"checkpoint must hold {quoted(names)} of each weight, got {quoted(sorted(own))} of"
                f" weight {place}"
            )
        _check_shapes(
            {
                name: (value, () if name == "step" else weights[place].shape)
                for name, value in own.items()
            }
        )


def check_means(means: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    """Raise unless averaged weights, where there are some, are those of a model.

    Raises:
        RunError: one is missing, or of another shape.
    """
    if means and means.keys() != weights.keys():
        raise RunError(f"checkpoint must hold the mean of each weight, got {quoted(sorted(means))}")
    _check_shapes({name: (value, weights[name].shape) for name, value in means.items()})


def _check_shapes(values: Mapping[str, tuple[Tensor, Sequence[int]]]) -> None:
    for name, (value, shape) in values.items():
        if value.shape != tuple(shape) or not value.is_floating_point():
            raise RunError(
                f"checkpoint must hold {name} of shape {tuple(shape)}, got {value.dtype} of shape"
                f" {tuple(value.shape)}"
            )


@contextmanager
def recalled() -> Iterator[None]:
    """A block that puts together what a checkpoint holds.

    Raises:
        RunError: it does not fit together.
    """
    try:
        yield
    except RecurraError:
        raise
    except Exception as error:  # a file may say anything
        raise RunError(
            f"checkpoint must be as the run wrote it, got another ({reason(error)}); begin again in"
            " a new folder"
        ) from None
