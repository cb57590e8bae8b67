"""Programs of torch.export give what the loop gives, for every cell, layer, precision, batch and
length.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.export import ExportedProgram

from recurra import cells
from recurra.errors import ArgumentError, MissingDependency, RunError
from recurra.export import initial_states, to_pt2
from recurra.network import Network
from tests.export.kinds import CELLS, LAYERS, net
from tests.export.onnx_runs import Arrays, drawn, held
from tests.network.nets import PRECISIONS, every_kind, recurrent


def ran(program: ExportedProgram, network: Network, x: Any, size: int = 0) -> Arrays:
    """The outputs and the last states: step by step, or a sequence in chunks of `size`."""
    run = program.module()
    state, outputs = (
        [torch.from_numpy(first) for first in initial_states(network, x.shape[1]).values()],
        [],
    )
    for part in torch.from_numpy(x).split(size) if size else torch.from_numpy(x):
        y, *state = run(part, *state)
        outputs.append(y)
    return [
        (torch.cat if size else torch.stack)(outputs).numpy(),
        *(each.numpy() for each in state),
    ]


@pytest.mark.parametrize("name", CELLS)
def test_every_cell_equals_the_loop(name: str) -> None:
    network = net(recurrent(CELLS[name], 4, 5, biases=1, seed=2))
    steps, sequence = to_pt2(network), to_pt2(network, kind="sequence")
    for size, batch in ((7, 2), (1, 1)):
        x = drawn(network, size, batch)
        held(network, x, ran(steps, network, x))
        held(network, x, ran(sequence, network, x, size))
        held(network, x, ran(sequence, network, x, 3))


@pytest.mark.parametrize("biases", [0, 2])
@pytest.mark.parametrize("name", ["elman", "gru", "layer_norm_lstm"])
def test_every_number_of_biases(name: str, biases: int) -> None:
    network = net(recurrent(CELLS[name], 4, 5, biases=biases))
    x = drawn(network, 4, 2)
    held(network, x, ran(to_pt2(network), network, x))


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_equals_the_loop(name: str) -> None:
    network = net(LAYERS[name]())
    x = drawn(network, 9, 2)
    held(network, x, ran(to_pt2(network), network, x))
    held(network, x, ran(to_pt2(network, kind="sequence"), network, x, 4))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_all_of_it_in_every_precision(precision: str, tmp_path: Path) -> None:
    network = every_kind().quantised(precision)
    x = drawn(network, 9, 2)
    for kind, size in (("step", 0), ("sequence", 5)):
        program = to_pt2(network, tmp_path / f"{kind}.pt2", kind=kind)
        held(network, x, ran(program, network, x, size))
    stored = {tuple(value.shape): value for value in program.state_dict.values()}
    assert (
        stored[11, 6].dtype
        == {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.int8}[precision]
    )
    assert (
        len({value.data_ptr() for value in program.state_dict.values() if value.shape == (11, 6)})
        == 1
    )


def test_a_sequence_is_a_scan_and_never_unrolled() -> None:
    graph = to_pt2(net(recurrent(cells.LSTM(), 3, 4)), kind="sequence").graph
    assert [str(node.target) for node in graph.nodes].count("scan") == 1 and len(graph.nodes) < 50


ELSEWHERE = """
import json, sys, torch
read = {"recurra": ""}
run = torch.export.load(sys.argv[1], extra_files=read).module()
record = json.loads(read["recurra"])
assert not any(name.startswith("recurra") for name in sys.modules)
states = [torch.tensor(state["first"]).expand(2, -1) for state in record["states"]]
y, *states = run(torch.ones(6, 2, record["input_size"]), *states)
print(json.dumps([record, y.tolist(), [state.tolist() for state in states]]))
"""


def test_the_file_runs_where_recurra_is_not(tmp_path: Path) -> None:
    network = net(recurrent(cells.PeepholeLSTM(), 3, 4))
    to_pt2(network, tmp_path / "m.pt2", kind="sequence")
    command = [sys.executable, "-c", ELSEWHERE, str(tmp_path / "m.pt2")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    record, y, states = json.loads(done.stdout)
    held(network, np.ones((6, 2, 3), np.float32), [np.float32(each) for each in (y, *states)])
    assert (
        record["format"] == "recurra-pt2-1"
        and record["kind"] == "sequence"
        and record["torch"] == torch.__version__
    )
    assert [state["input"] for state in record["states"]] == list(initial_states(network))


def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = net(recurrent(cells.GRU(), 3, 4))
    with pytest.raises(ArgumentError, match="kind must be one of 'sequence', 'step', got 'chunk'"):
        to_pt2(network, kind="chunk")
    with pytest.raises(
        RunError, match="path must be a file that can be written, got '.*none/m.pt2'"
    ):
        to_pt2(network, tmp_path / "none" / "m.pt2")
    monkeypatch.setitem(sys.modules, "torch._higher_order_ops.scan", None)
    with pytest.raises(
        MissingDependency,
        match="a sequence needs a PyTorch that has scan, such as 2.13; this is 2.",
    ):
        to_pt2(network, kind="sequence")
