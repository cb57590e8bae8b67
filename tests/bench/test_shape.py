"""Sizes are read as they are written, and their work is counted."""

from __future__ import annotations

import pytest

from recurra.bench import Shape, parse_shape
from recurra.errors import ArgumentError


def test_the_work_is_that_of_every_product_of_forward_and_backward() -> None:
    products = [(3, 5), (5, 5), (5, 5), (5, 5)]  # (inputs, H): W_ih and W_hh of two layers
    forward = sum(2 * 7 * 2 * inputs * 4 * hidden for inputs, hidden in products)
    assert Shape(7, 2, 3, 5, 2).flop(gates=4) == 3 * forward


def test_a_shape_is_read_as_it_is_written() -> None:
    assert (
        parse_shape("35,20,200,200,2")
        == Shape(35, 20, 200, 200, 2)
        == parse_shape(str(Shape(35, 20, 200, 200, 2)))
    )
    assert parse_shape("1,2,3,4") == Shape(1, 2, 3, 4, 1)


@pytest.mark.parametrize(
    "text", ["", "1,2,3", "1,2,3,4,5,6", "0,2,3,4", "1,2,3,-4", "a,2,3,4", "1.5,2,3,4"]
)
def test_what_is_no_shape_is_refused(text: str) -> None:
    with pytest.raises(
        ArgumentError,
        match=(
            r"^shapes must be positive whole numbers T,B,I,H,layers, got '.*'; write"
            r" 64,32,512,512,2, for"
        ),
    ):
        parse_shape(text)


def test_a_small_piece_keeps_the_widths() -> None:
    assert Shape(200, 64, 31, 257, 2).small() == Shape(9, 5, 31, 257, 2)
    assert Shape(1, 2, 3, 4).small() == Shape(1, 2, 3, 4)
