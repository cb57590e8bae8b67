"""How to train: one frozen record, every field with its unit and range."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from recurra.check import plain
from recurra.errors import MOST_LINES, ArgumentError, near_text, quoted, shortened
from recurra.train.ranges import CHOICES, RANGES, contradictions


@dataclass(frozen=True)
class Recipe:
    """How to train.

    An update is one step of the optimiser: one chunk of the streams.

    Attributes:
        epochs: passes over the training part.
        window: steps that the gradient sees back at most (k2 of truncated BPTT).
        stride: steps from one chunk to the next (k1); None: the window's.
        vary_window: draw each chunk's window about `window`, and scale the rate with it, as in
            Merity et al. (2018).
        batch: rows side by side.
        accumulate: parts that the rows run in, one after another: less memory, the same gradient.
        optimizer: "adam", "adamw", "sgd", or "asgd": SGD whose weights are averaged from
            `average_after` on.
        lr: the learning rate, at its highest.
        betas: of Adam and AdamW: how much of the mean of gradients and of their squares is kept an
            update.
        momentum: of SGD.
        weight_decay: added to gradients as weight_decay * weight; for AdamW, taken from weights as
            lr * weight_decay * weight.
        average_after: validations in a row without a better one after which "asgd" begins to
            average (n of NT-ASGD).
        schedule: "constant", "cosine" to 0 over the whole run, "one_cycle" (up for 30 % of it from
            lr / 25, then down to lr / 250,000), "decay" (times `decay` each pass after
            `decay_after` passes), or "plateau" (times `decay` after `decay_after` validations in a
            row without a better one).
        warmup: updates over which the rate rises linearly from 0.
        decay: what "decay" and "plateau" multiply the rate with.
        decay_after: passes, or validations, that "decay" and "plateau" wait.
        clip_norm: gradients are scaled to at most this global norm; None: no clipping.
        clip_value: each gradient is cut to [-clip_value, clip_value]; None: no clipping.
        activation_penalty: alpha of alpha * mean(h^2), added to the loss.
        temporal_penalty: beta of beta * mean((h_t - h_(t-1))^2), added to the loss.
        precision: "float32", or "bfloat16" for matrix products (autocast); on a CPU the recurrent
            layers are then run by the loop, which is slower.
        validate_every: updates from one validation to the next; None: once, at the end of each
            pass.
        stop_after: validations in a row without a better one after which the run ends; None: never.
        checkpoint_s: seconds from one checkpoint to the next; one is written after each validation,
            too.
        device: "auto" (CUDA where there is one) or "cpu".
        seed: of dropout and varied windows, and of the weights' draws made after it.

    Raises:
        ArgumentError: fields are outside their ranges or contradict one another; the message lists
            them all.

    >>> Recipe(epochs=3, lr=3e-3).clip_norm
    1.0
    """

    epochs: int = 10
    window: int = 100
    stride: int | None = None
    vary_window: bool = False
    batch: int = 64
    accumulate: int = 1
    optimizer: str = "adam"
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = 0.0
    weight_decay: float = 0.0
    average_after: int = 5
    schedule: str = "constant"
    warmup: int = 0
    decay: float = 0.5
    decay_after: int = 1
    clip_norm: float | None = 1.0
    clip_value: float | None = None
    activation_penalty: float = 0.0
    temporal_penalty: float = 0.0
    precision: str = "float32"
    validate_every: int | None = None
    stop_after: int | None = None
    checkpoint_s: float = 60.0
    device: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            object.__setattr__(self, name, plain(value))
        if isinstance(self.betas, (list, tuple)):  # TOML and JSON hold a list
            object.__setattr__(self, "betas", tuple(map(plain, self.betas)))
        given, defaults = vars(self), {field.name: field.default for field in fields(self)}
        outside = {
            name: (
                f"{name} must be {need}, got"
                f" {quoted(given[name])}{near_text(given[name], CHOICES.get(name, ()))}"
            )
            for name, (fits, need) in RANGES.items()
            if not _fits(fits, given[name])
        }
        inside = {
            name: defaults[name] if name in outside else value for name, value in given.items()
        }
        clashes = [
            text for names, text in contradictions(inside, defaults) if not names & set(outside)
        ]
        if outside or clashes:
            raise ArgumentError("\n".join([*outside.values(), *clashes]))

    def record(self) -> dict[str, Any]:
        """The fields as a TOML table holds them: "none" for None, left out where None is the
        default.

        >>> Recipe(clip_norm=None).record()["clip_norm"], "stride" in Recipe().record()
        ('none', False)
        """
        plain = {field.name for field in fields(self) if field.default is None}
        given = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in vars(self).items()
        }
        return {
            name: "none" if value is None else value
            for name, value in given.items()
            if value is not None or name not in plain
        }

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Recipe:
        """Make a recipe of a record such as a TOML table, where "none" stands for None.

        Raises:
            ArgumentError: keys are unknown, with the nearest known ones, or values outside their
                ranges; lists them all.
        """
        known = [field.name for field in fields(cls)]
        wrong = unknown_keys(record, known, "Recipe")
        try:
            values: dict[str, Any] = {
                key: None if value == "none" else value
                for key, value in record.items()
                if key in known
            }
            recipe = cls(**values)
        except ArgumentError as error:
            wrong.append(str(error))
        if wrong:
            raise ArgumentError("\n".join(wrong))
        return recipe


def unknown_keys(record: Mapping[str, Any], known: Sequence[str], owner: str) -> list[str]:
    """A sentence for each key that is not known, with the nearest known one.

    >>> unknown_keys({"epoch": 3}, ["epochs", "lr"], "Recipe")
    ["epoch must be a field of Recipe, got an unknown one; did you mean 'epochs'?"]
    """
    wrong: list[str] = []
    for key in record:
        if key not in known and len(wrong) < MOST_LINES:
            wrong.append(
                f"{shortened(key, 60)} must be a field of {owner}, got an unknown"
                f" one{near_text(key, known)}"
            )
    return wrong


def _fits(fits: Callable[[Any], bool], value: Any) -> bool:
    """Whether a value is in its range; one that cannot even be asked, such as a list in a set, is
    not.
    """
    try:
        return fits(value)
    except TypeError:
        return False
