"""recurra eval: the loss of a run on text."""

from __future__ import annotations

import argparse
import math

from recurra.cli.opened import add_cells, open_cells
from recurra.cli.output import add_json, answer


def configure(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.epilog = "example: recurra eval runs/a test.txt"
    parser.add_argument("run_folder", metavar="RUN", help="a run's folder, or a model's file")
    parser.add_argument("files", nargs="+", metavar="FILE", help="UTF-8 text, .gz too; each file is a document")
    add_cells(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluate each file as one stream."""
    import numpy as np

    from recurra import train
    from recurra.errors import ArgumentError, DataError

    model = train.open_run(args.run_folder, open_cells(args))
    if model.vocabulary is None:
        raise ArgumentError("run must hold a model with a vocabulary, got one without")
    parts = [model.vocabulary.encode(text) for text in train.read_text(args.files)]
    tokens = np.concatenate(parts)
    if len(tokens) < 2:
        raise DataError(f"text must have at least two tokens, got {len(tokens)}")
    starts = np.cumsum([len(part) for part in parts])[:-1].tolist()
    loss = train.evaluate(model, train.contiguous(tokens, 1, starts))
    bits, unknown = loss / math.log(2), model.vocabulary.unknown(tokens)
    text = f"{loss:.4f} nats, {bits:.4f} bits a token, perplexity {math.exp(loss):.3f}, over {len(tokens) - len(parts)} tokens"
    text += f"; {unknown} of {len(tokens)} are <unk>" if unknown else ""
    answer(args, {"nats": loss, "bits": bits, "tokens": len(tokens) - len(parts), "unknown": unknown}, text)
    return 0
