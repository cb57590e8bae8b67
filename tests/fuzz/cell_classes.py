"""Cells made on the fly, with names, shapes and equations drawn at random: what a layer takes runs
fused as the loop says.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor

import recurra
from recurra.cells import Cell, Phase
from recurra.errors import MethodUnavailable, RecurraError
from recurra.export import to_c
from recurra.network import Loop, Matrix, Network
from recurra.network import Recurrent as NetworkLayer
from recurra.program import from_json, show, to_json, trace
from recurra.program.evaluation import forward_only
from tests.fuzz.mutation import WORDS
from tests.fuzz.shown import check_c, check_terminal

READERS = (
    "names.py",
    "cells/named.py",
    "cells/reads.py",
    "cells/values.py",
    "program/trace.py",
    "program/check.py",
    "kernels/encode.py",
)
COUNT = 60
PLAIN = (
    "h",
    "c",
    "n",
    "f",
    "i",
    "o",
    "g",
    "r",
    "z",
    "k",
    "m",
    "p",
    "q",
    "w",
    "rate",
    "decay",
    "alpha",
)
RESERVED = (
    "a",
    "s",
    "u",
    "v",
    "new",
    "noise",
    "label",
    "values",
    "x",
    "y",
    "state",
    "gates",
    "step",
    "phases",
    "width",
    "params",
    "_fields",
)
C_TEXT = """int float for if static inline restrict register sin expf tanhf INFINITY NAN H B T y
weights model model_state model_step bias_ih gain_ih weight_hr initial_h count __x _ é ж λ Σ 名前
ℌ ſ"""
C_WORDS = (*C_TEXT.split(), "a" * 200)
UNARY = ("tanh", "sigmoid", "relu", "sin", "cos", "exp_neg", "square", "half", "abs")
BINARY = ("add", "mul", "sub", "maximum", "minimum", "div_safe", "where")


def draw_name(draws: Random) -> str:
    """A name: mostly one that a cell may have."""
    kind = draws.randrange(20)
    if kind < 15:
        return draws.choice(PLAIN)
    if kind < 18:
        return draws.choice(C_WORDS)
    return draws.choice(RESERVED if kind == 18 else WORDS)


def forge(draws: Random) -> bytes:
    """The description of a cell as JSON."""
    state = ["h", *(draw_name(draws) for _ in range(draws.choice((0, 0, 1, 1, 2, 3))))]
    if draws.random() < 0.2:
        state[0] = draw_name(draws)
    gates = [draw_name(draws) for _ in range(draws.choice((1, 1, 2, 3, 4, 6)))]
    if draws.random() < 0.8:  # so that most are taken
        state, gates = list(dict.fromkeys(state)), list(dict.fromkeys(gates))
    params = [
        name
        for name in (draw_name(draws) for _ in range(draws.choice((0, 0, 0, 1, 2))))
        if draws.random() < 0.2 or name not in state
    ]
    split = draws.randrange(len(gates) + 1) if draws.random() < 0.3 else 0
    leaves = [["s", name] for name in (*state, *params)] + [
        ["const", draws.choice((0.0, 1.0, -0.5, 2.0, 1e-3))]
    ]
    a = [[draws.choice(("a", "a", "a", "au", "av")), name] for name in gates]
    outputs = {name: _tree(draws, a + leaves, 3) for name in dict.fromkeys((*state, *gates))}
    record = {
        "state": state,
        "gates": gates,
        "params": params,
        "split": split,
        "outputs": outputs,
        "input": draws.choice((1, 2, 3, 5)),
        "hidden": draws.choice((1, 2, 3, 5, 8, 17)),
        "biases": draws.randrange(3),
        "steps": draws.choice((1, 2, 5)),
        "batch": draws.choice((1, 2, 3)),
        "operand": draws.choice((None, None, "mul", "tanh")),
        "learned": draws.random() < 0.3,
    }
    return json.dumps(record).encode()


def _tree(draws: Random, leaves: list[Any], levels: int) -> Any:
    """An expression as nested lists."""
    if levels == 0 or draws.random() < 0.2:
        return draws.choice(leaves)
    if draws.random() < 0.5:
        return [draws.choice(UNARY), _tree(draws, leaves, levels - 1)]
    return [
        draws.choice(BINARY),
        _tree(draws, leaves, levels - 1),
        _tree(draws, leaves, levels - 1),
    ]


def value(tree: Any, a: Any, s: Any) -> Any:
    """An expression's value: bounded, so that steps stay comparable."""
    kind, *parts = tree
    if kind in ("a", "au", "av", "s", "const"):
        if kind == "const":
            return parts[0]
        return getattr({"a": a, "au": a.u, "av": a.v, "s": s}[kind], parts[0])
    given = [value(part, a, s) for part in parts]
    if not any(isinstance(each, Tensor) for each in given):
        return given[0]
    if kind in ("tanh", "sigmoid", "relu", "sin", "cos", "abs"):
        return getattr(torch, kind)(given[0])
    if kind in ("exp_neg", "square", "half"):
        x = torch.sigmoid(given[0])
        return torch.exp(-x) if kind == "exp_neg" else x * x if kind == "square" else 0.5 * given[0]
    x, y = given
    if kind in ("maximum", "minimum", "where"):
        x, y = (
            each if isinstance(each, Tensor) else (x if isinstance(x, Tensor) else y) * 0 + each
            for each in (x, y)
        )
        return (
            torch.where(x > y, torch.tanh(x), y) if kind == "where" else getattr(torch, kind)(x, y)
        )
    if kind == "div_safe":
        return x / (1.5 + torch.sigmoid(y)) if isinstance(y, Tensor) else x / 1.5
    return x + y if kind == "add" else torch.tanh(x * y) if kind == "mul" else x - y


def make(record: dict[str, Any]) -> Cell:
    """A cell of a description: a new class, as a person would write it."""
    outputs, split, gates = record["outputs"], record["split"], tuple(record["gates"])

    def equations(names: list[str]) -> Any:
        def pointwise(a: Any, s: Any) -> dict[str, Any]:
            given = {name: value(outputs[name], a, s) for name in names}
            like = getattr(s, record["state"][0])
            return {
                name: torch.tanh(each if isinstance(each, Tensor) else like * 0 + each)
                for name, each in given.items()
            }

        return pointwise

    def operand(s: Any) -> Any:
        h = getattr(s, record["state"][0])
        return h * h if record["operand"] == "mul" else torch.tanh(h)

    def phases(self: Any) -> tuple[Phase, ...]:
        reads: dict[str, Any] = {"reads": record["state"][0]}
        reads |= (
            {"operand": operand}
            if record["operand"]
            else {"operand": lambda s: getattr(s, record["state"][0])}
        )
        if not split or split >= len(gates):
            return (Phase(equations(list(outputs)), gates, **reads),)
        first = [name for name in gates[:split] if name not in record["state"]]
        rest = [name for name in outputs if name not in first]
        return Phase(equations(first), gates[:split], **reads), Phase(
            equations(rest), gates[split:], **reads
        )

    names = {
        "state": tuple(record["state"]),
        "gates": gates,
        "params": tuple(record["params"]),
        "phases": phases,
    }
    return type("Drawn", (Cell,), names)()


def read(data: bytes, folder: Path) -> None:
    """Make the cell, its layer and its program; run it by loop, by the native module and by the
    network; write it as C.
    """
    record = json.loads(data)
    cell = make(record)
    layer = recurra.Recurrent(
        cell,
        record["input"],
        record["hidden"],
        biases=record["biases"],
        learned_state=record["learned"],
        dtype=torch.float64,
    )
    program = trace(cell)
    assert from_json(to_json(program)) == program
    check_terminal(show(program))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in layer.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator, dtype=torch.float64) * 0.5)
    x = torch.randn(
        record["steps"], record["batch"], record["input"], generator=generator, dtype=torch.float64
    )
    compare(layer, x)
    check_network(layer, program, x, folder if zlib.crc32(data) % 12 == 0 else None)


def compare(layer: Any, x: Tensor) -> None:
    """The native module's outputs, states and gradients must be the loop's."""
    runs = []
    for method in ("loop", "fused"):
        layer.zero_grad()
        given = x.clone().requires_grad_()
        weights = dict(layer.named_parameters())
        try:
            y, state = layer(given, method=method)
        except MethodUnavailable:
            return
        parts = [y, *state]
        if not any(part.requires_grad for part in parts):
            return
        sum(
            (part * torch.linspace(0.5, 1.5, part.numel(), dtype=part.dtype).view_as(part)).sum()
            for part in parts
        ).backward()
        gradients = [
            torch.zeros_like(w) if w.grad is None else w.grad.clone() for w in weights.values()
        ]
        runs.append(
            [
                *(part.detach() for part in parts),
                torch.zeros_like(x) if given.grad is None else given.grad,
                *gradients,
            ]
        )
    for number, (one, other) in enumerate(zip(*runs)):
        if one.isfinite().all():
            allowed = 1e-12 * max(1.0, float(one.abs().max()) if one.numel() else 0.0)
            error = float((one - other).abs().max()) if one.numel() else 0.0
            assert error <= allowed, f"fused and loop differ by {error:.2e} in value {number}"


def check_network(layer: Any, program: Any, x: Tensor, folder: Path | None) -> None:
    """The layer as a network: its loop must give what the layer gives, and its C header hold no
    code of the names.
    """
    arrays = {
        name: weight.detach().numpy().astype(np.float32)
        for name, weight in layer.named_parameters()
    }
    matrices = {name: Matrix(array) for name, array in arrays.items() if array.ndim == 2}
    network = Network(
        (
            NetworkLayer(
                forward_only(program),
                matrices,
                {n: array for n, array in arrays.items() if array.ndim == 1},
            ),
        )
    )
    with torch.no_grad():
        y = layer(x.float().double())[0].numpy()
    with np.errstate(all="ignore"):
        given = Loop(network, x.shape[1]).run(x.numpy().astype(np.float32))
    if np.isfinite(y).all():
        assert np.allclose(given, y, atol=1e-4), "the network's loop must give what the layer gives"
    try:
        header = to_c(network)
    except RecurraError:
        return
    check_c(header, folder)
