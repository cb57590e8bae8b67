"""A program and its sizes as the native module's `Program`: every name a number, every value a
place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from recurra.errors import MissingDependency, ProgramError
from recurra.kernels.adjoint import Adjoint
from recurra.kernels.layout import Layout, read
from recurra.program.graph import Program
from recurra.program.weights import weights_of

if TYPE_CHECKING:
    from recurra import native

MOST_KEPT = 256
"""Encoded programs that are remembered."""


class Encoded(NamedTuple):
    """A program for the native module, and the names in the order in which it takes arrays.

    Attributes:
        native: the native program.
        program: what it was made from.
        hidden, input_size: H and I.
        widths: units of each state, by its name; "hidden" is H.
        states: each state's name with its units.
        noises, params: the names that are read, with their units.
        names: every weight that may be read, the params last; `shapes` are theirs, `needed` says
            which must be there.
        parts: weight, bias and gain of the input's product and of each native phase, as places in
            `names`; -1 for none.
    """

    native: native.Program
    program: Program
    hidden: int
    input_size: int
    widths: dict[str, int]
    states: tuple[tuple[str, int], ...]
    noises: dict[str, int]
    params: dict[str, int]
    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    needed: tuple[bool, ...]
    parts: tuple[tuple[int, int, int], ...]


_KEPT: dict[tuple[int, ...], Encoded] = {}


def encode(
    program: Program,
    hidden_size: int,
    widths: tuple[int, ...],
    input_size: int,
    noise_gradients: bool = False,
) -> Encoded:
    """Encode a program, its derivative too, for the native module.

    Args:
        program: the program.
        hidden_size: H.
        widths: units of each state, in the order of `program.state`.
        input_size: I.
        noise_gradients: whether a backward pass will find the gradients of noise; without, what
            only they need is left out.

    Returns:
        The encoded program; the same object for equal arguments.

    Raises:
        MissingDependency: the native module is not there.
        ProgramError: the program is larger than the native module takes, or its sizes do not fit
            together.

    >>> from recurra.cells import LSTM
    >>> from recurra.program import trace
    >>> code = encode(trace(LSTM()), 5, (5, 5), 3)
    >>> code.widths, code.native.saved_size
    ({'hidden': 5, 'h': 5, 'c': 5}, 20)
    """
    key = (id(program), hidden_size, input_size, noise_gradients, *widths)
    kept = _KEPT.get(key)
    if kept is None:
        kept = _encode(
            program,
            hidden_size,
            dict(zip(program.state, widths, strict=True)),
            input_size,
            noise_gradients,
        )
        if len(_KEPT) >= MOST_KEPT:
            _KEPT.clear()
        _KEPT[key] = kept
    return kept


def load_native() -> None:
    """Import the native module, or say how to get it.

    Raises:
        MissingDependency: it was not built; gives the command.
    """
    try:
        import recurra.native  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingDependency(
            "recurra.native must be built for this, got none; install recurra with a C++ compiler"
            " at hand: pip install --force-reinstall --no-deps recurra"
        ) from error


def _encode(
    program: Program, hidden: int, states: dict[str, int], input_size: int, noise_gradients: bool
) -> Encoded:
    load_native()
    from recurra import native

    widths = {"hidden": hidden} | states
    try:
        made = native.Program(**arguments(program, widths, input_size, noise_gradients))
    except ValueError as error:
        raise ProgramError(
            f"{program.cell}: the native module cannot run the program: {error}"
        ) from None
    noises, params = (read(program, kind, widths) for kind in ("noise", "param"))
    each = tuple((name, widths[name]) for name in program.state)
    return Encoded(
        made,
        program,
        hidden,
        input_size,
        widths,
        each,
        noises,
        params,
        *_weights(program, widths, input_size, params),
    )


def _weights(
    program: Program, widths: dict[str, int], input_size: int, params: dict[str, int]
) -> tuple[Any, Any, Any, Any]:
    """Names and shapes of the weights that are read, which must be there, and which belong to each
    product.
    """
    every = weights_of(program)
    found = {name: weight for name, weight in every.items() if name not in program.params} | {
        name: every[name] for name in params
    }
    places = {name: place for place, name in enumerate(found)}
    products: list[tuple[str | None, ...]] = [
        ("weight_ih", "bias_ih", "gain_ih" if program.input_norm else None)
    ]
    products += [
        (None, None, None) if body.product is None else body.product.vectors
        for body in program.bodies
    ]
    parts = tuple(tuple(places[name] if name else -1 for name in each) for each in products)
    shapes = tuple(weight.shape(widths, input_size) for weight in found.values())
    return tuple(found), shapes, tuple(weight.needed for weight in found.values()), parts


def arguments(
    program: Program, widths: dict[str, int], input_size: int, noise_gradients: bool = False
) -> dict[str, Any]:
    """What the native module's `Program` takes, by name; `widths` has that of each state and of
    "hidden".

    >>> from recurra.cells import GRU
    >>> from recurra.program import trace
    >>> arguments(trace(GRU()), {"hidden": 4, "h": 4}, 3)["saved"]
    [4, 4, 4, 4]
    """
    adjoint = Adjoint(program, widths, noise_gradients)
    layout = Layout(program, widths, adjoint.saved)
    gates, hidden = len(program.gates), widths["hidden"]
    return dict(
        hidden=hidden,
        gates=gates,
        states=[widths[name] for name in program.state],
        noises=list(read(program, "noise", widths).values()),
        params=list(read(program, "param", widths).values()),
        slots=layout.slot_widths,
        constants=adjoint.constants,
        input=(True, 0, gates, gates, hidden, input_size, list(program.input_norm)),
        phases=layout.phases(),
        last=layout.sections(None),
        saved=layout.saved_widths,
        backward=adjoint.encoded(),
    )
