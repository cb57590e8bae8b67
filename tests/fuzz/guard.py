"""What must come of reading any file: an answer or one of recurra's own errors, soon, in little
memory.
"""

from __future__ import annotations

import contextlib
import os
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from recurra.errors import MOST_CHARACTERS, MOST_LINES, RecurraError
from tests.fuzz.target import SOURCE, Target

CPU_S, MEMORY = 2.0, 256 << 20
"""Seconds of the processor that a file may take, and bytes above what the process had before."""
SLOWER = float(os.environ.get("RECURRA_FUZZ_SLOWER", "1"))
"""How many times longer everything may take, and how much more memory: under a sanitizer."""


class Outcome(NamedTuple):
    """What came of a file.

    Attributes:
        accepted: whether it was read and run.
        cpu_s: seconds of the processor.
        memory: bytes by which the process grew at most.
        fault: what is wrong, or None.
        place: the kind of fault, the same for faults of one cause.
    """

    accepted: bool
    cpu_s: float
    memory: int
    fault: str | None = None
    place: str = ""


def observe(target: Target, data: bytes, folder: Path) -> Outcome:
    """Read a file and see what it does; once more where it took too much, since a library may have
    been loaded.

    Args:
        target: reads it.
        data: the file.
        folder: where it may write; it is read there, since a name out of a file may become a path.
    """
    with contextlib.chdir(folder):
        outcome = _once(target, data, folder)
        return _once(target, data, folder) if outcome.place in ("time", "memory") else outcome


def _once(target: Target, data: bytes, folder: Path) -> Outcome:
    accepted, fault, place = False, None, ""
    with memory_peak() as peak:
        began = time.process_time()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                target.read(data, folder)
            accepted = True
        except RecurraError as error:
            fault = _fault_in_message(str(error))
            place = f"message of {type(error).__name__}" if fault else ""
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a library's panic is no Exception
            fault, place = traceback.format_exc(limit=-12), _place(error)
        cpu_s = time.process_time() - began
    if fault is None and cpu_s > CPU_S * SLOWER:
        fault, place = (
            f"took {cpu_s:.1f} s of the processor, more than {CPU_S * SLOWER:.1f}",
            "time",
        )
    if fault is None and peak[0] > MEMORY * SLOWER:
        fault, place = f"took {peak[0] >> 20} MB, more than {int(MEMORY * SLOWER) >> 20}", "memory"
    return Outcome(accepted, cpu_s, peak[0], fault, place)


@contextmanager
def memory_peak() -> Iterator[list[int]]:
    """A block after which the list holds by how many bytes the process grew at most within it; zero
    where Linux does not say.
    """
    peak = [0]
    try:
        Path("/proc/self/clear_refs").write_text("5")
        before = _resident("VmRSS")
    except OSError:
        yield peak
        return
    try:
        yield peak
    finally:
        peak[0] = max(0, _resident("VmHWM") - before)


def _resident(name: str) -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith(name))


def _fault_in_message(text: str) -> str | None:
    """What a message must not be: empty, or longer than an error of recurra's."""
    lines = text.split("\n")
    if not text.strip() or len(lines) > MOST_LINES + 1 or max(map(len, lines)) > MOST_CHARACTERS:
        return f"the message has {len(lines)} lines, and {len(text)} characters: {text[:200]!r}"
    return None


def _place(error: BaseException) -> str:
    """The kind of an error and the last line of recurra's that it came through."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if str(SOURCE) in frame.filename or "/tests/" in frame.filename
    ]
    last = frames[-1] if frames else None
    return (
        f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"
        if last
        else type(error).__name__
    )
