"""No text of a file becomes code, whatever it says: every text that a network holds, in every form
that one is written in.
"""

from __future__ import annotations

import dataclasses
import io
import json
import re
import shutil
import subprocess
from contextlib import redirect_stdout
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recurra import cells
from recurra.cli.output import printable
from recurra.errors import RecurraError
from recurra.export import to_c, to_onnx, to_pt2
from recurra.inspection import diagnose, write_report
from recurra.network import Embedding, Network, Recurrent
from recurra.network.file import read, write
from recurra.program import from_json, to_json
from recurra.program.graph import Program
from tests.network.nets import matrix, recurrent
from tests.program.test_weights import renamed

ATTACK = (
    '*/ extern int system(const char *); static int ran = 0; /* <script>alert(1)</script> " \\'
    " ??/\n \x1b[2J *\\"
)
ODD = ["*\\", "*\\\n/", "*??/", "\\", '"', "</script>", "\x1b]0;x\x07", "\u202e", "\ud800"]
ODD_NAMES = [
    "n",
    "int",
    "h_new",
    "u",
    "y",
    "s",
    "j",
    "\u03b3",
    "\u00e9",
    "__2",
    "x" * 300,
    "t3",
    "a b",
]
TEXTS = st.sampled_from([ATTACK, *ODD]) | st.text(max_size=20)
NAMES = st.sampled_from([ATTACK, *ODD_NAMES]) | st.text(max_size=6)


def spoken(
    cell: str = "Cell()",
    licence: str = "MIT",
    word: str = "a",
    names: tuple[str, str, str] = ("k", "n", "p"),
) -> Network:
    """A network of tokens that holds those texts: a cell's, a licence, a vocabulary, a gate's, a
    value's and a param's name.
    """
    layer = recurrent(cells.PeepholeLSTM(), 3, 4)
    record = json.loads(to_json(layer.program))
    for old, new in zip(("i", "f", "p_i"), names):
        record = renamed(record, old, f"~{new}")
    for new in names:
        record = renamed(record, f"~{new}", new)
    program = dataclasses.replace(from_json(json.dumps(record)), cell=cell)
    vectors = {
        names[2] if name == "p_i" else name: vector for name, vector in layer.vectors.items()
    }
    layers = Embedding(matrix(2, 3)), Recurrent(program, layer.matrices, vectors)
    return Network(
        layers, {"level": "word", "words": ["<unk>", word]}, {"licence": licence, "note": word}
    )


def stripped(header: str) -> str:
    """C without its comments, as a compiler reads it: trigraphs and joined lines first."""
    text = re.sub(r"\?\?/", "\\\\", header).replace("\\\n", "")
    text = re.sub(
        r"RECURRA_model_[0-9a-f]{8}", "RECURRA_model", text
    )  # the guard's checksum is of the comments too
    return re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)


PLAIN = spoken()


@settings(max_examples=60, deadline=None)
@given(TEXTS, TEXTS, TEXTS)
def test_texts_leave_a_header_as_it_is_but_for_comments(cell: str, licence: str, word: str) -> None:
    header = to_c(spoken(cell, licence, word))
    assert header.isascii()
    assert stripped(header) == stripped(to_c(PLAIN))


@settings(max_examples=60, deadline=None)
@given(st.tuples(NAMES, NAMES, NAMES))
def test_names_are_refused_or_become_identifiers_of_c(names: tuple[str, str, str]) -> None:
    try:
        network = spoken(names=names)
    except RecurraError as error:
        assert "\n" not in str(error)
        return
    code = stripped(to_c(network))
    assert re.sub(r"[\w\s{}()\[\]<>;:,.+\-*/%&|!=?#\"^~]", "", code) == "", "nothing but C"
    assert code.count(";") == stripped(to_c(PLAIN)).count(";")


@pytest.mark.parametrize(
    "names",
    [
        ("\u03b3", "\u00e9", "\u00e8"),
        ("int", "for", "double"),
        ("__2", "\u00e9", "\u00e8"),
        ("u", "y", "s"),
    ],
)
def test_headers_of_strange_names_compile(names: tuple[str, str, str], tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc") or pytest.skip("no compiler is installed")
    (tmp_path / "model.h").write_text(to_c(spoken(ATTACK, ATTACK, ATTACK, names)), encoding="ascii")
    (tmp_path / "main.c").write_text('#include "model.h"\nint main(void) { return 0; }\n')
    command = [
        compiler,
        "-std=c99",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-trigraphs",
        "-Wno-unused-function",
        "-fsyntax-only",
        "main.c",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:2000]


@settings(max_examples=25, deadline=None)
@given(TEXTS, TEXTS, TEXTS)
def test_texts_are_data_of_a_graph(cell: str, licence: str, word: str) -> None:
    model = to_onnx(spoken(cell, licence, word))
    onnx.checker.check_model(model)
    plain = to_onnx(PLAIN)
    assert model.graph == plain.graph
    assert json.loads(model.metadata_props[0].value)["facts"] == {"licence": licence, "note": word}


@settings(max_examples=25, deadline=None)
@given(st.tuples(NAMES, NAMES, NAMES))
def test_graph_of_any_names_is_one(names: tuple[str, str, str]) -> None:
    try:
        network = spoken(names=names)
    except RecurraError:
        return
    onnx.checker.check_model(to_onnx(network))


def test_program_of_torch_is_that_of_plain_texts() -> None:
    odd, plain = (
        to_pt2(network).graph_module.code
        for network in (spoken(ATTACK, ATTACK, ATTACK, ("\u03b3", "int", "\u00e9")), PLAIN)
    )
    assert odd.count("\n") == plain.count("\n") and "system" not in odd


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(TEXTS, TEXTS, TEXTS)
def test_file_gives_texts_back(tmp_path: Path, cell: str, licence: str, word: str) -> None:
    path = tmp_path / "model.rcr"
    write(spoken(cell, licence, word), path)
    kept = read(path)
    assert isinstance(kept.layers[1], Recurrent) and isinstance(kept.layers[1].program, Program)
    assert (kept.layers[1].program.cell, kept.facts["licence"]) == (cell, licence)


@given(st.text())
def test_a_terminal_obeys_nothing(text: str) -> None:
    shown = printable(text)
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", shown
    )
    shown.encode()


class Tags(HTMLParser):
    """The tags of a page, but for what is within scripts, and the texts of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, Any]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, sorted(name for name, _ in attrs)))


class Strange(torch.nn.Module):
    """A module whose layer has any name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.add_module(name, torch.nn.LSTM(3, 4))
        self.name = name

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.get_submodule(self.name)(x)[0]
        return out


@pytest.mark.parametrize(
    "text",
    [
        "<img src=x onerror=alert(1)>",
        '</script><script>alert(1)</script> "',
        "<a href='javascript:x'>y</a>",
    ],
)
def test_texts_make_no_tag_of_a_page(text: str, tmp_path: Path) -> None:
    x = torch.ones(5, 2, 3)
    pages: list[str] = []
    for number, said in enumerate(("plain", text)):
        found = diagnose(Strange(said), (x,))
        steps: list[Any] = [1, 2, said if number else 3]
        history: Any = [
            {"kind": "train", "step": step, "loss": 1.0, "grad_norm": 1.0, said: said}
            for step in steps
        ]
        with redirect_stdout(io.StringIO()):
            write_report(
                found, tmp_path / "page.html", history=history, title=said, facts={said: said}
            )
        pages.append((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert Tags(pages[0]).tags == Tags(pages[1]).tags
    assert text not in pages[1] and pages[1].count("<script") == pages[0].count("<script")
