"""Ctrl-C and termination as a wish, so that a run ends between two chunks."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

STOPPING = (
    "stopping after this chunk; Ctrl-C again stops at once and loses what came after the last"
    " checkpoint"
)


class Wish:
    """What the run was asked for.

    Attributes:
        asked: to end after the chunk.
        insisted: to end at once. Libraries swallow such an interrupt in the middle of their work,
            and fail of it in ways of their own.
        ending: set it when all is done but the end, which is short and must be whole: what comes
            now waits.
    """

    def __init__(self) -> None:
        self.asked = self.insisted = self.ending = False


@contextmanager
def interruptible(say: Callable[[str], None]) -> Iterator[Wish]:
    """Take the first Ctrl-C, or a request to terminate, as a wish; a second one interrupts at once.

    One that comes while the run is ending is sent again after it, unless the end is what was asked
    for.

    Args:
        say: is told what happens.

    Outside the main thread, where Python gives signals to nobody, the wish stays unasked.
    """
    wish, signals, late = Wish(), (signal.SIGINT, signal.SIGTERM), 0

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal late
        if wish.ending:
            late = number
            return
        if wish.asked:
            wish.insisted = True
            raise KeyboardInterrupt
        wish.asked = True
        with suppress(OSError):  # nobody reads it any more
            try:
                say(STOPPING)
            except RuntimeError:
                # this very thread was writing to the stream, and cannot enter it twice; another
                # waits its turn
                threading.Thread(target=_say, args=(say,)).start()

    before = (
        {number: signal.signal(number, ask) for number in signals}
        if threading.current_thread() is threading.main_thread()
        else {}
    )
    try:
        yield wish
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if late and not wish.asked:
            signal.raise_signal(late)


def _say(say: Callable[[str], None]) -> None:
    with suppress(OSError, RuntimeError):
        say(STOPPING)
