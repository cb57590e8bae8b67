"""python -m examples.spoken_digits.listen MODEL [FILE.wav ...]: print each digit as it is heard,
without PyTorch.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from examples.spoken_digits.features import HOP, RATE
from examples.spoken_digits.listener import Decision, Listener
from examples.spoken_digits.recordings import read_wave
from recurra.errors import DataError, RecurraError
from recurra.runtime import load

Array = npt.NDArray[Any]
EXAMPLE = """example: a microphone
  arecord -q -t raw -f S16_LE -r 8000 | python -m examples.spoken_digits.listen runs/digits.rcr"""


def main(arguments: list[str] | None = None) -> int:
    """Listen to files or to a pipe; 0 when done, 1 where something was wrong."""
    args = _parser().parse_args(arguments)
    try:
        listener = Listener(load(args.model), args.threshold, args.reset_after or None)
        with contextlib.suppress(KeyboardInterrupt):
            if args.files:
                for name in args.files:
                    _file(listener, name)
            else:
                _tell(
                    decision
                    for piece in pieces(sys.stdin.buffer)
                    for decision in listener.push(piece)
                )
        print(cost(listener), file=sys.stderr)
    except RecurraError as error:
        print(f"listen: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # what is still to be written goes nowhere
    return 0


def pieces(stream: BinaryIO) -> Iterator[Array]:
    """Raw 16-bit samples as they come, at most 10 ms at once.

    Args:
        stream: little-endian samples; read no further than the piece that is given.

    Raises:
        DataError: it ends within a sample.
    """
    while data := stream.read(2 * HOP):
        if len(data) % 2:
            raise DataError("standard input must hold 16-bit samples, got half of one at its end")
        yield np.frombuffer(data, "<i2").astype(np.int16)


def cost(listener: Listener) -> str:
    """What a frame has cost: median and what 99 of 100 stay under.

    >>> from recurra.network import Linear, Matrix, Network
    >>> from recurra.runtime import Model
    >>> facts = dict(labels=list("0123456789"), mean=[0.0] * 32, scale=[1.0] * 32)
    >>> cost(
    ...     Listener(Model(Network((Linear(Matrix(np.zeros((11, 32), np.float32))),), facts=facts)))
    ... )
    'no frame was heard'
    """
    if not listener.network_us:
        return "no frame was heard"
    both = (("features", listener.features_us), ("network", listener.network_us))
    each = [
        f"{name} {np.median(us):.0f} us (99 of 100 under {np.quantile(us, 0.99):.0f})"
        for name, us in both
    ]
    return f"a frame of 10 ms took: {', '.join(each)}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m examples.spoken_digits.listen",
        description="Print each digit as it is heard.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", help="the .rcr file that examples.spoken_digits.train wrote")
    parser.add_argument(
        "files",
        nargs="*",
        default=[],
        metavar="FILE.wav",
        help=f"16 bit, mono, {RATE} a second; without one, raw samples from a pipe",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=0.9,
        help="probability from which a digit is decided (%(default)s)",
    )
    what = "seconds of nothing said after which the state begins anew; 0 keeps it (%(default)s)"
    parser.add_argument("--reset-after", type=float, default=0.5, metavar="S", help=what)
    return parser


def _file(listener: Listener, name: str) -> None:
    """Listen to a file, and to 300 ms of silence after it; a file begins anew."""
    samples = read_wave(name, name)
    end = len(samples) / RATE
    heard = np.concatenate([samples, np.zeros(3 * RATE // 10, np.int16)])
    listener.reset()
    found = []
    for at in range(0, len(heard), HOP):
        found += listener.push(heard[at : at + HOP])
    print(f"{Path(name).name}, {end:.2f} s:" + ("" if found else " nothing decided"))
    _tell(found, end)


def _tell(decisions: Iterable[Decision], end: float | None = None) -> None:
    for time_s, label, probability in decisions:
        place = (
            ""
            if end is None
            else (
                f"  {abs(end - time_s) * 1000:.0f} ms {'before' if time_s <= end else 'after'}"
                " the end"
            )
        )
        print(f"{time_s:9.2f} s  {label:<6} {probability:.2f}{place}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
