"""An ONNX file as a model: looked at before it is parsed, its functions written out, with what lies
beside it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from recurra.errors import ConversionError, DataError, RecurraError, quoted, reason
from recurra.export.from_onnx_limits import MOST_FILE, Expansion, TooLarge, check_inputs, check_wire
from recurra.regular_file import check_regular, read_regular


def read(onnx: Any, path: str | PathLike[str]) -> tuple[Any, int]:
    """The model of a file, and how many bytes the file holds with those beside it.

    Args:
        onnx: the package.
        path: the file's.

    Raises:
        DataError: there is no such file, or it is no ONNX model.
        ConversionError: it asks for more than a file may; says of what.
    """
    name = quoted(fspath(path), 300)
    try:
        data = read_regular(path, MOST_FILE)
        model = _parsed(onnx, data, name)
        held = len(data) + _fetch(onnx, model, Path(path).parent, MOST_FILE - len(data))
        del data
        Expansion(model, held).check()
        if model.functions:
            import onnx.inliner

            model = onnx.inliner.inline_local_functions(model)
        check_inputs(inputs_of(model.graph), model.graph.output)
        return model, held
    except OSError as error:
        raise DataError(
            f"path must be a file that can be read, got {name} ({reason(error)})"
        ) from None
    except RecurraError:
        raise
    except Exception as error:  # the parser's own classes differ between versions
        raise DataError(f"path must be an ONNX model, got {name} ({reason(error)})") from error


def _parsed(onnx: Any, data: bytes, name: str) -> Any:
    """A model without what nothing here reads."""
    try:
        check_wire(data, onnx.ModelProto.DESCRIPTOR)
    except TooLarge:
        raise
    except DataError as error:
        raise DataError(f"{error}: {name}") from None
    model = onnx.load_model_from_string(data)
    if not model.graph.node:
        raise DataError(
            f"path must be an ONNX model, got {name}, {len(data):,} bytes without a node"
        )
    if model.graph.sparse_initializer:
        raise ConversionError(
            "onnx file must hold its weights as dense tensors, got sparse initialisers"
        )
    for spare in (model.training_info, model.graph.quantization_annotation):
        del spare[:]
    return model


def _fetch(onnx: Any, model: Any, folder: Path, most: int) -> int:
    """Put weights that lie in files beside the model into it; their bytes."""
    outside = [each for each in model.graph.initializer if each.data_location or each.external_data]
    if not outside:
        return 0
    parts = [(each, *_part(onnx, each, folder)) for each in outside]
    held = sum(size for size in {file: os.stat(file).st_size for _, file, _, _ in parts}.values())
    wanted = sum(count for *_, count in parts)
    if wanted > min(held, most):
        text = (
            f"onnx file must hold each of its weights once, {min(held, most):,} bytes beside it at"
            f" most, got {wanted:,}"
        )
        raise TooLarge(text)
    for tensor, file, start, count in parts:
        with open(file, "rb") as source:
            source.seek(start)
            data = source.read(count)
        if len(data) < count:
            raise ConversionError(
                f"{quoted(tensor.name)} must hold {count:,} bytes beside the file, got"
                f" {len(data):,}"
            )
        del tensor.external_data[:]
        tensor.ClearField("data_location")
        tensor.raw_data = data
    return wanted


def _part(onnx: Any, tensor: Any, folder: Path) -> tuple[Path, int, int]:
    """In which file a tensor lies, where it begins there, and its bytes."""
    said = {each.key: each.value for each in tensor.external_data}
    name, place = quoted(tensor.name), said.get("location", "")
    home = folder.resolve()
    file = (home / place).resolve()
    if not place or os.path.isabs(place) or ".." in Path(place).parts or home not in file.parents:
        raise ConversionError(f"{name} must lie in a file beside the model, got {quoted(place)}")
    check_regular(file)
    start, length = (
        int(text) if text.isdecimal() and len(text) < 20 else -1
        for text in (said.get(key) or "0" for key in ("offset", "length"))
    )
    kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    count = math.prod(tensor.dims) * kind.itemsize
    packed = "length" in said and kind.name.endswith(("int4", "int2", "float4_e2m1fn"))
    if (
        start < 0
        or count < 0
        or min(tensor.dims, default=0) < 0
        or (length != count and "length" in said and not packed)
    ):
        raise ConversionError(
            f"{name} must hold {count:,} bytes beside the file, got offset {start:,} and length"
            f" {length:,}"
        )
    return file, start, length if packed else count


def known(opsets: Any) -> dict[str, int]:
    """Versions of operators by their domain."""
    return {each.domain: each.version for each in opsets}


def inputs_of(graph: Any) -> list[Any]:
    """What is given at run time; old files list their weights among the inputs too."""
    weights = {each.name for each in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


def pruned(
    onnx: Any, model: Any, nodes: Sequence[Any], outputs: Sequence[str], inputs: Sequence[str]
) -> Any:
    """A model of some of the nodes of another.

    Args:
        onnx: the package.
        model: the other.
        nodes: in its order.
        outputs: the names of those of its graph's that are kept.
        inputs: those of the inputs that are, besides those that the nodes read.
    """
    read = {name for node in nodes for name in node.input} | set(inputs)
    done = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    graph = done.graph
    graph.name = "graph"
    graph.node.extend(nodes)
    graph.initializer.extend(each for each in model.graph.initializer if each.name in read)
    graph.input.extend(each for each in model.graph.input if each.name in read)
    graph.output.extend(_first_of(model.graph.output, outputs))
    return done


def _first_of(values: Any, names: Sequence[str]) -> Iterator[Any]:
    found = {each.name: each for each in values}
    yield from (found[name] for name in dict.fromkeys(names))
