"""Each verdict on a net made sick on purpose, and none on a healthy one."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import recurra
from recurra import Recurrent, cells
from recurra.errors import ArgumentError
from recurra.inspection import Diagnosis, LayerFigures, Verdict, diagnose, training_norms
from recurra.inspection.verdicts import judge
from recurra.models import LanguageModel
from tests.cells.zoo import assert_close

T, B, I, H = 50, 8, 6, 24
CELLS = [
    cells.LSTM(),
    cells.GRU(),
    cells.Elman(),
    cells.Elman("relu"),
    cells.ResetBeforeGRU(),
    cells.PeepholeLSTM(),
    cells.LayerNormLSTM(),
    cells.LayerNormGRU(),
    cells.MinGRU(),
    cells.MinLSTM(),
    cells.ProjectedLSTM(8),
    cells.Zoneout(cells.LSTM(), h=0.1, c=0.05),
    cells.RecurrentDropout(cells.GRU(), 0.2),
]
SEEDS = 20


def batch(steps: int = T) -> tuple[Tensor]:
    return (torch.randn(steps, B, I),)


def names(diagnosis: Diagnosis) -> list[str]:
    return [verdict.name for verdict in diagnosis.verdicts]


def scaled(model: nn.Module, factor: float) -> nn.Module:
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "weight_hh" in name:
                weight.mul_(factor)
    return model


def biased(model: Any, gate: str, value: float) -> nn.Module:
    with torch.no_grad():
        model.bias_ih.chunk(len(model.cell.gates))[model.cell.gates.index(gate)].fill_(value)
    return model


@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_healthy_nets_get_no_verdict(cell: cells.Cell) -> None:
    torch.set_default_dtype(torch.float32)
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        for steps in (12, T, 100):
            found = diagnose(Recurrent(cell, I, H), batch(steps), window=max(10, steps // 2))
            assert not found.verdicts, (seed, steps, str(found))
    assert "nothing is wrong with what was measured" in str(found)


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_torchs_layers_get_no_verdict_as_they_start(kind: Callable[..., nn.Module]) -> None:
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        assert not diagnose(kind(I, H, 2), batch(), window=T).verdicts


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru", "layer_norm_lstm"])
def test_language_models_get_no_verdict_as_they_start(cell: str) -> None:
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        x, y = torch.randint(20, (2, T, B))
        assert not diagnose(
            LanguageModel(20, 16, H, 2, cell), (x, y), window=T, history=()
        ).verdicts


def test_long_memories_spread_within_the_window_are_healthy() -> None:
    """Chrono's gates stand near their ends because that is what a long memory needs."""
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        for cell in (cells.LSTM(), cells.GRU()):
            layer = Recurrent(cell, I, H)
            recurra.init.chrono(layer, 500)
            assert not diagnose(layer, batch(100), window=500).verdicts


@pytest.mark.parametrize("kind", [recurra.RNN, nn.RNN])
def test_small_recurrent_weights_vanish(kind: Callable[..., nn.Module]) -> None:
    (verdict,) = diagnose(scaled(kind(I, H, 2), 0.3), batch()).verdicts
    assert verdict.name == "vanishing gradient" and verdict.severity == "problem"
    assert re.match(r"The loss's gradient reaches [2-4] of 49 steps back\.$", verdict.evidence)
    assert "LSTM or GRU" in verdict.advice and "forget" not in verdict.advice


def test_one_layer_that_remembers_is_enough() -> None:
    net = recurra.Stack([scaled(recurra.RNN(I, H), 0.3), recurra.RNN(H, H)])
    assert names(diagnose(net, batch())) == []
    assert names(diagnose(scaled(net, 0.3), batch())) == ["vanishing gradient"]


@pytest.mark.parametrize("nonlinearity", ["relu", "identity"])
def test_large_recurrent_weights_explode(nonlinearity: str) -> None:
    class Linear(cells.Cell):
        state, gates = ("h",), ("h",)

        def pointwise(self, a: cells.Pre, s: cells.Known) -> dict[str, Tensor]:
            return dict(h=1.0 * a.h)

    cell = cells.Elman("relu") if nonlinearity == "relu" else Linear()
    found = diagnose(scaled(Recurrent(cell, I, H), 3.0), batch())
    (verdict,) = found.verdicts
    assert (
        verdict.name == "exploding gradient"
        and verdict.severity == "problem"
        and "clip" in verdict.advice
    )
    assert re.search(
        r"In layer 0 a gradient grows to [\d.]+e\+\d+ times its size within 49 steps \(spectral"
        r" radius h 3\)",
        verdict.evidence,
    )
    assert re.search(
        r"; memory cannot be read off: a gradient grows to [\d.]+e\+\d+ times its size on its way"
        r" back;",
        str(found),
    )


def test_what_overflows_explodes() -> None:
    torch.set_default_dtype(torch.float32)
    found = diagnose(scaled(recurra.RNN(I, H, nonlinearity="relu"), 100.0), batch(100))
    assert names(found) == ["exploding gradient"] and found.layers[0].by_lag["h"][1:].isinf().all()
    assert "In layer 0 a gradient stops being finite within 99 steps" in str(
        found
    ) and "cannot be read off: a gradient stops being finite on its way" in str(found)
    text = json.dumps(found.to_dict(), allow_nan=False)
    assert json.loads(text)["layers"][0]["memory_steps"] is None


@pytest.mark.parametrize(
    ("cell", "gate", "bias"),
    [
        (cells.LSTM(), "o", 20.0),
        (cells.LSTM(), "i", -20.0),
        (cells.LSTM(), "f", 20.0),
        (cells.GRU(), "r", -20.0),
        (cells.Elman(), "h", 20.0),
    ],
    ids=lambda value: repr(value) if isinstance(value, cells.Cell) else None,
)
def test_biases_far_out_saturate(cell: cells.Cell, gate: str, bias: float) -> None:
    verdict = next(
        verdict
        for verdict in diagnose(biased(Recurrent(cell, I, H), gate, bias), batch()).verdicts
        if "saturated" in verdict.name
    )
    margin = 0.0001 if gate == "f" else 0.01
    assert verdict == Verdict("saturated gates", "problem", verdict.evidence, verdict.advice)
    assert (
        verdict.evidence
        == f"Values of gate {gate} within {margin:g} of an end of its range: 100% in layer 0."
    )


def test_all_biases_far_out_in_every_layer() -> None:
    net = recurra.LSTM(I, H, 2)
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if "bias_ih" in name:
                weight.copy_(20 * torch.randn(4 * H).sign())
    (verdict,) = [
        verdict for verdict in diagnose(net, batch()).verdicts if verdict.name == "saturated gates"
    ]
    assert (
        all(f"gate {gate}" in verdict.evidence for gate in "igo")
        and "in layer 0" in verdict.evidence
        and "in layer 1" in verdict.evidence
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: Recurrent(cells.LSTM(), I, H),
        lambda: Recurrent(cells.Zoneout(cells.LSTM(), c=0.05), I, H),
    ],
)
def test_a_low_forget_bias_is_found(make: Callable[[], nn.Module]) -> None:
    verdicts = diagnose(biased(make(), "f", -4.0), batch()).verdicts
    assert [verdict.name for verdict in verdicts] == ["vanishing gradient", "forget bias too low"]
    assert (
        re.search(r"keeps at a step is 0\.0\d+ in layer 0 \(bias -4\)\.$", verdicts[1].evidence)
        and verdicts[1].severity == "warning"
    )
    assert "chrono" in verdicts[0].advice and "forget_bias" in verdicts[1].advice


def test_a_gru_that_overwrites_has_a_low_bias_too() -> None:
    for cell, bias in ((cells.GRU(), -3.0), (cells.ResetBeforeGRU(), 3.0)):
        assert "forget bias too low" in names(
            diagnose(biased(Recurrent(cell, I, H), "z", bias), batch())
        )
        assert "forget bias too low" not in names(
            diagnose(biased(Recurrent(cell, I, H), "z", -bias), batch())
        )


@pytest.mark.parametrize("steps", [4, 5, 20, T])
def test_a_window_shorter_than_the_memory_is_found(steps: int) -> None:
    layer = biased(Recurrent(cells.LSTM(), I, H), "f", math.log(0.99 / 0.01))
    (verdict,) = diagnose(layer, batch(steps), window=5).verdicts
    assert (
        verdict.name == "window too short"
        and verdict.severity == "warning"
        and "longer window" in verdict.advice
    )
    by_gates, *by_gradient = (int(share) for share in re.findall(r"(\d+)% by", verdict.evidence))
    assert by_gates == pytest.approx(95, abs=2) and bool(by_gradient) == (steps >= 5)
    assert "5 steps that the gradient sees back" in verdict.evidence
    assert (
        names(diagnose(layer, batch(steps), window=500))
        == []
        == names(diagnose(layer, batch(steps)))
    )


def test_a_net_without_gates_remembers_by_its_gradient() -> None:
    net = Recurrent(cells.Elman("relu"), I, H)
    recurra.init.identity(net)
    with torch.no_grad():
        net.weight_ih.copy_(torch.ones(H, I))
    x = (torch.rand(30, B, I),)
    assert names(diagnose(net, x, window=5)) == ["window too short"]
    assert names(diagnose(net, x, window=40)) == []  # nothing was measured that far
    assert names(diagnose(scaled(net, 1.05), x, window=20)) == []  # grows: no sign of memory


def test_a_layer_that_no_loss_depends_on_needs_no_window() -> None:
    class Aside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.aside = biased(Recurrent(cells.LSTM(), I, H), "f", 5.0)
            self.used = recurra.GRU(I, H)

        def forward(self, x: Tensor) -> Tensor:
            self.aside(x)
            return self.used(x)[0]

    assert names(diagnose(Aside(), batch(), window=10)) == []


def rows(norms: list[float | None]) -> list[dict[str, Any]]:
    return [
        {"kind": "train", "step": step, "loss": 1.0, "grad_norm": norm}
        for step, norm in enumerate(norms, 1)
    ]


def test_jumps_and_breaks_of_the_norm_are_explosions() -> None:
    layer, calm = recurra.LSTM(I, H), [1.0, 2.0, 3.0] * 20
    assert names(diagnose(layer, batch(), history=rows(calm))) == []
    assert (
        names(diagnose(layer, batch(), history=rows([5000.0, *calm]))) == []
    )  # the first tenth is the start
    assert (
        names(diagnose(layer, batch(), history=rows([*calm[:6], 5000.0]))) == []
    )  # too few to say what is usual
    (jump,) = diagnose(layer, batch(), history=rows([*calm, 5000.0])).verdicts
    assert (
        jump.evidence
        == "The gradient norm of the training steps jumped to 5e+03, 2500 times the middle one."
    )
    for broken in (None, math.inf, math.nan):
        (verdict,) = diagnose(layer, batch(), history=rows([*calm, broken])).verdicts
        assert verdict.evidence == "1 of 61 training steps had a gradient that is not finite."


def test_clipped_steps_are_counted() -> None:
    history = [
        {"kind": "validation", "step": 2, "validation_loss": 1.0},
        *rows([0.5, 2.0, None, 1.0]),
    ]
    found = diagnose(recurra.GRU(I, H), batch(), history=history, clip_norm=1.0)
    assert (
        found.norms is not None
        and found.norms.clipped == 0.5
        and found.norms.steps == 4
        and found.clip_norm == 1.0
    )
    assert (
        "training: 4 steps, 50.0% of them clipped, gradient norm 1 in the middle, 2 at most after"
        " the first tenth, 1 not finite" in str(found)
    )
    assert training_norms(history, clip_norm=None).clipped is None  # type: ignore[union-attr]
    assert training_norms(history[:1]) is None and training_norms([]) is None
    assert training_norms(rows([None])).jump is None  # type: ignore[union-attr]


def test_figures_are_those_of_the_single_measurements() -> None:
    model, x = recurra.LSTM(I, H, 2), batch()
    by_lag, use = (
        recurra.inspection.gradient_by_lag(model, x),
        recurra.inspection.gate_use(model, x),
    )
    found, flow = (
        diagnose(model, x),
        recurra.inspection.gradient_flow(model, x, loss_at="last step"),
    )
    for number, layer in enumerate(found.layers):
        assert isinstance(layer, LayerFigures) and layer.name == f"layer {number} LSTM()"
        assert_close(layer.flow, flow.norms[number], 0)
        assert_close(layer.by_lag, by_lag.norms[number], 0)
        assert layer.saturation == use.saturation[number]
        assert_close(layer.time_constants, use.time_constants[number], 0)


def test_it_is_measured_as_at_evaluation_in_either_mode() -> None:
    model = LanguageModel(
        20, 16, H, 2, dropout=0.5, zoneout=(0.3, 0.2), weight_dropout=0.3, locked=True
    )
    pair = tuple(torch.randint(20, (2, 10, B)))
    trained = [diagnose(model, pair).to_dict() for _ in range(2)]
    by_lag, use = (
        recurra.inspection.gradient_by_lag(model, pair),
        recurra.inspection.gate_use(model, pair),
    )
    assert all(module.training for module in model.modules())
    model.eval()
    assert trained == [diagnose(model, pair).to_dict()] * 2
    assert_close(by_lag.norms, recurra.inspection.gradient_by_lag(model, pair).norms, 0)
    assert_close(use.retention, recurra.inspection.gate_use(model, pair).retention, 0)
    assert not any(module.training for module in model.modules())


def test_a_state_before_changes_the_figures() -> None:
    model, x = recurra.GRU(I, H), batch()
    far = torch.full((1, B, H), 3.0)
    assert diagnose(model, inputs=(*x, far)).to_dict() != diagnose(model, x).to_dict()


def test_a_dictionary_holds_everything_and_is_json() -> None:
    layer = biased(Recurrent(cells.LSTM(), I, H), "f", 5.0)
    record = json.loads(
        json.dumps(
            diagnose(layer, batch(), window=5, clip_norm=2.0, history=rows([1.0, 3.0])).to_dict(),
            allow_nan=False,
        )
    )
    assert [verdict["name"] for verdict in record["verdicts"]] == ["window too short"]
    assert (
        record["window"] == 5 and record["clip_norm"] == 2.0 and record["norms"]["clipped"] == 0.5
    )
    (figures,) = record["layers"]
    assert (
        len(figures["flow"]) == len(figures["by_lag"]["c"]) == T
        and len(figures["time_constants"]) == H
    )
    assert (
        figures["memory_steps"] is None
        and figures["keeping_bias"] == 5.0
        and set(figures["spectral_radius"]) == set("ifgo")
    )


def test_drawings_show_the_verdicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    figures: list[Figure] = []
    monkeypatch.setattr(
        Figure,
        "savefig",
        lambda self, path, **options: figures.append(self) or Path(path).write_bytes(b"drawn"),
    )
    found = diagnose(scaled(recurra.LSTM(I, H, 2), 0.5), batch(), window=20)
    found.plot(tmp_path / "a.png")
    recurra.inspection.plot_diagnosis(
        diagnose(scaled(recurra.RNN(I, H, nonlinearity="relu"), 50.0), batch(400)),
        tmp_path / "b.png",
    )
    by_step, by_lag, kept, ends = figures[0].axes
    assert [line.get_label() for line in by_step.lines] == ["layer 0", "layer 1"]
    assert [line.get_label() for line in by_lag.lines][:2] == [
        "dh_t/dh_k, layer 0",
        "dc_t/dc_k, layer 0",
    ]
    assert list(by_lag.lines[1].get_ydata()) == found.layers[0].by_lag["c"].tolist()
    assert sum(patch.get_height() for patch in kept.patches) >= H and len(ends.patches) == 8
    assert (
        "nothing is wrong" in figures[0].get_suptitle()
        and figures[1].get_suptitle() == "exploding gradient"
    )


def test_drawings_are_pictures(tmp_path: Path) -> None:
    diagnose(recurra.RNN(I, H), batch(1)).plot(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_one_step_and_one_row_can_be_looked_at() -> None:
    for steps, count in ((1, 1), (2, 1), (1, 3)):
        assert (
            diagnose(recurra.LSTM(I, H), (torch.randn(steps, count, I),), window=10).layers[0].steps
            == steps
        )
    assert judge([]) == ()


@pytest.mark.parametrize(
    ("option", "value"), [("window", 0), ("window", -3), ("clip_norm", 0.0), ("reach", 0)]
)
def test_options_outside_are_refused(option: str, value: float) -> None:
    with pytest.raises(
        ArgumentError,
        match=rf"^{option} must be a positive number, got {value}; leave it out if there is none$",
    ):
        diagnose(recurra.GRU(I, H), batch(), **{option: value})  # type: ignore[arg-type]
