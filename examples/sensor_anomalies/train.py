"""python -m examples.sensor_anomalies.train --out DIR [FILE.csv ...]: a small forecaster for each
stream, from its first 15 %.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import recurra
from examples.sensor_anomalies.features import LEAST_SCALE, WIDTH, features, standard, units
from examples.sensor_anomalies.streams import Stream, names, read, read_csv

HIDDEN, PASSES, WINDOW = 32, 30, 64
LEAST_ROWS = 20


class Forecaster(nn.Module):
    """A GRU and a line: the mean of the next value, in the stream's units."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.out = recurra.GRU(WIDTH, HIDDEN), nn.Linear(HIDDEN, 1)

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """(T, B, 4) to (T, B, 1), and the state to go on from."""
        h, state = self.gru(x, state)
        return self.out(h), state


def arrays(stream: Stream, rows: int) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """Features (rows, 1, 4), values (rows, 1, 1) in the stream's units, and those units, all from
    its first rows.
    """
    unit = units(stream.values[:rows])
    y = [standard(float(value), *unit) for value in stream.values[:rows]]
    x = [
        features(now, before, datetime.fromisoformat(stamp))
        for now, before, stamp in zip(y, y[:1] + y, stream.stamps)
    ]
    return np.array(x, np.float32)[:, None], np.array(y, np.float32)[:, None, None], unit


def fit(stream: Stream, seed: int = 0, passes: int = PASSES) -> tuple[Forecaster, dict[str, Any]]:
    """Truncated BPTT over the probation on -ln of a Laplace density, its mean from the network, its
    scale learned with it.

    The scale b that goes into the file is the one of highest likelihood afterwards, the mean of |y
    - mu|.

    Returns:
        The network, and the facts that a detector needs.
    """
    torch.manual_seed(seed)
    rows = stream.probation
    x, y, (center, width) = arrays(stream, rows)
    inputs, targets = torch.from_numpy(x[:-1]), torch.from_numpy(y[1:])
    model, log_scale = Forecaster().float(), nn.Parameter(torch.zeros((), dtype=torch.float32))
    optimizer = torch.optim.AdamW([*model.parameters(), log_scale], lr=5e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer, passes * -(-len(inputs) // WINDOW)
    )
    for _ in range(passes):
        state = None
        for x_chunk, y_chunk in zip(inputs.split(WINDOW), targets.split(WINDOW)):
            mean, state = model(x_chunk, state)
            state = recurra.state.detach(state)
            scale = log_scale.exp() + LEAST_SCALE
            loss = ((y_chunk - mean).abs() / scale + scale.log()).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        b = max(float((targets - model(inputs)[0]).abs().mean()), LEAST_SCALE)
    return model, {
        "center": center,
        "width": width,
        "scale": b,
        "rest": rows // 2,
        "stream": stream.name,
        "rows": rows,
    }


def streams(files: list[str]) -> Iterator[Stream]:
    """The files, or the benchmark's."""
    yield from (
        (read_csv(Path(file)) for file in files) if files else (read(name) for name in names())
    )


def main(argv: list[str] | None = None) -> None:
    """Train, and write a .rcr file for each stream."""
    parser = argparse.ArgumentParser(
        "examples.sensor_anomalies.train", description="Train a forecaster for each stream."
    )
    parser.add_argument(
        "files",
        nargs="*",
        help="CSV with rows timestamp,value; the 58 files of the benchmark if left out",
    )
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="where the .rcr files go"
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    began, count = time.perf_counter(), 0
    for stream in streams(args.files):
        if stream.probation < LEAST_ROWS:
            sys.exit(
                f"{stream.name} must have at least {LEAST_ROWS} rows in its first 15 %, got"
                f" {stream.probation}"
            )
        model, facts = fit(stream, args.seed)
        path = (args.out / stream.name).with_suffix(".rcr")
        path.parent.mkdir(parents=True, exist_ok=True)
        recurra.export.to_rcr(model, path, facts=facts)
        count += 1
        print(f"{path}: {facts['rows']} rows, scale {facts['scale']:.3f}", flush=True)
    print(f"{count} forecasters in {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
