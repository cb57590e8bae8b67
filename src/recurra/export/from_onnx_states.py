"""The states that an ONNX graph is given and hands back: each must be its layer's own, moved about
at most.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from recurra.convert.onnx_reading import title, visiting
from recurra.errors import ArgumentError, ConversionError, choice_text, shape_text
from recurra.export.from_onnx_elements import RECURRENT, Elements, needed
from recurra.network import Network

Array = npt.NDArray[Any]
SPARE = frozenset(
    {
        "in",
        "out",
        "input",
        "output",
        "init",
        "initial",
        "prev",
        "previous",
        "last",
        "next",
        "new",
        "final",
        "before",
        "after",
        "n",
        "t",
        "0",
    }
)
"""Words that tell a state before a step from the one after it."""


class Part(NamedTuple):
    """A state of one layer.

    Attributes:
        layer: the name of its node.
        role: "h", "c" or "past".
        before, after: the places of its numbers; None where it is given by no input.
    """

    layer: str
    role: str
    before: Array | None
    after: Array


class Carried(NamedTuple):
    """How a graph's states go from one call to the next.

    Attributes:
        inputs: the sizes of the graph's inputs, free ones as `FREE`, by name.
        outputs: by the name of an input that is a state, that of the output which is given to it
            next; None where none is handed back.
        layers: the states of each layer that has any, in order: by "h", "c" or "past" which numbers
            of all inputs together it is.
    """

    inputs: dict[str, tuple[int, ...]]
    outputs: dict[str, str | None]
    layers: list[dict[str, Array]]


class States:
    """The states of a graph, and which of its outputs is the network's.

    Args:
        elements: follow the graph's numbers.
        inputs: the names of the graph's inputs, without its weights; the first is what is read at
            each step.
    """

    def __init__(self, elements: Elements, inputs: Sequence[str]) -> None:
        self.elements, self.x = elements, inputs[0]
        self.outputs = [each.name for each in elements.graph.output]
        self._same: dict[str, Array] = {}

    def output(self, wanted: str | int | None) -> str:
        """The name of the output that is the network's: the one wanted, or the only one that is no
        state.

        Raises:
            ArgumentError: there is none of that name.
            ConversionError: there are several; names them.
        """
        if wanted is not None:
            if wanted not in self.outputs:
                raise ArgumentError(choice_text("output", wanted, self.outputs))
            return str(wanted)
        pairs, failed = self._pairs(list(self._parts(self.outputs)))
        others = [name for name in self.outputs if name not in pairs.values()]
        left = [name for name in others if not self._is_state(name)] or others or self.outputs
        if len(left) == 1:
            return left[0]
        if failed:
            raise failed[0]
        names = ", ".join(map(repr, left))
        raise ConversionError(
            f"module must give one output beside its states, got {names}; choose one by output="
            " (--output)"
        )

    def carried(self, output: str, network: Network, one_step: bool) -> Carried:
        """How the states that an output needs are carried.

        Args:
            output: its name.
            network: made of the graph as far as that output.
            one_step: whether the graph makes one step at each call.

        Raises:
            ConversionError: a state is changed, exchanged, lost or begun anew; names it.
        """
        parts = list(self._parts([output]))
        _check_given(parts, network, one_step)
        pairs, failed = self._pairs(parts)
        if failed and (one_step or any(pairs.values()) or len(self.outputs) > 1):
            raise failed[0]
        self._check_order({name: other for name, other in pairs.items() if other is not None})
        layers: dict[str, dict[str, Array]] = {}
        for part in parts:
            if part.before is not None:
                layers.setdefault(part.layer, {})[part.role] = part.before - 1
        sizes = {name: shape for name, shape in self.elements.sizes.items() if shape is not None}
        return Carried(sizes, pairs, list(layers.values()))

    def _parts(self, outputs: Sequence[str]) -> Iterator[Part]:
        """The states of the layers that outputs need, in the graph's order."""
        for node in needed(self.elements.graph, outputs):
            with visiting(node):
                found = list(self._of(node))
            yield from found

    def _of(self, node: Any) -> Iterator[Part]:
        """The states of one node."""
        if node.op_type in RECURRENT:
            found = self.elements.recurrence(node)
            for role, after in found.after.items():
                yield Part(found.name, role, self._given(found.before[role]), after)
        elif node.op_type == "Concat" and len(node.input) == 2:
            yield from self._past(node)

    def _past(self, node: Any) -> Iterator[Part]:
        """The state of a convolution, where a node puts it before what comes in: the end of both is
        the next one.
        """
        moving = self.elements.moving
        before, flow = (
            self.elements.places(name) if name in moving else None for name in node.input
        )
        past = self._given(before)
        if past is None or flow is None or self._given(flow) is not None:
            return
        (axis,) = (each.i for each in node.attribute if each.name == "axis")
        self.elements.budget.spend(title(node), 2 * (past.nbytes + flow.nbytes))
        whole = np.concatenate([past, flow], axis)
        yield Part(
            title(node),
            "past",
            past,
            whole.take(np.arange(flow.shape[axis], whole.shape[axis]), axis),
        )

    def _given(self, places: Array | None) -> Array | None:
        """Places, if all are those of further inputs' numbers."""
        if places is None or not (places > 0).all():
            return None
        return (
            places
            if all(
                each.kind == "input" and each.name != self.x
                for each in self.elements.origins(places)
            )
            else None
        )

    def _is_state(self, output: str) -> bool:
        places = self.elements.places(output)
        if places is None or not places.size or not (places > 0).all():
            return False
        return all(each.kind == "state" for each in self.elements.origins(places))

    def _pairs(self, parts: Sequence[Part]) -> tuple[dict[str, str | None], list[ConversionError]]:
        """The output that hands an input's state back, by the input's name; and what is wrong with
        those that none does.
        """
        wanted, layers, failed = self._next(parts)
        pairs = {
            name: self._match(name, wanted[name]) for name in self.elements.sizes if name in wanted
        }
        for name in (name for name, output in pairs.items() if output is None and name in layers):
            text = (
                f"{name} must come back from an output as {layers[name]} leaves it, moved about at"
                " most"
            )
            other = self._namesake(name)
            got = (
                f"{other}, which {self._makers(other)} makes"
                if other
                else f"none such of {', '.join(self.outputs)}"
            )
            failed.append(
                ConversionError(
                    f"{text}, got {got}; export the state that the layer itself returns"
                )
            )
        return pairs, failed

    def _next(
        self, parts: Sequence[Part]
    ) -> tuple[dict[str, Array], dict[str, str], list[ConversionError]]:
        """The places that each input's numbers come from next, 0 where that does not matter; the
        layers they are states of.
        """
        wanted: dict[str, Array] = {}
        layers: dict[str, str] = {}
        failed = []
        for layer, _, before, after in parts:
            if before is None:
                continue
            self.elements.budget.spend(layer, before.nbytes)
            for source in self.elements.origins(before):
                places = wanted.setdefault(
                    source.name, np.zeros(int(np.prod(source.shape)), np.int64)
                )
                inside = (before >= source.start) & (before < source.start + places.size)
                at = before[inside] - source.start
                if before.shape != after.shape:
                    shapes = f"{shape_text(after.shape)} of x, got {shape_text(before.shape)}"
                    failed.append(
                        ConversionError(
                            f"{source.name} must be a state of {layer} with the rows {shapes}"
                        )
                    )
                elif places[at].any() or len(np.unique(at)) < len(at):
                    both = f"{layers.get(source.name, layer)} and {layer}"
                    failed.append(
                        ConversionError(
                            f"{source.name} must be one state of one layer, got that of {both}"
                        )
                    )
                else:
                    places[at], layers[source.name] = after[inside], layer
        return wanted, layers, failed

    def _match(self, name: str, wanted: Array) -> str | None:
        """The output whose numbers are those wanted; of several, which are the same, the one named
        like the input, or the last.
        """
        found = []
        next_ = self.elements.same(wanted)
        for output in self.outputs:
            places = self.elements.places(output)
            if places is not None and places.size == wanted.size and wanted.any():
                if output not in self._same:
                    self._same[output] = self.elements.same(places).reshape(-1)
                same = self._same[output] == next_
                found += [output] if same[wanted > 0].all() else []
        return next(
            (output for output in found if _stem(output) == _stem(name)),
            found[-1] if found else None,
        )

    def _check_order(self, pairs: dict[str, str]) -> None:
        """Raise unless the names of inputs and outputs pair them as the layers do, or where they do
        not say it their order.
        """
        unnamed = []
        for name, output in pairs.items():
            other = self._namesake(name)
            if other is None:
                unnamed.append(name)
            elif other not in pairs.values() or other != output:
                layer = f"{output} is the one that its layer leaves"
                raise ConversionError(
                    f"{name} must come back from the output of its name, {other}, got another state"
                    f" there; {layer}"
                )
        order = [self.outputs.index(output) for output in pairs.values()]
        if unnamed and order != sorted(order):
            names = f"{', '.join(pairs)} and {', '.join(pairs.values())}"
            raise ConversionError(
                "states must go in and come out in one order, or under names that say which is"
                f" which, got {names}"
            )

    def _namesake(self, name: str) -> str | None:
        """The output that has an input's name, but for what tells before from after."""
        rivals = [other for other in self.elements.sizes if _stem(other) == _stem(name)]
        found = [output for output in self.outputs if _stem(output) == _stem(name)]
        return found[0] if len(found) == len(rivals) == 1 and _stem(name) else None

    def _makers(self, output: str) -> str:
        places = self.elements.places(output)
        names = [] if places is None else [each.name for each in self.elements.origins(places)]
        return ", ".join(dict.fromkeys(names)) or "no layer"


def _check_given(parts: Sequence[Part], network: Network, one_step: bool) -> None:
    """Raise where a layer begins anew at each call while others, or one step alone, go on."""
    given = [part.layer for part in parts if part.before is not None]
    own = [part.layer for part in parts if part.before is None]
    lacking = len({spec.name.rpartition(".")[0] for spec in network.states}) > len(
        {part.layer for part in parts}
    )
    if (own or lacking) and (given or one_step):
        name = own[0] if own else "a Conv1d"
        why = f"as {given[0]} is" if given else "for the graph makes one step at a call"
        raise ConversionError(
            f"{name} must be given all of its state by inputs of the graph, {why}, got one that"
            " begins anew at each call"
        )


@lru_cache(4096)
def _stem(name: str) -> tuple[str, ...]:
    """The words of a state's name that do not tell before from after.

    >>> _stem("state_0_h"), _stem("state_0_h_out"), _stem("h0"), _stem("hn")
    (('state', 'h'), ('state', 'h'), ('h',), ('h',))
    """
    words = re.findall(r"[a-z]+|[A-Z][a-z]*|\d+", name)
    return tuple(
        re.sub(r"^([hc])n$", r"\1", word.lower()) for word in words if word.lower() not in SPARE
    )
