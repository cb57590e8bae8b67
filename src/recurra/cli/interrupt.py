"""Ctrl-C in a process that is the command's own: one line, wherever it comes."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from types import FrameType


class Interrupts:
    """What Ctrl-C does from the first import to the end of the process.

    While the command is loaded it ends the process at once: libraries swallow an interrupt in the
    middle of an import, and go on half loaded. While it runs, the first is a KeyboardInterrupt, so
    that files are put in order; another ends the process at once. When all is said, it does nothing
    more: what is left is Python's own leave-taking.

    Args:
        command: what the line names.
    """

    def __init__(self, command: str) -> None:
        self.command, self.running, self.heard, self.over = command, False, False, False
        self.here = threading.current_thread() is threading.main_thread()
        if self.here:
            signal.signal(signal.SIGINT, self.hear)

    def hear(self, number: int, frame: FrameType | None) -> None:
        """Take a Ctrl-C.

        Raises:
            KeyboardInterrupt: it is the first while the command runs.
        """
        if self.over:
            return
        if self.running and not self.heard:
            self.heard = True
            raise KeyboardInterrupt
        with suppress(OSError):
            os.write(2, f"{self.command}: interrupted\n".encode())
        os._exit(1)

    def end(self) -> None:
        """Hear nothing from here on."""
        self.over = True
        if self.here:
            signal.signal(
                signal.SIGINT, signal.SIG_IGN
            )  # a handler would be gone before Python has left
