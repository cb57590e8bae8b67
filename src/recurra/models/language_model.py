"""A recurrent language model: the next token from all before it."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra import cells
from recurra.cells import Cell
from recurra.errors import ArgumentError, DataError, DtypeError, ShapeError, choice_text, shape_text
from recurra.layers import Recurrent, SequenceModule, Stack
from recurra.layers.recurrent import check_size
from recurra.models.vocabulary import Vocabulary

IGNORED = -100
"""A target that is not counted in the loss, as in torch.nn.functional.cross_entropy."""

CELLS: dict[str, Any] = {
    "rnn": cells.Elman, "lstm": cells.LSTM, "gru": cells.GRU, "reset_before_gru": cells.ResetBeforeGRU,
    "peephole_lstm": cells.PeepholeLSTM, "layer_norm_lstm": cells.LayerNormLSTM, "layer_norm_gru": cells.LayerNormGRU,
    "min_gru": cells.MinGRU, "min_lstm": cells.MinLSTM,
}  # fmt: skip
"""The cells that have a name of their own; any other is given as a cell."""


class LanguageModel(SequenceModule):
    """Embedding, recurrent layers with dropout between them, and a softmax over the vocabulary.

        p(x_(t+1) | x_1 .. x_t) = softmax(W h_t + b)

    Args:
        vocab_size: V.
        embed: width of the embedding.
        hidden: H of every layer.
        layers: how many.
        cell: a name ("rnn", "lstm", "gru", "layer_norm_lstm", ...) or a cell.
        dropout: rate of the dropout between layers when training, as torch.nn.LSTM's; a single layer has none.
        tied: W is the embedding; where `embed` and `hidden` differ, a linear layer between takes h to `embed`.
        vocabulary: what the tokens stand for, kept with the model; needed to sample text.

    Raises:
        ArgumentError: an option is outside its range.

    Source: Mikolov et al. (2010), Interspeech; dropout between layers from Zaremba et al. (2014), arXiv:1409.2329;
        tied weights from Press & Wolf (2017), arXiv:1608.05859.

    >>> model = LanguageModel(vocab_size=10, embed=4, hidden=8)
    >>> logits, state = model(torch.zeros(7, 2, dtype=torch.long))
    >>> logits.shape
    torch.Size([7, 2, 10])
    """

    def __init__(
        self, vocab_size: int, embed: int = 256, hidden: int = 512, layers: int = 2, cell: str | Cell = "lstm",
        dropout: float = 0.3, tied: bool = True, vocabulary: Vocabulary | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        for name, size in (("vocab_size", vocab_size), ("embed", embed), ("hidden", hidden), ("layers", layers)):
            check_size(name, size)
        if isinstance(cell, str) and cell not in CELLS:
            raise ArgumentError(choice_text("cell", cell, CELLS))
        if vocabulary is not None and len(vocabulary) != vocab_size:
            raise ArgumentError(f"vocab_size must be the size of the vocabulary, {len(vocabulary)}, got {vocab_size}")
        if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0 <= dropout < 1:
            raise ArgumentError(f"dropout must be in [0, 1), got {dropout!r}")
        self.options = dict(vocab_size=vocab_size, embed=embed, hidden=hidden, layers=layers, cell=cell, dropout=dropout, tied=tied)
        self.vocab_size, self.vocabulary = vocab_size, vocabulary
        made = CELLS[cell]() if isinstance(cell, str) else cell
        self.embedding = nn.Embedding(vocab_size, embed)
        if tied:
            nn.init.normal_(self.embedding.weight, std=embed**-0.5)
        stack: list[nn.Module] = []
        for layer in range(layers):
            width = embed if layer == 0 else made.width(made.state[0], hidden)
            stack += [nn.Dropout(dropout)] if layer else []
            stack.append(Recurrent(made, width, hidden))
        self.recurrent = Stack(stack)
        out = made.width(made.state[0], hidden)
        self.bottleneck = nn.Linear(out, embed) if tied and out != embed else nn.Identity()
        self.decoder = None if tied else nn.Parameter(torch.empty(vocab_size, out).uniform_(-(out**-0.5), out**-0.5))
        self.decoder_bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, x: Tensor, state: Any = None, *, lengths: Any = None, resets: Any = None) -> tuple[Tensor, Any]:
        """Give the logits of each next token.

        Args:
            x: (T, B) int64, each in 0..V-1.
            state: the state before; the layers' own if None.
            lengths, resets: as for `recurra.Recurrent`.

        Returns:
            Logits (T, B, V), and the state after.

        Raises:
            ShapeError, DtypeError, DataError: `x` is not of that shape, type or range.
        """
        self._check(x)
        h, state = self.recurrent(self.embedding(x), state, lengths=lengths, resets=resets)
        return F.linear(self.bottleneck(h), self._decoder(), self.decoder_bias), state

    def _decoder(self) -> Tensor:
        return self.embedding.weight if self.decoder is None else self.decoder

    def _check(self, x: Any) -> None:
        if not isinstance(x, Tensor) or x.ndim != 2:
            raise ShapeError(f"x must have shape (T, B), got {shape_text(x.shape) if isinstance(x, Tensor) else type(x).__name__}")
        if x.dtype not in (torch.int64, torch.int32):
            raise DtypeError(f"x must hold tokens as int64, got {x.dtype}")
        self._check_range("x", x)

    def _check_range(self, name: str, tokens: Tensor) -> None:
        if torch.compiler.is_compiling() or not tokens.numel():
            return
        low, high = int(tokens.min()), int(tokens.max())
        if low < 0 or high >= self.vocab_size:
            raise DataError(f"{name} must hold tokens in 0..{self.vocab_size - 1}, got {low if low < 0 else high}")

    def loss(self, x: Tensor, y: Tensor, state: Any = None, *, resets: Any = None) -> tuple[Tensor, Any]:
        """Mean cross entropy in nats a token.

        Args:
            x: (T, B), tokens.
            y: (T, B), the tokens that follow; -100 is not counted.
            state, resets: as for `forward`.

        Returns:
            The loss (), and the state after.

        Raises:
            ShapeError, DtypeError, DataError: `x` or `y` is not of that shape, type or range.
        """
        logits, state = self(x, state, resets=resets)
        return self.cross_entropy(logits, y), state

    def cross_entropy(self, logits: Tensor, y: Tensor) -> Tensor:
        """Mean cross entropy of logits (T, B, V) against tokens (T, B), in nats; zero where no token counts."""
        if y.shape != logits.shape[:-1]:
            raise ShapeError(f"y must have shape {shape_text(logits.shape[:-1])}, as the logits, got {shape_text(y.shape)}")
        if y.dtype not in (torch.int64, torch.int32):
            raise DtypeError(f"y must hold tokens as int64, got {y.dtype}")
        counted = y != IGNORED
        self._check_range("y", y.where(counted, torch.zeros_like(y)))
        total = F.cross_entropy(logits.flatten(0, -2), y.flatten().long(), ignore_index=IGNORED, reduction="sum")
        return total / counted.sum().clamp(min=1)

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Run one step: x (B,) to logits (B, V), and the state after."""
        logits, state = self(x[None], state)
        return logits[0], state
