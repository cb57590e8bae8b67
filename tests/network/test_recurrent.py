from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recurra.cells import LSTM, Cell, PeepholeLSTM
from recurra.errors import DataError, ProgramError, ShapeError
from recurra.network import Matrix, Network, Recurrent
from recurra.network.file import read, write
from recurra.program import from_json, to_json, trace
from recurra.program.evaluation import forward_only
from tests.fuzz.container import Container, assemble, parse, signed
from tests.program.test_weights import renamed


def zeros(cell: Cell, hidden: int = 4, inputs: int = 3) -> Recurrent:
    """A layer whose weights are all zero."""
    shapes = cell.weights(inputs, hidden)
    return Recurrent(
        forward_only(trace(cell)),
        {
            name: Matrix(np.zeros(shape, np.float32))
            for name, shape in shapes.items()
            if len(shape) == 2
        },
        {name: np.zeros(shape, np.float32) for name, shape in shapes.items() if len(shape) == 1},
    )


@pytest.mark.parametrize("name", ["bias_ih", "bias_hh"])
def test_file_whose_param_is_called_as_a_bias_is_refused(name: str, tmp_path: Path) -> None:
    """It would be H numbers, read as 4 H: what lies behind them in memory would come out."""
    path = tmp_path / "model.rcr"
    write(Network((zeros(PeepholeLSTM()),)), path)
    container = parse(path.read_bytes())
    header = json.loads(container.metadata["recurra"])
    layer = header["layers"][0]
    del layer["vectors"][name]
    layer["program"], layer["vectors"] = (
        renamed(layer["program"], "p_i", name),
        renamed(layer["vectors"], "p_i", name),
    )
    path.write_bytes(assemble(Container(signed(header, container.entries), container.entries)))
    with pytest.raises(DataError, match="params must not be called as a weight"):
        read(path)


@pytest.mark.parametrize("vector", ["bias_ih", "bias_hh", "p_i", "initial_h"])
def test_vector_of_another_size_is_refused(vector: str) -> None:
    layer = zeros(PeepholeLSTM())
    with pytest.raises(ShapeError, match=f"{vector} must be float32 of shape"):
        Recurrent(layer.program, layer.matrices, {**layer.vectors, vector: np.zeros(5, np.float32)})


def test_program_that_was_never_read_is_checked_too() -> None:
    layer = zeros(LSTM())
    broken: Any = layer.program.bodies[0]._replace(nodes=())
    program = from_json(to_json(layer.program))
    object.__setattr__(program, "bodies", (broken,))
    with pytest.raises(ProgramError, match="must be computed"):
        Recurrent(program, layer.matrices, layer.vectors)
