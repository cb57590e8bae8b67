"""What functions and methods do to a flow, by their names in a forward."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

from torch import Tensor

from recurra.errors import ConversionError
from recurra.export.torch_conv import convolved, cut, padded
from recurra.export.torch_flow import Flow, Path
from recurra.export.torch_layers import activated, embedded, multiplied, normed


class Zeros:
    """Zeros whose shape depends on the input's: a first state."""


class Shape(NamedTuple):
    """The shape of a flow."""

    flow: Flow


class Extent(NamedTuple):
    """The length of an axis, by the order of the input, and how much more than the input's it
    is.
    """

    axes: Mapping[str, str]
    more: int


INPUT_FREE = frozenset({"zeros", "zeros_like", "new_zeros"})
"""Functions whose values do not depend on the input."""
STILL_ZERO = frozenset(
    {
        "to",
        "type",
        "type_as",
        "float",
        "double",
        "half",
        "cpu",
        "cuda",
        "detach",
        "clone",
        "contiguous",
        "requires_grad_",
        "unsqueeze",
        "squeeze",
        "expand",
        "repeat",
        "view",
        "reshape",
        "transpose",
        "getitem",
    }
)
"""Functions that make zeros of zeros."""


def is_nothing(value: Any) -> bool:
    """Whether a value stands for a layer's own first state, zero."""
    if type(value) in (tuple, list):  # a state that another layer leaves is a tuple of its own kind
        return all(is_nothing(each) for each in value)
    return (
        value is None
        or isinstance(value, Zeros)
        or (isinstance(value, Tensor) and not value.is_meta and not bool(value.any()))
    )


def is_zero(called: str, args: tuple[Any, ...]) -> bool:
    """Whether a call gives zeros, whatever the input is."""
    return called in INPUT_FREE or (
        called in STILL_ZERO and bool(args) and isinstance(args[0], Zeros)
    )


def _activation(kind: str) -> Callable[..., Any]:
    return lambda path, name, x, inplace=False: activated(path, name, kind, x, kind)


def _gelu(path: Path, name: str, x: Flow, approximate: str = "none") -> Flow:
    return activated(path, name, "gelu" if approximate == "none" else "gelu_tanh", x, "gelu")


def _dropout(
    path: Path, name: str, x: Flow, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Flow:
    if training and p:
        raise ConversionError(
            f"{name} must drop out nothing at evaluation, got dropout with training=True; use"
            " training=self.training"
        )
    return x


def _same(path: Path, name: str, x: Any, *args: Any, **options: Any) -> Any:
    return x


def _add(path: Path, name: str, x: Any, y: Any, alpha: float = 1) -> Any:
    if isinstance(x, Flow) and isinstance(y, Flow) and alpha == 1:
        return path.sum(name, x, y)
    return _longer(x, y, 1)


def _sub(path: Path, name: str, x: Any, y: Any) -> Any:
    return _longer(x, y, -1)


def _longer(x: Any, y: Any, sign: int) -> Any:
    if sign > 0 and isinstance(y, Extent):
        x, y = y, x
    return (
        x._replace(more=x.more + sign * y)
        if isinstance(x, Extent) and isinstance(y, int)
        else NotImplemented
    )


def _transpose(path: Path, name: str, x: Flow, dim0: int, dim1: int) -> Flow:
    def move(count: int) -> list[int]:
        order = list(range(count))
        if max(abs(dim0 + 0.5), abs(dim1 + 0.5)) > count:
            return [count]
        order[dim0], order[dim1] = order[dim1], order[dim0]
        return order

    return path.moved(name, x, move)


def _permute(path: Path, name: str, x: Flow, *dims: Any) -> Flow:
    order = tuple(dims[0]) if isinstance(dims[0], (tuple, list)) else dims
    return path.moved(
        name, x, lambda count: [each % count for each in order] if len(order) == count else [count]
    )


def _size(path: Path, name: str, x: Flow, dim: int | None = None) -> Any:
    return Shape(x) if dim is None else _extent(x, dim)


def _extent(x: Flow, dim: int) -> Extent:
    axes = {order: now[dim] if -len(now) <= dim < len(now) else "" for order, now in x.axes.items()}
    return Extent(axes, x.early + x.late)


def _getattr(path: Path, name: str, x: Any, attribute: str) -> Any:
    if attribute == "shape" and isinstance(x, Flow):
        return Shape(x)
    if attribute in ("device", "dtype"):
        return None
    raise ConversionError(
        f"{name} must be made of layers that stream, got .{attribute} in its forward"
    )


def _getitem(path: Path, name: str, x: Any, index: Any) -> Any:
    if isinstance(x, Shape):
        return _extent(x.flow, index) if isinstance(index, int) else NotImplemented
    if not isinstance(x, Flow):
        return NotImplemented
    written = index if isinstance(index, tuple) else (index,)
    chosen = {order: _chosen(x.axes[order], written) for order in path.orders}
    counts = {order: _left_out(order, x, items) for order, items in chosen.items()}
    left = [order for order in path.orders if counts[order] is not None]
    if not left:
        raise ConversionError(
            f"{name} must give an output at each step, got the selection {_text(written)}; export"
            " the part before it"
        )
    path.orders = left
    return cut(name, x, int(counts[left[0]] or 0))


def _chosen(axes: str, index: tuple[Any, ...]) -> dict[str, Any] | None:
    """What an index takes from each axis, of those that it does not take whole."""
    dots = [place for place, item in enumerate(index) if item is Ellipsis]
    if dots:
        rest = len(axes) - len(index) + 1
        index = (*index[: dots[0]], *[slice(None)] * rest, *index[dots[0] + 1 :])
    if len(index) > len(axes):
        return None
    return {axis: item for axis, item in zip(axes, index) if item != slice(None)}


def _left_out(order: str, x: Flow, items: dict[str, Any] | None) -> int | None:
    """How many of the last steps a selection leaves out; None if it does anything else."""
    if items is None or not items.keys() <= {"T"}:
        return None
    if not items:
        return 0
    item = items["T"]
    if not isinstance(item, slice) or item.start not in (None, 0) or item.step not in (None, 1):
        return None
    if isinstance(item.stop, Extent):
        count = x.late + x.early - item.stop.more if item.stop.axes[order] == "T" else -1
    else:
        count = -item.stop if isinstance(item.stop, int) else -1
    return count if 0 <= count <= x.late and not x.early else None


def _text(index: tuple[Any, ...]) -> str:
    def one(item: Any) -> str:
        if item is Ellipsis:
            return "..."
        if not isinstance(item, slice):
            return repr(item) if isinstance(item, int) else type(item).__name__.lower()
        ends = [
            "" if end is None else str(end) if isinstance(end, int) else "n"
            for end in (item.start, item.stop, item.step)
        ]
        return ":".join(ends if ends[2] else ends[:2])

    return f"[{', '.join(map(one, index))}]"


def _pad(
    path: Path, name: str, x: Flow, pad: Any, mode: str = "constant", value: Any = None
) -> Flow:
    if mode != "constant":
        raise ConversionError(f"{name} must pad with zeros, got mode={mode!r}")
    return padded(path, name, x, pad, value)


def _linear(path: Path, name: str, x: Any, weight: Any, bias: Any = None) -> Any:
    return (
        multiplied(path, name, weight, bias, x)
        if isinstance(x, Flow) and isinstance(weight, Tensor)
        else NotImplemented
    )


def _matmul(path: Path, name: str, x: Any, weight: Any) -> Any:
    if not isinstance(x, Flow) or not isinstance(weight, Tensor) or weight.ndim != 2:
        return NotImplemented
    return multiplied(path, name, weight.T, None, x)


def _embedding(
    path: Path,
    name: str,
    x: Flow,
    weight: Tensor,
    padding_idx: Any = None,
    max_norm: Any = None,
    **rest: Any,
) -> Flow:
    if max_norm is not None:
        raise ConversionError(
            f"{name} must be an embedding without max_norm, got max_norm={max_norm}"
        )
    return embedded(path, name, weight, x)


def _layer_norm(
    path: Path,
    name: str,
    x: Flow,
    shape: Any,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
) -> Flow:
    return normed(
        path,
        name,
        SimpleNamespace(normalized_shape=tuple(shape), weight=weight, bias=bias, eps=eps),
        x,
    )


def _conv1d(
    path: Path, name: str, x: Flow, weight: Tensor, bias: Any = None, *given: Any, **named: Any
) -> Flow:
    options = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1} | named
    options |= dict(zip(("stride", "padding", "dilation", "groups"), given))
    sizes = {
        "kernel_size": weight.shape[2],
        **{key: options[key] for key in ("stride", "padding", "dilation")},
    }
    tuples = {key: (value,) if isinstance(value, int) else value for key, value in sizes.items()}
    return convolved(
        path,
        name,
        SimpleNamespace(
            weight=weight, bias=bias, groups=options["groups"], padding_mode="zeros", **tuples
        ),
        x,
    )


CALLS: dict[str, Callable[..., Any]] = {
    **{
        f"{kind}{end}": _activation(kind)
        for kind in ("relu", "tanh", "sigmoid")
        for end in ("", "_")
    },
    **dict.fromkeys(
        (
            "dropout",
            "alpha_dropout",
            "feature_alpha_dropout",
            "dropout1d",
            "dropout2d",
            "dropout3d",
        ),
        _dropout,
    ),
    **dict.fromkeys(
        (
            "contiguous",
            "clone",
            "detach",
            "to",
            "float",
            "double",
            "long",
            "type_as",
            "cpu",
            "cuda",
        ),
        _same,
    ),
    **dict.fromkeys(("transpose", "swapaxes", "swapdims"), _transpose),
    **dict.fromkeys(("add", "iadd", "add_"), _add),
    "gelu": _gelu,
    "sub": _sub,
    "permute": _permute,
    "size": _size,
    "getattr": _getattr,
    "getitem": _getitem,
    "pad": _pad,
    "linear": _linear,
    "matmul": _matmul,
    "embedding": _embedding,
    "layer_norm": _layer_norm,
    "conv1d": _conv1d,
}
