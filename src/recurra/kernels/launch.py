"""Arrays checked against a program and handed to the native module; for tensors and NumPy arrays alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from recurra.errors import ArgumentError, ShapeError, shape_text
from recurra.kernels.encode import Encoded
from recurra.program.graph import Product


@dataclass(frozen=True)
class Arrays:
    """The arrays of one scan, contiguous and of one dtype; (T, B, width) with the states in program order.

    Attributes:
        u: (T, B, G*H); that it has three axes is seen to before.
        h, final, states, gates: memory for what comes out; states and gates None where not asked for.
        state, initial: (B, width) each; `initial` may be None without resets.
        weights: by name.
        noise: by name, (T, B, width), or (B, width) for one that lasts the sequence.
        lengths: int64 (B,), or None.
        resets: bool (T, B), or None.
    """

    u: Any
    h: Any
    state: Sequence[Any]
    initial: Sequence[Any] | None
    final: Sequence[Any]
    states: Sequence[Any] | None
    gates: Sequence[Any] | None
    weights: Mapping[str, Any]
    noise: Mapping[str, Any] = field(default_factory=dict)
    lengths: Any = None
    resets: Any = None


def launch(code: Encoded, arrays: Arrays, dtype: str, address: Callable[[Any], int], reverse: bool, pool: tuple[int, int] = (0, 1)) -> None:
    """Run a scan into the arrays' own memory.

    Args:
        code: the encoded program.
        arrays: what goes in and comes out.
        dtype: "float32" or "float64".
        address: gives an array's address.
        reverse: from the last step to the first.
        pool: address of GOMP_parallel and the number of threads; 0 runs in this thread.

    Raises:
        ShapeError: an array does not fit the program; names it and both shapes.
        ArgumentError: a noise or a weight is missing.
    """
    from recurra import native

    check(code, arrays)

    def addresses(values: Sequence[Any] | None) -> list[int]:
        return [] if values is None else [address(value) for value in values]

    def one(value: Any) -> int:
        return 0 if value is None else address(value)

    parts = [used(body.product, arrays.weights) for body in code.program.bodies]
    native.forward(
        program=code.native, dtype=dtype, sizes=tuple(arrays.u.shape[:2]), reverse=reverse, u=address(arrays.u), h=address(arrays.h),
        state=(addresses(arrays.state), addresses(arrays.initial), addresses(arrays.final)),
        kept=(addresses(arrays.states), addresses(arrays.gates)),
        weights=[(one(weight), one(bias), one(gain)) for weight, bias, gain in parts],
        noise=[(address(arrays.noise[name]), arrays.noise[name].ndim == 2) for name in code.noises],
        params=[address(arrays.weights[name]) for name in code.params],
        lengths=one(arrays.lengths), resets=one(arrays.resets), pool=pool,
    )  # fmt: skip


def used(product: Product | None, weights: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """The weight, bias and gain that a product reads, None for each that it has not."""
    if product is None:
        return None, None, None
    weight = None if product.weight is None else weights.get(product.weight)
    adds = bool(product.norm) or product.weight == "weight_hh"
    return weight, weights.get(product.bias) if adds else None, weights.get(product.gain or "") if product.norm else None


def names(code: Encoded) -> list[str]:
    """The names of the weights that the scan reads where they are there."""
    products = [body.product for body in code.program.bodies if body.product]
    return [name for p in products for name in (p.weight, p.bias, p.gain) if name] + list(code.params)


def check(code: Encoded, arrays: Arrays) -> None:
    """Raise if an array does not have the shape that the native module will read."""
    if arrays.resets is not None and arrays.initial is None:
        raise ArgumentError("initial must be given with resets, got None")
    for name, array, shape in _wanted(code, arrays):
        if tuple(array.shape) != shape:
            raise ShapeError(f"{name} must have shape {shape_text(shape)}, got {shape_text(array.shape)}")


def _wanted(code: Encoded, arrays: Arrays) -> Iterator[tuple[str, Any, tuple[int, ...]]]:
    """Each array with its name and the shape that it must have."""
    steps, rows = arrays.u.shape[:2]
    yield "u", arrays.u, (steps, rows, len(code.program.gates) * code.hidden)
    for number, (name, width) in enumerate((name, code.widths[name]) for name in code.program.state):
        yield f"state.{name}", arrays.state[number], (rows, width)
        if arrays.initial is not None:
            yield f"initial.{name}", arrays.initial[number], (rows, width)
    if arrays.lengths is not None:
        yield "lengths", arrays.lengths, (rows,)
    if arrays.resets is not None:
        yield "resets", arrays.resets, (steps, rows)
    for name, width in code.noises.items():
        if name not in arrays.noise:
            raise ArgumentError(f"noise must hold {name!r}, got {', '.join(arrays.noise) or 'nothing'}; the program was traced with it")
        factor = arrays.noise[name]
        yield f"noise[{name!r}]", factor, (rows, width) if factor.ndim == 2 else (steps, rows, width)
    yield from _wanted_weights(code, arrays.weights)


def _wanted_weights(code: Encoded, weights: Mapping[str, Any]) -> Iterator[tuple[str, Any, tuple[int, ...]]]:
    for product in (body.product for body in code.program.bodies):
        if product is not None:
            unit, reads = code.widths[product.width], code.widths[product.reads]
            weight, bias, gain = used(product, weights)
            if product.weight is not None and weight is None:
                raise ArgumentError(f"weights must hold {product.weight!r}, got {', '.join(weights) or 'nothing'}")
            size = (product.total if product.weight else len(product.gates)) * unit
            parts = ((product.weight, weight, (size, reads)), (product.bias, bias, (size,)), (product.gain, gain, (size,)))
            yield from ((str(name), array, shape) for name, array, shape in parts if array is not None)
    for name, width in code.params.items():
        if name not in weights:
            raise ArgumentError(f"weights must hold {name!r}, got {', '.join(weights) or 'nothing'}")
        yield name, weights[name], (width,)
