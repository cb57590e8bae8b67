"""The spoken digits: features however the stream is cut, the listening loop, its errors; and
training, where the recordings are.
"""

from __future__ import annotations

import subprocess
import sys
import wave
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from examples.spoken_digits import evaluate, listen, streams, train
from examples.spoken_digits.features import BANDS, FLOOR, HOP, RATE, WINDOW, LogMel, mel_bank
from examples.spoken_digits.listener import Listener, Rule
from examples.spoken_digits.recogniser import Fitted, Recogniser, fit
from examples.spoken_digits.recordings import ARCHIVE, Recording, read
from recurra.errors import ArgumentError, DataError, DtypeError, ShapeError
from recurra.network import Linear, Matrix, Network
from recurra.runtime import Model, load

ROOT = Path(__file__).parents[2]
PITCHES = (250, 450, 810, 1458, 2624)


def chord(digit: int, take: int, speaker: str = "low") -> Recording:
    """Two tones of five, another two for each digit, so that a network learns them in seconds."""
    t = np.arange(int((0.2 + 0.01 * (take % 10)) * RATE)) / RATE
    tones = [np.sin(2 * np.pi * pitch * t) for pitch in list(combinations(PITCHES, 2))[digit]]
    return Recording(digit, speaker, take, (3000 * sum(tones)).astype(np.int16))


CHORDS = [
    chord(digit, take, speaker)
    for digit in range(10)
    for speaker in ("low", "high")
    for take in range(0, 50, 4)
]


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    training, validation = train.parts(CHORDS, None)
    return fit(
        training, validation, hidden=24, epochs=12, batch=4, lr=1e-2, seed=1, say=lambda line: None
    )


@pytest.fixture(scope="module")
def file(fitted: Fitted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "chords.rcr"
    train.export(fitted, path)
    return path


def write_wave(path: Path, samples: Any, rate: int = RATE, channels: int = 1) -> Path:
    with wave.open(str(path), "wb") as out:
        out.setparams((channels, 2, rate, 0, "NONE", ""))
        out.writeframes(np.asarray(samples, "<i2").tobytes())
    return path


def samples_of(count: int) -> Any:
    return np.random.default_rng(count).integers(-9000, 9000, count).astype(np.int16)


def cut(samples: Any, sizes: list[int]) -> list[Any]:
    return np.split(samples, np.cumsum(sizes))


@pytest.mark.parametrize(
    "sizes", [[80] * 60, [1] * 300, [79, 81, 0, 1, 199, 200, 201, 2], [0, 0, 4999], [3000]], ids=str
)
def test_features_are_the_same_bits_however_the_stream_is_cut(sizes: list[int]) -> None:
    samples, mean, scale = samples_of(5003), np.linspace(-3, 1, BANDS), np.linspace(1, 2, BANDS)
    whole, streamed = LogMel(mean, scale).push(samples), LogMel(mean, scale)
    found = np.concatenate([streamed.push(piece) for piece in cut(samples, sizes)])
    assert whole.shape == (62, BANDS) and whole.dtype == np.float32
    np.testing.assert_array_equal(found, whole)


def test_features_are_those_of_the_whole_recording_written_out() -> None:
    samples = samples_of(1234)
    x = np.concatenate([np.zeros(WINDOW - HOP), samples / 32768])
    found = LogMel().push(samples)
    for n, frame in enumerate(found):
        windowed = x[n * HOP : n * HOP + WINDOW] * (
            0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
        )
        turns = np.exp(-2j * np.pi * np.outer(np.arange(129), np.arange(WINDOW)) / 256)
        np.testing.assert_allclose(
            frame, np.log(mel_bank() @ abs(turns @ windowed) ** 2 + FLOOR), rtol=1e-6, atol=1e-6
        )
    assert len(found) == 15


def test_features_look_at_nothing_later_and_hold_no_more_than_a_window() -> None:
    samples, features = samples_of(800), LogMel()
    other = np.concatenate([samples[:400], samples_of(400)])
    np.testing.assert_array_equal(LogMel().push(samples)[:5], LogMel().push(other)[:5])
    for piece in cut(samples_of(9999), [37] * 200):
        features.push(piece)
        assert features._past.base is None and len(features._past) < WINDOW


def test_float32_samples_are_int16_over_full_scale() -> None:
    samples = samples_of(640)
    np.testing.assert_array_equal(
        LogMel().push(samples), LogMel().push((samples / 32768).astype(np.float32))
    )


@pytest.mark.parametrize("pitch", [300, 1000, 3100])
def test_a_tone_is_in_its_band(pitch: int) -> None:
    samples = np.sin(2 * np.pi * pitch * np.arange(1600) / RATE).astype(np.float32)
    bank = mel_bank()
    middles = (bank * np.arange(129) * RATE / 256).sum(1) / bank.sum(1)
    assert LogMel().push(samples)[5:].mean(0).argmax() == abs(middles - pitch).argmin()


def test_features_refuse_what_is_no_stream_of_samples() -> None:
    with pytest.raises(
        DtypeError,
        match=r"^samples must be an array of int16, or of float32 in \[-1, 1\], got float64$",
    ):
        LogMel().push(np.zeros(80))
    with pytest.raises(DtypeError, match=r"got list$"):
        LogMel().push([0] * 80)
    with pytest.raises(
        ShapeError, match=r"^samples must have shape \(N,\), got \(80, 2\); take one channel$"
    ):
        LogMel().push(np.zeros((80, 2), np.int16))


def test_streams_to_learn_from_hold_their_recordings_where_the_labels_say() -> None:
    draws = np.random.default_rng(3)
    examples = streams.epoch(CHORDS[:40], draws)
    assert 20 < len(examples) < 40
    for samples, labels in examples:
        assert (
            samples.dtype == np.float32
            and len(labels) == len(samples) // HOP
            and abs(samples).max() <= 1
        )
        said = [
            x for x in dict.fromkeys(labels.tolist()) if x not in (streams.NOTHING, streams.IGNORED)
        ]
        assert 1 <= len(said) <= 2
        loud = np.square(samples[: len(labels) * HOP]).reshape(-1, HOP).mean(1)
        is_said = (labels >= 0) & (labels < streams.NOTHING)
        assert np.median(loud[is_said]) > 2 * np.median(loud[labels == streams.NOTHING])


def test_what_trains_chooses_and_tests_is_apart() -> None:
    training, validation = train.parts(CHORDS, None)
    kinds = [
        {(each.speaker, each.take) for each in part}
        for part in (training, validation, evaluate.tested(CHORDS, None))
    ]
    assert (
        all(kinds)
        and not kinds[0] & kinds[1]
        and not kinds[0] & kinds[2]
        and not kinds[1] & kinds[2]
    )
    training, validation = train.parts(CHORDS, "low")
    assert {each.speaker for each in training + validation} == {"high"}
    assert {each.speaker for each in evaluate.tested(CHORDS, "low")} == {"low"} and len(
        evaluate.tested(CHORDS, "low")
    ) == 130
    with pytest.raises(
        ArgumentError,
        match=r"^--leave-out must be one of 'high', 'low', got 'lew'; did you mean 'low'\?$",
    ):
        train.parts(CHORDS, "lew")


def test_the_runtime_hears_what_pytorch_hears(fitted: Fitted, file: Path) -> None:
    test, model = evaluate.tested(CHORDS, None), load(file)
    assert train.compare(fitted, model, test).startswith(
        f"PyTorch and the runtime: {len(test)} of {len(test)} predictions the same"
    )
    found = evaluate.logits(model, test)
    assert evaluate.accuracy(found, test) > 0.9
    assert (evaluate.settled_ms(found) <= [10 * len(each) for each in found]).all()


def test_accuracy_after_some_time_is_that_of_the_frame_then() -> None:
    found = [np.eye(11)[[3, 10, 5, 5]], np.eye(11)[[7, 7]]]
    spoken = [
        Recording(5, "low", 0, np.zeros(320, np.int16)),
        Recording(7, "low", 0, np.zeros(160, np.int16)),
    ]
    assert [evaluate.accuracy(found, spoken, after_ms) for after_ms in (10, 20, 30, 40, None)] == [
        0.5,
        0.5,
        1,
        1,
        1,
    ]
    assert evaluate.settled_ms(found).tolist() == [30, 10]


def test_a_listener_hears_each_tone_once_however_its_samples_come(file: Path) -> None:
    samples, spans = evaluate.long_stream(CHORDS[::13], seed=2)
    listeners = [Listener(load(file)) for _ in range(2)]
    whole = listeners[0].push(samples)
    pieces = [
        decision for piece in cut(samples, [997] * 40) for decision in listeners[1].push(piece)
    ]
    assert whole == pieces
    heard = evaluate.listened(Listener(load(file)), samples, spans)
    assert heard.right + heard.wrong + heard.missed == len(spans) == 20
    assert heard.right >= 17 and heard.extra <= 2 and 30 <= heard.after_start_ms < 300
    assert (
        listeners[0].probabilities.shape == (11,)
        and abs(listeners[0].probabilities.sum() - 1) < 1e-6
    )


@pytest.mark.parametrize("reset_after_s", [0.5, None], ids=str)
def test_the_state_begins_anew_after_nothing_was_said(
    file: Path, reset_after_s: float | None
) -> None:
    listener = Listener(load(file), reset_after_s=reset_after_s)
    listener.push(chord(4, 0).samples)
    anew = []
    for frame in range(150):
        listener.push(np.zeros(HOP, np.int16))
        if not any(state.any() for state in listener._session.state.values()):
            anew.append(frame)
    if reset_after_s is None:
        assert anew == []
    else:
        assert anew and anew[0] >= 49 and set(np.diff(anew)) <= {50}


def test_a_listener_that_begins_anew_hears_what_a_new_one_hears(file: Path) -> None:
    old, new = Listener(load(file), threshold=0.5), Listener(load(file), threshold=0.5)
    old.push(chord(4, 0).samples)
    old.reset()
    assert old.push(chord(7, 0).samples) == new.push(chord(7, 0).samples) != []
    np.testing.assert_array_equal(old.probabilities, new.probabilities)


def test_a_rule_waits_until_it_is_sure_and_speaks_once() -> None:
    rule = Rule(2, threshold=0.8)
    one, other, unsure, nothing = np.array([[0.9, 0.1, 0], [0.1, 0.9, 0], [0.7, 0.3, 0], [0, 0, 1]])
    assert [rule.push(each) for each in (one, one, other, other, unsure, other, other, other)] == [
        None
    ] * 7 + [1]
    assert [rule.push(each) for each in [nothing] * 9 + [one] * 9] == [None] * 18
    assert [rule.push(each) for each in [nothing] * 10 + [one] * 3] == [None] * 12 + [0]


def test_listen_needs_no_torch(file: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from examples.spoken_digits import evaluate, listen; assert"
        " listen.main(sys.argv[1:]) == 0"
    )
    code += "; assert 'torch' not in sys.modules"
    sound = write_wave(
        tmp_path / "six.wav", np.concatenate([np.zeros(800, np.int16), chord(6, 0).samples])
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(file), str(sound)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert (
        done.stdout.startswith("six.wav, 0.30 s:\n")
        and " six " in done.stdout
        and " the end" in done.stdout
    )
    assert done.stderr.startswith("a frame of 10 ms took: features ")


def test_listen_reads_a_pipe(file: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "examples.spoken_digits.listen",
        str(file),
        "--reset-after",
        "0",
        "--threshold",
        "0.8",
    ]
    samples = np.concatenate(
        [
            np.zeros(800, np.int16),
            chord(2, 0).samples,
            np.zeros(2400, np.int16),
            chord(5, 0).samples,
        ]
    )
    done = subprocess.run(
        command, input=samples.tobytes(), cwd=ROOT, capture_output=True, timeout=60
    )
    assert [line.split()[2] for line in done.stdout.decode().splitlines()] == [
        "two",
        "five",
    ], done.stderr
    done = subprocess.run(command, input=b"odd", cwd=ROOT, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (
        1,
        b"listen: standard input must hold 16-bit samples, got half of one at its end\n",
    )


def test_errors_are_one_line(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = write_wave(tmp_path / "wide.wav", np.zeros(8), 16000, 2)
    text = tmp_path / "text.wav"
    text.write_text("no sound")
    monkeypatch.setenv("RECURRA_DATA", str(tmp_path))
    out = ["--epochs", "1", "--out", str(tmp_path / "x.rcr")]
    for command, arguments, message in (
        (listen, [str(tmp_path / "none.rcr")], "listen: "),
        (
            listen,
            [str(file), str(wide)],
            (
                f"listen: {wide} must hold one channel of 16-bit samples, 8000 a second, got 2 of"
                " 16 bits, 16000"
            ),
        ),
        (
            listen,
            [str(file), str(text)],
            (
                f"listen: {text} must be a .wav file that can be read, got file does not start with"
                " RIFF id"
            ),
        ),
        (
            listen,
            [str(file), "--threshold", "2"],
            "listen: threshold must be between 0 and 1, got 2.0",
        ),
        (
            listen,
            [str(file), "--reset-after", "-1"],
            "listen: reset_after_s must be positive, got -1.0; use None to keep the state",
        ),
        (
            evaluate,
            [str(file)],
            f"evaluate: RECURRA_DATA must be a folder that holds {ARCHIVE}, got {tmp_path}; set it",
        ),
        (
            train,
            out,
            f"train: RECURRA_DATA must be a folder that holds {ARCHIVE}, got {tmp_path}; set it",
        ),
        (train, ["--hidden", "0", *out], "train: --hidden must be at least 1, got 0"),
        (train, ["--lr", "0", *out], "train: --lr must be positive, got 0.0"),
    ):
        assert command.main(arguments) == 1
        said = capsys.readouterr().err
        assert said.startswith(message) and said.count("\n") == 1


def test_a_model_of_another_kind_is_refused() -> None:
    with pytest.raises(
        DataError,
        match=(
            r"^model must be one that examples.spoken_digits.train wrote, got one without 'labels'"
            r" among its facts$"
        ),
    ):
        Listener(Model(Network((Linear(Matrix(np.zeros((11, BANDS), np.float32))),))))
    facts = dict(labels=list("0123456789"), mean=[0.0] * BANDS, scale=[1.0] * BANDS)
    with pytest.raises(
        DataError, match=r"^model must take 32 bands and give 11 logits, got another network$"
    ):
        Listener(Model(Network((Linear(Matrix(np.zeros((10, BANDS), np.float32))),), facts=facts)))


def test_ragged_rows_of_the_recogniser_are_those_of_each_alone() -> None:
    model = Recogniser(8).eval().float()
    x = torch.randn(7, 2, BANDS, dtype=torch.float32)
    with torch.no_grad():
        together, _ = model(x, lengths=[7, 3])
        alone, _ = model(x[:3, 1:])
    torch.testing.assert_close(together[:3, 1:], alone)


def test_the_recordings_are_read_and_a_few_epochs_learn(
    data_file: Callable[[str], Path], tmp_path: Path
) -> None:
    data_file(ARCHIVE)
    recordings = read()
    lengths = [len(each.samples) for each in recordings]
    assert (
        len(recordings) == 3000
        and min(lengths) == 1148
        and max(lengths) == 18262
        and len(evaluate.tested(recordings, None)) == 300
    )
    few = [each for each in recordings if each.speaker in ("george", "jackson") and each.take < 20]
    fitted = fit(
        *train.parts(few, None), hidden=32, epochs=5, batch=4, lr=5e-3, say=lambda line: None
    )
    train.export(fitted, tmp_path / "digits.rcr")
    test = evaluate.tested(few, None)
    assert evaluate.accuracy(evaluate.logits(load(tmp_path / "digits.rcr"), test), test) > 0.3
