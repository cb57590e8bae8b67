"""The scan as an operator of PyTorch: what autograd, torch.compile, torch.export and function
transforms make of it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import recurra
from recurra import cells
from recurra.engine import choose_method, prepare, scan
from recurra.errors import ProgramError, ShapeError
from recurra.kernels.encode import encode
from recurra.kernels.operator import program_of, text_of
from recurra.kernels.outputs import Options, options_of, unflat
from recurra.program import trace
from tests.cells.zoo import ZOO, Scene, assert_close, gradients, scene, tensors
from tests.engine.test_methods import ragged

PLAIN = Options()
OPERATOR = torch.ops.recurra.scan_forward.default


@pytest.fixture(autouse=True)
def with_gradients(without_gradients: None) -> Iterator[None]:
    with torch.enable_grad():
        yield


def run(code: str, *arguments: str) -> str:
    """What another process prints that runs `code`."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def arguments(at: Scene, options: Options = PLAIN, **ragged: Any) -> tuple[Any, ...]:
    """What the operator takes."""
    hidden = at.weights["weight_ih"].shape[0] // len(at.cell.gates)
    program = trace(at.cell, at.noise or ())
    code = encode(program, hidden, tuple(value.shape[-1] for value in at.state), at.x.shape[-1])
    initial = (
        [(value.detach() * 0.5).requires_grad_() for value in at.state]
        if ragged.get("resets") is not None
        else []
    )
    weights = [at.weights.get(name) for name in code.names]
    noise = [(at.noise or {})[name] for name in code.noises]
    return (
        at.x,
        list(at.state),
        initial,
        weights,
        noise,
        ragged.get("lengths"),
        ragged.get("resets"),
        text_of(program),
        options.text(),
    )


CASES = {
    "plain": ("LSTM", Options(), "plain"),
    "ragged": ("LSTM", Options(reverse=True, states=True), "lengths resets"),
    "everything": ("AllThree", Options(states=True, gates=True), "lengths resets"),
    "recompute": ("ProjectedLSTM", Options(recompute=True), "resets"),
    "saving": ("LayerNormGRU", Options(saving=True), "plain"),
    "no product": ("MinLSTM", Options(), "lengths"),
}


@pytest.mark.parametrize("case", CASES)
def test_operator_is_well_formed(case: str) -> None:
    name, options, kind = CASES[case]
    at = scene(ZOO[name], T=4, B=5, training=True)
    torch.library.opcheck(OPERATOR, arguments(at, options, **ragged(4, 5, kind)))


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("name", ["LSTM", "AllThree"])
def test_operator_of_the_derivative_is_well_formed(name: str, recompute: bool) -> None:
    at = scene(ZOO[name], T=4, B=5, training=True)
    options = Options(states=True, saving=True, recompute=recompute, noise=True)
    given = [
        (
            [part.detach() for part in each]
            if isinstance(each, list)
            else each.detach()
            if isinstance(each, Tensor)
            else each
        )
        for each in arguments(at, options, **ragged(4, 5, "lengths resets"))
    ]
    out = unflat(OPERATOR(*given), len(at.cell.state), len(at.cell.gates), True, options)
    seeds = (
        torch.randn_like(out.h),
        [None, *map(torch.randn_like, out.final[1:])],
        [None] * len(out.final),
    )
    flags = [True] * (1 + sum(len(given[i]) for i in range(1, 5)))
    flags[1] = False
    tests = ("test_schema", "test_faketensor", "test_aot_dispatch_dynamic")
    call = (*given, out.h, list(out.states), out.saved, *seeds, flags)
    torch.library.opcheck(torch.ops.recurra.scan_backward.default, call, test_utils=tests)


def test_what_does_not_fit_is_refused() -> None:
    given = arguments(scene(cells.LSTM()))
    with pytest.raises(ShapeError, match=r"state.c must have shape \(3, 5\), got \(2, 5\)"):
        OPERATOR(given[0], [given[1][0], given[1][1][:2]], *given[2:])
    with pytest.raises(ProgramError, match="text must be a program saved by to_json"):
        OPERATOR(*given[:7], "{}", "")


def test_a_text_is_read_once() -> None:
    program = trace(cells.GRU())
    assert text_of(program) is text_of(program) and program_of(text_of(program)) is program
    other = text_of(program).replace("GRU()", "another GRU()")
    assert program_of(other) is program_of(other) is not program


@pytest.mark.parametrize(
    "options", [Options(), Options(True, False, True, False, True), Options(*[True] * 6)]
)
def test_options_are_words(options: Options) -> None:
    assert options_of(options.text()) == options
    with pytest.raises(TypeError, match="backwards"):
        options_of("backwards")


def call_of(at: Scene, **options: Any) -> tuple[Any, list[Tensor]]:
    """The scan as a function of its leaves alone, and those."""
    names, leaves = list(at.weights), list(at.leaves().values())

    def function(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        weights = dict(zip(names, rest))
        state = rest[len(names) : len(names) + len(at.state)]
        noise = dict(at.noise or {})
        noise |= dict(
            zip(
                [name for name, d in noise.items() if d.requires_grad],
                rest[len(names) + len(at.state) :],
            )
        )
        return tuple(
            tensors(scan(at.cell, weights, x, tuple(state), noise=noise, method="fused", **options))
        )

    return function, leaves


@pytest.mark.parametrize(
    "name", ["ElmanRelu", "GRU", "ProjectedLSTM", "LayerNormGRU", "Probed", "LeakyElman", "MinGRU"]
)
def test_first_and_second_derivatives_are_right(name: str) -> None:
    at = scene(ZOO[name], T=3, B=2, I=2, H=3, training=True)
    function, leaves = call_of(at, keep=("states",), **ragged(3, 2, "lengths resets"))
    assert torch.autograd.gradcheck(function, leaves, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, leaves, fast_mode=True)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", ZOO)
def test_second_derivatives_equal_the_loops(name: str, reverse: bool) -> None:
    at = scene(ZOO[name], T=3, B=4, training=True, learned=True)
    found = []
    for method in ("fused", "loop"):
        h = scan(
            at.cell,
            at.weights,
            at.x,
            noise=at.noise,
            method=method,
            reverse=reverse,
            **ragged(3, 4, "lengths resets"),
        ).h
        leaves = {key: leaf for key, leaf in at.leaves().items() if not key.startswith("state.")}
        first = torch.autograd.grad(
            h.sin().sum(), list(leaves.values()), create_graph=True, allow_unused=True
        )
        found.append(gradients([d for d in first if d is not None], leaves))
    assert_close(found[0], found[1], 1e-10)


def test_many_gradients_may_be_found_at_once() -> None:
    at = scene(cells.GRU(), T=3, B=2, I=2, H=3)

    def last(method: str) -> Any:
        return lambda x, weight: scan(
            at.cell, at.weights | {"weight_hh": weight}, x, method=method, **ragged(3, 2, "lengths")
        ).h[-1]

    leaves = (at.x, at.weights["weight_hh"])
    found, right = (
        torch.autograd.functional.jacobian(last(method), leaves, vectorize=True)
        for method in ("fused", "loop")
    )
    assert_close(found, right)
    h, seeds = last("fused")(*leaves), torch.randn(4, 2, 3)
    assert_close(
        torch.autograd.grad(h, leaves, seeds, is_grads_batched=True),
        [
            torch.stack(each)
            for each in zip(
                *(torch.autograd.grad(last("loop")(*leaves), leaves, seed) for seed in seeds)
            )
        ],
    )


def test_a_state_made_of_a_weight_counts_once_in_second_derivatives() -> None:
    at = scene(cells.GRU(), T=3, B=2)
    found = []
    for method in ("fused", "loop"):
        state = (at.weights["weight_hh"][:2].sin(),)
        h = scan(at.cell, at.weights, at.x, state, method=method).h
        [d] = torch.autograd.grad(h.square().sum(), [at.weights["weight_hh"]], create_graph=True)
        found.append(torch.autograd.grad(d.square().sum(), [at.weights["weight_hh"], at.x]))
    assert_close(found[0], found[1], 1e-11)


@pytest.mark.parametrize("name", ["LSTM", "CoupledLSTM"])
def test_function_transforms_go_by_the_loop_and_are_right(name: str) -> None:
    at = scene(ZOO[name], T=3, B=2)
    weights = {key: weight.detach() for key, weight in at.weights.items()}
    x = at.x.detach()

    def loss(weights: dict[str, Tensor], x: Tensor, method: str = "auto") -> Tensor:
        return scan(at.cell, weights, x, method=method).h.square().sum()

    def last(x: Tensor, method: str = "auto") -> Tensor:
        return scan(at.cell, weights, x, method=method).h[-1]

    transform = torch.func
    for found, right in (
        (transform.grad(loss)(weights, x), transform.grad(loss)(weights, x, "loop")),
        (
            transform.vmap(transform.grad(loss), (None, 1))(weights, x[:, :, None]),
            transform.vmap(transform.grad(loss), (None, 1))(weights, x[:, :, None], method="loop"),
        ),
        (
            transform.jvp(last, (x,), (x.cos(),)),
            transform.jvp(lambda x: last(x, "loop"), (x,), (x.cos(),)),
        ),
        (transform.jacrev(last)(x), transform.jacrev(last)(x, "loop")),
        (transform.jacfwd(last)(x), transform.jacfwd(last)(x, "loop")),
        (
            transform.hessian(lambda x: last(x).sum())(x),
            transform.hessian(lambda x: last(x, "loop").sum())(x),
        ),
    ):
        assert_close(found, right)
    d = gradients(scan(at.cell, at.weights, at.x, method="fused").h, at.weights)
    assert_close(torch.func.grad(lambda w: weighted(scan(at.cell, w, x).h))(weights), d, 1e-11)


def weighted(h: Tensor) -> Tensor:
    return (
        h * torch.randn(h.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    ).sum()


def test_forward_mode_goes_by_the_loop() -> None:
    at = scene(cells.LSTM())
    with torch.autograd.forward_ad.dual_level():
        refused = choose_method(prepare(at.cell, at.weights, at.x, None), "auto").refused
    assert (
        refused["fused"] == "the fused scan has no rules for function transforms and forward mode"
    )


@pytest.mark.parametrize("name", ["LSTM", "GRU", "CoupledLSTM", "AllThree"])
def test_whole_graphs_compile_with_gradients(name: str) -> None:
    torch._dynamo.reset()
    cell = ZOO[name]
    layer = recurra.Recurrent(cell, 3, 5, learned_state=True)
    scans: list[int] = []

    def backend(module: torch.fx.GraphModule, inputs: Any) -> Any:
        scans.append(sum("scan_forward" in str(node.target) for node in module.graph.nodes))
        return torch._dynamo.backends.debugging.aot_eager(module, inputs)

    compiled = torch.compile(
        lambda x, lengths, resets: layer(x, lengths=lengths, resets=resets),
        fullgraph=True,
        backend=backend,
        dynamic=True,
    )
    for T, B in ((6, 2), (4, 3), (9, 2)):
        call = torch.randn(T, B, 3), torch.randint(0, T + 1, (B,)), torch.rand(T, B) < 0.3
        torch.manual_seed(T)  # of the noise
        found = compiled(*call)
        torch.manual_seed(T)
        right = layer(call[0], lengths=call[1], resets=call[2], method="loop")
        assert_close(found, right)
        leaves = dict(layer.named_parameters())
        assert_close(gradients(found, leaves), gradients(right, leaves), 1e-11)
    assert set(scans) == {1}


def test_a_compiled_step_without_gradients_is_the_layers_own() -> None:
    torch._dynamo.reset()
    layer = recurra.GRU(3, 5)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x = torch.randn(4, 2, 3)
    with torch.no_grad():
        assert_close(compiled(x), layer(x))


@pytest.mark.parametrize("strict", [False, True])
def test_exported_graph_takes_any_length(strict: bool) -> None:
    layer = recurra.LSTM(3, 5, num_layers=2, bidirectional=True)
    T, B = torch.export.Dim("T", min=2), torch.export.Dim("B", min=2)
    program = torch.export.export(
        layer, (torch.randn(6, 2, 3),), dynamic_shapes={"input": {0: T, 1: B}}, strict=strict
    )
    assert sum("scan_forward" in str(node.target) for node in program.graph.nodes) == 4
    for T, B in ((6, 2), (9, 5), (31, 2)):
        x = torch.randn(T, B, 3)
        assert_close(program.module()(x), layer(x, method="loop"))


EXPORTED = """
import sys, torch, recurra.engine
layer = torch.export.load(sys.argv[1]).module()
print(*layer(torch.linspace(-1, 1, 24).reshape(8, 1, 3)).flatten().tolist())
"""


def test_exported_graph_runs_in_another_process(tmp_path: Any) -> None:
    class Fresh(type(ZOO["CoupledLSTM"])):  # type: ignore[misc]
        """A cell that nobody has traced: the export itself is the first."""

    class Output(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = recurra.Recurrent(Fresh(), 3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x)[0]

    model = Output().float()
    x = torch.linspace(-1, 1, 24, dtype=torch.float32).reshape(8, 1, 3)
    torch.export.save(torch.export.export(model, (x,)), tmp_path / "model.pt2")
    printed = run(EXPORTED, str(tmp_path / "model.pt2"))
    assert torch.allclose(
        torch.tensor([float(n) for n in printed.split()]),
        model(x).double().flatten(),
        atol=1e-6,
    )


def test_fake_tensors_have_the_shapes() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode() as mode:
        layer = recurra.Recurrent(cells.ProjectedLSTM(2), 3, 5)
        for grad in (False, True):
            with torch.set_grad_enabled(grad):
                h, state = layer(torch.empty(7, 4, 3))
                assert h.shape == (7, 4, 2) and state.c.shape == (4, 5) and h.fake_mode is mode


FORKED = """
import os, sys, torch, recurra
from torch.utils.data import DataLoader
from recurra.kernels.pool import pool
torch.set_num_threads(2)
layer, x = recurra.GRU(8, 64), torch.randn(20, 16, 8)
layer(x)[0].sum().backward()
with torch.no_grad():
    right = layer(x)[0]
assert pool()[0] and pool()[3] == 2
child = os.fork()
if child == 0:
    torch.set_num_threads(2)
    with torch.no_grad():
        equal = torch.equal(layer(x)[0], right)
    layer.zero_grad()
    y = layer(x)[0]
    os._exit(0 if equal and pool() == (0, 0, 0, 1) else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

class Features(torch.utils.data.Dataset):
    def __len__(self):
        return 4
    def __getitem__(self, number):
        with torch.no_grad():
            return layer(x)[0][:, number]

for row, features in enumerate(DataLoader(Features(), batch_size=1, num_workers=2)):
    assert torch.equal(features[0], right[:, row])
print("equal")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not fork")
def test_forked_processes_and_workers_run_alone() -> None:
    assert run(FORKED) == "equal\n"


LARGE = """
import os, signal, torch, recurra
torch.set_num_threads(2)
layer, x = recurra.GRU(64, 128, batch_first=True), torch.randn(64, 64, 64)
layer(x)[0].sum().backward()
child = os.fork()
if child == 0:
    signal.alarm(40)
    layer(x)[0].sum().backward()
    os._exit(0 if torch.get_num_threads() == 1 else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "hung"
assert torch.get_num_threads() == 2
print("ended")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not fork")
def test_a_forked_process_waits_for_no_thread_of_its_parent() -> None:
    assert run(LARGE) == "ended\n"
