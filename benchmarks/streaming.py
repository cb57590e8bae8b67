"""A streamed step against ONNX Runtime and torch.nn, called from Python on one thread; and what
bounds it.
"""

from __future__ import annotations

import gc
import os
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from benchmarks.onnx_peer import onnx_step
from recurra import native
from recurra.cells import GRU, LSTM
from recurra.kernels.pool import pool
from recurra.network import Loop, Matrix, Network, Recurrent
from recurra.program import trace
from recurra.program.evaluation import forward_only
from recurra.runtime import Model

TESTS = ("tests/runtime", "tests/network")
SHAPES = ((16, 32, 1), (40, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2), (256, 1024, 1))
"""I, H and layers: those of the plan."""
GATES = {"lstm": 4, "gru": 3}
CELLS = {"lstm": (nn.LSTM, LSTM()), "gru": (nn.GRU, GRU())}
BLOCK, TURN_S, SPAN_S = 50, 0.005, 1.0
"""Calls, or seconds, of one way before the next has its turn, and seconds for all turns of a row.
Turns are short, since what else runs on the machine comes and goes within a second.
"""
GAUGE_S = 0.01
"""Seconds in which a limit of the machine is measured."""


class Timed(NamedTuple):
    """Microseconds of a call: the median, and what 99 of 100 stay under."""

    median: float
    p99: float


def by_turns(ways: dict[str, Callable[[], object]], span_s: float = SPAN_S) -> dict[str, Timed]:
    """Time single calls, blocks of one way after blocks of another until the time is up."""
    times: dict[str, list[float]] = {}
    began = time.perf_counter()
    while not times or time.perf_counter() - began < span_s:
        for name, way in ways.items():
            for _ in range(3):
                way()
            turn = time.perf_counter()
            for _ in range(BLOCK):
                start = time.perf_counter()
                way()
                end = time.perf_counter()
                times.setdefault(name, []).append(end - start)
                if end - turn > TURN_S:
                    break
    return {
        name: Timed(statistics.median(each) * 1e6, float(np.quantile(each, 0.99)) * 1e6)
        for name, each in times.items()
    }


class Used(NamedTuple):
    """Microseconds of a call, what it does a second, and what the machine could, in 1e9; medians,
    the share that of each round.
    """

    us: float
    does: float
    could: float
    share: float


def against(
    limit: Callable[[float], float], way: Callable[[], object], work: float, span_s: float = SPAN_S
) -> Used:
    """A call's work against the machine's limit, measured for some seconds right before and after
    every block of calls.
    """
    rounds = []
    began, before = time.perf_counter(), limit(GAUGE_S)
    while time.perf_counter() - began < span_s:
        us = by_turns({"": way}, 0.0)[""].median
        after = limit(GAUGE_S)
        does, could = work / us / 1e3, (before + after) / 2
        rounds.append(Used(us, does, could, does / could))
        before = after
    return Used(*(statistics.median(each) for each in zip(*rounds, strict=True)))


def network_of(layer: Any, cell: Any) -> Network:
    """The network of a torch.nn.LSTM or GRU."""
    program = forward_only(trace(cell))
    layers = []
    for number in range(layer.num_layers):
        named = {
            name: getattr(layer, f"{name}_l{number}").detach().numpy()
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        }
        matrices = {name: Matrix(array) for name, array in named.items() if array.ndim == 2}
        layers.append(
            Recurrent(
                program, matrices, {name: array for name, array in named.items() if array.ndim == 1}
            )
        )
    return Network(tuple(layers))


def _steps(kind: str, shape: tuple[int, int, int]) -> dict[str, Any]:
    """One row: a step of every way, and how fast the weights are read."""
    width, hidden, count = shape
    make, cell = CELLS[kind]
    theirs = make(width, hidden, count, dtype=torch.float32)
    network = network_of(theirs, cell)
    x = np.random.default_rng(0).standard_normal((1, width)).astype(np.float32)
    ways: dict[str, Callable[[], object]] = {}
    for precision in ("float32", "bfloat16", "int8"):
        ways[precision] = _pushing(Model(network.quantised(precision)).session(1), x)
    ways["onnxruntime"], ways["onnxruntime int8"] = (
        onnx_step(kind, theirs, x),
        onnx_step(kind, theirs, x, int8=True),
    )
    wide = torch.from_numpy(x)[None]
    state: Any = torch.zeros(count, 1, hidden)
    state = (state, state.clone()) if kind == "lstm" else state

    def torch_step() -> None:
        with torch.no_grad():
            theirs(wide, state)

    ways["torch.nn"] = torch_step
    timed = by_turns(ways)
    size = int(network.nbytes)
    used = against(lambda seconds: native.bandwidth(size, seconds), ways["float32"], size)
    return {
        "cell": kind,
        "I": width,
        "H": hidden,
        "layers": count,
        "us": {name: each._asdict() for name, each in timed.items()},
        "bytes": size,
        "read": used._asdict(),
    }


def _pushing(session: Any, x: Any) -> Callable[[], object]:
    return lambda: session.push(x)


def _chunk(kind: str, hidden: int) -> dict[str, Any]:
    """What 64 known inputs gain over as many steps, of what there is to gain; and what the core's
    multiplications leave of that.
    """
    theirs = CELLS[kind][0](hidden // 2, hidden, 2, dtype=torch.float32)
    model = Model(network_of(theirs, CELLS[kind][1]))
    x = np.random.default_rng(0).standard_normal((64, 1, hidden // 2)).astype(np.float32)
    steps, whole, gains, peaks, us = model.session(1), model.session(1), [], [], []
    began = time.perf_counter()
    while time.perf_counter() - began < 2 * SPAN_S:
        start = time.perf_counter()
        for each in x:
            steps.push(each)
        middle = time.perf_counter()
        whole.push(x)
        gains.append((middle - start) / (time.perf_counter() - middle))
        us.append((middle - start) / len(x) * 1e6)
        peaks.append(native.fma_peak(GAUGE_S, (*pool()[:3], 1)))
    gain, there = statistics.median(gains), (1.5 * hidden + 2 * hidden) / (hidden + hidden)
    known = 2 * 1.5 * hidden * GATES[kind] * hidden
    left = 1 / (1 / there + known / (statistics.median(peaks) * 1e3 * statistics.median(us)))
    return {
        "cell": kind,
        "H": hidden,
        "gain": gain,
        "there": there,
        "share": gain / there,
        "left": left,
    }


def _rows(kind: str, hidden: int, rows: int = 256) -> dict[str, Any]:
    """Many rows at once, against the peak of one core."""
    theirs = CELLS[kind][0](hidden, hidden, 1, dtype=torch.float32)
    session = Model(network_of(theirs, CELLS[kind][1])).session(rows)
    x = np.random.default_rng(0).standard_normal((rows, hidden)).astype(np.float32)
    work = 2 * rows * GATES[kind] * hidden * 2 * hidden
    used = against(
        lambda seconds: native.fma_peak(seconds, (*pool()[:3], 1)), _pushing(session, x), work
    )
    return {"cell": kind, "H": hidden, "rows": rows, **used._asdict()}


def _threads(hidden: int = 256, steps: int = 2000, rounds: int = 41) -> dict[str, Any]:
    """Steps a second of two sessions in two threads, against one."""
    model = Model(network_of(nn.LSTM(hidden, hidden, 1, dtype=torch.float32), LSTM()))
    x = np.random.default_rng(0).standard_normal((1, hidden)).astype(np.float32)
    sessions = [model.session(1) for _ in range(2)]

    def run(session: Any) -> None:
        for _ in range(steps):
            session.push(x)

    def timed(some: list[Any]) -> float:
        threads = [threading.Thread(target=run, args=(each,)) for each in some]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - began

    ratios = [2 * timed(sessions[:1]) / timed(sessions) for _ in range(rounds)]
    return {"H": hidden, "ratios": sorted(ratios), "median": statistics.median(ratios)}


def _long(steps: int = 10_000_000, compared: int = 1_000_000, hidden: int = 16) -> dict[str, Any]:
    """Memory that many steps take, and how far the state is from the loop's after some of them."""
    network = network_of(nn.LSTM(4, hidden, 1, dtype=torch.float32), LSTM())
    x = np.random.default_rng(0).standard_normal((1000, 1, 4)).astype(np.float32)
    session, loops = (
        Model(network).session(1),
        [Loop(network, 1, dtype) for dtype in ("float64", "float32")],
    )
    largest = [0.0, 0.0]
    for number in range(compared):
        y, exact, single = (
            session.push(x[number % 1000]),
            *(loop.push(x[number % 1000]) for loop in loops),
        )
        largest[0], largest[1] = (
            max(largest[0], float(abs(y - exact).max())),
            max(largest[1], float(abs(single - exact).max())),
        )
    gc.collect()
    before = resident()
    for _ in range(steps // 1000):
        for step in x:
            session.push(step)
    bound = 2 * largest[1] + 16 * float(np.finfo(np.float32).eps)
    return {
        "steps": steps,
        "grown_mib": (resident() - before) / 2**20,
        "compared": compared,
        "difference": largest[0],
        "bound": bound,
    }


def resident() -> int:
    """Bytes of memory that this process has."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure() -> dict[str, Any]:
    """All of it, on one thread of torch."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return {
            "steps": [_steps(kind, shape) for kind in CELLS for shape in SHAPES],
            "chunks": [_chunk(kind, hidden) for kind in CELLS for hidden in (256, 512)],
            "rows": [_rows(kind, hidden) for kind in CELLS for hidden in (128, 256, 512)],
            "threads": _threads(),
            "long": _long(),
        }
    finally:
        torch.set_num_threads(before)


def text(found: dict[str, Any]) -> str:
    """A line for each row."""
    names = list(found["steps"][0]["us"])
    lines = [
        "microseconds a step, median (99th percentile); then ONNX Runtime's float32 over each, and"
        " int8 over ours in int8"
    ]
    lines.append(f"{'cell':<5}{'I':>4}{'H':>5}{'L':>2}" + "".join(f"{name:>19}" for name in names))
    for row in found["steps"]:
        us = row["us"]
        cells = "".join(f"{us[name]['median']:>10.1f} ({us[name]['p99']:>6.1f})" for name in names)
        lines.append(f"{row['cell']:<5}{row['I']:>4}{row['H']:>5}{row['layers']:>2}{cells}")
    lines.append("")
    lines += [_ratios(row) for row in found["steps"]]
    for row in found["chunks"]:
        there = f"{row['gain']:.2f} of {row['there']:.2f} times, {row['share']:.0%}"
        left = f"{row['left']:.2f} if products ran at the peak and steps found no more in the cache"
        lines.append(f"{row['cell']} H={row['H']}: 64 known inputs gain {there}; {left}")
    for row in found["rows"]:
        speed = f"{row['does']:.0f} of {row['could']:.0f} GFLOP/s, {row['share']:.0%}"
        lines.append(f"{row['cell']} H={row['H']}: {row['rows']} rows at {speed}")
    lines.append(f"two sessions in two threads: {found['threads']['median']:.2f} times one")
    long = found["long"]
    lines.append(f"{long['steps']:,} steps: {long['grown_mib']:.2f} MiB grown")
    lines.append(
        f"{long['compared']:,} steps: {long['difference']:.1e} from the float64 loop at most,"
        f" {long['bound']:.1e} allowed"
    )
    return "\n".join(lines)


def _ratios(row: dict[str, Any]) -> str:
    us = {name: each["median"] for name, each in row["us"].items()}
    ratios = ", ".join(
        f"{name} {us['onnxruntime'] / us[name]:.1f}" for name in ("float32", "bfloat16", "int8")
    )
    peers = (
        f"int8 against int8 {us['onnxruntime int8'] / us['int8']:.1f}; torch.nn"
        f" {us['torch.nn'] / us['float32']:.1f}"
    )
    read = (
        f"reads {row['read']['does']:.0f} of {row['read']['could']:.0f} GB/s,"
        f" {row['read']['share']:.0%}"
    )
    return f"{row['cell']} {row['I']}, {row['H']}, {row['layers']}: {ratios}; {peers}; {read}"
