"""recurra inspect: why a run's gradient dies, on a page."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recurra.cli.opened import add_cells, open_cells
from recurra.cli.output import add_json, answer
from recurra.wording import count_text

MOST_STEPS = 1000
SAMPLED = "sampled from the model itself (seed 0)"


def configure(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.epilog = """examples: recurra inspect runs/a --out report.html
          recurra inspect runs/a --text test.txt --json"""
    parser.add_argument("run_folder", metavar="RUN", help="a run's folder, or a model's file")
    text = (
        "UTF-8 text to run on, .gz too; each file is a document; without one the model samples"
        " its own"
    )
    parser.add_argument("--text", nargs="+", metavar="FILE", help=text)
    parser.add_argument("--out", metavar="HTML", help="write one self-contained page with charts")
    parser.add_argument(
        "--steps",
        type=int,
        metavar="T",
        help=f"steps of each row; twice the window if left out, at most {MOST_STEPS}",
    )
    parser.add_argument("--rows", type=int, default=8, metavar="B", help="rows side by side")
    add_cells(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print the verdicts and figures; write the page."""
    from recurra import inspection, train
    from recurra.errors import ArgumentError

    if args.rows < 1 or (args.steps is not None and args.steps < 2):
        raise ArgumentError(
            f"rows must be at least 1 and steps at least 2, got {args.rows} and {args.steps}"
        )
    model = train.open_run(args.run_folder, open_cells(args))
    recipe, history, why = _record(args.run_folder)
    window = None if recipe is None else recipe.window
    steps = args.steps or min(2 * (window or 100), MOST_STEPS)
    batch, source = _batch(model, args.text or (), steps, args.rows)
    size = f"{count_text(batch.steps, 'step')} of {count_text(batch.batch, 'row')}"
    clip_norm = None if recipe is None else recipe.clip_norm
    found = inspection.diagnose(model, batch, history=history, clip_norm=clip_norm, window=window)
    if args.out:
        facts = {"run": str(args.run_folder), "text": source, "measured on": size}
        facts |= {"naive baseline": why} if why else {}
        inspection.write_report(
            found,
            args.out,
            history=history or (),
            title=f"recurra inspect {args.run_folder}",
            facts=facts,
        )
    lines = [str(found), f"text: {source}, {size}"]
    lines += [f"naive baseline: {why}"] * bool(why) + [f"written to {args.out}"] * bool(args.out)
    text = "\n".join(lines)
    answer(args, found.to_dict() | {"text": source, "out": args.out}, text)
    return 0


def _record(folder: str) -> tuple[Any, list[dict[str, Any]] | None, str]:
    """A run's recipe, its history with the naive baseline's row, and why there is none; a model's
    file has neither.
    """
    from recurra import train
    from recurra.errors import RecurraError

    if not Path(folder).is_dir():
        return None, None, ""
    config, history = train.read_config(folder), train.read_history(folder)
    recipe = train.Recipe.of(config["recipe"])
    if any(row.get("kind") == "baseline" for row in history):
        return recipe, history, ""
    if "data" not in config:
        return recipe, history, "unknown, since the run's data came from memory"
    try:
        return recipe, [*history, train.baseline(train.from_source(config["data"])).row()], ""
    except RecurraError as error:
        return recipe, history, f"unknown, since the run's data cannot be read: {error}"


def _batch(model: Any, files: Sequence[str], steps: int, rows: int) -> tuple[Any, str]:
    """Rows of tokens, and where they come from; a short text gives fewer rows, then fewer steps."""
    import numpy as np

    from recurra import train
    from recurra.errors import ArgumentError, DataError

    starts: list[int] = []
    if files:
        if model.vocabulary is None:
            raise ArgumentError(
                "run must hold a model with a vocabulary to read text, got one without; leave"
                " --text out"
            )
        parts = [
            model.vocabulary.encode(model.vocabulary.fit_breaks(text))
            for text in train.read_text(files)
        ]
        tokens, starts = (
            np.concatenate(parts),
            np.cumsum([len(part) for part in parts])[:-1].tolist(),
        )
        if len(tokens) < 3:
            raise DataError(f"text must have at least three tokens, got {len(tokens)}")
    else:
        tokens = _sampled(model, steps * rows + 1)
    rows = max(1, min(rows, (len(tokens) - 1) // steps))
    tokens = tokens[: steps * rows + 1]
    streams = train.contiguous(tokens, rows, [start for start in starts if start < len(tokens)])
    return streams, ", ".join(files) if files else SAMPLED


def _sampled(model: Any, count: int) -> Any:
    """Tokens that the model draws, after the first of its vocabulary."""
    import numpy as np

    from recurra import models

    return np.fromiter(models.generate(model, [0], count, seed=0), np.int64)
