"""The cells that ONNX has an operator for, and their layers as that operator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from recurra.export.onnx_weights import Order, Weights, in_order
from recurra.network import Recurrent
from recurra.program.compare import Equation, matching_names
from recurra.program.graph import Program

Array = npt.NDArray[Any]


class Operator(NamedTuple):
    """A cell as ONNX's own operator.

    Attributes:
        name: "RNN", "LSTM" or "GRU".
        inputs, recurrent: the order of the rows of its W and of its R.
        peepholes: the parameters that make its P, in order.
        attributes: those of the node.
        weight, bias: of its recurrent product, by name.
    """

    name: str
    inputs: Order
    recurrent: Order
    peepholes: tuple[str, ...]
    attributes: tuple[tuple[str, Any], ...]
    weight: str
    bias: str

    def write(
        self,
        weights: Weights,
        layer: Recurrent,
        place: str,
        x: str,
        states: dict[str, str],
        sequence: bool,
    ) -> tuple[str, dict[str, str]]:
        """Write a layer; its output, and its new states by name."""
        sheet = weights.sheet
        direction, time = sheet.whole(0), sheet.whole(0)
        w, r = (
            sheet.add(
                "Unsqueeze",
                weights.matrix(layer.matrices[name], place + name, order if len(order) > 1 else ()),
                direction,
            )
            for name, order in (("weight_ih", self.inputs), (self.weight, self.recurrent))
        )
        first = [sheet.add("Unsqueeze", state, direction) for state in states.values()]
        inputs = [
            x if sequence else sheet.add("Unsqueeze", x, time),
            w,
            r,
            self._biases(weights, layer, place),
            "",
            *first,
        ]
        if self.peepholes:
            together = np.concatenate([layer.vectors[name] for name in self.peepholes])[None]
            inputs.append(sheet.array(together, f"{place}peepholes"))
        found = sheet.many(
            self.name,
            tuple(inputs),
            1 + len(states),
            hidden_size=layer.hidden,
            **dict(self.attributes),
        )
        after = {
            name: sheet.add("Squeeze", value, direction) for name, value in zip(states, found[1:])
        }
        return (
            sheet.add("Squeeze", found[0], sheet.whole(1))
            if sequence
            else next(iter(after.values()))
        ), after

    def _biases(self, weights: Weights, layer: Recurrent, place: str) -> str:
        """B, (1, 2 * G * H); "" where the layer has neither."""
        found = [layer.vectors.get(name) for name in ("bias_ih", self.bias)]
        if all(bias is None for bias in found):
            return ""
        zero = np.zeros(layer.matrices["weight_ih"].shape[0], np.float32)
        both = np.concatenate(
            [
                in_order(zero if bias is None else bias, order)
                for bias, order in zip(found, (self.inputs, self.recurrent))
            ]
        )
        return weights.sheet.array(both[None], f"{place}biases")


class Form(NamedTuple):
    """What an operator computes.

    Attributes:
        name: "RNN", "LSTM" or "GRU".
        equations: each new state.
        gates: in the order of the operator's rows; one with a "-" has them with the sign turned.
        peepholes: the parameters that make its P, in order.
        attributes: those of the node.
    """

    name: str
    equations: dict[str, Equation]
    gates: tuple[str, ...]
    peepholes: tuple[str, ...] = ()
    attributes: tuple[tuple[str, Any], ...] = ()


H: Equation = ("state", "h")
C: Equation = ("state", "c")


def _a(gate: str, operand: Equation = H) -> Equation:
    """The pre-activation of a gate."""
    return "add", ("u", gate), ("v", gate, operand)


def _rnn(function: str, name: str) -> Form:
    return Form("RNN", {"h": (function, _a("h"))}, ("h",), attributes=(("activations", [name]),))


def _lstm(peepholes: bool) -> Form:
    def gate(name: str, memory: Equation) -> Equation:
        a = _a(name)
        return "sigmoid", ("add", a, ("mul", ("param", f"p_{name}"), memory)) if peepholes else a

    c = ("add", ("mul", gate("f", C), C), ("mul", gate("i", C), ("tanh", _a("g"))))
    equations = {"h": ("mul", gate("o", c), ("tanh", c)), "c": c}
    return Form("LSTM", equations, ("i", "o", "f", "g"), ("p_i", "p_o", "p_f") if peepholes else ())


def _grus() -> Iterator[Form]:
    """ONNX keeps the old with z; a cell that takes the new has z's rows with the sign turned:
    sigmoid(-a) = 1 - sigmoid(a).
    """
    r, z = ("sigmoid", _a("r")), ("sigmoid", _a("z"))
    after = ("tanh", ("add", ("u", "n"), ("mul", r, ("v", "n", H))))
    before = ("tanh", _a("n", ("mul", r, H)))
    for reset, n in enumerate((before, after)):
        for gates, kept, new in ((("z", "r", "n"), H, n), (("-z", "r", "n"), n, H)):
            between = (
                ("add", ("mul", ("sub", 1.0, z), new), ("mul", z, kept)),
                ("add", new, ("mul", z, ("sub", kept, new))),
            )
            for h in between:
                yield Form("GRU", {"h": h}, gates, (), (("linear_before_reset", reset),))


FORMS = (_rnn("tanh", "Tanh"), _rnn("relu", "Relu"), _lstm(False), _lstm(True), *_grus())


def own_operator(program: Program) -> Operator | None:
    """The operator that computes a cell's program; None where ONNX has none.

    >>> from recurra.cells import GRU, MinGRU
    >>> from recurra.program import trace
    >>> own_operator(trace(GRU())).name, own_operator(trace(MinGRU()))
    ('GRU', None)
    """
    products = [body.product for body in program.bodies if body.product]
    read = {product.vectors[:2] for product in products}
    if len(read) != 1 or len(products) != len(program.bodies):
        return None
    weight, bias = next(iter(read))
    recurrent = [gate for product in products for gate in product.gates]
    for form in FORMS:
        names = matching_names(program, form.equations)
        if names is not None and len(recurrent) == len(program.gates) == len(form.gates):
            inputs, rows = (_order(form, names, gates) for gates in (program.gates, recurrent))
            peepholes = tuple(names[f"param.{name}"] for name in form.peepholes)
            return Operator(
                form.name, inputs, rows, peepholes, form.attributes, str(weight), str(bias)
            )
    return None


def _order(form: Form, names: dict[str, str], gates: Any) -> Order:
    """Where the operator's rows are among a program's gates."""
    given = list(gates)
    return tuple(
        (given.index(names[f"gate.{gate.lstrip('-')}"]), gate.startswith("-"))
        for gate in form.gates
    )
