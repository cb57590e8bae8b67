"""A model as one safetensors file: weights, and in the header how to build it. Loading executes nothing."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from recurra.durable import write_durably
from recurra.errors import DataError, RunError
from recurra.file_kinds import kind_text
from recurra.models.cell_record import open_cell, record_cell
from recurra.models.language_model import LanguageModel
from recurra.network.file import FORMAT as EXPORTED
from recurra.vocabulary.levels import from_record
from recurra.vocabulary.vocabulary import Vocabulary

FORMAT = "recurra-model-1"


def save(model: LanguageModel, path: str | PathLike[str]) -> None:
    """Write a model to a file, whole or not at all.

    Args:
        model: the model; of a cell without a name the file holds its class's name, its options and its program.
        path: where; an older file there is replaced once the new one is complete.

    Raises:
        ArgumentError: the model's cell makes no program.
        RunError: the file cannot be written.
    """
    vocabulary, options = model.vocabulary and model.vocabulary.record(), record_options(model)
    tensors, ties = separate(model.state_dict()), tied(model)
    header: dict[str, Any] = {"format": FORMAT, "model": "LanguageModel", "options": options, "vocabulary": vocabulary}
    if ties:
        header["tied"] = ties
    header["crc32"] = _checksum(header, tensors)
    path = Path(path)
    try:
        write_durably(path, lambda beside: save_file(tensors, beside, metadata={"recurra": json.dumps(header)}))
    except (OSError, SafetensorError) as error:
        raise RunError(f"path must be a file that can be written, got {str(path)!r} ({error})") from None


def record_options(model: LanguageModel) -> dict[str, Any]:
    """A model's options as JSON and TOML hold them.

    Raises:
        ArgumentError: its cell makes no program.
    """
    return model.options | {"cell": record_cell(model.options["cell"])}


def load(path: str | PathLike[str], cells: Iterable[Any] = ()) -> LanguageModel:
    """Read a model written by `save`, ready to evaluate, in the dtype it was saved in.

    Args:
        path: of the file.
        cells: the classes of cells of one's own that the model is made of, or such cells. They are never looked for: the file says
            only what they are called, and what their program is.

    Raises:
        DataError: the file is missing, cut short, changed, or not a model of recurra.
        ArgumentError: a class that the model is made of is not among `cells`, or is not as it was: says in what.
    """
    header, tensors = read_header(path)
    with _reading(path):
        record = header["options"].get("cell", "lstm")
    cell = open_cell(record, cells)
    with _reading(path):
        vocabulary = header["vocabulary"] and _vocabulary(header["vocabulary"])
        model = LanguageModel(**header["options"] | {"cell": cell}, vocabulary=vocabulary)
        tie(model, header.get("tied", {}))
        model.to(tensors["embedding.weight"].dtype).load_state_dict(tensors)
    return model.eval()


def read_header(path: str | PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read what a model's file says of the model, and its weights, without making one.

    Returns:
        "model", "options", "vocabulary"; and the weights by name.

    Raises:
        DataError: the file is missing, cut short, changed, or not a model of recurra.
    """
    with _reading(path):
        with safe_open(path, framework="pt") as file:
            header: dict[str, Any] = json.loads((file.metadata() or {})["recurra"])
        if header["format"] == EXPORTED:
            raise DataError(f"path must be a model that recurra trained, got {str(path)!r}{kind_text(str(path), '.rcr')}")
        if header["format"] != FORMAT:
            raise DataError(f"path must be a model in the form {FORMAT}, got {header['format']!r}; use the recurra that wrote it")
        tensors = load_file(path)
        if header.pop("crc32") != _checksum(header, tensors):
            raise DataError(f"path must be a model as it was saved, got {str(path)!r}, whose checksum is another; it is damaged")
    return header, tensors


@contextmanager
def _reading(path: str | PathLike[str]) -> Iterator[None]:
    """A block in which whatever goes wrong is the file's fault."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"path must be a model's file, got {str(path)!r}, which does not exist") from None
    except DataError:
        raise
    except (SafetensorError, OSError, AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        if Path(path).suffix != ".safetensors" and (kind := kind_text(str(path))):
            raise DataError(f"path must be a model that recurra trained, got {str(path)!r}{kind}") from None
        line = str(error).splitlines()[0] if str(error) else repr(error)
        raise DataError(f"path must be a model saved by recurra, got {str(path)!r} ({line})") from None


def _vocabulary(record: Any) -> Vocabulary:
    try:
        return from_record(record)
    except DataError as error:
        raise ValueError(str(error)) from None


def separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors on the CPU, each in memory of its own: a file of tensors takes no two names of one memory.

    >>> one = torch.ones(2)
    >>> done = separate({"a": one, "b": one})
    >>> done["a"].data_ptr() == done["b"].data_ptr()
    False
    """
    return {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}


def tied(model: nn.Module) -> dict[str, str]:
    """Every further name of a parameter that has several, with its first.

    >>> gru = nn.GRU(4, 4, num_layers=2)
    >>> gru.weight_hh_l1 = gru.weight_hh_l0
    >>> tied(gru)
    {'weight_hh_l1': 'weight_hh_l0'}
    """
    firsts: dict[Tensor, str] = {}
    names = [(name, firsts.setdefault(weight, name)) for name, weight in model.named_parameters(remove_duplicate=False)]
    return {name: first for name, first in names if name != first}


def tie(model: nn.Module, names: Mapping[str, str]) -> None:
    """Make each name that of the parameter of another name, as `tied` lists them."""
    for name, first in names.items():
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, model.get_parameter(first))


def checksum(text: str, tensors: Mapping[str, Tensor]) -> int:
    """CRC-32 of a text and of every tensor's name, type, shape and bytes.

    >>> checksum("", {}) == checksum("", {"x": torch.zeros(0)})
    False
    """
    found = zlib.crc32(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        found = zlib.crc32(f"{name} {tensor.dtype} {list(tensor.shape)}".encode(), found)
        found = zlib.crc32(tensor.flatten().view(torch.uint8).numpy().data, found)
    return found


def _checksum(header: dict[str, Any], tensors: Mapping[str, Tensor]) -> int:
    """Of a model's file: the header without its checksum, and the weights."""
    return checksum(json.dumps(header, sort_keys=True), tensors)
