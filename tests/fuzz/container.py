"""Safetensors files taken apart, changed in their parts, and put together with a checksum that
fits.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np

from tests.fuzz.mutation import INTEGERS, WORDS, bend, change

SIZES = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "I16": 2,
    "U16": 2,
    "F16": 2,
    "BF16": 2,
    "I32": 4,
    "U32": 4,
    "F32": 4,
    "F64": 8,
    "I64": 8,
    "U64": 8,
}
NUMPY = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "I16": "int16",
    "U16": "uint16",
    "F16": "float16",
    "BF16": "bfloat16",
    "I32": "int32",
    "U32": "uint32",
    "F32": "float32",
    "F64": "float64",
    "I64": "int64",
    "U64": "uint64",
}
"""Names of the types of numbers as the checksums say them; PyTorch's begin with "torch."."""
FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e-30, 1e4, 3e38, -3e38, math.inf, -math.inf, math.nan)


@dataclass
class Entry:
    """A tensor: the name of its type, its shape, its bytes."""

    dtype: str
    shape: list[int]
    data: bytes


@dataclass
class Container:
    """What a safetensors file holds."""

    metadata: dict[str, str] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)


Sign = Callable[[Any, Mapping[str, Entry]], dict[str, str]]
"""Makes of a record and tensors the file's metadata, with a checksum that fits."""


def parse(raw: bytes) -> Container:
    """The parts of a file that is as it should be."""
    size = int.from_bytes(raw[:8], "little")
    outer, data = json.loads(raw[8 : 8 + size]), raw[8 + size :]
    metadata = outer.pop("__metadata__", {})
    spans = {name: data[slice(*entry["data_offsets"])] for name, entry in outer.items()}
    return Container(
        metadata,
        {name: Entry(entry["dtype"], entry["shape"], spans[name]) for name, entry in outer.items()},
    )


def assemble(container: Container, draws: Random | None = None) -> bytes:
    """A file of the parts; with `draws` its offsets and claims may be others than the tensors'."""
    outer: dict[str, Any] = {"__metadata__": container.metadata} if container.metadata else {}
    begin, data = 0, []
    for name, entry in container.entries.items():
        outer[name] = {
            "dtype": entry.dtype,
            "shape": entry.shape,
            "data_offsets": [begin, begin + len(entry.data)],
        }
        begin += len(entry.data)
        data.append(entry.data)
    if draws is not None:
        outer = change(outer, draws)
    text = json.dumps(outer).encode()
    size = len(text) if draws is None or draws.random() < 0.9 else draws.choice(INTEGERS)
    return struct.pack("<Q", size & ((1 << 64) - 1)) + text + b"".join(data)


def crc(text: str, entries: Mapping[str, Entry], prefix: str) -> int:
    """The checksum that recurra keeps of a text and tensors; `prefix` is what begins the name of a
    type.
    """
    total = zlib.crc32(text.encode("utf-8", "surrogatepass"))
    for name in sorted(entries):
        entry = entries[name]
        said = f"{name} {prefix}{NUMPY.get(entry.dtype, entry.dtype)} {entry.shape}"
        total = zlib.crc32(entry.data, zlib.crc32(said.encode("utf-8", "surrogatepass"), total))
    return total


def signed(record: Any, entries: Mapping[str, Entry], prefix: str = "") -> dict[str, str]:
    """Metadata of networks, and with the prefix "torch." of models: the record as JSON under
    "recurra", with its checksum within.
    """
    if not isinstance(record, dict):
        return {"recurra": json.dumps(record)}
    header = {key: value for key, value in record.items() if key != "crc32"}
    checksum = crc(json.dumps(header, sort_keys=True), entries, prefix)
    return {"recurra": json.dumps(header | {"crc32": checksum})}


def forged(container: Container, record: Any, sign: Sign, draws: Random) -> bytes:
    """A file in which something is changed: mostly behind a checksum that fits, since before it
    little can happen.

    Args:
        container: the good file's parts.
        record: what its metadata say, as a tree of JSON.
        sign: makes metadata of a record and tensors.
        draws: says what is changed.
    """
    entries, way = dict(container.entries), draws.randrange(16)
    if way < 8:
        record = change(record, draws)
    if 6 <= way < 13:
        for _ in range(draws.choice((1, 1, 2, 4))):
            change_tensors(entries, draws)
    metadata = sign(record, entries)
    if way == 13:
        metadata = change(metadata, draws)
    raw = assemble(Container(metadata, entries), draws if way == 14 else None)
    return bend(raw, draws) if way == 15 else raw


def change_tensors(entries: dict[str, Entry], draws: Random) -> None:
    """One tensor of another type, shape, name or with other numbers; one more, one less, two
    exchanged.
    """
    if not entries:
        entries[draws.choice(WORDS)] = Entry("F32", [2], bytes(8))
        return
    name, way = draws.choice(sorted(entries)), draws.randrange(9)
    entry = entries[name]
    if way == 0:
        entries[name] = _typed(entry, draws)
    elif way == 1:
        entries[name] = _shaped(entry, draws)
    elif way == 2:
        del entries[name]
    elif way == 3:
        entries[draws.choice((*WORDS, *entries, f"{name}.scales"))] = entry
    elif way == 4:
        other = draws.choice(sorted(entries))
        entries[name], entries[other] = entries[other], entry
    elif way == 5:
        entries[draws.choice(WORDS)] = entries.pop(name)
    elif way == 6 and entry.dtype in ("F32", "F64"):
        kind = np.dtype(NUMPY[entry.dtype])
        whole = len(entry.data) // kind.itemsize * kind.itemsize  # it may have been cut before
        values = np.frombuffer(entry.data[:whole], kind).copy()
        count = draws.choice((1, 1, len(values)))
        for place in draws.sample(range(len(values)), min(count, len(values))):
            values[place] = kind.type(draws.choice(FLOATS))
        entries[name] = Entry(entry.dtype, entry.shape, values.tobytes())
    else:
        data = bytearray(entry.data)
        for _ in range(min(len(data), draws.choice((1, 1, 8)))):
            data[draws.randrange(len(data))] = draws.choice(
                (0, 1, 127, 128, 255, draws.randrange(256))
            )
        entries[name] = Entry(entry.dtype, entry.shape, bytes(data))


def _typed(entry: Entry, draws: Random) -> Entry:
    """Another type: with as many bytes as it needs, or of as many as there are."""
    dtype = draws.choice((*SIZES, "F8_E4M3", "F4", "C64", "X"))
    if draws.random() < 0.2 or dtype not in SIZES:
        return Entry(dtype, entry.shape, entry.data)
    wanted = SIZES[dtype] * math.prod(entry.shape)
    return Entry(
        dtype,
        entry.shape,
        (entry.data * 8)[:wanted].ljust(wanted, b"\0") if wanted < 1 << 20 else entry.data,
    )


def _shaped(entry: Entry, draws: Random) -> Entry:
    """Another shape: of as many numbers, or of more or fewer, which are there or not."""
    shape = list(entry.shape)
    way, axis = draws.randrange(6), draws.randrange(len(shape) + 1)
    if way == 0:
        return Entry(entry.dtype, shape[::-1], entry.data)
    if way == 1:
        return Entry(entry.dtype, [*shape[:axis], 1, *shape[axis:]], entry.data)
    if way == 2:
        return Entry(entry.dtype, [math.prod(shape)], entry.data)
    if way == 3 or not shape:
        return Entry(
            entry.dtype, [*shape[:axis], draws.choice(INTEGERS), *shape[axis + 1 :]], entry.data
        )
    axis %= len(shape)
    shape[axis] = max(0, shape[axis] + draws.choice((-1, 1, 2))) if way == 4 else 0
    wanted = SIZES.get(entry.dtype, 1) * math.prod(shape)
    return Entry(
        entry.dtype,
        shape,
        (entry.data + entry.data)[:wanted].ljust(wanted, b"\0") if wanted < 1 << 20 else entry.data,
    )
