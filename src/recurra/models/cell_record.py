"""A model's cell as its file holds it: a name, or its class, its options and its program. Reading
one runs no code of a file.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import product, zip_longest
from pathlib import Path
from typing import Any

from recurra import cells as built_in
from recurra.cells import Cell
from recurra.errors import ArgumentError, DataError, ProgramError, reason
from recurra.models.cell import CELLS
from recurra.program import Program, from_json, show, to_json, trace
from recurra.program.evaluation import forward_only

PLAIN = (str, int, float, bool, type(None))


def record_cell(cell: str | Cell) -> str | dict[str, str]:
    """A cell as JSON and TOML hold it.

    Args:
        cell: a name, or a cell.

    Returns:
        The name of a cell that has one; else "class" (`nets.py:JANET` or `package.module:JANET`;
        without a colon where it is recurra's), "options" (its fields that JSON can hold, as JSON)
        and "program" (as `recurra.program.to_json` gives it), and of a cell with random factors
        "noises" and the "training" program.

    Raises:
        ArgumentError: the cell's equations make no program.

    >>> record_cell(built_in.GRU()), record_cell(built_in.Elman("relu"))["options"]
    ('gru', '{"nonlinearity": "relu"}')
    """
    if isinstance(cell, str):
        return cell
    for name, kind in CELLS.items():
        if type(cell) is kind and cell == kind():
            return name
    node = _node(cell)
    try:
        return {"class": node["class"], "options": json.dumps(node["options"])} | _programs(cell)
    except ProgramError as error:
        raise ArgumentError(
            f"cell must have a program to be saved with a model, got {error}; save"
            " model.state_dict()"
        ) from None


def open_cell(record: Any, cells: Iterable[Any] = ()) -> str | Cell:
    """The cell that `record_cell` wrote.

    Args:
        record: what it gave.
        cells: the classes of cells of one's own, or such cells: an own class is found by its name,
            whatever file it is in now. Of a class the cell is made with the options that it was
            saved with.

    Returns:
        The name, or a cell whose program is the saved one.

    Raises:
        ArgumentError: a class is not among `cells`, or is another: says which option or line of its
            program differs.
        DataError: `record` is none.
    """
    if isinstance(record, str):
        return record
    given = check_cells(cells)
    try:
        node = {"class": str(record["class"]), "options": json.loads(record["options"])}
        programs = {
            name: from_json(record[name]) for name in ("program", "training") if name in record
        }
        programs["program"]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            "cell must be a name, or a class, its options and its program, got another record"
            f" ({error!r})"
        ) from None
    wrong: list[str] = []
    for cell in _candidates(node, given, wrong):
        if (difference := _difference(cell, programs, record)) is None:
            return cell
        wrong.append(difference)
    name = _bare(node["class"])
    text = f"cells must hold {name} as it was saved, got one {wrong[0]}"
    raise ArgumentError(
        text if "; " in wrong[0] else f"{text}; give the class as it was when the model was trained"
    )


def class_of(record: Any) -> str:
    """How a record prints: its name, or its class with its options.

    Raises:
        DataError: it is no record of a cell.

    >>> class_of("gru"), class_of(record_cell(built_in.Zoneout(built_in.GRU(), h=0.1)))
    ('gru', 'Zoneout(cell=GRU(), h=0.1, c=0.0)')
    """
    try:
        return (
            record
            if isinstance(record, str)
            else _text({"class": record["class"], "options": json.loads(record["options"])})
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise DataError(
            f"cell must be a name, or a class and its options, got another record ({reason(error)})"
        ) from None


def check_cells(cells: Any) -> list[Any]:
    """The classes of cells, and cells, that a caller gives.

    Raises:
        ArgumentError: something is neither.
    """
    if isinstance(cells, (type, Cell)) or not isinstance(cells, Iterable):
        raise ArgumentError(
            f"cells must be a list of classes, or of cells, got {cells!r}; write cells=[...]"
        )
    given = list(cells)
    for each in given:
        if not isinstance(each, Cell) and not (isinstance(each, type) and issubclass(each, Cell)):
            raise ArgumentError(f"cells must be subclasses of recurra.Cell, or cells, got {each!r}")
    return given


def class_name(kind: type[Cell]) -> str:
    """Where a class is: `GRU` of recurra's own, `nets.py:JANET` in a file, `package.module:JANET`
    in a package.

    >>> class_name(built_in.GRU)
    'GRU'
    """
    module, name = kind.__module__, kind.__name__
    if getattr(built_in, name, None) is kind:
        return name
    file = Path(getattr(sys.modules.get(module), "__file__", None) or "")
    alone = (
        module != "__main__"
        and "." not in module
        and file.suffix == ".py"
        and file.stem != "__init__"
    )
    return f"{file.name if alone else module}:{name}"


def _bare(name: str) -> str:
    """The class's own name."""
    return name.rpartition(":")[2]


def _node(cell: Cell) -> dict[str, Any]:
    """A cell's class, and the fields that JSON can hold."""
    fields: tuple[dataclasses.Field[Any], ...] = (
        dataclasses.fields(cell) if dataclasses.is_dataclass(cell) else ()
    )
    values = {field.name: getattr(cell, field.name) for field in fields if field.init}
    return {
        "class": class_name(type(cell)),
        "options": {name: _plain(value) for name, value in values.items() if _holds(value)},
    }


def _holds(value: Any) -> bool:
    """Whether a record can hold an option; of another, such as a function, the program alone
    tells.
    """
    return (
        all(map(_holds, value)) if isinstance(value, tuple) else isinstance(value, (*PLAIN, Cell))
    )


def _plain(value: Any) -> Any:
    """An option as JSON: a tuple as a list, a cell as a node; a cell can be hashed, so that it has
    no list or dict of its own.
    """
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return _node(value) if isinstance(value, Cell) else value


def _text(value: Any) -> str:
    """A node, or an option, as Python would write it."""
    if isinstance(value, dict):
        options = ", ".join(f"{name}={_text(each)}" for name, each in value["options"].items())
        return f"{value['class']}({options})"
    return f"({', '.join(map(_text, value))})" if isinstance(value, list) else repr(value)


def _programs(cell: Cell) -> dict[str, str]:
    """A cell's programs, and the random factors of its training."""
    record, noises = {"program": to_json(trace(cell))}, cell.noises()
    drawn = [name for name, noise in noises.items() if noise.zero is not None]
    if not drawn:
        return record
    return record | {
        "noises": json.dumps({name: list(noise) for name, noise in noises.items()}),
        "training": to_json(trace(cell, drawn)),
    }


def _candidates(node: Mapping[str, Any], given: list[Any], wrong: list[str]) -> Iterator[Cell]:
    """Every cell that a node may stand for; why others may not goes into `wrong`."""
    name, options = node["class"], node["options"]
    own = [
        each
        for each in given
        if (each if isinstance(each, type) else type(each)).__name__ == _bare(name)
    ]
    if ":" not in name and isinstance(getattr(built_in, name, None), type):
        own.append(getattr(built_in, name))
    if not own:
        raise ArgumentError(_needed(name, given))
    for each in own:
        if isinstance(each, type):
            yield from _made(each, node, given, wrong)
        elif other := _other_option(each, options):
            wrong.append(other)
        else:
            yield each


def _made(
    kind: type[Cell], node: Mapping[str, Any], given: list[Any], wrong: list[str]
) -> Iterator[Cell]:
    """The cells of a class with a node's options: one for each cell that stands for a node
    inside.
    """
    options = node["options"]
    inside = {
        name: list(_candidates(value, given, wrong))
        for name, value in options.items()
        if isinstance(value, dict)
    }
    for cells in product(*inside.values()):
        try:
            yield kind(
                **{name: _tuples(value) for name, value in options.items()}
                | dict(zip(inside, cells))
            )
        except Exception as error:  # whatever a person's class may raise
            line = (str(error).splitlines() or ["no reason given"])[0]
            instead = f"give the cell itself, cells=[{kind.__name__}(...)]"
            wrong.append(
                f"that cannot be made as {_text(node)} ({type(error).__name__}: {line}); {instead}"
            )


def _other_option(cell: Cell, options: Mapping[str, Any]) -> str | None:
    """The first option of a cell that is not as it was saved; of cells inside, their programs
    tell.
    """
    now = _node(cell)["options"]
    for name, value in options.items():
        if not isinstance(value, dict) and (name not in now or now[name] != value):
            return (
                f"with {name}={_text(now[name]) if name in now else 'none'}, where {_text(value)}"
                " was saved"
            )
    return None


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _needed(name: str, given: list[Any]) -> str:
    """What to say where a class was not given."""
    bare, got = (
        _bare(name),
        ", ".join((each if isinstance(each, type) else type(each)).__name__ for each in given)
        or "none",
    )
    file = f"FILE.py:{bare}" if name.startswith("__main__:") else name
    return (
        f"cells must hold {bare} ({name}), of which the model is made, got {got}; "
        f"give the class, cells=[{bare}] in Python or --cell {file} on the command line"
    )


def _difference(cell: Cell, saved: Mapping[str, Program], record: Mapping[str, Any]) -> str | None:
    """What of a cell is not as it was saved; None if nothing is."""
    try:
        now = _programs(cell)
    except ProgramError as error:
        return f"that makes no program ({error})"
    for name, before in saved.items():
        if name not in now:
            return "without the random factors that were saved"
        after = from_json(now[name])
        if _step_text(after) != _step_text(before):
            return _first_difference(before, after)
    if now.get("noises") != record.get("noises"):
        return (
            f"whose random factors are {now.get('noises', 'none')}, where"
            f" {record.get('noises', 'none')} were saved"
        )
    return None


def _step_text(program: Program) -> str:
    """All that says what a step computes; its derivative follows from it by rules that may get
    better.
    """
    return to_json(dataclasses.replace(forward_only(program), cell=""))


def _first_difference(before: Program, after: Program) -> str:
    """The first line in which two programs print otherwise."""
    texts = [
        show(dataclasses.replace(program, cell="")).partition("\nderivative")[0].split("\n")[3:]
        for program in (before, after)
    ]
    for number, (saved, now) in enumerate(zip_longest(*texts, fillvalue=""), 1):
        if saved != now:
            lines = [" ".join(line.split()) or "nothing" for line in (saved, now)]
            return (
                f"whose program has in line {number} of its step {lines[1]!r}, where {lines[0]!r}"
                " was saved"
            )
    return "whose program has other sizes or phases"
