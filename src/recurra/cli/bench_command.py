"""recurra bench: this machine against torch.nn."""

from __future__ import annotations

import argparse
import importlib.util
import os
from pathlib import Path
from typing import Any

from recurra.cli.output import answer
from recurra.strict_json import dumps


def configure(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.epilog = (
        "example: recurra bench --cells lstm --threads 2 --json bench.json --plot bench.png"
    )
    every, quiet = "every one if left out", argparse.SUPPRESS
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a look in under 20 seconds: fewer shapes and rounds, one number of threads",
    )
    parser.add_argument(
        "--cells", nargs="+", metavar="CELL", default=quiet, help=f"lstm, gru, rnn; {every}"
    )
    parser.add_argument(
        "--parts",
        nargs="+",
        metavar="PART",
        default=quiet,
        help=f"cells, variants, ragged, long, memory, flat, step; {every}",
    )
    parser.add_argument(
        "--shapes",
        nargs="+",
        metavar="T,B,I,H,L",
        default=quiet,
        help="steps, rows, input, hidden, layers; seven shapes if left out",
    )
    parser.add_argument(
        "--threads",
        nargs="+",
        type=int,
        metavar="N",
        default=quiet,
        help="one after another; 1 and 2 if left out",
    )
    parser.add_argument(
        "--busy", action="store_true", help="measure the cells also beside one busy process"
    )
    parser.add_argument("--method", default="auto", help="how our side runs")
    parser.add_argument(
        "--rounds",
        type=int,
        metavar="N",
        default=quiet,
        help="times that each side runs, at least; 9 (quick: 3) if left out",
    )
    parser.add_argument(
        "--json",
        nargs="?",
        const="-",
        metavar="FILE",
        help="write the record with all raw times there; without FILE print it alone",
    )
    parser.add_argument(
        "--plot", metavar="FILE", help="draw GFLOP/s by shape there; the ending says the format"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress")


def run(args: argparse.Namespace) -> int:
    """Measure and report."""
    _check_installed("torch", "rich", *(["matplotlib"] if args.plot else []))
    from recurra.bench import measure, plot_bench, report
    from recurra.bench.progress import Display

    plan = _plan(args)
    for argument in ("json", "plot"):
        _check_file(argument, getattr(args, argument))
    if args.plot:
        _check_plot(plan, args.plot)
    record = measure(plan, Display(show=not (args.quiet or args.json == "-")))
    if args.json and args.json != "-":
        Path(args.json).write_text(dumps(record, indent=1) + "\n", encoding="utf-8")
    if args.plot:
        plot_bench(record, args.plot)
    answer(argparse.Namespace(json=args.json == "-"), record, report(record))
    return 0


def _plan(args: argparse.Namespace) -> Any:
    """What the options ask for."""
    from recurra.bench import Plan, parse_shape
    from recurra.bench.plan import QUICK

    options: dict[str, Any] = dict(QUICK) if args.quick else {}
    given = vars(args)
    options |= {name: tuple(given[name]) for name in ("cells", "parts", "threads") if name in given}
    if "shapes" in given:
        options["shapes"] = tuple(parse_shape(text) for text in args.shapes)
    if "rounds" in given:
        options["rounds"] = args.rounds
    return Plan(busy=args.busy, method=args.method, **options)


def _check_file(argument: str, name: str | None) -> None:
    """Raise before minutes of measuring, not after, if a file cannot be written."""
    from recurra.errors import ArgumentError

    if name is None or name == "-":
        return
    file = Path(name)
    folder = file.parent
    if (
        file.is_dir()
        or not folder.is_dir()
        or not os.access(file if file.exists() else folder, os.W_OK)
    ):
        raise ArgumentError(f"{argument} must be a file that can be written, got {name!r}")


def _check_plot(plan: Any, name: str) -> None:
    """Raise if nothing could be drawn there."""
    from matplotlib.backend_bases import FigureCanvasBase

    from recurra.errors import ArgumentError

    if Path(name).suffix.removeprefix(".") not in FigureCanvasBase.get_supported_filetypes():
        raise ArgumentError(
            f"plot must end with a format that can be drawn, got {name!r}; use .png, .svg or .pdf"
        )
    if "cells" not in plan.parts:
        raise ArgumentError(f"parts must hold 'cells' for a plot, got {', '.join(plan.parts)}")


def _check_installed(*packages: str) -> None:
    """Raise, with the command that installs it, if a package is missing."""
    from recurra.errors import MissingDependency

    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise MissingDependency(
                f'bench needs {package}; install it with: pip install "recurra[train]"'
            )
