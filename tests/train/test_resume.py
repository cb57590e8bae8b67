"""A run that was interrupted and gone on with ends as one that never was, to the last bit."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from recurra.errors import ArgumentError, RunError
from recurra.models import LanguageModel, load
from recurra.train import Corpus, Recipe, fit, from_text, read_config, read_history, resume
from recurra.train.checkpoint import read_newest
from tests.train.moments import Chunks

TEXT = "the cat sat on the mat and the rat sat on the cat; " * 12
DOCUMENTS = [
    "to be or not to be",
    "that is the question",
    "whether tis nobler in the mind to suffer",
] * 8
DATA, PARTED = from_text(TEXT), from_text(DOCUMENTS)

CASES: dict[str, tuple[Recipe, Corpus, dict[str, Any]]] = {
    "plain": (Recipe(epochs=3, window=11, batch=4, lr=0.01, checkpoint_s=0), DATA, {}),
    "documents": (
        Recipe(epochs=2, window=9, stride=4, batch=5, lr=0.01, checkpoint_s=0),
        PARTED,
        {"cell": "gru"},
    ),
    "sgd": (
        Recipe(
            epochs=3,
            window=20,
            batch=4,
            optimizer="sgd",
            lr=0.5,
            momentum=0.9,
            schedule="decay",
            checkpoint_s=0,
        ),
        DATA,
        {},
    ),
    "averaged": (
        Recipe(
            epochs=6,
            window=30,
            batch=4,
            optimizer="asgd",
            lr=20.0,
            average_after=1,
            validate_every=2,
            checkpoint_s=0,
        ),
        DATA,
        {},
    ),
    "plateau": (
        Recipe(
            epochs=4,
            window=30,
            batch=4,
            lr=0.3,
            schedule="plateau",
            validate_every=5,
            checkpoint_s=0,
        ),
        DATA,
        {},
    ),
    "varied": (
        Recipe(
            epochs=3,
            window=15,
            batch=6,
            accumulate=3,
            vary_window=True,
            schedule="cosine",
            warmup=4,
            checkpoint_s=0,
        ),
        PARTED,
        {},
    ),
    "penalties": (
        Recipe(
            epochs=4,
            window=20,
            batch=4,
            optimizer="adamw",
            weight_decay=0.1,
            activation_penalty=2.0,
            temporal_penalty=1.0,
            checkpoint_s=0,
        ),
        DATA,
        {},
    ),
    "rarely kept": (Recipe(epochs=3, window=11, batch=4, lr=0.01), DATA, {}),
}


def made(data: Corpus, **options: Any) -> LanguageModel:
    torch.manual_seed(3)
    given = {"embed": 6, "hidden": 7, "dropout": 0.2, "vocabulary": data.vocabulary} | options
    return LanguageModel(len(data.vocabulary), **given)


def at(step: int, error: type[BaseException] = SystemExit) -> Any:
    """A callback that ends the run without warning, as a kill would, but for what Python does on
    its way out.
    """

    def look(row: dict[str, Any]) -> None:
        if row["step"] == step:
            raise error

    return Chunks(look)


def rows(folder: Path) -> list[dict[str, Any]]:
    """The history without what a clock says."""
    return [
        {name: value for name, value in row.items() if not name.endswith("_s")}
        for row in read_history(folder)
    ]


def same(first: Path, second: Path, cells: Any = ()) -> None:
    """Every bit of two runs' ends."""
    assert rows(first) == rows(second)
    ends = [read_newest(folder / "last") for folder in (first, second)]
    assert ends[0].tensors.keys() == ends[1].tensors.keys()
    for name, value in ends[0].tensors.items():
        assert torch.equal(value, ends[1].tensors[name]), name
    records = [
        {name: value for name, value in end.record.items() if name not in ("sums", "history")}
        for end in ends
    ]
    assert records[0] == records[1]
    weights = [load(folder / "model.safetensors", cells).state_dict() for folder in (first, second)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("step", [1, 7, 18])
def test_a_run_gone_on_with_ends_as_one_that_never_stopped(
    case: str, step: int, tmp_path: Path
) -> None:
    recipe, data, options = CASES[case]
    whole = fit(made(data, **options), data, recipe, tmp_path / "whole", show=False)
    with pytest.raises(SystemExit):
        fit(made(data, **options), data, recipe, tmp_path / "cut", show=False, callbacks=[at(step)])
    torch.manual_seed(99)  # the process that goes on has another past
    done = resume(tmp_path / "cut", data, show=False)
    same(tmp_path / "whole", tmp_path / "cut")
    assert (
        done.best_loss == whole.best_loss and done.folder == tmp_path / "cut" and not done.stopped
    )
    assert all(
        torch.equal(value, done.model.state_dict()[name])
        for name, value in whole.model.state_dict().items()
    )


def test_the_cases_do_what_they_say(tmp_path: Path) -> None:
    recipe, data, options = CASES["averaged"]
    fit(made(data, **options), data, recipe, tmp_path / "a", show=False)
    assert read_newest(tmp_path / "a" / "last").record["average"]["count"] > 0
    recipe, data, options = CASES["plateau"]
    fit(made(data, **options), data, recipe, tmp_path / "b", show=False)
    assert read_newest(tmp_path / "b" / "last").record["schedule"]["drop"] < 1


def test_ctrl_c_keeps_everything(tmp_path: Path) -> None:
    recipe, data, _ = CASES["rarely kept"]
    fit(made(data), data, recipe, tmp_path / "whole", show=False)
    first = fit(made(data), data, recipe, tmp_path / "cut", show=False, callbacks=[Asks(5)])
    assert first.stopped and read_newest(tmp_path / "cut" / "last").record["step"] == 5
    assert len(read_history(tmp_path / "cut")) == 5
    second = resume(tmp_path / "cut", data, show=False, callbacks=[Asks(20)])
    assert second.stopped
    assert not resume(tmp_path / "cut", data, show=False).stopped
    same(tmp_path / "whole", tmp_path / "cut")


class Asks:
    """Asks the run to end, as the first Ctrl-C does."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_chunk(self, course: Any, row: dict[str, Any], chunk: Any) -> None:
        course.wish.asked = row["step"] == self.step


def test_a_run_that_ended_early_has_ended(tmp_path: Path) -> None:
    class End:
        def on_chunk(self, course: Any, row: dict[str, Any], chunk: Any) -> None:
            course.ended = row["step"] == 3

    run = fit(
        made(DATA),
        DATA,
        Recipe(epochs=3, window=11, batch=4),
        tmp_path,
        show=False,
        callbacks=[End()],
    )
    assert not run.stopped and len(run.history) == 3
    assert resume(tmp_path, DATA, show=False).history == run.history


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[:1000], lambda data: data[:-1] + bytes([data[-1] ^ 1]), lambda data: b""],
)
def test_a_damaged_checkpoint_is_passed_by_and_said(
    damage: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    recipe, data, _ = CASES["plain"]
    fit(made(data), data, recipe, tmp_path / "whole", show=False)
    with pytest.raises(SystemExit):
        fit(made(data), data, recipe, tmp_path / "cut", show=False, callbacks=[at(9)])
    newest = max((tmp_path / "cut" / "last").iterdir())
    newest.write_bytes(damage(newest.read_bytes()))
    resume(tmp_path / "cut", data)
    notes = [
        json.loads(line)["text"] for line in capfd.readouterr().err.splitlines() if '"note"' in line
    ]
    assert (
        notes[0].startswith("the checkpoint 0000000008.safetensors is damaged (")
        and notes[1] == "going on after update 7 in pass 1"
    )
    same(tmp_path / "whole", tmp_path / "cut")


# What cannot be gone on with


def begun(folder: Path, **changes: Any) -> None:
    with pytest.raises(SystemExit):
        fit(
            made(DATA),
            DATA,
            Recipe(**{"epochs": 3, "window": 11, "batch": 4} | changes),
            folder,
            show=False,
            callbacks=[at(2)],
        )


def refused(
    folder: Path, message: str, data: Corpus | None = DATA, error: type[Exception] = RunError
) -> None:
    with pytest.raises(error, match=f"^{message}"):
        resume(folder, data, show=False)


def test_what_is_no_run(tmp_path: Path) -> None:
    refused(
        tmp_path / "none",
        re.escape(
            f"run must be a run's folder, got {str(tmp_path / 'none')!r}, which holds no"
            " config.toml"
        ),
    )
    (tmp_path / "config.toml").write_text("x")
    refused(tmp_path, "run must be a run's folder, got .*, which holds no history.jsonl")


def test_a_run_that_has_ended_is_left_as_it_is(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first = fit(made(DATA), DATA, Recipe(epochs=1, batch=4), tmp_path, show=False)
    before = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    again = resume(tmp_path, DATA)
    assert (
        '"the run ended after update 2"' in capfd.readouterr().err
        and not again.stopped
        and again.best_loss == first.best_loss
    )
    assert {
        path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()
    } == before
    assert all(
        torch.equal(value, again.model.state_dict()[name])
        for name, value in first.model.state_dict().items()
    )


def test_other_data(tmp_path: Path) -> None:
    begun(tmp_path)
    changed = from_text(TEXT.replace("rat", "tar"))
    refused(
        tmp_path,
        r"data must be those of the run, 551 \+ 61 tokens, \w+, got 551 \+ 61 tokens, \w+; give the"
        r" same text$",
        changed,
    )
    refused(
        tmp_path,
        "data must be given to go on with a run whose data came from memory, got None$",
        None,
        ArgumentError,
    )
    resume(tmp_path, DATA, show=False)


def test_another_model(tmp_path: Path) -> None:
    begun(tmp_path)
    config = tmp_path / "config.toml"
    config.write_text(config.read_text().replace("hidden = 7", "hidden = 8"))
    refused(tmp_path, "checkpoint must be of this model, got another's ")


def test_an_unknown_key_in_the_configuration(tmp_path: Path) -> None:
    begun(tmp_path)
    config = tmp_path / "config.toml"
    config.write_text(config.read_text().replace("epochs = 3", "epoch = 3"))
    refused(
        tmp_path,
        "epoch must be a field of Recipe, got an unknown one; did you mean 'epochs'?",
        DATA,
        ArgumentError,
    )


def test_a_run_in_use(tmp_path: Path) -> None:
    messages = []

    def twice(row: dict[str, Any]) -> None:
        with pytest.raises(RunError) as caught:
            resume(tmp_path, DATA, show=False)
        messages.append(str(caught.value))

    fit(
        made(DATA),
        DATA,
        Recipe(epochs=1, window=100, batch=4),
        tmp_path,
        show=False,
        callbacks=[Chunks(twice)],
    )
    expected = (
        f"out must not be in use, got {str(tmp_path)!r}, which another process is training in; wait"
        " for it to end"
    )
    assert messages and set(messages) == {expected}


def test_other_threads_are_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    begun(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        resume(tmp_path, DATA)
    finally:
        torch.set_num_threads(threads)
    notes = [
        json.loads(line)["text"] for line in capfd.readouterr().err.splitlines() if '"note"' in line
    ]
    assert f"not bit for bit: threads was {threads}, is {threads + 1}" in notes


def test_the_configuration_is_what_was_asked_for(tmp_path: Path) -> None:
    begun(tmp_path, clip_norm=None, betas=(0.5, 0.9))
    config = read_config(tmp_path)
    assert Recipe.of(config["recipe"]) == Recipe(
        epochs=3, window=11, batch=4, clip_norm=None, betas=(0.5, 0.9)
    )
    assert (
        config["model"]["hidden"] == 7
        and config["model"]["dropout"] == 0.2
        and "data" not in config
    )


def test_a_model_of_float64_goes_on_in_float64(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        fit(
            made(DATA).double(),
            DATA,
            Recipe(epochs=2, window=30, batch=4),
            tmp_path,
            show=False,
            callbacks=[at(2)],
        )
    assert resume(tmp_path, DATA, show=False).model.embedding.weight.dtype == torch.float64
