"""The primitives of a network's equations, written as nodes of an ONNX graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recurra.export.onnx_cells import own_operator
from recurra.export.onnx_maths import normalise, operation
from recurra.export.onnx_sheet import Sheet
from recurra.export.onnx_weights import Weights
from recurra.network import Conv, Matrix, Network, Recurrent
from recurra.network.equations import EQUATIONS, cell_step, recurrent
from recurra.network.network import walk

SMALL_COUNTS = {"log", "log1p", "sqrt", "div"}
"""Operations that turn a small number's relative error into an absolute one: with them sigmoid is
written by parts.
"""


class Written:
    """A network's values as names in a graph, for one step or a sequence.

    Args:
        network: whose weights are named.
        weights: where they go, with the graph's sheet.
        states: the values that hold the state, by the network's names ("1.h").
        sequence: whether values are (T, B, width) and not (B, width).

    Attributes:
        after: the values that hold the new state, by the same names.
    """

    def __init__(
        self, network: Network, weights: Weights, states: dict[str, str], sequence: bool
    ) -> None:
        self.weights, self.sheet, self.states = weights, weights.sheet, states
        self.sequence, self.careful = sequence, False
        self.after: dict[str, str] = {}
        self.names = weight_names(network)
        self.alike: set[str] = set()
        self.equations = {**EQUATIONS, Recurrent: _recurrent}

    @property
    def inside(self) -> bool:
        """Whether the body of a Scan is written, a step at a time."""
        return self.sheet is not self.weights.sheet

    def rows(self, table: Matrix, tokens: str) -> str:
        """Rows of a matrix."""
        return self.weights.rows(table, self.names[id(table)], tokens, self.sheet)

    def product(self, x: str, weight: Matrix, bias: Any = None, rows: slice | None = None) -> str:
        """x weight[rows]^T + bias[rows]: for one step a Gemm, for a sequence a MatMul."""
        name = self.names[id(weight)]
        added = [] if bias is None else [self.vector(bias, rows)]
        if self.sequence and not self.inside and rows is None:
            y = self.sheet.add("MatMul", x, self.weights.transposed(weight, name))
            return self.sheet.add("Add", y, *added) if added else y
        part = (rows.start, rows.stop) if rows else (0, weight.shape[0])
        return self.sheet.add("Gemm", x, self.weights.part(weight, name, part), *added, transB=1)

    def vector(self, vector: Any, rows: slice | None = None) -> str:
        """A vector, or some of its numbers."""
        part = (rows.start, rows.stop) if rows else None
        return self._alike(self.weights.vector(vector, self.names[id(vector)], part))

    def constant(self, value: float) -> str:
        """A number."""
        return self._alike(self.sheet.number(value))

    def operation(self, op: str, *args: str) -> str:
        """An operation of the programs' alphabet."""
        direct = op == "sigmoid" and not self.careful
        done = self.sheet.add("Sigmoid", *args) if direct else operation(self.sheet, op, *args)
        return self._alike(done) if self.alike.issuperset(args) else done

    def norm(self, x: str, width: int, eps: float, gain: str | None, bias: str | None) -> str:
        """A layer norm over the row."""
        gain = self.weights.ones(width) if gain is None else gain
        return normalise(self.sheet, x, gain, bias, eps)

    def log_softmax(self, x: str) -> str:
        """Over the row."""
        return self.sheet.add("LogSoftmax", x, axis=-1)

    def split(self, x: str, sizes: Sequence[int]) -> list[str]:
        """A row in parts."""
        return self.sheet.split(x, list(sizes))

    def concat(self, parts: Sequence[str]) -> str:
        """The parts as one row."""
        return self.sheet.add("Concat", *parts, axis=-1) if len(parts) > 1 else parts[0]

    def spread(self, x: str, width: int, like: str) -> str:
        """A value for every row, where it is one for all."""
        if x not in self.alike:
            return x
        rows = self.sheet.add("Shape", like, start=0, end=1)
        shape = self.sheet.add("Concat", rows, self.sheet.whole(width), axis=0)
        return self.sheet.add("Expand", x, shape)

    def convolution(self, layer: Conv, place: str, x: str) -> str:
        """The past and the sequence, one after the other, through a Conv; the new past is the end
        of both.
        """
        sheet, past, time = self.sheet, f"{place}past", self.sheet.whole(0)
        seen = x if self.sequence else sheet.add("Unsqueeze", x, time)
        if layer.past:
            apart = sheet.add("Reshape", self.states[past], sheet.whole(0, layer.past, layer.width))
            seen = sheet.add("Concat", sheet.add("Transpose", apart, perm=(1, 0, 2)), seen, axis=0)
            last = sheet.add("Slice", seen, sheet.whole(-layer.past), sheet.whole(2**31 - 1), time)
            flat = sheet.whole(0, layer.past * layer.width)
            turned = sheet.add("Transpose", last, perm=(1, 0, 2))
            self.after[past] = sheet.add("Reshape", turned, flat)
        name = self.names[id(layer.weight)]
        taps = self.weights.taps(layer.weight, name, layer.kernel)
        bias = [] if layer.bias is None else [self.vector(layer.bias)]
        settings = dict(kernel_shape=[layer.kernel], dilations=[layer.dilation], group=layer.groups)
        turned = sheet.add("Transpose", seen, perm=(1, 2, 0))
        y = sheet.add("Conv", turned, taps, *bias, **settings)
        y = sheet.add("Transpose", y, perm=(2, 0, 1))
        return y if self.sequence else sheet.add("Squeeze", y, time)

    def over_time(self, layer: Recurrent, place: str, u: str) -> str:
        """A cell's step; over a sequence a Scan of it, which holds the state and reads u row by
        row.
        """
        self.careful = any(node.op in SMALL_COUNTS for node in layer.program.nodes)
        if self.sequence:
            y, after = self._scan(layer, place, u)
        else:
            after = cell_step(self, layer, u, self.before(layer, place))
            y = after[layer.names[0]]
        self.careful = False
        self.after |= {place + name: value for name, value in after.items()}
        return y

    def before(self, layer: Recurrent, place: str) -> dict[str, str]:
        """The values that hold a layer's states, by the names that its program uses."""
        return {name: self.states[place + name] for name in layer.names}

    def _scan(self, layer: Recurrent, place: str, u: str) -> tuple[str, dict[str, str]]:
        outer, onnx, widths = self.sheet, self.sheet.onnx, layer.state_widths
        self.sheet = body = Sheet(onnx, outer)
        after = cell_step(self, layer, f"{place}u", {name: f"{place}{name}" for name in widths})
        self.sheet = outer
        for name, value in after.items():
            body.name(value, f"{place}{name}_next")
        body.name(after[layer.names[0]], f"{place}y")

        def described(name: str, width: int) -> object:
            return onnx.helper.make_tensor_value_info(
                f"{place}{name}", onnx.TensorProto.FLOAT, ["batch", width]
            )

        gates = len(layer.program.gates) * layer.hidden
        inputs = [described(name, width) for name, width in widths.items()]
        inputs.append(described("u", gates))
        outputs = [described(f"{name}_next", width) for name, width in widths.items()]
        outputs.append(described("y", layer.widths[1]))
        graph = onnx.helper.make_graph(body.nodes, f"{place}step", inputs, outputs)
        given = (*self.before(layer, place).values(), u)
        found = outer.many("Scan", given, len(widths) + 1, body=graph, num_scan_inputs=1)
        return found[-1], dict(zip(widths, found))

    def _alike(self, value: str) -> str:
        """Note that a value is the same for every row."""
        self.alike.add(value)
        return value


def _recurrent(written: Written, layer: Recurrent, place: str, x: str) -> str:
    """One of ONNX's own operators, where it computes the cell."""
    operator = own_operator(layer.program)
    if operator is None:
        return str(recurrent(written, layer, place, x))
    states = written.before(layer, place)
    y, after = operator.write(written.weights, layer, place, x, states, written.sequence)
    written.after |= {place + name: value for name, value in after.items()}
    return y


def weight_names(network: Network) -> dict[int, str]:
    """What the arrays of a network are called in a file, by their identity: "0.weight"; one that
    two layers use by the first.
    """
    names: dict[int, str] = {}
    for place, layer in walk(network.layers):
        for name, array in {**layer.named_matrices(), **layer.named_vectors()}.items():
            names.setdefault(id(array), place + name)
    return names
