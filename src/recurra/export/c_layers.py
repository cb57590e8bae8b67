"""Each layer of a network as a C function."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from recurra.export.c_maths import KEPT
from recurra.export.c_program import Step
from recurra.export.c_text import Collection, at, comment, number
from recurra.network import (
    Activation,
    AdaptiveSoftmax,
    Conv,
    Embedding,
    Layer,
    LayerNorm,
    Linear,
    Matrix,
    Recurrent,
)


class Field(NamedTuple):
    """A member of the state.

    Attributes:
        declared: how the struct declares it.
        first: the statement that sets it to its first value.
    """

    declared: str
    first: str


class Layers:
    """The functions and the state of a network's layers.

    Args:
        collection: where weights go.
    """

    def __init__(self, collection: Collection) -> None:
        self.collection = collection
        self.functions: list[str] = []
        self.fields: list[Field] = []

    def chain(self, layers: tuple[Layer, ...], place: str, source: str, target: str) -> list[str]:
        """Statements that run layers one after another, `source` the first's input and `target` the
        last's output.

        Raises:
            ArgumentError: a weight is not finite.
        """
        lines = []
        for count, layer in enumerate(layers):
            here = f"{place}{count}"
            last = count == len(layers) - 1
            output = target if last else f"y{here}"
            lines += [] if last else [f"float {output}[{layer.widths[1]}];"]
            function = self.layer(layer, here)
            lines.append(f"{function}({'s, ' if stateful(layer) else ''}{source}, {output});")
            source = output
        return lines

    def layer(self, layer: Layer, here: str) -> str:
        """Write a layer's function, and give its name; a layer within another comes before it."""
        name = f"{self.collection.name}_layer{here}"
        lines = list(self._lines(layer, here))
        state = f"{self.collection.name}_state* s, " if stateful(layer) else ""
        taken = "int32_t token" if isinstance(layer, Embedding) else "const float* x"
        made = f"float* {self.collection.name}_RESTRICT y"
        head = [
            f"/* {said(layer, here)} */",
            f"static inline void {name}({state}{taken}, {made})",
            "{",
        ]
        self.functions.append("\n".join([*head, *(f"    {line}" for line in lines), "}"]))
        return name

    def _lines(self, layer: Layer, here: str) -> Iterator[str]:
        place, (width, wide) = f"l{here}", layer.widths
        if isinstance(layer, Embedding):
            yield from self._embedding(layer.weight, place)
        elif isinstance(layer, Linear):
            yield from self.collection.fill(
                "y", f"{place}_weight", layer.weight, self._vector(place, "bias", layer.bias), "x"
            )
        elif isinstance(layer, Activation):
            value = self.collection.operation(layer.kind, ["x[j]"])
            yield f"for (int j = 0; j < {width}; ++j) y[j] = {value};"
        elif isinstance(layer, LayerNorm):
            yield from self._layer_norm(layer, place)
        elif isinstance(layer, AdaptiveSoftmax):
            yield from self._adaptive(layer, place)
        elif isinstance(layer, Conv):
            yield from self._conv(layer, place)
        elif isinstance(layer, Recurrent):
            yield from self._recurrent(layer, place)
        else:
            yield f"float inner[{wide}];"
            yield from self.chain(layer.inside, f"{here}_", "x", "inner")
            yield f"for (int j = 0; j < {wide}; ++j) y[j] = x[j] + inner[j];"

    def _vector(self, place: str, name: str, vector: Any) -> str | None:
        return None if vector is None else self.collection.vector(f"{place}_{name}", vector)

    def _embedding(self, matrix: Matrix, place: str) -> Iterator[str]:
        tokens, width = matrix.shape
        weights, scales = (
            self.collection.matrix(f"{place}_weight", matrix),
            self.collection.scales(f"{place}_weight", matrix),
        )
        first, step = (
            (f"(long)token * {width}", "j")
            if id(matrix) in self.collection.upright
            else ("token", f"(long)j * {tokens}")
        )
        read = self.collection.read(matrix, f"weight[{step}]")
        yield f"const {KEPT[matrix.precision]}* weight = {weights} + {first};"
        yield (
            f"for (int j = 0; j < {width}; ++j) y[j] ="
            f" {read}{f' * {scales}[token]' if scales else ''};"
        )

    def _layer_norm(self, layer: LayerNorm, place: str) -> Iterator[str]:
        width, gain, bias = (
            layer.width,
            self._vector(place, "gain", layer.gain),
            self._vector(place, "bias", layer.bias),
        )
        yield f"float square[{width}];"
        yield f"for (int j = 0; j < {width}; ++j) y[j] = x[j];"
        yield f"{self.collection.call('norm')}(y, square, {width}, {number(layer.eps)});"
        if gain or bias:
            yield (
                f"for (int j = 0; j < {width}; ++j) y[j] ="
                f" y[j]{f' * {at(gain)}' if gain else ''}{f' + {at(bias)}' if bias else ''};"
            )

    def _adaptive(self, layer: AdaptiveSoftmax, place: str) -> Iterator[str]:
        fill, normal = self.collection.fill, self.collection.call("log_softmax")
        rows, words = layer.weight.shape[0], layer.words
        yield f"float head[{rows}], narrow[{max(narrow.shape[0] for narrow, _ in layer.clusters)}];"
        yield from fill(
            "head", f"{place}_weight", layer.weight, self._vector(place, "bias", layer.bias), "x"
        )
        yield f"{normal}(head, {rows}, 0.0f);"
        yield f"for (int j = 0; j < {words}; ++j) y[j] = head[j];"
        yield f"y += {words};"
        for cluster, (narrow, wide) in enumerate(layer.clusters):
            yield from fill("narrow", f"{place}_{cluster}_narrow", narrow, None, "x")
            yield from fill("y", f"{place}_{cluster}_wide", wide, None, "narrow")
            yield f"{normal}(y, {wide.shape[0]}, head[{words + cluster}]);"
            if cluster < len(layer.clusters) - 1:
                yield f"y += {wide.shape[0]};"

    def _recurrent(self, layer: Recurrent, place: str) -> Iterator[str]:
        step = Step(self.collection, layer, place)
        for name, width in layer.state_widths.items():
            field = step.fields[name]
            first = self._vector(place, f"initial_{name}", layer.vectors.get(f"initial_{name}"))
            value = at(first) if first else "0.0f"
            self.fields.append(
                Field(
                    f"float {field}[{width}];",
                    f"for (int j = 0; j < {width}; ++j) s->{field}[j] = {value};",
                )
            )
        yield from step.lines()

    def _conv(self, layer: Conv, place: str) -> Iterator[str]:
        """The earlier inputs lie in a ring; the oldest is at `at`, where the newest goes."""
        wide, past, width = layer.widths[1], layer.past, layer.width
        bias, scales = (
            self._vector(place, "bias", layer.bias),
            self.collection.scales(f"{place}_weight", layer.weight),
        )
        yield (
            f"for (int j = 0; j < {wide}; ++j) y[j] ="
            f" {at(bias) if bias and not scales else '0.0f'};"
        )
        if past:
            size = past * width
            first = f"for (int j = 0; j < {size}; ++j) s->{place}_past[j] = 0.0f;"
            self.fields += [
                Field(f"float {place}_past[{size}];", first),
                Field(f"int32_t {place}_at;", f"s->{place}_at = 0;"),
            ]
            yield f"for (int tap = 0; tap < {layer.kernel - 1}; ++tap) {{"
            yield (
                f"    const float* seen = s->{place}_past + ((s->{place}_at + tap *"
                f" {layer.dilation}) % {past}) * {width};"
            )
            yield from (f"    {line}" for line in self._tap(layer, place, "seen", "tap"))
            yield "}"
        yield from self._tap(layer, place, "x", str(layer.kernel - 1))
        if scales:
            yield (
                f"for (int j = 0; j < {wide}; ++j) y[j] = y[j] *"
                f" {at(scales)}{f' + {at(bias)}' if bias else ''};"
            )
        if past:
            yield (
                f"for (int j = 0; j < {width}; ++j) s->{place}_past[s->{place}_at * {width} + j] ="
                " x[j];"
            )
            yield f"s->{place}_at = (s->{place}_at + 1) % {past};"

    def _tap(self, layer: Conv, place: str, source: str, tap: str) -> Iterator[str]:
        """What one tap adds to y."""
        matrix, wide = layer.weight, layer.widths[1]
        inputs, outputs = layer.width // layer.groups, wide // layer.groups
        weights = f"{self.collection.matrix(f'{place}_weight', matrix)} + {tap} * {inputs * wide}"
        if inputs == outputs == 1:
            read = self.collection.read(matrix, f"({weights})[j]")
            yield f"for (int j = 0; j < {wide}; ++j) y[j] += {read} * {source}[j];"
            return
        add = self.collection.call(f"add_{matrix.precision}")
        if layer.groups == 1:
            yield f"{add}(y, {wide}, {weights}, {wide}, {source}, {inputs});"
            return
        yield f"for (int g = 0; g < {layer.groups}; ++g)"
        yield (
            f"    {add}(y + g * {outputs}, {outputs}, {weights} + g * {outputs}, {wide}, {source} +"
            f" g * {inputs}, {inputs});"
        )


def stateful(layer: Layer) -> bool:
    """Whether a layer, or one within it, remembers anything."""
    return bool(layer.states) or any(stateful(each) for each in layer.inside)


def said(layer: Layer, here: str) -> str:
    """What a layer is, for a reader."""
    size = "{} -> {}".format(*layer.widths)
    if isinstance(layer, Recurrent):
        return f"layer {here.replace('_', '.')}: {comment(layer.program.cell)}, {size}"
    if isinstance(layer, Conv):
        return (
            f"layer {here.replace('_', '.')}: Conv of {layer.kernel} taps, {layer.dilation} apart,"
            f" {layer.groups} groups, {size}"
        )
    kind = f" {layer.kind}" if isinstance(layer, Activation) else ""
    return f"layer {here.replace('_', '.')}: {type(layer).__name__}{kind}, {size}"
