"""Plans that run in a moment, and a record with figures that one can foretell."""

from __future__ import annotations

from typing import Any

from recurra.bench import Plan, Shape
from recurra.bench.registry import (
    CONTENDERS,
    PARTS,
    cell_case,
    ragged_case,
    step_case,
    variant_case,
)
from recurra.bench.rows import summaries, timed

BIG, TINY = Shape(64, 64, 256, 256), Shape(5, 3, 4, 6, 2)
SIZES = dict(
    shapes=(TINY,),
    threads=(1,),
    rounds=2,
    least=1,
    span_s=0.0,
    peak_s=0.01,
    calls=20,
    ragged=Shape(7, 4, 3, 5),
    long=Shape(9, 1, 3, 5),
    steps=(Shape(4, 1, 3, 5, 2),),
)


def tiny(**changes: Any) -> Plan:
    return Plan(**{**SIZES, **changes})


def foretold(
    shape: Shape = BIG, peak: float | None = 200.0, ours: float = 0.1, torch: float = 0.2
) -> dict[str, Any]:
    """A record as `measure` makes it, from given times in seconds."""
    rows: list[dict[str, Any]] = []
    for threads in (1, 2):
        for busy in (False, True):
            for name in CONTENDERS:
                rows += timed(
                    cell_case("cells", name, shape),
                    {"ours": [ours] * 3, "torch": [torch] * 3},
                    threads,
                    busy,
                    peak,
                )
        for name in ("lstm", "gru"):
            case = variant_case(name, shape)
            rows += timed(case, {key: [ours] * 3 for key in case.references}, threads, False, peak)
        rows += timed(
            ragged_case("lstm", shape),
            {"ours": [ours], "full": [torch], "packed": [1.0]},
            threads,
            False,
            peak,
        )
        rows += timed(
            cell_case("long", "gru", shape),
            {"ours": [ours], "torch": [torch]},
            threads,
            False,
            peak,
        )
        rows += timed(
            step_case("rnn", shape),
            {"ours": [ours], "torch": [torch], "loop": [1.0]},
            threads,
            False,
            peak,
        )
    units = {"held": 5.03, "output": 1.0, "input": 1.0, "weights": 0.5, "start": 2.0}
    judged = [CONTENDERS["lstm"].held[0].judge("ours", 5.03)]  # type: ignore[index]
    rows.append(
        {
            "part": "memory",
            "name": "lstm",
            "shape": list(shape),
            "units": {"ours": units, "torch": units},
            "verdicts": judged,
        }
    )
    grown = {
        "grown_mib": 0.2,
        "verdicts": [
            {"what": "MiB grown", "target": 1.0, "at_least": False, "got": 0.2, "ok": True}
        ],
    }
    rows.append(
        {
            "part": "flat",
            "name": "lstm",
            "shape": list(shape),
            "calls": 10_000,
            "before_mib": 400.0,
            "after_mib": 400.2,
        }
        | grown
    )
    machine = {
        "processor": "A Processor",
        "cores": 2,
        "load": 0.1,
        "torch": "2",
        "recurra": "0",
        "native": "v3",
        "python": "3",
    }
    peaks = {"1": peak, "2": peak}
    assert {row["part"] for row in rows} == set(PARTS)
    return {
        "machine": machine,
        "plan": {"method": "auto"},
        "peak": peaks,
        "rows": rows,
        "summaries": summaries(rows),
    }
