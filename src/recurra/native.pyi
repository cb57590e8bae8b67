"""The compiled module: scans of traced programs over raw arrays, each an address and its length,
which is held to what is read there.
"""

from collections.abc import Sequence
from typing import Any

UNPACKED: int
"""Rows times steps up to which the forward pass reads the weights as they are."""
OPS: tuple[str, ...]
"""Operations by number."""
SOURCES: tuple[str, ...]
"""Kinds of source by number: where a section reads. A step reads the first seven, its derivative
all but u and v.
"""
OUTPUTS: tuple[str, ...]
"""Kinds of output by number: where a section writes. A step writes the first four, its derivative
slots, operands and the rest.
"""

Source = tuple[int, int, int]
"""Kind, index (of the state, noise, param, constant, slot or saved value; the phase of a v or an
operand), block of u or v.
"""
Instruction = tuple[int, int, int, int, int]
"""Op, register written, three arguments; an argument numbers the section's sources, then its
registers.
"""
Output = tuple[int, int, int]
"""Value, kind, index (of the slot, gate, saved value, block, state, noise or param)."""
Section = tuple[int, int, Sequence[Source], Sequence[Instruction], Sequence[Output]]
"""Width in units, registers, what it reads, does and writes."""
Product = tuple[bool, int, int, int, int, int, Sequence[int]]
"""Has a weight, first block, blocks, blocks of the weight, units of a block, units of the operand,
norm groups.
"""
Phase = tuple[Sequence[Section], Product | None, Sequence[Section]]
"""Sections that make the operand, the product, sections that follow it."""
BackwardPhase = tuple[int, Sequence[Section], Sequence[Section], int, Sequence[Section]]
"""Phase, sections that make its operand again, sections before the product's own derivative, the
first block of u whose gradients are those of v (-1: they are written apart, -2: there are none),
sections after it.
"""
Backward = tuple[Sequence[int], Sequence[BackwardPhase], Sequence[Section]]
"""Widths of its own slots, the phases in the order in which they run, sections that run last."""
Pool = tuple[int, int, int, int]
"""Addresses of GOMP_parallel, omp_get_num_threads and omp_get_thread_num, and the threads; without
the first, one thread.
"""
Array = tuple[int, int]
"""Where an array begins and how many numbers it has; (0, 0) where there is none. Any other length
than what is read raises ValueError.
"""
Weights = Sequence[tuple[Array, Array, Array]]
"""Weight, bias and gain of the input's product and of each phase: the whole tensors."""

class Memory:
    """Bytes, aligned to a page, that go back to be used again when this is dropped."""

    def __init__(self, bytes: int) -> None: ...
    @property
    def address(self) -> int:
        """Where they begin."""

def memory_kept() -> int:
    """Bytes that lie ready to be used again: at most 256 MB."""

def release_memory() -> None:
    """Give what lies ready back to the system."""

class Program:
    """A program as numbers, checked.

    Slots are values kept until a step ends; the first are the new states. `last` runs after all
    phases. `saved` are the widths of the values that a step keeps for `backward`.
    """

    def __init__(
        self,
        *,
        hidden: int,
        gates: int,
        states: Sequence[int],
        noises: Sequence[int],
        params: Sequence[int],
        slots: Sequence[int],
        constants: Sequence[float],
        input: Product,
        phases: Sequence[Phase],
        last: Sequence[Section],
        saved: Sequence[int],
        backward: Backward | None,
    ) -> None: ...
    @property
    def saved_size(self) -> int:
        """Numbers that a step keeps of one row for `backward`, those of norms among them."""

def info() -> dict[str, Any]:
    """Version, instruction set chosen (`isa`) and those compiled (`isas`), compiler, tile and
    vector sizes.
    """

def fma_peak(seconds: float, pool: Pool) -> float:
    """Multiplications and additions of floats that the pool's threads reach together, in 1e9 a
    second.
    """

def draw(
    *, address: int, count: int, dtype: str, zero: int, value: float, key: int, pool: Pool
) -> None:
    """Write random factors: each 0 with probability `zero` / 2^32, else `value`.

    Factor i is 0 where its number is below `zero`. With i = 64 g + 16 w + b that is word w of the
    block that Philox4x32-10 makes of the counter (16 g + b, 0, 0, 0) and the key (`key` mod 2^32,
    `key` / 2^32): it depends on `key` and i alone, not on the threads or the instruction set.
    `count` is at most 2^34.

    Source: Salmon et al. (2011), "Parallel random numbers: as easy as 1, 2, 3",
        doi:10.1145/2063384.2063405.
    """

def forward(
    *,
    program: Program,
    dtype: str,
    sizes: tuple[int, int],
    reverse: bool,
    x: Array,
    h: Array,
    state: tuple[Sequence[Array], Sequence[Array], Sequence[Array]],
    kept: tuple[Sequence[Array], Sequence[Array]],
    held: bool,
    saved: Array,
    weights: Weights,
    noise: Sequence[tuple[Array, bool]],
    params: Sequence[Array],
    lengths: Array,
    resets: Array,
    pool: Pool,
) -> None:
    """Run a scan forward.

    `sizes` is (T, B); `state` the first, the initial (empty without resets) and the final state;
    `kept` all states (none for one that is not kept, the first is h) and gates, empty where none
    are kept; `held` whether states are written past a row's length; `saved` (T, B, saved_size),
    none where nothing follows; `noise` with whether it lasts the sequence; `lengths` int64 in 0..T,
    `resets` bytes: both are copied before they are looked at.
    """

def backward(
    *,
    program: Program,
    dtype: str,
    sizes: tuple[int, int],
    reverse: bool,
    x: Array,
    h: Array,
    state: tuple[Sequence[Array], Sequence[Array]],
    states: Sequence[Array],
    saved: Array,
    weights: Weights,
    noise: Sequence[tuple[Array, bool]],
    params: Sequence[Array],
    lengths: Array,
    resets: Array,
    pool: Pool,
    given: tuple[Array, Sequence[Array], Sequence[Array]],
    wanted: tuple[
        Array, Sequence[Array], Sequence[Array], Weights, Sequence[Array], Sequence[Array]
    ],
) -> None:
    """Run a scan's derivative; arguments as for `forward`, `states` and `saved` as it left them
    (none: found again).

    `given` are the gradients of h, of the final state and of every step's states; `wanted` is where
    those of x, the first and the initial state, the weights, noise and params go: each is written
    whole, none where it is not wanted.
    """

KINDS: tuple[str, ...]
"""Kinds of a model's layers by number."""

class Model:
    """A network with its weights packed, for sessions.

    Layers are (kind, in, out, weights, gains, biases, params, program, (function, kernel, dilation,
    groups), eps, layers inside); a weight (precision, the values, int8's scales, the bias, rows,
    columns), arrays as in `Array`. Of a recurrent layer the first weight, gain and bias are the
    input product's, then one each for every native phase. `keep` lives as long as the model.
    """

    def __init__(self, layers: list[Any], keep: list[Any]) -> None: ...
    @property
    def bytes(self) -> int:
        """Of the packed weights."""

class Session:
    """Rows that stream through a model; one thread at a time."""

    def __init__(self, model: Model, batch: int, make: Any, dtype: Any, reads: Any) -> None:
        """`make(shape, dtype)` gives float32 arrays for what comes out: numpy.empty; `reads` is the
        dtype of what goes in.
        """
    def push(self, x: Any, check: bool) -> Any:
        """Run one step (B, ...) or several (T, B, ...) of float32 features or int64 tokens, and
        give back the outputs.

        A number where nothing was done: -1, x is not of that kind or shape; -2, another thread is
        here; t * B + b of the first not finite (looked for if `check`) or of the first token beyond
        the table; -3 - b, row b's state or output is no longer finite (if `check`). One step's
        array is used again once nobody else has it.
        """
    @property
    def busy(self) -> bool:
        """Whether a thread is in it."""
    def enter(self) -> bool:
        """Take the turn; false if another thread has it."""
    def leave(self) -> None:
        """Give the turn back."""
    def state(self, i: int) -> Any:
        """Array i of the state, float32 (B, width), zero at first; its memory is the session's."""

def bandwidth(bytes: int, seconds: float) -> float:
    """How fast one thread reads memory of that size again and again, in 1e9 bytes a second."""
