"""One cell, random weights and input: run by the cell's own step and by its transcription, then
compared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from recurra import cells
from tests.textbook import elman, gru, layer_norm, linear, lstm, printed
from tests.textbook.scalar import Step

TOLERANCE = 1e-12


class Case(NamedTuple):
    """A cell for each hidden size, its transcription, and how its weights are printed."""

    cell: Callable[[int], cells.Cell]
    step: Step
    letters: Callable[[printed.Arrays], printed.Letters]


CASES = {
    "Elman": Case(lambda H: cells.Elman(), elman.elman, printed.elman),
    "Elman relu": Case(lambda H: cells.Elman("relu"), elman.elman_relu, printed.elman),
    "LSTM": Case(lambda H: cells.LSTM(), lstm.lstm, printed.joined("ifco")),
    "PeepholeLSTM": Case(lambda H: cells.PeepholeLSTM(), lstm.peephole, printed.peephole),
    "ProjectedLSTM": Case(
        lambda H: cells.ProjectedLSTM(max(1, H - 2)), lstm.projected, printed.projected
    ),
    "GRU": Case(lambda H: cells.GRU(), gru.gru, printed.gru),
    "ResetBeforeGRU": Case(
        lambda H: cells.ResetBeforeGRU(), gru.reset_before, printed.joined("rzh")
    ),
    "LayerNormLSTM": Case(
        lambda H: cells.LayerNormLSTM(), layer_norm.layer_norm_lstm, printed.layer_norm_lstm
    ),
    "LayerNormGRU": Case(
        lambda H: cells.LayerNormGRU(), layer_norm.layer_norm_gru, printed.layer_norm_gru
    ),
    "MinGRU": Case(lambda H: cells.MinGRU(), linear.min_gru, printed.linear("zh")),
    "MinLSTM": Case(lambda H: cells.MinLSTM(), linear.min_lstm, printed.linear("fih")),
}


class Scene(NamedTuple):
    """What one run needs, in float64."""

    cell: cells.Cell
    case: Case
    weights: dict[str, torch.Tensor]
    x: torch.Tensor
    state: dict[str, torch.Tensor]

    def letters(self) -> printed.Letters:
        """The weights as the paper prints them."""
        return self.case.letters(arrays(self.weights))


def scene(name: str, T: int, B: int, input_size: int, hidden_size: int, biases: int = 2) -> Scene:
    """Draw a cell's weights, its input and its first state."""
    case = CASES[name]
    cell = case.cell(hidden_size)
    generator = torch.Generator().manual_seed(
        1000 * T + 100 * B + 10 * input_size + hidden_size + biases
    )

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    weights = {
        name: normal(*shape)
        for name, shape in cell.weights(input_size, hidden_size, biases=biases).items()
    }
    state = {name: normal(B, cell.width(name, hidden_size)) for name in cell.state}
    return Scene(cell, case, weights, normal(T, B, input_size), state)


def arrays(tensors: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """The same numbers as NumPy arrays."""
    return {name: tensor.detach().numpy() for name, tensor in tensors.items()}


def stepped(
    cell: cells.Cell,
    at: Scene,
    noise: dict[str, torch.Tensor] | None = None,
    lasting: dict[str, torch.Tensor | None] | None = None,
) -> dict[str, torch.Tensor]:
    """Run a cell's own `step` over time; each state and gate by name, (T, B, width).

    Args:
        cell: the scene's cell, or a wrapper around it.
        at: weights, input and first state.
        noise: (T, B, width) each, or None at evaluation.
        lasting: the masks that ride in the state, by field.
    """
    u = cell.project(at.weights, at.x)
    state: Any = cell.state_type()(**at.state, **(lasting or {}))
    found: dict[str, list[torch.Tensor]] = {}
    for t in range(at.x.shape[0]):
        state, gates = cell.step(
            at.weights,
            u[t],
            state,
            None if noise is None else {name: d[t] for name, d in noise.items()},
        )
        for name, mask in (lasting or {}).items():
            assert getattr(state, name) is mask, name
        now = gates._asdict()
        for name in cell.state:
            assert now.setdefault(name, getattr(state, name)) is getattr(state, name), name
        for name, value in now.items():
            found.setdefault(name, []).append(value)
    return {name: torch.stack(values) for name, values in found.items()}


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, np.ndarray]) -> None:
    """Each state and gate of each step to 1e-12 of the largest."""
    assert set(found) == set(expected)
    for name, reference in expected.items():
        value = found[name].detach().numpy()
        assert value.shape == reference.shape, (name, value.shape, reference.shape)
        error = np.abs(value - reference).max() / max(1.0, np.abs(reference).max())
        assert error <= TOLERANCE, f"{name} differs by {error:.3g}"
