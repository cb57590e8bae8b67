"""The adaptive softmax in a graph: log-softmaxes of a head and of clusters, side by side."""

from __future__ import annotations

import itertools
import operator
from dataclasses import replace
from typing import Any

import numpy as np

from recurra.export.from_onnx_formulas import Formula
from recurra.export.from_onnx_values import Node
from recurra.export.torch_flow import Flow, Path
from recurra.network import AdaptiveSoftmax, Layer, Linear, Matrix

PARTS = ("LogSoftmax", "Split", "Concat")
"""The operators that it is made of, besides products and Add."""


def clustered(path: Path, node: Node) -> Any:
    """A part of an adaptive softmax, as a formula; with its last node the layer."""
    first = node.inputs[0]
    flow = next(iter(first.leaves())) if isinstance(first, Formula) else first
    if not isinstance(flow, Flow):
        return NotImplemented
    axis = node.get("axis", -1 if node.op == "LogSoftmax" else 0)
    if not any(axis in (-1, len(flow.axes[order]) - 1) for order in path.orders):
        return NotImplemented
    if node.op == "LogSoftmax":
        path.narrow(
            node.name,
            flow,
            lambda now: now[-1:] == "C" and axis in (-1, len(now) - 1),
            "be a softmax over the last axis",
        )
        return Formula(node.name, node.op, (flow,)) if isinstance(first, Flow) else NotImplemented
    return _split(node, first) if node.op == "Split" else _joined(path, node)


def _split(node: Node, whole: Any) -> Any:
    """The parts of a log-softmax, each a formula with its first place and its end."""
    sizes = node.inputs[1] if len(node.inputs) > 1 else node.get("split")
    if (
        not isinstance(whole, Formula)
        or whole.op != "LogSoftmax"
        or not isinstance(sizes, (np.ndarray, list))
    ):
        return NotImplemented
    ends = np.cumsum([0, *sizes]).tolist()
    return tuple(Formula(node.name, node.op, (whole, *place)) for place in itertools.pairwise(ends))


def _joined(path: Path, node: Node) -> Any:
    """The layer whose parts a Concat puts side by side: a head's words, then each tail with its
    cluster's number added.
    """
    words, *others = node.inputs
    if not isinstance(words, Formula) or words.op != "Split" or not others:
        return NotImplemented
    chances, first, start = words.args
    head = chances.args[0]
    before, last = head.layers[:-1], head.layers[-1:]
    tails = [
        tail
        for number, other in enumerate(others, start)
        if (tail := _tail(chances, number, other, before))
    ]
    whole = (
        first == 0 < start
        and last
        and isinstance(last[0], Linear)
        and last[0].widths[1] == start + len(others)
    )
    if not whole or len(tails) < len(others):
        return NotImplemented
    return path.then(
        node.name,
        replace(head, layers=before),
        AdaptiveSoftmax(last[0].weight, last[0].bias, tuple(tails)),
    )


def _tail(
    head: Formula, number: int, part: Any, before: tuple[Layer, ...]
) -> tuple[Matrix, Matrix] | None:
    """The tail whose log-softmax is added to the head's number, after the same layers; None where
    it is something else.
    """
    if not isinstance(part, Formula) or part.op != "Add":
        return None
    for one, other in (part.args, part.args[::-1]):
        cluster = (
            isinstance(other, Formula)
            and other.op == "Split"
            and other.args == (head, number, number + 1)
        )
        if cluster and isinstance(one, Formula) and one.op == "LogSoftmax":
            layers, count = one.args[0].layers, len(before)
            weights = [
                each.weight
                for each in layers[count:]
                if isinstance(each, Linear) and each.bias is None
            ]
            if (
                len(layers) == count + 2
                and len(weights) == 2
                and all(map(operator.is_, layers, before))
            ):
                return weights[0], weights[1]
    return None
