"""A streamed step of C headers, timed within a C program, at the shapes for which RTNeural
published its LSTM.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.streaming import network_of
from recurra.cells import LSTM
from recurra.export import write_c
from recurra.network import Network

TESTS = ("tests/export/test_c_header.py",)
PUBLISHED_US = {32: 0.88, 64: 3.2}
"""Microseconds of a step at I = H, of https://github.com/jatinchowdhury18/RTNeural (its own
machine).
"""
FLAGS = {"-O3": ("-O3",), "-O3 -march=native": ("-O3", "-march=native")}
BLOCKS, STEPS = 21, 20_000
"""Blocks whose median counts, and steps of each."""
PROGRAM = """
#define _POSIX_C_SOURCE 199309L
#include <stdio.h>
#include <time.h>
#include "model.h"
int main(void)
{
    static model_state state;
    static float x[MODEL_INPUT_SIZE], y[MODEL_OUTPUT_SIZE];
    float used = 0.0f;
    struct timespec from, to;
    model_init(&state);
    for (int block = 0; block <= BLOCKS; ++block) {
        clock_gettime(CLOCK_MONOTONIC, &from);
        for (int step = 0; step < STEPS; ++step) {
            x[step % MODEL_INPUT_SIZE] = (float)(step % 17) * 0.1f - 0.8f;
            model_step(&state, x, y);
            used += y[0];
        }
        clock_gettime(CLOCK_MONOTONIC, &to);
        double us = (double)(to.tv_sec - from.tv_sec) * 1e6;
        us += (double)(to.tv_nsec - from.tv_nsec) * 1e-3;
        if (block) printf("%.6f\\n", us / STEPS);
    }
    return used != used;
}
"""


def measure() -> list[dict[str, Any]]:
    """Microseconds of a step for each size, precision and way to compile; none without a C
    compiler.
    """
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return []
    rows = []
    for hidden in PUBLISHED_US:
        network = network_of(nn.LSTM(hidden, hidden, 1, dtype=torch.float32), LSTM())
        for precision in ("float32", "int8"):
            us = {
                name: _timed(network.quantised(precision), compiler, flags)
                for name, flags in FLAGS.items()
            }
            rows.append(
                {
                    "cell": "lstm",
                    "I": hidden,
                    "H": hidden,
                    "precision": precision,
                    "us": us,
                    "published_us": PUBLISHED_US[hidden],
                }
            )
    return rows


def _timed(network: Network, compiler: str, flags: tuple[str, ...]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        write_c(network, Path(folder) / "model.h", "model")
        (Path(folder) / "main.c").write_text(PROGRAM)
        subprocess.run(
            [
                compiler,
                "-std=c99",
                *flags,
                f"-DBLOCKS={BLOCKS}",
                f"-DSTEPS={STEPS}",
                "main.c",
                "-o",
                "main",
                "-lm",
            ],
            cwd=folder,
            check=True,
        )
        return statistics.median(
            map(float, subprocess.check_output([str(Path(folder) / "main")], text=True).split())
        )


def text(found: list[dict[str, Any]]) -> str:
    """A line for each row."""
    if not found:
        return "no C compiler is here: cc, gcc or clang"
    lines = ["microseconds a step, median of blocks"]
    for row in found:
        us = ", ".join(f"{value:.2f} with {name}" for name, value in row["us"].items())
        best = row["published_us"] / min(row["us"].values())
        lines.append(
            f"{row['cell']} I = H = {row['H']}, {row['precision']}: {us}; RTNeural published"
            f" {row['published_us']}, {best:.1f} times this"
        )
    return "\n".join(lines)
