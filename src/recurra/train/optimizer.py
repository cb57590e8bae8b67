"""The optimiser of a recipe, and the average of weights that ASGD evaluates with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from recurra.train.recipe import Recipe


def make_optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """The optimiser that a recipe names, over all of a model's parameters, in PyTorch's fused form.

    >>> make_optimizer(Recipe(optimizer="sgd"), nn.Linear(2, 3)).defaults["momentum"]
    0.0
    """
    parameters, decay = list(model.parameters()), recipe.weight_decay
    if recipe.optimizer in ("sgd", "asgd"):
        return torch.optim.SGD(
            parameters, lr=recipe.lr, momentum=recipe.momentum, weight_decay=decay, fused=True
        )
    kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    first, second = map(
        float, recipe.betas
    )  # a whole number beside a fraction is refused by PyTorch
    return kind(parameters, lr=recipe.lr, betas=(first, second), weight_decay=decay, fused=True)


def moment_names(recipe: Recipe) -> tuple[str, ...]:
    """What the optimiser of a recipe remembers of each parameter.

    >>> moment_names(Recipe())
    ('exp_avg', 'exp_avg_sq', 'step')
    """
    if recipe.optimizer in ("sgd", "asgd"):
        return ("momentum_buffer",) if recipe.momentum else ()
    return ("exp_avg", "exp_avg_sq", "step")


class Average:
    """The mean of a model's weights over the updates since it began: averaged SGD.

    Args:
        model: the model.
        after: validations in a row without a better one after which averaging begins.

    Source: Polyak & Juditsky (1992), doi:10.1137/0330046; its non-monotonic trigger from Merity et
        al. (2018), arXiv:1708.02182: it begins when the last validation is no better than the best
        of those `after` or more before.
    """

    def __init__(self, model: nn.Module, after: int) -> None:
        self.model, self.after = model, after
        self.losses: list[float] = []
        self.means: dict[str, Tensor] = {}
        self.count = 0

    def update(self) -> None:
        """Take the weights after an update into the mean, once averaging has begun."""
        if not self.means:
            return
        self.count += 1
        with torch.no_grad():
            for name, weight in self.model.named_parameters():
                self.means[name].lerp_(weight, 1 / self.count)

    def judge(self, validation_loss: float) -> None:
        """Take note of a validation, and begin to average where it shows no progress."""
        earlier = self.losses[: -self.after]
        if not self.means and earlier and validation_loss > min(earlier):
            self.means = {
                name: weight.detach().clone() for name, weight in self.model.named_parameters()
            }
        self.losses.append(validation_loss)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Run the model with the mean in place of its weights; nothing changes before averaging has
        begun.
        """
        own = (
            {name: weight.detach().clone() for name, weight in self.model.named_parameters()}
            if self.means
            else {}
        )
        self._copy(self.means)
        try:
            yield
        finally:
            self._copy(own)

    def _copy(self, weights: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, weight in self.model.named_parameters():
                if name in weights:
                    weight.copy_(weights[name])
