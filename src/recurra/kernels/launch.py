"""Arrays checked against a program and handed to the native module; for tensors and NumPy arrays
alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from recurra.errors import ArgumentError, ShapeError, shape_text
from recurra.kernels.encode import Encoded

Pool = tuple[int, int, int, int]
"""Addresses of GOMP_parallel, omp_get_num_threads and omp_get_thread_num, and the number of
threads.
"""
ALONE: Pool = (0, 0, 0, 1)
"""No pool: the scan runs in the calling thread."""


class Arrays(NamedTuple):
    """What one scan reads, contiguous and of one dtype; states in program order, (B, width) each.

    Attributes:
        x: (T, B, I).
        state, initial: the state to begin with, and that a reset gives; `initial` is empty without
            resets.
        weights: in the order of the encoded program's `names`, None for one that is not there.
        noise: in the order of its `noises`, (T, B, width), or (B, width) for one that lasts the
            sequence.
        lengths: int64 (B,), or None.
        resets: bool (T, B), or None.
        reverse: from the last step to the first.
    """

    x: Any
    state: Sequence[Any]
    initial: Sequence[Any]
    weights: Sequence[Any]
    noise: Sequence[Any] = ()
    lengths: Any = None
    resets: Any = None
    reverse: bool = False


class Made(NamedTuple):
    """Memory for what a scan gives back, and what its backward pass reads again.

    Attributes:
        h: (T, B, width of h).
        final: (B, width) each.
        states, gates: (T, B, width) each; empty, or None for a state, where not asked for.
        saved: (T, B, numbers that the program saves), or None.
        held: whether `states` are also written past a row's length.
    """

    h: Any
    final: Sequence[Any] = ()
    states: Sequence[Any] = ()
    gates: Sequence[Any] = ()
    saved: Any = None
    held: bool = False


Array = tuple[int, int]
"""Where an array begins, and how many numbers lie there; (0, 0) for none."""
NONE: Array = (0, 0)


class Wanted(NamedTuple):
    """Gradients that a backward pass is given (of h, of the final state, of every step's states) or
    makes; None where not.

    `weights` and `noise` are in the order of `Arrays`; of those that a backward pass is given, both
    are empty.
    """

    x: Any
    state: Sequence[Any]
    initial: Sequence[Any]
    weights: Sequence[Any] = ()
    noise: Sequence[Any] = ()


def launch(
    code: Encoded,
    arrays: Arrays,
    made: Made,
    dtype: str,
    place: Callable[[Any], Array],
    pool: Pool = ALONE,
) -> None:
    """Run a scan into the memory of `made`.

    Args:
        code: the encoded program.
        arrays: what goes in.
        made: what comes out.
        dtype: "float32" or "float64".
        place: gives where an array begins, and how many numbers it has.
        pool: the threads to run on.

    Raises:
        ShapeError: an array does not fit the program; names it and both shapes.
        ArgumentError: a weight or the initial state is missing.
    """
    from recurra import native

    check(code, arrays)

    def at(values: Sequence[Any]) -> list[Array]:
        return [NONE if value is None else place(value) for value in values]

    native.forward(
        h=place(made.h),
        state=(at(arrays.state), at(arrays.initial), at(made.final)),
        kept=(at(made.states), at(made.gates)),
        held=made.held,
        saved=NONE if made.saved is None else place(made.saved),
        **_common(code, arrays, dtype, place, pool),
    )


def launch_backward(
    code: Encoded,
    arrays: Arrays,
    made: Made,
    given: Wanted,
    wanted: Wanted,
    dtype: str,
    place: Callable[[Any], Array],
    pool: Pool = ALONE,
) -> None:
    """Run a scan's derivative into the memory of `wanted`.

    Args:
        code, arrays, dtype, place, pool: as for `launch`; `arrays` are not checked again.
        made: what the scan left behind; without `saved`, it is found again.
        given: the gradients of what the scan gave back; its `initial` are those of every step's
            states.
        wanted: where the gradients go; its `weights` sum over all steps and rows.
    """
    from recurra import native

    def at(values: Sequence[Any]) -> list[Array]:
        return [NONE if value is None else place(value) for value in values]

    dweights = [*at(wanted.weights), NONE]
    native.backward(
        h=place(made.h),
        state=(at(arrays.state), at(arrays.initial)),
        states=at(made.states),
        saved=NONE if made.saved is None else place(made.saved),
        given=(at([given.x])[0], at(given.state), at(given.initial)),
        wanted=(
            at([wanted.x])[0],
            at(wanted.state),
            at(wanted.initial),
            [(dweights[i], dweights[j], dweights[k]) for i, j, k in code.parts],
            at(wanted.noise),
            dweights[len(code.names) - len(code.params) : -1],
        ),
        **_common(code, arrays, dtype, place, pool),
    )


def _common(
    code: Encoded, arrays: Arrays, dtype: str, place: Callable[[Any], Array], pool: Pool
) -> dict[str, Any]:
    """What both passes are told."""
    weights = [NONE if weight is None else place(weight) for weight in arrays.weights]
    params = weights[len(code.names) - len(code.params) :]
    weights.append(NONE)
    return dict(
        program=code.native,
        dtype=dtype,
        sizes=(arrays.x.shape[0], arrays.x.shape[1]),
        reverse=arrays.reverse,
        x=place(arrays.x),
        weights=[(weights[i], weights[j], weights[k]) for i, j, k in code.parts],
        noise=[(place(noise), noise.ndim == 2) for noise in arrays.noise],
        params=params,
        lengths=NONE if arrays.lengths is None else place(arrays.lengths),
        resets=NONE if arrays.resets is None else place(arrays.resets),
        pool=pool,
    )


def gather(code: Encoded, weights: Mapping[str, Any]) -> list[Any]:
    """The weights that the program reads, in its order; None for one that may be missing and is.

    Raises:
        ArgumentError: a weight is missing.
    """
    found = [weights.get(name) for name in code.names]
    for name, value, needed in zip(code.names, found, code.needed):
        if needed and value is None:
            raise ArgumentError(
                f"weights must hold {name!r}, got {', '.join(weights) or 'nothing'}"
            )
    return found


def gather_noise(code: Encoded, noise: Mapping[str, Any]) -> list[Any]:
    """The noise that the program reads, in its order.

    Raises:
        ArgumentError: one is missing.
    """
    for name in code.noises:
        if name not in noise:
            raise ArgumentError(
                f"noise must hold {name!r}, got {', '.join(noise) or 'nothing'}; the program was"
                " traced with it"
            )
    return [noise[name] for name in code.noises]


def check(code: Encoded, arrays: Arrays) -> None:
    """Raise if an array does not have the shape that the native module will read."""
    if len(arrays.x.shape) != 3 or arrays.x.shape[2] != code.input_size:
        raise ShapeError(
            f"x must have shape (T, B, {code.input_size}), got {shape_text(arrays.x.shape)}"
        )
    steps, rows, _ = arrays.x.shape
    if len(arrays.state) != len(code.states) or len(arrays.initial) not in (0, len(code.states)):
        counts = f"{len(arrays.state)} and {len(arrays.initial) or 'no'}"
        raise ShapeError(
            f"state and initial must hold {', '.join(code.program.state)}, got {counts} values"
        )
    for kind, values in (("state", arrays.state), ("initial", arrays.initial)):
        for (name, width), value in zip(code.states, values):
            _check_shape(kind, value, (rows, width), name)
    if arrays.resets is not None:
        if not arrays.initial:
            raise ArgumentError("initial must be given with resets, got None")
        _check_shape("resets", arrays.resets, (steps, rows))
    if arrays.lengths is not None:
        _check_shape("lengths", arrays.lengths, (rows,))
    if len(arrays.noise) != len(code.noises) or len(arrays.weights) != len(code.names):
        counts = f"{len(arrays.noise)} and {len(arrays.weights)} values"
        raise ArgumentError(
            f"noise and weights must hold {', '.join((*code.noises, *code.names))}, got {counts}"
        )
    for (name, width), factor in zip(code.noises.items(), arrays.noise):
        _check_shape(
            "noise",
            factor,
            (rows, width) if len(factor.shape) == 2 else (steps, rows, width),
            repr(name),
        )
    for name, shape, needed, weight in zip(code.names, code.shapes, code.needed, arrays.weights):
        if weight is not None:
            _check_shape(name, weight, shape)
        elif needed:
            raise ArgumentError(f"weights must hold {name!r}, got none")


def _check_shape(kind: str, value: Any, shape: tuple[int, ...], name: str = "") -> None:
    if value.shape != shape:
        what = f"{kind}[{name}]" if name[:1] == "'" else f"{kind}.{name}" if name else kind
        raise ShapeError(
            f"{what} must have shape {shape_text(shape)}, got {shape_text(value.shape)}"
        )
