"""The contract, past the layers: the runtime in each precision, graphs of ONNX and torch.export,
and the C header as compiled.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from recurra.errors import MissingDependency
from recurra.network import PRECISIONS, Loop, Network
from recurra.parity.paths import Row
from recurra.runtime import Model

Array = npt.NDArray[Any]
COMPILERS = ("cc", "gcc", "clang")
CHUNK = 7
PROGRAM = """
#include <stdio.h>
#include "model.h"
int main(void)
{
    static %(state)s
    static float y[MODEL_OUTPUT_SIZE];
    static %(type)s x[%(count)s];
    %(init)s
    while (fread(x, sizeof x, 1, stdin) == 1) {
        %(step)s
        if (fwrite(y, sizeof y, 1, stdout) != 1) return 1;
    }
    return 0;
}
"""


def verify_exports(network: Network, x: Array, tell: Callable[[str], object] = str) -> list[Row]:
    """Run a network along every exported path and compare each with the plain loop in float64.

        |path - f64| <= 2 max |loop32 - f64| + 16 eps max(1, |f64|max)

    A quantised path is held to the loop on the weights that it stands for; what quantising costs is
    another question.

    Args:
        network: from `recurra.export.network_of`, float32.
        x: features (T, B, I) or tokens (T, B).
        tell: called with the name of each path before it is run.

    Returns:
        A row for each path; one that this machine cannot run says why.
    """
    rows = []
    for precision in PRECISIONS:
        kept = network.quantised(precision)
        exact, bound = reference(kept, x)
        for path, run in _paths(kept):
            tell(f"{path}, {precision}")
            try:
                rows.append(Row(f"{path}, {precision}", largest(run(x), exact), bound, len(x)))
            except _NotHere as reason:
                rows.append(Row(f"{path}, {precision}", 0.0, None, 0, str(reason)))
    return rows


class _NotHere(Exception):
    """A path needs what this machine does not have."""


def _paths(network: Network) -> Iterator[tuple[str, Callable[[Array], Array]]]:
    yield "runtime, steps", lambda x: _steps(network, x)
    yield f"runtime, chunks of {CHUNK}", lambda x: _chunks(network, x)
    yield "ONNX step", lambda x: _onnx(network, x, "step")
    yield "ONNX sequence", lambda x: _onnx(network, x, "sequence")
    yield "C header", lambda x: _c(network, x)
    if network.precision == PRECISIONS[0]:  # torch takes seconds for each
        yield "torch.export step", lambda x: _torch(network, x, "step")
        yield "torch.export sequence", lambda x: _torch(network, x, "sequence")


def reference(network: Network, x: Array) -> tuple[Array, float]:
    """What the loop gives in float64, and how far from it a path may be."""
    exact, single = Loop(network, x.shape[1]).run(x), Loop(network, x.shape[1], "float32").run(x)
    return exact, 2 * largest(single, exact) + 16 * float(np.finfo(np.float32).eps) * max(
        1.0, float(np.abs(exact).max())
    )


def largest(path: Array, exact: Array) -> float:
    """The largest difference; infinite where one side is not a number."""
    found = float(np.abs(path - exact).max())
    return found if found == found else float("inf")


def _steps(network: Network, x: Array) -> Array:
    session = Model(network).session(x.shape[1])
    return np.stack([session.push(step) for step in x])


def _chunks(network: Network, x: Array) -> Array:
    session = Model(network).session(x.shape[1])
    return np.concatenate(
        [session.push(x[start : start + CHUNK]) for start in range(0, len(x), CHUNK)]
    )


def _onnx(network: Network, x: Array, kind: str) -> Array:
    from recurra.export import initial_states, to_onnx

    try:
        import onnxruntime

        model = to_onnx(network, kind=kind)
    except (ImportError, MissingDependency):
        raise _NotHere("needs onnx and onnxruntime: pip install onnx onnxruntime") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    state = initial_states(network, x.shape[1])
    if kind == "sequence":
        y: Array = session.run(["y"], {"x": x, **state})[0]
        return y
    outputs = []
    for step in x:
        y, *after = session.run(["y", *(f"{name}_out" for name in state)], {"x": step, **state})
        state = dict(zip(state, after))
        outputs.append(y)
    return np.stack(outputs)


def _torch(network: Network, x: Array, kind: str) -> Array:
    from recurra.export import initial_states, to_pt2

    try:
        run = to_pt2(network, kind=kind).module()
    except MissingDependency as error:
        raise _NotHere(str(error)) from None
    import torch

    state = [torch.from_numpy(first) for first in initial_states(network, x.shape[1]).values()]
    if kind == "sequence":
        return np.asarray(run(torch.from_numpy(x), *state)[0])
    outputs = []
    for step in torch.from_numpy(x):
        y, *state = run(step, *state)
        outputs.append(np.asarray(y))
    return np.stack(outputs)


def _c(network: Network, x: Array) -> Array:
    from recurra.export import write_c

    compiler = next((found for name in COMPILERS if (found := shutil.which(name))), None)
    if compiler is None:
        raise _NotHere("needs a C compiler: cc, gcc or clang")
    with tempfile.TemporaryDirectory() as folder:
        write_c(network, Path(folder) / "model.h", "model")
        tokens = network.reads_tokens
        names = dict(
            state="model_state s;",
            type="int32_t" if tokens else "float",
            count="1" if tokens else "MODEL_INPUT_SIZE",
            init="model_init(&s);",
            step="if (model_step(&s, x[0], y)) return 2;" if tokens else "model_step(&s, x, y);",
        )
        (Path(folder) / "main.c").write_text(PROGRAM % names)
        built = [compiler, "-std=c99", "-O2", "main.c", "-o", "main", "-lm"]
        done = subprocess.run(built, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise _NotHere(
                f"{compiler} failed:"
                f" {done.stderr.splitlines()[0] if done.stderr else done.returncode}"
            )
        outputs = []
        for row in range(x.shape[1]):
            given = np.ascontiguousarray(x[:, row], np.int32 if tokens else np.float32).tobytes()
            ran = subprocess.run(
                [str(Path(folder) / "main")], input=given, capture_output=True, check=False
            )
            made = np.frombuffer(ran.stdout, np.float32)
            whole = ran.returncode == 0 and made.size == len(x) * network.output_size
            outputs.append(
                made.reshape(len(x), -1)
                if whole
                else np.full((len(x), network.output_size), np.nan, np.float32)
            )
    return np.stack(outputs, 1)
