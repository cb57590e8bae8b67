"""recurra demo: the main job in two minutes, on prose that Python carries."""

from __future__ import annotations

import argparse
import math
import statistics
import time
from pathlib import Path
from typing import Any

from recurra.cli.output import add_json, answer
from recurra.errors import import_for
from recurra.wording import count_text

ENOUGH = 100_000
"""Characters below which the standard library's docstrings take the place of the topics."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.epilog = "example: recurra demo --out runs/demo"
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        help="a new folder for the run; runs/demo, or the next free number, if left out",
    )
    parser.add_argument("--seconds", type=float, default=90.0, help="how long to train, about")
    parser.add_argument("--seed", type=int, default=0, help="of weights, dropout and the sample")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Train, sample, stream, verify, look inside."""
    import_for("this command", "matplotlib")  # before minutes of training, not after
    import torch

    from recurra import parity, train
    from recurra.cli.verify_command import table
    from recurra.inspection import gradient_flow, plot_flow, plot_history
    from recurra.models import LanguageModel, sample

    say = (lambda text: None) if args.json else (lambda text: print(text, flush=True))
    corpus = train.from_text(prose())
    torch.manual_seed(args.seed)
    model = LanguageModel(len(corpus.vocabulary), 64, 192, 2, "lstm", 0.1, False, corpus.vocabulary)
    folder = Path(args.out) if args.out else next_free(Path("runs"))
    recipe = train.Recipe(
        epochs=_epochs(model, corpus, args.seconds),
        lr=4e-3,
        schedule="cosine",
        batch=32,
        window=64,
        seed=args.seed,
    )
    many = torch.get_num_threads()
    passes = f"{count_text(recipe.epochs, 'pass')}, on {count_text(many, 'thread')}"
    say(
        f"A 2 x 192 LSTM learns to foretell each character of {len(corpus.train.tokens):,}, in"
        f" {passes}.\n"
    )
    done = train.fit(model, corpus, recipe, out=folder, show=not args.json)
    if done.stopped:
        return 1
    bits = done.best_loss / math.log(2)
    say(
        f"\nValidation: {done.best_loss:.3f} nats, {bits:.3f} bits a character (each letter alike:"
        f" {math.log(model.vocab_size):.3f} nats)"
    )
    text = sample(model, "The ", 300, temperature=0.7, seed=args.seed)
    say(f"\nWhat it writes:\n\nThe {text}\n")
    tokens = torch.from_numpy(corpus.validation.tokens)
    rows = parity.verify(model, tokens.repeat(1 + 600 // len(tokens))[:600].view(3, 200).T)
    say(f"Streaming equals the whole:\n\n{table(rows)}\n")
    x, y = (tokens[start : start + recipe.window][:, None] for start in (0, 1))
    flow = gradient_flow(model, (x, y), loss_at="last step")
    say(f"A first look inside, the last window's end seen from each step:\n\n{flow}\n")
    plot_history(done.history, folder / "loss.png")
    plot_flow(flow, folder / "gradient.png")
    say(
        f"Pictures: {folder / 'loss.png'}, {folder / 'gradient.png'}\nGo on: recurra sample"
        f' {folder} --prompt "The "'
    )
    holds = all(row.holds for row in rows)
    record = {
        "folder": str(folder),
        "validation_loss": done.best_loss,
        "sample": text,
        "parity_holds": holds,
    }
    if args.json:
        answer(args, record, "")
    return 0 if holds else 1


def prose() -> list[str]:
    """Prose that every CPython carries: the help topics, or where they are missing the library's
    docstrings.
    """
    try:
        from pydoc_data.topics import topics

        documents = list(topics.values())
    except ImportError:
        documents = []
    if sum(map(len, documents)) >= ENOUGH:
        return documents
    return docstrings()


def docstrings() -> list[str]:
    """The docstrings of the standard library's modules, one document a module."""
    import ast
    import sysconfig

    documents = []
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        found = [ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, kinds)]
        documents.append("\n\n".join(text for text in found if text))
    return [document for document in documents if document]


def next_free(root: Path) -> Path:
    """runs/demo, or runs/demo-2 and so on where that is taken."""
    number, folder = 1, root / "demo"
    while folder.exists():
        number += 1
        folder = root / f"demo-{number}"
    return folder


def _epochs(model: Any, corpus: Any, seconds: float) -> int:
    """How many passes fit into the time, measured on a few steps; between 1 and 10.

    Leaves torch with the quicker number of threads, all or one: with another busy process, threads
    that wait for each other at every step can be many times slower than one.
    """
    import torch

    step = {threads: _step_s(model, threads) for threads in (1, torch.get_num_threads())}
    quickest = min(step, key=lambda threads: step[threads])
    torch.set_num_threads(quickest)
    return max(
        1, min(10, int(seconds / (step[quickest] * 1.15 * len(corpus.train.tokens) / (64 * 32))))
    )


def _step_s(model: Any, threads: int) -> float:
    """The median seconds of a training step with so many threads."""
    import torch

    torch.set_num_threads(threads)
    x, times = torch.zeros(64, 32, dtype=torch.long), []
    for _ in range(5):
        began = time.perf_counter()
        model.loss(x, x)[0].backward()
        times.append(time.perf_counter() - began)
    model.zero_grad()
    return statistics.median(times)
