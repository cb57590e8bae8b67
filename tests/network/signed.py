"""The parts of a `.rcr` file, and a file of changed parts whose checksum fits."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

from recurra.network.file import checksum

DTYPES = {"F32": np.float32, "U16": np.uint16, "I8": np.int8}


def parts(raw: bytes) -> tuple[dict[str, Any], bytes]:
    """The outer JSON header of a file, and the bytes of its tensors."""
    size = int.from_bytes(raw[:8], "little")
    return json.loads(raw[8 : 8 + size]), raw[8 + size :]


def joined(outer: dict[str, Any], header: dict[str, Any], data: bytes) -> bytes:
    """A file with that header and a checksum that fits."""
    header = {key: value for key, value in header.items() if key != "crc32"}
    arrays = {}
    for name, entry in outer.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            values = np.frombuffer(data[begin:end], DTYPES[entry["dtype"]])  # type: ignore[call-overload]
            arrays[name] = values.reshape(entry["shape"])
    signed = json.dumps(header | {"crc32": checksum(header, arrays)})
    text = json.dumps(outer | {"__metadata__": {"recurra": signed}}).encode()
    return struct.pack("<Q", len(text)) + text + data
