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
        first = {each["name"]: np.array(each["first"], np.float32) for each in record["states"]}
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
    if any(
        spec.name not in first or first[spec.name].shape != spec.first.shape
        for spec in network.states
    ):
        names = (
            f"{', '.join(first) or 'none'}, for {', '.join(spec.name for spec in network.states)}"
            " in the graph"
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
