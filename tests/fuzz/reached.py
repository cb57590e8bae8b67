"""Which lines of some files run: the trace function of Python, on a sample of the files that are
read.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from tests.fuzz.target import SOURCE


class Reached:
    """The lines of files of src/recurra that ran.

    Args:
        readers: the files, as their paths below src/recurra.
    """

    def __init__(self, readers: Sequence[str]) -> None:
        self.paths = {_compiled_name(name): name for name in readers}
        self.lines: dict[str, set[int]] = {name: set() for name in readers}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """A block in which lines are counted."""
        before = sys.gettrace()
        sys.settrace(self._called)
        try:
            yield
        finally:
            sys.settrace(before)

    def _called(self, frame: FrameType, event: str, value: Any) -> Callable[..., Any] | None:
        name = self.paths.get(frame.f_code.co_filename)
        if name is None:
            return None
        lines = self.lines[name]
        lines.add(frame.f_lineno)

        def line(frame: FrameType, event: str, value: Any) -> Any:
            lines.add(frame.f_lineno)
            return line

        return line

    def share(self, name: str) -> tuple[set[int], list[int], list[str]]:
        """The lines of a file within the functions that were entered, those of them that did not
        run, and the other functions.
        """
        functions = function_lines(SOURCE / name)
        entered = {key: lines for key, lines in functions.items() if lines & self.lines[name]}
        wanted = set().union(*entered.values())
        return (
            wanted,
            sorted(wanted - self.lines[name]),
            [key for key in functions if key not in entered and "<" not in key],
        )


def _compiled_name(name: str) -> str:
    """What the code of a file calls it: where recurra was imported from, which under a sanitizer is
    another folder.
    """
    import recurra

    return str(Path(str(recurra.__file__)).parent / name)


def function_lines(path: Path) -> dict[str, set[int]]:
    """The lines of each function of a file, by its name; what runs at import does not count."""
    todo: list[tuple[str, CodeType]] = [("", compile(path.read_text(), str(path), "exec"))]
    found: dict[str, set[int]] = {}
    while todo:
        before, code = todo.pop()
        name = (
            f"{before}.{code.co_name}".lstrip(".") if before or code.co_name != "<module>" else ""
        )
        todo += [(name, value) for value in code.co_consts if isinstance(value, CodeType)]
        if code.co_flags & 0x2:  # a function's, and not a module's or a class's
            lines = {
                line
                for _, _, line in code.co_lines()
                if line is not None and line != code.co_firstlineno
            }
            found[name] = found.get(name, set()) | lines
    return found
