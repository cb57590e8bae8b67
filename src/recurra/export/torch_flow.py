"""What becomes of a module's input: the layers that it goes through, and in which order its axes
lie there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from recurra.errors import ConversionError, shape_text
from recurra.export.torch_weights import Weights
from recurra.network import Layer, Residual

ORDERS = ("TBC", "BTC", "BCT", "BC", "TB", "BT", "B")
"""How a module may take its input: time, batch and channels; tokens have no channels, one step has
no time.
"""


@dataclass(frozen=True, eq=False)
class Flow:
    """A value that depends on the input.

    Args:
        layers: through which the input has gone.
        axes: for each order in which the module may take its input, the order of this value's axes.
        early: zeros put before the first step, for a convolution to come.
        late: steps too many at the end, after a convolution that padded both sides.
    """

    layers: tuple[Layer, ...]
    axes: Mapping[str, str]
    early: int = 0
    late: int = 0


class WidthUnknown(ConversionError):
    """An elementwise function comes first, and nothing says how wide the input is."""


class Path:
    """Leads flows through layers, and learns from them in which order the module takes its input.

    Args:
        orders: those that are possible.
        width: of the input, where it is known.

    Attributes:
        pasts: of what was put before a flow, the first inputs of a convolution, in which order its
            axes lie for each of the input's.
        states: flows that are what a cell gives and its next state in one.
    """

    def __init__(self, orders: Sequence[str] = ORDERS, width: int | None = None) -> None:
        self.orders, self.width, self.weights = list(orders), width, Weights()
        self.pasts: list[Mapping[str, str]] = []
        self.states: list[Flow] = []

    def begin(self) -> Flow:
        """The input itself."""
        return Flow((), {order: order for order in self.orders})

    def narrow(self, name: str, flow: Flow, fits: Callable[[str], bool], need: str) -> None:
        """Keep the orders in which a layer can read a flow.

        Raises:
            ConversionError: there is none: `name` must `need`.
        """
        left = [order for order in self.orders if order in flow.axes and fits(flow.axes[order])]
        if not left:
            raise ConversionError(
                f"{name} must {need}, got {shape_text(flow.axes[self.orders[0]])}"
            )
        self.orders = left

    def width_of(self, flow: Flow) -> int | None:
        """Channels of a flow, where they are known."""
        return flow.layers[-1].widths[1] if flow.layers else self.width

    def then(self, name: str, flow: Flow, *layers: Layer, pointwise: bool = True) -> Flow:
        """A flow after more layers; those that carry a state must see every step, and no other."""
        self.check_whole(name, flow, late=not pointwise)
        return replace(flow, layers=(*flow.layers, *layers))

    def check_whole(self, name: str, flow: Flow, late: bool = True) -> None:
        """Raise where a flow has more steps than the input."""
        if flow.early:
            raise ConversionError(
                f"{name} must be a Conv1d after padding in time, got something else after"
                f" {flow.early} zeros"
            )
        if flow.late and late:
            raise ConversionError(
                f"{name} must read as many steps as came in, got {flow.late} more; cut off [...,"
                f" :-{flow.late}]"
            )

    def moved(self, name: str, flow: Flow, move: Callable[[int], Sequence[int]]) -> Flow:
        """A flow with its axes in another order; `move` says which, for so many axes."""
        axes = {order: _moved(flow.axes[order], move) for order in self.orders}
        self.narrow(name, flow, lambda now: _moved(now, move) != "", "have the axes that it moves")
        return replace(flow, axes={order: axes[order] for order in self.orders})

    def relabelled(
        self, name: str, flow: Flow, change: Callable[[str, str], str | None], need: str
    ) -> Flow:
        """A flow whose axes are called otherwise, in each order of the input; where `change` gives
        None they cannot be.
        """
        axes = {order: change(flow.axes[order], order) for order in self.orders}
        left = {order: now for order, now in axes.items() if now is not None}
        if not left:
            raise ConversionError(
                f"{name} must {need}, got {shape_text(flow.axes[self.orders[0]])}"
            )
        self.orders = list(left)
        return replace(flow, axes=left)

    def sum(self, name: str, one: Flow, other: Flow) -> Flow:
        """x + f(x), in either order.

        Raises:
            ConversionError: neither is made of the other.
        """
        before, after = sorted((one, other), key=lambda flow: len(flow.layers))
        count = len(before.layers)
        rest = after.layers[count:]
        if any(mine is not theirs for mine, theirs in zip(before.layers, after.layers)):
            raise ConversionError(
                f"{name} must add to x what layers make of that x, got a sum of two that both went"
                " through layers"
            )
        if not rest:
            raise ConversionError(f"{name} must add to x what layers make of that x, got x + x")
        for flow in (before, after):
            self.check_whole(name, flow)
        self.narrow(name, after, lambda now: "C" in now, "add features")
        same = [order for order in self.orders if before.axes[order] == after.axes[order]]
        if not same:
            axes = (shape_text(flow.axes[self.orders[0]]) for flow in (before, after))
            raise ConversionError(
                f"{name} must add values whose axes lie alike, got {' and '.join(axes)}"
            )
        self.orders = same
        return replace(after, layers=(*before.layers, Residual(rest)))


def _moved(axes: str, move: Callable[[int], Sequence[int]]) -> str:
    try:
        return "".join(axes[number] for number in move(len(axes)))
    except IndexError:
        return ""


def led(
    walk: Callable[[Path], Flow], orders: Sequence[str], widths: Mapping[str, int]
) -> tuple[Path, Flow]:
    """The way through a model, and what comes out of it.

    Args:
        walk: leads the input along a path.
        orders: in which the model may take its input.
        widths: of the input by its order, asked where no layer tells it.

    Raises:
        ConversionError: something on the way cannot be taken.
    """
    try:
        return _whole(walk, Path(orders))
    except WidthUnknown:
        if not widths:
            raise
    failed: list[ConversionError] = []
    for width in dict.fromkeys(widths.values()):
        try:
            return _whole(
                walk, Path([order for order in orders if widths.get(order) == width], width)
            )
        except ConversionError as error:
            failed.append(error)
    raise failed[0]


def _whole(walk: Callable[[Path], Flow], path: Path) -> tuple[Path, Flow]:
    flow = walk(path)
    if not flow.layers:
        raise ConversionError("module must hold layers that compute something, got none")
    path.check_whole("what follows module", flow)
    return path, flow
