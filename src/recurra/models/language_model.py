"""A recurrent language model: the next token from all before it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra import init as initialisers
from recurra.cells import Cell
from recurra.check import check_flag, check_number, check_whole, is_number, is_whole, plain
from recurra.errors import ArgumentError, ShapeError, quoted
from recurra.layers import SequenceModule, Stack
from recurra.layers.memory import check_memory
from recurra.models.cell import CELLS as CELLS
from recurra.models.cell import drop, make_cell, make_stack
from recurra.models.embedding import check_tokens, embed
from recurra.models.features import Features, penalty
from recurra.models.softmax import IGNORED as IGNORED
from recurra.models.softmax import adaptive_cost, adaptive_softmax, cross_entropy, log_chances
from recurra.network.limits import MOST_LAYERS
from recurra.vocabulary.vocabulary import Vocabulary
from recurra.wording import count_text


class LanguageModel(SequenceModule):
    """Embedding, recurrent layers with dropout between them, and a softmax over the vocabulary.

        p(x_(t+1) | x_1 .. x_t) = softmax(W h_t + b)

    Args:
        vocab_size: V.
        embed: width of the embedding.
        hidden: H of every layer, or a width for each: (1150, 1150, 400).
        layers: how many.
        cell: a name ("rnn", "lstm", "gru", "layer_norm_lstm", ...) or a cell.
        dropout: rate of the dropout between layers when training, as torch.nn.LSTM's; a single
            layer has none.
        tied: W is the embedding; where its width and the last layer's differ, a linear layer
            between takes h to `embed`.
        vocabulary: what the tokens stand for, kept with the model; needed to sample text.
        locked: dropout between layers, of the input and of the output takes one mask for a
            sequence, not one for each step.
        input_dropout: rate of the dropout of embeddings, unit by unit.
        output_dropout: rate of the dropout between the last layer and the softmax.
        embedding_dropout: the chance that a word is dropped wherever it stands, drawn once a call.
        weight_dropout: rate of the dropout on the recurrent weights `weight_hh`, drawn once a call.
        zoneout: the chances (h, c) that a unit keeps its old h and c; c is 0 for a cell without
            one.
        adaptive: the first word of each cluster after the most frequent ones, (2000, 10000) for
            example: an adaptive softmax for a large vocabulary whose words are numbered by
                frequency; empty: a softmax over all words.
        div_value: how much narrower each cluster of the adaptive softmax is than the one before.
        init: "default" (layers orthogonal with forget bias 1), "torch" (layers as in torch.nn), or
            a number r: every parameter of the model from U(-r, r).

    Raises:
        ArgumentError: an option is outside its range, or two contradict one another.

    Source: Mikolov et al. (2010), Interspeech; dropout between layers from Zaremba et al. (2014),
        arXiv:1409.2329; tied weights from Press & Wolf (2017), arXiv:1608.05859; locked, weight and
        embedding dropout as in Merity et al. (2017), arXiv:1708.02182; adaptive softmax from Grave
        et al. (2017), arXiv:1609.04309.

    >>> model = LanguageModel(vocab_size=10, embed=4, hidden=8)
    >>> logits, state = model(torch.zeros(7, 2, dtype=torch.long))
    >>> logits.shape
    torch.Size([7, 2, 10])
    """

    def __init__(
        self,
        vocab_size: int,
        embed: int = 256,
        hidden: int | Sequence[int] = 512,
        layers: int = 2,
        cell: str | Cell = "lstm",
        dropout: float = 0.3,
        tied: bool = True,
        vocabulary: Vocabulary | None = None,
        *,
        locked: bool = False,
        input_dropout: float = 0.0,
        output_dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        weight_dropout: float = 0.0,
        zoneout: tuple[float, float] = (0.0, 0.0),
        adaptive: int | Sequence[int] = (),
        div_value: float = 4.0,
        init: str | float = "default",
    ) -> None:
        super().__init__()
        cutoffs = _listed(adaptive)
        self.options: dict[str, Any] = dict(
            vocab_size=vocab_size,
            embed=embed,
            hidden=_listed(hidden, alone=True),
            layers=layers,
            cell=cell,
            dropout=dropout,
            tied=tied,
            locked=locked,
            input_dropout=input_dropout,
            output_dropout=output_dropout,
            embedding_dropout=embedding_dropout,
            weight_dropout=weight_dropout,
            zoneout=_listed(zoneout),
            adaptive=cutoffs,
            div_value=plain(div_value),
            init=plain(init),
        )
        _check(self.options)
        vocab_size, embed, layers = map(self.options.__getitem__, ("vocab_size", "embed", "layers"))
        if vocabulary is not None and len(vocabulary) != vocab_size:
            raise ArgumentError(
                f"vocab_size must be the size of the vocabulary, {len(vocabulary)}, got"
                f" {vocab_size}"
            )
        self.vocab_size, self.vocabulary = vocab_size, vocabulary
        self.embedding_dropout = self.options["embedding_dropout"]
        made, widths = make_cell(cell, zoneout), (embed, *_widths(hidden, layers))
        if isinstance(made, Cell):
            _check_memory(self.options, made, widths)
        self.embedding = nn.Embedding(vocab_size, embed)
        if tied:
            nn.init.normal_(self.embedding.weight, std=embed**-0.5)
        start = "orthogonal" if init == "default" else "torch"
        self.recurrent = make_stack(
            made, widths, dropout, input_dropout, weight_dropout, locked, start
        )
        self.output_dropout = Stack([drop(output_dropout, locked)]) if output_dropout else None
        out = made.width(made.state[0], widths[-1])
        self.bottleneck = nn.Linear(out, embed) if tied and out != embed else nn.Identity()
        self.adaptive = adaptive_softmax(out, vocab_size, cutoffs, div_value) if cutoffs else None
        self.decoder = (
            None
            if tied or cutoffs
            else nn.Parameter(torch.empty(vocab_size, out).uniform_(-(out**-0.5), out**-0.5))
        )
        self.decoder_bias = None if cutoffs else nn.Parameter(torch.zeros(vocab_size))
        if not isinstance(init, str):
            initialisers.uniform(self, init)

    def forward(
        self, x: Tensor, state: Any = None, *, lengths: Any = None, resets: Any = None
    ) -> tuple[Tensor, Any]:
        """Give the logits of each next token.

        Args:
            x: (T, B) int64, each in 0..V-1.
            state: the state before; the layers' own if None.
            lengths, resets: as for `recurra.Recurrent`.

        Returns:
            Logits (T, B, V), with the adaptive softmax log-probabilities, and the state after.

        Raises:
            ShapeError, DtypeError, DataError: `x` is not of that shape, type or range.
        """
        features = self.features(x, state, lengths=lengths, resets=resets)
        return self.logits(features.dropped), features.state

    def features(
        self, x: Tensor, state: Any = None, *, lengths: Any = None, resets: Any = None
    ) -> Features:
        """What the last layer says, before the softmax: `forward` is `logits` of it, `loss` is
        `cost` of it.

        Args:
            x, state, lengths, resets: as for `forward`.

        Returns:
            The last layer's output (T, B, H) after its dropout, the same before it, and the state
            after.

        Raises:
            ShapeError, DtypeError, DataError: `x` is not of that shape, type or range.
        """
        check_tokens(x, self.vocab_size)
        before, last = self._split(state)
        x = embed(self.embedding, x, self.embedding_dropout if self.training else 0.0)
        raw, after = self.recurrent(x, before, lengths=lengths, resets=resets)
        if self.output_dropout is None:
            return Features(raw, raw, after)
        dropped, end = self.output_dropout(raw, last)
        return Features(dropped, raw, after + end)

    def _split(self, state: Any) -> tuple[Any, Any]:
        """The layers' part of a state, and the output dropout's."""
        if self.output_dropout is None or state is None:
            return state, None
        count = len(self.recurrent.layers) + 1
        if not isinstance(state, tuple) or len(state) != count:
            got = len(state) if isinstance(state, tuple) else type(state).__name__
            raise ShapeError(f"state must be a tuple of {count}, one for each layer, got {got}")
        return state[:-1], state[-1:]

    def logits(self, h: Tensor) -> Tensor:
        """Logits (..., V) of features (..., H); with the adaptive softmax log-probabilities, whose
        softmax is the same.
        """
        if self.adaptive is not None:
            return log_chances(self.adaptive, h)
        return F.linear(
            self.bottleneck(h),
            self.embedding.weight if self.decoder is None else self.decoder,
            self.decoder_bias,
        )

    def cost(self, h: Tensor, y: Tensor) -> Tensor:
        """Mean cross entropy of features against tokens; the adaptive softmax forms no logits for
        it.

        Args:
            h: (T, B, H), `features(...).dropped` or some of its steps.
            y: (T, B), the tokens that follow; -100 is not counted.

        Returns:
            Nats a token, (); zero where no token counts.

        Raises:
            ShapeError, DtypeError, DataError: `y` is not of that shape, type or range.
        """
        if self.adaptive is not None:
            return adaptive_cost(self.adaptive, h, y)
        return cross_entropy(self.logits(h), y)

    def penalty(
        self,
        features: Features,
        activation: float = 0.0,
        temporal: float = 0.0,
        resets: Tensor | None = None,
    ) -> Tensor:
        """Activation and temporal activation regularisation, to be added to the loss.

            activation * mean(dropped_t^2) + temporal * mean((raw_t - raw_(t-1))^2)

        Args:
            features: from `features`.
            activation: alpha.
            temporal: beta.
            resets: (T, B) bool, as given to `features`; a step that begins anew is not compared
                with the one before.

        Source: Merity et al. (2017), arXiv:1708.01009.
        """
        return penalty(features, activation, temporal, resets)

    def loss(
        self, x: Tensor, y: Tensor, state: Any = None, *, resets: Any = None
    ) -> tuple[Tensor, Any]:
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
        features = self.features(x, state, resets=resets)
        return self.cost(features.dropped, y), features.state

    def cross_entropy(self, logits: Tensor, y: Tensor) -> Tensor:
        """Mean cross entropy of logits (T, B, V) against tokens (T, B), in nats; zero where no
        token counts.
        """
        return cross_entropy(logits, y)

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Run one step: x (B,) to logits (B, V), and the state after."""
        logits, state = self(x[None], state)
        return logits[0], state


def _listed(value: Any, alone: bool = False) -> Any:
    """An option as JSON and TOML hold it: a tuple as a list, and one number too unless it may stand
    alone.
    """
    if isinstance(value, (tuple, list)):
        return list(map(plain, value))
    return plain(value) if alone or not is_whole(value) else [plain(value)]


def _widths(hidden: Any, layers: int) -> list[int]:
    """H of each layer."""
    given = hidden if isinstance(hidden, (tuple, list)) else [hidden] * layers
    widths = [check_whole("hidden", width) for width in given]
    if len(widths) != layers:
        raise ArgumentError(
            f"hidden must have a width for each of the {count_text(layers, 'layer')}, got"
            f" {hidden!r}"
        )
    return widths


def _check_memory(options: dict[str, Any], cell: Cell, widths: Sequence[int]) -> None:
    """Raise where the machine has not the memory for the weights of all layers."""
    shapes: list[Sequence[int]] = [(options["vocab_size"], options["embed"])]
    width = widths[0]
    for hidden in widths[1:]:
        shapes += cell.weights(width, hidden).values()
        width = cell.width(cell.state[0], hidden)
    shapes += [] if options["tied"] or options["adaptive"] else [(options["vocab_size"], width)]
    check_memory("embed and hidden", (options["embed"], options["hidden"]), shapes)


def _check(options: dict[str, Any]) -> None:
    """Raise unless each option is in its range, and none contradicts another."""
    for name in ("vocab_size", "embed", "layers"):
        options[name] = check_whole(name, options[name])
    for name in [name for name in options if name.endswith("dropout")]:
        options[name] = check_number(name, options[name], 0, 1)
    for name in ("tied", "locked"):
        check_flag(name, options[name])
    if options["layers"] > MOST_LAYERS:
        raise ArgumentError(
            f"layers must be at most {MOST_LAYERS}, got {quoted(options['layers'])}"
        )
    start = options["init"]
    if not (is_number(start) and 0 < start < math.inf) and start not in ("default", "torch"):
        raise ArgumentError(f"init must be 'default', 'torch' or a positive number, got {start!r}")
    if options["adaptive"] and options["tied"]:
        text = (
            "tied must be False with adaptive, whose rare words have narrower vectors, so that"
            " there is no one matrix to share"
        )
        raise ArgumentError(f"{text}, got True; pass tied=False, or leave adaptive out")
    if not options["adaptive"] and options["div_value"] != 4.0:
        raise ArgumentError(
            f"div_value must be left out without adaptive, got {options['div_value']!r}"
        )
