"""The first signal is a wish, the second interrupts, and one that comes at the end waits for it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from recurra.errors import RunError
from recurra.models import LanguageModel
from recurra.train import Recipe, fit, from_text, read_history, resume
from recurra.train.course import Course
from recurra.train.interrupt import STOPPING, interruptible
from tests.train.test_resume import same


@pytest.fixture(autouse=True)
def attentive() -> Iterator[None]:
    """Python's own handler, also where the tests were started in the background, which ignores the
    signal.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_a_wish_and_a_second_one_interrupts(number: signal.Signals) -> None:
    before, said = signal.getsignal(number), []
    with pytest.raises(KeyboardInterrupt), interruptible(said.append) as wish:
        assert not wish.asked
        os.kill(os.getpid(), number)
        assert wish.asked and not wish.insisted and said == [STOPPING]
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before and len(said) == 1 and wish.insisted


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


def test_a_stream_that_is_written_to_is_waited_for_and_one_that_is_gone_ends_no_run() -> None:
    said, done = [], threading.Event()

    def busy(text: str) -> None:
        if threading.current_thread() is threading.main_thread():
            raise RuntimeError("reentrant call inside <_io.BufferedWriter name='<stderr>'>")
        said.append(text)
        done.set()

    def gone(text: str) -> None:
        raise BrokenPipeError

    for say in (busy, gone):
        with interruptible(say) as wish:
            os.kill(os.getpid(), signal.SIGINT)
            assert wish.asked
    assert done.wait(30) and said == [STOPPING]


def test_what_comes_at_the_end_waits_for_it() -> None:
    at_the_end = False
    with pytest.raises(KeyboardInterrupt), interruptible(print) as wish:
        wish.ending = True
        os.kill(os.getpid(), signal.SIGINT)
        at_the_end = True
    assert at_the_end and not wish.asked and not wish.insisted


def test_at_an_end_that_was_asked_for_it_is_heard_no_more() -> None:
    said: list[str] = []
    with interruptible(said.append) as wish:
        os.kill(os.getpid(), signal.SIGINT)
        wish.ending = True
        os.kill(os.getpid(), signal.SIGINT)
    assert wish.asked and len(said) == 1


# A run

DATA = from_text("the cat sat on the mat and the rat sat on the cat; " * 12)
RECIPE = Recipe(epochs=3, window=30, batch=4, lr=0.01)


def made() -> LanguageModel:
    torch.manual_seed(3)
    return LanguageModel(len(DATA.vocabulary), embed=6, hidden=7, dropout=0.2)


class Twice:
    """Insists in the middle of a chunk; a library swallows it and fails of it."""

    def __init__(self, at: int) -> None:
        self.at = at

    def on_chunk(self, course: Course, row: dict[str, Any], chunk: Any) -> None:
        if row["step"] == self.at:
            os.kill(os.getpid(), signal.SIGINT)
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt:
                raise RunError("out must have room for a checkpoint, got none") from None


@pytest.mark.parametrize("at", [1, 6])
def test_an_interrupt_that_a_library_swallowed_ends_the_run_as_one(tmp_path: Path, at: int) -> None:
    run = fit(made(), DATA, RECIPE, tmp_path / "cut", show=False, callbacks=[Twice(at)])
    assert run.stopped and read_history(tmp_path / "cut")[-1]["step"] == at
    resume(tmp_path / "cut", DATA, show=False)
    fit(made(), DATA, RECIPE, tmp_path / "whole", show=False)
    same(tmp_path / "whole", tmp_path / "cut")


def test_the_end_of_a_run_is_not_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, done = Course.finish, []

    def interrupted(self: Course) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        finish(self)
        done.append(self.run)

    monkeypatch.setattr(Course, "finish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(made(), DATA, RECIPE, tmp_path / "run", show=False)
    assert not done[0].stopped and not done[0].model.training
