"""Files that mean harm: `.rcr` files changed in all their parts, with a checksum that fits, and
what must come of reading them.

python -m tests.network.fuzz --seconds 600
        reads changed files; keeps in the corpus those that break the contract
"""

from __future__ import annotations

import argparse
import json
import random
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from recurra.errors import DataError, RecurraError
from recurra.network import Loop, Network
from recurra.network.file import checksum, read
from recurra.runtime import Model

CORPUS = Path(__file__).parent / "corpus"
DTYPES = {"F32": np.float32, "U16": np.uint16, "I8": np.int8}
VALUES: tuple[Any, ...] = (
    0,
    1,
    -1,
    2,
    3,
    5,
    127,
    1 << 20,
    (1 << 31) - 1,
    1 << 40,
    1 << 62,
    1 << 63,
    1 << 70,
    -(1 << 63),
    0.5,
    1e-30,
    1e300,
    float("inf"),
    float("nan"),
    "",
    "x",
    "1",
    "h",
    "weight_hh",
    "relu",
    "int8",
    True,
    False,
    None,
    [],
    {},
    [0],
    [[]],
    {"layer": "residual", "layers": []},
)
SLOW = 2.0
"""Seconds within which a file must be refused, or read and run."""

Choose = Callable[[int], int]


def parts(raw: bytes) -> tuple[dict[str, Any], bytes]:
    """The outer JSON header of a file, and the bytes of its tensors."""
    size = int.from_bytes(raw[:8], "little")
    return json.loads(raw[8 : 8 + size]), raw[8 + size :]


def joined(outer: dict[str, Any], header: dict[str, Any], data: bytes) -> bytes:
    """A file with that header and a checksum that fits, where there is one."""
    header = {key: value for key, value in header.items() if key != "crc32"}
    arrays = {}
    for name, entry in outer.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            arrays[name] = np.frombuffer(data[begin:end], DTYPES[entry["dtype"]]).reshape(
                entry["shape"]
            )
    outer = outer | {
        "__metadata__": {"recurra": json.dumps(header | {"crc32": checksum(header, arrays)})}
    }
    text = json.dumps(outer).encode()
    return struct.pack("<Q", len(text)) + text + data


def mutated(raw: bytes, choose: Choose) -> bytes:
    """The file with one thing changed; `choose(n)` says which of n."""
    try:
        outer, data = parts(raw)
        header = json.loads(outer["__metadata__"]["recurra"])
        way = choose(8)
        if way < 6:
            _change(header, choose)
        elif way == 6:
            _change(
                {name: entry for name, entry in outer.items() if name != "__metadata__"}, choose
            )
        else:
            return _bent(raw, choose)
        return joined(outer, header, data)
    except (
        ValueError,
        KeyError,
        TypeError,
        OverflowError,
        IndexError,
        AttributeError,
        RecursionError,
        RecurraError,
    ):
        return _bent(raw, choose)


def _bent(raw: bytes, choose: Choose) -> bytes:
    """Bytes turned, cut off or put in."""
    place, way = choose(max(len(raw), 1)), choose(4)
    if way == 0:
        return raw[:place]
    if way == 1:
        return raw[:place] + bytes([choose(256)]) + raw[place + 1 :]
    if way == 2:
        return raw[:place] + raw[place + choose(64) :]
    return raw[:place] + raw[choose(max(len(raw), 1)) :][:64] + raw[place:]


def _change(tree: Any, choose: Choose) -> None:
    """Another value somewhere in a tree of JSON: one of VALUES, a number near by, what lies
    elsewhere, twice, or nothing.
    """
    places = list(_places(tree))
    holder, key = places[choose(len(places))]
    way = choose(6)
    if way == 0 and isinstance(holder[key], int):
        holder[key] += choose(5) - 2
    elif way == 1:
        other, at = places[choose(len(places))]
        holder[key] = json.loads(json.dumps(other[at]))
    elif way == 2 and isinstance(holder, list):
        holder.insert(key, json.loads(json.dumps(holder[key])))
    elif way == 3:
        del holder[key]
    elif way == 4 and isinstance(holder[key], list):
        holder[key] = holder[key] * (2 + choose(300))
    else:
        holder[key] = VALUES[choose(len(VALUES))]


def _places(tree: Any) -> Any:
    keys = tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    for key in list(keys):
        yield tree, key
        yield from _places(tree[key])


def taken(path: Path) -> Network | None:
    """Read a file and run what it holds; None if it was refused, in one line. Anything else but an
    answer raises.

    Raises:
        AssertionError: it took too long, the message is no line, or session and loop disagree.
    """
    began = time.monotonic()
    try:
        network = read(path)
    except DataError as error:
        assert "\n" not in str(error) and len(str(error)) < 1000, "the message must be one line"
        assert time.monotonic() - began < SLOW, "a file must be refused soon"
        return None
    _run(network)
    assert time.monotonic() - began < SLOW, "a file must be read and run soon"
    return network


def _run(network: Network) -> None:
    draws = np.random.default_rng(0)
    if network.reads_tokens:
        x: Any = draws.integers(0, network.input_size, (3, 2))
    else:
        x = draws.standard_normal((3, 2, network.input_size)).astype(np.float32)
    try:
        session = Model(network).session(2)
    except RecurraError:
        return
    with np.errstate(all="ignore"):
        y, wanted = session.push(x), Loop(network, 2).run(x)
    assert y.shape == wanted.shape
    bounded = np.isfinite(wanted).all() and np.abs(wanted).max() < 1e3
    assert not bounded or np.allclose(y, wanted, atol=0.05), "session and loop must agree"


def main() -> None:
    """Change files of the corpus for a while."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    draws, began, counts = (
        random.Random(args.seed),
        time.monotonic(),
        {"refused": 0, "taken": 0, "broken": 0},
    )
    files = sorted(CORPUS.glob("*.rcr"))
    with tempfile.TemporaryDirectory(
        prefix="fuzz-"
    ) as folder:  # stays, with the file, if the process dies
        path = Path(folder) / "changed.rcr"
        while time.monotonic() - began < args.seconds:
            raw = draws.choice(files).read_bytes()
            for _ in range(draws.choice((1, 1, 2, 3, 6))):
                raw = mutated(raw, lambda n: draws.randrange(n))
            path.write_bytes(raw)
            try:
                counts["taken" if taken(path) else "refused"] += 1
            except Exception as error:
                counts["broken"] += 1
                kept = CORPUS / f"new-{args.seed}-{counts['broken']}.rcr"
                kept.write_bytes(raw)
                print(f"{kept.name}: {type(error).__name__}: {str(error)[:200]}", flush=True)
    print(", ".join(f"{count:,} {what}" for what, count in counts.items()))


if __name__ == "__main__":
    main()
