"""The exported paths of the contract."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pytest

from recurra.cells import GRU, LayerNormLSTM
from recurra.network import PRECISIONS, Linear, Network
from recurra.parity import verify_exports
from recurra.parity.exports import COMPILERS
from recurra.parity.paths import Row
from tests.cells.zoo import HalfRead, IndRNN
from tests.network.nets import every_kind, matrix, numbers, recurrent

NETWORKS = {
    "every kind": (every_kind(), np.random.default_rng(0).integers(0, 11, (9, 2))),
    "unread products": (
        Network((recurrent(IndRNN(), 3, 5), recurrent(HalfRead(), 5, 4))),
        numbers(9, 2, 3),
    ),
    "features": (
        Network((recurrent(LayerNormLSTM(), 3, 5), recurrent(GRU(), 5, 4), Linear(matrix(2, 4)))),
        numbers(9, 2, 3),
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_exported_path_holds(name: str) -> None:
    rows = verify_exports(*NETWORKS[name])
    assert len(rows) == 17 and {row.path.rpartition(", ")[0] for row in rows} == {
        "runtime, steps",
        "runtime, chunks of 7",
        "ONNX step",
        "ONNX sequence",
        "torch.export step",
        "torch.export sequence",
        "C header",
    }
    assert [row.path for row in rows if not row.holds] == []
    ran = [row.path for row in rows if row.bound is not None]
    assert len(ran) == 17 or not any(shutil.which(name) for name in COMPILERS)


def test_a_path_that_is_wrong_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    from recurra.parity import exports

    right = exports._steps

    def wrong(network: Network, x: Any) -> Any:
        return right(network, x) + 1e-4

    monkeypatch.setattr(exports, "_steps", wrong)
    rows = verify_exports(*NETWORKS["features"])
    assert [row.path for row in rows if not row.holds] == [
        f"runtime, steps, {precision}" for precision in ("float32", "bfloat16", "int8")
    ]


def test_what_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    rows = verify_exports(*NETWORKS["features"])
    missing = [row for row in rows if row.bound is None]
    assert [row.note for row in missing] == ["needs a C compiler: cc, gcc or clang"] * 3 and all(
        row.holds for row in missing
    )


def test_each_graph_is_the_one_its_row_names(monkeypatch: pytest.MonkeyPatch) -> None:
    import recurra.export

    right, kinds = recurra.export.to_onnx, []

    def seen(network: Network, kind: str = "step") -> Any:
        kinds.append(kind)
        return right(network, kind=kind)

    monkeypatch.setattr(recurra.export, "to_onnx", seen)
    verify_exports(*NETWORKS["features"])
    assert kinds == ["step", "sequence"] * 3


def test_a_header_that_does_not_compile_and_a_program_that_crashes_are_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from recurra.parity import exports

    monkeypatch.setattr(exports, "PROGRAM", exports.PROGRAM.replace("return 0;", "return 9;"))
    assert [row.path for row in verify_exports(*NETWORKS["features"]) if not row.holds] == [
        f"C header, {p}" for p in PRECISIONS
    ]
    monkeypatch.setattr(exports, "PROGRAM", "nonsense")
    assert sum("failed: " in row.note for row in verify_exports(*NETWORKS["features"])) == 3


def test_a_row_holds_up_to_its_bound() -> None:
    assert Row("x", 1.0, 1.0, 1).holds and not Row("x", 1.0001, 1.0, 1).holds
