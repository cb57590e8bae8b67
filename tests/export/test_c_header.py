"""C headers against the NumPy loop, by two compilers; what a header says, and what is refused."""

from __future__ import annotations

import dataclasses
import math
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from recurra import cells
from recurra.cells import Cell
from recurra.errors import ArgumentError, RunError
from recurra.export import to_c, write_c
from recurra.network import (
    ACTIVATIONS,
    Activation,
    Conv,
    LayerNorm,
    Linear,
    Matrix,
    Network,
    Residual,
)
from tests.cells.zoo import BOUNDED, CoupledLSTM
from tests.export.compiled import STRICT, Compiled, Rows, looped
from tests.kernels.scene import CELLS
from tests.network.nets import adaptive, every_kind, matrix, numbers, recurrent

EPS = float(np.finfo(np.float32).eps)
STEPS, STREAMS = 50, 2


class Alphabet(Cell):
    """A user's cell that uses every operation of a program."""

    state, gates = ("h",), ("p", "q")
    params = ("scale",)

    def pointwise(self, a: Any, s: Any) -> dict[str, Tensor]:
        p, q = a.p, a.u.q - a.v.q
        smooth = (
            torch.sin(p)
            + torch.cos(q)
            - torch.erf(p) * torch.sigmoid(q) / (torch.exp(torch.tanh(p)) + 1)
        )
        kinked = (
            torch.maximum(p, q)
            - torch.minimum(p, torch.neg(q))
            + torch.relu(q) * torch.sign(p)
            + torch.abs(q)
        )
        rooted = (
            torch.log(1 + p * p)
            + torch.log1p(q * q)
            + torch.sqrt(1 + torch.abs(p))
            + torch.expm1(-torch.abs(q))
        )
        chosen = torch.where(
            p > q,
            torch.where(p <= 1, smooth, rooted),
            torch.where(q >= 0.5, kinked, torch.where(p < -1, p, q)),
        )
        level = torch.where(p == q, p, torch.full_like(p, -0.25))
        return dict(h=torch.tanh(s.scale * chosen + 0.5 * s.h + level), p=p, q=q)


class Exponential(Cell):
    """h' = exp(a): for the accuracy of exp."""

    state, gates = ("h",), ("h",)

    def pointwise(self, a: Any, s: Any) -> dict[str, Tensor]:
        return dict(h=torch.exp(a.h))


class Distant(Cell):
    """A product of what is the same for all units and of a sum that no node holds; a state that
    never moves.
    """

    state, gates = ("h", "k"), ("a", "b")

    def phases(self) -> Any:
        first, second = Cell.phases(self)[0], Cell.phases(self)[0]
        return first._replace(gates=("a",), pointwise=self.open), second._replace(
            gates=("b",), pointwise=self.write, operand=lambda s: s.new.a
        )

    def open(self, a: Any, s: Any) -> Any:
        return dict(a=a.a)

    def write(self, a: Any, s: Any) -> Any:
        return dict(h=torch.tanh(a.b), k=s.k, b=a.b)


def alone(*layers: Any) -> Network:
    return Network(tuple(layers))


def conv(
    width: int, wide: int, kernel: int, dilation: int = 1, groups: int = 1, bias: bool = True
) -> Network:
    weight = matrix(wide, kernel * width // groups, seed=kernel)
    return alone(Conv(weight, numbers(wide) if bias else None, width, kernel, dilation, groups))


def networks() -> dict[str, Network]:
    """Small networks by name: every cell, every layer, every precision, odd sizes."""
    every = [*CELLS, CoupledLSTM(), Alphabet(), Distant(), *BOUNDED]
    found = {
        f"{cell!r} {i}": alone(recurrent(cell, 4, 5, learned=i % 2 == 1, biases=1 + i % 3 // 2))
        for i, cell in enumerate(every)
    }
    for cell, hidden in [
        (cells.LSTM(), 1),
        (cells.GRU(), 63),
        (cells.LSTM(), 130),
        (cells.LayerNormGRU(), 63),
        (cells.LayerNormLSTM(), 1),
    ]:
        found[f"{cell!r} of {hidden}"] = alone(recurrent(cell, 7, hidden))
    for kind in ACTIVATIONS:
        found[kind] = alone(Activation(kind, 5))
    found["norm"] = alone(LayerNorm(63, numbers(63), numbers(63, seed=1), 1e-3))
    found["bare norm"] = alone(LayerNorm(5))
    found["adaptive"] = alone(recurrent(cells.LSTM(), 4, 6), adaptive(6))
    found["adaptive int8"] = alone(
        recurrent(cells.GRU(), 4, 6), adaptive(6, 1, (2,), bias=False)
    ).quantised("int8")
    found["adaptive far apart"] = alone(Linear(Matrix(numbers(6, 4, scale=100.0))), adaptive(6))
    found["linear"] = alone(Linear(matrix(9, 5), numbers(9)), Linear(matrix(1, 9)))
    for sizes in [
        (4, 8, 1),
        (4, 8, 3),
        (4, 6, 4, 3),
        (4, 8, 2, 2, 2),
        (4, 8, 3, 2, 4),
        (5, 5, 3, 4, 5),
        (3, 3, 2, 1, 3, False),
    ]:
        found[f"conv {sizes}"] = conv(*sizes)
    inner = Residual((conv(6, 6, 3, 2).layers[0], recurrent(cells.LSTM(), 6, 6)))
    found["residuals"] = alone(
        Residual((inner, Activation("gelu", 6), recurrent(cells.GRU(), 6, 6, seed=9))),
        Linear(matrix(2, 6)),
    )
    mixed = alone(
        recurrent(cells.ProjectedLSTM(3), 4, 7),
        conv(3, 6, 3, 1, 3).layers[0],
        recurrent(cells.ResetBeforeGRU(), 6, 5),
        recurrent(cells.LayerNormGRU(), 5, 9),
        conv(9, 4, 2).layers[0],
    )
    for precision in ("float32", "bfloat16", "int8"):
        found[f"kinds {precision}"] = every_kind().quantised(precision)
        found[f"mixed {precision}"] = mixed.quantised(precision)
        found[f"depthwise {precision}"] = conv(5, 5, 3, 1, 5).quantised(precision)
        table = Network((every_kind().layers[0], *every_kind().layers[1:2])).quantised(precision)
        found[f"table {precision}"] = table
    return found


NETWORKS = networks()


def rows(network: Network, steps: int = STEPS, streams: int = STREAMS) -> Rows:
    drawn = np.random.default_rng(7)
    if network.reads_tokens:
        return drawn.integers(0, network.input_size, (steps, streams))
    return drawn.standard_normal((steps, streams, network.input_size)).astype(np.float32)


def held(network: Network, x: Rows, y: Rows, resets: Rows | None = None) -> None:
    exact, single = looped(network, x, resets), looped(network, x, resets, "float32")
    assert np.isfinite(exact).all()
    allowed = 2 * np.abs(single - exact).max() + 16 * EPS * max(1.0, np.abs(exact).max())
    difference = np.abs(y - exact).max()
    assert difference <= allowed, f"{difference:.2e} is more than {allowed:.2e}"


@pytest.fixture(scope="module", params=["gcc", "clang"])
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    return Compiled(NETWORKS, tmp_path_factory.mktemp(request.param), request.param)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_header_gives_what_the_loop_gives_two_states_side_by_side(
    compiled: Compiled, name: str
) -> None:
    network = NETWORKS[name]
    x = rows(network)
    held(network, x, compiled.run(name, x))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_state_is_reset_in_the_middle_and_the_other_goes_on(
    compiled: Compiled, name: str
) -> None:
    network = NETWORKS[name]
    x, resets = rows(network, 20), np.zeros((20, STREAMS), bool)
    resets[7, 0] = resets[8, 0] = resets[13, 1] = True
    y = compiled.run(name, x, resets)
    held(network, x, y, resets)
    if network.states:
        assert (y[7:, 0] != compiled.run(name, x)[7:, 0]).any()


@pytest.mark.parametrize("name", [name for name in NETWORKS if not NETWORKS[name].reads_tokens])
def test_nan_passes_through_and_stays_in_its_row(compiled: Compiled, name: str) -> None:
    network = NETWORKS[name]
    x = rows(network, 6)
    x[2, 0] = math.nan
    assert (np.isnan(compiled.run(name, x)) == np.isnan(looped(network, x))).all()


@pytest.mark.parametrize("name", [name for name in NETWORKS if not NETWORKS[name].reads_tokens])
def test_y_may_be_x(compiled: Compiled, name: str) -> None:
    x = rows(NETWORKS[name], 6)
    assert (compiled.run(name, x, in_place=True) == compiled.run(name, x)).all()


@pytest.mark.parametrize("name", ["kinds float32", "table int8"])
def test_a_token_out_of_range_is_refused_and_changes_nothing(compiled: Compiled, name: str) -> None:
    x = rows(NETWORKS[name], 9)
    wrong = np.array(x)
    wrong[4], wrong[6] = NETWORKS[name].input_size, -1
    y = compiled.run(name, wrong)
    kept = [0, 1, 2, 3, 5, 7, 8]
    assert np.isnan(y[[4, 6]][..., 0]).all()
    held(NETWORKS[name], x[kept], y[kept])


def specials() -> Rows:
    """Numbers over the whole range of floats, and where functions saturate, underflow and
    overflow.
    """
    edges = [
        0,
        1e-45,
        1e-38,
        1e-20,
        1e-4,
        0.17,
        0.35,
        1,
        8,
        9.01,
        16.6,
        17.4,
        87.3,
        88.72,
        88.73,
        95,
        103.9,
        104.1,
        200,
        3.4e38,
        math.inf,
    ]
    drawn = np.random.default_rng(0).standard_normal(3000) * np.exp(
        np.random.default_rng(1).uniform(-12, 4, 3000)
    )
    return np.float32([*edges, *(-np.float32(edges)), -0.0, math.nan, *drawn])


FUNCTIONS: dict[str, Callable[[Rows], Rows]] = {
    "tanh": np.tanh,
    "sigmoid": lambda x: np.where(x < 0, np.exp(np.minimum(x, 0)), 1) / (1 + np.exp(-np.abs(x))),
    "exp": np.exp,
}


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("flags", [("-O3",), ("-O3", "-march=native")], ids=["plain", "native"])
def test_tanh_sigmoid_and_exp_are_within_three_units_in_the_last_place(
    tmp_path: Path, compiler: str, flags: tuple[str, ...]
) -> None:
    one, zero = Matrix(np.float32([[1]])), Matrix(np.float32([[0]]))
    exp = dataclasses.replace(
        recurrent(Exponential(), 1, 1, learned=False),
        matrices={"weight_ih": one, "weight_hh": zero},
        vectors={},
    )
    made = Compiled(
        {
            "tanh": alone(Activation("tanh", 1)),
            "sigmoid": alone(Activation("sigmoid", 1)),
            "exp": alone(exp),
        },
        tmp_path,
        compiler,
        flags,
    )
    x = specials()
    for name, function in FUNCTIONS.items():
        y = made.run(name, x[None, :, None])[0, :, 0]
        with np.errstate(all="ignore"):
            exact = function(x.astype(np.float64))
            single = exact.astype(np.float32)
            unit = np.spacing(np.abs(single)).astype(np.float64)
        finite = np.isfinite(single)
        assert (np.abs(y[finite] - exact[finite]) <= 3 * unit[finite]).all(), name
        assert np.array_equal(y[~finite], single[~finite], equal_nan=True), name
        if name == "tanh":
            assert (np.signbit(y) == np.signbit(x))[~np.isnan(x)].all()


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_weights_come_back_exactly(tmp_path: Path, compiler: str) -> None:
    limits = np.finfo(np.float32)
    special = [
        1 / 3,
        -0.1,
        1e-45,
        -limits.tiny,
        limits.max,
        -limits.max,
        16777217.0,
        5.0,
        1e10,
        -0.0,
        123456789.0,
        1.00000012,
    ]
    weights = np.float32([*special, *numbers(300) * np.exp(numbers(300, seed=2) * 20)])[:, None]
    whole = Matrix(np.arange(-128, 128, dtype=np.int8)[:, None], np.full(256, 0.5, np.float32))
    halves = Matrix(np.arange(0, 0x7F80, 37, dtype=np.uint16)[:, None])
    kept = {"float32": Matrix(weights), "int8": whole, "bfloat16": halves}
    made = Compiled({name: alone(Linear(each)) for name, each in kept.items()}, tmp_path, compiler)
    for name, each in kept.items():
        assert np.array_equal(made.run(name, np.ones((1, 1, 1)))[0, 0], each.dense()[:, 0])


def test_no_memory_is_touched_that_is_not_its_own(tmp_path: Path) -> None:
    checked = (
        "-std=c99",
        "-fsanitize=address,undefined,float-cast-overflow",
        "-fno-sanitize-recover=all",
    )
    few = {
        name: net
        for name, net in NETWORKS.items()
        if re.search("LayerNormLSTM|ProjectedLSTM|Alphabet|Swap|conv|kinds|mixed|exp", name)
    }
    made = Compiled(few, tmp_path, "gcc", checked)
    for name, network in few.items():
        x = rows(network, 5)
        if network.reads_tokens:
            x[3] = 1 << 30
        elif network.input_size > 1:
            x[3, :, :2] = math.nan, math.inf
        made.run(name, x, np.arange(10).reshape(5, 2) == 4)


def test_it_is_cpp_too(tmp_path: Path) -> None:
    few = {
        name: NETWORKS[name]
        for name in ("LSTM() 2", "kinds int8", "kinds bfloat16", "mixed float32", "residuals")
    }
    made = Compiled(few, tmp_path, "g++", ("-std=c++11", *STRICT[1:]))
    for name, network in few.items():
        x = rows(network)
        held(network, x, made.run(name, x))


def test_nothing_is_allocated_and_nothing_but_weights_outlasts_a_call() -> None:
    for network in NETWORKS.values():
        text = to_c(network, "net")
        assert set(re.findall(r"#include (\S+)", text)) == {"<math.h>", "<stdint.h>"}
        assert set(re.findall(r"\bstatic (\w+)", text)) <= {"const", "inline"}
        assert text.isascii() and not re.search(r"\b(malloc|memcpy|memset)\b", text)


def test_shared_weights_are_written_once_and_a_lone_table_by_rows() -> None:
    text = to_c(every_kind(), "net")
    assert "net_l0_weight[66]" in text and "net_l6_weight" not in text
    assert "weight = net_l0_weight + token" in text
    assert "weight = net_l0_weight + (long)token * 6" in to_c(NETWORKS["table float32"], "net")


def test_only_functions_that_are_used_are_there() -> None:
    assert "net_tanh" not in to_c(NETWORKS["linear"], "net") and "net_exp" not in to_c(
        NETWORKS["tanh"], "net"
    )


def test_texts_of_others_end_no_comment() -> None:
    layer = recurrent(cells.Elman(), 2, 2)
    odd = dataclasses.replace(
        layer, program=dataclasses.replace(layer.program, cell="*/ int x; /* ??/ é \n '")
    )
    text = to_c(Network((odd,), facts={"licence": "MIT */"}))
    assert "Licence: MIT * /." in text and "* / int x; / * ? ?/ ? ? '" in text
    assert text.isascii() and "*/ int" not in text
    assert "Licence: *| MIT." in to_c(Network((odd,), facts={"licence": "*\\ MIT"}))


@pytest.mark.parametrize("name", ["", "1st", "my-net", "a b", "naïve", "_net", "net\n", 3])
def test_a_name_must_be_a_c_identifier(name: Any) -> None:
    with pytest.raises(
        ArgumentError,
        match=r"^name must be a C identifier, got .*; begin with a letter and use letters, digits",
    ):
        to_c(NETWORKS["linear"], name)


def test_weights_must_be_finite() -> None:
    for broken in (math.nan, math.inf):
        with pytest.raises(
            ArgumentError, match=rf"^l0_weight must be finite to be written in C, got {broken}$"
        ):
            to_c(alone(Linear(Matrix(np.float32([[1, broken]])))))
        with pytest.raises(ArgumentError, match=r"^l0_bias must be finite"):
            to_c(alone(Linear(matrix(1, 2), np.float32([broken]))))
    with pytest.raises(ArgumentError, match=r"^l0_weight must be finite"):
        to_c(alone(Linear(Matrix(np.uint16([[0x7F80]])))))
    with pytest.raises(
        ArgumentError, match=r"^l0_weight_scales must be finite|^l0_weight must be finite"
    ):
        to_c(alone(Linear(Matrix(np.int8([[1]]), np.float32([math.nan])))))


def test_a_file_is_what_to_c_gives_and_a_folder_that_is_not_there_is_refused(
    tmp_path: Path,
) -> None:
    write_c(NETWORKS["linear"], tmp_path / "net.h", name="net")
    assert (tmp_path / "net.h").read_text() == to_c(NETWORKS["linear"], "net")
    assert [path.name for path in tmp_path.iterdir()] == ["net.h"]
    with pytest.raises(
        RunError, match=r"^path must be a file that can be written, got '.*nowhere/net.h' \("
    ):
        write_c(NETWORKS["linear"], tmp_path / "nowhere" / "net.h")


FILES = {
    "gate.h": "gate",
    "2 nets.h": "model_2_nets",
    "naïve-é.h": "naive_e",
    "日本.h": "u65e5u672c",
    "for.h": "for",
    "a;b\n*.h": "a_b",
    "_x__y_.h": "x_y",
    "?.h": "model",
    "no_end": "no_end",
    "½.h": "model_12",
}


def programs(folder: Path, files: list[str], compiler: str) -> subprocess.CompletedProcess[str]:
    """A program that includes headers, runs a step of each and prints what comes out."""
    names = [FILES.get(file, Path(file).stem) for file in files]
    includes = "".join(f'#include "{number}.h"\n' for number, _ in enumerate(files))
    runs = "".join(
        f"    {{ {name}_state s; float x[{name.upper()}_INPUT_SIZE] = {{1}},"
        f" y[{name.upper()}_OUTPUT_SIZE]; {name}_init(&s); "
        f'{name}_step(&s, x, y); printf("%.6g\\n", y[0]); }}\n'
        for name in names
    )
    for number, file in enumerate(files):
        (folder / f"{number}.h").write_bytes(
            (folder / file).read_bytes()
        )  # what a compiler is given may have no odd letters
    main = folder / ("main.cpp" if "++" in compiler else "main.c")
    main.write_text(f"#include <stdio.h>\n{includes}int main(void)\n{{\n{runs}    return 0;\n}}\n")
    flags = STRICT if compiler == "gcc" else STRICT[1:]
    built = subprocess.run(
        [compiler, *flags, str(main), "-o", str(folder / "main"), "-lm"],
        capture_output=True,
        text=True,
    )
    return (
        subprocess.run([str(folder / "main")], capture_output=True, text=True)
        if built.returncode == 0
        else built
    )


@pytest.mark.parametrize("compiler", ["gcc", "g++"])
def test_headers_named_after_odd_files_stand_in_one_program(compiler: str, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    files = [file for file in FILES if file != "?.h"]
    networks = [alone(Linear(Matrix(np.float32([[number, 7]])))) for number, _ in enumerate(files)]
    for file, network in zip(files, networks):
        write_c(network, tmp_path / file)
    done = programs(tmp_path, files, compiler)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(number) for number, _ in enumerate(files)]


@pytest.mark.parametrize("file", FILES)
def test_a_file_names_what_is_in_it(file: str, tmp_path: Path) -> None:
    write_c(NETWORKS["linear"], tmp_path / file)
    assert (tmp_path / file).read_text() == to_c(NETWORKS["linear"], FILES[file])


def test_two_models_of_one_name_are_the_compilers_error(tmp_path: Path) -> None:
    """Under one guard the second would be passed over, and the first run in its place."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    for number, file in enumerate(("a b.h", "a-b.h", "again.h")):
        write_c(alone(Linear(Matrix(np.float32([[min(number, 1)]])))), tmp_path / file, name="a_b")
    (tmp_path / "a_b.h").write_bytes((tmp_path / "a b.h").read_bytes())
    assert "redefinition of" in programs(tmp_path, ["a_b.h", "a-b.h"], "gcc").stderr
    done = programs(tmp_path, ["a_b.h"], "gcc")
    assert (
        done.returncode == 0
        and (tmp_path / "a-b.h").read_text() == (tmp_path / "again.h").read_text()
    )
