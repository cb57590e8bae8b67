"""How far back a state still matters: the Jacobian of a state by an earlier one, by the lag between
them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recurra.cells import Probed
from recurra.cells.wrappers import probe_name
from recurra.check import check_number, check_whole
from recurra.engine import Job
from recurra.inspection.example import example_of
from recurra.inspection.observe import observe_scans, reachable, rerun, undisturbed
from recurra.models.mode import evaluating
from recurra.wording import count_text

ANCHORS = (1.0, 0.75, 0.5, 0.25)
"""Where in the sequence the later of the two states stands: the last step, and three before it for
the shorter lags.
"""
E_FOLD = 1 / math.e
"""The share at which a memory's length is read: for c' = f * c it is the time constant -1 /
ln(f).
"""


class GradientByLag(NamedTuple):
    """Norms of Jacobians by lag.

    Attributes:
        layers: the cell of each scan, in the order they ran.
        norms: for each, by the name of the state (h, and c where there is one): (T,), at lags 0 to
            T - 1. NaN at a lag that no row has, between two resets for example.
    """

    layers: tuple[str, ...]
    norms: tuple[dict[str, Tensor], ...]

    def __str__(self) -> str:
        lines = []
        for number, (name, norms) in enumerate(zip(self.layers, self.norms)):
            said = [
                f"|d{value}_t/d{value}_k| falls below 1/e after {steps_text(curve)}"
                for value, curve in norms.items()
            ]
            lines.append(f"layer {number} {name}: {', '.join(said)}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        states = dict.fromkeys(name for each in self.norms for name in each)
        return f"GradientByLag({count_text(len(self.layers), 'layer')}: {', '.join(states)})"

    def _repr_html_(self) -> str:
        from recurra.inspection.notebook import lag_html

        return lag_html(self)


def gradient_by_lag(
    model: nn.Module,
    batch: tuple[Any, ...] | None = None,
    *,
    inputs: Any = None,
    vectors: int = 16,
    seed: int = 0,
) -> GradientByLag:
    """Measure |dh_t/dh_k| and |dc_t/dc_k| by the lag t - k, for every layer, through probes; as at
    evaluation.

        norm(lag) = sqrt(mean |v J|^2 / H) estimates sqrt(mean |J|_F^2 / H),        J = dh_t/dh_k

    v is a random vector of signs (Hutchinson), so |v J|^2 has the mean |J|_F^2. The norm is thus
    the root mean square of J's singular values, over rows and a few t: 1 for an orthogonal J, the
    share of a gradient in no special direction that comes back. It is not the largest singular
    value, which is above it by a factor of at most sqrt(H). J is a block of the Jacobian of the
    layer's whole state: h_t by h_k counts what passes through c on its way, too. Each layer is
    taken by itself; what reaches it through other layers does not count. t is the last step, and
    3/4, 1/2 and 1/4 of it.

    Args:
        model, batch, inputs: as for `gradient_flow`; a target is not needed.
        vectors: how many v at least, rows counted; the standard error of the norm is at most 0.71 /
            sqrt(vectors) of it.
        seed: of the v.

    Returns:
        The norms: 1 at lag 0, and infinite where a state or its gradient overflows.

    Raises:
        ArgumentError, ShapeError: as for `gradient_flow`.

    Source: the product of Jacobians from Pascanu et al. (2013), arXiv:1211.5063, equation 5; the
        estimate from Hutchinson (1990), doi:10.1080/03610919008812866.

    >>> layer = recurra.RNN(1, 3, nonlinearity="relu")
    >>> recurra.init.identity(layer, scale=0.5)
    >>> torch.nn.init.ones_(layer.weight_ih_l0).shape
    torch.Size([3, 1])
    >>> gradient_by_lag(layer, (torch.ones(4, 1, 1),)).norms[0]["h"].tolist()
    [1.0, 0.5, 0.25, 0.125]
    """
    vectors = check_whole("vectors", vectors)
    net, _ = reachable(model)
    with undisturbed(model), evaluating(net):
        seen = observe_scans(net, example_of(model, batch, inputs))
    return GradientByLag(
        tuple(each.name for each in seen),
        tuple(norms_by_lag(each.job, vectors, seed) for each in seen),
    )


def norms_by_lag(job: Job, vectors: int, seed: int) -> dict[str, Tensor]:
    """The norms of one scan, by the name of the state: (T,) each, in float64."""
    steps, rows = job.x.shape[:2]
    with torch.enable_grad():
        probes = {
            name: job.x.new_zeros(
                steps, rows, job.cell.width(name, job.hidden_size), requires_grad=True
            )
            for name in job.cell.state
        }
        done = rerun(
            job,
            ("states",),
            Probed(job.cell),
            {probe_name(name): probe for name, probe in probes.items()},
        )
    anchors = sorted({max(0, round(share * steps) - 1) for share in ANCHORS})
    draws = math.ceil(vectors / (rows * len(anchors)))
    generator = torch.Generator().manual_seed(seed)
    return {
        name: _norms(
            job,
            getattr(done.states, name),
            probe,
            [t for t in anchors for _ in range(draws)],
            generator,
        )
        for name, probe in probes.items()
    }


def _norms(
    job: Job, values: Tensor, probe: Tensor, anchors: Sequence[int], generator: torch.Generator
) -> Tensor:
    """Root mean squares by lag; an anchor counts steps in the order they ran."""
    steps, rows, width = values.shape
    total = torch.zeros(steps, dtype=torch.float64, device=values.device)
    count = torch.zeros_like(total)
    for anchor in anchors:
        v = torch.randint(0, 2, (rows, width), generator=generator).to(values).mul_(2).sub_(1)
        t = steps - 1 - anchor if job.reverse else anchor
        (gradient,) = torch.autograd.grad(values[t], probe, v, retain_graph=True)
        squares = torch.nan_to_num(
            gradient.double().square().sum(-1) / width, nan=math.inf, posinf=math.inf
        )
        squares[:, ~torch.isfinite(values[t]).all(-1)] = (
            math.inf
        )  # what overflowed on its way forward may have a gradient of 0
        joined = _joined(job, t)
        before = slice(t, None) if job.reverse else slice(0, t + 1)
        squares, joined = squares[before], joined[before]
        if not job.reverse:
            squares, joined = squares.flip(0), joined.flip(0)
        total[: anchor + 1] += torch.where(joined, squares, 0.0).sum(-1)
        count[: anchor + 1] += joined.sum(-1)
    return (total / count).sqrt()


def _joined(job: Job, t: int) -> Tensor:
    """(T, B): whether the states at each step and at t are of the same row's same segment, within
    its length.
    """
    steps, rows = job.x.shape[:2]
    same = torch.ones(steps, rows, dtype=torch.bool, device=job.x.device)
    if job.resets is not None:
        segment = job.resets.long().cumsum(0)
        same = segment == segment[t]
    return same if job.valid is None else same & job.valid & job.valid[t]


def memory_length(norms: Tensor | Sequence[float], share: float = E_FOLD) -> float:
    """The lag from which on a gradient stays below a share of what it was, in steps.

    Args:
        norms: by lag, from lag 0; NaN is not counted.
        share: in (0, 1); 1/e, as a time constant has it.

    Returns:
        The steps; infinity if the gradient is not below the share at the longest lag measured.

    Raises:
        ArgumentError: `share` is outside (0, 1).

    >>> memory_length([1.0, 0.5, 0.25, 0.125]), memory_length([1.0, 0.9], share=0.5)
    (2.0, inf)
    """
    check_number("share", share, 0, 1, "()")
    values = [float(norm) for norm in norms]
    known = [lag for lag, norm in enumerate(values) if not math.isnan(norm)]
    above = [lag for lag in known if not values[lag] < share * values[0]]
    if not known or (above and above[-1] == known[-1]):
        return math.inf
    return float(above[-1] + 1) if above else 0.0


def steps_text(norms: Tensor | Sequence[float], share: float = E_FOLD) -> str:
    """A memory's length in words.

    >>> steps_text([1.0, 0.2]), steps_text([1.0, 0.9, 0.8])
    ('1 step', 'more than 2 steps')
    """
    steps = memory_length(norms, share)
    number = len(norms) - 1 if math.isinf(steps) else int(steps)
    return f"{'more than ' if math.isinf(steps) else ''}{count_text(number, 'step')}"
