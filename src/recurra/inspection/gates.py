"""What the gates do: how often they stand at an end of their range, and for how long they let the
state last.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recurra.cells import Cell, Wrapper
from recurra.check import check_number
from recurra.engine import Job
from recurra.inspection.example import example_of
from recurra.inspection.observe import observe_scans, reachable, rerun, undisturbed
from recurra.models.mode import evaluating
from recurra.wording import count_text

SATURATED = 0.01
"""A gate this near to an end of its range is saturated: the slope of a sigmoid there is a
twenty-fifth of its highest.
"""


class GateUse(NamedTuple):
    """What the gates of each scan do.

    Attributes:
        layers: the cell of each scan, in the order they ran.
        saturation: for each, by gate: the share of values within `margin` of 0 or 1 (a sigmoid's),
            of -1 or 1 (a tanh's); a gate without ends is left out.
        retention: for each, (H,): the share of the old state that a unit keeps at a step,
            `cell.retention(gates)`, as the geometric mean over steps and rows; None for a cell that
            keeps nothing by a gate.
        time_constants: for each, (H,): -1 / ln(retention), the steps in which a unit forgets all
            but 1/e of its state.
    """

    layers: tuple[str, ...]
    saturation: tuple[dict[str, float], ...]
    retention: tuple[Tensor | None, ...]
    time_constants: tuple[Tensor | None, ...]

    def __str__(self) -> str:
        lines = []
        for number, (name, shares, times) in enumerate(
            zip(self.layers, self.saturation, self.time_constants)
        ):
            said = [f"{gate} {share:.1%}" for gate, share in shares.items()]
            lasts = "" if times is None else f"; time constants of {quantiles_text(times)} steps"
            lines.append(f"layer {number} {name}: saturated {', '.join(said) or 'nothing'}{lasts}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        most, where = max(
            (
                (share, f"{gate} of layer {n}")
                for n, each in enumerate(self.saturation)
                for gate, share in each.items()
            ),
            default=(0.0, ""),
        )
        said = f"most saturated: {where}, {most:.1%}" if most else "no gate is saturated"
        return f"GateUse({count_text(len(self.layers), 'layer')}; {said})"

    def _repr_html_(self) -> str:
        from recurra.inspection.notebook import gates_html

        return gates_html(self)


def gate_use(
    model: nn.Module,
    batch: tuple[Any, ...] | None = None,
    *,
    inputs: Any = None,
    margin: float = SATURATED,
) -> GateUse:
    """Measure saturation, retention and time constants on a batch, as at evaluation; the model is
    left as it was.

    Args:
        model, batch, inputs: as for `gradient_flow`; a target is not needed.
        margin: how near an end counts as saturated, in (0, 0.5).

    Returns:
        The figures of every layer.

    Raises:
        ArgumentError: `margin` is outside its range, or as for `gradient_flow`.

    >>> use = gate_use(recurra.GRU(3, 4), (torch.randn(7, 2, 3),))
    >>> list(use.saturation[0]), use.time_constants[0].shape
    (['r', 'z', 'n'], torch.Size([4]))
    """
    check_number("margin", margin, 0, 0.5, "()")
    net, _ = reachable(model)
    with undisturbed(model), evaluating(net):
        seen = observe_scans(net, example_of(model, batch, inputs))
        gates = [kept_gates(each.job) for each in seen]
    kept = [retention(each.job.cell, found) for each, found in zip(seen, gates)]
    return GateUse(
        tuple(each.name for each in seen),
        tuple(saturation(each.job.cell, found, margin) for each, found in zip(seen, gates)),
        tuple(kept),
        tuple(None if share is None else time_constants(share) for share in kept),
    )


def kept_gates(job: Job) -> dict[str, Tensor]:
    """The gates of a scan by name, (N, width): all steps of all rows, without those past a row's
    length.
    """
    with torch.no_grad():
        gates = rerun(job, ("gates",)).gates
    return {
        name: (gate.flatten(0, 1) if job.valid is None else gate[job.valid]).double()
        for name, gate in zip(job.cell.gates, gates)
    }


def saturation(cell: Cell, gates: dict[str, Tensor], margin: float) -> dict[str, float]:
    """The share of each gate's values within a margin of an end of its range."""
    shares = {}
    for name, (low, high) in ranges(cell).items():
        if not math.isinf(high):
            values = gates[name]
            shares[name] = float(
                ((values < low + margin) | (values > high - margin)).double().mean()
            )
    return shares


def ranges(cell: Cell) -> dict[str, tuple[float, float]]:
    """The range of each gate, (0, 1), (-1, 1) or the whole line: found by steps with inputs far
    out.

    >>> ranges(recurra.cells.MinGRU())
    {'z': (0.0, 1.0), 'n': (-inf, inf)}
    """
    rows, units = 64, 4
    generator = torch.Generator().manual_seed(0)

    def far(*shape: int) -> Tensor:
        return 1e3 * torch.randn(shape, generator=generator, dtype=torch.float64)

    weights = {name: far(*shape) for name, shape in cell.weights(1, units).items()}
    state = cell.state_type()(
        *(far(rows, cell.width(name, units)) for name in cell.state), *[None] * len(cell.lasting())
    )
    _, gates = cell.step(weights, far(rows, units * len(cell.gates)), state)
    found = {}
    for name, values in zip(cell.gates, gates):
        low, high = float(values.min()), float(values.max())
        found[name] = (
            (0.0, 1.0)
            if low >= 0 and high <= 1
            else (-1.0, 1.0)
            if low >= -1 and high <= 1
            else (-math.inf, math.inf)
        )
    return found


def retention(cell: Cell, gates: dict[str, Tensor]) -> Tensor | None:
    """The geometric mean of what each unit keeps at a step, (H,); None where no gate says so.

    What is left after n steps is the product of n retentions, so their geometric mean is the rate
    of forgetting.
    """
    if not keeping(cell):
        return None
    shares = cell.retention(cell.gates_type()(**gates))
    return shares.clamp(0, 1).log().mean(0).exp()


def keeping(cell: Cell) -> dict[str, float]:
    """The gates that move a cell's retention, with the direction: 1 if more of the gate keeps more.

    >>> keeping(recurra.cells.LSTM()), keeping(recurra.cells.MinGRU()), keeping(
    ...     recurra.cells.Elman()
    ... )
    ({'f': 1.0}, {'z': -1.0}, {})
    """
    middle = {gate: torch.tensor(0.5) for gate in cell.gates}
    signs = {}
    try:
        usual = cell.retention(cell.gates_type()(**middle))
        for gate in cell.gates:
            change = float(
                cell.retention(cell.gates_type()(**(middle | {gate: torch.tensor(0.75)}))) - usual
            )
            if change:
                signs[gate] = math.copysign(1.0, change)
    except NotImplementedError:
        return {}
    return signs


def keeping_bias(job: Job) -> Tensor | None:
    """(H,), the biases of the gate that keeps the state, both together, turned so that more keeps
    more; None without one.
    """
    cell = job.cell
    while isinstance(cell, Wrapper):
        cell = cell.cell
    signs = keeping(cell)
    named = {name: cell.blocks(name) for name in ("bias_ih", "bias_hh") if name in job.weights}
    if len(signs) != 1 or not named:
        return None
    ((gate, sign),) = signs.items()
    biases = [
        job.weights[name].double().chunk(len(gates))[gates.index(gate)]
        for name, gates in named.items()
        if gate in gates
    ]
    return sign * torch.stack(biases).sum(0)


def time_constants(kept: Tensor) -> Tensor:
    """-1 / ln(retention), in steps: 0 where nothing is kept, infinite where all is.

    >>> time_constants(torch.tensor([0.0, 0.5, 1.0]))
    tensor([0.0000, 1.4427,    inf])
    """
    return (
        1 / kept.log().abs()
    )  # not -1 / log: 1 keeps all for ever, and -1 / log(1) is minus infinity


def quantiles_text(values: Tensor) -> str:
    """A tenth, the middle and nine tenths of some figures, as `1.2 / 3.4 / 5.6 (10 / 50 / 90
    %)`.
    """
    marks = torch.quantile(
        values.double(),
        torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64, device=values.device),
        interpolation="nearest",
    )
    return f"{' / '.join(f'{mark:.3g}' for mark in marks.tolist())} (10 / 50 / 90 % of units)"
