"""What a RUN on the command line is: a network's file, or a run's folder or model's file, which
recurra trained; and a --cell.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recurra.network import Network

RUNTIME, ONNX, PYTHON = ".rcr", ".onnx", ".py"
HELP = (
    "a run's folder, a model's file, a .rcr or .onnx file, or FILE.py:NAME, a PyTorch module or a"
    " function that makes one"
)
CELL_HELP = (
    "a class of cells that the run is made of, FILE.py:NAME or package.module:NAME; its code is"
    " run; once for each class"
)


def add_cells(parser: argparse.ArgumentParser) -> None:
    """Give a command the flag --cell."""
    parser.add_argument(
        "--cell", action="append", default=[], dest="cells", metavar="FILE.py:NAME", help=CELL_HELP
    )


def open_cells(args: argparse.Namespace) -> list[Any]:
    """The classes of cells, or cells, that a command was given for its run.

    Raises:
        ArgumentError: it runs no run, which alone needs them.
        DataError: there is none of a name.
    """
    if args.cells and is_network(args.run_folder):
        from recurra.errors import ArgumentError

        raise ArgumentError(
            f"--cell must go with a run or a model's file, got {args.run_folder!r}, which needs"
            " none; leave it out"
        )
    return [open_cell(path) for path in args.cells]


def is_cell(path: Any) -> bool:
    """Whether a --cell names a class in a file or a package, not a cell that recurra knows.

    >>> is_cell("nets.py:JANET"), is_cell("package.module:JANET"), is_cell("lstm")
    (True, True, False)
    """
    return isinstance(path, str) and ":" in path


def open_cell(path: str) -> Any:
    """The class of cells, or the cell, that FILE.py:NAME or package.module:NAME names; a function
    is called without arguments.

    Raises:
        DataError: there is none.
    """
    from recurra.cells import Cell
    from recurra.errors import DataError

    where, _, name = path.rpartition(":")
    with _own_code("--cell", "a cell", path):
        if where.endswith(PYTHON):
            source = _run_file("--cell", path, where)
        elif re.fullmatch(r"\w+(\.\w+)*", where):
            with _first_on_path(Path()):
                source = importlib.import_module(where)
        else:
            raise DataError(f"--cell must be FILE.py:NAME or package.module:NAME, got {path!r}")
        found = getattr(source, name, None)
        if callable(found) and not isinstance(found, (type, Cell)):
            found = found()
        if not isinstance(found, Cell) and not (
            isinstance(found, type) and issubclass(found, Cell)
        ):
            raise DataError(
                f"--cell must name a subclass of recurra.Cell, or a cell, in {where}, got {path!r}"
            )
    return found


def make_own_cell(path: str) -> Any:
    """The cell that FILE.py:NAME or package.module:NAME names; of a class, one made without
    options.

    Raises:
        DataError: there is none.
    """
    found = open_cell(path)
    with _own_code("--cell", "a cell", path):
        return found() if isinstance(found, type) else found


OUTPUT = (
    "which of several outputs: of an ONNX file its name, of a module its place, 0 the first, or"
    " its key"
)


def is_network(path: str) -> bool:
    """Whether a path names a network, and not a run.

    >>> is_network("a/model.rcr"), is_network("model.onnx"), is_network(
    ...     "nets.py:tagger"
    ... ), is_network("runs/a")
    (True, True, True, False)
    """
    return Path(path).suffix in (RUNTIME, ONNX, PYTHON) or _python(path) is not None


def open_network(path: str, cells: Sequence[Any] = (), output: str | None = None) -> Network:
    """The network of a `.rcr` file, which needs no PyTorch, of an ONNX file, of a PyTorch module,
    or of a run.

    Args:
        path: of it.
        cells: the classes of cells of one's own that a run is made of.
        output: which output of an ONNX file or a module, as for `recurra.export.network_of`; a
            number is a place.

    Raises:
        ArgumentError: there is no such output, or the run needs a cell that was not given.
        DataError, RunError: there is none.
        ConversionError: it cannot stream; says what in it.
    """
    if output is not None and not (Path(path).suffix == ONNX or is_module(path)):
        from recurra.errors import ArgumentError

        raise ArgumentError(
            f"--output must go with an ONNX file or FILE.py:NAME, got {path!r}, which has one"
            " output; leave it out"
        )
    if Path(path).suffix == RUNTIME:
        from recurra.network.file import read

        return read(path)
    with needing_pytorch(path):
        from recurra.export import network_of

        if Path(path).suffix == ONNX:
            return network_of(path, output=output)
        if is_network(path):
            return network_of(open_module(path), output=place_of(output))
        return network_of(open_run(path, cells))


def place_of(output: str | None) -> int | str | None:
    """An output of a module as it is written on the command line: a number is a place.

    >>> place_of("1"), place_of("action")
    (1, 'action')
    """
    return int(output) if output is not None and output.isdecimal() else output


def open_run(path: str, cells: Sequence[Any] = ()) -> Any:
    """The model of a run.

    Args:
        path: its folder, or a model's file.
        cells: the classes of cells of one's own that it is made of.

    Raises:
        RunError, DataError, ArgumentError: there is none, or it needs a cell that was not given.
    """
    with needing_pytorch(path):
        from recurra import train

        return train.open_run(path, cells)


@contextmanager
def needing_pytorch(path: str) -> Iterator[None]:
    """A block that may lack a package: then say, too, how to do without."""
    from recurra.errors import MissingDependency
    from recurra.file_kinds import made_of

    try:
        yield
    except MissingDependency as error:
        hint = "or make of it, where that is, a file that needs none"
        if hint in str(error):
            raise
        raise MissingDependency(
            f"{error}, {hint}: recurra export {path} --to {made_of(path)}", name=error.name
        ) from None


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

    with _own_code("RUN", "a module", path):
        found = getattr(_run_file("RUN", path, file), name, None)
        if not callable(found):
            raise DataError(
                f"RUN must name a torch.nn.Module or a function in {file}, as FILE.py:NAME, got"
                f" {path!r}"
            )
        from torch import nn

        return found if isinstance(found, nn.Module) else found()


def _run_file(argument: str, path: str, file: str) -> ModuleType:
    """Run a file of Python, which may import its neighbours."""
    from recurra.errors import DataError

    spec = importlib.util.spec_from_file_location(f"recurra_cli_{Path(file).stem}", file)
    if not Path(file).is_file() or spec is None or spec.loader is None:
        raise DataError(
            f"{argument} must begin with a file of Python that can be read, got {path!r}"
        )
    source = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = source
    with _first_on_path(Path(file).parent):
        spec.loader.exec_module(source)
    return source


@contextmanager
def _first_on_path(folder: Path) -> Iterator[None]:
    """A block in which modules of a folder can be imported."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


@contextmanager
def _own_code(argument: str, what: str, path: str) -> Iterator[None]:
    """A block that runs a person's code: whatever it raises becomes one line."""
    from recurra.errors import DataError

    try:
        yield
    except DataError:
        raise
    except Exception as error:
        line = (str(error).strip().splitlines() or ["no reason given"])[0]
        text = (
            f"{argument} must give {what} without an error, got {path!r}, which raises"
            f" {type(error).__name__}: {line}"
        )
        raise DataError(text) from error
