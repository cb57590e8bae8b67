"""What can go wrong, one small class for each meaning.

Every message reads `<argument> must <need>, got <value>; <what to do>`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from types import ModuleType
from typing import Any

MOST_CHARACTERS, MOST_LINES = 480, 40
"""Characters of a line of a message, and lines: a file or a text may say anything, and messages
quote it.
"""


class RecurraError(Exception):
    """The root of every error that recurra raises on purpose; its message is a few lines of a few
    hundred characters at most.
    """

    def __init__(self, text: str = "", **options: Any) -> None:
        first, lines = text[: MOST_LINES * 2 * MOST_CHARACTERS], text.count("\n") + 1
        if lines == 1:
            super().__init__(shortened(text), **options)
            return
        kept = [shortened(line) for line in first.split("\n")[:MOST_LINES]]
        super().__init__(
            "\n".join(
                [*kept, f"and {lines - len(kept)} lines more"] if len(kept) < lines else kept
            ),
            **options,
        )


class ShapeError(RecurraError, ValueError):
    """A tensor's shape, or a state's, does not fit; names the argument and both shapes."""


class ArgumentError(RecurraError, ValueError):
    """An argument's value is outside its range."""


class DtypeError(RecurraError, TypeError):
    """A tensor's dtype, device or type does not fit."""


class MethodUnavailable(RecurraError, ValueError):
    """The chosen way to run a scan cannot run this one; the message gives the reason."""


class ProgramError(RecurraError, ValueError):
    """A cell's equations cannot be traced into a program; the message names what is in the way."""


class EquationError(ProgramError, AttributeError):
    """A cell's equations read or return a name that is not there; the message names the line."""


class ConversionError(RecurraError, ValueError):
    """Foreign weights or a foreign node cannot be taken exactly; the message names the
    attribute.
    """


class DataError(RecurraError, ValueError):
    """Data cannot be used: an empty file, text that is not UTF-8, a symbol the model never saw."""


class RunError(RecurraError, RuntimeError):
    """A run folder cannot be written, read or gone on with."""


class MissingDependency(RecurraError, ImportError):
    """A package that this feature needs is not installed; the message gives the command."""


class SlowWarning(UserWarning):
    """The numbers are right, but come by the plain loop where a faster way was to be had; says what
    to do. Once for each cell.
    """


INSTALL = {
    "torch": ("PyTorch", "recurra[train]"),
    "accelerate": ("accelerate", "recurra[train]"),
    "filelock": ("filelock", "recurra[train]"),
    "rich": ("rich", "recurra[train]"),
    "tomli_w": ("tomli-w", "recurra[train]"),
    "tomli": ("tomli", "recurra[train]"),
    "matplotlib": ("matplotlib", "recurra[train]"),
    "tokenizers": ("tokenizers", "recurra[text]"),
    "tensorboard": ("tensorboard", "recurra[tensorboard]"),
    "onnx": ("the onnx package", "onnx"),
    "onnxruntime": ("the onnxruntime package", "onnxruntime"),
}
"""What `import recurra` does without: by module, its name and what pip installs it with."""


def import_for(owner: str, module: str) -> ModuleType:
    """Import a module that a part of recurra needs.

    Args:
        owner: the part, for the message.
        module: the module, recurra's own or another's.

    Raises:
        MissingDependency: a package that recurra does without, but this part does not, is not
            installed.

    >>> import_for("recurra.errors", "math").__name__
    'math'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if error.name not in INSTALL:
            raise
        raise missing_dependency(owner, error.name) from None


def missing_dependency(owner: str, module: str) -> MissingDependency:
    """The error that says how to get a module's package.

    >>> str(missing_dependency("recurra.LSTM", "torch"))
    'recurra.LSTM needs PyTorch; install it with: pip install "recurra[train]"'
    """
    name, package = INSTALL[module]
    package = f'"{package}"' if "[" in package else package
    return MissingDependency(
        f"{owner} needs {name}; install it with: pip install {package}", name=module
    )


def shortened(text: str, most: int = MOST_CHARACTERS) -> str:
    """A text of at most so many characters: its beginning and its end, where it is longer.

    >>> shortened("a" * 10**7 + "; give less", 32)
    'aaaaaaaaaaaaaaaa ... ; give less'
    """
    head = (most - 5) * 3 // 5
    return text if len(text) <= most else f"{text[:head]} ... {text[head + 5 - most :]}"


def quoted(value: object, most: int = 60) -> str:
    """What a message says of a value, whatever it is and however large.

    >>> quoted("tanh"), quoted(10**5000), quoted([0] * 1000, 16)
    ("'tanh'", 'a number of more than 4300 digits', '[0, 0, ... 0, 0]')
    """
    if isinstance(value, (str, bytes)):
        return shortened(repr(value[: most + 1]) if len(value) > most else repr(value), most)
    try:
        return shortened(" ".join(repr(value).splitlines()), most)
    except (ValueError, RecursionError):  # more digits, or lists within lists, than Python writes
        return (
            "a number of more than 4300 digits"
            if isinstance(value, int)
            else f"a {type(value).__name__} that cannot be written"
        )


def reason(error: BaseException) -> str:
    """Why something went wrong: the first line that an error says, else its kind.

    >>> reason(ValueError("no number\\nat line 3")), reason(KeyError())
    ('no number', 'KeyError')
    """
    lines = str(getattr(error, "strerror", None) or error).strip().splitlines()
    return shortened(lines[0].strip(), 200) if lines else type(error).__name__


def shape_text(shape: Iterable[int | str]) -> str:
    """Write a shape as in `(T, B, 3)`, one axis as `(3,)`.

    >>> shape_text(("T", "B", 3)), shape_text([4])
    ('(T, B, 3)', '(4,)')
    """
    axes = [str(axis) for axis in shape]
    return f"({axes[0]},)" if len(axes) == 1 else f"({', '.join(axes)})"


def choice_text(argument: str, value: object, choices: Iterable[str]) -> str:
    """Say which values an argument takes, with the nearest one when the value looks mistyped.

    >>> choice_text("method", "fussed", ["loop", "fused"])
    "method must be one of 'fused', 'loop', got 'fussed'; did you mean 'fused'?"
    """
    names = sorted(choices)
    return (
        f"{argument} must be one of {', '.join(map(repr, names))}, got"
        f" {quoted(value)}{near_text(value, names)}"
    )


def near_text(value: object, choices: Iterable[str]) -> str:
    """Ask whether the nearest of some names was meant; empty where none is near.

    >>> near_text("fussed", ["loop", "fused"]), near_text("x", ["loop"])
    ("; did you mean 'fused'?", '')
    """
    import difflib  # slow to load, and no run needs it that goes well

    near = (
        difflib.get_close_matches(value[:60], list(choices), n=1) if isinstance(value, str) else []
    )
    return f"; did you mean {near[0]!r}?" if near else ""
