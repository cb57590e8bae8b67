"""recurra stream: a model over lines from standard input, a line out for each line in."""

from __future__ import annotations

import argparse
import json
import sys


def configure(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.epilog = "example: tail -f app.log | recurra stream runs/a"
    parser.add_argument("run_folder", metavar="RUN", help="a run's folder, or a model's file")
    parser.add_argument("--fresh", action="store_true", help="begin anew at each line; else the state is carried on")
    parser.add_argument("--json", action="store_true", help="a JSON object for each line")


def run(args: argparse.Namespace) -> int:
    """Print, for each line, the nats a token that the model pays for it: high for what it did not expect.

    A line that cannot be read is reported on the standard error stream by its number, and passed over.
    """
    from recurra import train
    from recurra.cli.surprise import Surprise
    from recurra.errors import ArgumentError, DataError

    model = train.open_run(args.run_folder)
    if model.vocabulary is None:
        raise ArgumentError("run must hold a model with a vocabulary, got one without")
    surprise, bad = Surprise(model), 0
    for number, line in enumerate(sys.stdin.buffer, 1):
        if args.fresh:
            surprise.reset()
        try:
            nats, tokens = surprise.push(line.decode())
        except (DataError, UnicodeDecodeError) as error:
            bad += 1
            print(f"recurra stream: line {number}: {error}; passed over", file=sys.stderr)
            continue
        text = json.dumps({"line": number, "nats": nats, "tokens": tokens}) if args.json else f"{nats:.4f}"
        print(text, flush=True)
    return 1 if bad else 0
