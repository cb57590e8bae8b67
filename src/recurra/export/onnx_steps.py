"""One step of a cell in ONNX, printed from its program."""

from __future__ import annotations

from recurra.export.onnx_maths import normalise, operation
from recurra.export.onnx_sheet import Sheet
from recurra.export.onnx_weights import Weights
from recurra.network import Recurrent
from recurra.network.loop import NORM_EPS
from recurra.program.graph import Product

SMALL_COUNTS = {"log", "log1p", "sqrt", "div"}
"""Operations that turn a small number's relative error into an absolute one: with them sigmoid is
written by parts.
"""


class Step:
    """A recurrent layer's step.

    Args:
        weights: where the layer's weights go, on the outermost sheet.
        layer: the layer.
        place: what the names of its weights begin with.
    """

    def __init__(self, weights: Weights, layer: Recurrent, place: str) -> None:
        self.weights, self.layer, self.place, self.program = weights, layer, place, layer.program
        self.careful = any(node.op in SMALL_COUNTS for node in layer.program.nodes)

    def project(self, x: str, sequence: bool) -> str:
        """What the input adds to the gates, (..., G * H): for one step (B, I), or for all at once
        (T, B, I).
        """
        layer, norm, bias = self.layer, self.program.input_norm, self._vector("bias_ih")
        name = "weight_ih"
        u = self.weights.product(
            x, layer.matrices[name], self.place + name, "" if norm else bias, sequence
        )
        if not norm:
            return u
        return self._groups(
            self.weights.sheet,
            u,
            [blocks * layer.hidden for blocks in norm],
            self._vector("gain_ih"),
            bias,
        )

    def run(self, sheet: Sheet, u: str, states: dict[str, str]) -> dict[str, str]:
        """Write the step.

        Args:
            sheet: the graph, or the body of a Scan.
            u: what `project` gave for this step, (B, G * H).
            states: the values that hold the state, by name.

        Returns:
            The values that hold the new state, by name, each (B, width).
        """
        program, hidden = self.program, self.layer.hidden
        blocks = dict(zip(program.gates, sheet.split(u, [hidden] * len(program.gates))))
        values, rows = self._sources(sheet, blocks, states)
        for phase, body in enumerate(program.bodies):
            self._compute(sheet, body.operand_nodes, values, rows)
            if body.product is not None:
                v = self._product(sheet, body.product, values[body.product.operand])
                for number, node in enumerate(program.nodes):
                    if node.op in ("a", "v") and node.phase == phase and node.name in v:
                        values[number] = (
                            sheet.add("Add", v[node.name], blocks[node.name])
                            if node.op == "a"
                            else v[node.name]
                        )
                        rows.add(number)
            self._compute(sheet, body.nodes, values, rows)
        found = {}
        for name, number in program.state.items():
            spread = (
                values[number]
                if number in rows
                else sheet.add("Expand", values[number], sheet.add("Shape", states[name]))
            )
            found[name] = spread
        return found

    def _sources(
        self, sheet: Sheet, blocks: dict[str, str], states: dict[str, str]
    ) -> tuple[dict[int, str], set[int]]:
        """The values that are read, by their nodes' numbers; and which of them have a row for each
        of the batch.
        """
        values = {}
        for number, node in enumerate(self.program.nodes):
            if node.op == "state":
                values[number] = states[node.name]
            elif node.op == "u":
                values[number] = blocks[node.name]
            elif node.op == "param":
                values[number] = self._vector(node.name)
            elif node.op == "const":
                values[number] = sheet.number(node.value)
        return values, {
            number for number in values if self.program.nodes[number].op in ("state", "u")
        }

    def _compute(
        self, sheet: Sheet, numbers: tuple[int, ...], values: dict[int, str], rows: set[int]
    ) -> None:
        for number in numbers:
            node = self.program.nodes[number]
            args = [values[arg] for arg in node.args]
            direct = node.op == "sigmoid" and not self.careful
            values[number] = (
                sheet.add("Sigmoid", *args) if direct else operation(sheet, node.op, *args)
            )
            if rows.intersection(node.args):
                rows.add(number)

    def _product(self, sheet: Sheet, product: Product, operand: str) -> dict[str, str]:
        """A phase's v by its gates."""
        unit, gates = self.layer.units[product.width], len(product.gates)
        first = product.first * unit if product.weight else 0
        part, v = (first, first + gates * unit), operand
        bias = self._vector(product.bias, part)
        if product.weight:
            weight = self.weights.part(
                self.layer.matrices[product.weight], f"{self.place}{product.weight}", part
            )
            added = [bias] if bias and product.weight == "weight_hh" and not product.norm else []
            v = sheet.add("Gemm", operand, weight, *added, transB=1)
        if product.norm:
            gain = self._vector(product.gain, part) if product.gain else ""
            v = self._groups(sheet, v, [blocks * unit for blocks in product.norm], gain, bias)
        return dict(zip(product.gates, sheet.split(v, [unit] * gates)))

    def _groups(self, sheet: Sheet, v: str, sizes: list[int], gain: str, bias: str) -> str:
        """A row norm of each group of a row; `gain` and `bias` of the whole row, or ""."""
        outer = self.weights.sheet
        gains = outer.split(gain, sizes) if gain else [self.weights.ones(size) for size in sizes]
        biases = outer.split(bias, sizes) if bias else [""] * len(sizes)
        parts = [
            normalise(sheet, *each, NORM_EPS) for each in zip(sheet.split(v, sizes), gains, biases)
        ]
        return sheet.add("Concat", *parts, axis=-1) if len(parts) > 1 else parts[0]

    def _vector(self, name: str | None, part: tuple[int, int] | None = None) -> str:
        """A vector of the layer's, or a part of it; "" where the layer has none of that name."""
        vector = self.layer.vectors.get(str(name))
        return "" if vector is None else self.weights.vector(vector, f"{self.place}{name}", part)
