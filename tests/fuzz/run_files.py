"""Run folders: config.toml, history.jsonl, model.safetensors and last/, as `resume`, `info` and
`inspect` read them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import tomli_w
import torch

from recurra import train
from recurra.cli import info_command
from recurra.errors import RecurraError
from recurra.inspection.charts import loss_chart, norm_chart
from recurra.inspection.loss import Cost
from recurra.inspection.norms import training_norms
from recurra.inspection.performance import course_of, performance_of
from recurra.inspection.run_verdicts import judge_run
from recurra.models import LanguageModel
from recurra.train import Recipe, fit, from_files
from tests.fuzz import checkpoint_files, model_files
from tests.fuzz.archive import pack, unpack
from tests.fuzz.container import forged, parse
from tests.fuzz.mutation import bend, change, depth
from tests.fuzz.recipe_files import DEEPEST
from tests.fuzz.shown import check_html, check_terminal

READERS = (
    "train/folder.py",
    "train/run.py",
    "train/corpus.py",
    "train/recipe.py",
    "train/resuming.py",
    "cli/info_command.py",
    "inspection/performance.py",
    "inspection/run_verdicts.py",
    "inspection/norms.py",
)
COUNT = 60
TEXT = "the cat sat on the mat and the rat sat on the cat; " * 5
PLACE = "@folder@"
"""What stands in a packed configuration for the folder that it is unpacked into."""
LONGEST = 200
"""Steps, batches or windows, up to which a run is gone on with: what a run asks for it may take."""


@cache
def seeds() -> tuple[dict[str, bytes], ...]:
    """Small runs of text files: one that ended, one of averaged SGD, one that was interrupted."""
    made = []
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name, torch.random.fork_rng(devices=[]):
        root = Path(name)
        (root / "text").write_text(TEXT)
        data = from_files(root / "text", 0.2, cache=root / "cache", show=False)
        for number, optimizer in enumerate(("adam", "asgd", "sgd")):
            torch.manual_seed(0)
            model = LanguageModel(
                len(data.vocabulary), embed=3, hidden=4, layers=1, vocabulary=data.vocabulary
            ).to(torch.float32)
            run = root / f"run{number}"
            recipe = Recipe(epochs=1, window=20, batch=4, optimizer=optimizer)
            fit(model, data, recipe, run, show=False, callbacks=[Ending(1)] if number == 2 else [])
            files = {
                str(path.relative_to(run)): path.read_bytes()
                for path in run.rglob("*")
                if path.is_file() and path.name != ".lock"
            }
            made.append(
                {
                    file: value.replace(name.encode(), PLACE.encode())
                    for file, value in files.items()
                }
            )
    return tuple(made)


class Ending:
    """Ends a run after some steps.

    Args:
        steps: how many.
    """

    def __init__(self, steps: int) -> None:
        self.left = steps

    def on_chunk(self, course: Any, row: Any, chunk: Any) -> None:
        """Count a step."""
        self.left -= 1
        if self.left <= 0:
            course.ended = True


def forge(draws: Random) -> bytes:
    """An archive of a run of which one file is changed, or is missing, or is another's."""
    import tomllib

    files = dict(draws.choice(seeds()))
    name = draws.choice((*sorted(files), "config.toml", "history.jsonl"))
    raw, way = files[name], draws.randrange(20)
    if way == 0:
        del files[name]
    elif way == 1:
        files[name] = bend(raw, draws)
    elif name == "config.toml":
        with contextlib.suppress(
            TypeError, ValueError, AttributeError, RecursionError
        ):  # what TOML does not hold
            record = change(tomllib.loads(raw.decode()), draws)
            files[name] = tomli_w.dumps(record if depth(record) < DEEPEST else {}).encode(
                "utf-8", "surrogatepass"
            )
    elif name == "history.jsonl":
        rows = change([json.loads(line) for line in raw.splitlines()], draws)
        files[name] = b"".join(
            json.dumps(row).encode() + b"\n" for row in (rows if isinstance(rows, list) else [rows])
        )
    elif name == "model.safetensors":
        container = parse(raw)
        files[name] = forged(
            container, json.loads(container.metadata["recurra"]), model_files.sign, draws
        )
    else:
        container = parse(raw)
        files[name] = forged(
            container, json.loads(container.metadata["record"]), checkpoint_files.sign, draws
        )
    return pack(files)


def look(history: list[Any]) -> None:
    """What `recurra inspect` makes of a history."""
    cost = Cost(torch.zeros(()), 2.0, 3.0, "a guess", "nats a token")
    performance = performance_of(cost, history, None)
    for verdict in judge_run(course_of(history), performance):
        str(verdict)
    str(training_norms(history, 1.0))
    for chart in (loss_chart(history), norm_chart(history, 1.0)):
        if chart is not None:
            check_html(chart.to_html("a chart"))


def read(data: bytes, folder: Path) -> None:
    """Look at a run in every way, and go on with it for two steps."""
    run = folder / "run"
    shutil.rmtree(run, ignore_errors=True)
    (folder / "text").write_text(TEXT)
    for name, value in unpack(data).items():
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_bytes(value.replace(PLACE.encode(), str(folder).encode()))
    with contextlib.suppress(RecurraError), contextlib.redirect_stdout(io.StringIO()) as out:
        info_command.run(argparse.Namespace(run_folder=str(run), json=False))
    check_terminal(out.getvalue())
    with contextlib.suppress(RecurraError):
        check_html(train.Run(train.open_run(run), run)._repr_html_())
    with contextlib.suppress(RecurraError):
        look(train.read_history(run))
    recipe = Recipe.of(train.read_config(run)["recipe"])
    if max(recipe.batch, recipe.window, recipe.accumulate) > LONGEST:
        return
    with contextlib.redirect_stderr(io.StringIO()):
        train.resume(run, show=False, callbacks=[Ending(2)])
