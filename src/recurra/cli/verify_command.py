"""recurra verify: the parity table of a run."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from recurra.cli.opened import HELP, OUTPUT, add_cells, is_network, open_cells
from recurra.cli.output import add_json, answer
from recurra.wording import count_text


def configure(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.epilog = "example: recurra verify runs/a"
    parser.add_argument("run_folder", metavar="RUN", help=HELP)
    parser.add_argument("--steps", type=int, default=200, metavar="T", help="steps of each path")
    parser.add_argument("--rows", type=int, default=3, metavar="B", help="rows side by side")
    add_cells(parser)
    parser.add_argument("--output", metavar="NAME", help=OUTPUT)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print the table; 1 if a row does not hold."""
    from recurra.errors import ArgumentError

    if args.steps < 3 or args.rows < 1:
        raise ArgumentError(
            f"steps must be at least 3 and rows at least 1, got {args.steps} and {args.rows}"
        )
    if args.output and not is_network(args.run_folder):
        raise ArgumentError(
            f"--output must go with an ONNX file or FILE.py:NAME, got {args.run_folder!r}; leave"
            " it out"
        )
    cells = open_cells(args)
    with telling() as tell:
        rows = (
            _of_network(args, tell) if is_network(args.run_folder) else _of_run(args, cells, tell)
        )
    record = {
        "holds": all(row.holds for row in rows),
        "rows": [row._asdict() | {"holds": row.holds} for row in rows],
    }
    answer(args, record, table(rows))
    return 0 if record["holds"] else 1


def _of_network(args: argparse.Namespace, tell: Callable[[str], object]) -> list[Any]:
    """The rows of a network, its own precision standing for float32 and the coarser ones; of a
    module before them what it gives itself.
    """
    import numpy as np

    from recurra.cli.opened import is_module, open_module, open_network, place_of
    from recurra.parity import verify_exports

    module = open_module(args.run_folder) if is_module(args.run_folder) else None
    if module is None:
        network = open_network(args.run_folder, output=args.output)
    else:
        from recurra.export import network_of

        network = network_of(module, output=place_of(args.output))
    draws, shape = np.random.default_rng(0), (args.steps, args.rows)
    tokens = network.reads_tokens
    x = (
        draws.integers(0, network.input_size, shape)
        if tokens
        else draws.standard_normal((*shape, network.input_size)).astype(np.float32)
    )
    if module is None:
        return verify_exports(network, x, tell)
    from recurra.parity import verify_module

    return verify_module(module, x, place_of(args.output), tell) + verify_exports(network, x, tell)


def _of_run(args: argparse.Namespace, cells: list[Any], tell: Callable[[str], object]) -> list[Any]:
    """The rows of a run: every path in PyTorch, then every export."""
    import torch

    from recurra import parity, train
    from recurra.errors import ConversionError
    from recurra.export import network_of

    model = train.open_run(args.run_folder, cells)
    x = torch.randint(
        model.vocab_size, (args.steps, args.rows), generator=torch.Generator().manual_seed(0)
    )
    rows = parity.verify(model, x, tell)
    try:
        return rows + parity.verify_exports(network_of(model), x.numpy(), tell)
    except ConversionError as error:
        return [*rows, parity.Row("exports", 0.0, None, 0, str(error))]


@contextmanager
def telling() -> Iterator[Callable[[str], object]]:
    """Something to tell which path is run next: a line on a terminal's standard error stream, which
    is gone afterwards.
    """
    if not sys.stderr.isatty():
        yield str
        return
    done = itertools.count()

    def tell(path: str) -> None:
        sys.stderr.write(f"\r\x1b[K{count_text(next(done), 'path')} done, now: {path}")
        sys.stderr.flush()

    try:
        yield tell
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


def table(rows: list[Any]) -> str:
    """The parity table as text."""
    wide = max(len(row.path) for row in rows)
    lines = [f"{'path':<{wide}}  largest difference  bound     steps"]
    for row in rows:
        if row.bound is None:
            lines.append(f"{row.path:<{wide}}  not run: {row.note}")
        else:
            mark = "holds" if row.holds else "FAILS"
            lines.append(
                f"{row.path:<{wide}}  {row.difference:<18.2e}  {row.bound:<8.2e}  {row.steps:<5} "
                f" {mark}"
            )
    good = sum(row.holds and row.bound is not None for row in rows)
    ran = sum(row.bound is not None for row in rows)
    return "\n".join(
        [
            *lines,
            (
                f"{good} of {count_text(ran, 'path')} equal{'s' if ran == 1 else ''} the float64"
                " loop within the bound"
            ),
        ]
    )
