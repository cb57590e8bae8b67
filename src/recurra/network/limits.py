"""How large a network in a file may be: whoever writes one and whoever reads one asks here, so that
what is written can be read.
"""

from __future__ import annotations

from collections.abc import Mapping

from recurra.errors import ArgumentError
from recurra.network.layer import Layer
from recurra.network.network import Network, walk
from recurra.network.recurrent import Recurrent
from recurra.program.limits import check_size

MOST_LAYERS, MOST_NESTED = 1000, 16
"""Layers, and residuals within residuals."""
MOST_HEADER = 64 << 20
"""Bytes of a header: a vocabulary of a million words fits."""
MOST_WIDTH, MOST_PAST = 1 << 20, 1 << 24
"""Units of a layer, and numbers that a convolution looks back at: what no weight bounds."""
MOST_SHARED = 4
"""How many times over layers may share their weights, together."""


def check_layers(layers: tuple[Layer, ...]) -> None:
    """Raise where there are too many layers, one within the other too, or a program that is too
    large.

    Raises:
        ArgumentError, ProgramError: there are.
    """
    level, count, depth = list(layers), 0, 0
    while level:
        check_count(count := count + len(level), depth)
        for layer in level:
            if isinstance(layer, Recurrent):
                check_size(layer.program)
        level, depth = (
            [each for layer in level for each in layer.inside],
            depth + 1,
        )


def check_count(count: int, depth: int) -> None:
    """Raise where there are too many layers, or they lie too deep.

    Raises:
        ArgumentError: they do.
    """
    if count > MOST_LAYERS or depth > MOST_NESTED:
        raise ArgumentError(
            f"layers must be at most {MOST_LAYERS}, and nested at most {MOST_NESTED} deep, got more"
        )


def check_sizes(network: Network, stored: int) -> None:
    """Raise where running a network would take far more memory than its file says.

    Args:
        network: the network.
        stored: how many numbers the file holds.

    Raises:
        ArgumentError: it would; says what does.
    """
    for _, layer in walk(network.layers):
        if max(layer.widths) > MOST_WIDTH and not layer.named_matrices():
            raise ArgumentError(
                f"layers must be at most {MOST_WIDTH} wide, got {max(layer.widths)}"
            )
    past = sum(getattr(layer, "past", 0) * layer.widths[0] for _, layer in walk(network.layers))
    if past > MOST_PAST:
        raise ArgumentError(
            f"layers must look back at most {MOST_PAST} numbers together, got {past}"
        )
    used = sum(matrix.values.size for matrix in network.matrices())
    if used > MOST_SHARED * stored:
        raise ArgumentError(
            f"layers must share their weights at most four times over, got {used} numbers made of"
            f" {stored}"
        )
    bare = sum(max(layer.widths) for _, layer in walk(network.layers) if not layer.named_matrices())
    if bare > MOST_WIDTH:
        raise ArgumentError(
            f"layers without weights must be at most {MOST_WIDTH} wide together, got {bare}"
        )
    for name, record in (
        ("vocabulary", {} if network.vocabulary is None else network.vocabulary),
        ("facts", network.facts),
    ):
        if not isinstance(record, Mapping):
            raise ArgumentError(f"{name} must be a record, got {type(record).__name__}")
