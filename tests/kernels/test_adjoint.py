"""The encoded derivative, run by the letter, equals torch's gradients of the cell's own step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, sigmoid, tanh

from recurra.cells import GRU, LSTM, Cell, Elman, ProjectedLSTM, Zoneout
from recurra.kernels.encode import arguments
from recurra.kernels.section import OUTPUTS
from recurra.program import Program, trace
from tests.cells.zoo import ZOO
from tests.kernels.interpreter import Back, Step
from tests.kernels.scene import Shared, Swap

I, H, B = 3, 5, 4


class Curious(Cell):
    """Reads u, v and their sum in ways whose derivatives need them again, and leaves one gate
    without gradient.
    """

    state, gates = ("h", "c"), ("p", "q", "w")

    def pointwise(self, a: Any, s: Any) -> dict[str, Tensor]:
        p = torch.nn.functional.elu(a.p) + torch.sin(a.u.q) * torch.cos(a.v.q)
        c = torch.where(s.c > 0, tanh(p), s.c / (1 + s.c * s.c))
        return dict(
            h=torch.maximum(p, 0.3 * c) + 0.0 * sigmoid(s.h), c=c, p=p, q=a.q, w=sigmoid(a.w)
        )


CELLS = ZOO | {
    "Shared": Shared(),
    "Swap": Swap(),
    "Curious": Curious(),
    "ZoneoutShared": Zoneout(Shared(), h=0.2, c=0.1),
}


def leaves(cell: Cell, training: bool) -> dict[str, Tensor]:
    """Random numbers for everything that a step reads."""
    shapes = {"x": (B, I)} | cell.weights(I, H)
    shapes |= {f"state.{name}": (B, cell.width(name, H)) for name in cell.state}
    if training:
        shapes |= {
            f"noise.{name}": (B, cell.width(noise.of, H)) for name, noise in cell.noises().items()
        }
    return {name: (0.7 * torch.randn(shape)).requires_grad_() for name, shape in shapes.items()}


def group(values: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {
        name.removeprefix(prefix): value
        for name, value in values.items()
        if name.startswith(prefix)
    }


def by_torch(cell: Cell, at: dict[str, Tensor], seeds: list[Tensor]) -> dict[str, Tensor]:
    """Gradients of a weighting of the new states by each leaf."""
    noise = group(at, "noise.")
    masks = [noise.get(name) for name in cell.lasting()]
    with torch.enable_grad():
        state = cell.state_type()(*group(at, "state.").values(), *masks)
        new, _ = cell.step(at, cell.project(at, at["x"]), state, noise)
        total = sum((seed * value).sum() for seed, value in zip(seeds, new, strict=False))
    assert isinstance(total, Tensor)
    found = torch.autograd.grad(total, list(at.values()), allow_unused=True)
    return {
        name: torch.zeros_like(leaf) if d is None else d
        for (name, leaf), d in zip(at.items(), found, strict=True)
    }


def by_letter(
    program: Program, code: dict[str, Any], at: dict[str, Tensor], seeds: list[Tensor]
) -> dict[str, Any]:
    """The same by the encoded program."""
    numbers = {name: value.detach().numpy() for name, value in at.items()}
    products = [body.product for body in program.bodies]
    names = [
        ("weight_ih", "bias_ih", "gain_ih"),
        *((None, None, None) if each is None else each.vectors for each in products),
    ]
    weights = [tuple(numbers.get(name or "") for name in each) for each in names]
    noise, state = group(numbers, "noise."), list(group(numbers, "state.").values())
    given = (
        code,
        weights,
        numbers["x"],
        state,
        [noise[name] for name in sorted(noise)],
        [numbers[name] for name in program.params],
    )
    step = Step(*given)  # type: ignore[arg-type]
    step.forward()
    back = Back(*given)  # type: ignore[arg-type]
    back.found = {("saved", i): step.found["saved", i] for i in range(len(code["saved"]))}
    back.found |= {("new", i): step.found["slot", i] for i in range(len(state))}
    back.found |= {("grad", i): seed.numpy() for i, seed in enumerate(seeds)}
    found: dict[str, Any] = {name: np.zeros_like(value) for name, value in numbers.items()}
    found["x"] = back.backward()
    found |= {f"state.{name}": back.found["dstate", i] for i, name in enumerate(program.state)}
    found |= {
        f"noise.{name}": back.found["dnoise", i]
        for i, name in enumerate(sorted(noise))
        if ("dnoise", i) in back.found
    }
    found |= {name: back.found["dparam", i].sum(0) for i, name in enumerate(program.params)}
    found |= dict(zip(("weight_ih", "bias_ih", "gain_ih"), back.dweights[-1], strict=True))
    for number, product in enumerate(products):
        if product is not None and number in back.dweights:
            rows = product.rows(code["phases"][number][1][4])
            for name, d in zip(product.vectors, back.dweights[number], strict=True):
                if name in found:
                    found[name][rows] += d
    assert sum(kind == "dnoise" for kind, _ in back.found) in (0, len(noise))
    return {name: value for name, value in found.items() if value is not None}


@pytest.mark.parametrize("noise_gradients", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_encoded_derivative_equals_torch(cell: Cell, training: bool, noise_gradients: bool) -> None:
    program = trace(cell, cell.noises() if training else ())
    widths = {"hidden": H} | {name: cell.width(name, H) for name in cell.state}
    code = arguments(program, widths, I, noise_gradients)
    at = leaves(cell, training)
    seeds = [torch.randn(B, cell.width(name, H)) for name in cell.state]
    found = by_letter(program, code, at, seeds)
    for name, right in by_torch(cell, at, seeds).items():
        if noise_gradients or not name.startswith("noise."):
            assert torch.allclose(torch.from_numpy(found[name]), right, rtol=1e-11, atol=1e-11), (
                name
            )


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        (LSTM(), ["i", "f", "g", "o"]),
        (Elman(), []),
        (Elman("relu"), []),
        (ProjectedLSTM(2), ["i", "f", "g", "o"]),
        (ZOO["PeepholeLSTM"], ["i", "f", "g", "o"]),
        (ZOO["Zoneout"], ["i", "f", "g", "o"]),
        (ZOO["CoupledLSTM"], ["f", "g", "o"]),
        (ZOO["ResetBeforeGRU"], ["r", "z", "n"]),
    ],
    ids=repr,
)
def test_only_what_cannot_be_found_again_is_saved(cell: Cell, names: list[str]) -> None:
    program = trace(cell, cell.noises())
    widths = {"hidden": H} | {name: cell.width(name, H) for name in cell.state}
    code = arguments(program, widths, I)
    saved = []
    for _, _, sections in code["phases"]:
        gate = {
            value: place
            for section in sections
            for value, kind, place in section[4]
            if kind == OUTPUTS["gate"]
        }
        saved += [
            gate[value]
            for section in sections
            for value, kind, _ in section[4]
            if kind == OUTPUTS["saved"]
        ]
    assert sorted(saved) == sorted(list(program.gates).index(name) for name in names)
    assert code["saved"] == [H] * len(names)


def test_gru_saves_its_reset_product_too() -> None:
    assert arguments(trace(GRU()), {"hidden": H, "h": H}, I)["saved"] == [H] * 4


def test_what_only_noise_needs_is_left_out() -> None:
    program = trace(cell := ZOO["Zoneout"], cell.noises())
    widths = {"hidden": H, "h": H, "c": H}
    with_noise, without = (
        arguments(program, widths, I, each)["backward"][1] for each in (True, False)
    )
    count = [
        sum(len(section[3]) for phase in phases for part in (1, 2, 4) for section in phase[part])
        for phases in (with_noise, without)
    ]
    assert count[0] > count[1] + 4


def test_gradients_of_v_that_are_those_of_u_are_written_once() -> None:
    firsts = {}
    for name in ("LSTM", "GRU", "ResetBeforeGRU", "LayerNormLSTM", "ProjectedLSTM", "MinGRU"):
        widths = {"hidden": H} | {each: ZOO[name].width(each, H) for each in ZOO[name].state}
        firsts[name] = [phase[3] for phase in arguments(trace(ZOO[name]), widths, I)["backward"][1]]
    assert firsts == {
        "LSTM": [0],
        "GRU": [-1],
        "ResetBeforeGRU": [2, 0],
        "LayerNormLSTM": [-1, -1],
        "ProjectedLSTM": [-1, 0],
        "MinGRU": [-2],
    }


def test_phases_without_a_product_join_the_one_before() -> None:
    code = arguments(
        trace(ZOO["AllThree"], ["zoneout_h", "dropout_h", "probe_h"]), {"hidden": H, "h": H}, I
    )
    assert len(code["phases"]) == len(code["backward"][1]) == 1
