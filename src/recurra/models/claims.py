"""A model that a file describes: whether the weights beside are its own is looked at before it is
built.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from recurra.errors import DataError, RecurraError, choice_text, quoted, reason, shape_text
from recurra.models.language_model import LanguageModel
from recurra.models.ties import tie
from recurra.vocabulary.vocabulary import Vocabulary

OPTIONS = tuple(
    name
    for name in inspect.signature(LanguageModel.__init__).parameters
    if name not in ("self", "vocabulary")
)


def build(
    options: Any,
    weights: Mapping[str, Tensor],
    vocabulary: Vocabulary | None = None,
    ties: Mapping[str, str] | None = None,
) -> LanguageModel:
    """The model of its options with its weights, in their dtype; what does not fit together takes
    neither time nor memory.

    Args:
        options: as `LanguageModel.options` has them.
        weights: all of its weights, by name.
        vocabulary: what the tokens stand for.
        ties: names of weights that are also another's, with it.

    Raises:
        DataError, ArgumentError: the options are not a model's, or of one with other weights.

    >>> model = LanguageModel(5, embed=2, hidden=3)
    >>> build(model.options | {"layers": 10**9}, model.state_dict())
    Traceback (most recent call last):
    ...
    recurra.errors.DataError: layers must be at most the 12 weights that are there, got 1000000000
    """
    if not isinstance(options, Mapping):
        raise DataError(f"options must be a record, got {quoted(options)}")
    for name in options:
        if name not in OPTIONS:
            raise DataError(choice_text("option", name, OPTIONS))
    if "vocab_size" not in options:
        raise DataError(f"options must hold vocab_size, got {quoted(list(options))}")
    _check_counts(options, len(weights))
    check_weights(_shapes(options), weights)
    model = LanguageModel(**options, vocabulary=vocabulary)
    tie(model, ties or {})
    model.to(next(value.dtype for value in weights.values())).load_state_dict(weights)
    return model


def _shapes(options: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The weights' shapes, found without memory for them."""
    try:
        with torch.device("meta"):  # where orthogonal weights would be computed, too
            model = LanguageModel(**{**options, "init": "torch"})
    except RecurraError:
        raise
    except Exception as error:  # a size that overflows, a kind that nobody thought of
        raise DataError(f"options must be a model's, got others ({reason(error)})") from None
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def _check_counts(options: Mapping[str, Any], count: int) -> None:
    """Raise where options ask for more parts than there are weights."""
    given = {
        "layers": options.get("layers"),
        **{name: options.get(name) for name in ("hidden", "adaptive")},
    }
    for name, value in given.items():
        size = len(value) if isinstance(value, (list, tuple)) else value if name == "layers" else 0
        if isinstance(size, int) and size > count:
            raise DataError(
                f"{name} must be at most the {count} weights that are there, got {quoted(size)}"
            )


def check_weights(shapes: Mapping[str, tuple[int, ...]], weights: Mapping[str, Tensor]) -> None:
    """Raise unless there are exactly these weights, all of one floating dtype.

    Raises:
        DataError: one is missing, too many, or of another shape or dtype.
    """
    for name in [*shapes, *weights]:
        if name not in weights or name not in shapes:
            raise DataError(
                "weights must be those of the options, got"
                f" {'none' if name in shapes else 'one more'} called {quoted(name)}"
            )
        if tuple(weights[name].shape) != shapes[name]:
            raise DataError(
                f"{name} must have shape {shape_text(shapes[name])}, got"
                f" {shape_text(weights[name].shape)}"
            )
    kinds = {value.dtype for value in weights.values()}
    if len(kinds) != 1 or not all(kind.is_floating_point for kind in kinds):
        raise DataError(
            f"weights must be of one floating dtype, got {', '.join(sorted(map(str, kinds)))}"
        )
