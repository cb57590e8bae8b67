"""What `recurra.train.fit` costs over a bare PyTorch loop with the same layers."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks import bare
from recurra import train
from recurra.bench.memory import resident_mib
from recurra.models import LanguageModel

TESTS = ("tests/train",)


def measure(rounds: int = 7) -> dict[str, Any]:
    """Seconds of a short pass by `fit` and by a bare loop over the same model, in turn; what its
    data cost; its memory.
    """
    letters = torch.randint(65, (64 * 100 * 12 + 1,), generator=torch.Generator().manual_seed(0))
    corpus = train.from_text("".join(chr(48 + int(i)) for i in letters), validation=0.02)
    recipe = train.Recipe(epochs=1, window=100, batch=64, lr=1e-3)
    streams = train.contiguous(corpus.train.tokens, recipe.batch)
    fitted, plain = [], []
    for _ in range(rounds + 1):
        model = _model(len(corpus.vocabulary))
        fitted.append(_pass_of_fit(model, corpus, recipe))
        model = _model(len(corpus.vocabulary))
        optimizer = torch.optim.Adam(model.parameters(), lr=recipe.lr, fused=True)
        began = time.perf_counter()
        bare.one_pass(model, streams.x, streams.y, recipe.window, optimizer)
        plain.append(time.perf_counter() - began)
    ratios = [a / b for a, b in zip(fitted[1:], plain[1:])]
    step_s = statistics.median(plain[1:]) / train.count_chunks(
        streams.steps, recipe.window, recipe.window
    )
    return {
        "fit_s": statistics.median(fitted[1:]),
        "bare_s": statistics.median(plain[1:]),
        "ratio": statistics.median(ratios),
        "data_share": _data_s(corpus, recipe) / step_s,
        "grown_mib": _growth(corpus),
    }


def _data_s(corpus: train.Corpus, recipe: train.Recipe) -> float:
    """The median seconds of cutting a chunk out of a file of tokens."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "text.txt"
        path.write_text(corpus.vocabulary.decode(corpus.train.tokens))
        mapped = train.from_files(path, cache=folder, show=False)
        streams, times = (
            train.TokenStreams(mapped.train.tokens, recipe.batch, mapped.train.starts),
            [],
        )
        for cut in [*train.cuts(streams.steps, recipe.window)] * 5:
            began = time.perf_counter()
            assert streams.chunk(cut).tokens
            times.append(time.perf_counter() - began)
    return statistics.median(times)


def _growth(corpus: train.Corpus) -> float:
    """MiB by which the process grew from the end of the second pass to that of the twelfth, of a
    run that is written to disk.
    """
    sizes: list[float] = []

    class Passes:
        def on_validation(self, course: Any, row: dict[str, Any]) -> None:
            sizes.append(resident_mib() or 0.0)

    recipe = train.Recipe(epochs=12, window=20, batch=64)
    model = LanguageModel(len(corpus.vocabulary), embed=16, hidden=16, dropout=0.2)
    with TemporaryDirectory() as folder:
        train.fit(model, corpus, recipe, Path(folder) / "run", show=False, callbacks=[Passes()])
    return sizes[-1] - sizes[1]


class Moments:
    """When each chunk ended, and its row."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, dict[str, Any]]] = []

    def on_chunk(self, course: Any, row: dict[str, Any], chunk: Any) -> None:
        """Take the time."""
        self.seen.append((time.perf_counter(), row))


def _pass_of_fit(model: LanguageModel, corpus: train.Corpus, recipe: train.Recipe) -> float:
    """From before the first chunk to after the last, in a run that is written to disk; validation
    is not part of a pass.
    """
    moments = Moments()
    with TemporaryDirectory() as folder:
        train.fit(model, corpus, recipe, Path(folder) / "run", show=False, callbacks=[moments])
    first, row = moments.seen[0]
    return moments.seen[-1][0] - first + row["tokens"] / row["tokens_per_s"]


def _model(vocab_size: int) -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel(vocab_size, embed=128, hidden=256, layers=2, dropout=0.2, tied=False)


def text(record: dict[str, Any]) -> str:
    """Three lines."""
    seconds = f"a pass by fit {record['fit_s']:.2f} s, by a bare loop {record['bare_s']:.2f} s"
    return "\n".join(
        [
            f"{seconds}: ratio {record['ratio']:.3f} (at most 1.05 wanted)",
            (
                f"cutting a chunk out of a file of tokens: {record['data_share']:.2%} of a step (at"
                " most 3 % wanted)"
            ),
            f"memory over 10 passes: {record['grown_mib']:.2f} MiB grown",
        ]
    )
