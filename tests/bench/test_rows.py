"""From raw times to figures and verdicts."""

from __future__ import annotations

from typing import Any

import pytest

from recurra.bench.registry import (
    CONTENDERS,
    SHAPES,
    VARIANTS,
    cell_case,
    ragged_case,
    ragged_lengths,
    step_case,
    variant_case,
)
from recurra.bench.rows import summaries, timed
from recurra.bench.shape import Shape

BIG = Shape(64, 64, 256, 256)


def cell(
    name: str,
    threads: int,
    ours: float,
    torch: float,
    peak: float | None = 200.0,
    busy: bool = False,
) -> dict[str, Any]:
    (row,) = timed(
        cell_case("cells", name, BIG),
        {"ours": [ours, 9.0, 0.0], "torch": [torch, 0.0, 9.0]},
        threads,
        busy,
        peak,
    )
    return row


def judged(row: dict[str, Any]) -> list[tuple[str, float, bool]]:
    return [(each["what"], each["target"], each["ok"]) for each in row["verdicts"]]


def test_a_cell_against_torch() -> None:
    row = cell("lstm", 2, ours=0.1, torch=0.2)
    assert (
        row["median_s"] == {"ours": 0.1, "torch": 0.2}
        and row["seconds"]["ours"] == [0.1, 9.0, 0.0]
        and row["ratio"] == 2.0
    )
    speed = 6 * 64 * 64 * 4 * 256 * 512 / 0.1 / 1e9
    assert row["gflops"]["ours"] == pytest.approx(speed) and row["share"] == pytest.approx(
        speed / 200
    )
    assert judged(row) == [("ratio", 1.15, True), ("share", 0.67, False)]
    assert judged(cell("lstm", 2, ours=0.08, torch=0.085)) == [
        ("ratio", 1.15, False),
        ("share", 0.67, True),
    ]
    assert judged(cell("gru", 2, ours=0.1, torch=0.145)) == [
        ("ratio", 1.5, False),
        ("share", 0.67, False),
    ]


def test_one_thread_is_asked_for_a_tenth_less_and_for_no_share() -> None:
    assert judged(cell("gru", 1, ours=0.1, torch=0.14)) == [("ratio", 1.35, True)]


def test_without_a_peak_there_is_no_share() -> None:
    row = cell("lstm", 2, 0.1, 0.2, peak=None)
    assert row["share"] is None and judged(row) == [("ratio", 1.15, True)]


@pytest.mark.parametrize("shape", [Shape(64, 31, 256, 256), Shape(64, 64, 256, 255)])
def test_small_shapes_are_asked_for_no_share(shape: Shape) -> None:
    (row,) = timed(
        cell_case("cells", "lstm", shape), {"ours": [1.0], "torch": [2.0]}, 2, False, 200.0
    )
    assert judged(row) == [("ratio", 1.15, True)]


def test_variants_are_measured_by_the_plain_cell_of_the_same_case() -> None:
    case = variant_case("lstm", BIG)
    seconds = {key: [1.2] for key in case.references} | {
        "lstm": [1.0],
        "CoupledLSTM, a user's": [0.9],
    }
    rows = {row["name"]: row for row in timed(case, seconds, 2, False, None)}
    assert set(rows) == set(VARIANTS["lstm"])
    assert judged(rows["Zoneout LSTM"]) == [("time ratio", 1.15, False)]
    assert judged(rows["LayerNormLSTM"]) == [("time ratio", 1.25, True)]
    assert rows["CoupledLSTM, a user's"]["time_ratio"] == pytest.approx(0.9 / 0.75)
    assert rows["PeepholeLSTM"]["seconds"] == {"ours": [1.2], "plain": [1.0]}
    narrow = variant_case("gru", Shape(64, 64, 255, 255, 2))
    assert narrow.shape == Shape(64, 64, 255, 255, 1)
    below = {
        row["name"]: row
        for row in timed(
            narrow, {key: [1.4] for key in narrow.references} | {"gru": [1.0]}, 2, False, None
        )
    }
    assert judged(below["ResetBeforeGRU"]) == [("time ratio", 1.5, True)] and judged(
        below["Zoneout GRU"]
    ) == [("time ratio", 1.15, False)]


def test_ragged_rows_are_measured_by_their_valid_steps_and_by_packing() -> None:
    shape = Shape(200, 64, 128, 128)
    lengths = ragged_lengths(shape)
    assert (
        lengths.shape == (64,)
        and lengths.min() >= 1
        and lengths.max() == 200
        and len(set(lengths.tolist())) > 40
    )
    assert ragged_lengths(Shape(10_000, 2, 1, 1)).max() == 10_000
    (row,) = timed(
        ragged_case("lstm", shape), {"ours": [0.5], "full": [1.0], "packed": [3.0]}, 2, False, None
    )
    assert row["valid"] == pytest.approx(int(lengths.sum()) / 12800) and row[
        "time_ratio"
    ] == pytest.approx(0.5 / row["valid"])
    assert judged(row) == [("time ratio", 1.1, True), ("ratio", 5.0, True)]


def test_one_long_row_has_a_target_of_its_own() -> None:
    (row,) = timed(
        cell_case("long", "lstm", Shape(1000, 1, 128, 128)),
        {"ours": [1.0], "torch": [1.9]},
        2,
        False,
        None,
    )
    assert judged(row) == [("ratio", 2.0, False)]


def test_a_step_is_in_microseconds() -> None:
    seconds = {"ours": [0.001], "torch": [0.003], "loop": [0.004]}
    (row,) = timed(step_case("lstm", Shape(100, 1, 3, 4)), seconds, 1, False, None)
    assert row["us"] == pytest.approx({"ours": 10.0, "torch": 30.0, "loop": 40.0}) and row[
        "ratio"
    ] == pytest.approx(3.0)


def test_a_summary_has_the_geometric_mean_the_worst_row_and_the_lowest_share() -> None:
    group = []
    for shape, torch in zip(SHAPES, (0.2, 0.4, 0.8)):
        group += timed(
            cell_case("cells", "gru", shape), {"ours": [0.2], "torch": [torch]}, 2, False, 100.0
        )
    (summary,) = summaries(group)
    assert (
        summary["geometric_mean"] == pytest.approx(2.0)
        and summary["worst"] == 1.0
        and summary["worst_shape"] == list(SHAPES[0])
    )
    low = min(row["share"] for row in group[1:])
    assert [(each["what"], each["got"]) for each in summary["verdicts"]][1:] == [
        ("worst row", 1.0),
        ("lowest share", low),
    ]
    assert summary["verdicts"][0]["target"] == 2.0 and summary["verdicts"][1]["target"] == 1.5


def test_beside_a_busy_process_an_lstm_is_asked_for_five_times() -> None:
    rows = [cell(name, threads, 0.1, 0.45, busy=True) for name in CONTENDERS for threads in (1, 2)]
    assert all(row["verdicts"] == [] for row in rows)
    found = {(each["name"], each["threads"]): judged(each) for each in summaries(rows)}
    assert found.pop(("lstm", 2)) == [("geometric mean", 5.0, False)] and not any(found.values())


def test_the_targets_are_those_asked_for() -> None:
    targets = {name: (each.mean.value, each.worst.value) for name, each in CONTENDERS.items()}
    assert targets == {"lstm": (1.5, 1.15), "gru": (2.0, 1.5), "rnn": (2.0, 1.5)}
    wanted = {
        name: (each.at(256).value, each.at(255).value)
        for group in VARIANTS.values()
        for name, each in group.items()
    }
    assert wanted == {
        "Zoneout LSTM": (1.15, 1.15),
        "RecurrentDropout LSTM": (1.15, 1.15),
        "PeepholeLSTM": (1.15, 1.15),
        "Zoneout GRU": (1.15, 1.15),
        "LayerNormLSTM": (1.25, 1.5),
        "ProjectedLSTM (H / 2)": (1.25, 1.5),
        "ResetBeforeGRU": (1.25, 1.5),
        "CoupledLSTM, a user's": (1.15, 1.15),
    }
