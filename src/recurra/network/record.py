"""Layers as JSON holds them, their weights named tensors beside; and back."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from recurra.check import is_number, is_whole
from recurra.errors import ArgumentError, choice_text, quoted
from recurra.network.layer import Layer
from recurra.network.layers import (
    Activation,
    AdaptiveSoftmax,
    Conv,
    Embedding,
    LayerNorm,
    Linear,
    Residual,
)
from recurra.network.limits import check_count
from recurra.network.matrix import Matrix
from recurra.network.recurrent import Recurrent
from recurra.program.evaluation import forward_only
from recurra.program.serial import from_json, to_json

Array = npt.NDArray[Any]
KINDS: dict[str, type] = {
    "embedding": Embedding,
    "linear": Linear,
    "layer_norm": LayerNorm,
    "activation": Activation,
    "conv": Conv,
    "recurrent": Recurrent,
    "residual": Residual,
    "adaptive_softmax": AdaptiveSoftmax,
}
PARTS = ("narrow", "wide")
"""Of a cluster of an adaptive softmax."""


class Writer:
    """Makes records of layers, and collects their tensors by name."""

    def __init__(self) -> None:
        self.tensors: dict[str, Array] = {}
        self._matrices: dict[int, str] = {}

    def layer(self, layer: Layer, place: str) -> dict[str, Any]:
        """The record of a layer; `place` begins the names of its tensors."""
        record: dict[str, Any] = {
            "layer": next(name for name, kind in KINDS.items() if type(layer) is kind)
        }
        if isinstance(layer, Residual):
            return record | {
                "layers": [
                    self.layer(each, f"{place}.{number}")
                    for number, each in enumerate(layer.layers)
                ]
            }
        if isinstance(layer, Recurrent):
            return record | {
                "program": json.loads(to_json(layer.program)),
                "matrices": {
                    name: self._matrix(f"{place}.{name}", matrix)
                    for name, matrix in layer.matrices.items()
                },
                "vectors": {
                    name: self._vector(f"{place}.{name}", vector)
                    for name, vector in layer.vectors.items()
                },
            }
        for field in dataclasses.fields(layer):  # type: ignore[arg-type]
            value = getattr(layer, field.name)
            if isinstance(value, Matrix):
                value = self._matrix(f"{place}.{field.name}", value)
            elif isinstance(value, tuple):
                value = [
                    [self._matrix(f"{place}.{n}.{part}", each) for part, each in zip(PARTS, pair)]
                    for n, pair in enumerate(value)
                ]
            elif isinstance(value, np.ndarray):
                value = self._vector(f"{place}.{field.name}", value)
            record[field.name] = value
        return record

    def _matrix(self, name: str, matrix: Matrix) -> dict[str, Any]:
        known = self._matrices.setdefault(id(matrix), name)
        if known == name:
            self.tensors[name] = np.ascontiguousarray(matrix.values)
            if matrix.scales is not None:
                self.tensors[f"{name}.scales"] = np.ascontiguousarray(matrix.scales)
        return {"tensor": known, "precision": matrix.precision}

    def _vector(self, name: str, vector: Array) -> str:
        self.tensors[name] = np.ascontiguousarray(vector)
        return name


class Reader:
    """Makes layers of their records.

    Args:
        tensors: by name.
    """

    def __init__(self, tensors: Mapping[str, Array]) -> None:
        self.tensors, self.count = tensors, 0
        self._matrices: dict[str, Matrix] = {}

    def layer(self, record: Mapping[str, Any], depth: int = 0) -> Layer:
        """The layer of a record.

        Raises:
            ArgumentError, ShapeError, DtypeError, ProgramError: it does not fit together.
            KeyError, TypeError, ValueError: it is no record of a layer.
        """
        self.count += 1
        check_count(self.count, depth)
        fields = dict(record)
        kind = fields.pop("layer")
        if kind not in KINDS:
            raise ArgumentError(choice_text("layer", kind, KINDS))
        if kind == "residual":
            return Residual(tuple(self.layer(each, depth + 1) for each in fields["layers"]))
        if kind == "recurrent":
            return Recurrent(
                forward_only(from_json(json.dumps(fields["program"]))),
                {name: self._matrix(each) for name, each in fields["matrices"].items()},
                {name: self._vector(each) for name, each in fields["vectors"].items()},
            )
        made: Layer = KINDS[kind](
            **{name: self._field(name, value) for name, value in fields.items()}
        )
        return made

    def _field(self, name: str, value: Any) -> Any:
        if name == "weight":
            return self._matrix(value)
        if name == "clusters":
            return tuple((self._matrix(narrow), self._matrix(wide)) for narrow, wide in value)
        if name in ("bias", "gain"):
            return None if value is None else self._vector(value)
        kinds = {"kind": ("text", lambda v: isinstance(v, str)), "eps": ("a number", is_number)}
        need, fits = kinds.get(name, ("a whole number", is_whole))
        if not fits(value):
            raise ArgumentError(f"{name} must be {need}, got {quoted(value)}")
        return value

    def _matrix(self, record: Mapping[str, Any]) -> Matrix:
        name = record["tensor"]
        if name not in self._matrices:
            self._matrices[name] = Matrix(self.tensors[name], self.tensors.get(f"{name}.scales"))
        if self._matrices[name].precision != record["precision"]:
            raise ArgumentError(
                f"{name} must be {record['precision']}, got {self._matrices[name].precision}"
            )
        return self._matrices[name]

    def _vector(self, name: str) -> Array:
        return self.tensors[name]
