"""What was not finite first is named."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from recurra.errors import RunError
from recurra.models import LanguageModel
from recurra.train import Recipe, fit, from_text, resume
from recurra.train.checkpoint import read_newest
from tests.train.moments import Chunks

DATA = from_text("the cat sat on the mat and the rat sat on the cat; " * 12)
RECIPE = Recipe(epochs=2, window=30, batch=4, lr=0.01, checkpoint_s=0)


def made() -> LanguageModel:
    torch.manual_seed(3)
    return LanguageModel(len(DATA.vocabulary), embed=6, hidden=7, dropout=0.2)


def message(model: LanguageModel, *callbacks: Any, out: Path | None = None) -> str:
    with pytest.raises(RunError, match="must stay finite, got (nan|inf|2)") as caught:
        fit(model, DATA, RECIPE, out, show=False, callbacks=callbacks)
    return str(caught.value)


def breaking(part: nn.Module, forward: bool, infinite: bool) -> None:
    """From its third call on, a part's output, or the gradient there, is not finite."""
    calls, value = 0, math.inf if infinite else math.nan

    def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls < 3:
            return output
        first = output[0] if isinstance(output, tuple) else output
        if forward:
            first = first * value
        elif first.requires_grad:
            first.register_hook(lambda gradient: gradient * value)
        return (first, *output[1:]) if isinstance(output, tuple) else first

    part.register_forward_hook(hook)


@pytest.mark.parametrize("infinite", [True, False])
@pytest.mark.parametrize(
    "name", ["embedding", "recurrent.layers.0", "recurrent.layers.2", "bottleneck"]
)
def test_the_first_output_is_named(name: str, infinite: bool) -> None:
    model = made()
    breaking(model.get_submodule(name), True, infinite)
    assert message(model).endswith(f"; the output of {name} went first")


@pytest.mark.parametrize("name", ["recurrent.layers.0", "recurrent.layers.2", "bottleneck"])
def test_the_first_gradient_is_named(name: str) -> None:
    model = made()
    breaking(model.get_submodule(name), False, True)
    assert message(model).endswith(f"; the gradient went first on its way back through {name}")


def test_a_gradient_of_weights_alone_is_named() -> None:
    model = made()
    model.embedding.weight.register_hook(lambda gradient: gradient * math.inf)
    assert message(model).endswith("; the gradient of embedding.weight went first")


def test_weights_are_named_and_the_last_good_checkpoint_stands(tmp_path: Path) -> None:
    model = made()

    def poison(row: dict[str, Any]) -> None:
        if row["step"] == 3:
            with torch.no_grad():
                model.bottleneck.weight[0, 0] = math.inf

    text = message(model, Chunks(poison), out=tmp_path)
    assert text.endswith(
        "; the last checkpoint stands; the weights bottleneck.weight are not finite"
    )
    found = read_newest(tmp_path / "last")
    assert found.record["step"] == 2 and all(
        bool(value.isfinite().all())
        for value in found.tensors.values()
        if value.is_floating_point()
    )
    assert not resume(tmp_path, DATA, show=False).stopped


def test_the_generator_and_the_state_are_those_of_the_chunk() -> None:
    """A part that breaks by chance, on its own draws, breaks again when it is looked for."""
    model, broke = made(), []

    def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
        bad = module.training and float(torch.rand(())) < 0.2
        broke.append(bad)
        return output * math.nan if bad else output

    model.bottleneck.register_forward_hook(hook)
    assert message(model).endswith("; the output of bottleneck went first")
    assert broke[-2:] == [True, True] and True not in broke[:-2]
