"""Matrices and their precisions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recurra.errors import ArgumentError, DtypeError, ShapeError
from recurra.network import Matrix
from tests.network.nets import matrix, numbers


def test_bfloat16_rounds_as_torch_does() -> None:
    values = np.concatenate(
        [numbers(50, 7), numbers(50, 7) * 1e-39, numbers(50, 7) * np.float32(3e37)]
    )
    wanted = torch.from_numpy(values).bfloat16().float().numpy()
    assert np.array_equal(Matrix(values).quantised("bfloat16").dense(), wanted)


def test_int8_is_within_half_a_step_of_each_row() -> None:
    values = numbers(20, 33) * np.float32(10.0) ** np.arange(-10, 10, dtype=np.float32)[:, None]
    kept = Matrix(values).quantised("int8")
    assert np.abs(kept.values).max(1).tolist() == [127] * 20
    assert (
        np.abs(kept.dense() - values) <= np.abs(values).max(1, keepdims=True) / 127 * 0.5001
    ).all()


def test_a_row_of_zeros_and_one_of_the_smallest_stay() -> None:
    tiny = np.float32([[0, 0], [1e-45, -1e-45], [1e-38, 2e-38]])
    kept = Matrix(tiny).quantised("int8").dense()
    assert np.isfinite(kept).all() and not kept[0].any() and np.abs(kept - tiny).max() < 1e-37


def test_quantising_twice_changes_nothing_and_bytes_shrink() -> None:
    kept = matrix(8, 16).quantised("int8")
    assert kept.quantised("int8") is kept
    assert (
        matrix(8, 16).nbytes == 512
        and matrix(8, 16).quantised("bfloat16").nbytes == 256
        and kept.nbytes == 128 + 32
    )
    assert np.array_equal(kept.quantised("float32").dense(), kept.dense())


@pytest.mark.parametrize(
    ("values", "scales", "error", "text"),
    [
        (
            np.zeros((2, 2)),
            None,
            DtypeError,
            "values must be float32, uint16 (bfloat16) or int8, got float64",
        ),
        (
            np.zeros(2, np.float32),
            None,
            ShapeError,
            "values must have shape (rows, columns), each at least 1, got (2,)",
        ),
        (
            np.zeros((0, 2), np.float32),
            None,
            ShapeError,
            "values must have shape (rows, columns), each at least 1, got (0, 2)",
        ),
        (
            np.zeros((2, 2), np.int8),
            None,
            ArgumentError,
            "scales must be given with int8 and only then, got int8 and False",
        ),
        (
            np.zeros((2, 2), np.int8),
            np.ones(3, np.float32),
            ShapeError,
            "scales must be float32 of shape (2,), got float32 (3,)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(
    values: np.ndarray, scales: np.ndarray | None, error: type[Exception], text: str
) -> None:
    with pytest.raises(error) as raised:
        Matrix(values, scales)
    assert str(raised.value) == text


def test_what_is_not_finite_is_not_quantised() -> None:
    with pytest.raises(
        ArgumentError, match="weights must be finite to be kept as int8, got some that are not"
    ):
        Matrix(np.float32([[np.nan]])).quantised("int8")
    with pytest.raises(ArgumentError, match="precision must be one of .* got 'int4'"):
        matrix(2, 2).quantised("int4")


def test_weights_that_overflow_are_infinite_without_a_warning() -> None:
    assert np.isinf(Matrix(np.int8([[127]]), np.float32([3e38])).dense()).all()
