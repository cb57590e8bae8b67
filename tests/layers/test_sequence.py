"""A step at once is the step that a call makes, bit for bit, and nothing that hangs on a call is
lost.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import recurra
from recurra import LockedDropout, Recurrent, Residual, Stack, WeightDropout, cells
from recurra.engine import explain, forcing, listening
from recurra.errors import ShapeError
from recurra.layers.sequence import SequenceModule
from tests.cells.zoo import ZOO, tensors

pytest.importorskip("recurra.native")
I, H = 3, 5

MODULES: dict[str, Callable[[], SequenceModule]] = {
    **{
        f"{kind}{layers}": lambda kind=kind, layers=layers: getattr(recurra, kind)(I, H, layers)
        for kind in ("LSTM", "GRU", "RNN")
        for layers in (1, 2)
    },
    "projected": lambda: recurra.LSTM(I, H, 2, proj_size=2, batch_first=True),
    "bare": lambda: recurra.GRU(I, H, 3, bias=False, batch_first=True),
    "learned": lambda: Recurrent(cells.LSTM(), I, H, biases=1, learned_state=True),
    "stack": lambda: Stack(
        [
            nn.Linear(I, I),
            Recurrent(cells.LayerNormLSTM(), I, H),
            LockedDropout(0.5),
            nn.Dropout(0.5),
            recurra.GRU(H, H, 2),
            Residual(
                Recurrent(cells.Zoneout(cells.RecurrentDropout(cells.LSTM(), 0.2), h=0.1), H, H)
            ),
            WeightDropout(Recurrent(cells.LSTM(), H, H), 0.5),
            Residual(Stack([recurra.RNN(H, H), nn.Tanh()])),
        ]
    ),
}
ALL = MODULES | {name: lambda cell=cell: Recurrent(cell, I, H) for name, cell in ZOO.items()}


def steps(
    module: SequenceModule, xs: Tensor, state: Any = None, plainly: bool = False
) -> list[Tensor]:
    """Every output and every state of some steps, at once or by calls."""
    found = []
    for x in xs:
        if plainly:
            with listening(lambda job, choice: None):
                y, state = module.step(x, state)
        else:
            y, state = module.step(x, state)
        found += [y, *tensors(state)]
    return found


def agree(module: SequenceModule, xs: Tensor) -> list[Tensor]:
    """Check that both ways give the same bits, and return them."""
    with torch.no_grad():
        found, expected = steps(module, xs), steps(module, xs, plainly=True)
    for mine, other in zip(found, expected, strict=True):
        assert mine.shape == other.shape and mine.dtype == other.dtype and torch.equal(mine, other)
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", ALL)
def test_a_step_at_once_is_the_step_of_a_call(name: str, dtype: torch.dtype) -> None:
    module = ALL[name]().eval().to(dtype)
    for rows in (1, 2, 3, 4, 6):
        agree(module, torch.randn(4, rows, I, dtype=dtype))
    if isinstance(module, recurra.layers.torch_like.TorchLike):
        agree(module, torch.randn(4, I, dtype=dtype))


@pytest.mark.parametrize("name", ALL)
def test_a_step_at_once_calls_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, x = ALL[name]().eval(), torch.randn(4, I)
    with torch.no_grad():
        _, state = module.step(x)
        for kind in (
            Recurrent,
            recurra.layers.torch_like.TorchLike,
            Stack,
            Residual,
            WeightDropout,
            LockedDropout,
        ):
            monkeypatch.setattr(kind, "__call__", None, raising=False)
        y, after = module.step(x, state)
    assert len(y) == 4 and len(after) == len(state)


@pytest.mark.parametrize("name", MODULES)
def test_nothing_goes_stale(name: str) -> None:
    module, xs = MODULES[name]().eval(), torch.randn(3, 2, I)
    seen = [agree(module, xs)[-1]]

    def descend() -> None:
        optimiser = torch.optim.SGD(module.parameters(), lr=0.5)
        sum(value.sum() for value in steps(module, xs)).backward()  # type: ignore[union-attr]
        optimiser.step()

    def replaced() -> None:
        for part in module.modules():
            for at, parameter in list(part.named_parameters(recurse=False)):
                setattr(part, at, nn.Parameter(torch.randn_like(parameter)))

    changes: list[Callable[[], Any]] = [
        descend,
        lambda: module.load_state_dict(MODULES[name]().state_dict()),
        replaced,
        lambda: [p.data.add_(0.1) for p in module.parameters()],
        lambda: [setattr(p, "data", -p.data) for p in module.parameters()],
    ]
    for change in changes:
        change()
        found = agree(module, xs)[-1]
        assert not any(torch.equal(found, before) for before in seen)
        seen.append(found)
    narrow = agree(module.float(), xs.float())[-1]
    assert narrow.dtype == torch.float32 and torch.equal(
        agree(module.double(), xs)[-1], agree(copy.deepcopy(module), xs)[-1]
    )
    assert torch.equal(agree(pickle.loads(pickle.dumps(module)), xs)[-1], agree(module, xs)[-1])


@pytest.mark.parametrize("name", ["LSTM2", "learned", "stack"])
def test_a_step_hands_out_fresh_memory(name: str) -> None:
    module, x = MODULES[name]().eval(), torch.randn(2, I)
    with torch.no_grad():
        _, state = module.step(x)
        kept = [value.clone() for value in tensors(state)]
        y, after = module.step(x, state)
        again, _ = module.step(x, state)
        assert torch.equal(y, again)
        for value in (y, *tensors(after)):
            value.fill_(7)
        assert all(torch.equal(value, old) for value, old in zip(tensors(state), kept, strict=True))
        assert torch.equal(module.step(x, state)[0], again)
        y, after = module.step(x, state)
        y.fill_(7)
        assert not any(bool((value == 7).any()) for value in tensors(after))


@pytest.mark.parametrize("name", ["GRU1", "learned", "stack"])
def test_hooks_run(name: str) -> None:
    module, x, seen = MODULES[name]().eval(), torch.randn(2, I), list[str]()
    parts = [part for part in module.modules() if not isinstance(part, nn.ModuleList)]
    hooks: list[Callable[[nn.Module], Any]] = [
        lambda part: part.register_forward_hook(lambda *_: seen.append("after")),
        lambda part: part.register_forward_pre_hook(lambda *_: seen.append("before")),
    ]
    with torch.no_grad():
        expected, _ = module.step(x)
        for part in parts:
            if not (
                isinstance(part, Recurrent) and isinstance(module, Stack)
            ):  # WeightDropout scans its layer without a call
                for hook in hooks:
                    handle = hook(part)
                    assert torch.equal(module.step(x)[0], expected) and seen, part
                    seen.clear()
                    handle.remove()
        handle = nn.modules.module.register_module_forward_hook(
            lambda part, *_: seen.append(type(part).__name__)
        )
        assert torch.equal(module.step(x)[0], expected) and type(module).__name__ in seen
        handle.remove()
        handle = parts[-1].register_forward_hook(
            lambda part, args, out: (out[0] + 1, out[1]) if isinstance(out, tuple) else out + 1
        )
        assert torch.allclose(module.step(x)[0], expected + 1)
        handle.remove()


@pytest.mark.parametrize(
    "kind, method",
    [
        (Recurrent, "forward"),
        (Recurrent, "scan"),
        (Recurrent, "weights"),
        (recurra.LSTM, "forward"),
        (recurra.LSTM, "layer_weights"),
    ],
)
def test_what_a_subclass_overrides_is_run_once_a_step(kind: Any, method: str) -> None:
    calls = 0

    def counted(self: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        return getattr(kind, method)(self, *arguments, **options)

    module = type("Own", (kind,), {method: counted})(
        *([cells.LSTM()] if kind is Recurrent else []), I, H
    )
    with torch.no_grad():
        for rows in (1, 6):
            _, state = module.step(torch.zeros(rows, I))
            calls = 0
            module.step(torch.zeros(rows, I), state)
            assert calls == 1


def test_what_a_subclass_changes_changes_the_step() -> None:
    class Shifted(recurra.GRU):
        def forward(self, input: Any, hx: Any = None, **options: Any) -> Any:
            y, state = super().forward(input, hx, **options)
            return y + 1, state

    class Doubled(Recurrent):
        def weights(self) -> dict[str, Tensor]:
            return {name: 2 * weight for name, weight in super().weights().items()}

    class Named(recurra.LSTM):
        """Changes nothing."""

    plain, doubled = Recurrent(cells.LSTM(), I, H), Doubled(cells.LSTM(), I, H)
    doubled.load_state_dict(plain.state_dict())
    for module in (Shifted(I, H), doubled):
        assert module.step_at_once(torch.zeros(1, I)) is None
        agree(module, torch.randn(3, 2, I))
    assert not torch.equal(
        agree(doubled, torch.ones(2, 1, I))[-1], agree(plain, torch.ones(2, 1, I))[-1]
    )
    with torch.no_grad():
        assert (
            Named(I, H).step_at_once(torch.zeros(1, I), tuple(torch.zeros(2, 1, 1, H))) is not None
        )
        plain.forward = lambda x, state=None, **options: (x, "mine")  # type: ignore[assignment, method-assign]
        assert plain.step(torch.zeros(1, I))[1] == "mine"
        doubled._compiled_call_impl = lambda x, state=None: (
            x,
            "compiled",
        )  # what module.compile() leaves
        assert doubled.step(torch.zeros(1, I))[1] == "compiled"
        plain = recurra.GRU(I, H)
        plain._compiled_call_impl = doubled._compiled_call_impl
        assert plain.step(torch.zeros(1, I), torch.zeros(1, 1, H))[1] == "compiled"


@pytest.mark.parametrize(
    "name, weight",
    [("GRU2", "weight_hh_l1"), ("learned", "weight_hh"), ("stack", "layers.1.weight_hh")],
)
def test_a_weight_that_is_computed_is_computed_once_a_step(name: str, weight: str) -> None:
    class Counted(nn.Module):
        calls = 0

        def forward(self, value: Tensor) -> Tensor:
            self.calls += 1
            return 2 * value

    module, counted, xs = MODULES[name]().eval(), Counted(), torch.randn(3, 2, I)
    before, (path, _, at), many = agree(module, xs), weight.rpartition("."), torch.randn(6, I)
    nn.utils.parametrize.register_parametrization(module.get_submodule(path), at, counted)
    assert not torch.equal(agree(module, xs)[-1], before[-1])
    with torch.no_grad():
        _, state = module.step(xs[0])
        for x, given in ((xs[0], state), (xs[0], None), (many, module.step(many)[1])):
            counted.calls = 0
            module.step(x, given)
            assert counted.calls == 1


def test_weight_norm_and_its_changes_are_seen() -> None:
    layer, xs = recurra.LSTM(I, H), torch.randn(3, 2, I)
    before = agree(layer, xs)
    nn.utils.parametrizations.weight_norm(layer, "weight_hh_l0")
    torch.testing.assert_close(agree(layer, xs), before, atol=1e-12, rtol=0)
    layer.parametrizations.weight_hh_l0.original0.data.mul_(3)  # type: ignore[union-attr]
    assert not torch.allclose(agree(layer, xs)[-1], before[-1])


def test_training_draws_its_noise_and_gradients_flow() -> None:
    for module in (
        Recurrent(cells.Zoneout(cells.GRU(), h=0.5), I, 40),
        recurra.LSTM(I, 40, 2, dropout=0.5),
        Stack([LockedDropout(0.5), Recurrent(cells.GRU(), I, 40)]),
        WeightDropout(Recurrent(cells.GRU(), I, 40), 0.5),
    ):
        xs = torch.randn(2, 2, I)
        with torch.no_grad():
            assert not torch.equal(steps(module, xs)[-1], steps(module, xs)[-1])
            torch.manual_seed(5)
            first = steps(module, xs)
            torch.manual_seed(5)
            assert all(torch.equal(a, b) for a, b in zip(first, steps(module, xs, plainly=True)))
        sum(value.sum() for value in steps(module, xs)).backward()  # type: ignore[union-attr]
        assert all(parameter.grad is not None for parameter in module.parameters())


def test_a_step_is_told_and_forced_as_ever() -> None:
    stack, x = Stack([Recurrent(cells.LSTM(), I, H), recurra.GRU(H, H, 2)]), torch.randn(2, I)
    with torch.no_grad():
        _, state = stack.step(x)
        told = explain(stack, x[None], state)
        assert told.count("   fused: ") == 3 and "LSTM() (T 1, B 2, I 3, H 5, float64, cpu)" in told
        chosen: list[str] = []
        with listening(lambda job, choice: chosen.append(choice.method)):
            stack.step(x, state)
            with forcing("loop"):
                stack.step(x, state)
    assert chosen == ["fused"] * 3 + ["loop"] * 3


def test_a_module_of_ones_own_steps_by_a_call() -> None:
    class Twice(SequenceModule):
        def forward(
            self, x: Tensor, state: Any = None, *, lengths: Any = None, resets: Any = None
        ) -> tuple[Tensor, Any]:
            return 2 * x, None if state is None else state

    x, layer = torch.randn(2, I), Recurrent(cells.GRU(), I, H)
    with torch.no_grad():
        assert Twice().step_at_once(x) is None and torch.equal(Twice().step(x)[0], 2 * x)
        assert torch.equal(Stack([Twice(), layer]).step(x)[0], layer.step(2 * x)[0])


def test_a_shortcut_around_another_width_is_refused() -> None:
    with (
        torch.no_grad(),
        pytest.raises(
            ShapeError, match=r"^layer must give back the shape of x, \(1, 2, 1\), got \(1, 2, 5\)$"
        ),
    ):
        Residual(Recurrent(cells.GRU(), 1, H)).step(torch.zeros(2, 1))


@pytest.mark.parametrize(
    "name, x, state",
    [
        ("LSTM1", torch.zeros(2, I), torch.zeros(1, 2, H)),
        ("LSTM1", torch.zeros(2, I), (torch.zeros(1, 2, H),)),
        ("LSTM1", torch.zeros(2, I), (torch.zeros(1, 2, H), torch.zeros(1, 2, 4))),
        ("GRU2", torch.zeros(2, I), torch.zeros(1, 2, H)),
        ("GRU2", torch.zeros(I), torch.zeros(2, 1, H)),
        ("GRU2", torch.zeros(2, I), (torch.zeros(2, 2, H),)),
        ("GRU1", torch.zeros(2, 4), None),
        ("GRU1", torch.zeros(1, 2, I), None),
        ("GRU1", torch.zeros(()), None),
        ("GRU1", [[0.0] * I], None),
        ("GRU1", torch.zeros(2, I, dtype=torch.float32), torch.zeros(1, 2, H)),
        ("learned", torch.zeros(2, 4), None),
        ("learned", torch.zeros(I), None),
        ("learned", torch.zeros(1, 2, I), None),
        ("learned", torch.zeros(2, I), torch.zeros(2, H)),
        ("stack", torch.zeros(2, 4), None),
        ("stack", torch.zeros(2, I), (None,) * 3),
        ("stack", torch.zeros(2, I), [None] * 8),
    ],
)
def test_errors_are_those_of_a_call(name: str, x: Any, state: Any) -> None:
    module = MODULES[name]().eval().double()
    with torch.no_grad():
        with pytest.raises(Exception) as expected, listening(lambda job, choice: None):
            module.step(x, state)
        with pytest.raises(expected.type) as found:
            module.step(x, state)
    assert str(found.value) == str(expected.value)
