"""The cells of ONNX's RNN, LSTM and GRU with the options that the built-in cells do not have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from recurra.cells import Cell, Known, Phase, Pre
from recurra.cells.values import Values
from recurra.errors import ConversionError, choice_text

FUNCTIONS: dict[str, Callable[[Tensor, float, float], Tensor]] = {
    "Relu": lambda x, alpha, beta: torch.relu(x),
    "Tanh": lambda x, alpha, beta: torch.tanh(x),
    "Sigmoid": lambda x, alpha, beta: torch.sigmoid(x),
    "Affine": lambda x, alpha, beta: alpha * x + beta,
    "LeakyRelu": lambda x, alpha, beta: F.leaky_relu(x, alpha),
    "ThresholdedRelu": lambda x, alpha, beta: torch.where(x >= alpha, x, torch.zeros_like(x)),
    "ScaledTanh": lambda x, alpha, beta: alpha * torch.tanh(beta * x),
    "HardSigmoid": lambda x, alpha, beta: torch.clamp(alpha * x + beta, 0.0, 1.0),
    "Elu": lambda x, alpha, beta: F.elu(x, alpha),
    "Softsign": lambda x, alpha, beta: x / (1 + torch.abs(x)),
    "Softplus": lambda x, alpha, beta: -F.logsigmoid(-x),
}
"""ONNX's activations. Softplus is not F.softplus, which rounds to x above 20."""

TAKES_ALPHA = ("Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh", "HardSigmoid", "Elu")
TAKES_BETA = ("Affine", "ScaledTanh", "HardSigmoid")


@dataclass(frozen=True)
class Activation:
    """One activation function of ONNX with its constants.

        Relu max(0, x)      Tanh tanh(x)    Sigmoid 1 / (1 + e^-x)      Softsign x / (1 + |x|)
        Softplus log(1 + e^x)            Affine alpha x + beta       ScaledTanh alpha tanh(beta x)
        LeakyRelu x if x >= 0 else alpha x         Elu x if x >= 0 else alpha (e^x - 1)
        ThresholdedRelu x if x >= alpha else 0     HardSigmoid min(max(alpha x + beta, 0), 1)

    Args:
        name: one of these.
        alpha, beta: its constants; 0 where it takes none.

    Raises:
        ConversionError: ONNX has no such activation.

    >>> Activation("HardSigmoid", 0.2, 0.5)(torch.tensor([0.0, 9.0]))
    tensor([0.5000, 1.0000])
    """

    name: str
    alpha: float = 0.0
    beta: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in FUNCTIONS:
            raise ConversionError(choice_text("activations", self.name, FUNCTIONS))

    def __call__(self, x: Tensor) -> Tensor:
        return FUNCTIONS[self.name](x, self.alpha, self.beta)

    def __repr__(self) -> str:
        constants = [
            f"{value:g}"
            for value, taken in ((self.alpha, TAKES_ALPHA), (self.beta, TAKES_BETA))
            if self.name in taken
        ]
        return f"{self.name}({', '.join(constants)})" if constants else self.name


TANH, SIGMOID = Activation("Tanh"), Activation("Sigmoid")


def clipped(x: Tensor, clip: float | None) -> Tensor:
    """Bound a gate's input to [-clip, clip]; None for no bound.

    >>> clipped(torch.tensor([3.0, -0.1]), 0.5)
    tensor([ 0.5000, -0.1000])
    """
    return x if clip is None else torch.clamp(x, -clip, clip)


@dataclass(frozen=True)
class OnnxRNN(Cell):
    """ONNX's RNN with any activation, and a clip.

        h' = f(clip(a_h))                   where a = W_ih x + b_ih + W_hh h + b_hh

    Args:
        f: the activation.
        clip: bound of its input, or None.

    Source: ONNX operator RNN, version 22; clip as ONNX Runtime applies it.

    >>> OnnxRNN(Activation("Softsign")).weights(input_size=3, hidden_size=4)["weight_hh"]
    (4, 4)
    """

    f: Activation = TANH
    clip: float | None = None
    state, gates = ("h",), ("h",)

    def pointwise(self, a: Pre, s: Known) -> Values:
        return dict(h=self.f(clipped(a.h, self.clip)))

    def retention(self, gates: Any) -> Tensor:
        return torch.zeros_like(gates.h)


@dataclass(frozen=True)
class OnnxLSTM(Cell):
    """ONNX's LSTM with any activations, a clip, coupled gates and peepholes.

        i  = f(clip(a_i + p_i * c))
        f  = f(clip(a_f + p_f * c))         or 1 - i if input_forget
        c' = f * c + i * g(clip(a_g))
        o  = f(clip(a_o + p_o * c'))
        h' = o * h(c')                      the input of h is not clipped

    Args:
        f, g, h: the activations of the gates, of the candidate and of the exposed memory.
        clip: bound of the gates' inputs, or None.
        input_forget: what is written is what is forgotten; no recurrent product of f is made then.
        peepholes: whether there are p_i, p_f, p_o; they are 0 otherwise.

    Source: ONNX operator LSTM, version 22; clip as ONNX Runtime applies it.

    >>> OnnxLSTM(input_forget=True).weights(input_size=3, hidden_size=4)["weight_hh"]
    (12, 4)
    """

    f: Activation = SIGMOID
    g: Activation = TANH
    h: Activation = TANH
    clip: float | None = None
    input_forget: bool = False
    peepholes: bool = False
    state, gates = ("h", "c"), ("i", "f", "g", "o")

    @property
    def params(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("p_i", "p_f", "p_o") if self.peepholes else ()

    def pointwise(self, a: Pre, s: Known) -> Values:
        def gate(name: str, c: Tensor) -> Tensor:
            seen = (
                getattr(a, name) + s.values[f"p_{name}"] * c if self.peepholes else getattr(a, name)
            )
            return self.f(clipped(seen, self.clip))

        i = gate("i", s.c)
        f = 1 - i if self.input_forget else gate("f", s.c)
        g = self.g(clipped(a.g, self.clip))
        c = f * s.c + i * g
        o = gate("o", c)
        return dict(h=o * self.h(c), c=c, i=i, f=f, g=g, o=o)

    def retention(self, gates: Any) -> Tensor:
        return gates.f  # type: ignore[no-any-return]


@dataclass(frozen=True)
class OnnxGRU(Cell):
    """ONNX's GRU with any activations and a clip; z keeps the old in both forms.

        r, z = f(clip(a_r)), f(clip(a_z))
        n    = g(clip(u_n + W_n (r * h) + b_n))             linear_before_reset=False
        n    = g(clip(u_n + r * v_n))                       linear_before_reset=True
        h'   = (1 - z) * n + z * h

    Args:
        f, g: the activations of the gates and of the candidate.
        clip: bound of their inputs, or None.
        linear_before_reset: whether the product comes before the reset.

    Source: ONNX operator GRU, version 22; clip as ONNX Runtime applies it.

    >>> [len(OnnxGRU(linear_before_reset=after).phases()) for after in (False, True)]
    [2, 1]
    """

    f: Activation = SIGMOID
    g: Activation = TANH
    clip: float | None = None
    linear_before_reset: bool = False
    state, gates = ("h",), ("r", "z", "n")

    def phases(self) -> tuple[Phase, ...]:
        if self.linear_before_reset:
            return (Phase(self.pointwise, self.gates),)
        return Phase(self.open, ("r", "z")), Phase(
            self.write, ("n",), operand=lambda s: s.new.r * s.h
        )

    def pointwise(self, a: Pre, s: Known) -> Values:
        found = self.open(a, s)
        n = self.g(clipped(a.u.n + found["r"] * a.v.n, self.clip))
        return found | dict(h=(1 - found["z"]) * n + found["z"] * s.h, n=n)

    def open(self, a: Pre, s: Known) -> Values:
        """The two gates."""
        return dict(r=self.f(clipped(a.r, self.clip)), z=self.f(clipped(a.z, self.clip)))

    def write(self, a: Pre, s: Known) -> Values:
        """The candidate, and the new state."""
        n, z = self.g(clipped(a.n, self.clip)), s.new.z
        return dict(h=(1 - z) * n + z * s.h, n=n)

    def retention(self, gates: Any) -> Tensor:
        return gates.z  # type: ignore[no-any-return]
