"""A notebook, run: one line as text, tables and charts as HTML, a picture, and a bar in one
output.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import nbclient
import nbformat
import pytest

from tests.display.markup import Markup

START = """
import torch, recurra
from recurra import inspection, train
torch.manual_seed(0)
layer = recurra.LSTM(3, 8)
x = torch.randn(12, 2, 3)
recurra.init.forget_bias(layer, -4.0)
d = inspection.diagnose(layer, (x,))
"""
CELLS = {
    "diagnosis": "d",
    "flow": "inspection.gradient_flow(layer, (x,))",
    "gates": "inspection.gate_use(layer, (x,))",
    "explained": "recurra.explain(layer, x)",
    "program": "recurra.program.trace(recurra.cells.GRU())",
    "shown": "recurra.program.show(recurra.cells.Elman())",
    "plot": "d.plot()",
    "plot saved": "d.plot('d.png')",
    "plot after pyplot": "import matplotlib.pyplot as plt\nd.plot()",
    "pyplot": "plt.get_fignums()",
    "corpus": (
        "open('a.txt', 'w').write('to be or not to be ' * 40)\n"
        "corpus = train.from_files('a.txt', cache='tokens', validation=0.2)\ncorpus"
    ),
    "fit": (
        "model = recurra.models.LanguageModel(len(corpus.vocabulary), embed=4, hidden=8, layers=1,"
        " vocabulary=corpus.vocabulary)\nrun = train.fit(model, corpus, train.Recipe(epochs=3,"
        " window=20, batch=4), out='run')"
    ),
    "run": "run",
    "stream": "recurra.Stream(model)",
    "model": (
        "recurra.export.to_rcr(model, 'm.rcr')\nloaded = recurra.runtime.load('m.rcr')\nloaded"
    ),
    "session": "loaded.session(batch=2)",
    "network": "loaded.network",
}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """What each cell shows."""
    folder = tmp_path_factory.mktemp("notebook")
    kernel = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "here",
        "language": "python",
    }
    (folder / "kernels" / "here").mkdir(parents=True)
    (folder / "kernels" / "here" / "kernel.json").write_text(json.dumps(kernel))
    book = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(code) for code in (START, *CELLS.values())]
    )
    with pytest.MonkeyPatch.context() as patch:
        for name in (
            "JUPYTER_PATH",
            "JUPYTER_CONFIG_DIR",
            "JUPYTER_RUNTIME_DIR",
            "IPYTHONDIR",
        ):  # not those of whoever runs the tests
            patch.setenv(name, str(folder))
        nbclient.NotebookClient(
            book, timeout=120, kernel_name="here", resources={"metadata": {"path": str(folder)}}
        ).execute()
    assert (folder / "d.png").read_bytes().startswith(b"\x89PNG")
    return {name: list(cell.outputs) for name, cell in zip(("start", *CELLS), book.cells)}


def alone(outputs: dict[str, list[Any]], name: str) -> dict[str, Any]:
    """The one output of a cell, by its form."""
    (output,) = outputs[name]
    return dict(output.data)


@pytest.mark.parametrize(
    "name",
    [
        "diagnosis",
        "flow",
        "gates",
        "program",
        "corpus",
        "run",
        "stream",
        "model",
        "session",
        "network",
    ],
)
def test_an_object_is_a_line_of_text_and_a_table_or_chart(
    outputs: dict[str, list[Any]], name: str
) -> None:
    data = alone(outputs, name)
    assert (
        len(data["text/plain"].splitlines()) == 1
        and data["text/plain"].endswith(")")
        and "0x" not in data["text/plain"]
    )
    assert {"table", "svg", "pre"} & set(Markup(data["text/html"]).tags)


@pytest.mark.parametrize(
    ("name", "tag", "lines"), [("explained", "table", 2), ("shown", "pre", 13)]
)
def test_a_text_is_shown_as_it_is(
    outputs: dict[str, list[Any]], name: str, tag: str, lines: int
) -> None:
    data = alone(outputs, name)
    assert len(data["text/plain"].splitlines()) == lines and "\\n" not in data["text/plain"]
    assert tag in Markup(data["text/html"]).tags


@pytest.mark.parametrize("name", ["plot", "plot after pyplot"])
def test_a_plot_is_one_picture(outputs: dict[str, list[Any]], name: str) -> None:
    assert len(alone(outputs, name)["image/png"]) > 10_000


def test_a_saved_plot_shows_nothing_and_pyplot_holds_none(outputs: dict[str, list[Any]]) -> None:
    assert outputs["plot saved"] == [] and alone(outputs, "pyplot")["text/plain"] == "[]"


def test_progress_is_one_bar_with_a_line_a_validation(outputs: dict[str, list[Any]]) -> None:
    data = alone(outputs, "fit")
    seen = Markup(data["text/html"])
    assert seen.tags.count("progress") == 1 and re.search(
        r'value="(\d+)" max="\1"', data["text/html"]
    )
    for epoch in (1, 2, 3):
        assert (
            seen.words.count(f"pass {epoch}/3: train ")
            == data["text/plain"].count(f"pass {epoch}/3: train ")
            == 1
        )


def test_nothing_is_written_beside(outputs: dict[str, list[Any]]) -> None:
    assert outputs["start"] == [] and not [
        each for cell in outputs.values() for each in cell if each.output_type == "stream"
    ]
