"""The first signal is a wish, the second interrupts."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from recurra.train.interrupt import interruptible


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_a_wish_and_a_second_one_interrupts(number: signal.Signals) -> None:
    before, said = signal.getsignal(number), []
    with pytest.raises(KeyboardInterrupt), interruptible(said.append) as wish:
        assert not wish.asked
        os.kill(os.getpid(), number)
        assert wish.asked and said == [
            "stopping after this chunk; Ctrl-C again stops at once and loses what came after the last checkpoint"
        ]
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before and len(said) == 1


def test_the_handlers_come_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with interruptible(print):
        assert signal.getsignal(signal.SIGINT) is not before[0]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_another_thread_asks_for_nothing() -> None:
    found = []

    def work() -> None:
        with interruptible(print) as wish:
            found.append(wish.asked)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]
