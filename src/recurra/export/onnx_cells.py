"""The cells that ONNX has an operator for, and their layers as that operator."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from recurra.export.onnx_weights import Order, Weights, in_order
from recurra.network import Recurrent
from recurra.program.evaluation import forward_only
from recurra.program.graph import Program
from recurra.program.serial import to_json

Array = npt.NDArray[Any]
PLAIN: Order = ((0, False),)
LSTM_ROWS: Order = ((0, False), (3, False), (1, False), (2, False))
"""i f g o as i o f c."""
GRU_ROWS: Order = ((1, False), (0, False), (2, False))
"""r z n as z r h."""
TURNED_ROWS: Order = ((1, True), (0, False), (2, False))
"""The same of a GRU that takes the new with z, where ONNX keeps the old: sigmoid(-a) = 1 -
sigmoid(a).
"""


class Operator(NamedTuple):
    """A cell as ONNX's own operator.

    Attributes:
        name: "RNN", "LSTM" or "GRU".
        rows: the order of its rows.
        peepholes: the parameters that make its P, in order.
        attributes: those of the node.
    """

    name: str
    rows: Order
    peepholes: tuple[str, ...] = ()
    attributes: tuple[tuple[str, Any], ...] = ()

    def write(
        self,
        weights: Weights,
        layer: Recurrent,
        place: str,
        x: str,
        states: dict[str, str],
        sequence: bool,
    ) -> tuple[str, dict[str, str]]:
        """Write a layer; as `recurra.export.onnx_scan.recurrent` says it."""
        sheet = weights.sheet
        direction, time = sheet.whole(0), sheet.whole(0)
        order = self.rows if len(self.rows) > 1 else ()
        w, r = (
            sheet.add(
                "Unsqueeze", weights.matrix(layer.matrices[name], place + name, order), direction
            )
            for name in ("weight_ih", "weight_hh")
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
        found = [layer.vectors.get(name) for name in ("bias_ih", "bias_hh")]
        if all(bias is None for bias in found):
            return ""
        zero = np.zeros(layer.matrices["weight_ih"].shape[0], np.float32)
        both = np.concatenate(
            [in_order(zero if bias is None else bias, self.rows) for bias in found]
        )
        return weights.sheet.array(both[None], f"{place}biases")


def fingerprint(program: Program) -> str:
    """What tells programs apart by their step; what the cell is called and its derivative do not
    count.
    """
    return hashlib.sha256(to_json(replace(forward_only(program), cell="")).encode()).hexdigest()[
        :16
    ]


OPERATORS: dict[str, Operator] = {
    "2872625fc83b69fa": Operator("RNN", PLAIN, (), (("activations", ["Tanh"]),)),  # Elman(tanh)
    "cc4c0b214d9e6f9a": Operator("RNN", PLAIN, (), (("activations", ["Relu"]),)),  # Elman(relu)
    "57ab88177b107684": Operator("LSTM", LSTM_ROWS),  # LSTM
    "ffc369ce54141b7b": Operator("LSTM", LSTM_ROWS, ("p_i", "p_o", "p_f")),  # PeepholeLSTM
    "01b000579ceccd41": Operator("GRU", GRU_ROWS, (), (("linear_before_reset", 1),)),  # GRU
    "8f33d28d80c5336b": Operator(
        "GRU", TURNED_ROWS, (), (("linear_before_reset", 0),)
    ),  # ResetBeforeGRU
}
"""By the fingerprint of the built-in cell: a program that came from a file is known without
PyTorch.
"""


def own_operator(program: Program) -> Operator | None:
    """The operator that computes a cell's program; None where ONNX has none.

    >>> from recurra.cells import GRU, MinGRU
    >>> from recurra.program import trace
    >>> own_operator(trace(GRU())).name, own_operator(trace(MinGRU()))
    ('GRU', None)
    """
    return OPERATORS.get(fingerprint(program))
