"""Functions that a graph spells out in simpler operators: GELU, and layer norm, known by the
numbers that they give.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recurra.errors import ConversionError
from recurra.export.from_onnx_limits import MOST_PARTS, TooLarge
from recurra.export.torch_flow import Flow, Path, WidthUnknown
from recurra.network import Activation, LayerNorm

Array = npt.NDArray[Any]
ROWS, TRIED = 64, 8
"""On how many rows of numbers a formula is tried, and of what width where none is known yet."""
TOLERANCE = 1e-5
"""Relative to the largest number; constants in a file are float32."""

OPERATORS: dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Pow": np.power,
    "Sqrt": np.sqrt,
    "Neg": np.negative,
    "Reciprocal": np.reciprocal,
    "Tanh": np.tanh,
    "Erf": np.vectorize(math.erf, otypes=[float]),
    "ReduceMean": lambda x: x.mean(-1, keepdims=True),
    "Identity": lambda x: x,
    "Cast": lambda x: x,
}
"""What a formula may be made of."""


@dataclass(frozen=True, eq=False)
class Formula:
    """An operator applied to a flow, which may become a part of a known function.

    Args:
        name: of the node.
        op: its operator.
        args: flows, formulas and constants.
    """

    name: str
    op: str
    args: tuple[Any, ...]

    def unknown(self) -> ConversionError:
        """The error that says so."""
        ops = sorted({each.op for each in self.parts()})
        return ConversionError(
            f"{self.name} must be part of a layer that recurra takes, got a formula of its own of"
            f" {', '.join(ops)}; known are GELU, layer norm, an adaptive softmax and a bias after a"
            " product"
        )

    def __post_init__(self) -> None:
        if sum(1 for _ in self.parts()) > MOST_PARTS:
            raise TooLarge(
                f"{self.name} must be part of a formula of at most {MOST_PARTS} operators, got more"
            )

    def parts(self) -> Iterator[Formula]:
        """The formula, and those within it, each once."""
        todo, seen = [self], {id(self)}
        while todo:
            part = todo.pop()
            yield part
            fresh = [
                each for each in part.args if isinstance(each, Formula) and id(each) not in seen
            ]
            seen.update(map(id, fresh))
            todo += dict.fromkeys(fresh)

    def leaves(self) -> set[Flow]:
        """The flows that it is made of."""
        return {each for part in self.parts() for each in part.args if isinstance(each, Flow)}

    def of(self, x: Array, known: dict[int, Array]) -> Array:
        """Its values where every flow is x; `known` holds those of its parts."""
        if id(self) not in known:
            values = [
                (
                    x
                    if isinstance(each, Flow)
                    else each.of(x, known)
                    if isinstance(each, Formula)
                    else each
                )
                for each in self.args
            ]
            known[id(self)] = OPERATORS[self.op](*values)
        return known[id(self)]


def centred(formula: Formula) -> Flow | None:
    """The flow of which a formula is x - mean(x); None where it is something else."""
    flow, mean = (*formula.args, None)[:2]
    of_mean = mean.args[0] if isinstance(mean, Formula) and mean.op == "ReduceMean" else None
    return flow if formula.op == "Sub" and isinstance(flow, Flow) and of_mean is flow else None


def settled(path: Path, formula: Formula) -> Flow | Formula:
    """The layer that a formula is, or the formula as it stands."""
    leaves = formula.leaves()
    if (
        len(leaves) != 1
        or formula.op not in ("Add", "Mul", "Div")
        or any(part.op not in OPERATORS for part in formula.parts())
    ):
        return formula
    flow = leaves.pop()
    width = path.width_of(flow) or TRIED
    tried = min(width, TRIED)
    normed = any(part.op == "ReduceMean" for part in formula.parts())
    layers = (
        list(_norms(formula, width))
        if normed
        else [Activation(kind, width) for kind in ("gelu", "gelu_tanh")]
    )
    for layer in layers:
        if _same(formula, layer, tried):
            if path.width_of(flow) is None:
                raise WidthUnknown(
                    f"{formula.name} must come after a layer that says how wide it is, got {layer}"
                    " first"
                )
            path.narrow(
                formula.name,
                flow,
                lambda now: now[-1:] == "C" or ("C" in now and not normed),
                "read features in the last axis",
            )
            return path.then(formula.name, flow, layer)
    return formula


def _norms(formula: Formula, width: int) -> Iterator[LayerNorm]:
    """Layer norms that a formula may be, one for each small constant in it."""
    constants = (
        np.asarray(each)
        for part in formula.parts()
        for each in part.args
        if isinstance(each, np.ndarray)
    )
    for eps in {
        float(each.reshape(())) for each in constants if each.size == 1 and each.dtype.kind == "f"
    }:
        if 0 < eps < 0.1:
            yield LayerNorm(width, eps=eps)


def _same(formula: Formula, layer: Activation | LayerNorm, width: int) -> bool:
    """Whether a formula gives what a layer gives, on rows of every size."""
    if any(
        np.size(each) not in (1, width)
        for part in formula.parts()
        for each in part.args
        if isinstance(each, np.ndarray)
    ):
        return False
    sizes = 10.0 ** np.linspace(-3, 1, ROWS)[:, None]
    x = np.random.default_rng(0).standard_normal((ROWS, width)) * sizes
    with np.errstate(all="ignore"):
        try:
            found = formula.of(x, {})
        except ValueError:  # a constant of another width
            return False
    if np.shape(found) != x.shape:
        return False
    wanted = _normed(x, layer.eps) if isinstance(layer, LayerNorm) else _gelu(x, layer.kind)
    return bool(np.abs(found - wanted).max() <= TOLERANCE * np.abs(wanted).max())


def _normed(x: Array, eps: float) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    return np.asarray(centred / np.sqrt((centred * centred).mean(-1, keepdims=True) + eps))


def _gelu(x: Array, kind: str) -> Array:
    if kind == "gelu":
        return np.asarray(x * 0.5 * (1 + OPERATORS["Erf"](x / math.sqrt(2))))
    return np.asarray(x * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))
