"""What `to_onnx` writes comes back: the same numbers, and the same record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

import recurra
from recurra.errors import ConversionError, DataError
from recurra.export import network_of, to_onnx
from recurra.export.signature import record
from recurra.models import Characters, LanguageModel
from recurra.network import Activation, Embedding, Linear, Network, Residual
from recurra.runtime import Model
from tests.export.kinds import LAYERS, OWN, PRINTED, WIDTH
from tests.export.onnx_runs import drawn
from tests.network.nets import PRECISIONS, every_kind, held, matrix, numbers, recurrent

SAID: dict[str, Any] = {
    "facts": {"licence": "CC0", "steps": 3},
    "vocabulary": {"level": "character", "symbols": "abcde"},
}


def sized(network: Network) -> Network:
    return Network(network.layers, **SAID)


INNER = Residual((recurrent(recurra.cells.LSTM(), 4, 4),))
NETS = {
    **{
        name: lambda cell=cell: Network((recurrent(cell, 3, 4), Linear(matrix(2, 4), numbers(2))))
        for name, (cell, _) in OWN.items()
    },
    **{
        name: lambda make=make: Network((Linear(matrix(WIDTH, 3)), make()))
        for name, make in LAYERS.items()
    },  # type: ignore[misc]
    "layers": lambda: Network(
        tuple(recurrent(recurra.cells.LSTM(), 4, 4, seed=seed) for seed in range(3))
    ),
    "within": lambda: Network(
        (Linear(matrix(4, 3)), Residual((recurrent(recurra.cells.GRU(), 4, 4), INNER)))
    ),
    "tokens": lambda: Network(
        (Embedding(matrix(5, 4)), recurrent(recurra.cells.LSTM(), 4, 4), Linear(matrix(5, 4)))
    ),
    "every kind": every_kind,
}
RENAMED = ("renamed_rnn", "renamed_lstm")
"""Whose states have names of their own."""
STEPS = [name for name in NETS if not name.startswith(("conv", "residual", "every"))]
"""The graph of one step of a convolution is refused."""


def unnamed(said: dict[str, Any]) -> dict[str, Any]:
    """A record without what the cells call their states: an operator of ONNX forgets it."""
    return {**said, "states": [(state["width"], state["first"]) for state in said["states"]]}


def back(network: Network, path: Path, kind: str, named: bool) -> None:
    """The file's network gives the same numbers, and has the same record, whatever its precision
    was.
    """
    to_onnx(network, path, kind=kind)
    again = network_of(path)
    held(network, x := drawn(network, 7, 2), Model(again).session(2).push(x))
    assert unnamed(record(again, kind)) == unnamed(record(network, kind))
    assert (record(again, kind) == record(network, kind)) is named


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", NETS)
def test_a_sequence_comes_back(name: str, precision: str, tmp_path: Path) -> None:
    network = sized(NETS[name]()).quantised(precision)
    if precision == "int8" and network.reads_tokens:
        to_onnx(network, tmp_path / "m.onnx", kind="sequence")
        with pytest.raises(
            ConversionError, match=r"^Gather_\d+ must read a table of floats, got int8; "
        ):
            network_of(tmp_path / "m.onnx")
    else:
        back(network, tmp_path / "m.onnx", "sequence", name not in RENAMED)


@pytest.mark.parametrize("name", STEPS)
def test_a_step_comes_back(name: str, tmp_path: Path) -> None:
    back(sized(NETS[name]()), tmp_path / "m.onnx", "step", name not in RENAMED)


@pytest.mark.parametrize("kind", ["step", "sequence"])
@pytest.mark.parametrize("cell", PRINTED)
def test_cells_that_onnx_has_no_operator_for_are_refused(
    cell: str, kind: str, tmp_path: Path
) -> None:
    to_onnx(Network((recurrent(PRINTED[cell], 3, 4),)), tmp_path / "m.onnx", kind=kind)
    with pytest.raises(ConversionError):
        network_of(tmp_path / "m.onnx")


def test_a_language_model_comes_back_with_its_vocabulary(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = LanguageModel(3, embed=4, hidden=4, vocabulary=Characters("abc")).float()
    to_onnx(network_of(model, facts={"licence": "MIT"}), tmp_path / "m.onnx", kind="sequence")
    network = network_of(tmp_path / "m.onnx")
    assert network.vocabulary == Characters("abc").record() and network.facts == {"licence": "MIT"}
    network = network_of(
        tmp_path / "m.onnx",
        vocabulary=Characters("xyz").record(),
        facts={"licence": "CC0", "by": "me"},
    )
    assert network.vocabulary == Characters("xyz").record() and network.facts == {
        "licence": "CC0",
        "by": "me",
    }


def test_a_part_of_a_file_keeps_its_first_states(tmp_path: Path) -> None:
    network = Network((recurrent(recurra.cells.GRU(), 3, 4), recurrent(recurra.cells.GRU(), 4, 5)))
    to_onnx(network, tmp_path / "m.onnx")
    (spec,) = network_of(tmp_path / "m.onnx", output="state_0_h_out").states
    assert spec.name == "0.h" and (spec.first == network.states[0].first).all() and spec.first.any()


def test_a_record_that_is_not_the_graphs_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    model = to_onnx(Network((recurrent(recurra.cells.GRU(), 3, 4), Activation("tanh", 4))))
    own = json.loads(model.metadata_props[0].value)

    def written(text: str) -> Path:
        onnx.helper.set_model_props(model, {"recurra": text})
        onnx.save(model, path)
        return path

    for states, names in (
        ([], "none"),
        ([own["states"][0] | {"name": "1.h"}], "1.h"),
        ([own["states"][0] | {"first": [0.0]}], "0.h"),
    ):
        text = (
            f"path must hold a record of its own graph, got one of the states {names}, for 0.h in"
            " the graph; export the network anew"
        )
        with pytest.raises(DataError, match=f"^{text}$"):
            network_of(written(json.dumps(own | {"states": states})))
    for other in (
        "{",
        "[]",
        "3",
        json.dumps(own | {"format": "recurra-onnx-9"}),
        json.dumps(own | {"states": [{"name": "0.h", "first": "a"}]}),
    ):
        with pytest.raises(
            DataError,
            match=(
                "^path must hold the record that recurra wrote, recurra-onnx-1, got another .*;"
                " remove it from"
            ),
        ):
            network_of(written(other))


def test_first_states_of_zero_are_not_learned(tmp_path: Path) -> None:
    to_onnx(Network((recurrent(recurra.cells.LSTM(), 3, 4, learned=False),)), tmp_path / "m.onnx")
    layer = network_of(tmp_path / "m.onnx").layers[0]
    assert not any(name.startswith("initial") for name in layer.vectors)  # type: ignore[union-attr]
