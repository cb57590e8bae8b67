"""`scan` on NumPy arrays: the native driver, and nothing of PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from recurra.errors import ArgumentError, DtypeError, ShapeError, choice_text, shape_text
from recurra.kernels.encode import encode
from recurra.kernels.launch import Arrays, Made, gather, launch
from recurra.program.graph import Program
from recurra.runtime.arrays import refuse_mask

Array = npt.NDArray[Any]
DTYPES = {np.dtype("float32"): "float32", np.dtype("float64"): "float64"}

State = dict[str, Array]


def scan(
    program: Program,
    weights: Mapping[str, Array],
    x: Array,
    state: Mapping[str, Array] | None = None,
    *,
    lengths: Any = None,
    resets: Any = None,
    reverse: bool = False,
) -> tuple[Array, State]:
    """Run a cell's program over a sequence.

    Args:
        program: the program of a cell at evaluation, from `recurra.program.from_json`.
        weights: by name, as the cell lists them; `initial_h` (H,) and so on make the first state
            learned.
        x: (T, B, I), float32 or float64, as the weights.
        state: the state to begin with, by name, (B, width) each; the layer's own (zero or learned)
            if None.
        lengths: (B,), steps of each row. Past them the state is held, the output is zero, x is
            never read.
        resets: (T, B) bool: step t begins a new segment of that row, from the layer's own state.
        reverse: run from each row's own last step to its first.

    Returns:
        h (T, B, width of h), and the final state by name.

    Raises:
        ShapeError, DtypeError, ArgumentError: an argument does not fit; names it and both sides.
        MissingDependency: the native module is not there.

    >>> from recurra.program import Body, Derivative, Node, Product
    >>> nodes = (
    ...     Node("state", name="h"),
    ...     Node("u", name="h"),
    ...     Node("v", name="h"),
    ...     Node("add", (1, 2)),
    ...     Node("tanh", (3,)),
    ... )
    >>> product = Product(0, ("h",), "weight_hh", "bias_hh", None, (), 0, 1, "hidden", "hidden")
    >>> body = Body((), product, (3, 4))
    >>> program = Program(
    ...     "Elman()",
    ...     nodes,
    ...     (body,),
    ...     {"h": 4},
    ...     {"h": 4},
    ...     (),
    ...     (),
    ...     (),
    ...     (),
    ...     Derivative((), {}, (), {}, {}, {}),
    ... )
    >>> h, state = scan(
    ...     program, {"weight_ih": np.eye(2), "weight_hh": np.zeros((2, 2))}, np.zeros((3, 1, 2))
    ... )
    >>> h.shape, state["h"]
    ((3, 1, 2), array([[0., 0.]]))
    """
    if program.noise:
        raise ArgumentError(
            "program must be that of a cell at evaluation, got one with noise"
            f" {', '.join(program.noise)}"
        )
    x = _array("x", x)
    read = _weights(program, weights, x)
    if x.ndim != 3:
        raise ShapeError(
            f"x must have shape (T, B, {read['weight_ih'].shape[1]}), got {shape_text(x.shape)}"
        )
    rows = x.shape[1]
    hidden = read["weight_ih"].shape[0] // len(program.gates)
    widths = state_widths(program, read)
    initial = [
        _initial(read.get(f"initial_{name}"), name, rows, width, x.dtype)
        for name, width in widths.items()
    ]
    first = initial if state is None else _first(program, state, x.dtype)
    code = encode(program, hidden, tuple(widths.values()), read["weight_ih"].shape[1])
    made = Made(
        np.empty((*x.shape[:2], next(iter(widths.values()))), x.dtype),
        [np.empty((rows, width), x.dtype) for width in widths.values()],
    )
    arrays = Arrays(
        x,
        first,
        initial,
        gather(code, read),
        (),
        _lengths(lengths, len(x)),
        _resets(resets),
        reverse,
    )
    launch(code, arrays, made, DTYPES[x.dtype], _place)
    return made.h, dict(zip(program.state, made.final, strict=True))


def state_widths(program: Program, weights: Mapping[str, Array]) -> dict[str, int]:
    """Units of each state, read off the weights' shapes.

    Raises:
        ProgramError, ShapeError: the weights do not tell.
    """
    units = {"hidden": weights["weight_ih"].shape[0] // len(program.gates)}
    for product in (body.product for body in program.bodies):
        if product and product.weight and product.weight in weights:
            rows, columns = _two(product.weight, weights[product.weight])
            units.setdefault(product.width, rows // product.total)
            units.setdefault(product.reads, columns)
    symbols = {node.name: node.width for node in program.nodes if node.op == "state"}
    found = {
        name: symbols.get(name, program.nodes[number].width)
        for name, number in program.state.items()
    }
    for name, symbol in found.items():
        if symbol not in units:
            raise ShapeError(
                f"weights must tell the width of {name}, got none that reads or makes it"
            )
    return {name: units[symbol] for name, symbol in found.items()}


def _two(name: str, weight: Array) -> tuple[int, int]:
    if weight.ndim != 2:
        raise ShapeError(f"{name} must have shape (rows, columns), got {shape_text(weight.shape)}")
    return weight.shape[0], weight.shape[1]


def _place(array: Array) -> tuple[int, int]:
    return array.__array_interface__["data"][0], array.size


def _array(name: str, value: Any) -> Array:
    if not isinstance(value, np.ndarray):
        raise DtypeError(
            f"{name} must be a NumPy array, got {type(value).__name__}; use numpy.asarray"
        )
    refuse_mask(name, value)
    if value.dtype not in DTYPES:
        raise DtypeError(
            f"{name} must be float32 or float64, got {value.dtype}; use {name}.astype('float32')"
        )
    return np.ascontiguousarray(value)


def _same(name: str, value: Any, dtype: np.dtype[Any]) -> Array:
    array = _array(name, value)
    if array.dtype != dtype:
        raise DtypeError(
            f"{name} must have the dtype of x, {dtype}, got {array.dtype}; use"
            f" astype({str(dtype)!r})"
        )
    return array


def _weights(program: Program, weights: Mapping[str, Array], x: Array) -> dict[str, Array]:
    """The weights, contiguous, after looking at dtype and at what must be there."""
    read = {name: _same(name, value, x.dtype) for name, value in weights.items()}
    if "weight_ih" not in read:
        raise ArgumentError(f"weights must hold 'weight_ih', got {', '.join(read) or 'nothing'}")
    rows, _ = _two("weight_ih", read["weight_ih"])
    if rows == 0 or rows % len(program.gates):
        raise ShapeError(
            f"weight_ih must have rows for {len(program.gates)} gates of one size, got {rows}"
        )
    return read


def _initial(
    learned: Array | None, name: str, rows: int, width: int, dtype: np.dtype[Any]
) -> Array:
    """The layer's own first state: learned where there is one, else zero."""
    if learned is None:
        return np.zeros((rows, width), dtype)
    if learned.shape != (width,):
        raise ShapeError(
            f"initial_{name} must have shape ({width},), got {shape_text(learned.shape)}"
        )
    return np.ascontiguousarray(np.broadcast_to(learned, (rows, width)))


def _first(program: Program, state: Mapping[str, Array], dtype: np.dtype[Any]) -> list[Array]:
    for name in state:
        if name not in program.state:
            raise ArgumentError(choice_text("state", name, program.state))
    for name in program.state:
        if name not in state:
            raise ArgumentError(f"state must hold {name!r}, got {', '.join(state) or 'nothing'}")
    return [_same(f"state.{name}", state[name], dtype) for name in program.state]


def _lengths(lengths: Any, steps: int) -> Array | None:
    if lengths is None:
        return None
    refuse_mask("lengths", lengths)
    array = np.array(
        lengths
    )  # copied before it is looked at: another thread may write into the caller's
    if array.dtype.kind not in "iu":
        raise DtypeError(f"lengths must be whole numbers, got {array.dtype}")
    if array.size and (array.min() < 0 or array.max() > steps):
        raise ArgumentError(
            f"lengths must be between 0 and T = {steps}, got"
            f" {array.min() if array.min() < 0 else array.max()}"
        )
    return np.ascontiguousarray(array, np.int64)


def _resets(resets: Any) -> Array | None:
    if resets is None:
        return None
    refuse_mask("resets", resets)
    array = np.asarray(resets)
    if array.dtype != np.bool_:
        raise DtypeError(
            f"resets must be bool, True where a step begins a new segment, got {array.dtype}"
        )
    return np.ascontiguousarray(array)
