"""What holds for every test: fixed seeds, one thread, float64, and memory that shows when it is
read unwritten.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch._dynamo  # learns what torch.empty is before it is poisoned
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)
settings.register_profile(
    "recurra",
    derandomize=True,
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("recurra")


@pytest.fixture(autouse=True)
def settled() -> Iterator[None]:
    """Seeds fixed, float64 by default; both as before afterwards."""
    before = torch.get_default_dtype()
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture(autouse=True, scope="session")
def token_files_apart(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Files of tokens are kept with the tests' own."""
    os.environ["RECURRA_CACHE"] = str(tmp_path_factory.mktemp("tokens"))


@pytest.fixture(autouse=True)
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that torch.empty hands out is NaN, so that reading it before writing it shows."""
    monkeypatch.setattr(torch, "empty", _poison(torch.empty))
    monkeypatch.setattr(torch, "empty_like", _poison(torch.empty_like))
    monkeypatch.setattr(torch.Tensor, "new_empty", _poison(torch.Tensor.new_empty))


def _poison(make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def poisoned_empty(*args: Any, **options: Any) -> torch.Tensor:
        made = make(*args, **options)
        if (
            not torch.compiler.is_compiling()
            and made.is_floating_point()
            and made.device.type != "meta"
        ):
            with torch.no_grad():
                made.fill_(float("nan"))
        return made

    return poisoned_empty


@pytest.fixture
def data_file() -> Callable[[str], Path]:
    """Finds a file of RECURRA_DATA (by default ../shared/data beside the repository), or skips."""
    root = Path(os.environ.get("RECURRA_DATA") or Path(__file__).parents[2] / "shared" / "data")

    def find(name: str) -> Path:
        if not (root / name).exists():
            pytest.skip(f"{name} is not in {root}; set RECURRA_DATA")
        return root / name

    return find


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("cuda"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))
