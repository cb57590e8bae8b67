"""Files of networks: there and back, and whatever else a file may be."""

from __future__ import annotations

import json
import os
import resource
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recurra.cells import LSTM, ProjectedLSTM
from recurra.errors import ArgumentError, DataError, ProgramError, RunError
from recurra.network import Activation, Linear, Loop, Network, Recurrent, Residual
from recurra.network.file import checksum, read, write
from recurra.program import to_json, trace
from recurra.program.evaluation import forward_only
from recurra.program.graph import Body, Product
from tests.cells.zoo import CoupledLSTM
from tests.network.nets import PRECISIONS, adaptive, every_kind, matrix, numbers, recurrent

X = np.random.default_rng(0).integers(0, 11, (7, 2))


def written(tmp_path: Path, network: Network | None = None) -> Path:
    path = tmp_path / "model.rcr"
    write(every_kind() if network is None else network, path)
    return path


def forged(path: Path, change: Any, tensors: Any = None) -> Path:
    """The file with its header changed and a checksum that fits, as somebody would who means
    harm.
    """
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    outer = json.loads(raw[8 : 8 + size])
    header = json.loads(outer["__metadata__"]["recurra"])
    header.pop("crc32")
    change(header)
    arrays = {}
    for name, entry in outer.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            dtype = {"F32": np.float32, "U16": np.uint16, "I8": np.int8}[entry["dtype"]]
            arrays[name] = np.frombuffer(raw[8 + size + begin : 8 + size + end], dtype).reshape(
                entry["shape"]
            )
    header["crc32"] = checksum(header, arrays)
    outer["__metadata__"]["recurra"] = json.dumps(header)
    text = json.dumps(outer).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + size :])
    return path


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_network_comes_back_as_it_was(tmp_path: Path, precision: str) -> None:
    network = every_kind().quantised(precision)
    back = read(written(tmp_path, network))
    assert np.array_equal(Loop(back, 2).run(X), Loop(network, 2).run(X))
    assert back.precision == precision and back.layers[0].weight is back.layers[-1].weight  # type: ignore[union-attr]
    assert back.vocabulary == network.vocabulary and back.facts == {"licence": "CC0"}


def test_a_users_own_cell_comes_back_without_its_class(tmp_path: Path) -> None:
    network = Network((recurrent(CoupledLSTM(), 3, 5), recurrent(ProjectedLSTM(2), 5, 4)))
    x = numbers(6, 2, 3)
    assert np.array_equal(Loop(read(written(tmp_path, network)), 2).run(x), Loop(network, 2).run(x))


def test_every_cut_is_seen(tmp_path: Path) -> None:
    path = written(tmp_path, Network((recurrent(LSTM(), 2, 2),)))
    whole = path.read_bytes()
    for size in [*range(0, 64), *range(64, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match="^path must "):
            read(path)


def test_every_flipped_bit_is_seen_or_harmless(tmp_path: Path) -> None:
    network = Network((recurrent(LSTM(), 2, 2),))
    path = written(tmp_path, network)
    whole, right = path.read_bytes(), Loop(network, 2).run(numbers(3, 2, 2))
    for place in np.random.default_rng(0).integers(0, len(whole) * 8, 600):
        raw = bytearray(whole)
        raw[place // 8] ^= 1 << place % 8
        path.write_bytes(raw)
        try:
            back = read(path)
        except DataError as error:
            assert str(error).startswith("path must ") and "\n" not in str(error)
        else:
            assert np.array_equal(Loop(back, 2).run(numbers(3, 2, 2)), right)


@given(st.binary(max_size=300))
@settings(max_examples=150)
def test_bytes_at_random_are_refused(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "random.rcr"
    for content in (
        raw,
        struct.pack("<Q", len(raw)) + raw,
        struct.pack("<Q", max(0, len(raw) - 8)) + raw,
    ):
        path.write_bytes(content)
        with pytest.raises(DataError):
            read(path)


def _deep(levels: int) -> Any:
    found: Any = {"layer": "activation", "kind": "relu", "width": 3}
    for _ in range(levels):
        found = {"layer": "residual", "layers": [found]}
    return found


HOSTILE: dict[str, Any] = {
    "another form": lambda h: h.update(format="recurra-network-2"),
    "nested deep": lambda h: h["layers"].append(_deep(40)),
    "so many layers": lambda h: h.update(
        layers=[{"layer": "activation", "kind": "relu", "width": 3}] * 2000
    ),
    "one weight in many layers": lambda h: h.update(layers=[h["layers"][-1]] * 900),
    "a width of 1 TB": lambda h: h.update(
        layers=[{"layer": "activation", "kind": "relu", "width": 1 << 40}]
    ),
    "a width that overflows": lambda h: h.update(
        layers=[{"layer": "layer_norm", "width": 1 << 70, "gain": None, "bias": None}]
    ),
    "a width below zero": lambda h: h.update(
        layers=[{"layer": "activation", "kind": "relu", "width": -3}]
    ),
    "a width that is text": lambda h: h.update(
        layers=[{"layer": "activation", "kind": "relu", "width": "3"}]
    ),
    "a look back of 1 TB": lambda h: h["layers"][3].update(dilation=1 << 40),
    "many look backs": lambda h: h.update(layers=[h["layers"][3] | {"dilation": 1 << 19}] * 4),
    "no such tensor": lambda h: h["layers"][0]["weight"].update(tensor="x"),
    "another precision": lambda h: h["layers"][0]["weight"].update(precision="int8"),
    "an unknown layer": lambda h: h["layers"][0].update(layer="eval"),
    "an unknown field": lambda h: h["layers"][0].update(code="1"),
    "layers that are no list": lambda h: h.update(layers=7),
    "no layers": lambda h: h.update(layers=[]),
    "a program of another kind": lambda h: h["layers"][1].update(program={"version": 1}),
    "an operation outside the alphabet": (
        lambda h: h["layers"][1]["program"]["nodes"].append(["system", [], "", 0.0, 0, "hidden"])
    ),
    "an argument that comes later": (
        lambda h: h["layers"][1]["program"]["nodes"].append(["neg", [10**9], "", 0.0, 0, "hidden"])
    ),
    "a vocabulary that is no record": lambda h: h.update(vocabulary=[1, 2]),
    "facts that are no record": lambda h: h.update(facts="x"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_header_is_refused_in_one_line(tmp_path: Path, what: str) -> None:
    path = forged(written(tmp_path), HOSTILE[what])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError) as raised:
        read(path)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 600
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10


def test_a_weight_is_shared_four_times_and_no_more(tmp_path: Path) -> None:
    path = written(tmp_path, Network((Linear(matrix(3, 3)),)))
    assert len(read(forged(path, lambda h: h.update(layers=h["layers"] * 4))).layers) == 4
    with pytest.raises(
        DataError,
        match="layers must share their weights at most four times over, got 45 numbers made of 9$",
    ):
        read(forged(path, lambda h: h.update(layers=h["layers"][:1] * 5)))


def test_a_thousand_layers_are_read_and_no_more(tmp_path: Path) -> None:
    path = written(tmp_path, Network((Activation("relu", 3),)))
    assert len(read(forged(path, lambda h: h.update(layers=h["layers"] * 1000))).layers) == 1000
    with pytest.raises(
        DataError, match="layers must be at most 1000, and nested at most 16 deep, got more$"
    ):
        read(forged(path, lambda h: h["layers"].append(h["layers"][0])))


def test_a_width_that_is_true_is_no_number(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="width must be a whole number, got True$"):
        read(
            forged(
                written(tmp_path, Network((Activation("relu", 1),))),
                lambda h: h["layers"][0].update(width=True),
            )
        )


def test_a_derivative_in_a_file_is_left_out(tmp_path: Path) -> None:
    whole = json.loads(to_json(trace(LSTM())))
    path = forged(
        written(tmp_path, Network((recurrent(LSTM(), 2, 2),))),
        lambda h: h["layers"][0].update(program=whole),
    )
    layer = read(path).layers[0]
    assert isinstance(layer, Recurrent) and layer.program == forward_only(trace(LSTM())) != trace(
        LSTM()
    )


def test_the_forger_can_write_what_is_taken(tmp_path: Path) -> None:
    path = forged(written(tmp_path), lambda header: header.update(facts={"licence": "other"}))
    assert read(path).facts == {"licence": "other"}


@pytest.mark.parametrize("claimed", [1 << 40, (1 << 64) - 1, 1 << 31])
def test_a_claim_of_a_terabyte_costs_nothing(tmp_path: Path, claimed: int) -> None:
    path = written(tmp_path)
    path.write_bytes(struct.pack("<Q", claimed) + path.read_bytes()[8:])
    with pytest.raises(DataError, match=f"header claims {claimed} bytes"):
        read(path)


def test_a_header_is_64_mb_at_most(tmp_path: Path) -> None:
    path = tmp_path / "sparse.rcr"
    for claimed, said in (
        ((64 << 20) + 1, "whose header claims 67108865 bytes$"),
        (64 << 20, "(?i)header"),
    ):
        path.write_bytes(struct.pack("<Q", claimed))
        os.truncate(path, 65 << 20)
        with pytest.raises(DataError, match=said) as raised:
            read(path)
        assert ("claims" in str(raised.value)) == (claimed > 64 << 20)


def test_overlapping_and_overflowing_tensors_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, Network((Linear(matrix(2, 2), numbers(2)),)))
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    outer = json.loads(raw[8 : 8 + size])
    first, second = (name for name in outer if name != "__metadata__")
    for change in (
        lambda o: o[first].update(data_offsets=o[second]["data_offsets"]),
        lambda o: o[first].update(data_offsets=[0, 1 << 62]),
        lambda o: o[first].update(shape=[1 << 40, 1 << 40]),
        lambda o: o[first].update(data_offsets=[8, 0]),
    ):
        changed = json.loads(json.dumps(outer))
        change(changed)
        text = json.dumps(changed).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + size :])
        with pytest.raises(DataError, match="^path must be a network written by recurra"):
            read(path)


def test_what_is_not_there_or_not_a_network_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="which does not exist"):
        read(tmp_path / "none.rcr")
    with pytest.raises(DataError):
        read(tmp_path)
    (tmp_path / "empty").touch()
    with pytest.raises(DataError):
        read(tmp_path / "empty")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match="path must be a file that can be written"):
        written(tmp_path)


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="path must be a file that can be written"):
        write(every_kind(), tmp_path / "no" / "model.rcr")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_clusters_of_words_come_back(tmp_path: Path, precision: str) -> None:
    network = Network((Linear(matrix(6, 3)), adaptive(6))).quantised(precision)
    back, x = read(written(tmp_path, network)), numbers(4, 2, 3)
    assert back.precision == precision and np.array_equal(
        Loop(back, 2).run(x), Loop(network, 2).run(x)
    )
    for change in (
        lambda h: h["layers"][1]["clusters"].clear(),
        lambda h: h["layers"][1].update(clusters=7),
        lambda h: h["layers"][1].update(clusters=h["layers"][1]["clusters"] * 50),
        lambda h: h["layers"][1]["clusters"][0].append(1),
        lambda h: h["layers"][1]["clusters"][0].reverse(),
    ):
        with pytest.raises(DataError):
            read(forged(written(tmp_path, network), change))


def test_residuals_within_residuals_come_back(tmp_path: Path) -> None:
    network = Network((Residual((Residual((Activation("relu", 3),)),)),))
    assert isinstance(read(written(tmp_path, network)).layers[0], Residual)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(
        DataError,
        match=r"^path must be a network written by recurra, got '.*pipe' \(not a regular file\)$",
    ):
        read(tmp_path / "pipe")


def deep(times: int) -> Network:
    layer: Activation | Residual = Activation("relu", 3)
    for _ in range(times):
        layer = Residual((layer,))
    return Network((layer,))


def phases(count: int) -> Network:
    """A cell whose program has so many phases, all but the first only copying h."""
    layer = recurrent(LSTM(), 2, 2)
    program = layer.program
    h = next(number for number, node in enumerate(program.nodes) if node.name == "h")
    copy = Product(h, ("i",), None, None, None, (), 0, 1, "hidden", "hidden")
    empty, derivative = Body((), copy, ()), program.derivative
    longer = replace(derivative, bodies=((((), ()),) * count), dv=({},) * count)
    return Network(
        (
            replace(
                layer,
                program=replace(
                    program, bodies=(*program.bodies, *[empty] * (count - 1)), derivative=longer
                ),
            ),
        )
    )


@pytest.mark.parametrize(
    ("make", "most"),
    [
        (lambda n: Network((Activation("tanh", 3),) * n), 1000),
        (deep, 16),
        (phases, 16),
        (lambda n: Network((Activation("tanh", n),)), 1 << 20),
        (lambda n: Network((Linear(matrix(3, 3)),), None, {"text": "a" * n}), (32 << 20) - 400),
    ],
    ids=["layers", "nested", "phases", "width", "header"],
)
def test_what_is_written_can_be_read_and_nothing_else_is_written(
    make: Callable[[int], Network], most: int, tmp_path: Path
) -> None:
    read(written(tmp_path, make(most)))
    (tmp_path / "model.rcr").unlink()
    with pytest.raises((ArgumentError, ProgramError), match="must be at most|must have at most"):
        written(tmp_path, make(most + 500 if most > 1 << 22 else most + 1))
    assert not list(tmp_path.iterdir())


def test_what_a_message_quotes_is_short(tmp_path: Path) -> None:
    path = written(tmp_path, Network((Activation("relu", 1),)))
    for change in (
        {"layer": "a" * 10**6},
        {"width": "a" * 10**6},
        {"kind": "a" * 10**6},
        {"width": 10**4000},
        {"a" * 10**6: 1},
    ):
        with pytest.raises(DataError) as caught:
            read(forged(path, lambda h, change=change: h["layers"][0].update(change)))  # type: ignore[misc]
        assert len(str(caught.value)) < 500
        path = written(tmp_path, Network((Activation("relu", 1),)))
