"""recurra train: a language model on text files."""

from __future__ import annotations

import argparse
import math
from typing import Any

from recurra.cli.output import add_json, answer


def configure(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.epilog = "example: recurra train corpus.txt --out runs/a --epochs 5"
    parser.add_argument("files", nargs="+", metavar="FILE", help="UTF-8 text; each file is a document")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="a new folder for the run")
    parser.add_argument("--level", default="character", choices=("character", "byte"), help="what a token is")
    parser.add_argument("--validation", type=float, default=0.1, metavar="SHARE", help="share held out at the end of the text")
    model = parser.add_argument_group("model")
    model.add_argument("--cell", default="lstm", help="rnn, lstm, gru, layer_norm_lstm, min_gru and others")
    model.add_argument("--embed", type=int, default=256, metavar="UNITS", help="width of the embedding")
    model.add_argument("--hidden", type=int, default=512, metavar="UNITS", help="units of each layer")
    model.add_argument("--layers", type=int, default=2, metavar="N", help="recurrent layers")
    model.add_argument("--dropout", type=float, default=0.3, metavar="RATE", help="dropout between layers")
    model.add_argument("--untied", action="store_true", help="give the output layer weights of its own")
    recipe = parser.add_argument_group("recipe")
    recipe.add_argument("--epochs", type=int, default=10, metavar="N", help="passes over the text")
    recipe.add_argument("--window", type=int, default=100, metavar="STEPS", help="steps that the gradient sees back")
    recipe.add_argument("--stride", type=int, metavar="STEPS", help="steps from chunk to chunk, if fewer than the window's")
    recipe.add_argument("--batch", type=int, default=64, metavar="ROWS", help="streams side by side")
    recipe.add_argument("--lr", type=float, default=1e-3, metavar="RATE", help="Adam's learning rate")
    recipe.add_argument("--schedule", default="constant", help="constant or cosine")
    recipe.add_argument("--clip-norm", type=float, default=1.0, metavar="NORM", help="clip gradients by norm; 0: off")
    recipe.add_argument("--seed", type=int, default=0, help="of weights and dropout")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Train, and say where the best model is."""
    import torch

    from recurra import train
    from recurra.models import LanguageModel

    recipe = train.Recipe(
        epochs=args.epochs, window=args.window, stride=args.stride, batch=args.batch, lr=args.lr, schedule=args.schedule,
        clip_norm=args.clip_norm or None, seed=args.seed,
    )  # fmt: skip
    corpus = train.from_text(train.read_text(args.files), args.level, args.validation)
    torch.manual_seed(args.seed)
    model = LanguageModel(
        len(corpus.vocabulary), args.embed, args.hidden, args.layers, args.cell, args.dropout, not args.untied, corpus.vocabulary
    )
    done = train.fit(model, corpus, recipe, out=args.out, show=not (args.quiet or args.json))
    answer(args, _record(done), _text(done))
    return 1 if done.stopped else 0


def _record(done: Any) -> dict[str, Any]:
    best = done.best_loss if math.isfinite(done.best_loss) else None
    return {"folder": str(done.folder), "validation_loss": best, "stopped": done.stopped}


def _text(done: Any) -> str:
    if not math.isfinite(done.best_loss):
        return f"stopped before the first validation; the model as it was is in {done.folder}"
    bits = done.best_loss / math.log(2)
    first = "stopped; best so far" if done.stopped else "best"
    return f"{first}: {done.best_loss:.4f} nats ({bits:.4f} bits) a token on validation; the model is in {done.folder}"
