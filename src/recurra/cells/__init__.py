"""Cells: equations as data. Start with `lstm.py`; `cell.py` says what follows from a cell's
equations.
"""

from recurra.errors import import_for

import_for(__name__, "torch")

from recurra.cells.cell import Cell, Noise, Phase, draw
from recurra.cells.elman import Elman
from recurra.cells.gru import GRU, ResetBeforeGRU
from recurra.cells.layer_norm import LayerNormGRU, LayerNormLSTM
from recurra.cells.linear import LinearCell, MinGRU, MinLSTM
from recurra.cells.lstm import LSTM, PeepholeLSTM, ProjectedLSTM
from recurra.cells.values import Known, Pre
from recurra.cells.wrappers import Probed, RecurrentDropout, Wrapper, Zoneout

__all__ = [
    "GRU",
    "LSTM",
    "Cell",
    "Elman",
    "Known",
    "LayerNormGRU",
    "LayerNormLSTM",
    "LinearCell",
    "MinGRU",
    "MinLSTM",
    "Noise",
    "PeepholeLSTM",
    "Phase",
    "Pre",
    "Probed",
    "ProjectedLSTM",
    "RecurrentDropout",
    "ResetBeforeGRU",
    "Wrapper",
    "Zoneout",
    "draw",
]
