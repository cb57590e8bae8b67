"""Modules over time: parameters and composition. The equations are in `cells`, the running in
`engine`.
"""

from recurra.errors import import_for

import_for(__name__, "torch")

from recurra.layers.composition import Bidirectional, Residual, Stack
from recurra.layers.dropout import LockedDropout, WeightDropout
from recurra.layers.recurrent import Recurrent
from recurra.layers.replace import Replacement, from_torch, replace
from recurra.layers.sequence import SequenceModule
from recurra.layers.torch_like import GRU, LSTM, RNN
from recurra.layers.torch_like_cell import GRUCell, LSTMCell, RNNCell

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Bidirectional",
    "GRUCell",
    "LSTMCell",
    "LockedDropout",
    "RNNCell",
    "Recurrent",
    "Replacement",
    "Residual",
    "SequenceModule",
    "Stack",
    "WeightDropout",
    "from_torch",
    "replace",
]
