"""C headers compiled into one program, which runs any of them on rows that come by its standard
input.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recurra.export import to_c
from recurra.network import Loop, Network

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O2")
RUN = """
static int run_{name}(int steps, int streams, int in_place)
{{
    {name}_state* s = ({name}_state*)malloc((size_t)streams * sizeof({name}_state));
    float* y = (float*)malloc({most} * sizeof(float));
    {kind}* x = in_place ? ({kind}*)(void*)y : ({kind}*)malloc({size} * sizeof({kind}));
    int bad = 0, reset;
    for (int b = 0; b < streams; ++b) {name}_init(s + b);
    for (int t = 0; t < steps; ++t)
        for (int b = 0; b < streams; ++b) {{
            bad |= fread(&reset, sizeof reset, 1, stdin) != 1;
            if (reset) {name}_reset(s + b);
            for (int j = 0; j < {most}; ++j) y[j] = (float)NAN;
            bad |= fread(x, sizeof({kind}), {size}, stdin) != {size};
            {step}
            fwrite(y, sizeof(float), {upper}_OUTPUT_SIZE, stdout);
        }}
    if (!in_place) free(x);
    free(y);
    free(s);
    return bad;
}}
"""
MAIN = """
int main(void)
{{
    int32_t said[4];
    if (fread(said, sizeof said, 1, stdin) != 1) return 2;
    switch (said[0]) {{
{cases}
    }}
    return 3;
}}
"""
Rows = np.ndarray[Any, np.dtype[Any]]


def source(names: list[str], networks: list[Network]) -> str:
    """The program's text."""
    parts = [
        "#include <stdio.h>\n#include <stdlib.h>\n",
        *(f'#include "{name}.h"\n' for name in names),
    ]
    for name, network in zip(names, networks):
        tokens, upper = network.reads_tokens, name.upper()
        size, kind = (1, "int32_t") if tokens else (network.input_size, "float")
        step = (
            f"if ({name}_step(s + b, *x, y)) y[0] = (float)NAN;"
            if tokens
            else f"{name}_step(s + b, x, y);"
        )
        parts.append(
            RUN.format(
                name=name,
                kind=kind,
                size=size,
                most=max(size, network.output_size),
                step=step,
                upper=upper,
            )
        )
    cases = "\n".join(
        f"    case {i}: return run_{name}(said[1], said[2], said[3]);"
        for i, name in enumerate(names)
    )
    return "".join([*parts, MAIN.format(cases=cases)])


class Compiled:
    """Networks as one program.

    Args:
        networks: by a name for the reader.
        folder: where its files go.
        compiler: the test is skipped where it is not there.
        flags: for it.
    """

    def __init__(
        self,
        networks: dict[str, Network],
        folder: Path,
        compiler: str,
        flags: tuple[str, ...] = STRICT,
    ) -> None:
        if shutil.which(compiler) is None:
            pytest.skip(f"{compiler} is not installed")
        self.networks = networks
        self.numbers = {name: number for number, name in enumerate(networks)}
        names = [f"net{number}" for number in self.numbers.values()]
        for name, network in zip(names, networks.values()):
            (folder / f"{name}.h").write_text(to_c(network, name))
        main = folder / ("main.cpp" if "++" in compiler else "main.c")
        main.write_text(source(names, list(networks.values())))
        self.program = folder / f"main_{compiler}"
        done = subprocess.run(
            [compiler, *flags, str(main), "-o", str(self.program), "-lm"],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[:3000]

    def run(self, name: str, x: Rows, resets: Rows | None = None, in_place: bool = False) -> Rows:
        """Features (T, B, I) or tokens (T, B) to (T, B, O); each row has a state of its own, reset
        before the steps said.
        """
        steps, streams = x.shape[:2]
        network = self.networks[name]
        kept = np.ascontiguousarray(x, np.int32 if network.reads_tokens else np.float32).reshape(
            steps, streams, -1
        )
        flags = (
            np.zeros((steps, streams, 1), np.int32)
            if resets is None
            else resets[..., None].astype(np.int32)
        )
        sent = np.concatenate([flags, kept.view(np.int32)], 2)
        head = np.int32([self.numbers[name], steps, streams, in_place])
        done = subprocess.run(
            [str(self.program)],
            input=head.tobytes() + sent.tobytes(),
            capture_output=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr.decode()[:3000]
        return np.frombuffer(done.stdout, np.float32).reshape(steps, streams, network.output_size)


def looped(network: Network, x: Rows, resets: Rows | None = None, dtype: str = "float64") -> Rows:
    """The same by the loop."""
    loop, made = Loop(network, x.shape[1], dtype), []
    for step, rows in enumerate(x):
        if resets is not None:
            loop.reset(resets[step].astype(bool))
        made.append(loop.push(rows).copy())
    return np.stack(made)
