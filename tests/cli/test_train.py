"""`recurra train` and `resume`: one recipe from TOML and flags, words and pieces, several seeds,
and going on.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from recurra.cli import main
from recurra.cli.flags import described, read
from recurra.models import load
from recurra.train import read_config, read_history

TEXT = "the quick brown fox jumps over the lazy dog\n" * 60
SMALL = [
    "--embed",
    "8",
    "--hidden",
    "12",
    "--layers",
    "1",
    "--epochs",
    "2",
    "--window",
    "16",
    "--batch",
    "4",
    "--quiet",
]
TOML = """
[data]
level = "word"
vocab_size = 8

[model]
embed = 8
hidden = [12, 9]
tied = false
adaptive = [3]

[recipe]
epochs = 3
window = 16
batch = 4
optimizer = "sgd"
lr = 1.0
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "recipe.toml").write_text(TOML)
    return tmp_path


def ran(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(list(words))
    return status, *capsys.readouterr()


def test_a_file_with_flags_over_it(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "train",
        "a.txt",
        "--out",
        "run",
        "--recipe",
        "recipe.toml",
        "--epochs",
        "1",
        "--clip-norm",
        "none",
        "--clip-value",
        "0.1",
    ]
    status, out, _ = ran(capsys, *words, "--locked", "true", "--quiet", "--test", "a.txt")
    config = read_config("run")
    assert (
        status == 0
        and config["recipe"] | {"epochs": 1, "lr": 1.0, "optimizer": "sgd", "clip_norm": "none"}
        == config["recipe"]
    )
    assert (
        config["model"]["hidden"] == [12, 9]
        and config["model"]["locked"] is True
        and config["model"]["adaptive"] == [3]
    )
    assert config["data"]["level"] == "word" and config["data"]["vocab_size"] == 8 == len(
        load("run/model.safetensors").vocabulary or ()
    )
    first, second, unknown, third = out.splitlines()
    assert re.fullmatch(
        r"unknown words: \d+ of 540 \(\d+\.\d%\) in train, \d+ of 60 \(\d+\.\d%\) in validation",
        unknown,
    )
    assert re.fullmatch(
        r"best: \d\.\d{4} nats \(perplexity \d+\.\d\) a token on validation; the model is in run",
        first,
    )
    assert re.fullmatch(
        r"to compare: 5-gram \d\.\d{4} nats \(perplexity \d\.\d\), unigram \d\.\d{4} nats"
        r" \(perplexity \d\.\d\)",
        second,
    )
    assert "tokens; 120 of 600 are <unk>" in ran(capsys, "eval", "run", "a.txt")[1]
    assert re.fullmatch(r"on the test text: \d\.\d{4} nats \(perplexity \d+\.\d\) a token", third)


def test_all_that_is_wrong_at_once(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "bad.toml").write_text(
        "[recipe]\nepoch = 3\nlr = 0\n[modle]\n[data]\nlevel = 'word'\n"
    )
    status, out, err = ran(
        capsys,
        "train",
        "a.txt",
        "--out",
        "run",
        "--recipe",
        "bad.toml",
        "--stride",
        "500",
        "--momentum",
        "0.9",
    )
    assert status == 2 and out == "" and not (place / "run").exists()
    assert err.startswith("usage: recurra train ")
    assert [
        line.removeprefix("recurra train: error: ")
        for line in err.splitlines()
        if ": error: " in line
    ] == [
        "modle must be a field of the tables, got an unknown one; did you mean 'model'?",
        "epoch must be a field of Recipe, got an unknown one; did you mean 'epochs'?",
        "lr must be positive, got 0",
        "stride must be at most window = 100, got 500; a longer one would skip steps",
        "momentum must be left at 0.0 for optimizer 'adam', which does not read it, got 0.9",
    ]


@pytest.mark.parametrize("level", ["byte", "bpe"])
def test_other_levels(level: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = ["--vocab-size", "280"] if level == "bpe" else []
    assert ran(capsys, "train", "a.txt", "--out", "run", "--level", level, *size, *SMALL)[0] == 0
    status, out, _ = ran(
        capsys, "sample", "run", "--prompt", "the ", "--length", "5", "--seed", "1"
    )
    assert status == 0 and out.startswith("the ")
    status, out, _ = ran(capsys, "eval", "run", "a.txt", "--json")
    assert status == 0 and json.loads(out)["nats"] < 8


def test_several_seeds(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = ran(
        capsys, "train", "a.txt", "--out", "runs", *SMALL, "--seeds", "3", "1", "--json"
    )
    record = json.loads(out)
    assert status == 0 and set(record["validation_loss"]) == {"3", "1"} and record["deviation"] > 0
    assert (place / "runs" / "seed-1" / "model.safetensors").exists()
    assert record["mean"] == pytest.approx(sum(record["validation_loss"].values()) / 2)


def test_several_seeds_stopped(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from recurra.train import course

    learn = course.Course.learn

    def stops(self: course.Course, cut: object) -> object:
        self.wish.asked = self.recipe.seed == 1
        return learn(self, cut)  # type: ignore[arg-type]

    monkeypatch.setattr(course.Course, "learn", stops)
    status, out, _ = ran(capsys, "train", "a.txt", "--out", "runs", *SMALL, "--seeds", "3", "1")
    first, second = out.splitlines()
    assert status == 1 and re.fullmatch(
        r"(\d\.\d{4}) \(seed 3\), none \(seed 1\): mean \1, standard deviation 0\.0000 nats .*",
        first,
    )
    assert second == f"stopped; go on with: recurra resume {Path('runs') / 'seed-1'}"
    status, out, _ = ran(
        capsys, "train", "a.txt", "--out", "one", *SMALL, "--seeds", "1", "2", "--json"
    )
    record = {
        "folder": "one",
        "validation_loss": {"1": None},
        "mean": None,
        "deviation": 0.0,
        "stopped": True,
    }
    assert status == 1 and json.loads(out) == record


def test_a_run_goes_on(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from recurra.train import course

    assert ran(capsys, "train", "a.txt", "--out", "whole", *SMALL)[0] == 0
    learn, calls = course.Course.learn, 0

    def stops(self: course.Course, cut: object) -> object:
        nonlocal calls
        calls += 1
        self.wish.asked = calls == 20
        return learn(self, cut)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(course.Course, "learn", stops)
        status, out, _ = ran(capsys, "train", "a.txt", "--out", "cut", *SMALL)
    assert status == 1 and "stopped" in out and len(read_history("cut")) == 20
    status, out, _ = ran(capsys, "resume", "cut", "--json")
    record = json.loads(out)
    assert status == 0 and record["validation_loss"] == min(
        r["validation_loss"] for r in read_history("cut") if r["kind"] == "validation"
    )
    one, other = (load(f"{run}/model.safetensors").state_dict() for run in ("whole", "cut"))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    (place / "a.txt").write_text(TEXT.replace("fox", "cow"))
    status, _, err = ran(capsys, "resume", "cut")
    assert (
        status == 1
        and err.startswith("recurra resume: text must be as it was, got other contents in ")
        and err.count("\n") == 1
    )


def test_events_and_a_diagnosis_on_request(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from recurra import inspection

    pytest.importorskip("tensorboard")
    monkeypatch.setattr(inspection, "Watch", lambda: real(every=5, share=1.0))
    real = inspection.watch.Watch
    assert (
        ran(capsys, "train", "a.txt", "--out", "run", *SMALL, "--tensorboard", "--diagnose")[0] == 0
    )
    assert list((place / "run").glob("events.out.tfevents.*"))
    assert {"diagnosis", "train", "validation"} == {row["kind"] for row in read_history("run")}


def test_a_short_run_gets_a_diagnosis(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(capsys, "train", "a.txt", "--out", "run", *SMALL, "--diagnose")[0] == 0
    (found,) = [row for row in read_history("run") if row["kind"] == "diagnosis"]
    assert found["step"] == read_history("run")[-2]["step"]


def test_help_is_short_and_help_all_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    texts = []
    for flag in ("--help", "--help-all"):
        with pytest.raises(SystemExit) as stop:
            main(["train", flag])
        assert stop.value.code == 0
        texts.append(capsys.readouterr().out)
    short, whole = texts
    assert (
        "--weight-decay" not in short
        and "--adaptive" not in short
        and "--lr LR" in short
        and len(short.splitlines()) < 75
    )
    for name in ("--weight-decay", "--adaptive", "--average-after", "--checkpoint-s", "--zoneout"):
        assert re.search(rf"^  {name} \w+", whole, re.MULTILINE), name
    assert "(default: 1e-3)" in whole or "(default: 0.001)" in whole


def test_flags_read_as_toml_does() -> None:
    found = [
        read(text)
        for text in ("3", "-1e-3", "0.5", "true", "False", "none", "cosine", "1,2", "1150,")
    ]
    assert found == [3, -1e-3, 0.5, True, False, "none", "cosine", [1, 2], [1150]]
    assert described(
        "Promise.\n\nArgs:\n    a, b: both;\n        longer.\n    c: third\n\nReturns:\n   "
        " nothing: at all"
    ) == {
        "a": "both; longer.",
        "b": "both; longer.",
        "c": "third",
        "nothing": "at all",
    }
