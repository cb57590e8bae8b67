"""A cell in a model's file: what it says, and that only the same equations come back from it."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from torch import Tensor, sigmoid, tanh

from recurra import cells
from recurra.cells import Cell, Noise
from recurra.errors import ArgumentError, DataError
from recurra.models.cell import CELLS
from recurra.models.cell_record import check_cells, class_name, class_of, open_cell, record_cell
from recurra.train.folder import tomllib
from tests.cells.zoo import OWN, ZOO, CoupledLSTM, LeakyElman, TwoPhase


def janet(squash: Any = tanh, **changes: Any) -> type[Cell]:
    """Classes of one name."""

    def pointwise(self: Any, a: Any, s: Any) -> dict[str, Tensor]:
        f, g = sigmoid(a.f), squash(a.g)
        return dict(h=f * s.h + (1 - f) * g, f=f, g=g)

    return type(
        "JANET", (Cell,), {"state": ("h",), "gates": ("f", "g"), "pointwise": pointwise} | changes
    )


JANET = janet()
OTHER = janet(torch.relu)


@dataclass(frozen=True)
class Slopes(Cell):
    """Options of every kind that JSON holds, one that it does not hold, and a cell."""

    slopes: tuple[float, ...]
    name: str | None = None
    cell: Cell = field(default_factory=LeakyElman)
    squash: Callable[[Tensor], Tensor] = tanh
    state, gates = ("h",), ("n",)

    def pointwise(self, a: Any, s: Any) -> dict[str, Tensor]:
        n = self.squash(self.slopes[0] * a.n + self.slopes[1] * s.h)
        return dict(h=n, n=n)


@dataclass(frozen=True)
class Dropped(Cell):
    """A cell with a random factor of its own."""

    state, gates = ("h",), ("n",)

    def noises(self) -> dict[str, Noise]:
        return {"keep": Noise("h", zero=0.1)}

    def pointwise(self, a: Any, s: Any) -> dict[str, Tensor]:
        keep = s.noise.get("keep")
        n = tanh(a.n)
        return dict(h=n if keep is None else keep * n, n=n)


def again(cell: Any) -> Any:
    """A record as config.toml and as a model's file give it back."""
    record = record_cell(cell)
    read = tomllib.loads(tomli_w.dumps({"cell": record}))["cell"]
    assert read == record == json.loads(json.dumps(record))
    return read


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_with_a_name_is_its_name(name: str) -> None:
    assert record_cell(CELLS[name]()) == record_cell(name) == open_cell(name) == name


@pytest.mark.parametrize("name", ZOO)
def test_a_cell_comes_back_with_its_options(name: str) -> None:
    cell, record = ZOO[name], again(ZOO[name])
    given = [type(cell) for cell in OWN.values()]
    back = open_cell(record, given)
    back = CELLS[back]() if isinstance(back, str) else back
    assert type(back) is type(cell) and repr(back) == repr(cell)
    assert back == cell or name in OWN
    if cell.noises() and not isinstance(cell, cells.Probed):
        assert record["training"] != record["program"]
    if name not in OWN and name != "ZoneoutOwn":
        assert class_of(record) == (record if isinstance(record, str) else repr(cell))
        open_cell(record)


def test_the_record_names_where_the_class_is(tmp_path: Path) -> None:
    assert (
        class_name(cells.Zoneout) == "Zoneout"
        and class_name(LeakyElman) == "tests.cells.zoo:LeakyElman"
    )
    assert class_name(type("GRU", (Cell,), {"__module__": "__main__"})) == "__main__:GRU"
    (tmp_path / "nets.py").write_text("from recurra import Cell\nclass JANET(Cell): pass\n")
    spec = importlib.util.spec_from_file_location("some_name", tmp_path / "nets.py")
    assert spec is not None and spec.loader is not None
    sys.modules["some_name"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert class_name(module.JANET) == "nets.py:JANET"
    del sys.modules["some_name"]
    assert (
        class_of(record_cell(cells.Zoneout(TwoPhase(0.2), h=0.1)))
        == "Zoneout(cell=tests.cells.zoo:TwoPhase(slope=0.2), h=0.1, c=0.0)"
    )


def test_a_class_is_found_wherever_it_is_now_and_by_its_program_among_two_of_its_name() -> None:
    record = again(JANET()) | {"class": "elsewhere.py:JANET"}
    assert type(open_cell(record, [JANET])) is JANET
    assert type(open_cell(record, [CoupledLSTM, OTHER, JANET])) is JANET
    both = again(cells.Zoneout(JANET(), h=0.1))
    assert type(open_cell(both, [OTHER, JANET]).cell) is JANET
    given = cells.Zoneout(JANET(), h=0.1)
    assert (
        open_cell(both, [given, JANET]) is given
        and open_cell(again(JANET()), [given.cell]) is given.cell
    )


def test_options_that_json_does_not_hold_are_told_by_the_program() -> None:
    plain = Slopes((0.5, 2.0), None, LeakyElman())
    record = again(plain)
    back = open_cell(record, [Slopes, LeakyElman])
    assert back.slopes == (0.5, 2.0) and back.name is None and back.squash is tanh
    curved = Slopes((0.5, 2.0), "a", LeakyElman(), sigmoid)
    record = again(curved)
    with refused(
        'one whose program has in line 6 of its step "h\' = tanh(t3)", where "h\' = sigmoid(t3)"'
        " was saved; give"
    ):
        open_cell(record, [Slopes, LeakyElman])
    assert open_cell(record, [curved]) is curved


def refused(message: str, error: type[Exception] = ArgumentError) -> Any:
    return pytest.raises(error, match=re.escape(message))


def test_a_class_that_was_not_given_is_named_with_the_way_to_give_it() -> None:
    record = again(JANET())
    how = (
        "give the class, cells=[JANET] in Python or --cell tests.models.test_cell_record:JANET on"
        " the command line"
    )
    text = (
        "cells must hold JANET (tests.models.test_cell_record:JANET), of which the model is made,"
        " got {}; {}"
    )
    with pytest.raises(ArgumentError, match=f"^{re.escape(text.format('none', how))}$"):
        open_cell(record)
    with pytest.raises(
        ArgumentError, match=f"^{re.escape(text.format('CoupledLSTM, TwoPhase', how))}$"
    ):
        open_cell(record, [CoupledLSTM, TwoPhase()])
    with refused(
        "give the class, cells=[JANET] in Python or --cell FILE.py:JANET on the command line"
    ):
        open_cell(record | {"class": "__main__:JANET"})
    with refused("cells must hold LeakyElman (tests.cells.zoo:LeakyElman)"):
        open_cell(again(cells.Zoneout(LeakyElman(), h=0.2)))


def test_other_equations_are_refused_with_the_line_that_differs() -> None:
    begin = "cells must hold JANET as it was saved, got one whose program "
    end = "; give the class as it was when the model was trained"
    with refused(
        f"{begin}has in line 5 of its step 'g = relu(a.g)', where 'g = tanh(a.g)' was saved{end}"
    ) as caught:
        open_cell(again(JANET()), [OTHER])
    assert "\n" not in str(caught.value)
    with refused(f"{begin}has in line 1 of its step"):
        open_cell(again(JANET()), [janet(gates=("g", "f"))])


def test_other_options_are_refused() -> None:
    record = again(TwoPhase(0.2))
    assert open_cell(record, [TwoPhase]) == TwoPhase(0.2)
    with refused(
        "cells must hold TwoPhase as it was saved, got one with slope=0.3, where 0.2 was saved;"
        " give the class as it was"
    ):
        open_cell(record, [TwoPhase(0.3)])
    less = dataclasses.make_dataclass("TwoPhase", [], bases=(Cell,), frozen=True)
    with refused("got one that cannot be made as tests.cells.zoo:TwoPhase(slope=0.2) (TypeError: "):
        open_cell(record, [less])
    with refused("got one with slope=none, where 0.2 was saved"):
        open_cell(record, [less()])

    class Plain(Cell):
        gates = ("n",)

        def __init__(self, slope: float) -> None:
            self.slope = slope

        def pointwise(self, a: Any, s: Any) -> dict[str, Tensor]:
            return dict(h=self.slope * a.n, n=a.n)

    with refused("give the cell itself, cells=[Plain(...)]"):
        open_cell(again(Plain(0.5)), [Plain])
    assert open_cell(again(Plain(0.5)), [cell := Plain(0.5)]) is cell


def test_other_random_factors_are_refused() -> None:
    record = again(Dropped())
    assert open_cell(record, [Dropped]) == Dropped()
    rarely = type("Dropped", (Dropped,), {"noises": lambda self: {"keep": Noise("h", zero=0.2)}})
    with refused(
        'whose random factors are {"keep": ["h", 0.2, 1.0, false]}, where {"keep": ["h", 0.1, 1.0,'
        " false]} were saved"
    ):
        open_cell(record, [rarely])
    never = type("Dropped", (Dropped,), {"noises": lambda self: {}})
    with refused("got one without the random factors that were saved"):
        open_cell(record, [never])
    twice = type(
        "Dropped",
        (Dropped,),
        {
            "pointwise": lambda self, a, s: dict(
                h=s.noise.get("keep", 1) * (n := tanh(a.n)) * 2 / 2, n=n
            )
        },
    )
    with refused("got one whose program has in line"):
        open_cell(record, [twice])


def test_a_derivative_written_in_another_way_is_no_difference() -> None:
    record = again(JANET())
    program = json.loads(record["program"])
    program["nodes"] += [["const", [], "", 0.25, 0, "hidden"]]
    open_cell(record | {"program": json.dumps(program)}, [JANET])


def test_a_cell_without_a_program_is_refused() -> None:
    summed = janet(pointwise=lambda self, a, s: dict(h=a.f.sum() * a.g, f=a.f, g=a.g))
    with refused(
        "cell must have a program to be saved with a model, got JANET(): pointwise must use"
        " elementwise operations only, got sum"
    ):
        record_cell(summed())
    with refused(
        "cells must hold JANET as it was saved, got one that makes no program (JANET(): pointwise"
        " must use"
    ):
        open_cell(again(JANET()), [summed])


@pytest.mark.parametrize("given", [JANET, JANET(), 3, None])
def test_cells_are_a_list(given: Any) -> None:
    with refused(f"cells must be a list of classes, or of cells, got {given!r}; write cells=[...]"):
        check_cells(given)


@pytest.mark.parametrize("given", [["JANET"], [torch.nn.GRU], [3]])
def test_cells_are_cells(given: Any) -> None:
    with refused(f"cells must be subclasses of recurra.Cell, or cells, got {given[0]!r}"):
        check_cells(given)


@pytest.mark.parametrize(
    "record",
    [
        3,
        None,
        {},
        {"class": "JANET"},
        {"class": "JANET", "options": "{", "program": "{}"},
        {"class": "JANET", "options": "{}", "program": "{}"},
    ],
    ids=str,
)
def test_another_record_is_refused(record: Any) -> None:
    with refused(
        "cell must be a name, or a class, its options and its program, got another record",
        DataError,
    ):
        open_cell(record, [JANET])


@pytest.mark.parametrize(
    "record",
    [
        1.5,
        {},
        {"class": "GRU", "options": "{"},
        {"class": "GRU", "options": "[1]"},
        {"class": "GRU", "options": 1},
    ],
)
def test_what_is_no_record_does_not_print(record: Any) -> None:
    with pytest.raises(
        DataError, match="^cell must be a name, or a class and its options, got another record"
    ):
        class_of(record)
