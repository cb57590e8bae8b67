"""recurra eval: the loss of a run on text."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from recurra.cli.opened import add_cells, open_cells
from recurra.cli.output import add_json, answer
from recurra.wording import count_text

if TYPE_CHECKING:
    from recurra.vocabulary import Vocabulary


def configure(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.epilog = "example: recurra eval runs/a test.txt --unknown skip"
    parser.add_argument("run_folder", metavar="RUN", help="a run's folder, or a model's file")
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="UTF-8 text, .gz too; each file is a document"
    )
    add_cells(parser)
    unknown = (
        "what a character or word does that the vocabulary does not hold: skip leaves it out of the"
        " text and counts it, error ends "
    )
    unknown += (
        "with its place (if left out: error for characters; words are read as <unk>, and counted)"
    )
    parser.add_argument("--unknown", choices=("skip", "error"), help=unknown)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluate each file as one stream."""
    import numpy as np

    from recurra import train
    from recurra.errors import ArgumentError, DataError

    model = train.open_run(args.run_folder, open_cells(args))
    if model.vocabulary is None:
        raise ArgumentError("run must hold a model with a vocabulary, got one without")
    texts = [model.vocabulary.fit_breaks(text) for text in train.read_text(args.files)]
    texts, skipped = _known(model.vocabulary, texts, args.files, args.unknown)
    parts = [model.vocabulary.encode(text) for text in texts]
    tokens = np.concatenate(parts)
    if len(tokens) < 2:
        raise DataError(
            f"text must have at least two tokens that the model knows, got {len(tokens)}"
        )
    starts = np.cumsum([len(part) for part in parts])[:-1].tolist()
    loss = train.evaluate(model, train.contiguous(tokens, 1, starts))
    bits, unknown = loss / math.log(2), model.vocabulary.unknown(tokens)
    text = (
        f"{loss:.4f} nats, {bits:.4f} bits a token, perplexity {math.exp(loss):.3f}, over"
        f" {count_text(len(tokens) - len(parts), 'token')}"
    )
    text += f"; {unknown} of {len(tokens)} are <unk>" if unknown else ""
    text += f"; {skipped} unknown skipped" if args.unknown == "skip" else ""
    answer(
        args,
        {
            "nats": loss,
            "bits": bits,
            "tokens": len(tokens) - len(parts),
            "unknown": unknown,
            "skipped": skipped,
        },
        text,
    )
    return 0


def _known(
    vocabulary: Vocabulary, texts: list[str], files: list[str], unknown: str | None
) -> tuple[list[str], int]:
    """The texts as they are to be read, and how many unknown characters or words were left out of
    them.
    """
    from recurra.errors import DataError

    if unknown == "skip":
        known = [vocabulary.drop_unknown(text) for text in texts]
        return [text for text, _ in known], sum(count for _, count in known)
    for text, file in zip(texts, files):
        spans = (
            vocabulary.find_unknown(text)
            if unknown == "error" or vocabulary.level == "character"
            else []
        )
        if spans:
            (start, stop), many = (
                spans[0],
                f" ({len(spans)} unknown in all)" if len(spans) > 1 else "",
            )
            raise DataError(
                f"text must hold only the model's {count_text(len(vocabulary), vocabulary.level)},"
                f" got {text[start:stop]!r} at character {start + 1} of {file!r}{many}; leave them"
                " out with --unknown skip, or train on text that has them"
            )
    return texts, 0
