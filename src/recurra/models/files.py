"""A model as one safetensors file: weights, and in the header how to build it. Loading executes nothing."""

from __future__ import annotations

import json
import os
from os import PathLike
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from recurra.errors import ArgumentError, DataError, RecurraError
from recurra.models.language_model import LanguageModel
from recurra.models.vocabulary import Vocabulary

FORMAT = "recurra-model-1"


def save(model: LanguageModel, path: str | PathLike[str]) -> None:
    """Write a model to a file, whole or not at all.

    Args:
        model: a model made with a cell's name; one with a cell object is saved by its state dict instead.
        path: where; an older file there is replaced once the new one is complete.

    Raises:
        ArgumentError: the model's cell has no name.
    """
    if not isinstance(model.options["cell"], str):
        raise ArgumentError(f"cell must be given by name to save a model, got {model.options['cell']!r}; save model.state_dict()")
    vocabulary = model.vocabulary and [model.vocabulary.level, model.vocabulary.symbols]
    header = {"format": FORMAT, "model": "LanguageModel", "options": model.options, "vocabulary": vocabulary}
    path = Path(path)
    beside = path.with_name(path.name + ".part")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, beside, metadata={"recurra": json.dumps(header)})
    os.replace(beside, path)


def load(path: str | PathLike[str]) -> LanguageModel:
    """Read a model written by `save`, ready to evaluate.

    Raises:
        DataError: the file is missing, cut short, or not a model of recurra.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["recurra"])
        if header["format"] != FORMAT:
            raise DataError(f"path must be a model in the form {FORMAT}, got {header['format']!r}; use the recurra that wrote it")
        vocabulary = header["vocabulary"] and Vocabulary(*header["vocabulary"])
        model = LanguageModel(**header["options"], vocabulary=vocabulary)
        model.load_state_dict(load_file(path))
    except FileNotFoundError:
        raise DataError(f"path must be a model's file, got {str(path)!r}, which does not exist") from None
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, RecurraError):
            raise
        line = str(error).splitlines()[0] if str(error) else repr(error)
        raise DataError(f"path must be a model saved by recurra, got {str(path)!r} ({line})") from None
    return model.eval()
