"""What a layer and a chain of layers are, in a line and in a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from recurra.display import Html, one_line, table
from recurra.wording import size_text


def layer_text(layer: Any) -> str:
    """A layer in one line: its kind, its widths, its options and how its weights are kept.

    >>> from recurra.network import Activation, LayerNorm
    >>> layer_text(Activation("tanh", 8)), layer_text(LayerNorm(8))
    ('Activation(8 -> 8, tanh)', 'LayerNorm(8 -> 8, eps=1e-05)')
    """
    return (
        f"{type(layer).__name__}({layer.widths[0]:,} ->"
        f" {layer.widths[1]:,}{''.join(f', {said}' for said in _details(layer))})"
    )


def _details(layer: Any) -> Iterator[str]:
    """What its fields say beside the widths."""
    for field in dataclasses.fields(layer):
        value = getattr(layer, field.name)
        if field.name == "program":
            yield one_line(value.cell)
        elif isinstance(value, str):
            yield value
        elif field.name == "layers":
            yield from map(layer_text, value)
        elif hasattr(value, "precision"):
            yield value.precision
        elif isinstance(value, (int, float)) and field.name != "width":
            yield f"{field.name}={value!r}"
    if hasattr(layer, "matrices") and hasattr(layer, "program"):
        yield "/".join(dict.fromkeys(matrix.precision for matrix in layer.matrices.values()))


def network_text(network: Any) -> str:
    """A network in one line: what goes in, its layers, what comes out, and its bytes.

    Args:
        network: a `recurra.network.Network`.
    """
    kinds = [
        one_line(layer.program.cell) if hasattr(layer, "program") else type(layer).__name__
        for layer in network.layers
    ]
    chain = " -> ".join(
        [f"{network.input_size:,} {_reads(network)}", *kinds, f"{network.output_size:,}"]
    )
    return f"{one_line(chain)}, {size_text(network.nbytes)} of {network.precision}"


def network_tables(network: Any) -> Html:
    """Its layers, with what each remembers, and the facts that its file gives.

    Args:
        network: a `recurra.network.Network`.
    """
    lines = [
        [number, layer, _state(network, number)] for number, layer in enumerate(network.layers)
    ]
    said = {
        "input": f"{network.input_size:,} {_reads(network)}",
        "output": f"{network.output_size:,}",
    }
    said |= {"weights": f"{size_text(network.nbytes)} of {network.precision}", **network.facts}
    named = table([], [[one_line(name), one_line(value)] for name, value in said.items()])
    return Html(table(["", "layer", "state of a row"], lines) + named)


def _reads(network: Any) -> str:
    return "tokens" if network.reads_tokens else "features"


def _state(network: Any, number: int) -> str:
    specs = [
        (spec.name.removeprefix(f"{number}."), spec.width)
        for spec in network.states
        if spec.name.startswith(f"{number}.")
    ]
    return ", ".join(f"{name} {width:,}" for name, width in specs)
