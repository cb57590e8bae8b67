"""recurra inspect: on text, on what the model samples itself, as a page and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from recurra import init
from recurra.cli import main
from recurra.models import LanguageModel, load, save
from recurra.train import Recipe, fit, from_text

TEXT = "the quick brown fox jumps over the lazy dog. " * 40


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inspect") / "run"
    torch.manual_seed(0)
    corpus = from_text(TEXT)
    model = LanguageModel(len(corpus.vocabulary), 8, 12, 2, vocabulary=corpus.vocabulary)
    fit(
        model,
        corpus,
        Recipe(epochs=2, window=16, batch=4, clip_norm=0.5, device="cpu"),
        folder,
        show=False,
    )
    return folder


def command(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(["inspect", *words])
    out, err = capsys.readouterr()
    return status, out, err


def test_without_text_the_model_samples_its_own_and_says_so(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "report.html"
    before = {path.name: path.read_bytes() for path in run_folder.iterdir() if path.is_file()}
    status, out, err = command(capsys, str(run_folder), "--out", str(page))
    assert status == 0 and err == "" and "layer 0 LSTM()" in out and f"written to {page}" in out
    assert "text: sampled from the model itself (seed 0), 32 steps of 8 rows" in out
    text = page.read_text(encoding="utf-8")
    for said in (
        "sampled from the model itself (seed 0)",
        "32 steps of 8 rows",
        "16 steps",
        "clip_norm 0.5",
        "Gradient norm",
        str(run_folder),
    ):
        assert said in text, said
    assert {
        path.name: path.read_bytes() for path in run_folder.iterdir() if path.is_file()
    } == before
    assert command(capsys, str(run_folder), "--out", str(page))[1] == out  # the same again


def test_json_holds_the_diagnosis_alone(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text(TEXT)
    status, out, err = command(
        capsys,
        str(run_folder),
        "--text",
        str(tmp_path / "a.txt"),
        "--json",
        "--steps",
        "20",
        "--rows",
        "3",
    )
    record = json.loads(out)
    assert status == 0 and err == "" and out.count("\n") == 1
    assert (
        record["window"] == 16
        and record["clip_norm"] == 0.5
        and record["norms"]["steps"] > 10
        and record["out"] is None
    )
    assert record["text"] == str(tmp_path / "a.txt") and [
        layer["steps"] for layer in record["layers"]
    ] == [20, 20]
    assert (
        json.loads(command(capsys, str(run_folder), "--json")[1])["layers"][0]["flow"]
        != record["layers"][0]["flow"]
    )


def test_the_order_of_the_words_does_not_matter(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text(TEXT)
    run, out, text = (
        [str(run_folder)],
        ["--out", str(tmp_path / "a.html")],
        ["--text", str(tmp_path / "a.txt")],
    )
    found = {
        command(capsys, *words)
        for words in (
            [*run, *out, *text],
            [*run, *text, *out],
            [*out, *run, *text],
            [*text, *out, *run],
        )
    }
    ((status, said, err),) = found
    assert status == 0 and err == "" and f"text: {tmp_path / 'a.txt'}, 32 steps of 8 rows" in said


def test_a_sick_model_gets_its_verdict(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = load(run_folder / "model.safetensors")
    init.forget_bias(model, -4.0)
    save(model, tmp_path / "sick.safetensors")
    status, out, _ = command(capsys, str(tmp_path / "sick.safetensors"))
    assert (
        status == 0
        and "warning: forget bias too low" in out
        and "200 steps of 8 rows" in out
        and "training:" not in out
    )


def test_a_short_text_gives_fewer_rows_then_fewer_steps(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for length, shape in (
        (100, "32 steps of 3 rows"),
        (21, "20 steps of 1 row"),
        (3, "2 steps of 1 row"),
    ):
        (tmp_path / "a.txt").write_text(TEXT[:length])
        status, out, _ = command(capsys, str(run_folder), "--text", str(tmp_path / "a.txt"))
        assert status == 0 and shape in out


def test_files_are_documents(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text(TEXT[:10])
    (tmp_path / "b.txt").write_text(TEXT[10:60])
    (tmp_path / "both.txt").write_text(TEXT[:60])
    apart, together = (
        json.loads(
            command(
                capsys,
                str(run_folder),
                "--text",
                *(str(tmp_path / name) for name in names),
                "--rows",
                "1",
                "--json",
            )[1]
        )
        for names in (("a.txt", "b.txt"), ("both.txt",))
    )
    assert apart["layers"][0]["by_lag"]["h"] != together["layers"][0]["by_lag"]["h"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--steps", "1"], "rows must be at least 1 and steps at least 2, got 8 and 1"),
        (["--rows", "0"], "rows must be at least 1 and steps at least 2, got 0 and None"),
        (["--text", "none.txt"], "file must be readable"),
        (["--text", "short.txt"], "text must have at least three tokens, got 2"),
        (["--out", "none/a.html"], "out must be a file that can be written, got 'none/a.html'"),
    ],
)
def test_mistakes_end_with_one_line(
    words: list[str],
    message: str,
    run_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short.txt").write_text("th")
    status, out, err = command(capsys, str(run_folder), *words)
    usage, line = err.splitlines()[:-1], err.splitlines()[-1]
    assert (
        out == ""
        and message in line
        and status == (2 if usage else 1)
        and bool(usage) == line.startswith("recurra inspect: error: ")
    )


def test_no_run_and_no_vocabulary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = command(capsys, str(tmp_path))
    assert status == 1 and "run must be a run's folder" in err
    save(LanguageModel(5, 4, 6, 1), tmp_path / "bare.safetensors")
    (tmp_path / "a.txt").write_text(TEXT)
    status, _, err = command(
        capsys, str(tmp_path / "bare.safetensors"), "--text", str(tmp_path / "a.txt")
    )
    said = "run must hold a model with a vocabulary to read text, got one without"
    assert status == 1 and f"{said}; leave --text out" in err
    assert command(capsys, str(tmp_path / "bare.safetensors"), "--steps", "10")[0] == 0


def test_a_run_is_held_beside_the_naive_baseline_of_its_own_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not read off the text that the model samples itself, which it finds easy."""
    text, run = tmp_path / "a.txt", tmp_path / "run"
    text.write_text(TEXT)
    options = [
        "--epochs",
        "1",
        "--embed",
        "4",
        "--hidden",
        "4",
        "--window",
        "16",
        "--batch",
        "4",
        "--seed",
        "0",
        "--device",
        "cpu",
    ]
    assert main(["train", str(text), "--out", str(run), *options]) == 0
    capsys.readouterr()
    status, out, _ = command(capsys, str(run), "--out", str(tmp_path / "report.html"))
    assert (
        status == 0
        and "problem: worse than the naive baseline" in out
        and "that of a 5-gram" in out
    )
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "worse than the naive baseline" in page and "that of a 5-gram" in page
    record = json.loads(command(capsys, str(run), "--json")[1])
    assert record["baseline"] == "a 5-gram" and record["loss"] > record["naive"] > 0
    text.unlink()
    assert (
        "naive baseline: unknown, since the run's data cannot be read: "
        in command(capsys, str(run))[1]
    )


def test_data_from_memory_has_no_known_baseline(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = command(capsys, str(run_folder))[1]
    assert (
        "naive baseline: unknown, since the run's data came from memory" in out
        and "5-gram" not in out
    )
