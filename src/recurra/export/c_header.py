"""A network as one C99 header that needs no library but math.h."""

from __future__ import annotations

import re
import zlib
from os import PathLike
from pathlib import Path

from recurra.durable import write_durably
from recurra.errors import ArgumentError, RunError
from recurra.export.c_layers import Layers
from recurra.export.c_maths import functions
from recurra.export.c_text import Collection, comment, file_identifier
from recurra.network import Embedding, Network

HEAD = """\
/* A recurrent network, written by recurra.{licence}

{usage}

   C99 and C++; nothing is allocated, and no library but math.h is used. Compile with -O3.
   Weights: {precision}. The state takes sizeof({name}_state) bytes. */
#ifndef RECURRA_{name}_@SUM@
#define RECURRA_{name}_@SUM@

#include <math.h>
#include <stdint.h>
"""
OPEN = """\
#if defined(__cplusplus)
#define {name}_RESTRICT __restrict
extern "C" {{
#else
#define {name}_RESTRICT restrict
#endif
"""
FEATURES = """\
/* One step: x ({upper}_INPUT_SIZE) to y ({upper}_OUTPUT_SIZE). */
static inline void {name}_step({name}_state* s, const float* x, float* y)
{{
{body}
}}
"""
TOKENS = """\
/* One step: a token, 0 .. {upper}_INPUT_SIZE - 1, to y ({upper}_OUTPUT_SIZE).
   Gives 0; 1 where the token is out of range, and then nothing is changed. */
static inline int {name}_step({name}_state* s, int32_t token, float* y)
{{
    if (token < 0 || token >= {upper}_INPUT_SIZE) return 1;
{body}
    return 0;
}}
"""
CLOSE = """\
#if defined(__cplusplus)
}}
#endif

#undef {name}_RESTRICT
#endif
"""


def to_c(network: Network, name: str = "model") -> str:
    """One self-contained C99 header that runs a network step by step.

        name_state                          a struct, all that the network remembers
        name_init(name_state*)              before the first step
        name_step(name_state*, x, y)        float x[I] to float y[O]; int32_t token to float y[V],
                                            nonzero where it is out of range
        name_reset(name_state*)             where a new sequence begins

    Every function is `static inline`; there is no malloc, no library but math.h, and nothing that
    two threads share but the constant weights. The header compiles as C++ too. `sigmoid`, `tanh`
    and `exp` are its own, within 3 units in the last place.

    Args:
        network: the network; its matrices are written in the precision in which it holds them,
            those that layers share once.
        name: a C identifier that begins with a letter; the name of everything in the header begins
            with it.

    Returns:
        The header's text, ASCII.

    Raises:
        ArgumentError: `name` is no such identifier, or a weight is not finite; names it.

    >>> import numpy as np
    >>> from recurra.network import Linear, Matrix
    >>> text = to_c(Network((Linear(Matrix(np.float32([[1.0, 0.5]]))),)), name="sum")
    >>> [line for line in text.splitlines() if line.startswith("static inline void sum_step")]
    ['static inline void sum_step(sum_state* s, const float* x, float* y)']
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise ArgumentError(
            f"name must be a C identifier, got {name!r}; begin with a letter and use letters,"
            " digits and underscores"
        )
    collection = Collection(name, _upright(network))
    layers = Layers(collection)
    body = _body(network, layers)
    upper = name.upper()
    sizes = (
        f"#define {upper}_INPUT_SIZE {network.input_size}\n#define {upper}_OUTPUT_SIZE"
        f" {network.output_size}\n"
    )
    step = (TOKENS if network.reads_tokens else FEATURES).format(
        name=name, upper=upper, body="\n".join(f"    {line}" for line in body)
    )
    brought = [
        OPEN.format(name=name),
        *(text.replace("@", name) for text in functions(collection.used)),
    ]
    parts = [
        _head(network, name),
        sizes,
        *brought,
        *collection.arrays,
        _state(name, layers),
        *layers.functions,
        step,
    ]
    text = "\n".join(
        [part if part.endswith("\n") else f"{part}\n" for part in parts] + [CLOSE.format(name=name)]
    )
    # Two models of one name are then an error of the compiler's; under one guard the second would
    # be passed over in silence.
    return text.replace("@SUM@", f"{zlib.crc32(text.encode()):08x}")


def write_c(network: Network, path: str | PathLike[str], name: str | None = None) -> None:
    """Write `to_c(network, name)` to a file, whole or not at all.

    Args:
        network: as for `to_c`.
        path: where; an older file there is replaced once the new one is complete.
        name: as for `to_c`; after the file if None, so that several headers stand in one program:
            "2 nets.h" gives "model_2_nets".

    Raises:
        ArgumentError: as `to_c`.
        RunError: the file cannot be written.

    >>> import numpy as np, tempfile
    >>> from recurra.network import Linear, Matrix
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_c(Network((Linear(Matrix(np.float32([[1.0, 0.5]]))),)), f"{folder}/sum.h")
    ...     "static inline void sum_step(" in (Path(folder) / "sum.h").read_text()
    True
    """
    text = to_c(network, file_identifier(path) if name is None else name)
    try:
        write_durably(Path(path), lambda beside: beside.write_text(text, encoding="ascii"))
    except OSError as error:
        raise RunError(
            f"path must be a file that can be written, got {str(path)!r} ({error})"
        ) from None


def _upright(network: Network) -> frozenset[int]:
    """The table, if no layer multiplies with it."""
    first, rest = network.layers[0], [id(matrix) for matrix in network.matrices()][1:]
    return (
        frozenset({id(first.weight)} - set(rest)) if isinstance(first, Embedding) else frozenset()
    )


def _body(network: Network, layers: Layers) -> list[str]:
    """The statements of a step; x and y may be the same, so a lone layer writes elsewhere first."""
    source = "token" if network.reads_tokens else "x"
    lone = len(network.layers) == 1 and not isinstance(network.layers[0], Embedding)
    lines = layers.chain(network.layers, "", source, "made" if lone else "y")
    if lone:
        count = network.output_size
        lines = [
            f"float made[{count}];",
            *lines,
            f"for (int j = 0; j < {count}; ++j) y[j] = made[j];",
        ]
    return lines if layers.fields else [*lines, "(void)s;"]


def _head(network: Network, name: str) -> str:
    upper, licence = name.upper(), network.facts.get("licence")
    y = f"y[{upper}_OUTPUT_SIZE]"
    usage = [
        (f"{name}_state state;", "all that it remembers; one for each stream"),
        (f"{name}_init(&state);", "before the first step"),
        (f"float {y};" if network.reads_tokens else f"float x[{upper}_INPUT_SIZE], {y};", ""),
        (
            f"{name}_step(&state, {'token' if network.reads_tokens else 'x'}, y);",
            "y may be x" * (not network.reads_tokens),
        ),
        (f"{name}_reset(&state);", "where a new sequence begins"),
    ]
    widest = max(len(line) for line, why in usage if why)
    lines = "\n".join(f"     {line:<{widest}}    {why}".rstrip() for line, why in usage)
    said = f" Licence: {comment(licence)}." if isinstance(licence, str) else ""
    return HEAD.format(name=name, usage=lines, precision=network.precision, licence=said)


def _state(name: str, layers: Layers) -> str:
    declared = [field.declared for field in layers.fields] or ["int32_t nothing;"]
    first = [field.first for field in layers.fields] or ["s->nothing = 0;"]
    return "\n".join(
        [
            "typedef struct {",
            *(f"    {line}" for line in declared),
            f"}} {name}_state;",
            "",
            "/* Back to the first state. */",
            f"static inline void {name}_reset({name}_state* s)",
            "{",
            *(f"    {line}" for line in first),
            "}",
            "",
            f"static inline void {name}_init({name}_state* s)",
            "{",
            f"    {name}_reset(s);",
            "}",
        ]
    )
