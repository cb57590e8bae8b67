"""Every figure of every layer, from one run of a model and a few of each layer alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recurra.inspection.example import Example
from recurra.inspection.flow import GONE, Reach, flow_norms, reach_of
from recurra.inspection.gates import (
    SATURATED,
    keeping,
    keeping_bias,
    kept_gates,
    quantiles_text,
    retention,
    saturation,
    time_constants,
)
from recurra.inspection.lag import E_FOLD, memory_length, norms_by_lag, steps_text
from recurra.inspection.loss import Cost
from recurra.inspection.observe import Seen, observe, reachable, undisturbed
from recurra.inspection.spectrum import spectral_radius
from recurra.models.mode import evaluating

STUCK = 1e-4
"""A gate this near to an end of its range is stuck, whatever it is for: a memory of 1000 steps
needs no nearer than 1e-3.
"""
GROWING = 2.0
"""Where a gradient grows to more than this, that it comes from afar says that the net is sensitive,
not that it remembers.
"""
VECTORS = 16
"""Random vectors a lag: the standard error of each norm is at most 18 % of it, and verdicts ask for
factors.
"""


@dataclass(frozen=True)
class LayerFigures:
    """What was measured of one scan of one layer.

    Attributes:
        number: its place among the scans, from 0.
        cell: the cell, and whether it ran backward.
        gated: whether a gate says how much of its state a unit keeps.
        flow: (T,), |dL/dh_t| of the loss of each row's last step, as `gradient_flow(...,
            loss_at="last step")` gives it.
        reach: how far back that counts.
        by_lag: by the name of the state, (T,), as `gradient_by_lag` gives it.
        saturation: by gate, the share of values within 0.01 of an end of the gate's range.
        stuck: the same, within 0.0001.
        retention, time_constants: (H,), as `gate_use` gives them; None without a gate that keeps.
        keeping_bias: the mean bias of the gate that keeps, turned so that more keeps more; None
            without one.
        spectral_radius: by gate, of the recurrent weights.
    """

    number: int
    cell: str
    gated: bool
    flow: Tensor
    reach: Reach
    by_lag: dict[str, Tensor]
    saturation: dict[str, float]
    stuck: dict[str, float]
    retention: Tensor | None
    time_constants: Tensor | None
    keeping_bias: float | None
    spectral_radius: dict[str, float]

    @property
    def short(self) -> str:
        """Its number in words."""
        return f"layer {self.number}"

    @property
    def name(self) -> str:
        """Its number and its cell."""
        return f"{self.short} {self.cell}"

    @property
    def steps(self) -> int:
        """T."""
        return len(self.flow)

    @property
    def strongest(self) -> Tensor:
        """(T,), the larger of the norms at each lag: h's or c's; NaN where no row has the lag."""
        stacked = torch.stack(list(self.by_lag.values()))
        return (
            torch.where(stacked.isnan(), -math.inf, stacked)
            .amax(0)
            .masked_fill(stacked.isnan().all(0), math.nan)
        )

    @property
    def peak(self) -> float:
        """The largest of those norms."""
        return float(self.strongest.nan_to_num(nan=0.0, posinf=math.inf).max())

    @property
    def middle_time(self) -> float | None:
        """The time constant of the middle unit, in steps."""
        return None if self.time_constants is None else float(self.time_constants.median())

    def kept(self, steps: int) -> float:
        """The share of the state that the gates keep over some steps: the root mean square over
        units.
        """
        return (
            math.nan
            if self.retention is None
            else float((self.retention ** (2 * steps)).mean().sqrt())
        )

    def memory(self, share: float = E_FOLD) -> float:
        """How long the gradient of the state lasts, in steps, as `memory_length`."""
        return memory_length(self.strongest, share)

    def memory_text(self, share: float = E_FOLD) -> str:
        """That in words; a gradient that grows without end shows no memory."""
        if math.isinf(self.memory(share)) and self.peak > GROWING:
            return f"cannot be read off: a gradient {self.growth_text()} on its way back"
        return steps_text(self.strongest, share)

    def growth_text(self) -> str:
        """What a growing gradient does, in words."""
        return (
            "stops being finite"
            if math.isinf(self.peak)
            else f"grows to {self.peak:.3g} times its size"
        )

    def __str__(self) -> str:
        said = [self.reach.text()]
        if math.isinf(self.memory()) and self.peak > GROWING:
            said.append(f"memory {self.memory_text()}")
        else:
            said.append(
                f"a gradient falls below 1/e after {self.memory_text()}, below 1 % after"
                f" {self.memory_text(GONE)}"
            )
        if self.time_constants is not None:
            said.append(f"time constants of gates {quantiles_text(self.time_constants)}")
        if self.saturation:
            said.append(
                "saturated "
                + ", ".join(f"{gate} {share:.1%}" for gate, share in self.saturation.items())
            )
        if self.spectral_radius:
            said.append(
                "spectral radius "
                + ", ".join(f"{gate} {radius:.3g}" for gate, radius in self.spectral_radius.items())
            )
        return f"{self.name}: {'; '.join(said)}"

    def __repr__(self) -> str:
        return f"LayerFigures({self.name}, {self.steps} steps)"

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON has them; null where a figure is not finite."""
        return {
            "name": self.name,
            "steps": self.steps,
            "reach_steps": finite(self.reach.steps),
            "memory_steps": finite(self.memory()),
            "gone_steps": finite(self.memory(GONE)),
            "flow": finite(self.flow),
            "by_lag": {name: finite(norms) for name, norms in self.by_lag.items()},
            "saturation": self.saturation,
            "stuck": self.stuck,
            "retention": finite(self.retention),
            "time_constants": finite(self.time_constants),
            "keeping_bias": finite(self.keeping_bias),
            "spectral_radius": {
                gate: finite(radius) for gate, radius in self.spectral_radius.items()
            },
        }


def finite(value: Any) -> Any:
    """A figure, or a list of a tensor's, with None for what is not finite, which JSON does not
    have.

    >>> finite(torch.tensor([1.0, float("inf")])), finite(None), finite(2.0)
    ([1.0, None], None, 2.0)
    """
    if isinstance(value, Tensor):
        return [finite(each) for each in value.tolist()]
    return value if value is None or math.isfinite(value) else None


class Measurement(NamedTuple):
    """What `measure` gives.

    Attributes:
        layers: the figures of each scan in the order they ran.
        cost, asked: as in `Observation`.
        unseen: by name, the modules that could not be seen into, with the reason.
    """

    layers: list[LayerFigures]
    cost: Cost
    asked: float | None
    unseen: dict[str, str]


def measure(model: nn.Module, example: Example) -> Measurement:
    """Measure every layer that runs, as at evaluation; the model is left as it was.

    Args:
        model: the model.
        example: what to run it on.

    Raises:
        ArgumentError, ShapeError: as for `gradient_flow`.
    """
    net, unseen = reachable(model)
    with undisturbed(model), evaluating(net):
        scans, cost, asked = observe(net, example, "last step")
        return Measurement(
            [_figures(number, each) for number, each in enumerate(scans)], cost, asked, unseen
        )


def _figures(number: int, seen: Seen) -> LayerFigures:
    job, gates = seen.job, kept_gates(seen.job)
    kept, bias = retention(job.cell, gates), keeping_bias(job)
    return LayerFigures(
        number=number,
        cell=seen.name,
        gated=bool(keeping(job.cell)),
        flow=flow_norms(seen.gradient["h"], job).cpu(),
        reach=reach_of(seen.gradient, job.resets, job.reverse),
        by_lag={state: norms.cpu() for state, norms in norms_by_lag(job, VECTORS, seed=0).items()},
        saturation=saturation(job.cell, gates, SATURATED),
        stuck=saturation(job.cell, gates, STUCK),
        retention=None if kept is None else kept.cpu(),
        time_constants=None if kept is None else time_constants(kept).cpu(),
        keeping_bias=None if bias is None else float(bias.mean()),
        spectral_radius=spectral_radius(job.cell, job.weights),
    )
