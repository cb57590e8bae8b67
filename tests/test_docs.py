"""The documents: every public name on a page, every page reachable, and what they show is what
comes out.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import os
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import recurra
from recurra.cli.main import COMMANDS, main

TOP = Path(__file__).parents[1]
DOCS = TOP / "docs"
PACKAGES = tuple(
    [
        "cells",
        "convert",
        "engine",
        "init",
        "inspection",
        "layers",
        "models",
        "native",
        "parity",
        "program",
        "runtime",
        "state",
        "stream",
        "train",
    ]
)


class Ids(HTMLParser):
    """Collects the id of every element: mkdocstrings gives each documented name its dotted path."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {value for name, value in attrs if name == "id" and value}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; the build is strict, so a broken link or reference fails it."""
    out = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--quiet",
        "--site-dir",
        str(out),
    ]
    done = subprocess.run(
        command,
        cwd=TOP,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stderr
    return out


def public_names(package: str) -> list[str]:
    """What a package offers: its `__all__`, or the functions and classes it defines."""
    module = importlib.import_module(f"recurra.{package}")
    if hasattr(module, "__all__"):
        return list(module.__all__)
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module.__name__
    ]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_on_its_reference_page(site: Path, package: str) -> None:
    ids = Ids()
    ids.feed((site / "reference" / f"{package}.html").read_text(encoding="utf-8"))
    names = public_names(package)
    assert names
    # a function in a file of its own name is listed by both
    paths = {
        name: {f"recurra.{package}.{name}", f"recurra.{package}.{name}.{name}"} for name in names
    }
    assert not [name for name in names if not paths[name] & ids.found]


def test_the_site_opens_from_a_file_with_its_search(site: Path) -> None:
    """No page loads a script or a style from elsewhere, links name files, and the index is a script
    that a file may load.
    """
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(
            r'<(?:script[^>]* src|link[^>]* rel="stylesheet"[^>]* href)="(?:https?:)?//[^"]*"', text
        ), page
        for link in (
            re.findall(r'<script[^>]* src="([^"]*)"', text) if page.name != "404.html" else ()
        ):
            assert (page.parent / link).is_file(), (page, link)
    assert (
        (site / "search" / "search_index.js")
        .read_text(encoding="utf-8")
        .startswith("var __index = {")
    )
    assert not [
        path
        for path in site.rglob("index.html")
        if path.parent.name not in (site.name, "reference", "decisions")
    ]


def test_every_package_that_recurra_offers_has_a_page() -> None:
    packages = {name for name in recurra.__all__ if inspect.ismodule(getattr(recurra, name))}
    assert packages - {path.stem for path in (DOCS / "reference").glob("*.md")} == set()
    listed = (DOCS / "reference" / "index.md").read_text(encoding="utf-8")
    assert not [name for name in packages if f"]({name}.md)" not in listed]


def test_every_page_is_in_the_navigation() -> None:
    navigation = (TOP / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")]
    assert len(pages) > 20
    assert not [page for page in pages if f" {page}\n" not in navigation]


def test_every_decision_is_listed_and_numbered_in_order() -> None:
    decisions = sorted(path.name for path in (DOCS / "decisions").glob("0*.md"))
    listed = re.findall(
        r"\]\((0\d{3}-[\w-]+\.md)\)", (DOCS / "decisions" / "index.md").read_text(encoding="utf-8")
    )
    assert listed == decisions
    assert [int(name[:4]) for name in decisions] == list(range(1, len(decisions) + 1))


def test_decisions_that_the_sources_name_exist() -> None:
    named = {
        n
        for path in (TOP / "src").rglob("*.py")
        for n in re.findall(r"docs/decisions/(\d{4})", path.read_text(encoding="utf-8"))
    }
    assert named
    assert not [number for number in named if not list((DOCS / "decisions").glob(f"{number}-*.md"))]


def test_the_program_that_the_page_lists_is_what_show_prints() -> None:
    page = (DOCS / "cell.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(\w+)\n(.*?)```", page, flags=re.DOTALL)
    shown = next(
        n for n, (kind, text) in enumerate(blocks) if kind == "python" and "print(show(" in text
    )
    names: dict[str, object] = {}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for _, text in blocks[: shown + 1]:
            exec(text, names)
    kind, listing = blocks[shown + 1]
    assert (kind, listing) == ("text", printed.getvalue())


def test_the_commands_of_the_page_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    lines = "".join(re.findall(r"```bash\n(.*?)```", page, flags=re.DOTALL)).splitlines()
    assert {line.split()[1] for line in lines} == set(COMMANDS) - {"demo"}
    (tmp_path / "corpus.txt").write_text(
        "the quick brown fox jumps over the lazy dog.\n" * 60, encoding="utf-8"
    )
    (tmp_path / "test.txt").write_text("the lazy dog jumps\nover the fox\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for line in lines:
        command, _, file = line.partition(" < ")
        with open(file or os.devnull, encoding="utf-8") as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            assert main(shlex.split(command)[1:]) == 0, line
        assert capsys.readouterr().out.strip(), line
    names = {file.name for file in (tmp_path / "runs" / "a").iterdir()}
    assert names == {".lock", "config.toml", "history.jsonl", "last", "model.safetensors"}


@pytest.mark.parametrize(
    "path",
    [*DOCS.rglob("*.md"), TOP / "README.md", *(TOP / "src").rglob("*.py")],
    ids=lambda path: path.name,
)
def test_no_sequential_hands_a_recurrent_layers_tuple_on(path: Path) -> None:
    """PyTorch cannot run one: what a recurrent layer gives is its output and its state."""
    assert not re.findall(
        r"Sequential\([^\n]*(?:LSTM|GRU|RNN)\([^()\n]*\),[^\n]*", path.read_text(encoding="utf-8")
    )


def test_the_page_lists_every_command() -> None:
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE) == list(COMMANDS)
