"""What a RUN on the command line is: a network's file, or a run's folder or model's file, which recurra trained."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recurra.network import Network

RUNTIME, ONNX, PYTHON = ".rcr", ".onnx", ".py"
HELP = "a run's folder, a model's file, a .rcr or .onnx file, or FILE.py:NAME, a PyTorch module or a function that makes one"


def is_network(path: str) -> bool:
    """Whether a path names a network, and not a run.

    >>> is_network("a/model.rcr"), is_network("model.onnx"), is_network("nets.py:tagger"), is_network("runs/a")
    (True, True, True, False)
    """
    return Path(path).suffix in (RUNTIME, ONNX, PYTHON) or _python(path) is not None


def open_network(path: str) -> Network:
    """The network of a `.rcr` file, which needs no PyTorch, of an ONNX file, of a PyTorch module, or of a run.

    Raises:
        DataError, RunError: there is none.
        ConversionError: it cannot stream; says what in it.
    """
    if Path(path).suffix == RUNTIME:
        from recurra.network.file import read

        return read(path)
    from recurra.export import network_of

    if Path(path).suffix == ONNX:
        return network_of(path)
    if is_network(path):
        return network_of(open_module(path))
    from recurra import train

    return network_of(train.open_run(path))


def is_module(path: str) -> bool:
    """Whether a path names a PyTorch module in a file of Python."""
    return is_network(path) and Path(path).suffix not in (RUNTIME, ONNX)


def open_module(path: str) -> Any:
    """The PyTorch module that FILE.py:NAME names.

    Raises:
        DataError: there is none.
    """
    return _made(path, *(_python(path) or (path, "")))


def _python(path: str) -> tuple[str, str] | None:
    """FILE.py and NAME."""
    file, colon, name = path.rpartition(":")
    return (file, name) if colon and file.endswith(PYTHON) else None


def _made(path: str, file: str, name: str) -> Any:
    """The module of that name; a function is called without arguments."""
    from recurra.errors import DataError

    spec = importlib.util.spec_from_file_location(f"recurra_cli_{Path(file).stem}", file)
    if not Path(file).is_file() or spec is None or spec.loader is None:
        raise DataError(f"RUN must begin with a file of Python that can be read, got {path!r}")
    source = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = source
    sys.path.insert(0, str(Path(file).parent))
    try:
        spec.loader.exec_module(source)
        found = getattr(source, name, None)
        if not callable(found):
            raise DataError(f"RUN must name a torch.nn.Module or a function in {file}, as FILE.py:NAME, got {path!r}")
        from torch import nn

        return found if isinstance(found, nn.Module) else found()
    except DataError:
        raise
    except Exception as error:  # whatever a person's code may raise
        line = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise DataError(f"RUN must give a module without an error, got {path!r}, which raises {type(error).__name__}: {line}") from error
    finally:
        sys.path.remove(str(Path(file).parent))
