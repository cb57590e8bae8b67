"""python -m examples.spoken_digits.train: learn the digits, and write the model that `listen` and
`evaluate` take.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import recurra
from examples.spoken_digits.evaluate import accuracy, logits, report, tested
from examples.spoken_digits.features import LogMel
from examples.spoken_digits.recogniser import Fitted, at_end, fit
from examples.spoken_digits.recordings import TEST_TAKES, VALIDATION_TAKES, Recording, read
from recurra.errors import ArgumentError, RecurraError, RunError, choice_text

LABELS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def parts(
    recordings: Sequence[Recording], left_out: str | None
) -> tuple[list[Recording], list[Recording]]:
    """What is trained on and what chooses the epoch: takes 10 to 49 and 5 to 9, of every speaker
    but the one left out.

    Raises:
        ArgumentError: there is no such speaker.
    """
    speakers = sorted({each.speaker for each in recordings})
    if left_out is not None and left_out not in speakers:
        raise ArgumentError(choice_text("--leave-out", left_out, speakers))
    kept = [each for each in recordings if each.take not in TEST_TAKES and each.speaker != left_out]
    return [each for each in kept if each.take not in VALIDATION_TAKES], [
        each for each in kept if each.take in VALIDATION_TAKES
    ]


def export(fitted: Fitted, path: Path, left_out: str | None = None) -> None:
    """Write the network, with what else a listener needs among its facts: labels, mean and scale of
    the features.
    """
    facts = {
        "labels": LABELS,
        "mean": fitted.mean.tolist(),
        "scale": fitted.scale.tolist(),
        "left_out": left_out,
        "epoch": fitted.epoch,
        "validation_accuracy": round(fitted.accuracy, 4),
        "trained_on": "Free Spoken Digit Dataset, CC BY-SA 4.0",
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"--out must be where a file can be written, got {path} ({error.strerror})"
        ) from None
    recurra.export.to_rcr(fitted.model, path, facts=facts)


def compare(fitted: Fitted, model: recurra.runtime.Model, recordings: Sequence[Recording]) -> str:
    """Whether PyTorch and the runtime say the same at the end of each recording, counted."""
    frames = [LogMel(fitted.mean, fitted.scale).push(each.samples) for each in recordings]
    ours = np.stack([found[-1] for found in logits(model, recordings)])
    theirs = at_end(fitted.model, frames)
    same = int((ours[:, :10].argmax(1) == theirs[:, :10].argmax(1)).sum())
    return (
        f"PyTorch and the runtime: {same} of {len(ours)} predictions the same, logits within"
        f" {abs(ours - theirs).max():.0e}"
    )


def one(
    recordings: Sequence[Recording], options: dict[str, Any], out: Path, left_out: str | None
) -> None:
    """Train one model, write it, and print what it does on its test."""
    began = time.perf_counter()
    fitted = fit(*parts(recordings, left_out), **options)
    export(fitted, out, left_out)
    print(f"{out}: epoch {fitted.epoch}, after {time.perf_counter() - began:.0f} s")
    model, test = recurra.runtime.load(out), tested(recordings, left_out)
    print(compare(fitted, model, test))
    print(report(model, test))


def each_speaker(recordings: Sequence[Recording], options: dict[str, Any], out: Path) -> None:
    """Leave each speaker out in turn; print the accuracy on all that this speaker said."""
    found = []
    for speaker in sorted({each.speaker for each in recordings}):
        fitted = fit(*parts(recordings, speaker), say=lambda line: None, **options)
        path = out.with_stem(f"{out.stem}-without-{speaker}")
        export(fitted, path, speaker)
        test = tested(recordings, speaker)
        found.append(accuracy(logits(recurra.runtime.load(path), test), test))
        print(
            f"{speaker:<10} {found[-1]:.1%} of {len(test)} (validation, other speakers:"
            f" {fitted.accuracy:.1%})",
            flush=True,
        )
    print(f"{'mean':<10} {np.mean(found):.1%}")


def main(arguments: list[str] | None = None) -> int:
    """Train as asked; 0 when done, 1 where something was wrong."""
    args = _parser().parse_args(arguments)
    torch.set_num_threads(args.threads)
    options = {name: getattr(args, name) for name in ("hidden", "epochs", "batch", "lr", "seed")}
    try:
        for name in ("hidden", "epochs", "batch", "threads"):
            if getattr(args, name) < 1:
                raise ArgumentError(f"--{name} must be at least 1, got {getattr(args, name)}")
        if not args.lr > 0:
            raise ArgumentError(f"--lr must be positive, got {args.lr}")
        recordings = read()
        if args.each_speaker:
            each_speaker(recordings, options, args.out)
        else:
            one(recordings, options, args.out, args.leave_out)
    except RecurraError as error:
        print(f"train: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("train: interrupted; nothing was written", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m examples.spoken_digits.train",
        description="Train on the Free Spoken Digit Dataset.",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/digits.rcr"),
        metavar="FILE.rcr",
        help="where (%(default)s)",
    )
    parser.add_argument(
        "--hidden", type=int, default=96, help="units of each of the two layers (%(default)s)"
    )
    parser.add_argument(
        "--epochs", type=int, default=32, help="how often every recording is heard (%(default)s)"
    )
    parser.add_argument(
        "--batch", type=int, default=12, help="streams in a step of Adam (%(default)s)"
    )
    parser.add_argument(
        "--lr", type=float, default=2e-3, help="the first learning rate (%(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of weights, dropout and streams (%(default)s)"
    )
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch (%(default)s)")
    whom = parser.add_mutually_exclusive_group()
    whom.add_argument(
        "--leave-out",
        metavar="SPEAKER",
        help="train without this speaker, and test on all that this speaker said",
    )
    whom.add_argument(
        "--each-speaker", action="store_true", help="leave out each of the six in turn"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
