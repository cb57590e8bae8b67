"""recurra: recurrent networks that one trains, sees into and streams, where the three give the same
numbers.

Names are loaded when first used: `import recurra` is quick and does not need PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recurra.errors import import_for

if TYPE_CHECKING:
    from recurra import cells as cells
    from recurra import convert as convert
    from recurra import engine as engine
    from recurra import export as export
    from recurra import init as init
    from recurra import inspection as inspection
    from recurra import models as models
    from recurra import native as native
    from recurra import network as network
    from recurra import parity as parity
    from recurra import program as program
    from recurra import runtime as runtime
    from recurra import state as state
    from recurra import train as train
    from recurra import vocabulary as vocabulary
    from recurra.cells import Cell as Cell
    from recurra.cells import Probed as Probed
    from recurra.cells import RecurrentDropout as RecurrentDropout
    from recurra.cells import Zoneout as Zoneout
    from recurra.engine import explain as explain  # type: ignore[no-redef]
    from recurra.layers import GRU as GRU
    from recurra.layers import LSTM as LSTM
    from recurra.layers import RNN as RNN
    from recurra.layers import Bidirectional as Bidirectional
    from recurra.layers import GRUCell as GRUCell
    from recurra.layers import LockedDropout as LockedDropout
    from recurra.layers import LSTMCell as LSTMCell
    from recurra.layers import Recurrent as Recurrent
    from recurra.layers import Residual as Residual
    from recurra.layers import RNNCell as RNNCell
    from recurra.layers import Stack as Stack
    from recurra.layers import WeightDropout as WeightDropout
    from recurra.layers import replace as replace  # type: ignore[no-redef]
    from recurra.stream import Stream as Stream

__version__ = "0.1.0"

_HOME = {
    **dict.fromkeys(("Cell", "Zoneout", "RecurrentDropout", "Probed"), "recurra.cells"),
    **dict.fromkeys(
        (
            "RNN",
            "LSTM",
            "GRU",
            "RNNCell",
            "LSTMCell",
            "GRUCell",
            "Recurrent",
            "Stack",
            "Bidirectional",
            "Residual",
            "LockedDropout",
            "WeightDropout",
            "replace",
        ),
        "recurra.layers",
    ),
    "explain": "recurra.engine",
    "Stream": "recurra.stream",
}
_MODULES = (
    "cells",
    "convert",
    "engine",
    "errors",
    "export",
    "init",
    "inspection",
    "layers",
    "models",
    "native",
    "network",
    "parity",
    "program",
    "runtime",
    "state",
    "stream",
    "train",
    "vocabulary",
)

__all__ = sorted([*_HOME, *_MODULES])


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_for(f"recurra.{name}", _HOME[name]), name)
    if name in _MODULES:
        return import_for(f"recurra.{name}", f"recurra.{name}")
    raise AttributeError(f"module 'recurra' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
