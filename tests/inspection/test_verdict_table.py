"""Nets as they start and as they are after training, and the verdict on each that theory says
beforehand.

What is kept at a step, r, leaves r^k after k steps: 1 % at k = ln(0.01) / ln(r). An LSTM with
forget bias 1 (r = 0.73) has some 15 steps by the middle gate and twice that by the best of 32
units; torch's (r = 0.5) 7; a GRU at z = 0.5 as much; an orthogonal tanh net loses to its slopes;
biases by chrono(n) hold 1/e and more over n steps; identity weights lose nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import recurra
from recurra import Recurrent, cells
from recurra.inspection import Diagnosis, diagnose

I, H, B, CLASSES = 10, 32, 8, 8
SEEDS = 3


class Net(nn.Module):
    """A layer and a linear head, on the last step or on each."""

    def __init__(self, layer: nn.Module, each: bool = False) -> None:
        super().__init__()
        self.layer, self.head, self.each = layer, nn.LazyLinear(CLASSES), each

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)[0]
        return self.head(y if self.each else y[-1])


def begun(layer: Any, init: Callable[..., None], *options: Any) -> Any:
    init(layer, *options)
    return layer


def chrono(layer: Any, steps: int) -> Any:
    return begun(layer, recurra.init.chrono, steps)


LAYERS: dict[str, Callable[[int], nn.Module]] = {
    "torch RNN": lambda steps: nn.RNN(I, H),
    "torch LSTM": lambda steps: nn.LSTM(I, H),
    "torch GRU": lambda steps: nn.GRU(I, H),
    "RNN": lambda steps: recurra.RNN(I, H),
    "LSTM": lambda steps: recurra.LSTM(I, H),
    "GRU": lambda steps: recurra.GRU(I, H),
    "bidirectional LSTM": lambda steps: recurra.LSTM(I, H, bidirectional=True),
    "peephole": lambda steps: Recurrent(cells.PeepholeLSTM(), I, H),
    "projected": lambda steps: Recurrent(cells.ProjectedLSTM(8), I, H),
    "textbook GRU": lambda steps: Recurrent(cells.ResetBeforeGRU(), I, H),
    "layer norm LSTM": lambda steps: Recurrent(cells.LayerNormLSTM(), I, H),
    "layer norm GRU": lambda steps: Recurrent(cells.LayerNormGRU(), I, H),
    "MinGRU": lambda steps: Recurrent(cells.MinGRU(), I, H),
    "MinLSTM": lambda steps: Recurrent(cells.MinLSTM(), I, H),
    "zoneout": lambda steps: Recurrent(recurra.Zoneout(cells.LSTM(), h=0.1, c=0.05), I, H),
    "identity RNN": lambda steps: begun(
        recurra.RNN(I, H, nonlinearity="relu"), recurra.init.identity
    ),
    "chrono LSTM": lambda steps: chrono(recurra.LSTM(I, H), steps),
    "chrono GRU": lambda steps: chrono(recurra.GRU(I, H), steps),
    "chrono textbook GRU": lambda steps: chrono(Recurrent(cells.ResetBeforeGRU(), I, H), steps),
    "chrono MinGRU": lambda steps: chrono(Recurrent(cells.MinGRU(), I, H), steps),
    "chrono layer norm LSTM": lambda steps: chrono(Recurrent(cells.LayerNormLSTM(), I, H), steps),
}

NOT_TRAINED = [
    # layer, T, where the loss counts: the severity of "vanishing gradient", or None
    *[(name, 5, "end", None) for name in LAYERS if name != "MinGRU"],
    *[
        (name, 20, "end", "problem")
        for name in (
            "torch RNN",
            "torch LSTM",
            "torch GRU",
            "GRU",
            "textbook GRU",
            "MinGRU",
            "MinLSTM",
        )
    ],
    *[(name, 20, "end", None) for name in ("LSTM", "peephole", "layer norm LSTM", "zoneout")],
    *[
        (name, 100, "end", "problem")
        for name in (
            "torch RNN",
            "torch LSTM",
            "torch GRU",
            "RNN",
            "LSTM",
            "GRU",
            "bidirectional LSTM",
        )
    ],
    *[
        (name, 100, "end", "problem")
        for name in ("peephole", "projected", "textbook GRU", "layer norm GRU", "MinGRU", "zoneout")
    ],
    *[
        (name, steps, "end", None)
        for name in LAYERS
        if "chrono" in name or "identity" in name
        for steps in (20, 100, 500)
    ],
    *[(name, 500, "end", "problem") for name in ("torch LSTM", "RNN", "LSTM", "layer norm GRU")],
    *[(name, 100, "each", None) for name in LAYERS],
]


def vanishing(found: Diagnosis) -> str | None:
    """The severity of the verdict, if there is one."""
    return next(
        (verdict.severity for verdict in found.verdicts if verdict.name == "vanishing gradient"),
        None,
    )


@pytest.mark.parametrize(("name", "steps", "where", "expected"), NOT_TRAINED, ids=str)
def test_nets_as_they_start(name: str, steps: int, where: str, expected: str | None) -> None:
    torch.set_default_dtype(torch.float32)
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        x = torch.randn(steps, B, I)
        net = Net(LAYERS[name](steps), where == "each")
        net(x)
        found = diagnose(
            net,
            (x, torch.randint(CLASSES, (steps, B) if where == "each" else (B,))),
            history=(),
            window=steps,
        )
        assert vanishing(found) == expected, str(found)
        assert found.need.asked == (None if where == "each" else steps - 1)
        if expected:
            verdict = next(
                verdict for verdict in found.verdicts if verdict.name == "vanishing gradient"
            )
            assert ("recurra.replace" in verdict.advice) == (name in ("torch LSTM", "torch GRU"))
            assert (
                f"of {steps - 1} steps back" in verdict.evidence
                and f"chrono(model, {max(3, steps - 1)})" in verdict.advice
            )


def test_reach_is_what_the_caller_says() -> None:
    torch.set_default_dtype(torch.float32)
    for name, reach, expected in (
        ("torch GRU", 5, None),
        ("torch GRU", 20, "problem"),
        ("LSTM", 20, None),
        ("LSTM", 60, "problem"),
    ):
        net, x = Net(LAYERS[name](0)), torch.randn(100, B, I)
        net(x)
        found = diagnose(net, (x, torch.randint(CLASSES, (B,))), reach=reach)
        assert vanishing(found) == expected and found.need.asked == reach


def test_a_window_shorter_than_what_the_loss_asks_for_is_a_problem() -> None:
    torch.set_default_dtype(torch.float32)
    net, x = Net(LAYERS["chrono GRU"](100)), torch.randn(100, B, I)
    net(x)
    for window, expected in ((99, []), (98, ["window too short"])):
        found = diagnose(net, (x, torch.randint(CLASSES, (B,))), window=window)
        assert [
            verdict.name for verdict in found.verdicts if verdict.severity == "problem"
        ] == expected
    assert (
        f"The gradient sees {window} steps back in training; the loss counts at one step of a row"
        in found.verdicts[0].evidence
    )


def recall(lag: int, steps: int, rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Symbols, one at each step, and the symbol `lag` steps before each; -100 where there is
    none.
    """
    symbols = torch.randint(CLASSES, (steps, rows), generator=generator)
    y = torch.full_like(symbols, -100)
    y[lag:] = symbols[: steps - lag]
    return F.one_hot(symbols, I).float(), y


def trained(
    layer: nn.Module, lag: int, steps: int, updates: int, at_end: bool
) -> tuple[Net, Tensor, Tensor]:
    """A net after some updates on recall, and a batch that it has not seen."""
    generator, net = torch.Generator().manual_seed(0), Net(layer, each=not at_end)

    def batch(rows: int) -> tuple[Tensor, Tensor]:
        x, y = recall(lag, steps, rows, generator)
        return x, y[-1] if at_end else y

    net(batch(1)[0])
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(updates):
        x, y = batch(32)
        optimiser.zero_grad()
        F.cross_entropy(net(x).flatten(0, -2), y.flatten(), ignore_index=-100).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
    return (net, *batch(64))


HISTORY = [{"kind": "train", "step": step, "loss": 2.0, "grad_norm": 1.0} for step in range(1, 121)]
TRAINED = [
    # layer, lag, T, updates, loss at the end, what was said of training: the verdict, and whether
    # the net beats the naive baseline
    ("torch RNN", 49, 50, 120, True, None, "problem", False),
    ("torch LSTM", 49, 50, 120, True, None, "problem", False),
    ("torch GRU", 49, 50, 120, True, HISTORY, "problem", False),
    ("torch GRU", 40, 60, 120, False, HISTORY, "problem", False),
    ("torch GRU", 40, 60, 120, False, None, "warning", False),
    ("chrono GRU", 19, 20, 250, True, None, None, True),
    ("torch GRU", 1, 40, 120, False, HISTORY, None, True),
    ("MinGRU", 0, 40, 120, False, HISTORY, "warning", True),
    ("torch GRU", 0, 50, 120, True, None, "warning", True),
    ("torch LSTM", 1, 50, 200, True, None, "warning", True),
]


@pytest.mark.parametrize(
    ("name", "lag", "steps", "updates", "at_end", "history", "expected", "beats"), TRAINED
)
def test_nets_after_training(
    name: str,
    lag: int,
    steps: int,
    updates: int,
    at_end: bool,
    history: Any,
    expected: str | None,
    beats: bool,
) -> None:
    torch.set_default_dtype(torch.float32)
    net, x, y = trained(LAYERS[name](lag), lag, steps, updates, at_end)
    found = diagnose(net, (x, y), history=history, window=steps)
    assert found.performance.beats == beats, str(found)
    severity = vanishing(found)
    assert severity == expected, str(found)
    assert found.need.asked == (steps - 1 if at_end else None)
    if beats:
        assert "problem" not in [verdict.severity for verdict in found.verdicts], str(found)


def test_a_loss_on_the_last_step_alone_asks_for_its_distance() -> None:
    """Targets of -100 at all steps but one say where the loss counts, as an output at the end
    does.
    """
    torch.set_default_dtype(torch.float32)
    x, y = recall(19, 20, B, torch.Generator().manual_seed(0))
    net = Net(nn.GRU(I, H), each=True)
    net(x)
    found = diagnose(net, (x, y))
    assert (found.need.asked, vanishing(found)) == (19.0, "problem")
    ours = diagnose(net, inputs=(x,), loss=lambda logits: F.cross_entropy(logits[-1], y[-1]))
    assert ours.need == found.need and ours.performance.naive is None
