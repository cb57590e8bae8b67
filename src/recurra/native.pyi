"""The compiled module: scans of traced programs over raw arrays. Addresses are ints; 0 where there is none."""

from collections.abc import Sequence
from typing import Any

OPS: tuple[str, ...]
"""Operations by number."""
SOURCES: tuple[str, ...]
"""Kinds of source by number: where a section reads."""
OUTPUTS: tuple[str, ...]
"""Kinds of output by number: where a section writes."""

Source = tuple[int, int, int]
"""Kind, index (of the state, noise, param, constant or slot; the phase of a v), block of u or v."""
Instruction = tuple[int, int, int, int, int]
"""Op, register written, three arguments; an argument numbers the section's sources, then its registers."""
Output = tuple[int, int, int]
"""Value, kind, index of the slot or gate."""
Section = tuple[int, int, Sequence[Source], Sequence[Instruction], Sequence[Output]]
"""Width in units, registers, what it reads, does and writes."""
Product = tuple[bool, int, int, int, int, int, Sequence[int]]
"""Has a weight, first block, blocks, blocks of the weight, units of a block, units of the operand, norm groups."""
Phase = tuple[Sequence[Section], Product | None, Sequence[Section]]
"""Sections that make the operand, the product, sections that follow it."""

class Program:
    """A program as numbers, checked.

    Slots are values kept until a step ends; the first are the new states. `last` runs after all phases.
    """

    def __init__(
        self, *, hidden: int, gates: int, states: Sequence[int], noises: Sequence[int], params: Sequence[int],
        slots: Sequence[int], constants: Sequence[float], phases: Sequence[Phase], last: Sequence[Section],
    ) -> None: ...  # fmt: skip

def info() -> dict[str, Any]:
    """Version, instruction set chosen (`isa`) and those compiled (`isas`), compiler, tile and vector sizes."""

def forward(
    *, program: Program, dtype: str, sizes: tuple[int, int], reverse: bool, u: int, h: int,
    state: tuple[Sequence[int], Sequence[int], Sequence[int]], kept: tuple[Sequence[int], Sequence[int]],
    weights: Sequence[tuple[int, int, int]], noise: Sequence[tuple[int, bool]], params: Sequence[int],
    lengths: int, resets: int, pool: tuple[int, int],
) -> None:  # fmt: skip
    """Run a scan forward.

    `sizes` is (T, B); `state` the addresses of the first, the initial (empty without resets) and the final
    state; `kept` those of all states and gates, empty where not kept; `weights` by phase (weight, bias,
    gain); `noise` with whether it lasts the sequence; `pool` the address of GOMP_parallel and the threads.
    """
