"""Ctrl-C and termination as a wish, so that a run ends between two chunks."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Wish:
    """Whether the run was asked to end."""

    def __init__(self) -> None:
        self.asked = False


@contextmanager
def interruptible(say: Callable[[str], None]) -> Iterator[Wish]:
    """Take the first Ctrl-C, or a request to terminate, as a wish; a second one interrupts at once.

    Args:
        say: is told what happens.

    Outside the main thread, where Python gives signals to nobody, the wish stays unasked.
    """
    wish, signals = Wish(), (signal.SIGINT, signal.SIGTERM)

    def ask(number: int, frame: FrameType | None) -> None:
        if wish.asked:
            raise KeyboardInterrupt
        wish.asked = True
        say("stopping after this chunk; Ctrl-C again stops at once and loses what came after the last checkpoint")

    before = {number: signal.signal(number, ask) for number in signals} if threading.current_thread() is threading.main_thread() else {}
    try:
        yield wish
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
