"""recurra train: a language model on text files."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recurra.cli.output import add_json, answer

if TYPE_CHECKING:
    from recurra.train import Corpus, Naive

MODEL = {
    "cell": (
        "rnn, lstm, gru, layer_norm_lstm, min_gru and others, or one of your own: FILE.py:NAME or"
        " package.module:NAME"
    ),
    "embed": "width of the embedding",
    "hidden": "units of each layer, or a list of them: 1150,1150,400",
    "layers": "recurrent layers",
    "dropout": "dropout between layers",
}
RECIPE = {
    "epochs": "passes over the text",
    "window": "steps that the gradient sees back",
    "batch": "streams side by side",
    "lr": "learning rate, at its highest",
    "schedule": "constant, cosine, one_cycle, decay or plateau",
    "clip_norm": "clip gradients to this norm; none: off",
    "seed": "of weights, dropout and varied windows",
}
NOT_FLAGS = ("vocab_size", "vocabulary")


def configure(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    from recurra.cli.flags import HelpAll, add_fields
    from recurra.models import LanguageModel
    from recurra.train import Recipe

    parser.formatter_class = (
        argparse.RawDescriptionHelpFormatter
    )  # each flag's own words say its default
    parser.epilog = """example: recurra train corpus.txt --out runs/a --epochs 5
         recurra train corpus.txt --out runs/b --recipe recipes/characters.toml"""
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="UTF-8 text, .gz too; each file is a document"
    )
    parser.add_argument("--out", required=True, metavar="FOLDER", help="a new folder for the run")
    parser.add_argument(
        "--recipe",
        metavar="TOML",
        help="a file with the tables data, model and recipe; flags win over it",
    )
    parser.add_argument(
        "--level",
        choices=("character", "byte", "word", "bpe"),
        help="what a token is (default: character)",
    )
    parser.add_argument(
        "--vocab-size",
        type=int,
        dest="data_vocab_size",
        metavar="N",
        help="most frequent words kept, or pieces made (words: all)",
    )
    parser.add_argument(
        "--validation",
        nargs="+",
        metavar="SHARE|FILE",
        help="share held out at the end of the text, or files (default: 0.1)",
    )
    parser.add_argument(
        "--test", nargs="+", metavar="FILE", help="text to evaluate the best model on at the end"
    )
    add_fields(parser.add_argument_group("model"), LanguageModel, MODEL, NOT_FLAGS)
    add_fields(parser.add_argument_group("recipe"), Recipe, RECIPE)
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        metavar="N",
        help="train once for each seed, into FOLDER/seed-N",
    )
    parser.add_argument(
        "--tensorboard",
        action="store_true",
        help="write TensorBoard events into the run's folder, too",
    )
    diagnose = (
        "look at gradients on the way, in a fiftieth of the time (first after 500 chunks, or at the"
        " end); into the history"
    )
    parser.add_argument("--diagnose", action="store_true", help=diagnose)
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--help-all", action=HelpAll)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Train, and say where the best model is."""
    import torch

    from recurra import train
    from recurra.models import LanguageModel

    config = _configuration(args)
    show = not (args.quiet or args.json)
    validation = (
        _validation(args.validation) if args.validation else config.data.pop("validation", 0.1)
    )
    corpus = train.from_files(args.files, validation, args.test, **config.data, show=show)

    def make() -> LanguageModel:
        return LanguageModel(len(corpus.vocabulary), **config.model, vocabulary=corpus.vocabulary)

    options: dict[str, Any] = {"show": show, "callbacks": _callbacks(args)}
    if args.seeds:
        return _several(
            args, train.fit_seeds(make, corpus, config.recipe, args.seeds, args.out, **options)
        )
    torch.manual_seed(config.recipe.seed)
    done = train.fit(make(), corpus, config.recipe, args.out, **options)
    return conclude(args, done, corpus)


def _configuration(args: argparse.Namespace) -> Any:
    from recurra.cli.flags import given
    from recurra.cli.opened import is_cell, make_own_cell
    from recurra.models import LanguageModel
    from recurra.train import Recipe, configure, read_configuration

    model = given(args, LanguageModel, NOT_FLAGS)
    if is_cell(args.cell):
        model["cell"] = make_own_cell(args.cell)
    data = {"level": args.level, "vocab_size": args.data_vocab_size}
    flags = {
        "data": {name: value for name, value in data.items() if value is not None},
        "model": model,
        "recipe": given(args, Recipe),
    }
    return configure(read_configuration(args.recipe) if args.recipe else {}, flags)


def _validation(words: list[str]) -> Any:
    """A share if it is one number, else files."""
    try:
        return float(words[0]) if len(words) == 1 else words
    except ValueError:
        return words


def _callbacks(args: argparse.Namespace) -> list[Any]:
    from recurra.inspection import Watch
    from recurra.train import TensorBoard
    from recurra.train.advice import Advice

    asked = [
        TensorBoard(args.out) if args.tensorboard else None,
        Watch() if args.diagnose else None,
    ]
    return [Advice(), *(callback for callback in asked if callback)]


def conclude(args: argparse.Namespace, done: Any, corpus: Corpus) -> int:
    """Say what a run came to, beside the naive baseline."""
    from recurra import train

    best = _finite(done.best_loss)
    naive = train.baseline(corpus) if best is not None and not done.stopped else None
    record: dict[str, Any] = {
        "folder": str(done.folder),
        "validation_loss": best,
        "stopped": done.stopped,
    }
    parts = {"train": corpus.train, "validation": corpus.validation}
    record["unknown"] = {
        name: [part.unknown, len(part.tokens)] for name, part in parts.items() if part.unknown
    }
    if naive:
        record |= {"unigram": naive.unigram, "ngram": naive.ngram, "ngram_order": naive.order}
    if corpus.test is not None and naive:
        record["test_loss"] = train.evaluate(
            done.model, train.TokenStreams(corpus.test.tokens, 1, corpus.test.starts)
        )
    answer(
        args,
        record,
        "\n".join(_lines(record, corpus.vocabulary.level, naive, resume_text(args, done.folder))),
    )
    return 1 if done.stopped else 0


def resume_text(args: argparse.Namespace, folder: Any) -> str:
    """The command to go on with, its cells included."""
    from recurra.cli.opened import is_cell

    cells = args.cells if "cells" in args else [args.cell] if is_cell(args.cell) else []
    return " ".join(
        ["go on with: recurra resume", str(folder), *(f"--cell {cell}" for cell in cells)]
    )


def _lines(record: dict[str, Any], level: str, naive: Naive | None, on: str) -> list[str]:
    from recurra.train import custom

    best = record["validation_loss"]
    if best is None:
        return [
            f"stopped before the first validation; the model as it was is in {record['folder']}",
            on,
        ]
    first = "stopped; best so far" if record["stopped"] else "best"
    lines = [
        f"{first}: {best:.4f} nats ({custom(best, level)}) a token on validation; the model is in"
        f" {record['folder']}"
    ]
    if naive:
        grams = f"{naive.order}-gram {naive.ngram:.4f} nats ({custom(naive.ngram, level)})"
        lines.append(
            f"to compare: {grams}, unigram {naive.unigram:.4f} nats"
            f" ({custom(naive.unigram, level)})"
        )
    if record["unknown"]:
        counts = ", ".join(
            f"{count} of {whole} ({count / whole:.1%}) in {name}"
            for name, (count, whole) in record["unknown"].items()
        )
        lines.append(f"unknown words: {counts}")
    if "test_loss" in record:
        lines.append(
            f"on the test text: {record['test_loss']:.4f} nats"
            f" ({custom(record['test_loss'], level)}) a token"
        )
    if record["stopped"]:
        lines.append(on)
    return lines


def _several(args: argparse.Namespace, done: Any) -> int:
    losses = {str(seed): _finite(each.best_loss) for seed, each in done.runs.items()}
    text = ", ".join(
        f"{'none' if loss is None else f'{loss:.4f}'} (seed {seed})"
        for seed, loss in losses.items()
    )
    mean = _finite(done.mean)
    record = {
        "folder": str(Path(args.out)),
        "validation_loss": losses,
        "mean": mean,
        "deviation": done.deviation,
        "stopped": done.stopped,
    }
    if mean is not None:
        text += (
            f": mean {mean:.4f}, standard deviation {done.deviation:.4f} nats a token on validation"
        )
    last = list(done.runs)[-1]
    answer(
        args,
        record,
        (
            f"{text}\nstopped; {resume_text(args, Path(args.out) / f'seed-{last}')}"
            if done.stopped
            else text
        ),
    )
    return 1 if done.stopped else 0


def _finite(loss: float) -> float | None:
    """A loss, or None before there is one: JSON has no infinity."""
    return loss if math.isfinite(loss) else None
