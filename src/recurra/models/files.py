"""A model as one safetensors file: weights, and in the header how to build it. Loading executes
nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from recurra.cells import Cell
from recurra.checksum import checksum
from recurra.durable import write_durably
from recurra.errors import DataError, RecurraError, RunError, quoted, reason
from recurra.file_kinds import kind_text
from recurra.models.cell_record import open_cell, record_cell
from recurra.models.claims import build
from recurra.models.language_model import LanguageModel
from recurra.models.ties import separate, tied
from recurra.network.file import FORMAT as EXPORTED
from recurra.regular_file import check_regular
from recurra.vocabulary.levels import from_record

FORMAT = "recurra-model-1"


def save(model: LanguageModel, path: str | PathLike[str]) -> None:
    """Write a model to a file, whole or not at all.

    Args:
        model: the model; of a cell without a name the file holds its class's name, its options and
            its program.
        path: where; an older file there is replaced once the new one is complete.

    Raises:
        ArgumentError: the model's cell makes no program.
        RunError: the file cannot be written.
    """
    vocabulary, options = model.vocabulary and model.vocabulary.record(), record_options(model)
    tensors, ties = separate(model.state_dict()), tied(model)
    header: dict[str, Any] = {
        "format": FORMAT,
        "model": "LanguageModel",
        "options": options,
        "vocabulary": vocabulary,
    }
    if ties:
        header["tied"] = ties
    header["crc32"] = _checksum(header, tensors)
    path = Path(path)
    try:
        write_durably(
            path,
            lambda beside: save_file(tensors, beside, metadata={"recurra": json.dumps(header)}),
        )
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"path must be a file that can be written, got {str(path)!r} ({error})"
        ) from None


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
        cells: the classes of cells of one's own that the model is made of, or such cells. They are
            never looked for: the file says only what they are called, and what their program is.

    Raises:
        DataError: the file is missing, cut short, changed, or not a model of recurra.
        ArgumentError: a class that the model is made of is not among `cells`, or is not as it was:
            says in what.
    """
    header, tensors = read_header(path)
    with _reading(path):
        cell = open_cell(header["options"].get("cell", "lstm"), cells)
        model = _model(header, tensors, cell, path)
    return model.eval()


def read_header(path: str | PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read what a model's file says of the model, and its weights, without making one.

    Returns:
        "model", "options", "vocabulary"; and the weights by name.

    Raises:
        DataError: the file is missing, cut short, changed, or not a model of recurra.
    """
    with _reading(path):
        check_regular(path)
        with safe_open(path, framework="pt") as file:
            header: dict[str, Any] = json.loads((file.metadata() or {})["recurra"])
        if header["format"] == EXPORTED:
            raise DataError(
                "path must be a model that recurra trained, got"
                f" {str(path)!r}{kind_text(str(path), '.rcr')}"
            )
        if header["format"] != FORMAT:
            raise DataError(
                f"path must be a model in the form {FORMAT}, got {quoted(header['format'])}; use"
                " the recurra that wrote it"
            )
        tensors = load_file(path)
        if header.pop("crc32") != _checksum(header, tensors):
            raise DataError(
                f"path must be a model as it was saved, got {str(path)!r}, whose checksum is"
                " another; it is damaged"
            )
        _check_header(header)
    return header, tensors


def _check_header(header: Mapping[str, Any]) -> None:
    """Raise unless a header says what read_header promises, each of its kind: its checksum is
    whoever's wrote it.

    Raises:
        TypeError: it does not; names what.
    """
    options, vocabulary = header.get("options"), header.get("vocabulary", ())
    if not isinstance(header.get("model"), str):
        raise TypeError(f"header must name a model, got {quoted(header.get('model'))}")
    if not isinstance(options, Mapping) or not isinstance(
        options.get("cell", "lstm"), (str, Mapping)
    ):
        raise TypeError(
            f"options must be a record with a cell's name or record, got {quoted(options)}"
        )
    if vocabulary is not None and not (
        isinstance(vocabulary, Mapping) and isinstance(vocabulary.get("level"), str)
    ):
        raise TypeError(
            f"vocabulary must be a record with a level, or none, got {quoted(vocabulary)}"
        )


@contextmanager
def _reading(path: str | PathLike[str]) -> Iterator[None]:
    """A block in which whatever goes wrong is the file's fault, but for what says itself whose
    fault it is.
    """
    try:
        yield
    except FileNotFoundError:
        raise DataError(
            f"path must be a model's file, got {str(path)!r}, which does not exist"
        ) from None
    except RecurraError:
        raise
    except Exception as error:  # a file may say anything
        if Path(path).suffix != ".safetensors" and (kind := kind_text(str(path))):
            raise DataError(
                f"path must be a model that recurra trained, got {str(path)!r}{kind}"
            ) from None
        raise DataError(
            f"path must be a model saved by recurra, got {str(path)!r} ({reason(error)})"
        ) from None


def _model(
    header: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    cell: str | Cell,
    path: str | PathLike[str],
) -> LanguageModel:
    """The model of a header that is as it was written, by whomever."""
    try:
        vocabulary = header["vocabulary"] and from_record(header["vocabulary"])
        return build(
            header["options"] | {"cell": cell}, tensors, vocabulary, header.get("tied", {})
        )
    except RecurraError as error:
        raise DataError(
            f"path must be a model saved by recurra, got {str(path)!r} ({reason(error)})"
        ) from None


def _checksum(header: dict[str, Any], tensors: Mapping[str, Tensor]) -> int:
    """Of a model's file: the header without its checksum, and the weights."""
    return checksum(json.dumps(header, sort_keys=True), tensors)
