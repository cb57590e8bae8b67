"""The sizes of a measurement."""

from __future__ import annotations

from typing import NamedTuple

from recurra.errors import ArgumentError


class Shape(NamedTuple):
    """T, B, I, H and the number of layers.

    >>> print(Shape(35, 20, 200, 200, 2))
    35, 20, 200, 200, 2
    >>> Shape(2, 3, 5, 7).flop(gates=4)  # 3 products, 2 operations each: 6 T B G H (I + H)
    12096
    """

    steps: int
    rows: int
    input_size: int
    hidden_size: int
    num_layers: int = 1

    def __str__(self) -> str:
        return ", ".join(map(str, self))

    def flop(self, gates: int) -> int:
        """Operations of one forward and backward: 3 * 2 * T * B * G * H * (I + H) a layer."""
        inputs = self.input_size + (self.num_layers - 1) * self.hidden_size
        return (
            6
            * self.steps
            * self.rows
            * gates
            * self.hidden_size
            * (inputs + self.num_layers * self.hidden_size)
        )

    def one_layer(self) -> Shape:
        """The same with one layer."""
        return self._replace(num_layers=1)

    def small(self) -> Shape:
        """A piece of the same widths, on which values are compared before anything is timed."""
        return self._replace(steps=min(self.steps, 9), rows=min(self.rows, 5))


def parse_shape(text: str) -> Shape:
    """Read `T,B,I,H` or `T,B,I,H,layers`.

    Raises:
        ArgumentError: it is not four or five positive whole numbers.

    >>> parse_shape("5,3,4,8,2")
    Shape(steps=5, rows=3, input_size=4, hidden_size=8, num_layers=2)
    """
    words = text.split(",")
    if len(words) not in (4, 5) or not all(
        word.strip().isdecimal() and int(word) > 0 for word in words
    ):
        raise ArgumentError(
            f"shapes must be positive whole numbers T,B,I,H,layers, got {text!r}; write"
            " 64,32,512,512,2, for example"
        )
    return Shape(*map(int, words))
