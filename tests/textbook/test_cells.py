from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch

from tests.textbook import elman
from tests.textbook.scalar import run
from tests.textbook.scene import CASES, Scene, arrays, assert_equal, scene, stepped

SIZES = list(product((1, 7), (1, 3), (1, 5), (1, 5)))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("biases", [1, 2])
@pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: "T{} B{} I{} H{}".format(*sizes))
def test_states_and_gates_of_each_step_equal_the_printed_equations(
    name: str, biases: int, sizes: tuple[int, int, int, int]
) -> None:
    at = scene(name, *sizes, biases=biases)
    assert_equal(
        stepped(at.cell, at), run(at.case.step, at.letters(), at.x.numpy(), arrays(at.state))
    )


@pytest.mark.parametrize("name", CASES)
def test_each_weight_and_the_first_state_count(name: str) -> None:
    at = scene(name, 2, 2, 3, 5)
    expected = run(at.case.step, at.letters(), at.x.numpy(), arrays(at.state))
    generator = torch.Generator().manual_seed(5)
    for weight, values in at.weights.items():
        moved = at._replace(
            weights=at.weights
            | {weight: values + 0.1 * torch.rand(values.shape, generator=generator)}
        )
        with pytest.raises(AssertionError, match="differs by"):
            assert_equal(stepped(at.cell, moved), expected)
    for value in at.state:
        moved = at._replace(state=at.state | {value: at.state[value] + 0.1})
        with pytest.raises(AssertionError, match="differs by"):
            assert_equal(stepped(at.cell, moved), expected)


@pytest.mark.parametrize("name", ["LSTM", "ResetBeforeGRU"])
@pytest.mark.parametrize("biases", [1, 2])
def test_gradients_equal_central_differences_of_the_printed_equations(
    name: str, biases: int
) -> None:
    at = scene(name, 5, 3, 3, 5, biases=biases)
    seed = torch.randn(5, 3, 5, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    leaves = {"x": at.x} | {f"first {key}": value for key, value in at.state.items()} | at.weights
    for leaf in leaves.values():
        leaf.requires_grad_()
    (seed * stepped(at.cell, at)["h"]).sum().backward()
    for key, leaf in leaves.items():
        expected = differences(leaf.detach().numpy(), lambda: loss(at, seed.numpy()))
        assert leaf.grad is not None
        error = np.abs(leaf.grad.numpy() - expected).max() / max(1.0, np.abs(expected).max())
        assert error <= 1e-7, f"gradient of {key} differs by {error:.3g}"


def loss(at: Scene, seed: np.ndarray) -> float:
    """The seed times every h, summed, by the transcription."""
    return float(
        (seed * run(at.case.step, at.letters(), at.x.detach().numpy(), arrays(at.state))["h"]).sum()
    )


def differences(values: np.ndarray, of: Callable[[], float], width: float = 1e-5) -> np.ndarray:
    """Central differences of `of()` in each element of `values`, which is moved in place and put
    back.
    """
    slopes = np.empty_like(values)
    for place in np.ndindex(values.shape):
        kept = values[place]
        values[place] = kept + width
        above = of()
        values[place] = kept - width
        slopes[place] = (above - of()) / (2 * width)
        values[place] = kept
    return slopes


def test_the_printed_output_layer_is_a_softmax_over_a_linear_layer() -> None:
    at = scene("Elman", 1, 3, 5, 5)
    generator = torch.Generator().manual_seed(3)
    weight, bias = (
        torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((7, 5), (7,))
    )
    h = stepped(at.cell, at)["h"][0]
    found = torch.softmax(torch.nn.functional.linear(h, weight, bias), -1)
    expected = [
        elman.output({"W_y": weight.numpy(), "b_y": bias.numpy()}, row) for row in h.numpy()
    ]
    assert np.abs(found.numpy() - np.array(expected)).max() <= 1e-12
