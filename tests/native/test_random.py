"""Random factors against Philox4x32-10 written anew, on every instruction set and number of
threads.
"""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from recurra import native
from recurra.kernels.launch import ALONE, Pool
from recurra.kernels.pool import pool

KEY = 0x0123456789ABCDEF
DTYPES = {"float32": torch.float32, "float64": torch.float64}


def philox(counter: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """Blocks of counters (N, 4), by the paper's ten rounds in whole numbers of any size."""
    a, b, c, d = (counter[:, i].astype(object) for i in range(4))
    low, high = key
    for _ in range(10):
        first, second = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = (
            (second >> 32) ^ b ^ low,
            second & 0xFFFFFFFF,
            (first >> 32) ^ d ^ high,
            first & 0xFFFFFFFF,
        )
        low, high = (low + 0x9E3779B9) & 0xFFFFFFFF, (high + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack([a, b, c, d], axis=1)


def numbers(count: int, key: int) -> list[int]:
    """Number 64 g + 16 w + b is word w of block 16 g + b."""
    groups = -(-count // 64)
    counter = np.zeros((16 * groups, 4), object)
    counter[:, 0] = np.arange(16 * groups)
    blocks = philox(counter, (key & 0xFFFFFFFF, key >> 32)).reshape(groups, 16, 4)
    return list(blocks.transpose(0, 2, 1).reshape(-1)[:count])


def draw(
    count: int,
    zero: int,
    value: float = 1.0,
    key: int = KEY,
    dtype: str = "float32",
    threads: Pool = ALONE,
) -> torch.Tensor:
    """Factors with a guard on both sides, which must stay as it was."""
    memory = torch.full((count + 32,), 7.0, dtype=DTYPES[dtype])
    native.draw(
        address=memory[16:].data_ptr(),
        count=count,
        dtype=dtype,
        zero=zero,
        value=value,
        key=key,
        pool=threads,
    )
    assert (memory[:16] == 7).all() and (memory[16 + count :] == 7).all()
    return memory[16 : 16 + count]


def test_the_reference_gives_the_published_answers() -> None:
    ones, digits = 0xFFFFFFFF, (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)
    answers = {
        ((0, 0, 0, 0), (0, 0)): (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8),
        ((ones,) * 4, (ones, ones)): (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
        (digits, (0xA4093822, 0x299F31D0)): (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    }
    for (counter, key), answer in answers.items():
        assert tuple(philox(np.array([counter], object), key)[0]) == answer


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 130, 1000])
def test_a_factor_is_zero_where_its_number_is_below_the_threshold(count: int, dtype: str) -> None:
    found = numbers(count, KEY)
    for zero in (0, 1, *found[:5], *(number + 1 for number in found[:5]), 2**31, 2**32 - 1, 2**32):
        expected = [0.0 if number < zero else 1.25 for number in found]
        assert draw(count, zero, 1.25, dtype=dtype).tolist() == expected


def test_other_keys_give_other_numbers() -> None:
    drawn = [draw(500, 2**31, key=key) for key in (0, 1, 2**32, 2**63 - 1)]
    for number, one in enumerate(drawn):
        assert all(200 < int((one != other).sum()) < 300 for other in drawn[:number])


def test_threads_and_instruction_sets_draw_the_same() -> None:
    count = 1 << 20
    with_threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        lent = pool()
    finally:
        torch.set_num_threads(with_threads)
    alone = draw(count + 5, 2**30)
    assert torch.equal(draw(count + 5, 2**30, threads=lent), alone)
    script = (
        "import torch\nfrom recurra import native\nfrom recurra.kernels.launch import ALONE\nx ="
        f" torch.zeros({count + 5})\nnative.draw(address=x.data_ptr(), count={count + 5},"
        f" dtype='float32', zero=2**30, value=1.0, key={KEY},"
        " pool=ALONE)\nprint(x.numpy().tobytes().hex()[:20000], int(x.sum()))"
    )
    for isa in native.info()["isas"]:
        if isa == native.info()["isa"]:
            break
        told = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "RECURRA_ISA": isa},
        ).stdout
        assert told.split() == [alone.numpy().tobytes().hex()[:20000], str(int(alone.sum()))], isa


def test_the_share_of_zeros_is_the_probability() -> None:
    for probability in (0.01, 0.3, 0.9):
        count = 1_000_000
        zeros = int((draw(count, round(probability * 2**32)) == 0).sum())
        assert (
            abs(zeros - probability * count) < 5 * (count * probability * (1 - probability)) ** 0.5
        )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"count": -1}, "count must be at least 0"),
        ({"zero": -1}, "zero must be at least 0"),
        ({"zero": 2**32 + 1}, "zero must be"),
        ({"dtype": "float16"}, "dtype"),
        ({"address": 0}, "address"),
        ({"count": 2**34 + 1}, "count must be at least 0"),
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, object], message: str) -> None:
    memory = torch.zeros(4)
    given = dict(
        address=memory.data_ptr(), count=4, dtype="float32", zero=5, value=1.0, key=1, pool=ALONE
    )
    with pytest.raises((ValueError, TypeError, RuntimeError), match=message):
        native.draw(**{**given, **wrong})  # type: ignore[arg-type]
