"""Code blocks of the documents are tests: a page's blocks run in order and share their names."""

from __future__ import annotations

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


def _seed(namespace: dict[str, Any]) -> None:
    torch.manual_seed(0)


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), ConsoleParser()], patterns=["README.md", "docs/*.md", "docs/**/*.md"], setup=_seed
).pytest()


@pytest.fixture(autouse=True)
def _names_of_doctests(request: pytest.FixtureRequest) -> None:
    """Docstrings may say `recurra` and `torch` without importing them."""
    if isinstance(request.node, pytest.DoctestItem):
        import recurra

        torch.manual_seed(0)
        request.getfixturevalue("doctest_namespace").update(recurra=recurra, torch=torch)
