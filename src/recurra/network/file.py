"""A network as one file, `.rcr`: safetensors, and in the header what the layers are. Reading
executes nothing.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from recurra.errors import ArgumentError, DataError, RecurraError, RunError, reason
from recurra.file_kinds import kind_text
from recurra.network.limits import MOST_HEADER, check_layers, check_sizes
from recurra.network.network import Network
from recurra.network.record import Reader, Writer
from recurra.regular_file import check_regular

FORMAT = "recurra-network-1"
Array = npt.NDArray[Any]


def write(network: Network, path: str | PathLike[str]) -> None:
    """Write a network to a file, whole or not at all.

    Args:
        network: the network; a matrix that layers share is written once.
        path: where; an older file there is replaced once the new one is complete.

    Raises:
        ArgumentError, ProgramError: vocabulary or facts cannot be said in JSON, or something is
            larger than what `read` takes.
        RunError: the file cannot be written.
    """
    from pathlib import Path

    from recurra.durable import (
        write_durably,
    )  # with pathlib slow to load, and who streams never writes

    check_layers(network.layers)
    writer = Writer()
    header: dict[str, Any] = {
        "format": FORMAT,
        "layers": [writer.layer(layer, str(number)) for number, layer in enumerate(network.layers)],
        "vocabulary": network.vocabulary,
        "facts": dict(network.facts),
    }
    try:
        header = json.loads(json.dumps(header))  # keys become text, as they will be read
        header["crc32"] = checksum(header, writer.tensors)
        text = json.dumps(header)
    except (TypeError, ValueError, RecursionError) as error:
        raise ArgumentError(
            f"facts must be made of text, numbers, lists and dicts, got another kind ({error}); use"
            " float() or tolist()"
        ) from None
    check_sizes(network, sum(array.size for array in writer.tensors.values()))
    if (
        len(text) > MOST_HEADER // 2
    ):  # it is written as JSON within JSON, each quotation mark with a stroke before it
        raise ArgumentError(
            f"vocabulary and facts must be at most {MOST_HEADER // 2:,} bytes as JSON, got"
            f" {len(text):,}"
        )
    try:
        write_durably(
            Path(path), lambda beside: save_file(writer.tensors, beside, metadata={"recurra": text})
        )
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"path must be a file that can be written, got {str(path)!r} ({error})"
        ) from None


def read(path: str | PathLike[str]) -> Network:
    """Read a network that `write` wrote.

    Raises:
        DataError: the file is missing, cut short, changed, of a newer form, or not a network.
    """
    try:
        return _read(os.fspath(path))
    except FileNotFoundError:
        raise DataError(
            f"path must be a network's file, got {str(path)!r}, which does not exist"
        ) from None
    except DataError:
        _check_kind(os.fspath(path))
        raise
    except RecurraError as error:
        raise DataError(
            f"path must be a network written by recurra, got {str(path)!r}, in which"
            f" {reason(error)}"
        ) from None
    except (
        SafetensorError,
        OSError,
        KeyError,
        TypeError,
        ValueError,
        IndexError,
        AttributeError,
        RecursionError,
        OverflowError,
    ) as error:
        _check_kind(os.fspath(path))
        raise DataError(
            f"path must be a network written by recurra, got {str(path)!r} ({reason(error)})"
        ) from None


def _check_kind(path: str) -> None:
    """Raise where a path that cannot be read names a file of another kind."""
    if text := "" if path.endswith(".rcr") else kind_text(path):
        raise DataError(f"path must be a .rcr file, got {path!r}{text}") from None


def _read(path: str) -> Network:
    size = check_regular(path)
    with open(path, "rb") as file:
        claimed = int.from_bytes(file.read(8), "little")
    if claimed > min(MOST_HEADER, size):
        raise DataError(
            f"path must be a network written by recurra, got {str(path)!r}, whose header claims"
            f" {claimed} bytes"
        )
    with safe_open(path, framework="numpy") as file:
        header = json.loads((file.metadata() or {})["recurra"])
        if header["format"] != FORMAT:
            raise DataError(
                f"path must be a network in the form {FORMAT}, got {str(header['format'])[:60]!r};"
                " use the recurra of it"
            )
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    said = header.pop("crc32")
    if said != checksum(header, tensors):
        raise DataError(
            f"path must be a network as it was written, got {str(path)!r}, whose checksum is"
            " another; it is damaged"
        )
    reader = Reader(tensors)
    network = Network(
        tuple(reader.layer(record) for record in header["layers"]),
        header["vocabulary"],
        header["facts"],
    )
    check_sizes(network, sum(array.size for array in tensors.values()))
    return network


def checksum(header: Mapping[str, Any], tensors: Mapping[str, Array]) -> int:
    """CRC-32 of the header and of every weight's bytes."""
    found = zlib.crc32(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        array = tensors[name]
        found = zlib.crc32(f"{name} {array.dtype} {list(array.shape)}".encode(), found)
        found = zlib.crc32(np.ascontiguousarray(array).tobytes(), found)
    return found
