"""The example's scorer by hand, its detector as a stream, and its commands as they are typed."""

from __future__ import annotations

import io
import math
import subprocess
import sys
import tracemalloc
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from examples.sensor_anomalies import nab, nab_score, peers, plot, score, streams, train
from examples.sensor_anomalies.calibration import Rest, Running, unusual
from examples.sensor_anomalies.detector import Detector, load
from examples.sensor_anomalies.features import features
from examples.sensor_anomalies.nab_score import LOW_FN, LOW_FP, STANDARD, left_out, sigmoid, sweep
from examples.sensor_anomalies.streams import Stream
from recurra import runtime

ROOT = Path(__file__).parents[2]
HAS_DATA = pytest.mark.skipif(
    not streams.found(), reason=f"no NAB data in {streams.folder()}: set RECURRA_DATA"
)


def hourly(values: np.ndarray, windows: list[tuple[int, int]] | None = None) -> Stream:
    begins = datetime(2024, 1, 1)
    return Stream(
        "made.csv",
        [str(begins + timedelta(hours=row)) for row in range(len(values))],
        values,
        windows or [],
    )


def alarms(rows: int, *at: int) -> np.ndarray:
    scores = np.zeros(rows)
    scores[list(at)] = 1.0
    return scores


BLANK = hourly(np.zeros(100), [(40, 49), (70, 79)])
"""The probation ends at row 15."""


def at_one(*rows: int, stream: Stream = BLANK, profile: nab_score.Profile = STANDARD) -> float:
    return sweep([stream], [alarms(100, *rows)], profile).at(1.0)


@pytest.fixture(scope="module")
def wave() -> Stream:
    """A day's rhythm with a little noise, and a spike far behind the probation."""
    rows = np.arange(1000)
    values = (
        50 + 10 * np.sin(2 * math.pi * rows / 24) + np.random.default_rng(0).normal(0, 0.5, 1000)
    )
    values[700] += 40
    return hourly(values, [(690, 710)])


@pytest.fixture(scope="module")
def model_file(wave: Stream, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forecasters")
    table = "".join(f"{stamp},{value}\n" for stamp, value in zip(wave.stamps, wave.values))
    (folder / "made.csv").write_text(f"timestamp,value\n{table}")
    train.main([str(folder / "made.csv"), "--out", str(folder)])
    return folder / "made.rcr"


def test_nothing_has_0_and_every_windows_first_row_100() -> None:
    assert at_one(0) == 0.0
    for profile in (STANDARD, LOW_FP, LOW_FN):
        assert at_one(40, 70, profile=profile) == pytest.approx(100)


def test_a_later_row_of_a_window_is_worth_less_and_only_the_earliest_counts() -> None:
    worth = [at_one(row) for row in (40, 44, 49)]
    assert worth[0] == pytest.approx(50) and worth == sorted(worth, reverse=True)
    middle = (2 / (1 + math.exp(-5 * 6 / 10)) - 1) / (2 / (1 + math.exp(-5)) - 1)
    assert worth[1] == pytest.approx(100 * (middle + 1) / 4)
    assert at_one(44, 45, 46, 49) == pytest.approx(worth[1]) and worth[2] > 25


def test_a_false_detection_costs_by_its_distance_behind_a_window() -> None:
    whole = 100 * 0.11 / 4
    assert at_one(20) == pytest.approx(-whole) and at_one(20, profile=LOW_FP) == pytest.approx(
        -2 * whole
    )
    assert at_one(20, 21) == pytest.approx(-2 * whole)
    assert at_one(51) == pytest.approx(whole * sigmoid(np.array(2 / 9)))
    assert at_one(99) == pytest.approx(whole * sigmoid(np.array(20 / 9)))
    far = hourly(np.zeros(100), [(20, 29)])
    assert (
        at_one(56, stream=far) == pytest.approx(-2 * whole) and at_one(55, stream=far) > -2 * whole
    )


def test_the_probation_is_not_looked_at_and_ends_at_750_rows() -> None:
    assert at_one(0, 14) == 0.0 and at_one(15) < 0
    assert [streams.probation(rows) for rows in (100, 1127, 5000, 22695)] == [15, 169, 750, 750]


def test_one_threshold_for_all_files_is_the_best_one() -> None:
    other = hourly(np.zeros(100), [(50, 59)])
    scores = [
        0.9 * alarms(100, 40, 70) + 0.5 * alarms(100, 60),
        0.8 * alarms(100, 50) + 0.95 * alarms(100, 20),
    ]
    best, threshold = sweep([BLANK, other], scores).best
    assert threshold == 0.8 and best == pytest.approx(100 * (6 - 0.11) / 6)
    assert left_out([BLANK, other], scores) == pytest.approx(100 * (6 - 0.11) / 6 - 100 * 2 / 6)


def test_the_running_mean_and_deviation_are_those_of_what_was_before() -> None:
    x = 5 * np.random.default_rng(1).normal(size=50)
    running = Running()
    found = [running.push(each) for each in x.tolist()]
    assert found[0] == 0.0
    assert found[30] == pytest.approx((x[30] - x[:30].mean()) / x[:30].std())
    shifted = Running(memory=20)
    for each in [0.0] * 1000 + [7.0] * 200:
        shifted.push(each)
    assert shifted.mean == pytest.approx(7, abs=1e-3) and shifted.count == 20


def test_an_alarm_rests_until_a_higher_one_or_its_rows_are_over() -> None:
    rest = Rest(3)
    assert [rest.push(each) for each in (0.5, 0.4, 0.5, 0.6, 0.1, 0.2, 0.3, 0.3, 0.4)] == [
        0.5,
        0,
        0,
        0.6,
        0,
        0,
        0,
        0,
        0.4,
    ]
    assert [Rest(0).push(each) for each in (0.5, 0.4)] == [0.5, 0.4]
    assert [unusual(z) for z in (-3.0, 0.0, 1.0, 3.0)] == [0, 0, 0.5, 0.9]


def test_a_spike_has_a_high_score_and_one_alarm(wave: Stream, model_file: Path) -> None:
    scores, seconds = nab.stream_through(wave, Detector(load(model_file)))
    assert (
        scores.argmax() == 700
        and scores[700] > 0.99
        and (scores[wave.probation :] > 0.97).sum() == 1
    )
    assert len(seconds) == 1000 and (seconds > 0).all()
    assert sweep([wave], [scores]).best[0] > 90


def test_rows_one_by_one_have_the_surprise_of_the_whole(wave: Stream, model_file: Path) -> None:
    detector = Detector(load(model_file))
    streamed = [
        detector.push(datetime.fromisoformat(stamp), value).surprise
        for stamp, value in zip(wave.stamps, wave.values.tolist())
    ]
    model = runtime.load(model_file)
    facts = model.network.facts
    y = (wave.values - facts["center"]) / facts["width"]
    stamps = map(datetime.fromisoformat, wave.stamps)
    x = np.array(
        [features(now, before, stamp) for now, before, stamp in zip(y, [y[0], *y], stamps)],
        np.float32,
    )
    mean = model.session().push(x[:, None])[:-1, 0, 0]
    whole = np.abs(y[1:] - mean) / facts["scale"] + math.log(2 * facts["scale"])
    np.testing.assert_allclose(streamed[1:], whole, rtol=1e-9)


def test_only_the_probation_is_trained_on(wave: Stream) -> None:
    changed = wave._replace(values=np.where(np.arange(1000) < wave.probation, wave.values, 1e6))
    (one, facts), (two, same) = (train.fit(stream, passes=1) for stream in (wave, changed))
    assert facts == same and facts["rows"] == 150
    assert all((a == b).all() for a, b in zip(one.parameters(), two.parameters()))


def test_memory_does_not_grow(model_file: Path) -> None:
    detector, stamp = Detector(load(model_file)), datetime(2024, 1, 1)
    for row in range(500):
        detector.push(stamp, 50.0 - 0.001 * row)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for row in range(20_000):
        detector.push(stamp, 50.0 - 0.001 * (row % 1000))
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 20_000 and len(detector.rest.falling) <= detector.rest.rows + 1 == 76


def test_bad_rows_are_named_and_passed_over(model_file: Path) -> None:
    lines = [
        "timestamp,value\n",
        "2024-01-01 00:00:00,50\n",
        "2024-01-01 01:00:00,nan\n",
        "nonsense\n",
        "today,3\n",
        "\n",
    ]
    lines += [
        "2024-01-01 02:00:00,abc\n",
        "2024-01-01 02:00:00,51\n",
        "2023-01-01 02:00:00,1e300\n",
        "2023-01-01 02:00:00,51\n",
    ]
    bad = io.StringIO()
    rows = list(score.scored(lines, Detector(load(model_file)), bad))
    assert [row.split(",")[1] for row in rows] == ["50", "51", "1e300", "51"]
    assert all(
        math.isfinite(float(part)) and 0 <= float(row.split(",")[3]) <= 1
        for row in rows
        for part in row.split(",")[2:]
    )
    assert bad.getvalue().splitlines() == [
        "line 3: value must be a finite number, got 'nan'; passed over",
        "line 4: row must be timestamp,value, got 'nonsense'; passed over",
        "line 5: timestamp must be like 2014-07-01 00:30:00, got 'today'; passed over",
        "line 7: value must be a finite number, got 'abc'; passed over",
    ]


def test_score_is_a_pipe_without_torch(model_file: Path) -> None:
    code = (
        "import sys; from examples.sensor_anomalies import score; score.main(sys.argv[1:]); assert"
        " 'torch' not in sys.modules, 'torch'"
    )
    table = model_file.with_name("made.csv").read_text()
    done = subprocess.run(
        [sys.executable, "-c", code, str(model_file)],
        input=table,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    rows = done.stdout.splitlines()
    assert rows[0] == "timestamp,value,surprise,score" and len(rows) == 1001
    assert max(rows[160:], key=lambda row: float(row.split(",")[3])).startswith(
        "2024-01-30 04:00:00,"
    )


def test_rest_is_an_option_of_score(model_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = str(model_file.with_name("made.csv"))
    for rest, least in (("0", 300), ("75", 5)):
        score.main([str(model_file), table, "--rest", rest])
        assert (
            sum(float(row.split(",")[3]) > 0 for row in capsys.readouterr().out.splitlines()[1:])
            >= least
        )
    with pytest.raises(SystemExit):
        score.main([str(model_file), table, "--rest", "-1"])
    assert "--rest must be 0 or more rows, got -1" in capsys.readouterr().err


def test_what_cannot_be_read_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match=r"got 'nope\.rcr', which does not exist$"):
        load("nope.rcr")
    (tmp_path / "short.csv").write_text("timestamp,value\n2024-01-01 00:00:00,1\n")
    (tmp_path / "bad.csv").write_text("timestamp,value\n2024-01-01 00:00:00,x\n")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    for name, message in (
        ("short", "at least 20 rows"),
        ("bad", "could not convert"),
        ("other", "the columns timestamp and value"),
    ):
        with pytest.raises(SystemExit, match=message):
            train.main([str(tmp_path / f"{name}.csv"), "--out", str(tmp_path)])
    monkeypatch.setenv("RECURRA_DATA", str(tmp_path))
    with pytest.raises(SystemExit, match=r"^no NAB data in .*nab; set RECURRA_DATA"):
        nab.main([str(tmp_path)])


def test_the_picture_shades_windows_and_marks_alarms(wave: Stream, tmp_path: Path) -> None:
    plot.plot(wave, alarms(1000, 3, 700), tmp_path / "wave.svg", threshold=0.5)
    text = (tmp_path / "wave.svg").read_text()
    assert "<svg" in text and "alarm, score &gt;= 0.5" in text


@HAS_DATA
def test_the_benchmarks_own_detectors_have_their_published_scores() -> None:
    files = [streams.read(name) for name in streams.names()]
    assert (len(files), sum(len(each.windows) for each in files)) == (58, 116)
    gaussian = [peers.windowed_gaussian(each.values) for each in files]
    assert sweep(files, gaussian).at(1.0) == pytest.approx(
        100 * (116 - 24.0131054891) / 232, abs=1e-6
    )
    assert [
        round(sweep(files, gaussian, each).best[0], 1) for each in (STANDARD, LOW_FP, LOW_FN)
    ] == [39.6, 20.9, 47.4]
    draws = np.random.default_rng(0)
    found = [
        sweep(files, [peers.random(each.values, draws) for each in files]).best[0]
        for _ in range(10)
    ]
    assert np.mean(found) == pytest.approx(11.0, abs=3)
    assert sweep(files, [peers.null(each.values) for each in files]).best == (0.0, math.inf)


@HAS_DATA
def test_nyc_taxi_finds_the_marathon(tmp_path: Path) -> None:
    stream = streams.read("realKnownCause/nyc_taxi.csv")
    train.main([str(streams.folder() / "data" / stream.name), "--out", str(tmp_path)])
    scores, _ = nab.stream_through(stream, Detector(load(tmp_path / "nyc_taxi.rcr")))
    first, last = stream.windows[0]
    assert first <= stream.probation + scores[stream.probation :].argmax() <= last


def test_the_folder_of_the_data_is_named_by_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RECURRA_DATA", raising=False)
    assert streams.folder() == ROOT.parent / "shared" / "data" / "nab"
