"""Recurrent tasks of the literature, learnt whole: data drawn for each update, so that nothing can
be learnt by heart.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import recurra
from recurra import init

SYMBOLS, RECALLED = 8, 10
"""Of the copy task: how many different symbols there are, and how many are to be recalled."""
BLANK, GO = 0, SYMBOLS + 1
"""Its two other inputs; the symbols are 1 to 8, and GO is never an output."""
TESTS = ("tests/quality",)


class Task(NamedTuple):
    """A task whose data are drawn, not kept.

    Attributes:
        name: what it is called.
        steps: T, how long something is to be remembered.
        inputs, outputs: widths at each step.
        draw: of a batch's size and a generator: x (steps, B, inputs), and what is wanted.
        cost: of outputs (steps, B, outputs) and what is wanted: the mean error, ().
        memoryless: the error of the best net that remembers nothing.
        bound: the error below which the task counts as learnt.
    """

    name: str
    steps: int
    inputs: int
    outputs: int
    draw: Callable[[int, torch.Generator], tuple[Tensor, Tensor]]
    cost: Callable[[Tensor, Tensor], Tensor]
    memoryless: float
    bound: float


def adding(steps: int, bound: float = 1e-3) -> Task:
    """The adding problem: at each step a number from [0, 1) and a mark; what is wanted at the end
    is the sum of the two marked ones.

    One mark lies in the first half, one in the second. Without memory the best answer is 1, whose
    mean squared error is the variance of the sum, 1/6.

    Args:
        steps: T, at least 2.
        bound: mean squared error below which it counts as learnt.

    Source: Hochreiter & Schmidhuber (1997), doi:10.1162/neco.1997.9.8.1735; numbers and marks drawn
        as in Arjovsky et al. (2016), arXiv:1511.06464.

    >>> x, y = adding(6).draw(3, torch.Generator().manual_seed(0))
    >>> x.shape, x[..., 1].sum(0).tolist(), bool(torch.allclose(y, (x[..., 0] * x[..., 1]).sum(0)))
    (torch.Size([6, 3, 2]), [2.0, 2.0, 2.0], True)
    """

    def draw(batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        numbers = torch.rand(steps, batch, generator=generator, dtype=torch.float32)
        first = torch.randint(steps // 2, (batch,), generator=generator)
        second = torch.randint(steps // 2, steps, (batch,), generator=generator)
        marks = torch.zeros_like(numbers).scatter_(0, torch.stack([first, second]), 1.0)
        return torch.stack([numbers, marks], dim=-1), (numbers * marks).sum(0)

    def cost(outputs: Tensor, wanted: Tensor) -> Tensor:
        return F.mse_loss(outputs[-1, :, 0], wanted)

    return Task("adding", steps, 2, 1, draw, cost, 1 / 6, bound)


def copy(steps: int, bound: float | None = None) -> Task:
    """The copy task: ten symbols out of eight, steps - 1 blanks, a delimiter; then the ten are
    wanted in their order.

    Before the delimiter, and at it, blanks are wanted. Without memory the best net knows when to
    answer and guesses what: its mean cross entropy over all steps is 10 ln 8 / (T + 20).

    Args:
        steps: T, at least 1.
        bound: nats a step below which it counts as learnt; a tenth of the memoryless ones if None.

    Source: Hochreiter & Schmidhuber (1997), doi:10.1162/neco.1997.9.8.1735; as in Arjovsky et al.
        (2016), arXiv:1511.06464.

    >>> x, y = copy(3).draw(1, torch.Generator().manual_seed(0))
    >>> x.argmax(-1)[:, 0].tolist()
    [5, 8, 6, 1, 4, 4, 4, 8, 2, 4, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    >>> y[:, 0].tolist()
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 8, 6, 1, 4, 4, 4, 8, 2, 4]
    """
    memoryless = RECALLED * math.log(SYMBOLS) / (steps + 2 * RECALLED)

    def draw(batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        symbols = torch.randint(1, SYMBOLS + 1, (RECALLED, batch), generator=generator)
        x, wanted = torch.full((2, steps + 2 * RECALLED, batch), BLANK)
        x[:RECALLED], x[-RECALLED - 1], wanted[-RECALLED:] = symbols, GO, symbols
        return F.one_hot(x, SYMBOLS + 2).to(torch.float32), wanted

    def cost(outputs: Tensor, wanted: Tensor) -> Tensor:
        return F.cross_entropy(outputs.flatten(0, 1), wanted.flatten())

    return Task(
        "copy",
        steps,
        SYMBOLS + 2,
        SYMBOLS + 1,
        draw,
        cost,
        memoryless,
        memoryless / 10 if bound is None else bound,
    )


class Plan(NamedTuple):
    """How a task is learnt: a GRU that begins with chrono initialisation, and Adam.

    Attributes:
        hidden: H.
        batch: sequences an update.
        lr: the rate.
        betas: of Adam; a short memory of squares lets the rate follow gradients that grow a
            thousandfold once a task is half learnt.
        stretch: what the weights of the inputs are multiplied with at the start: gates that see the
            input clearly from the first update learn when to write before they learn what.
        clip_norm: gradients are scaled to at most this norm.
    """

    hidden: int = 64
    batch: int = 50
    lr: float = 3e-3
    betas: tuple[float, float] = (0.9, 0.999)
    stretch: float = 1.0
    clip_norm: float = 1.0


PLANS = {
    "adding": Plan(),
    "copy": Plan(hidden=128, batch=12, lr=1e-2, betas=(0.9, 0.9), stretch=16.0),
}
"""By task; found at T = 600 and T = 500."""


class Net(nn.Module):
    """A GRU whose gates remember from 1 to the task's T steps at the start, and a linear layer at
    each step.

    Args:
        task, plan: the sizes, the time to be remembered, and the scale of the inputs' weights.

    Source: chrono initialisation from Tallec & Ollivier (2018), arXiv:1804.11188.
    """

    def __init__(self, task: Task, plan: Plan) -> None:
        super().__init__()
        self.gru = recurra.GRU(task.inputs, plan.hidden, dtype=torch.float32)
        self.out = nn.Linear(plan.hidden, task.outputs, dtype=torch.float32)
        init.chrono(self.gru, max(3, task.steps))
        with torch.no_grad():
            self.gru.weight_ih_l0.mul_(plan.stretch)

    def forward(self, x: Tensor) -> Tensor:
        """x (T, B, inputs) to outputs (T, B, outputs)."""
        return self.out(self.gru(x)[0])


class Outcome(NamedTuple):
    """What came of learning a task.

    Attributes:
        task: its name.
        loss: on fresh data.
        bound, memoryless: of the task.
        updates, seconds: how long it took.
    """

    task: str
    loss: float
    bound: float
    memoryless: float
    updates: int
    seconds: float

    @property
    def learnt(self) -> bool:
        """Whether the error on fresh data is below the bound."""
        return self.loss < self.bound


def train_task(
    task: Task, plan: Plan | None = None, seed: int = 0, limit_s: float = 600.0, fresh: int = 1000
) -> Outcome:
    """Learn a task until the running error of its batches is half of the bound, or time is up.

    Args:
        task: from `adding` or `copy`.
        plan: how; that of the task's name in `PLANS` if None.
        seed: of weights and data.
        limit_s: seconds after which it ends, learnt or not.
        fresh: sequences, never trained on, for the error that is reported.
    """
    plan = PLANS[task.name] if plan is None else plan
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Net(task, plan)
    optimizer = torch.optim.Adam(net.parameters(), lr=plan.lr, betas=plan.betas, fused=True)
    generator, running, updates, began = (
        torch.Generator().manual_seed(seed),
        math.inf,
        0,
        time.perf_counter(),
    )
    while running >= task.bound / 2 and time.perf_counter() - began < limit_s:
        x, wanted = task.draw(plan.batch, generator)
        loss = task.cost(net(x), wanted)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), plan.clip_norm)
        optimizer.step()
        updates += 1
        running = loss.item() if updates == 1 else running + 0.02 * (loss.item() - running)
    seconds = time.perf_counter() - began
    with torch.no_grad():
        x, wanted = task.draw(fresh, torch.Generator().manual_seed(seed + 1))
        return Outcome(
            task.name,
            task.cost(net(x), wanted).item(),
            task.bound,
            task.memoryless,
            updates,
            seconds,
        )


def measure() -> list[dict[str, Any]]:
    """Learn both at the lengths of the literature."""
    return [train_task(task)._asdict() for task in (adding(600), copy(500))]


def text(rows: list[dict[str, Any]]) -> str:
    """A line a task."""
    return "\n".join(
        f"{row['task']}: error {row['loss']:.2e} on fresh data (below {row['bound']:.1e} wanted;"
        f" {row['memoryless']:.3f} without memory), {row['updates']} updates in"
        f" {row['seconds']:.0f} s"
        for row in rows
    )
