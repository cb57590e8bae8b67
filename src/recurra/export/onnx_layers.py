"""Each layer of a network in ONNX."""

from __future__ import annotations

from recurra.errors import ConversionError
from recurra.export.onnx_maths import activate, normalise
from recurra.export.onnx_scan import recurrent
from recurra.export.onnx_weights import Weights
from recurra.network import (
    Activation,
    AdaptiveSoftmax,
    Conv,
    Embedding,
    Layer,
    LayerNorm,
    Linear,
    Recurrent,
    Residual,
)


class Layers:
    """Layers one after another, for one step or a sequence.

    Args:
        weights: where weights go, with the graph's sheet.
        states: the values that hold the state, by the network's names ("1.h").
        sequence: whether values are (T, B, width) and not (B, width).

    Attributes:
        after: the values that hold the new state, by the same names.
    """

    def __init__(self, weights: Weights, states: dict[str, str], sequence: bool) -> None:
        self.weights, self.sheet, self.states, self.sequence = (
            weights,
            weights.sheet,
            states,
            sequence,
        )
        self.after: dict[str, str] = {}

    def chain(self, layers: tuple[Layer, ...], before: str, x: str) -> str:
        """Write layers one after another; `before` is their place in the network. Returns the name
        of what comes out.
        """
        for number, layer in enumerate(layers):
            x = self._layer(layer, f"{before}{number}.", x)
        return x

    def _layer(self, layer: Layer, place: str, x: str) -> str:
        if isinstance(layer, Embedding):
            return self.weights.rows(layer.weight, f"{place}weight", x, self.sheet)
        if isinstance(layer, Linear):
            bias = "" if layer.bias is None else self.weights.vector(layer.bias, f"{place}bias")
            return self.weights.product(x, layer.weight, f"{place}weight", bias, self.sequence)
        if isinstance(layer, LayerNorm):
            gain = (
                self.weights.ones(layer.width)
                if layer.gain is None
                else self.weights.vector(layer.gain, f"{place}gain")
            )
            bias = "" if layer.bias is None else self.weights.vector(layer.bias, f"{place}bias")
            return normalise(self.sheet, x, gain, bias, layer.eps)
        if isinstance(layer, Activation):
            return activate(self.sheet, layer.kind, x)
        if isinstance(layer, Residual):
            return self.sheet.add("Add", x, self.chain(layer.layers, place, x))
        if isinstance(layer, Conv):
            return self._conv(layer, place, x)
        if isinstance(layer, AdaptiveSoftmax):
            return self._adaptive(layer, place, x)
        if isinstance(layer, Recurrent):
            return self._recurrent(layer, place, x)
        raise ConversionError(
            f"layer {place[:-1]} must be one that ONNX can hold, got {type(layer).__name__}"
        )

    def _recurrent(self, layer: Recurrent, place: str, x: str) -> str:
        states = {name: self.states[place + name] for name in layer.program.state}
        y, after = recurrent(self.weights, layer, place, x, states, self.sequence)
        self.after |= {place + name: value for name, value in after.items()}
        return y

    def _adaptive(self, layer: AdaptiveSoftmax, place: str, x: str) -> str:
        """The head's words, then each cluster's below its own chance."""
        sheet, product = self.sheet, self.weights.product
        bias = "" if layer.bias is None else self.weights.vector(layer.bias, f"{place}bias")
        head = sheet.add(
            "LogSoftmax", product(x, layer.weight, f"{place}weight", bias, self.sequence), axis=-1
        )
        first, *chances = sheet.split(head, [layer.words, *(1 for _ in layer.clusters)])
        parts = [first]
        for number, ((narrow, wide), chance) in enumerate(zip(layer.clusters, chances)):
            inner = product(x, narrow, f"{place}{number}.narrow", "", self.sequence)
            words = product(inner, wide, f"{place}{number}.wide", "", self.sequence)
            parts.append(sheet.add("Add", sheet.add("LogSoftmax", words, axis=-1), chance))
        return sheet.add("Concat", *parts, axis=-1)

    def _conv(self, layer: Conv, place: str, x: str) -> str:
        """The past and the sequence, one after the other, through a Conv; the new past is the end
        of both.
        """
        sheet, past = self.sheet, f"{place}past"
        time = sheet.whole(0)
        seen = x if self.sequence else sheet.add("Unsqueeze", x, time)
        if layer.past:
            apart = sheet.add("Reshape", self.states[past], sheet.whole(0, layer.past, layer.width))
            seen = sheet.add("Concat", sheet.add("Transpose", apart, perm=(1, 0, 2)), seen, axis=0)
            last = sheet.add("Slice", seen, sheet.whole(-layer.past), sheet.whole(2**31 - 1), time)
            self.after[past] = sheet.add(
                "Reshape",
                sheet.add("Transpose", last, perm=(1, 0, 2)),
                sheet.whole(0, layer.past * layer.width),
            )
        inputs = [
            sheet.add("Transpose", seen, perm=(1, 2, 0)),
            self.weights.taps(layer.weight, f"{place}weight", layer.kernel),
        ]
        if layer.bias is not None:
            inputs.append(self.weights.vector(layer.bias, f"{place}bias"))
        y = sheet.add(
            "Conv",
            *inputs,
            kernel_shape=[layer.kernel],
            dilations=[layer.dilation],
            group=layer.groups,
        )
        y = sheet.add("Transpose", y, perm=(2, 0, 1))
        return y if self.sequence else sheet.add("Squeeze", y, time)
