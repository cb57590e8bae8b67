"""Networks of modules that have a forward of their own, of convolutions that look back only, and of
cells.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

import recurra
from recurra.errors import ArgumentError, ConversionError, DtypeError
from recurra.export import network_of
from recurra.network import Conv, Loop, Network, Residual
from tests.cells.zoo import CoupledLSTM

X = np.random.default_rng(0).standard_normal((9, 2, 3)).astype(np.float32).astype(np.float64)
TOKENS = np.random.default_rng(0).integers(0, 7, (9, 2))


def rounded(module: nn.Module) -> nn.Module:
    """A copy whose weights are those of float32, what is computed from others included."""
    module = copy.deepcopy(module).eval()
    for part in list(module.modules()):
        for name in list(getattr(part, "parametrizations", {})):
            parametrize.remove_parametrizations(part, name)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(parameter.float())
    return module


def agrees(module: nn.Module, order: str, x: Any = X) -> Network:
    """The network gives in float64 what the module gives; `order` is that of the axes of both its
    input and output.
    """
    network, exact = network_of(module), rounded(module)
    with torch.no_grad():
        done: Any = exact(torch.from_numpy(x).permute(["TBC".index(axis) for axis in order]))
    theirs = done[0] if isinstance(done, tuple) else done
    given = order if "C" in order else f"{order}C"
    assert (
        np.abs(
            Loop(network, 2).run(x) - theirs.permute([given.index(axis) for axis in "TBC"]).numpy()
        ).max()
        < 1e-12
    )
    return network


class Own(nn.Module):
    """Parts, and a forward given as a function of the module and its input."""

    def __init__(self, run: Callable[..., Any], **parts: nn.Module) -> None:
        super().__init__()
        self.run = run
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Tensor, state: Any = None) -> Any:
        return self.run(self, x, state)


class Usual(nn.Module):
    """What most people write."""

    def __init__(self) -> None:
        super().__init__()
        self.emb, self.lstm, self.fc = (
            nn.Embedding(7, 3),
            nn.LSTM(3, 4, 2, batch_first=True, dropout=0.5),
            nn.Linear(4, 7),
        )

    def forward(self, x: Tensor, state: Any = None) -> Any:
        x = self.emb(x)
        y, state = self.lstm(x, state)
        return self.fc(torch.relu(y)), state


class FirstState(Usual):
    """A zero state made by hand, as tutorials do."""

    def forward(self, x: Tensor, hidden: Any) -> Any:  # type: ignore[override]
        if hidden is None:
            h = torch.zeros(2, x.size(0), 4, device=x.device).requires_grad_()
            hidden = (h, next(self.parameters()).new_zeros(2, x.shape[0], 4).to(x.device))
        self.lstm.flatten_parameters()
        y, hidden = self.lstm(self.emb(x), hidden)
        return (
            F.linear(F.dropout(y, 0.5, training=self.training), self.fc.weight, self.fc.bias),
            hidden,
        )


class Chomp(nn.Module):
    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, : -self.count].contiguous()


class Block(nn.Module):
    """Of a temporal convolutional network."""

    def __init__(self, wide: int, kernel: int, dilation: int) -> None:
        super().__init__()
        past = (kernel - 1) * dilation
        parts = [
            nn.utils.parametrizations.weight_norm(
                nn.Conv1d(wide, wide, kernel, padding=past, dilation=dilation)
            )
            for _ in range(2)
        ]
        self.net = nn.Sequential(
            parts[0], Chomp(past), nn.ReLU(), nn.Dropout(0.2), parts[1], nn.ReLU(), Chomp(past)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.net(x))


class CausalConv1d(nn.Conv1d):
    """A subclass that pads before the first step."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(F.pad(input, ((self.kernel_size[0] - 1) * self.dilation[0], 0)))


class Join(nn.Module):
    """A part that takes two."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return y + torch.relu(x)


def residual(m: Any, x: Tensor, state: Any) -> Any:
    h = m.into(x)
    h = h + m.gru(m.norm(h))[0]
    h += m.out(m.drop(F.gelu(m.up(h), approximate="tanh")))
    return torch.add(m.drop(torch.sigmoid(h)), h)


def convolution(m: Any, x: Tensor, state: Any) -> Any:
    y = m.conv(F.pad(x.transpose(1, 2), (4, 0)))
    y = torch.transpose(m.same(y)[..., : x.size(1)], -1, -2)
    return m.lstm(y.permute(1, 0, 2))[0].permute(1, 0, 2)


def tied(m: Any, x: Tensor, state: Any) -> Any:
    return m.rnn(F.embedding(x, m.emb.weight), state)[0] @ m.emb.weight.t()


def gru(wide: int = 4, **options: Any) -> nn.GRU:
    return nn.GRU(wide, wide, **options)


OWN: dict[str, tuple[Callable[[], nn.Module], str, Any]] = {
    "usual": (Usual, "BT", TOKENS),
    "tied by hand": (
        lambda: Own(tied, emb=nn.Embedding(7, 3), rnn=recurra.RNN(3, 3)),
        "TB",
        TOKENS,
    ),
    "residual": (
        lambda: Own(
            residual,
            into=nn.Linear(3, 4),
            norm=nn.LayerNorm(4),
            gru=gru(),
            up=nn.Linear(4, 8),
            out=nn.Linear(8, 4),
            drop=nn.Dropout(0.5),
        ),
        "TBC",
        X,
    ),
    "convolution": (
        lambda: Own(
            convolution,
            conv=nn.Conv1d(3, 4, 3, dilation=2),
            same=nn.Conv1d(4, 4, 2, padding=1, groups=2, bias=False),
            lstm=recurra.LSTM(4, 5),
        ),
        "BTC",
        X,
    ),
    "temporal blocks": (
        lambda: nn.Sequential(
            nn.Conv1d(3, 4, 1), *[Block(4, 3, d) for d in (1, 2)], nn.Conv1d(4, 2, 1)
        ),
        "BCT",
        X,
    ),
    "padding layers": (
        lambda: nn.Sequential(
            nn.ConstantPad1d((2, 0), 0.0),
            nn.Conv1d(3, 4, 3),
            nn.Tanh(),
            nn.Dropout1d(),
            nn.ZeroPad1d((6, 0)),
            nn.Conv1d(4, 4, 3, dilation=3, groups=4),
        ),
        "BCT",
        X,
    ),
    "causal subclass": (
        lambda: nn.Sequential(
            CausalConv1d(3, 4, 3, dilation=2), nn.GELU(), CausalConv1d(4, 2, 2, bias=False)
        ),
        "BCT",
        X,
    ),
    "padding before turning": (
        lambda: Own(
            lambda m, x, s: m.conv(F.pad(x, (0, 0, 2, 0)).permute(0, 2, 1)).permute((0, 2, 1)),
            conv=nn.Conv1d(3, 2, 3),
        ),
        "BTC",
        X,
    ),
    "recurra within": (
        lambda: Own(
            lambda m, x, s: m.head(m.net(x, s)[0]).tanh(),
            head=nn.Linear(5, 2),
            net=recurra.Stack(
                [
                    recurra.Recurrent(CoupledLSTM(), 3, 5),
                    recurra.Residual(recurra.Recurrent(recurra.cells.GRU(), 5, 5)),
                    nn.Tanh(),
                ]
            ),
        ),
        "TBC",
        X,
    ),
    "convolution by hand": (
        lambda: Own(
            lambda m, x, s: F.conv1d(F.pad(x, (4, 0)), m.c.weight, dilation=2, groups=3),
            c=nn.Conv1d(3, 6, 3, groups=3),
        ),
        "BCT",
        X,
    ),
    "two into a part": (
        lambda: Own(
            lambda m, x, s: m.join(m.b(h := m.a(x)), h),
            a=nn.Linear(3, 4),
            b=nn.Linear(4, 4),
            join=Join(),
        ),
        "TBC",
        X,
    ),
    "square and turned": (
        lambda: Own(
            lambda m, x, s: m.emb(x) @ m.emb.weight @ m.emb.weight.T, emb=nn.Embedding(7, 7)
        ),
        "TB",
        TOKENS,
    ),
    "norm by hand": (
        lambda: Own(lambda m, x, s: F.layer_norm(m.fc(x), (4,), eps=1e-3), fc=nn.Linear(3, 4)),
        "TBC",
        X,
    ),
}


@pytest.mark.parametrize("kind", OWN)
def test_a_forward_of_its_own_is_taken_exactly(kind: str) -> None:
    make, order, x = OWN[kind]
    agrees(make(), order, x)


def test_a_first_state_of_zeros_is_the_layers_own() -> None:
    module = FirstState()
    network, exact = network_of(module), rounded(module)
    with torch.no_grad():
        wanted = exact(torch.from_numpy(TOKENS.T.copy()), None)[0].transpose(0, 1).numpy()
    assert np.abs(Loop(network, 2).run(TOKENS) - wanted).max() < 1e-12


def test_tied_weights_are_one_matrix() -> None:
    network = network_of(Own(tied, emb=nn.Embedding(7, 3), rnn=recurra.RNN(3, 3)))
    assert network.layers[0].weight is network.layers[-1].weight  # type: ignore[union-attr]
    plain = nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 7, bias=False))
    network = network_of(plain)
    assert network.layers[0].weight is not network.layers[1].weight  # type: ignore[union-attr]
    plain[1].weight = plain[0].weight
    network = network_of(plain)
    assert network.layers[0].weight is network.layers[1].weight  # type: ignore[union-attr]


def test_a_block_is_one_residual_layer() -> None:
    inner, after = network_of(nn.Sequential(Block(4, 3, 2))).layers
    assert isinstance(inner, Residual) and [type(layer).__name__ for layer in inner.layers] == [
        "Conv",
        "Activation",
        "Conv",
        "Activation",
    ]
    assert (
        isinstance(inner.layers[0], Conv) and inner.layers[0].past == 4 and after.widths == (4, 4)
    )


CELLS: dict[str, Callable[[], nn.Module]] = {
    "torch LSTM": lambda: nn.LSTMCell(3, 4),
    "torch GRU": lambda: nn.GRUCell(3, 4, bias=False),
    "torch RNN": lambda: nn.RNNCell(3, 4, nonlinearity="relu"),
    "LSTM": lambda: recurra.LSTMCell(3, 4),
    "GRU": lambda: recurra.GRUCell(3, 4, bias=False),
    "RNN": lambda: recurra.RNNCell(3, 4),
    "within": lambda: Own(one_step, cell=nn.LSTMCell(3, 4), fc=nn.Linear(4, 2)),
}


def one_step(m: Any, x: Tensor, state: Any) -> Any:
    h, c = m.cell(x, state)
    return m.fc(h), (h, c)


@pytest.mark.parametrize("kind", CELLS)
def test_a_cell_is_a_layer_over_time(kind: str) -> None:
    module = CELLS[kind]()
    network, exact, state, outputs = network_of(module), rounded(module), None, []
    with torch.no_grad():
        for step in torch.from_numpy(X):
            done = exact(step, state)
            y, state = (
                done if kind == "within" else (done[0] if isinstance(done, tuple) else done, done)
            )
            outputs.append(y.numpy())
    assert np.abs(Loop(network, 2).run(X) - np.stack(outputs)).max() < 1e-12


class Forgetful(nn.LSTMCell):
    def forward(self, input: Tensor, hx: Any = None) -> Any:
        h, c = super().forward(input, hx)
        return h, c * 0.5


def test_a_cells_state_is_compared_too() -> None:
    with pytest.raises(
        ConversionError,
        match=(
            r"module must go on from the state that it hands back as its layers say, got numbers"
            r" that"
        ),
    ):
        network_of(Forgetful(3, 4))


def test_an_example_tells_the_width_and_is_what_is_compared() -> None:
    module = nn.Sequential(nn.Tanh(), nn.Sigmoid())
    assert network_of(module, example=torch.zeros(4, 2, 3)).input_size == 3
    turned = nn.Sequential(nn.Tanh(), CausalConv1d(3, 4, 2))
    assert network_of(turned, example=np.zeros((2, 3, 7))).output_size == 4
    narrow = Own(lambda m, x, s: m.fc(m.emb(x)), emb=nn.Embedding(7, 3), fc=nn.Linear(3, 3))
    assert (
        network_of(narrow, example=TOKENS).reads_tokens
        and network_of(nn.GRUCell(3, 4), example=torch.zeros(2, 3)).output_size == 4
    )
    with pytest.raises(
        ArgumentError,
        match=(
            r"example must be features of 2 or 3 axes, or tokens of 1 or 2, got torch.float64 of"
            r" shape \(3,\)"
        ),
    ):
        network_of(narrow, example=torch.zeros(3))
    with pytest.raises(ConversionError, match=r"module.emb must read tokens, got \(T, B, C\)"):
        network_of(narrow, example=torch.zeros(3, 2, 3))


def test_other_dtypes_are_rounded_to_float32_or_refused() -> None:
    exact = nn.Sequential(nn.Linear(3, 4), nn.GRU(4, 5))
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        module = copy.deepcopy(exact).to(dtype)
        matrix = network_of(module).layers[0].weight  # type: ignore[union-attr]
        assert (
            np.array_equal(matrix.values, module[0].weight.detach().float().numpy())
            and module[0].weight.dtype == dtype
        )
    with pytest.raises(
        DtypeError, match=r"module.weight must be of a floating-point dtype, got torch.complex64"
    ):
        network_of(nn.Linear(3, 4, dtype=torch.complex64))
    for empty in (nn.Linear(3, 4, device="meta"), nn.LazyLinear(4)):
        with pytest.raises(
            DtypeError,
            match=(
                r"module.weight must hold numbers, got a tensor without any; run the module once or"
                r" load"
            ),
        ):
            network_of(empty)
    with pytest.raises(
        ConversionError, match=r"module.weight must be finite, got a weight that is not"
    ):
        network_of(nn.Linear(1, 1).apply(lambda m: nn.init.constant_(m.weight, 1e300)))  # type: ignore[arg-type]


class Carrying(nn.Module):
    """Keeps its state itself, and adds to its input in place."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.fc, self.h = nn.GRU(3, 3), nn.Linear(3, 2), None

    def forward(self, x: Tensor) -> Tensor:
        y, self.h = self.gru(x, self.h)
        x += y
        return self.fc(x)


def test_what_a_module_keeps_is_as_it_was() -> None:
    module = Carrying()
    network = network_of(module)
    assert module.h is None
    assert (
        np.abs(
            Loop(network, 2).run(X) - rounded(module)(torch.from_numpy(X.copy())).detach().numpy()
        ).max()
        < 1e-6
    )


class Kept(nn.Module):
    """A tensor that is no parameter, which torch.fx would hang on the module."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.drop = nn.Linear(3, 3), nn.Dropout()
        self.tables = [torch.eye(3)]

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.drop(self.fc(x)), self.tables[0])


def test_the_module_is_left_as_it_is() -> None:
    module = Kept().train()
    module.drop.eval()
    before = {name: id(value) for name, value in vars(module).items()}
    assert len(network_of(module).layers) == 2
    assert {name: id(value) for name, value in vars(module).items()} == before
    assert module.training and module.fc.training and not module.drop.training


def test_weight_norm_is_read_as_it_will_be() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        module = nn.Sequential(nn.utils.weight_norm(nn.Linear(3, 4)), nn.Tanh())
    with torch.no_grad():
        module[0].weight_g.mul_(
            3
        )  # as loading a file does: the weight itself is out of date until the next call
    network = network_of(module)
    with torch.no_grad():
        assert np.abs(Loop(network, 2).run(X) - module(torch.from_numpy(X)).numpy()).max() < 1e-6
