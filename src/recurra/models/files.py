"""A model as one safetensors file: weights, and in the header how to build it. Loading executes nothing."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from recurra.durable import write_durably
from recurra.errors import ArgumentError, DataError, RunError
from recurra.models.language_model import LanguageModel
from recurra.network.file import FORMAT as EXPORTED
from recurra.vocabulary.levels import from_record
from recurra.vocabulary.vocabulary import Vocabulary

FORMAT = "recurra-model-1"


def save(model: LanguageModel, path: str | PathLike[str]) -> None:
    """Write a model to a file, whole or not at all.

    Args:
        model: a model made with a cell's name; one with a cell object is saved by its state dict instead.
        path: where; an older file there is replaced once the new one is complete.

    Raises:
        ArgumentError: the model's cell has no name.
        RunError: the file cannot be written.
    """
    check_named(model)
    vocabulary = model.vocabulary and model.vocabulary.record()
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    header: dict[str, Any] = {"format": FORMAT, "model": "LanguageModel", "options": model.options, "vocabulary": vocabulary}
    header["crc32"] = _checksum(header, tensors)
    path = Path(path)
    try:
        write_durably(path, lambda beside: save_file(tensors, beside, metadata={"recurra": json.dumps(header)}))
    except (OSError, SafetensorError) as error:
        raise RunError(f"path must be a file that can be written, got {str(path)!r} ({error})") from None


def check_named(model: LanguageModel) -> None:
    """Raise unless a model can be saved: its cell is given by name."""
    if not isinstance(model.options["cell"], str):
        raise ArgumentError(f"cell must be given by name to save a model, got {model.options['cell']!r}; save model.state_dict()")


def load(path: str | PathLike[str]) -> LanguageModel:
    """Read a model written by `save`, ready to evaluate, in the dtype it was saved in.

    Raises:
        DataError: the file is missing, cut short, changed, or not a model of recurra.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["recurra"])
        if header["format"] == EXPORTED:
            raise DataError(
                f"path must be a model that can be trained, got {str(path)!r}, an export for streaming; give what it was made of"
            )
        if header["format"] != FORMAT:
            raise DataError(f"path must be a model in the form {FORMAT}, got {header['format']!r}; use the recurra that wrote it")
        tensors = load_file(path)
        if header.pop("crc32") != _checksum(header, tensors):
            raise DataError(f"path must be a model as it was saved, got {str(path)!r}, whose checksum is another; it is damaged")
        vocabulary = header["vocabulary"] and _vocabulary(header["vocabulary"])
        model = LanguageModel(**header["options"], vocabulary=vocabulary)
        model.to(tensors["embedding.weight"].dtype).load_state_dict(tensors)
    except FileNotFoundError:
        raise DataError(f"path must be a model's file, got {str(path)!r}, which does not exist") from None
    except DataError:
        raise
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        line = str(error).splitlines()[0] if str(error) else repr(error)
        raise DataError(f"path must be a model saved by recurra, got {str(path)!r} ({line})") from None
    return model.eval()


def _vocabulary(record: Any) -> Vocabulary:
    try:
        return from_record(record)
    except DataError as error:
        raise ValueError(str(error)) from None


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
