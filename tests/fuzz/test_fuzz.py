"""Forged files of every kind are answered as they must be: the kept ones, and a few hundred of each
that are always the same.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from tests.fuzz.guard import observe
from tests.fuzz.target import CORPUS, MODULES, SOURCE, find, names

LEAST = 0.02
"""Share of forged files that must be accepted: else nothing but the door is tried."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, since a name out of a file may become a path; float32 as outside
    the tests.
    """
    monkeypatch.chdir(tmp_path)
    torch.set_default_dtype(torch.float32)
    return tmp_path


@pytest.mark.parametrize("name", names())
def test_forged_files_are_refused_or_run(name: str, folder: Path) -> None:
    target, accepted = find(name), 0
    for number in range(target.count):
        outcome = observe(target, target.make(0, number), folder)
        assert outcome.fault is None, (
            f"python -m tests.fuzz {name} --seed 0 --first {number} --files 1\n{outcome.fault}"
        )
        accepted += outcome.accepted
    assert LEAST * target.count <= accepted < target.count


KEPT = [(name, path) for name in names() for path in sorted((CORPUS / name).glob("*"))]


@pytest.mark.parametrize(("name", "path"), KEPT, ids=[f"{name}-{path.stem}" for name, path in KEPT])
def test_kept_files_are_refused_or_run(name: str, path: Path, folder: Path) -> None:
    outcome = observe(find(name), path.read_bytes(), folder)
    assert outcome.fault is None
    assert outcome.accepted == path.name.startswith("good-")


def test_the_corpora_are_small() -> None:
    assert {path.name for path in CORPUS.iterdir()} <= set(MODULES)
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < 5 << 20
    assert len(list((CORPUS / "rcr").iterdir())) > 50


@pytest.mark.parametrize("name", names())
def test_a_seed_makes_the_same_file(name: str, folder: Path) -> None:
    target = find(name)
    assert (
        target.make(3, 1) == target.make(3, 1)
        and len({target.make(3, number) for number in range(8)}) > 1
    )


@pytest.mark.parametrize("name", names())
def test_the_readers_of_a_target_are_there(name: str) -> None:
    assert all(os.path.isfile(SOURCE / reader) for reader in find(name).readers)
