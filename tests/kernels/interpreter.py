"""Encoded programs, one step and its derivative, run by the letter in NumPy: what the native module
is to do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from recurra.kernels.section import OPS, OUTPUTS, SOURCES
from recurra.program.graph import TERNARY, UNARY

EPS = 1e-5
Array = npt.NDArray[np.float64]
MEANING: dict[str, Any] = {
    "neg": np.negative,
    "abs": np.abs,
    "sign": np.sign,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "sin": np.sin,
    "cos": np.cos,
    "erf": np.vectorize(math.erf, otypes=[float]),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "relu": lambda x: np.maximum(x, 0.0),
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "gt": np.greater,
    "ge": np.greater_equal,
    "lt": np.less,
    "le": np.less_equal,
    "eq": np.equal,
    "where": lambda k, x, y: np.where(k != 0, x, y),
}
NAMES = list(OPS)
KINDS, PLACES = list(SOURCES), list(OUTPUTS)


@dataclass
class Step:
    """One step of an encoded program: what it read and everything that it left behind, by kind and
    place.

    A product's weights are (weight, bias, gain), None where there is none; the first are those of
    the input.
    """

    code: dict[str, Any]
    weights: list[tuple[Array | None, Array | None, Array | None]]
    x: Array
    state: list[Array]
    noise: list[Array]
    params: list[Array]
    found: dict[tuple[str, int], Array] = field(default_factory=dict)
    v: dict[int, Array] = field(default_factory=dict)
    operands: dict[int, Array] = field(default_factory=dict)

    def forward(self) -> None:
        """The step itself."""
        self.v[-1] = product(self.code["input"], self.weights[0], self.x)
        for number, (operand, said, body) in enumerate(self.code["phases"]):
            self.run(operand, number)
            if said:
                self.operands[number] = self.found.pop(("operand", 0))
                self.v[number] = product(said, self.weights[number + 1], self.operands[number])
            self.run(body, number)
        self.run(self.code["last"], -1)

    def read(self, source: tuple[int, int, int]) -> Array:
        """What a section reads."""
        kind, index, block = KINDS[source[0]], source[1], source[2]
        if kind in ("u", "v"):
            said = self.code["input"] if kind == "u" else self.code["phases"][index][1]
            return self.v[-1 if kind == "u" else index][:, block * said[4] : (block + 1) * said[4]]
        if kind in ("state", "noise", "param", "const"):
            group: Any = {
                "state": self.state,
                "noise": self.noise,
                "param": self.params,
                "const": self.code["constants"],
            }[kind]
            return np.broadcast_to(
                group[index],
                (len(self.x), np.shape(group[index])[-1] if np.ndim(group[index]) else 1),
            )
        return self.found[kind, index]

    def run(self, sections: list[Any], phase: int) -> None:
        """Every section of a part."""
        for width, registers, sources, instructions, outputs in sections:
            values = [self.read(source) for source in sources]
            assert all(value.shape[-1] in (1, width) for value in values)
            held: list[Any] = [None] * registers
            for op, register, *args in instructions:
                count = 1 if NAMES[op] in UNARY else 3 if NAMES[op] in TERNARY else 2
                got = [
                    values[a] if a < len(values) else held[a - len(values)] for a in args[:count]
                ]
                held[register] = np.broadcast_to(
                    MEANING[NAMES[op]](*got).astype(float), (len(self.x), width)
                )
            for value, kind, index in outputs:
                place = PLACES[kind], index
                assert place not in self.found, f"{place} is written twice"
                what = values[value] if value < len(values) else held[value - len(values)]
                self.found[place] = np.broadcast_to(what, (len(self.x), width)).copy()


@dataclass
class Back(Step):
    """The derivative of a step; `found` begins with what was saved, the new states and their
    gradients.
    """

    dweights: dict[int, tuple[Array | None, Array, Array | None]] = field(default_factory=dict)

    def backward(self) -> Array:
        """Run it; returns dx."""
        slots, phases, last = self.code["backward"]
        gates, hidden = self.code["gates"], self.code["hidden"]
        for number, operand, before, du_first, after in phases:
            self.run(operand, number)
            if operand:
                self.operands[number] = self.found.pop(("operand", 0))
            self.run(before, number)
            if du_first != -2:
                said = self.code["phases"][number][1]
                kind, first = ("dv", 0) if du_first == -1 else ("du", du_first)
                dv = np.concatenate([self.found[kind, first + i] for i in range(said[2])], -1)
                back, *self.dweights[number] = adjoint(
                    said, self.weights[number + 1], self.operands[number], dv
                )
                self.found["operand", number] = back
                for key in [key for key in self.found if key[0] == "dv"]:
                    del self.found[key]
            self.run(after, number)
        self.run(last, -1)
        assert sum(kind == "slot" for kind, _ in self.found) == len(slots)
        du = np.concatenate([self.found["du", i] for i in range(gates)], -1)
        assert du.shape[-1] == gates * hidden
        dx, *self.dweights[-1] = adjoint(self.code["input"], self.weights[0], self.x, du)
        return dx


def product(
    said: Any, weights: tuple[Array | None, Array | None, Array | None], operand: Array
) -> Array:
    """A product as its tuple says it."""
    weighted, first, blocks, _, unit, _, norm = said
    weight, bias, gain = (
        None if each is None else each[first * unit : (first + blocks) * unit] for each in weights
    )
    v = operand @ weight.T if weighted and weight is not None else operand
    if norm:
        v, _ = _normal(v, norm, unit)
        v = v * gain
    return v if bias is None else v + bias


def adjoint(
    said: Any, weights: tuple[Array | None, Array | None, Array | None], operand: Array, dv: Array
) -> tuple[Array, Array | None, Array, Array | None]:
    """Gradients of the operand, and of this product's rows of weight, bias and gain."""
    weighted, first, blocks, _, unit, _, norm = said
    weight, _, gain = (
        None if each is None else each[first * unit : (first + blocks) * unit] for each in weights
    )
    dbias, dgain = dv.sum(0), None
    if norm:
        v = operand @ weight.T if weighted and weight is not None else operand
        normal, deviation = _normal(v, norm, unit)
        dgain = (dv * normal).sum(0)
        dv, start = dv * gain, 0
        for count in norm:
            part = slice(start, start + count * unit)
            d, n = dv[:, part], normal[:, part]
            dv[:, part] = (
                d - d.mean(-1, keepdims=True) - n * (d * n).mean(-1, keepdims=True)
            ) / deviation[:, part]
            start = part.stop
    if not weighted or weight is None:
        return dv, None, dbias, dgain
    return dv @ weight, dv.T @ operand, dbias, dgain


def _normal(v: Array, norm: list[int], unit: int) -> tuple[Array, Array]:
    normal, deviation, start = v.copy(), np.empty_like(v), 0
    for count in norm:
        part = slice(start, start + count * unit)
        centred = v[:, part] - v[:, part].mean(-1, keepdims=True)
        deviation[:, part] = np.sqrt((centred * centred).mean(-1, keepdims=True) + EPS)
        normal[:, part] = centred / deviation[:, part]
        start = part.stop
    return normal, deviation
