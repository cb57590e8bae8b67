"""What recurra's own ONNX files say of their network beside the graph."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from recurra.errors import DataError, reason
from recurra.export.onnx_graph import FORMAT
from recurra.network import Layer, Network, Recurrent, Residual


def recorded(model: Any, network: Network) -> Network:
    """A network with what the record of its file says: first states, and where nothing else was
    given vocabulary and facts.

    Args:
        model: the onnx.ModelProto; without a record the network is as it was.
        network: made of its graph.

    Raises:
        DataError: the record is of another network.
    """
    text = {each.key: each.value for each in model.metadata_props}.get("recurra")
    if text is None:
        return network
    try:
        record = json.loads(text)
        if record["format"] != FORMAT:
            raise ValueError(f"format {record['format']!r}")
        first_of = {each["name"]: np.array(each["first"], np.float32) for each in record["states"]}
        vocabulary, facts, precision = (
            record["vocabulary"],
            dict(record["facts"]),
            record["precision"],
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        text = (
            f"path must hold the record that recurra wrote, {FORMAT}, got another"
            f" ({reason(error)}); remove it from the metadata"
        )
        raise DataError(text) from None
    first = _of_the_graph(network, first_of)
    if first is None:
        names = (
            f"{', '.join(first_of) or 'none'}, for"
            f" {', '.join(spec.name for spec in network.states)} in the graph"
        )
        raise DataError(
            f"path must hold a record of its own graph, got one of the states {names}; export the"
            " network anew"
        )
    layers = tuple(
        _begin(layer, f"{number}.", first) for number, layer in enumerate(network.layers)
    )
    made = replace(
        network,
        layers=layers,
        vocabulary=network.vocabulary or vocabulary,
        facts={**facts, **network.facts},
    )
    kept = made.quantised(precision) if precision in ("bfloat16", "int8") else made
    return kept if _same(made, kept) else made


def _of_the_graph(network: Network, recorded: Mapping[str, Any]) -> dict[str, Any] | None:
    """The recorded first states by the names that they have in the graph: of a layer in the same
    order, since an operator of ONNX forgets what a cell called them. None where they do not fit.
    """
    found: dict[str, Any] = {}
    for spec in network.states:
        place = spec.name.rpartition(".")[0]
        own = [name for name in recorded if name.rpartition(".")[0] == place]
        number = sum(name.rpartition(".")[0] == place for name in found)
        if number >= len(own) or recorded[own[number]].shape != spec.first.shape:
            return None
        found[spec.name] = recorded[own[number]]
    return found


def _begin(layer: Layer, place: str, first: Mapping[str, Any]) -> Layer:
    """A layer with the first states that it learned."""
    if isinstance(layer, Residual):
        return Residual(
            tuple(
                _begin(each, f"{place}{number}.", first) for number, each in enumerate(layer.layers)
            )
        )
    if not isinstance(layer, Recurrent):
        return layer
    states = {f"initial_{name}": first[f"{place}{name}"] for name in layer.state_widths}
    return replace(
        layer,
        vectors={**layer.vectors, **{name: array for name, array in states.items() if array.any()}},
    )


def _same(one: Network, other: Network) -> bool:
    """Whether both have the same weights."""
    return all(
        np.array_equal(mine.dense(), theirs.dense())
        for mine, theirs in zip(one.matrices(), other.matrices())
    )
