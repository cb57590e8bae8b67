"""A cell's program as C: its products, and between them one loop over the units."""

from __future__ import annotations

from recurra.export.c_text import Collection, at, bare, comment, distinct, number, plus
from recurra.network import Recurrent
from recurra.network.equations import NORM_EPS
from recurra.program.graph import ALPHABET, Node, Product

Piece = list[int] | Product
"""Numbers of the nodes that are computed between two products, or a product."""


class Step:
    """One step of a recurrent layer, from x and the state in s to y and the state in s.

    Args:
        collection: where its weights go.
        layer: the layer.
        place: what the names of its weights and states begin with.
    """

    def __init__(self, collection: Collection, layer: Recurrent, place: str) -> None:
        self.collection, self.layer, self.place = collection, layer, place
        self.nodes = layer.program.nodes
        self.fields = {
            name: f"{place}_{text}" for name, text in distinct(layer.state_widths).items()
        }
        self.products = {
            phase: body.product for phase, body in enumerate(layer.program.bodies) if body.product
        }
        self.live = self._live()
        self.units = self._units()
        self.pieces = self._pieces()
        self.homes = {
            node: home
            for home, piece in enumerate(self.pieces)
            if isinstance(piece, list)
            for node in piece
        }
        self.names = self._names()
        self.kept = self._kept()

    def lines(self) -> list[str]:
        """The statements of the step."""
        hidden, gates = self.layer.hidden, len(self.layer.program.gates)
        lines = [
            f"float u[{gates * hidden}]; /* {comment(', '.join(self.layer.program.gates))}:"
            f" {hidden} each */"
        ]
        bias = self._vector("bias_ih")
        norm = self.layer.program.input_norm
        lines += self.collection.fill(
            "u",
            f"{self.place}_weight_ih",
            self.layer.matrices["weight_ih"],
            None if norm else bias,
            "x",
        )
        lines += self._normed("u", norm, hidden, self._vector("gain_ih"), bias)
        lines += [f"float {self.names[node]}s[{self.units[node]}];" for node in sorted(self.kept)]
        for home, piece in enumerate(self.pieces):
            lines += self._loops(home, piece) if isinstance(piece, list) else self._product(piece)
        return lines

    def _live(self) -> set[int]:
        """The nodes that the new state depends on, through the products too."""
        live, todo = set[int](), list(self.layer.program.state.values())
        while todo:
            here = todo.pop()
            if here in live:
                continue
            live.add(here)
            node = self.nodes[here]
            todo += node.args
            if node.op == "v":
                todo.append(self.products[node.phase].operand)
        return live

    def _units(self) -> dict[int, int]:
        """How many units each live value has; none for what is the same for all."""
        found: dict[int, int] = {}
        for here in sorted(self.live):
            node = self.nodes[here]
            if node.op in ALPHABET:
                widths = {found[arg] for arg in node.args if arg in found}
                if widths:
                    found[here] = widths.pop()
            elif node.op != "const":
                found[here] = self.layer.units[node.width]
        return found

    def _pieces(self) -> list[Piece]:
        pieces: list[Piece] = [[]]
        read = {
            (node.phase, node.name)
            for node in (self.nodes[here] for here in self.live)
            if node.op == "v"
        }
        for phase, body in enumerate(self.layer.program.bodies):
            for group, product in ((body.operand_nodes, body.product), (body.nodes, None)):
                chosen = [here for here in group if here in self.units]
                last = pieces[-1]
                if isinstance(last, list):
                    last += chosen
                else:
                    pieces.append(chosen)
                if product and any((phase, gate) in read for gate in product.gates):
                    pieces.append(product)
        if not isinstance(pieces[-1], list):
            pieces.append([])
        return pieces

    def _names(self) -> dict[int, str]:
        program = self.layer.program
        names = {here: f"t{here}" for here in self.homes}
        for suffix, group in (("gate", program.gates), ("new", program.state)):
            short = distinct(group)
            names |= {
                here: f"{short[name]}_{suffix}"
                for name, here in group.items()
                if here in self.homes
            }
        return names

    def _kept(self) -> set[int]:
        """Computed values that are read after the loop that computes them: by a later loop, or by a
        product.
        """
        kept = set()
        last = len(self.pieces) - 1
        for here, home in self.homes.items():
            kept |= {arg for arg in self.nodes[here].args if self.homes.get(arg, home) != home}
        kept |= {
            here for here in self.layer.program.state.values() if self.homes.get(here, last) != last
        }
        kept |= {
            piece.operand
            for piece in self.pieces
            if not isinstance(piece, list) and piece.operand in self.homes
        }
        return kept

    def _vector(self, name: str | None) -> str | None:
        vector = None if name is None else self.layer.vectors.get(name)
        return None if vector is None else self.collection.vector(f"{self.place}_{name}", vector)

    def _array(self, here: int) -> str | None:
        """Where all units of a value lie together, if they do."""
        node = self.nodes[here]
        if node.op == "state":
            return f"s->{self.fields[node.name]}"
        if node.op == "param":
            return self._vector(node.name)
        if node.op == "u":
            return plus("u", list(self.layer.program.gates).index(node.name) * self.layer.hidden)
        if node.op == "v":
            return self._block(node)
        return f"{self.names[here]}s" if here in self.kept else None

    def _block(self, node: Node) -> str:
        product = self.products[node.phase]
        return plus(
            f"v{node.phase}", product.gates.index(node.name) * self.layer.units[product.width]
        )

    def _value(self, here: int, home: int) -> str:
        """A value of unit j as an expression, in the loop `home`."""
        node = self.nodes[here]
        if node.op == "const":
            return number(node.value) if node.value >= 0 else f"({number(node.value)})"
        if here not in self.units:
            return self.collection.operation(node.op, [self._value(arg, home) for arg in node.args])
        if self.homes.get(here) == home:
            return self.names[here]
        return at(str(self._array(here)))

    def _loops(self, home: int, piece: list[int]) -> list[str]:
        """One loop for each number of units, the new states at the end of the last."""
        states = self.layer.state_widths if home == len(self.pieces) - 1 else {}
        lines = []
        for units in dict.fromkeys([*(self.units[here] for here in piece), *states.values()]):
            inside = []
            for here in piece:
                if self.units[here] == units:
                    node = self.nodes[here]
                    right = self.collection.operation(
                        node.op, [self._value(arg, home) for arg in node.args]
                    )
                    inside.append(f"const float {self.names[here]} = {bare(right)};")
                    inside += (
                        [f"{self.names[here]}s[j] = {self.names[here]};"]
                        if here in self.kept
                        else []
                    )
            inside += self._states([name for name, width in states.items() if width == units], home)
            lines += [
                f"for (int j = 0; j < {units}; ++j) {{",
                *(f"    {line}" for line in inside),
                "}",
            ]
        return lines

    def _states(self, names: list[str], home: int) -> list[str]:
        """All are read before the first is written: a cell may exchange its states."""
        short = distinct(self.layer.program.state)
        first, reads, writes = next(iter(self.layer.program.state)), [], []
        for name in names:
            here = self.layer.program.state[name]
            value = (
                self.names.get(here, "") if self.homes.get(here) == home else f"{short[name]}_next"
            )
            if self.homes.get(here) != home:
                reads.append(f"const float {value} = {bare(self._value(here, home))};")
            writes.append(f"s->{self.fields[name]}[j] = {value};")
            writes += [f"y[j] = {value};"] if name == first else []
        return reads + writes

    def _product(self, product: Product) -> list[str]:
        units, gates = self.layer.units[product.width], len(product.gates)
        target = f"v{next(phase for phase, each in self.products.items() if each is product)}"
        rows = product.rows(units)
        lines = [
            f"float {target}[{gates * units}]; /* {comment(', '.join(product.gates))}: {units}"
            " each */"
        ]
        source = self._array(product.operand)
        if source is None:
            source = f"operand{target}"
            width = self.layer.units[product.reads] if product.weight else units
            value = bare(self._value(product.operand, -1))
            lines += [
                f"float {source}[{width}];",
                f"for (int j = 0; j < {width}; ++j) {source}[j] = {value};",
            ]
        bias, gain = (
            None if name is None else plus(name, rows.start)
            for name in (self._vector(product.bias), self._vector(product.gain))
        )
        if product.weight:
            matrix = self.layer.matrices[product.weight]
            own = bias if product.adds_bias else None
            lines += self.collection.fill(
                target, f"{self.place}_{product.weight}", matrix, own, source, rows
            )
        else:
            lines.append(f"for (int j = 0; j < {units}; ++j) {target}[j] = {at(source)};")
        return lines + self._normed(target, product.norm, units, gain, bias)

    def _normed(
        self, target: str, norm: tuple[int, ...], units: int, gain: str | None, bias: str | None
    ) -> list[str]:
        """Statements that normalise groups of blocks, each over its whole row, then scale and shift
        them all.
        """
        if not norm:
            return []
        lines, start, function = (
            [f"float square_{target}[{max(norm) * units}];"],
            0,
            self.collection.call("norm"),
        )
        for blocks in norm:
            lines.append(
                f"{function}({plus(target, start)}, square_{target}, {blocks * units},"
                f" {number(NORM_EPS)});"
            )
            start += blocks * units
        right = f"{target}[j]{f' * {at(gain)}' if gain else ''}{f' + {at(bias)}' if bias else ''}"
        return lines + (
            [f"for (int j = 0; j < {start}; ++j) {target}[j] = {right};"] if gain or bias else []
        )
