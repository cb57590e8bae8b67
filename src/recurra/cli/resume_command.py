"""recurra resume: go on with a run that was interrupted, or that is to be longer."""

from __future__ import annotations

import argparse

from recurra.cli.opened import add_cells, open_cells
from recurra.cli.output import add_json


def configure(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.epilog = "examples: recurra resume runs/a\n          recurra resume runs/a --epochs 20"
    parser.add_argument(
        "run_folder", metavar="RUN", help="the run's folder; its text files must be where they were"
    )
    add_cells(parser)
    more = (
        "passes in all, for a run that is to be longer, also one that is done (cosine and"
        " one_cycle: the rate from here on is that of "
    )
    more += "the new length)"
    parser.add_argument(
        "--epochs", type=int, metavar="N", help=f"{more}; the run's own if left out"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Go on to the end, and say where the best model is."""
    from recurra import train
    from recurra.cli.train_command import conclude
    from recurra.train.advice import Advice

    shown = not (args.quiet or args.json)
    done = train.resume(
        args.run_folder,
        epochs=args.epochs,
        show=shown,
        callbacks=[Advice()],
        cells=open_cells(args),
    )
    return conclude(args, done, train.from_source(train.read_config(args.run_folder)["data"]))
