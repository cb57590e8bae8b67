"""The command line as a person meets it: real processes for the essentials, `main` for the rest."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from recurra.cli import main
from recurra.cli.main import COMMANDS

TEXT = "the quick brown fox jumps over the lazy dog. " * 40
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


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    (folder / "corpus.txt").write_text(TEXT)
    assert main(["train", str(folder / "corpus.txt"), "--out", str(folder / "run"), *SMALL]) == 0
    return folder / "run"


def command(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(list(words))
    out, err = capsys.readouterr()
    return status, out, err


def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for name in COMMANDS:
        with pytest.raises(SystemExit) as stop:
            main([name, "--help"])
        assert stop.value.code == 0
        assert re.search(rf"^examples?: .*recurra {name}\b", capsys.readouterr().out, re.MULTILINE)


def test_no_command_prints_help_and_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = command(capsys)
    assert status == 2 and "usage: recurra" in out


def test_unknown_command_and_option_end_with_2_in_lines_not_a_traceback() -> None:
    for words in (
        ["trian"],
        ["train", "x", "--out", "y", "--eposh", "3"],
        ["sample", "x", "--length", "many"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "recurra.cli", *words], capture_output=True, text=True
        )
        assert done.returncode == 2 and "Traceback" not in done.stderr and "error:" in done.stderr


def test_help_loads_neither_torch_nor_numpy() -> None:
    code = (
        "import sys\nfrom recurra.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_train_leaves_a_whole_run(run_folder: Path) -> None:
    assert {path.name for path in run_folder.iterdir()} == {
        ".lock",
        "config.toml",
        "history.jsonl",
        "last",
        "model.safetensors",
    }


def test_train_prints_json_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text(TEXT)
    status, out, err = command(
        capsys, "train", str(tmp_path / "a.txt"), "--out", str(tmp_path / "run"), "--json", *SMALL
    )
    record = json.loads(out)
    assert status == 0 and err == "" and record["validation_loss"] > 0 and not record["stopped"]


def test_train_refuses_a_folder_with_a_run_and_leaves_it(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text(TEXT)
    before = {path.name: path.read_bytes() for path in run_folder.rglob("*") if path.is_file()}
    status, _, err = command(
        capsys, "train", str(tmp_path / "a.txt"), "--out", str(run_folder), *SMALL
    )
    assert status == 1 and "out must be a new folder" in err and "holds a run already" in err
    assert {
        path.name: path.read_bytes() for path in run_folder.rglob("*") if path.is_file()
    } == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "file must not be empty"),
        (b"a", "text must be long enough"),
        (b"ab\0cd" * 50, "is it binary?"),
        (b"fine\nna\xefve text" * 50, "byte 0xef at 7 (line 2)"),
        (None, "file must be readable"),
    ],
)
def test_bad_files_end_with_1_and_one_line(
    content: bytes | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.txt"
    if content is not None:
        file.write_bytes(content)
    status, out, err = command(capsys, "train", str(file), "--out", str(tmp_path / "run"), *SMALL)
    assert status == 1 and out == "" and message in err and err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_all_wrong_recipe_fields_are_said_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text(TEXT)
    status, _, err = command(
        capsys,
        "train",
        str(tmp_path / "a.txt"),
        "--out",
        str(tmp_path / "run"),
        "--epochs",
        "0",
        "--lr",
        "-1",
        "--schedule",
        "cosin",
    )
    assert (
        status == 2
        and err.startswith("usage: recurra train ")
        and err.count("recurra train: error: ") == 3
    )
    assert (
        "epochs must be" in err
        and "lr must be positive" in err
        and err.endswith("got 'cosin'; did you mean 'cosine'?\n")
    )


def test_unwritable_folder_ends_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "wall").write_text("a file stands where a folder should")
    status, _, err = command(
        capsys, "train", str(tmp_path / "a.txt"), "--out", str(tmp_path / "wall" / "run"), *SMALL
    )
    assert (
        status == 1 and "out must be a folder that can be written" in err and err.count("\n") == 1
    )


def test_eval_gives_nats_bits_and_perplexity(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "test.txt").write_text(TEXT[:200])
    status, out, _ = command(capsys, "eval", str(run_folder), str(tmp_path / "test.txt"), "--json")
    record = json.loads(out)
    assert (
        status == 0
        and record["tokens"] == 199
        and record["bits"] == pytest.approx(record["nats"] * 1.4426950408889634)
    )


def test_eval_names_an_unknown_character(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "test.txt").write_text("the QUICK fox")
    status, _, err = command(capsys, "eval", str(run_folder), str(tmp_path / "test.txt"))
    assert status == 1 and "got 'Q' at character 5" in err


def test_sample_begins_with_the_prompt_and_repeats_with_a_seed(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        "sample",
        str(run_folder),
        "--prompt",
        "the ",
        "--length",
        "30",
        "--seed",
        "3",
        "--temperature",
        "0.8",
        "--top-k",
        "5",
    )
    status, first, _ = command(capsys, *words)
    assert status == 0 and first.startswith("the ") and len(first) == 4 + 30 + 1
    assert command(capsys, *words)[1] == first
    assert json.loads(command(capsys, *words, "--json")[1]) == {
        "prompt": "the ",
        "text": first[4:-1],
    }


def test_sample_says_what_is_wrong_with_an_option(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, message, code in (
        (["--temperature", "-1"], "temperature must be", 2),
        (["--prompt", "Q"], "prompt must hold only", 1),
    ):
        status, _, err = command(capsys, "sample", str(run_folder), *words)
        assert status == code and message in err


def test_stream_gives_a_figure_a_line_and_carries_the_state(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def feed(data: bytes, *options: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
        return command(capsys, "stream", str(run_folder), *options)

    from recurra.train import open_run

    assert "\n" not in open_run(run_folder).vocabulary.symbols
    status, out, err = feed(b"the quick brown fox", "--json")
    assert status == 0 and json.loads(out)["tokens"] == 18 and err == ""
    status, out, err = feed(b"the dog.\nfox", "--json")
    assert (
        status == 1
        and "line 1: text must hold only" in err
        and "passed over" in err
        and json.loads(out)["line"] == 2
    )
    status, out, err = feed(b"\xff\xfe\n")
    assert status == 1 and "line 1" in err and "Traceback" not in err


def test_surprise_is_the_loss_of_the_whole_text_however_it_is_cut(run_folder: Path) -> None:
    from recurra import train
    from recurra.export import network_of
    from recurra.runtime import Model
    from recurra.runtime.surprise import Surprise

    model = train.open_run(run_folder)
    text = TEXT[:90]
    whole = train.evaluate(model, train.contiguous(model.vocabulary.encode(text), 1))
    surprise = Surprise(Model(network_of(model)))
    parts = [surprise.push(piece) for piece in (text[:1], text[1:40], "", text[40:])]
    assert [count for _, count in parts] == [0, 39, 0, 50]
    assert sum(nats * count for nats, count in parts) / 89 == pytest.approx(whole, rel=1e-5)
    surprise.reset()
    assert surprise.push(text)[0] == pytest.approx(whole, rel=1e-5)


def test_verify_prints_the_table_and_ends_with_0(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = command(capsys, "verify", str(run_folder), "--steps", "70")
    assert (
        status == 0
        and "FAILS" not in out
        and "chunks of 64, ragged with resets" in out
        and "C header, int8" in out
    )
    ran = [line for line in out.splitlines() if line.endswith("holds")]
    assert len(ran) >= 29 + 6 and f"{len(ran)} of {len(ran)} paths" in out
    record = json.loads(
        command(capsys, "verify", str(run_folder), "--steps", "9", "--rows", "1", "--json")[1]
    )
    assert record["holds"] and all(
        row["difference"] <= row["bound"] for row in record["rows"] if row["bound"] is not None
    )


def test_verify_ends_with_1_when_a_path_differs(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from recurra.engine import METHODS

    fused = METHODS["fused"].run
    monkeypatch.setattr(
        METHODS["fused"], "run", lambda job: (s := fused(job))._replace(h=s.h + 1e-2)
    )
    status, out, _ = command(capsys, "verify", str(run_folder), "--steps", "9")
    assert status == 1 and "FAILS" in out


def test_info_passes_over_rows_that_somebody_wrote_into_a_history(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(folder: Path) -> str:
        assert main(["info", str(folder), "--json"]) == 0
        return capsys.readouterr().out

    shutil.copytree(run_folder, tmp_path / "run")
    expected = said(run_folder)
    with (tmp_path / "run" / "history.jsonl").open("a") as history:
        for row in (
            '{"epoch": 1}',
            '{"kind": "validation", "epoch": 1}',
            '{"kind": "validation", "validation_loss": "low", "epoch": 1}',
        ):
            history.write(row + "\n")
    assert said(tmp_path / "run") == expected


def test_info_of_a_run_and_of_the_installation(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads(command(capsys, "info", str(run_folder), "--json")[1])
    assert record["hidden"] == 12 and record["epochs"] == 2 and record["parameters"] > 0
    assert json.loads(command(capsys, "info", "--json")[1])["torch"] == torch.__version__


def test_a_missing_or_damaged_run_is_one_line(
    tmp_path: Path, run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "model.safetensors"
    damaged.write_bytes((run_folder / "model.safetensors").read_bytes()[:-50])
    for path, message in (
        (tmp_path / "none", "run must be a run's folder"),
        (damaged, "path must be a model saved by recurra"),
    ):
        for name in ("info", "sample", "verify"):
            status, _, err = command(capsys, name, str(path))
            assert status == 1 and message in err and err.count("\n") == 1


def test_interrupted_training_leaves_a_usable_model(tmp_path: Path) -> None:
    import os
    import signal
    import time

    (tmp_path / "a.txt").write_text(TEXT * 40)
    words = [
        "train",
        str(tmp_path / "a.txt"),
        "--out",
        str(tmp_path / "run"),
        *SMALL,
        "--epochs",
        "500",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "recurra.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    history, waited = tmp_path / "run" / "history.jsonl", 0.0
    while waited < 120 and not (history.exists() and history.stat().st_size > 500):
        time.sleep(0.1)
        waited += 0.1
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "Traceback" not in err and "stopped" in out
    assert main(["sample", str(tmp_path / "run"), "--length", "3"]) == 0


def test_demo_runs_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from recurra.cli import demo_command

    monkeypatch.setattr(demo_command, "prose", lambda: ["The end. " + TEXT, TEXT])
    status, out, _ = command(capsys, "demo", "--out", str(tmp_path / "demo"), "--seconds", "1")
    assert (
        status == 0
        and "Streaming equals the whole" in out
        and "29 of 29" in out
        and "|dL/dh_t|" in out
    )
    assert (tmp_path / "demo" / "loss.png").stat().st_size > 5000 and (
        tmp_path / "demo" / "gradient.png"
    ).exists()


def test_demo_has_prose_with_and_without_the_topics() -> None:
    from recurra.cli import demo_command

    assert sum(map(len, demo_command.prose())) >= demo_command.ENOUGH
    assert sum(map(len, demo_command.docstrings())) >= demo_command.ENOUGH


def test_demo_takes_the_next_free_folder(tmp_path: Path) -> None:
    from recurra.cli.demo_command import next_free

    assert next_free(tmp_path) == tmp_path / "demo"
    (tmp_path / "demo").mkdir()
    assert next_free(tmp_path) == tmp_path / "demo-2"
