"""recurra export, and the commands that take its files without PyTorch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recurra.cells import GRU
from recurra.cli import main
from recurra.export import network_of
from recurra.models import Characters, LanguageModel, save
from recurra.network import Embedding, Linear, Loop, Matrix, Network
from recurra.network.file import read, write
from recurra.runtime import Model
from tests.network.nets import matrix, numbers, recurrent

TEXT = "to be or not to be, that is the question\n" * 20
FORMS = {
    ".rcr": "the runtime's file",
    ".onnx": "an ONNX model",
    ".pt2": "a program of torch.export",
    ".h": "a C99 header",
}
FEATURES = Network((recurrent(GRU(), 3, 4), Linear(matrix(2, 4))))


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    vocabulary = Characters.of(TEXT)
    model = LanguageModel(len(vocabulary), 8, 9, vocabulary=vocabulary).float()
    save(model, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


@pytest.fixture
def features_file(tmp_path: Path) -> Path:
    write(FEATURES, tmp_path / "features.rcr")
    return tmp_path / "features.rcr"


def said(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    status = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return status, out, err


def streamed(given: bytes, *words: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "recurra.cli", "stream", *(str(word) for word in words)]
    return subprocess.run(command, input=given, capture_output=True, timeout=60, check=False)


def test_a_run_becomes_a_file_of_each_form(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, what in FORMS.items():
        file = tmp_path / f"m{name}"
        status, out, _ = said(capsys, "export", model_file, "--to", file)
        assert (
            status == 0
            and out == f"{file}: {what}, float32 weights, {file.stat().st_size:,} bytes\n"
        )
    status, out, _ = said(
        capsys,
        "export",
        tmp_path / "m.rcr",
        "--to",
        tmp_path / "s.onnx",
        "--sequence",
        "--licence",
        "MIT",
        "--json",
    )
    assert status == 0 and json.loads(out)["precision"] == "float32"
    assert (
        b"recurra_sequence" in (tmp_path / "s.onnx").read_bytes()
        and b"MIT" in (tmp_path / "s.onnx").read_bytes()
    )


def test_a_model_with_clusters_of_words_goes_everywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vocabulary = Characters.of(TEXT)
    model = LanguageModel(
        len(vocabulary), 8, 9, vocabulary=vocabulary, tied=False, adaptive=(4, 9), div_value=2.0
    ).float()
    save(model, tmp_path / "a.safetensors")
    for end in FORMS:
        assert (
            said(capsys, "export", tmp_path / "a.safetensors", "--to", tmp_path / f"a{end}")[0] == 0
        )
    status, out, _ = said(
        capsys, "verify", tmp_path / "a.safetensors", "--steps", "9", "--rows", "2"
    )
    assert (
        status == 0
        and "ONNX sequence, int8" in out
        and "torch.export sequence, float32" in out
        and "not run: module" not in out
    )
    _, ours, _ = said(
        capsys, "sample", tmp_path / "a.rcr", "--prompt", "to be", "--length", "9", "--seed", "1"
    )
    assert ours.startswith("to be") and len(ours.rstrip("\n")) == 14
    told = [
        streamed(TEXT.encode(), tmp_path / name, "--json") for name in ("a.safetensors", "a.rcr")
    ]
    costs = [[json.loads(line)["nats"] for line in each.stdout.splitlines()] for each in told]
    assert costs[0] == pytest.approx(costs[1]) and len(costs[0]) == 20


def test_int8_says_what_it_costs(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text").write_text(TEXT)
    _, out, _ = said(
        capsys,
        "export",
        model_file,
        "--to",
        tmp_path / "m8.rcr",
        "--int8",
        "--text",
        tmp_path / "text",
        "--json",
    )
    record = json.loads(out)
    assert (
        record["precision"] == "int8"
        and record["steps"] == 10_000
        and 0 < record["largest_difference"] < 0.5
    )
    whole, kept = read_losses(model_file, tmp_path / "m8.rcr")
    assert record["nats_before"] == pytest.approx(whole, rel=1e-5) and record[
        "nats_after"
    ] == pytest.approx(kept, rel=1e-5)
    _, out, _ = said(capsys, "export", model_file, "--to", tmp_path / "b.rcr", "--bf16")
    assert "bfloat16 weights" in out and "held-out loss: not measured; give --text FILE" in out


def test_the_difference_is_that_of_the_text_over_ten_thousand_steps(
    model_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(
        "recurra.runtime.quality.largest_difference", lambda *given: seen.append(given) or 0.25
    )
    (tmp_path / "text").write_text(TEXT)
    for options in (["--text", tmp_path / "text"], []):
        _, out, _ = said(
            capsys, "export", model_file, "--to", tmp_path / "m.rcr", "--int8", *options
        )
        assert "largest difference of an output from float32 over 10,000 steps: 2.50e-01\n" in out
    (before, after, tokens, steps), (*_, none, _) = seen
    assert (before.network.precision, after.network.precision, steps, none) == (
        "float32",
        "int8",
        10_000,
        None,
    )
    assert np.array_equal(tokens, Characters.of(TEXT).encode(TEXT))


def read_losses(model_file: Path, kept: Path) -> list[float]:
    from recurra.models import load

    tokens = Characters.of(TEXT).encode(TEXT)
    losses = []
    for network in (network_of(load(model_file)), read(kept)):
        logits = Loop(network).run(tokens[:-1, None])[:, 0]
        shifted = logits - logits.max(1, keepdims=True)
        losses.append(
            float(
                -(shifted - np.log(np.exp(shifted).sum(1, keepdims=True)))[
                    np.arange(len(tokens) - 1), tokens[1:]
                ].mean()
            )
        )
    return losses


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            ["--to", "m.bin"],
            (
                "error: --to must end in one of"
                f" {', '.join(f'{end} ({what})' for end, what in FORMS.items())}, got 'm.bin'"
            ),
        ),
        (
            ["--to", "m.h", "--sequence"],
            "error: --sequence must go with a .onnx or .pt2 file, got 'm.h'; leave it out",
        ),
        (["--to", "no/m.rcr"], "path must be a file that can be written, got 'no/m.rcr'"),
        (
            ["--to", "m.rcr", "--int8", "--text", "none"],
            "file must be readable, got 'none' (No such file or directory)",
        ),
    ],
)
def test_wrong_use_of_export_is_said_in_one_line(
    model_file: Path,
    words: list[str],
    text: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(model_file.parent)
    status, out, err = said(capsys, "export", model_file, *words)
    assert (
        not out
        and err.splitlines()[-1].startswith(f"recurra export: {text}")
        and "Traceback" not in err
    )
    assert (status, err.count("\n") > 1, err.startswith("usage: recurra export ")) in (
        (1, False, False),
        (2, True, True),
    )
    assert (status == 2) == text.startswith("error: ")
    assert not Path("m.rcr").exists()


def test_samples_facts_and_parity_of_a_file_load_no_torch(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.rcr"
    said(capsys, "export", model_file, "--to", path, "--licence", "CC0")
    for words in (
        ["info", path],
        ["sample", path, "--prompt", "to be", "--length", "5", "--seed", "1"],
    ):
        code = (
            "import sys; from recurra.cli import main; main(sys.argv[1:]); assert 'torch' not in"
            " sys.modules"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, words)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert (
            "licence    CC0" in done.stdout and "layers     Embedding, LSTM()" in done.stdout
        ) or done.stdout.startswith("to be")
    status, out, _ = said(capsys, "verify", path, "--steps", "9", "--rows", "2")
    assert status == 0 and "runtime, steps, int8" in out


@pytest.mark.parametrize("form", ["csv", "json", "f32", "s16"])
def test_a_stream_answers_as_the_session_does(features_file: Path, form: str) -> None:
    x = (np.round(numbers(6, 3, scale=3000.0)) / 32768).astype(np.float32)
    lines = {
        "csv": lambda row: ",".join(map(repr, row.tolist())) + "\n",
        "json": lambda row: json.dumps({"x": row.tolist()}) + "\n",
    }
    given = (
        x.tobytes()
        if form == "f32"
        else (x * 32768).astype("<i2").tobytes()
        if form == "s16"
        else b""
    )
    given = given or "".join(lines[form](row) for row in x).encode()
    done = streamed(given, features_file, "--format", form)
    assert done.returncode == 0, done.stderr
    if form in ("f32", "s16"):
        y = np.frombuffer(done.stdout, np.float32).reshape(6, 2)
    else:
        rows: list[Any] = done.stdout.decode().splitlines()
        y = np.array(
            [
                [float(v) for v in row.split(",")] if form == "csv" else json.loads(row)["y"]
                for row in rows
            ]
        )
    assert np.array_equal(np.float32(y), Model(FEATURES).session(1).push(x[:, None])[:, 0])


def test_bad_lines_are_named_and_the_state_stays(features_file: Path) -> None:
    good = "0.1,0.2,0.3\n"
    done = streamed((good + "0.1,x,2\n" + "1,2\n" + "nan,0,0\n" + good).encode(), features_file)
    assert done.returncode == 1 and len(done.stdout.splitlines()) == 2
    assert done.stdout == streamed((good + good).encode(), features_file).stdout
    lines = done.stderr.decode().splitlines()
    assert lines[0].startswith(
        "recurra stream: line 2 must hold 3 numbers as csv, got b'0.1,x,2"
    ) and lines[0].endswith("; passed over")
    assert (
        "line 3 must hold 3 numbers" in lines[1]
        and "line 4 must hold finite numbers, got nan" in lines[2]
        and len(lines) == 3
    )
    stopped = streamed((good + "x\n" + good).encode(), features_file, "--bad", "stop")
    assert (
        stopped.returncode == 1
        and len(stopped.stdout.splitlines()) == 1
        and stopped.stderr.decode().rstrip().endswith("; stopped")
    )
    cut = streamed(b"\0" * 30, features_file, "--format", "f32")
    assert (
        cut.returncode == 1
        and len(cut.stdout) == 16
        and b"step 3 must be 12 bytes of f32, got 6 and the end" in cut.stderr
    )


def test_a_stream_goes_on_from_a_saved_state(features_file: Path, tmp_path: Path) -> None:
    x = numbers(8, 3)
    whole = streamed(x.tobytes(), features_file, "--format", "f32").stdout
    first = streamed(
        x[:5].tobytes(), features_file, "--format", "f32", "--save-state", tmp_path / "s"
    )
    rest = streamed(
        x[5:].tobytes(), features_file, "--format", "f32", "--load-state", tmp_path / "s"
    )
    assert first.stdout + rest.stdout == whole
    missing = streamed(b"", features_file, "--load-state", tmp_path / "none")
    assert (
        missing.returncode == 1
        and b"--load-state must be a file that can be read" in missing.stderr
    )
    lost = streamed(b"", features_file, "--save-state", tmp_path / "no" / "s")
    assert (
        lost.returncode == 1 and b"--save-state must be a file that can be written" in lost.stderr
    )
    other = streamed(b"", features_file, "--format", "text")
    assert (
        other.returncode == 2
        and b"--format must be json, csv, f32 or s16, since the model reads features, got text"
        in other.stderr
    )


def test_what_is_not_a_finite_number_is_named(features_file: Path) -> None:
    long = b"9" * 200_000 + b"x,1,2"
    csv = streamed(b"\xef\xbb\xbf1,2,3\n1,2,1e39\n" + long + b"\n1,2,3\n", features_file)
    lines = csv.stderr.decode().splitlines()
    assert csv.returncode == 1 and len(csv.stdout.splitlines()) == 2 and b"nan" not in csv.stdout
    assert "line 2 must hold finite numbers, got inf as float32" in lines[0] and len(lines[1]) < 300
    rows = streamed(
        b"[1, 2, 1e400]\n[true, true, true]\n[1, 2, null]\n", features_file, "--format", "json"
    )
    assert (
        rows.returncode == 1
        and not rows.stdout
        and rows.stderr.count(b"not all of them numbers") == 2
    )
    rows = streamed(
        b"[true, 1, 2]\n[100000000000000000000, 1, 2]\n[[1, 2, 3]]\n",
        features_file,
        "--format",
        "json",
    )
    assert rows.stderr.splitlines()[0].endswith(
        b"(not all of them numbers); passed over"
    ) and rows.stdout.startswith(b'{"line": 2, "y": [')
    assert b"line 3 must hold 3 numbers as json" in rows.stderr and rows.stderr.count(b"\n") == 2
    raw = streamed(np.float32([1, np.inf, 0]).tobytes(), features_file, "--format", "f32")
    assert b"step 1 must hold finite numbers, got inf as float32" in raw.stderr


def test_what_overflows_is_named_and_the_state_stays(tmp_path: Path) -> None:
    write(
        Network((Linear(Matrix(np.full((3, 3), 1e4, np.float32))), *FEATURES.layers)),
        tmp_path / "m.rcr",
    )
    good, done = b"1,2,3\n", streamed(b"1,2,3\n3e38,3e38,0\n1,2,3\n", tmp_path / "m.rcr")
    text = (
        b"recurra stream: line 2 must keep the state and the output finite, got an overflow; passed"
        b" over\n"
    )
    assert (
        done.returncode == 1
        and done.stderr == text
        and done.stdout == streamed(good + good, tmp_path / "m.rcr").stdout
    )


def test_lines_of_text_may_end_as_elsewhere(model_file: Path, tmp_path: Path) -> None:
    export = tmp_path / "m.rcr"  # opened without PyTorch
    assert main(["export", str(model_file), "--to", str(export)]) == 0
    assert (
        streamed(b"to be\r\nor\r\n", export).stdout
        == streamed(b"to be\nor\n", export).stdout
        != b""
    )


def test_a_text_streams_on_stops_and_begins_anew(model_file: Path, tmp_path: Path) -> None:
    export, state = tmp_path / "m.rcr", tmp_path / "s"
    assert main(["export", str(model_file), "--to", str(export)]) == 0
    whole = streamed(b"to be\nor not\nto be\n", export).stdout.splitlines()
    first = streamed(b"to be\n", export, "--save-state", state).stdout.splitlines()
    rest = streamed(b"or not\nto be\n", export, "--load-state", state).stdout.splitlines()
    assert first + rest == whole and whole[0] != whole[2]
    fresh = streamed(b"to be\nto be\n", export, "--fresh", "--json").stdout.splitlines()
    assert json.loads(fresh[0])["nats"] == json.loads(fresh[1])["nats"]
    stopped = streamed(b"to be\nZZZ\nto be\n", export, "--bad", "stop")
    assert (
        stopped.returncode == 1
        and len(stopped.stdout.splitlines()) == 1
        and stopped.stderr.endswith(b"; stopped\n")
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_state_is_kept_however_a_stream_ends(
    features_file: Path, tmp_path: Path, number: int
) -> None:
    state, x = tmp_path / "state", numbers(1, 3)
    command = [
        sys.executable,
        "-m",
        "recurra.cli",
        "stream",
        str(features_file),
        "--format",
        "f32",
        "--save-state",
        str(state),
    ]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdin and process.stdout
        process.stdin.write(x.tobytes())
        process.stdin.flush()
        assert len(os.read(process.stdout.fileno(), 8)) == 8
        process.send_signal(number)
        assert process.wait(30) != 0
    session = Model(FEATURES).session(1)
    session.push(x)
    assert state.read_bytes() == session.save()


def test_the_state_goes_where_a_link_leads_and_never_over_a_device(
    features_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "there")
    assert streamed(b"1,2,3\n", features_file, "--save-state", tmp_path / "link").returncode == 0
    assert (tmp_path / "link").is_symlink() and (tmp_path / "there").stat().st_size > 100
    os.mkfifo(tmp_path / "pipe")
    for place in ("pipe", "no/s", "."):
        done = streamed(b"1,2,3\n", features_file, "--save-state", tmp_path / place)
        assert (
            done.returncode == 1
            and not done.stdout
            and b"--save-state must be a file that can be written" in done.stderr
        )


def test_a_header_and_all_in_it_bear_the_name_of_the_file(
    features_file: Path, tmp_path: Path
) -> None:
    for file, name in (("gate.h", "gate"), ("2 nets.h", "model_2_nets")):
        assert main(["export", str(features_file), "--to", str(tmp_path / file)]) == 0
        text = (tmp_path / file).read_text()
        assert f"#ifndef RECURRA_{name}_" in text and f"static inline void {name}_step(" in text


def test_a_full_disk_is_said_in_a_line(features_file: Path) -> None:
    command = [sys.executable, "-m", "recurra.cli", "info", str(features_file)]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.decode().startswith(
        "recurra info: standard output must take what is written, got an error (No space left"
    )
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("kind", "question"),
    [("f32", numbers(1, 3).tobytes()), ("csv", b"1,2,3\n"), ("text", b"to be\n")],
)
def test_each_answer_comes_before_the_next_question(
    features_file: Path, model_file: Path, kind: str, question: bytes
) -> None:
    file = model_file if kind == "text" else features_file
    command = [sys.executable, "-m", "recurra.cli", "stream", str(file), "--format", kind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        for _ in range(3):
            process.stdin.write(question)
            process.stdin.flush()
            answer = os.read(process.stdout.fileno(), 100)
            assert len(answer) == 8 if kind == "f32" else answer.endswith(b"\n")
        process.stdin.close()


def test_what_means_nothing_for_a_model_is_refused(features_file: Path, model_file: Path) -> None:
    for file, option, text in (
        (features_file, "--fresh", "--fresh must go with --format text, got csv; leave it out"),
        (features_file, "--json", "--json must go with --format text, got csv; use --format json"),
        (
            features_file,
            "--format=text",
            "--format must be json, csv, f32 or s16, since the model reads features, got text",
        ),
        (
            model_file,
            "--format=s16",
            "--format must be text, json or csv, since the model reads tokens, got s16",
        ),
    ):
        done = streamed(b"", file, option)
        usage, _, wrong = done.stderr.decode().rpartition("recurra stream: error: ")
        assert (
            done.returncode == 2
            and usage.startswith("usage: recurra stream ")
            and wrong == f"{text}\n"
        )


def test_tokens_stream_by_their_numbers(tmp_path: Path) -> None:
    network = Network((Embedding(matrix(5, 3)), recurrent(GRU(), 3, 2)))
    write(network, tmp_path / "m.rcr")
    right = Model(network).session(1).push(np.array([[4], [0], [2]]))[:, 0].tolist()
    done = streamed(b"4\n5\n0\n-1\n1.5\nx\n2\n", tmp_path / "m.rcr")
    assert (
        done.returncode == 1
        and [[float(np.float32(v)) for v in line.split(b",")] for line in done.stdout.splitlines()]
        == right
    )
    said = done.stderr.decode().splitlines()
    assert (
        said[0] == "recurra stream: line 2 must hold a token in 0..4, got 5; passed over"
        and len(said) == 4
    )
    assert said[3].startswith("recurra stream: line 6 must hold a token in 0..4 as csv, got b'x")
    done = streamed(b'4\n[0]\n{"x": 2}\n', tmp_path / "m.rcr", "--format", "json")
    assert (
        done.returncode == 0
        and [json.loads(line)["y"] for line in done.stdout.splitlines()] == right
    )


def test_a_state_that_never_ends_is_not_read(
    features_file: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/zero", tmp_path / "pipe"):
        status, out, err = said(capsys, "stream", features_file, "--load-state", path)
        message = (
            f"recurra stream: --load-state must be a file that can be read, got {str(path)!r} (not"
            " a regular file)\n"
        )
        assert (status, out, err) == (1, "", message)
