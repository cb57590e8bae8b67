"""A cell of one's own, all the way: trained into a folder, gone on with, opened, streamed,
exported.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import recurra
from recurra import cells, parity
from recurra.errors import ArgumentError
from recurra.export import network_of
from recurra.network import Loop
from recurra.train import Recipe, fit, from_text, open_run, read_config, resume
from tests.cells.zoo import CoupledLSTM, TwoPhase
from tests.train.test_resume import DATA, TEXT, at, made, same

RECIPE = Recipe(epochs=3, window=11, batch=4, lr=0.01, checkpoint_s=0)
CELLS = {
    "own": (CoupledLSTM(), [CoupledLSTM]),
    "options": (TwoPhase(0.5), [TwoPhase]),
    "wrapped": (cells.Zoneout(CoupledLSTM(), h=0.2, c=0.1), [CoupledLSTM]),
    "recurra's": (cells.Elman("relu"), []),
}


@pytest.mark.parametrize("case", CELLS)
def test_a_run_gone_on_with_ends_as_one_that_never_stopped(case: str, tmp_path: Path) -> None:
    cell, classes = CELLS[case]
    whole = fit(made(DATA, cell=cell), DATA, RECIPE, tmp_path / "whole", show=False)
    with pytest.raises(SystemExit):
        fit(made(DATA, cell=cell), DATA, RECIPE, tmp_path / "cut", show=False, callbacks=[at(7)])
    done = resume(tmp_path / "cut", DATA, show=False, cells=classes)
    same(tmp_path / "whole", tmp_path / "cut", classes)
    assert done.best_loss == whole.best_loss and type(done.model.options["cell"]) is type(cell)
    opened = open_run(tmp_path / "cut", classes)
    x = torch.randint(opened.vocab_size, (9, 2), generator=torch.Generator().manual_seed(0))
    assert torch.equal(opened(x)[0], whole.model(x)[0])


def test_the_configuration_holds_the_class_its_options_and_its_program(tmp_path: Path) -> None:
    fit(
        made(DATA, cell=TwoPhase(0.5)),
        DATA,
        Recipe(epochs=1, window=30, batch=4),
        tmp_path,
        show=False,
    )
    record = read_config(tmp_path)["model"]["cell"]
    assert record["class"] == "tests.cells.zoo:TwoPhase" and record["options"] == '{"slope": 0.5}'
    program = recurra.program.from_json(record["program"])
    assert recurra.program.show(program) == recurra.program.show(TwoPhase(0.5))


def test_a_run_needs_its_class_and_no_other(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        fit(made(DATA, cell=CoupledLSTM()), DATA, RECIPE, tmp_path, show=False, callbacks=[at(3)])
    need = (
        "cells must hold CoupledLSTM (tests.cells.zoo:CoupledLSTM), of which the model is made, got"
        " none; give the class"
    )
    with pytest.raises(ArgumentError, match=f"^{re.escape(need)}"):
        resume(tmp_path, DATA, show=False)
    changed = type("CoupledLSTM", (CoupledLSTM,), {"gates": ("g", "f", "o")})
    with pytest.raises(
        ArgumentError,
        match=(
            "^cells must hold CoupledLSTM as it was saved, got one whose program has in line 1 of"
            " its step"
        ),
    ):
        resume(tmp_path, DATA, show=False, cells=[changed])
    resume(tmp_path, DATA, show=False, cells=[CoupledLSTM])
    with pytest.raises(ArgumentError, match=f"^{re.escape(need)}"):
        open_run(tmp_path)


def test_a_model_of_it_is_verified_streamed_and_exported(tmp_path: Path) -> None:
    data = from_text(TEXT)
    fit(
        made(data, cell=CoupledLSTM()),
        data,
        Recipe(epochs=1, window=30, batch=4),
        tmp_path,
        show=False,
    )
    model = open_run(tmp_path, [CoupledLSTM])
    x = torch.from_numpy(data.validation.tokens[:40])[:, None]
    rows = parity.verify(model, x)
    network = network_of(model)
    rows += parity.verify_exports(network, x.numpy())
    assert all(row.holds for row in rows) and {"fused", "runtime, steps, float32"} <= {
        row.path for row in rows if row.bound is not None
    }
    recurra.network.file.write(network, tmp_path / "m.rcr")
    whole = model(x)[0].detach().numpy()
    session = recurra.runtime.load(tmp_path / "m.rcr").session(1)
    pushed: Any = np.stack([session.push(token).copy() for token in x.numpy()])
    assert np.allclose(pushed, whole, atol=1e-5) and np.allclose(
        Loop(network, 1).run(x.numpy()), whole, atol=1e-5
    )
    stream = recurra.Stream(model, batch=1)
    assert torch.allclose(torch.stack([stream.push(token) for token in x]), model(x)[0], atol=1e-6)
