"""recurra resume: go on with a run that was interrupted."""

from __future__ import annotations

import argparse

from recurra.cli.opened import add_cells, open_cells
from recurra.cli.output import add_json


def configure(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.epilog = "example: recurra resume runs/a"
    parser.add_argument("run_folder", metavar="RUN", help="the run's folder; its text files must be where they were")
    add_cells(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Go on to the end, and say where the best model is."""
    from recurra import train
    from recurra.cli.train_command import conclude

    done = train.resume(args.run_folder, show=not (args.quiet or args.json), cells=open_cells(args))
    return conclude(args, done, train.from_source(train.read_config(args.run_folder)["data"]))
