"""Every file of the corpus, and any file made of one by changing it, is refused in one line, or
runs; soon, and in little memory.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.network.fuzz import CORPUS, mutated, taken

FILES = sorted(CORPUS.glob("*.rcr"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_corpus_is_taken_or_refused_as_it_should(path: Path) -> None:
    network = taken(path)
    assert (network is not None) == path.name.startswith("good-")


def test_the_corpus_is_there() -> None:
    assert len(FILES) > 50 and sum(path.stat().st_size for path in FILES) < 1 << 19


@given(st.data())
@settings(max_examples=200)
def test_changed_files_are_refused_or_run(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    raw = data.draw(st.sampled_from(FILES)).read_bytes()
    for _ in range(data.draw(st.integers(1, 3))):
        raw = mutated(raw, lambda n: data.draw(st.integers(0, n - 1)))
    path = tmp_path_factory.getbasetemp() / "changed.rcr"
    path.write_bytes(raw)
    taken(path)
