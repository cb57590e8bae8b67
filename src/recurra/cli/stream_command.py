"""recurra stream: a model over what comes in on standard input, an answer for each step or line."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from recurra.cli.opened import HELP, add_cells, open_cells, open_network
from recurra.durable import check_place, write_durably
from recurra.regular_file import read_regular
from recurra.strict_json import dumps
from recurra.wording import printable

if TYPE_CHECKING:
    from recurra.runtime import Model

MOST_STATE = 1 << 28
"""Bytes of a state that is loaded: the longest look back of a network is a quarter of it."""
FORMATS = ("auto", "text", "json", "csv", "f32", "s16")


def configure(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.epilog = (
        "example: tail -f app.log | recurra stream runs/a\nstatus 1 if a line was passed over"
    )
    parser.add_argument("run_folder", metavar="RUN", help=HELP)
    form = (
        "lines of text, JSON lists or CSV rows (a model of tokens: their numbers), or raw"
        " little-endian samples (s16: 32768 times the "
    )
    form += "value); auto: text for a model with a vocabulary, else csv"
    parser.add_argument("--format", choices=FORMATS, default="auto", help=form)
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="begin anew at each line of text; else the state is carried on",
    )
    parser.add_argument(
        "--bad",
        choices=("skip", "stop"),
        default="skip",
        help="what a line does that cannot be read",
    )
    parser.add_argument(
        "--save-state",
        metavar="FILE",
        help="at the end, also after Ctrl-C, SIGTERM or a closed pipe, write the state there",
    )
    parser.add_argument("--load-state", metavar="FILE", help="go on from a state that was saved")
    add_cells(parser)
    parser.add_argument("--json", action="store_true", help="text: a JSON object for each line")


def run(args: argparse.Namespace) -> int:
    """Answer each step or line at once; a bad one is reported on the standard error stream by its
    number.

    Text: the nats a token that the model pays for a line, high for what it did not expect. Else the
    outputs, as the input lies; raw input gives raw float32.
    """
    from recurra.errors import ArgumentError, RunError
    from recurra.runtime import Model

    if sys.stdin is None:
        raise RunError(
            "standard input must be open, got a closed one; give the lines, or /dev/null"
        )
    model = Model(open_network(args.run_folder, open_cells(args)))
    tokens, words = model.network.reads_tokens, model.network.vocabulary is not None
    form = ("text" if words else "csv") if args.format == "auto" else args.format
    if form not in (("text", "json", "csv") if tokens else ("json", "csv", "f32", "s16")):
        need = (
            "text, json or csv, since the model reads tokens"
            if tokens
            else "json, csv, f32 or s16, since the model reads features"
        )
        raise ArgumentError(f"--format must be {need}, got {form}")
    for option, instead in (("fresh", "leave it out"), ("json", "use --format json")):
        if getattr(args, option) and form != "text":
            raise ArgumentError(f"--{option} must go with --format text, got {form}; {instead}")
    return _text(args, model) if form == "text" else _steps(args, model, form)


def _text(args: argparse.Namespace, model: Model) -> int:
    from recurra.errors import DataError
    from recurra.runtime.lines import lines
    from recurra.runtime.surprise import Surprise

    surprise, bad = Surprise(model), 0
    _load(args.load_state, surprise.load)
    with _kept(args.save_state, surprise.save):
        for number, line in lines(sys.stdin.buffer):
            if args.fresh:
                surprise.reset()
            try:
                if isinstance(line, DataError):
                    raise line
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                nats, tokens = surprise.push(surprise.vocabulary.fit_breaks(text))
            except (DataError, UnicodeDecodeError) as error:
                bad += 1
                if _report(args, str(error) if error is line else f"line {number}: {error}"):
                    break
                continue
            record = {"line": number, "nats": nats, "tokens": tokens}
            answer = dumps(record) if args.json else f"{nats:.4f}"
            sys.stdout.write(f"{answer}\n")  # at once, unlike print, where Python does not buffer
            sys.stdout.flush()
    return 1 if bad else 0


def _steps(args: argparse.Namespace, model: Model, form: str) -> int:
    from recurra.errors import ArgumentError, DataError
    from recurra.runtime.lines import RAW, records, written

    session, bad, out = model.session(1), 0, sys.stdout.buffer
    width, tokens = model.network.input_size, model.network.reads_tokens
    _load(args.load_state, session.load)
    with _kept(args.save_state, session.save):
        for number, x in records(sys.stdin.buffer, form, width, width if tokens else None):
            y = None
            try:
                if not isinstance(x, DataError):
                    y = session.push(x if tokens else x[None])[0]
            except ArgumentError:
                x = DataError(
                    f"{'step' if form in RAW else 'line'} {number} must keep the state and the"
                    " output finite, got an overflow"
                )
            if y is None:
                bad += 1
                if _report(args, str(x)):
                    break
                continue
            out.write(written(y, form, number))
            out.flush()
    return 1 if bad else 0


def _report(args: argparse.Namespace, what: str) -> bool:
    """Say what was bad; whether to stop."""
    stops = bool(args.bad == "stop")
    print(
        f"recurra stream: {printable(what)}; {'stopped' if stops else 'passed over'}",
        file=sys.stderr,
        flush=True,
    )
    return stops


def _load(path: str | None, load: Callable[[bytes], Any]) -> None:
    from recurra.errors import DataError

    if path is None:
        return
    try:
        blob = read_regular(path, MOST_STATE)
    except OSError as error:
        raise DataError(
            f"--load-state must be a file that can be read, got {path!r} ({error.strerror})"
        ) from None
    load(blob)


@contextmanager
def _kept(path: str | None, save: Callable[[], bytes]) -> Iterator[None]:
    """A block after which the state is in a file, however it ends; where no file can be, it does
    not begin.
    """
    if path is None:
        yield
        return
    before = {number: signal.signal(number, _ended) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        with _writable(path):
            check_place(Path(path))
        try:
            yield
        finally:
            with _writable(path):
                write_durably(Path(path), lambda beside: beside.write_bytes(save()))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ended(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


@contextmanager
def _writable(path: str) -> Iterator[None]:
    from recurra.errors import RunError

    try:
        yield
    except OSError as error:
        raise RunError(
            f"--save-state must be a file that can be written, got {path!r} ({error.strerror})"
        ) from None
