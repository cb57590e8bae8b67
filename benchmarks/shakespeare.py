"""tinyshakespeare by `fit` and by hand with torch.nn.LSTM, pass by pass in turn: the loss, and the
time.
"""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks import bare
from recurra import init, train
from recurra.bench.registry import SHAKESPEARE
from recurra.bench.report import verdict
from recurra.models import LanguageModel

TESTS = ("tests/train", "tests/models")
RECIPE = train.Recipe(epochs=12, window=100, batch=64, lr=3e-3, schedule="cosine", clip_norm=1.0)


def text_file() -> Path:
    """The corpus: RECURRA_DATA, default ../shared/data."""
    root = Path(os.environ.get("RECURRA_DATA", Path(__file__).parents[2] / "shared" / "data"))
    return root / "tinyshakespeare" / "input.txt"


class Peer:
    """The by-hand model, trained a pass whenever `fit` has ended one."""

    def __init__(self, corpus: train.Corpus, recipe: train.Recipe, chunks: int) -> None:
        torch.manual_seed(0)
        self.model = bare.ByHand(len(corpus.vocabulary), 128, 256, 2, 0.2)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=recipe.lr)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            self.optimizer, chunks * recipe.epochs
        )
        self.train, self.validation = (
            train.contiguous(part.tokens, recipe.batch) for part in corpus[:2]
        )
        self.window, self.seconds, self.losses = recipe.window, [], []

    def one_pass(self) -> None:
        """Train a pass, timed, and validate."""
        began = time.perf_counter()
        bare.one_pass(
            self.model, self.train.x, self.train.y, self.window, self.optimizer, self.schedule
        )
        self.seconds.append(time.perf_counter() - began)
        self.losses.append(
            bare.evaluate(self.model, self.validation.x, self.validation.y, self.window)
        )


class Turns:
    """Times each pass of `fit`, then lets the peer train one."""

    def __init__(self, chunks: int, peer: Peer | None) -> None:
        self.chunks, self.peer, self.began = chunks, peer, 0.0
        self.seconds: list[float] = []

    def on_chunk(self, course: Any, row: dict[str, Any], chunk: Any) -> None:
        """Look whether a pass begins or ends here."""
        if row["step"] % self.chunks == 1:
            self.began = time.perf_counter() - row["tokens"] / row["tokens_per_s"]
        if row["step"] % self.chunks == 0:
            self.seconds.append(time.perf_counter() - self.began)
            if self.peer is not None:
                state = torch.get_rng_state()
                self.peer.one_pass()
                torch.set_rng_state(state)
                print(
                    f"  by hand: pass {len(self.seconds)}: {self.peer.seconds[-1]:.1f} s,"
                    f" validation {self.peer.losses[-1]:.4f}",
                    flush=True,
                )


def measure(recipe: train.Recipe = RECIPE, against: bool = True) -> dict[str, Any]:
    """Train both, one pass each in turn."""
    corpus = train.from_text(train.read_text(text_file()))
    torch.manual_seed(recipe.seed)
    model = LanguageModel(
        len(corpus.vocabulary),
        embed=128,
        hidden=256,
        layers=2,
        dropout=0.2,
        tied=False,
        vocabulary=corpus.vocabulary,
    )
    init.torch_uniform(model)  # as torch.nn begins, so that the two differ in the library alone
    chunks = train.count_chunks(
        len(train.contiguous(corpus.train.tokens, recipe.batch).x), recipe.window, recipe.window
    )
    peer = Peer(corpus, recipe, chunks) if against else None
    turns = Turns(chunks, peer)
    run = train.fit(model, corpus, recipe, callbacks=[turns])
    seconds = turns.seconds
    record = {"validation": run.best_loss, "pass_s": statistics.median(seconds)}
    if peer is not None:
        ratio = statistics.median(theirs / ours for ours, theirs in zip(seconds, peer.seconds))
        record |= {
            "by_hand_validation": min(peer.losses),
            "by_hand_pass_s": statistics.median(peer.seconds),
            "ratio": ratio,
        }
    return record


def text(record: dict[str, Any]) -> str:
    """Two lines."""
    lines = [
        f"recurra:  best validation {record['validation']:.4f} nats (at most 1.475 wanted),"
        f" {record['pass_s']:.1f} s a pass"
    ]
    if "ratio" in record:
        judged = verdict(SHAKESPEARE.judge("ratio", record["ratio"]))
        lines.append(
            f"torch.nn: best validation {record['by_hand_validation']:.4f} nats,"
            f" {record['by_hand_pass_s']:.1f} s a pass; its time over ours: {judged}"
        )
    return "\n".join(lines)
