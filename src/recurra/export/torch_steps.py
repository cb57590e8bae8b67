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

from recurra.errors import MissingDependency
from recurra.kernels.tensors import Tensors
from recurra.network import Conv, Matrix, Network, Recurrent
from recurra.network.equations import cell_step, chain
from recurra.network.network import walk

States = dict[str, Tensor]


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


class Exported(Tensors):
    """The primitives of a graph: weights are parameters of it, states go in and come out.

    Args:
        kept, vectors: what stands for a matrix, and for a vector, by its identity.
        states: by the network's names; they move on.
        sequence: whether values are (T, B, width) and not (B, width).
    """

    def __init__(
        self, kept: dict[int, Kept], vectors: dict[int, Tensor], states: States, sequence: bool
    ) -> None:
        super().__init__(torch.empty(0))
        self.kept, self.vectors, self.states, self.sequence = kept, vectors, states, sequence
        self._dense: dict[int, Tensor] = {}

    def matrix(self, matrix: Any) -> Tensor:
        """The float32 weights that a matrix stands for."""
        if id(matrix) not in self._dense:
            self._dense[id(matrix)] = self.kept[id(matrix)].rows()
        return self._dense[id(matrix)]

    def array(self, vector: Any) -> Tensor:
        """A vector."""
        return self.vectors[id(vector)]

    def rows(self, table: Any, tokens: Tensor) -> Tensor:
        """Rows of a matrix, only these turned into float32."""
        return self.kept[id(table)].rows(tokens)

    def norm(
        self, x: Tensor, width: int, eps: float, gain: Tensor | None, bias: Tensor | None
    ) -> Tensor:
        """A layer norm over the row, as one operation."""
        return F.layer_norm(x, (width,), gain, bias, eps)

    def convolution(self, layer: Conv, place: str, x: Tensor) -> Tensor:
        """The past and the sequence through a convolution; the new past is the end of both."""
        seen = (x if self.sequence else x.unsqueeze(0)).permute(1, 2, 0)
        if layer.past:
            before = self.states[f"{place}past"].unflatten(1, (layer.past, layer.width))
            seen = torch.cat([before.transpose(1, 2), seen], 2)
            self.states[f"{place}past"] = seen[..., -layer.past :].transpose(1, 2).flatten(1)
        taps = self.matrix(layer.weight).unflatten(1, (layer.kernel, -1)).transpose(1, 2)
        bias = None if layer.bias is None else self.array(layer.bias)
        y = F.conv1d(seen, taps, bias, dilation=layer.dilation, groups=layer.groups)
        y = y.permute(2, 0, 1)
        return y if self.sequence else y.squeeze(0)

    def over_time(self, layer: Recurrent, place: str, u: Tensor) -> Tensor:
        """A cell's step; over a sequence, torch's `scan` of it."""
        before = [self.states[place + name] for name in layer.names]
        for matrix in layer.matrices.values():
            self.matrix(matrix)  # outside of the scan, not at each of its steps

        def step(states: Sequence[Tensor], u: Tensor) -> list[Tensor]:
            new = cell_step(self, layer, u, dict(zip(layer.names, states)))
            return [value.clone() for value in new.values()]

        if not self.sequence:
            after = step(before, u)
            y = after[0]
        else:
            after, y = _scan()(
                lambda h, u: ((made := step(h, u)), made[0].clone()), before, u, dim=0
            )
        self.states |= {place + name: value for name, value in zip(layer.names, after)}
        return y


def _scan() -> Any:
    try:
        from torch._higher_order_ops.scan import scan
    except ImportError:
        raise MissingDependency(
            f"a sequence needs a PyTorch that has scan, such as 2.13; this is {torch.__version__}"
        ) from None
    return scan


class Steps(nn.Module):
    """A network for torch.export: x and the states in, y and the new states out, in the network's
    order.

    Args:
        network: the network.
        sequence: whether x is (T, B, I) and not (B, I); tokens have no last axis.
    """

    def __init__(self, network: Network, sequence: bool) -> None:
        super().__init__()
        self.network, self.sequence = network, sequence
        self.names = [spec.name for spec in network.states]
        self.weights = nn.ModuleDict()
        self._kept: dict[int, str] = {}
        self._vectors: dict[int, str] = {}
        for place, layer in walk(network.layers):
            before = place.replace(".", "_")
            for name, matrix in layer.named_matrices().items():
                if id(matrix) not in self._kept:
                    self._kept[id(matrix)] = known = before + name.replace(".", "_")
                    self.weights[known] = Kept(matrix)
            for name, vector in layer.named_vectors().items():
                self._vectors[id(vector)] = known = before + name
                self.register_buffer(known, tensor(vector))

    def forward(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """(y, *states)."""
        moved = dict(zip(self.names, states))
        kept: dict[int, Any] = {key: self.weights[name] for key, name in self._kept.items()}
        vectors = {key: self.get_buffer(name) for key, name in self._vectors.items()}
        backend = Exported(kept, vectors, moved, self.sequence)
        y: Tensor = chain(backend, self.network.layers, "", x)
        return y, *(moved[name] for name in self.names)
