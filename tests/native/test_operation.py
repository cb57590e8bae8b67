"""Every operation against torch, over the whole range of its arguments."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from recurra import native
from recurra.kernels.forward import forward
from recurra.program.evaluate import MEANING
from recurra.program.graph import BINARY, TERNARY, UNARY, Body, Derivative, Node, Program

SMOOTH = ("exp", "expm1", "log", "log1p", "sin", "cos", "erf", "tanh", "sigmoid")
ISAS = native.info()["isas"]
LOWER = ISAS[: ISAS.index(native.info()["isa"])]
ULPS = 2.05 if native.info()["isa"] in ("v2", "generic") else 2

EXACT = {
    **{name: getattr(np, name) for name in ("exp", "expm1", "log", "log1p", "tanh")},
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}
"""The functions that float64 has as vectors, for long doubles."""


def apply(op: str, args: list[Tensor]) -> Tensor:
    """One operation over a row of numbers, by a program whose new state it is."""
    names = "xyk"[: len(args)]
    nodes = (*(Node("noise", name=name) for name in names), Node(op, tuple(range(len(args)))))
    body = Body((), None, (len(args),))
    state = {"h": len(args)}
    program = Program(
        op,
        nodes,
        (body,),
        state,
        {"g": 0},
        tuple(names),
        (),
        (),
        (),
        Derivative((), {}, (), {}, {}, {}),
    )
    rows = [arg.reshape(1, 1, -1) for arg in args]
    width, dtype = rows[0].shape[-1], rows[0].dtype
    weights = {"weight_ih": torch.zeros(width, 1, dtype=dtype)}
    first = [torch.zeros(1, width, dtype=dtype)]
    return forward(
        program,
        weights,
        torch.zeros(1, 1, 1, dtype=dtype),
        first,
        noise=dict(zip(names, rows, strict=True)),
    )[0][0, 0]


def numbers(dtype: torch.dtype, count: int = 20011) -> Tensor:
    """Extremes, every magnitude of both signs (subnormal ones too), and the range where gates
    live.
    """
    generator = torch.Generator().manual_seed(5)
    info = torch.finfo(dtype)
    tiny, least = info.tiny, info.tiny * info.eps
    special = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        float("inf"),
        -float("inf"),
        float("nan"),
        info.max,
        info.min,
        tiny,
        -tiny,
        least,
        -least,
    ]
    integer = torch.int32 if dtype == torch.float32 else torch.int64
    limits = torch.iinfo(integer)
    bits = torch.randint(limits.min, limits.max, (count,), dtype=integer, generator=generator).view(
        dtype
    )
    near = torch.randn(count, dtype=dtype, generator=generator)
    around_one = 1 + near * 10.0 ** torch.randint(-6, 0, (count,), generator=generator)
    wide = torch.linspace(-110, 110, count, dtype=dtype)
    return torch.cat(
        [torch.tensor(special, dtype=dtype), bits, near, near * 1e-3, around_one.to(dtype), wide]
    )


def ulps(got: Tensor, exact: Tensor) -> Tensor:
    """Distance of float32 numbers from exact float64 ones, in units in the last place of the exact
    one.
    """
    size = exact.abs().clamp(torch.finfo(torch.float32).tiny, torch.finfo(torch.float32).max)
    spacing = torch.exp2(torch.floor(torch.log2(size))) * torch.finfo(torch.float32).eps
    return (got.double() - exact).abs() / spacing


@pytest.mark.parametrize("op", SMOOTH)
def test_smooth_function_in_float32_is_within_its_bound(op: str) -> None:
    x = numbers(torch.float32)
    got, exact = apply(op, [x]), MEANING[op](x.double())
    rounded = exact.float()
    usual = rounded.isfinite()
    torch.testing.assert_close(got[~usual], rounded[~usual], rtol=0, atol=0, equal_nan=True)
    assert usual.sum() > len(x) // 4
    assert ulps(got[usual], exact[usual]).max() <= ULPS


@pytest.mark.parametrize("op", SMOOTH)
def test_smooth_function_in_float64_equals_torch(op: str) -> None:
    x = numbers(torch.float64)
    torch.testing.assert_close(
        apply(op, [x]),
        MEANING[op](x),
        rtol=1e-15,
        atol=torch.finfo(torch.float64).tiny,
        equal_nan=True,
    )


@pytest.mark.parametrize("op", EXACT)
@pytest.mark.skipif(
    np.finfo(np.longdouble).nmant <= 52, reason="needs a long double of more digits"
)
def test_smooth_function_in_float64_is_within_its_bound(op: str) -> None:
    x = numbers(torch.float64)
    with np.errstate(all="ignore"):
        exact = EXACT[op](x.numpy().astype(np.longdouble))
        usual = np.isfinite(exact.astype(np.float64))
        size = np.maximum(np.abs(exact[usual]), np.finfo(np.float64).tiny)
    spacing = np.ldexp(np.longdouble(1), np.frexp(size)[1] - 53)
    assert usual.sum() > len(x) // 4
    assert (np.abs(apply(op, [x]).numpy()[usual] - exact[usual]) / spacing).max() <= ULPS + 0.05


@pytest.mark.parametrize("op", ["tanh", "sigmoid", "expm1", "log1p", "erf"])
def test_small_argument_keeps_its_digits(op: str) -> None:
    x = torch.logspace(-30, -1, 9001, dtype=torch.float64).float()
    x = torch.cat([x, -x])
    relative = (apply(op, [x]).double() / MEANING[op](x.double()) - 1).abs()
    assert relative.max() <= ULPS * torch.finfo(torch.float32).eps


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("op", ["tanh", "expm1", "log1p", "sin", "erf"])
def test_odd_function_keeps_the_sign_of_zero(op: str, dtype: torch.dtype) -> None:
    assert apply(op, [torch.tensor([-0.0, 0.0], dtype=dtype)]).signbit().tolist() == [True, False]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("op", [op for op in UNARY + BINARY + TERNARY if op not in SMOOTH])
def test_exact_operation_equals_torch(op: str, dtype: torch.dtype) -> None:
    x = numbers(dtype, 3001)
    y = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(6))]
    special = x[:14]
    x, y = torch.cat([x, special.repeat(14), x]), torch.cat([y, special.repeat_interleave(14), x])
    k = torch.where(torch.arange(len(x)) % 3 == 0, torch.zeros_like(x), y)
    args = [x] if op in UNARY else [x, y] if op in BINARY else [k, x, y]
    torch.testing.assert_close(apply(op, args), rounded(op, args), rtol=0, atol=0, equal_nan=True)


def rounded(op: str, args: list[Tensor]) -> Tensor:
    """The correctly rounded result: torch's, but for its float32 root, which is off by a unit at
    times.
    """
    if op != "sqrt":
        return MEANING[op](*args)
    with np.errstate(invalid="ignore"):
        return torch.from_numpy(np.sqrt(args[0].numpy()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("op", SMOOTH)
def test_result_does_not_depend_on_the_place_in_a_tile(op: str, dtype: torch.dtype) -> None:
    x = torch.linspace(-3, 3, 130, dtype=dtype)
    whole = apply(op, [x])
    for width in (1, 3, 15, 16, 17, 63, 64, 65, 130):
        torch.testing.assert_close(
            apply(op, [x[-width:].clone()]), whole[-width:], rtol=0, atol=0, equal_nan=True
        )


@pytest.mark.parametrize("isa", LOWER)
def test_lower_instruction_set_passes_the_same_tests(isa: str) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        __file__,
        "-k",
        "not lower",
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"RECURRA_ISA": isa}, timeout=250
    )
    assert done.returncode == 0, done.stdout
