"""Code blocks of the documents are tests: a page's blocks run in order and share their names."""

from __future__ import annotations

import os
import shutil
from importlib import import_module
from tempfile import mkdtemp
from typing import Any

import pytest
import torch
from sybil import Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser


class ConsoleParser(PythonCodeBlockParser):
    """`pycon` blocks: what is typed after >>> and what it must print."""

    def __init__(self) -> None:
        super().__init__()
        self.codeblock_parser = CodeBlockParser("pycon", PythonEvaluator())


def _begin(namespace: dict[str, Any]) -> None:
    """Each page begins with a seed, in an empty folder of its own, and nobody warned."""
    torch.manual_seed(0)
    import_module("recurra.engine.scan")._WARNED.clear()
    namespace["__folders__"] = os.getcwd(), mkdtemp()
    os.chdir(namespace["__folders__"][1])


def _end(namespace: dict[str, Any]) -> None:
    before, own = namespace["__folders__"]
    os.chdir(before)
    shutil.rmtree(own)


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), ConsoleParser()],
    patterns=["README.md", "docs/*.md", "docs/**/*.md"],
    setup=_begin,
    teardown=_end,
).pytest()


@pytest.fixture(autouse=True)
def _names_of_doctests(request: pytest.FixtureRequest) -> None:
    """Docstrings may say `recurra` and `torch` without importing them."""
    if isinstance(request.node, pytest.DoctestItem):
        import recurra

        torch.manual_seed(0)
        request.getfixturevalue("doctest_namespace").update(recurra=recurra, torch=torch)
