"""recurra stream: a model over what comes in on standard input, an answer for each step or line."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recurra.cli.opened import HELP, open_network

if TYPE_CHECKING:
    from recurra.runtime import Model

FORMATS = ("auto", "text", "json", "csv", "f32", "s16")


def configure(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.epilog = "example: tail -f app.log | recurra stream runs/a"
    parser.add_argument("run_folder", metavar="RUN", help=HELP)
    form = "lines of text, JSON lists or CSV rows, or raw little-endian samples; auto: text for a model with a vocabulary, else csv"
    parser.add_argument("--format", choices=FORMATS, default="auto", help=form)
    parser.add_argument("--fresh", action="store_true", help="begin anew at each line of text; else the state is carried on")
    parser.add_argument("--bad", choices=("skip", "stop"), default="skip", help="what a line does that cannot be read")
    parser.add_argument("--save-state", metavar="FILE", help="at the end, write the state there")
    parser.add_argument("--load-state", metavar="FILE", help="go on from a state that was saved")
    parser.add_argument("--json", action="store_true", help="text: a JSON object for each line")


def run(args: argparse.Namespace) -> int:
    """Answer each step or line at once; a bad one is reported on the standard error stream by its number.

    Text: the nats a token that the model pays for a line, high for what it did not expect. Else the outputs, as the input lies;
    raw input gives raw float32.
    """
    from recurra.errors import ArgumentError
    from recurra.runtime import Model

    model = Model(open_network(args.run_folder))
    text = model.network.reads_tokens
    form = ("text" if text else "csv") if args.format == "auto" else args.format
    if (form == "text") != text:
        need = "text, since the model reads tokens" if text else "json, csv, f32 or s16, since the model reads features"
        raise ArgumentError(f"--format must be {need}, got {form}")
    return _text(args, model) if text else _features(args, model, form)


def _text(args: argparse.Namespace, model: Model) -> int:
    from recurra.errors import DataError
    from recurra.runtime.surprise import Surprise

    surprise, bad = Surprise(model), 0
    _load(args.load_state, surprise.load)
    for number, line in enumerate(sys.stdin.buffer, 1):
        if args.fresh:
            surprise.reset()
        try:
            nats, tokens = surprise.push(line.decode())
        except (DataError, UnicodeDecodeError) as error:
            bad += 1
            if _report(args, f"line {number}: {error}"):
                break
            continue
        print(json.dumps({"line": number, "nats": nats, "tokens": tokens}) if args.json else f"{nats:.4f}", flush=True)
    _save(args.save_state, surprise.save)
    return 1 if bad else 0


def _features(args: argparse.Namespace, model: Model, form: str) -> int:
    from recurra.errors import ArgumentError, DataError
    from recurra.runtime.lines import records, written

    session, bad, out = model.session(1), 0, sys.stdout.buffer
    _load(args.load_state, session.load)
    for number, x in records(sys.stdin.buffer, form, model.network.input_size):
        try:
            if isinstance(x, DataError):
                raise x
            y = session.push(x[None])[0]
        except (DataError, ArgumentError) as error:
            bad += 1
            if _report(args, f"step {number}: {error}" if isinstance(error, ArgumentError) else str(error)):
                break
            continue
        out.write(written(y, form, number))
        out.flush()
    _save(args.save_state, session.save)
    return 1 if bad else 0


def _report(args: argparse.Namespace, what: str) -> bool:
    """Say what was bad; whether to stop."""
    stops = bool(args.bad == "stop")
    print(f"recurra stream: {what}; {'stopped' if stops else 'passed over'}", file=sys.stderr, flush=True)
    return stops


def _load(path: str | None, load: Callable[[bytes], Any]) -> None:
    from recurra.errors import DataError

    if path is None:
        return
    try:
        blob = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"--load-state must be a file that can be read, got {path!r} ({error.strerror})") from None
    load(blob)


def _save(path: str | None, save: Callable[[], bytes]) -> None:
    from recurra.durable import write_durably
    from recurra.errors import RunError

    if path is None:
        return
    try:
        write_durably(Path(path), lambda beside: beside.write_bytes(save()))
    except OSError as error:
        raise RunError(f"--save-state must be a file that can be written, got {path!r} ({error.strerror})") from None
