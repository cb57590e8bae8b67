"""torch's habits: function transforms, higher derivatives, autocast, torch.compile."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.func import functional_call, grad, jacfwd, jacrev, jvp, vmap

import recurra
from recurra import cells
from recurra.layers import Bidirectional, LockedDropout, Recurrent, Residual, Stack
from tests.cells.zoo import ZOO, CoupledLSTM, assert_close, tensors

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*torch.jit.script.*:DeprecationWarning"
)  # torch's own, at its first jvp

NETS: dict[str, Any] = {
    "RNN": lambda: recurra.RNN(3, 4, num_layers=2),
    "LSTM": lambda: recurra.LSTM(3, 4, bidirectional=True),
    "GRU": lambda: recurra.GRU(3, 4),
    "projected": lambda: recurra.LSTM(3, 4, proj_size=2),
    "MinGRU": lambda: Recurrent(cells.MinGRU(), 3, 4, learned_state=True),
    "own": lambda: Recurrent(CoupledLSTM(), 3, 4),
    "stack": lambda: Stack(
        [
            nn.Linear(3, 4),
            Recurrent(cells.LayerNormLSTM(), 4, 4),
            Residual(Recurrent(cells.ResetBeforeGRU(), 4, 4)),
        ]
    ),
    "both": lambda: Bidirectional(Recurrent(cells.LSTM(), 3, 2), Recurrent(cells.MinLSTM(), 3, 2)),
}


def loss_of(net: nn.Module, parameters: dict[str, Tensor], x: Tensor) -> Tensor:
    """A number that everything counts for."""
    y, state = functional_call(net, parameters, (x,))
    return y.square().sum() + sum(value.sin().sum() for value in tensors(state))


def named(net: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach() for name, p in net.named_parameters()}


def by_loop(net: nn.Module, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The ordinary gradient by x and parameters."""
    x = x.detach().requires_grad_()
    parameters = {name: p.detach().requires_grad_() for name, p in net.named_parameters()}
    with recurra.engine.forcing("loop"):
        d_x, *d = torch.autograd.grad(loss_of(net, parameters, x), [x, *parameters.values()])
    return d_x, dict(zip(parameters, d))


@pytest.mark.parametrize("name", NETS)
def test_func_grad_equals_backward(name: str) -> None:
    net, x = NETS[name](), torch.randn(4, 2, 3)
    d_x, d = by_loop(net, x)
    found, found_x = grad(lambda p, x: loss_of(net, p, x), argnums=(0, 1))(named(net), x)
    assert_close([found_x, found], [d_x, d], 1e-11)


@pytest.mark.parametrize("name", NETS)
def test_gradients_of_each_sample_equal_those_of_each_alone(name: str) -> None:
    net, x = NETS[name](), torch.randn(5, 4, 1, 3)
    found = vmap(grad(lambda p, x: loss_of(net, p, x)), in_dims=(None, 0))(named(net), x)
    for i, sample in enumerate(x):
        assert_close({key: d[i] for key, d in found.items()}, by_loop(net, sample)[1], 1e-11)


@pytest.mark.parametrize("name", NETS)
def test_forward_mode_is_the_transpose_of_backward(name: str) -> None:
    net, x, direction = NETS[name](), torch.randn(4, 2, 3), torch.randn(4, 2, 3)
    d_x, d = by_loop(net, x)
    expected = (d_x * direction).sum()
    assert_close(jvp(lambda x: loss_of(net, named(net), x), (x,), (direction,))[1], expected, 1e-11)
    with forward_ad.dual_level():
        found = forward_ad.unpack_dual(
            loss_of(net, named(net), forward_ad.make_dual(x, direction))
        ).tangent
    assert found is not None
    assert_close(found, expected, 1e-11)
    along = {key: torch.randn_like(p) for key, p in d.items()}
    found = jvp(lambda p: loss_of(net, p, x), (named(net),), (along,))[1]
    assert_close(found, sum((d[key] * along[key]).sum() for key in d), 1e-11)


@pytest.mark.parametrize("name", ["GRU", "own", "MinGRU"])
def test_jacobians_forward_and_backward_agree(name: str) -> None:
    net, x = NETS[name](), torch.randn(3, 1, 3)
    run = lambda x: functional_call(net, named(net), (x,))[0]  # noqa: E731
    plain = torch.autograd.functional.jacobian(run, x)
    assert_close(jacrev(run)(x), plain, 1e-11)
    assert_close(jacfwd(run)(x), plain, 1e-11)
    causal = plain[0, 0].abs().sum((0, 2, 3))
    assert float(causal[0]) > 0 and float(causal[1:].sum()) == 0


@pytest.mark.parametrize("method", ["auto", "checkpointed", "loop"])
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU", "projected", "MinGRU", "own"])
def test_first_and_second_derivatives_pass_gradcheck(name: str, method: str) -> None:
    net, x = NETS[name](), (0.5 * torch.randn(3, 2, 3)).requires_grad_()
    weights = [p.detach().requires_grad_() for p in net.parameters()]

    def run(x: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        parameters = {key: w for (key, _), w in zip(net.named_parameters(), weights)}
        return tuple(tensors(functional_call(net, parameters, (x,), dict(method=method))))

    assert gradcheck(run, (x, *weights), fast_mode=True)
    assert gradgradcheck(run, (x, *weights), fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_a_gradient_penalty_works_in_every_dtype(kind: str, dtype: torch.dtype) -> None:
    net = getattr(recurra, kind)(3, 4, num_layers=2, dtype=dtype)
    x = torch.randn(5, 2, 3, dtype=dtype, requires_grad=True)
    found = []
    for method in ("auto", "loop"):
        (d,) = torch.autograd.grad(net(x, method=method)[0].square().sum(), x, create_graph=True)
        found.append(torch.autograd.grad(d.square().sum(), [x, *net.parameters()]))
    assert_close(found[0], found[1], 1e-4 if dtype == torch.float32 else 1e-11)


AUTOCAST = {
    **{name: lambda cell=cell: Recurrent(cell, 3, 8) for name, cell in ZOO.items()},
    **{name: NETS[name] for name in ("RNN", "LSTM", "GRU")},
}


@pytest.mark.filterwarnings("ignore::recurra.errors.SlowWarning")
@pytest.mark.parametrize("method", ["auto", "loop", "checkpointed"])
@pytest.mark.parametrize("name", AUTOCAST)
def test_autocast_keeps_the_state_in_its_dtype_and_gradients_in_theirs(
    name: str, method: str
) -> None:
    torch.manual_seed(0)
    net = AUTOCAST[name]().float()
    net = net if method != "auto" else net.train()
    x = torch.randn(5, 2, 3, dtype=torch.float32, requires_grad=True)
    torch.manual_seed(1)
    exact = net(x)[0]
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16):
        y, state = net(x, method=method)
        more, again = net(x, state, method=method)
    assert {value.dtype for value in tensors([state, again])} <= {torch.bfloat16, torch.float32}
    assert all(s.dtype == torch.bfloat16 for s in tensors(state)[: len(net.cell.state)])
    assert more.dtype == y.dtype and float((y - exact).detach().abs().max()) < 0.1
    (y.float().sum() + more.float().sum()).backward()
    assert all(
        p.grad is not None and p.grad.dtype == torch.float32 and p.grad.isfinite().all()
        for p in net.parameters()
    )


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


COMPILED: dict[str, Any] = {
    **{name: NETS[name] for name in ("RNN", "LSTM", "GRU", "MinGRU", "own", "stack")},
    "zoneout": lambda: Recurrent(cells.Zoneout(cells.LSTM(), h=0.2), 3, 4).eval(),
    "dropout": (
        lambda: Stack(
            [LockedDropout(0.3), Recurrent(cells.RecurrentDropout(cells.GRU(), 0.2), 3, 4)]
        ).eval()
    ),
}


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning"
)
@pytest.mark.parametrize("name", COMPILED)
def test_compiled_in_one_graph_gives_the_same_values_and_gradients(
    name: str, fresh_compiler: None
) -> None:
    net, x = COMPILED[name](), torch.randn(3, 2, 3, requires_grad=True)
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    expected, found = net(x), compiled(x)
    assert_close(found, expected, 1e-11)
    leaves = [x, *net.parameters()]
    wanted = torch.autograd.grad(sum(v.square().sum() for v in tensors(expected)), leaves)
    assert_close(
        torch.autograd.grad(sum(v.square().sum() for v in tensors(found)), leaves), wanted, 1e-11
    )
    again = compiled(x, expected[1])
    assert_close(again, net(x, expected[1]), 1e-11)


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning"
)
@pytest.mark.parametrize("name", ["LSTM", "GRU", "own", "both"])
def test_compiled_with_lengths_and_resets(name: str, fresh_compiler: None) -> None:
    net, x = NETS[name](), torch.randn(3, 2, 3)
    options = dict(
        lengths=torch.tensor([3, 1]),
        resets=torch.tensor([[False, True], [True, False], [False, True]]),
    )
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    assert_close(compiled(x, **options), net(x, **options), 1e-11)


@pytest.mark.parametrize("name", NETS)
def test_no_grad_and_inference_mode_and_eval(name: str) -> None:
    net, x = NETS[name](), torch.randn(4, 2, 3)
    expected = net(x)
    with torch.no_grad():
        found = net(x)
    assert_close(found, expected, 1e-12)
    assert not any(value.requires_grad for value in tensors(found))
    with torch.inference_mode():
        assert_close(net(x), expected, 1e-12)
        if name in ("MinGRU", "own", "stack"):
            assert_close(net.step(x[0])[0], net(x[:1])[0][0])
    net(x)[0].sum().backward()
    twin = copy.deepcopy(net).eval()
    twin.zero_grad()
    twin(x)[0].sum().backward()
    assert_close([p.grad for p in twin.parameters()], [p.grad for p in net.parameters()])


def test_vmap_over_models_equals_each_alone() -> None:
    nets, x = [recurra.GRU(3, 4) for _ in range(3)], torch.randn(4, 2, 3)
    parameters, _ = torch.func.stack_module_state(nets)
    found = vmap(lambda p: functional_call(nets[0], p, (x,))[0])(parameters)
    assert_close(found, torch.stack([net(x)[0] for net in nets]))


@pytest.mark.parametrize("name", ["LSTM", "GRU", "MinGRU", "LayerNormLSTM"])
def test_lengths_are_mapped_by_vmap(name: str) -> None:
    layer = recurra.Recurrent(ZOO[name], 3, 4)
    x, lengths = torch.randn(5, 4, 2, 3), torch.tensor([[5, 1], [0, 3], [2, 2], [4, 0]])
    mapped = torch.func.vmap(
        lambda x, lengths: layer(x, lengths=lengths), in_dims=(1, 0), out_dims=(1, 0)
    )
    y, state = mapped(x, lengths)
    for number, counts in enumerate(lengths):
        wanted, final = layer(x[:, number], lengths=counts)
        assert_close(y[:, number], wanted)
        assert_close(tuple(value[number] for value in state), tuple(final))
    assert_close(
        torch.func.vmap(lambda x: layer(x, lengths=[5, 1])[0], in_dims=1, out_dims=1)(x)[:, 0],
        y[:, 0],
    )

    def loss(weights: dict[str, Tensor], x: Tensor, lengths: Tensor) -> Tensor:
        return (
            torch.func.functional_call(layer, weights, (x,), {"lengths": lengths})[0].square().sum()
        )

    weights = {key: value.detach() for key, value in layer.named_parameters()}
    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 1, 0))(weights, x, lengths)
    for number, counts in enumerate(lengths):
        one = torch.func.grad(loss)(weights, x[:, number], counts)
        assert_close({key: value[number] for key, value in each.items()}, one)


@pytest.mark.parametrize("batch_first", [False, True])
def test_one_sequence_with_its_length_is_mapped(batch_first: bool) -> None:
    layer, x, lengths = (
        recurra.LSTM(3, 4, bidirectional=True, batch_first=batch_first),
        torch.randn(6, 5, 3),
        torch.tensor([5, 1, 0, 3, 2, 4]),
    )
    y = torch.func.vmap(lambda x, length: layer(x, lengths=length)[0])(x, lengths)
    for number, length in enumerate(lengths):
        assert_close(y[number], layer(x[number], lengths=length)[0])
