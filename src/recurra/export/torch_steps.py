"""Each layer of a network in plain PyTorch operations, its state going in and coming out, for
torch.export.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.errors import ConversionError, MissingDependency
from recurra.network import (
    Activation,
    AdaptiveSoftmax,
    Conv,
    Embedding,
    Layer,
    LayerNorm,
    Linear,
    Matrix,
    Network,
    Recurrent,
    Residual,
)
from recurra.network.loop import NORM_EPS
from recurra.program.evaluate import evaluate
from recurra.program.graph import Product

ACTIVATIONS = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
}
States = dict[str, Tensor]
Shared = dict[int, "Kept"]
"""What stands for a matrix, by its identity: one that two layers use is kept once."""


def tensor(array: npt.NDArray[Any]) -> Tensor:
    """A tensor with numbers of its own."""
    return torch.from_numpy(array.copy())


class Kept(nn.Module):
    """A matrix in the precision in which it is kept."""

    def __init__(self, matrix: Matrix) -> None:
        super().__init__()
        values = tensor(matrix.values)
        self.register_buffer(
            "values", values.view(torch.bfloat16) if matrix.precision == "bfloat16" else values
        )
        self.register_buffer("scales", None if matrix.scales is None else tensor(matrix.scales))

    def rows(self, at: Any = ...) -> Tensor:
        """Those rows, all if not said, as the float32 weights that they stand for."""
        rows: Tensor = self.values[at].float()  # type: ignore[index]
        return rows if self.scales is None else rows * self.scales[at].unsqueeze(-1)  # type: ignore[index,operator]


def _kept(matrix: Matrix, shared: Shared) -> Kept:
    return shared.setdefault(id(matrix), Kept(matrix))


class Linears(nn.Module):
    """Layers without a state, (..., I) to (..., O), and tokens to vectors."""

    def __init__(self, layer: Embedding | Linear | LayerNorm | Activation, shared: Shared) -> None:
        super().__init__()
        self.layer = layer
        if isinstance(layer, (Embedding, Linear)):
            self.weight = _kept(layer.weight, shared)
        for name in ("gain", "bias"):
            vector = getattr(layer, name, None)
            self.register_buffer(name, None if vector is None else tensor(vector))

    def forward(self, x: Tensor, states: States) -> Tensor:
        """What comes out; the states are left as they are."""
        layer = self.layer
        if isinstance(layer, Embedding):
            return self.weight.rows(x)
        if isinstance(layer, Linear):
            return F.linear(x, self.weight.rows(), self.bias)  # type: ignore[arg-type]
        if isinstance(layer, LayerNorm):
            return F.layer_norm(x, (layer.width,), self.gain, self.bias, layer.eps)  # type: ignore[arg-type]
        done: Tensor = ACTIVATIONS[layer.kind](x)
        return done


class Clusters(nn.Module):
    """An adaptive softmax."""

    def __init__(self, layer: AdaptiveSoftmax, shared: Shared) -> None:
        super().__init__()
        self.layer = layer
        self.products = nn.ModuleList(_kept(matrix, shared) for matrix in layer.matrices)
        self.register_buffer("bias", None if layer.bias is None else tensor(layer.bias))

    def forward(self, x: Tensor, states: States) -> Tensor:
        """Log-probabilities of all words."""
        head, *pairs = (kept.rows() for kept in self.products)  # type: ignore[operator]
        chances = F.linear(x, head, self.bias).log_softmax(-1)  # type: ignore[arg-type]
        words = self.layer.words
        parts = [chances[..., :words]]
        for number, (narrow, wide) in enumerate(zip(pairs[::2], pairs[1::2]), words):
            parts.append(
                chances[..., number : number + 1] + (x @ narrow.T @ wide.T).log_softmax(-1)
            )
        return torch.cat(parts, -1)


class Taps(nn.Module):
    """A causal convolution; the inputs that it still needs are its state."""

    def __init__(self, layer: Conv, place: str, sequence: bool, shared: Shared) -> None:
        super().__init__()
        self.layer, self.past, self.sequence = layer, f"{place}past", sequence
        self.weight = _kept(layer.weight, shared)
        self.register_buffer("bias", None if layer.bias is None else tensor(layer.bias))

    def forward(self, x: Tensor, states: States) -> Tensor:
        """What comes out; the past in `states` moves on."""
        layer = self.layer
        seen = (x if self.sequence else x.unsqueeze(0)).permute(1, 2, 0)
        if layer.past:
            before = states[self.past]
            seen = torch.cat(
                [before.unflatten(1, (layer.past, layer.width)).transpose(1, 2), seen], 2
            )
            states[self.past] = seen[..., -layer.past :].transpose(1, 2).flatten(1)
        taps = self.weight.rows().unflatten(1, (layer.kernel, -1)).transpose(1, 2)
        settings = dict(dilation=layer.dilation, groups=layer.groups)
        y = F.conv1d(seen, taps, self.bias, **settings).permute(2, 0, 1)  # type: ignore[arg-type]
        return y if self.sequence else y.squeeze(0)


class Step(nn.Module):
    """A recurrent layer, its step printed from the program; over a sequence, torch's `scan` of
    it.
    """

    def __init__(self, layer: Recurrent, place: str, sequence: bool, shared: Shared) -> None:
        super().__init__()
        self.layer, self.program, self.place, self.sequence = layer, layer.program, place, sequence
        for name, matrix in layer.matrices.items():
            self.add_module(name, _kept(matrix, shared))
        for name, vector in layer.vectors.items():
            self.register_buffer(name, tensor(vector))

    def forward(self, x: Tensor, states: States) -> Tensor:
        """What comes out; the layer's states in `states` move on."""
        dense = {
            name: kept.rows() for name, kept in self.named_children() if isinstance(kept, Kept)
        }
        vectors = dict(self.named_buffers(recurse=False))
        names = list(self.program.state)
        before = [states[self.place + name] for name in names]
        u = self._project(x, dense["weight_ih"], vectors)
        if not self.sequence:
            after = self._step(u, before, dense, vectors)
            y = after[0]
        else:
            after, y = _scan()(
                lambda h, u: ((made := self._step(u, h, dense, vectors)), made[0].clone()),
                before,
                u,
                dim=0,
            )
        states |= {self.place + name: value for name, value in zip(names, after)}
        return y

    def _project(self, x: Tensor, weight: Tensor, vectors: States) -> Tensor:
        """What the input adds to the gates, (..., G * H)."""
        norm, bias = self.program.input_norm, vectors.get("bias_ih")
        if not norm:
            return F.linear(x, weight, bias)
        return _groups(
            x @ weight.T, [blocks * self.layer.hidden for blocks in norm], vectors["gain_ih"], bias
        )

    def _step(
        self, u: Tensor, before: Sequence[Tensor], dense: States, vectors: States
    ) -> list[Tensor]:
        """The states (B, width) after a step, in the program's order."""
        program, like = self.program, before[0]
        blocks = dict(zip(program.gates, u.split(self.layer.hidden, 1)))
        state = dict(zip(program.state, before))
        sources = {"state": state, "u": blocks, "param": vectors}
        values = {
            number: sources[node.op][node.name]
            for number, node in enumerate(program.nodes)
            if node.op in sources
        }
        for number, node in enumerate(program.nodes):
            if node.op == "const":
                values[number] = torch.full((), node.value, dtype=like.dtype)
        for phase, body in enumerate(program.bodies):
            evaluate(program.nodes, body.operand_nodes, values, like)
            if body.product is not None:
                v = self._product(body.product, values[body.product.operand], dense, vectors)
                for number, node in enumerate(program.nodes):
                    if node.op in ("a", "v") and node.phase == phase and node.name in v:
                        values[number] = (
                            v[node.name] + blocks[node.name] if node.op == "a" else v[node.name]
                        )
            evaluate(program.nodes, body.nodes, values, like)
        return [
            values[number].expand_as(state[name]).clone() for name, number in program.state.items()
        ]

    def _product(
        self, product: Product, operand: Tensor, dense: States, vectors: States
    ) -> dict[str, Tensor]:
        unit, gates, bias = (
            self.layer.units[product.width],
            len(product.gates),
            vectors.get(product.bias),
        )
        part = (
            slice(product.first * unit, (product.first + gates) * unit)
            if product.weight
            else slice(0, gates * unit)
        )
        v = operand @ dense[product.weight][part].T if product.weight else operand
        if product.norm:
            gain = vectors[product.gain][part] if product.gain else None
            v = _groups(
                v,
                [blocks * unit for blocks in product.norm],
                gain,
                None if bias is None else bias[part],
            )
        elif product.weight == "weight_hh" and bias is not None:
            v = v + bias[part]
        return dict(zip(product.gates, v.split(unit, 1)))


def _scan() -> Any:
    try:
        from torch._higher_order_ops.scan import scan
    except ImportError:
        raise MissingDependency(
            f"a sequence needs a PyTorch that has scan, such as 2.13; this is {torch.__version__}"
        ) from None
    return scan


def _groups(v: Tensor, sizes: list[int], gain: Tensor | None, bias: Tensor | None) -> Tensor:
    """Each group of a row normalised by itself."""
    normed = torch.cat(
        [
            F.layer_norm(each, (size,), eps=NORM_EPS)
            for each, size in zip(v.split(sizes, -1), sizes)
        ],
        -1,
    )
    normed = normed if gain is None else normed * gain
    return normed if bias is None else normed + bias


class Chain(nn.Module):
    """Layers one after another; `before` is their place in the network."""

    def __init__(
        self, layers: tuple[Layer, ...], before: str, sequence: bool, shared: Shared
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            _layer(layer, f"{before}{number}.", sequence, shared)
            for number, layer in enumerate(layers)
        )

    def forward(self, x: Tensor, states: States) -> Tensor:
        """What comes out; `states` moves on."""
        for layer in self.layers:
            x = layer(x, states)
        return x


class Around(Chain):
    """What its layers make, added to what goes in."""

    def forward(self, x: Tensor, states: States) -> Tensor:
        """What comes out; `states` moves on."""
        return x + super().forward(x, states)


class Steps(nn.Module):
    """A network for torch.export: x and the states in, y and the new states out, in the network's
    order.

    Args:
        network: the network.
        sequence: whether x is (T, B, I) and not (B, I); tokens have no last axis.
    """

    def __init__(self, network: Network, sequence: bool) -> None:
        super().__init__()
        self.names = [spec.name for spec in network.states]
        self.chain = Chain(network.layers, "", sequence, {})

    def forward(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """(y, *states)."""
        moved = dict(zip(self.names, states))
        y = self.chain(x, moved)
        return y, *(moved[name] for name in self.names)


def _layer(layer: Layer, place: str, sequence: bool, shared: Shared) -> nn.Module:
    if isinstance(layer, (Embedding, Linear, LayerNorm, Activation)):
        return Linears(layer, shared)
    if isinstance(layer, AdaptiveSoftmax):
        return Clusters(layer, shared)
    if isinstance(layer, Residual):
        return Around(layer.layers, place, sequence, shared)
    if isinstance(layer, Conv):
        return Taps(layer, place, sequence, shared)
    if isinstance(layer, Recurrent):
        return Step(layer, place, sequence, shared)
    raise ConversionError(
        f"layer {place[:-1]} must be one that torch.export can hold, got {type(layer).__name__}"
    )
