"""What cannot stream or is not made of known layers is refused by name, with the reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import recurra
from recurra.errors import ConversionError
from recurra.export import network_of
from tests.export.test_from_torch_forward import Own

LATER = "; export the part before it"
UNKNOWN = "module must be made of layers that stream, got "
FOLLOWED = (
    "module must have a forward that torch.fx can follow, without a branch or a loop that depends"
    " on the input, got "
)


def lstm(**options: Any) -> nn.LSTM:
    return nn.LSTM(3, 4, batch_first=True, **options)


def fc(wide: int = 3, out: int = 3) -> nn.Linear:
    return nn.Linear(wide, out)


def conv(kernel: int = 3, **options: Any) -> nn.Conv1d:
    return nn.Conv1d(3, 3, kernel, **options)


def run(
    function: Callable[[Any, Tensor], Any], **parts: Callable[[], nn.Module]
) -> Callable[[], nn.Module]:
    return lambda: Own(
        lambda m, x, state: function(m, x), **{name: make() for name, make in parts.items()}
    )


def wide() -> nn.Linear:
    return fc(4, 2)


LAST: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "[:, -1]": (run(lambda m, x: m.fc(m.l(x)[0][:, -1]), l=lstm, fc=wide), ""),
    "[-1]": (run(lambda m, x: m.l(x)[0][-1], l=lambda: nn.GRU(3, 4)), ""),
    "[:, -1, :]": (run(lambda m, x: m.fc(m.l(x)[0])[:, -1, :], l=lstm, fc=wide), ""),
    "[:, 1:]": (run(lambda m, x: m.fc(x)[:, 1:], fc=fc), ""),
    "[:, :-1]": (run(lambda m, x: m.fc(x)[:, :-1], fc=fc), ""),
    "[..., :-3]": (run(lambda m, x: m.c(x)[..., :-3], c=lambda: conv(padding=2)), ""),
    "[..., ::2]": (run(lambda m, x: m.c(x)[..., ::2], c=lambda: conv(1)), ""),
}


@pytest.mark.parametrize("selection", LAST)
def test_a_selection_of_steps_is_refused(selection: str) -> None:
    with pytest.raises(ConversionError) as raised:
        network_of(LAST[selection][0]())
    assert (
        str(raised.value)
        == f"module must give an output at each step, got the selection {selection}{LATER}"
    )


STATES: list[tuple[Callable[[], nn.Module], str]] = [
    (
        run(lambda m, x: m.fc(m.l(x)[1][0][-1]), l=lstm, fc=wide),
        "module.fc must read what comes at each step, got the state that module.l leaves" + LATER,
    ),
    (
        run(lambda m, x: m.fc(m.l(x)), l=lstm, fc=wide),
        "module.fc must read what comes at each step, got the state that module.l leaves" + LATER,
    ),
    (
        run(lambda m, x: torch.relu(m.l(x)[1][0]), l=lstm),
        "module must use what comes at each step, got relu of the state that module.l leaves"
        + LATER,
    ),
    (
        run(lambda m, x: m.l(x)[1], l=lstm),
        "module must give an output at each step, got the state that module.l leaves" + LATER,
    ),
    (
        run(lambda m, x: m.d(x, m.l(x)[1]), l=lstm, d=lstm),
        (
            "module.d must begin with its own first state to be exported, got the state that"
            " module.l leaves"
        ),
    ),
    (
        run(lambda m, x: m.l(x, (torch.ones(1, 2, 4), torch.zeros(1, 2, 4))), l=lstm),
        (
            "module.l must begin with its own first state to be exported, got a tensor of the"
            " module's own, (1, 2, 4)"
        ),
    ),
    (
        run(lambda m, x: m.fc(m.fc.weight), fc=fc),
        "module.fc must read what comes at each step, got a tensor of the module's own, (3, 3)"
        + LATER,
    ),
    (
        run(lambda m, x: m.fc.weight, fc=fc),
        "module must give an output at each step, got a tensor of the module's own, (3, 3)" + LATER,
    ),
]
CONVOLUTIONS: list[tuple[Callable[[], nn.Module], str]] = [
    (
        lambda: nn.Sequential(conv(padding=1)),
        (
            "module.0 must look back only, got a Conv1d with padding=1, which looks 1 step into the"
            " future; use padding=2 and cut the last 2 steps off"
        ),
    ),
    (
        lambda: conv(5, padding=2),
        (
            "module must look back only, got a Conv1d with padding=2, which looks 2 steps into the"
            " future; use padding=4 and cut the last 4 steps off"
        ),
    ),
    (
        lambda: conv(padding="same"),
        (
            "module must look back only, got a Conv1d with padding='same', which looks 1 step into"
            " the future; use padding=2 and cut the last 2 steps off"
        ),
    ),
    (
        conv,
        (
            "module must give as many steps as it takes, got a Conv1d after 0 zeros; it looks 2"
            " steps back: put nn.ConstantPad1d((2, 0), 0.0) before it"
        ),
    ),
    (
        lambda: nn.Sequential(nn.ConstantPad1d((3, 0), 0.0), conv()),
        (
            "module.1 must give as many steps as it takes, got a Conv1d after 3 zeros; "
            "it looks 2 steps back: put nn.ConstantPad1d((2, 0), 0.0) before it"
        ),
    ),
    (
        lambda: conv(padding=2),
        "what follows module must read as many steps as came in, got 2 more; cut off [..., :-2]",
    ),
    (
        run(lambda m, x: m.c(x)[..., :-1], c=lambda: conv(padding=2)),
        "what follows module must read as many steps as came in, got 1 more; cut off [..., :-1]",
    ),
    (
        run(lambda m, x: m.l(m.c(x).transpose(1, 2)), c=lambda: conv(padding=2), l=lstm),
        "module.l must read as many steps as came in, got 2 more; cut off [..., :-2]",
    ),
    (lambda: conv(stride=2), "module must give an output at each step, got a Conv1d of stride 2"),
    (
        lambda: conv(padding=2, padding_mode="circular"),
        "module must pad with zeros, got padding_mode='circular'",
    ),
    (
        lambda: nn.Sequential(nn.ConstantPad1d((2, 0), 1.0), conv()),
        "module.0 must pad with zeros, got 1.0",
    ),
    (
        run(lambda m, x: m.c(F.pad(x, (2, 0), mode="replicate")), c=conv),
        "module must pad with zeros, got mode='replicate'",
    ),
    (
        lambda: nn.Sequential(nn.ZeroPad1d((1, 1)), conv()),
        "module.0 must pad before the first step only to be causal, got (1, 1); use (2, 0)",
    ),
    (
        run(lambda m, x: m.fc(F.pad(x, (0, 0, 2, 0))), fc=fc),
        "module.fc must be a Conv1d after padding in time, got something else after 2 zeros",
    ),
    (
        run(lambda m, x: F.pad(m.c(x), (2, 0)), c=lambda: conv(1)),
        (
            "what follows module must be a Conv1d after padding in time, got something else after 2"
            " zeros"
        ),
    ),
    (
        run(lambda m, x: m.c(F.pad(x, (1, 0, 1, 0))), c=conv),
        "module must pad the axis of time only, got (1, 0, 1, 0)",
    ),
    (
        run(lambda m, x: m.c(m.fc(x)), c=conv, fc=fc),
        (
            "module.c must read (B, C, T), as torch.nn.Conv1d does; x.transpose(1, 2) before it,"
            " got (T, B, C)"
        ),
    ),
    (
        lambda: nn.Sequential(conv(1), nn.AdaptiveLogSoftmaxWithLoss(3, 9, [4], 2.0)),
        "module.1 must read features in the last axis, got (B, C, T)",
    ),
    (
        run(lambda m, x: m.norm(m.c(x)), c=lambda: conv(1), norm=lambda: nn.LayerNorm(3)),
        "module.norm must read features in the last axis, got (B, C, T)",
    ),
]
FUNCTIONS: list[tuple[Callable[[], nn.Module], str]] = [
    (
        run(lambda m, x: torch.log_softmax(m.fc(x), -1), fc=fc),
        UNKNOWN + "log_softmax in its forward; recurra takes ",
    ),
    (run(lambda m, x: m.l(x)[0].mean(1), l=lstm), UNKNOWN + "mean in its forward; recurra takes "),
    (run(lambda m, x: m.fc(x) * 2, fc=fc), UNKNOWN + "mul in its forward; recurra takes "),
    (
        run(lambda m, x: m.fc(x) + 1, fc=fc),
        UNKNOWN + "add of what came before it, int 1; recurra takes ",
    ),
    (
        run(lambda m, x: m.fc(x, torch.randn(x.size(0))), fc=fc),
        UNKNOWN + "randn in its forward; recurra takes ",
    ),
    (
        run(lambda m, x: torch.tanh(m.fc(x), out=x), fc=fc),
        UNKNOWN + "tanh in a form unknown here (got an unexpected keyword argument 'out')",
    ),
    (
        run(lambda m, x: torch.add(h := m.a(x), m.b(h), alpha=2), a=fc, b=fc),
        UNKNOWN + "add of what came before it, what came before it; recurra takes ",
    ),
    (
        run(lambda m, x: m.a(x) + m.b(x), a=fc, b=fc),
        (
            "module must add to x what layers make of that x, got a sum of two that both went"
            " through layers"
        ),
    ),
    (
        run(lambda m, x: (h := m.a(x)) + m.drop(h), a=fc, drop=nn.Dropout),
        "module must add to x what layers make of that x, got x + x",
    ),
    (
        run(lambda m, x: (h := m.a(x)) + m.b(h).transpose(0, 1), a=fc, b=fc),
        "module must add values whose axes lie alike, got (T, B, C) and (B, T, C)",
    ),
    (
        run(lambda m, x: F.dropout(m.fc(x)), fc=fc),
        (
            "module must drop out nothing at evaluation, got dropout with training=True; use"
            " training=self.training"
        ),
    ),
    (
        run(lambda m, x: F.embedding(x, m.fc.weight, None, 1.0), fc=fc),
        "module must be an embedding without max_norm, got max_norm=1.0",
    ),
    (run(lambda m, x: m.fc(x).T, fc=fc), UNKNOWN + ".T in its forward"),
    (
        run(lambda m, x: m.fc(x) if x.sum() > 0 else x, fc=fc),
        FOLLOWED
        + "TraceError: symbolically traced variables cannot be used as inputs to control flow",
    ),
    (
        run(lambda m, x: torch.stack([m.fc(step) for step in x]), fc=fc),
        FOLLOWED + "TraceError: Proxy object cannot be iterated",
    ),
    (
        run(lambda m, x: 3, fc=fc),
        "module must give an output, or a tuple that begins with it, got int",
    ),
    (run(lambda m, x: x), "module must hold layers that compute something, got none"),
]


class Deaf(nn.Module):
    def forward(self) -> Tensor:
        return torch.zeros(())


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = fc()

    def forward(self, x: Tensor, *more: Any) -> Tensor:
        done: Tensor = self.fc(x) + more[0]
        return done


class Backward(recurra.layers.SequenceModule):
    def __init__(self) -> None:
        super().__init__()
        self.both = recurra.LSTM(3, 4, bidirectional=True)

    def forward(self, x: Tensor, state: Any = None, **options: Any) -> tuple[Tensor, Any]:
        done: tuple[Tensor, Any] = self.both(x, state)
        return done


class Crowd(nn.Module):
    """Runs with a batch of 3 only."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        done: Tensor = self.gru(x, torch.zeros(1, 3, 4))[0]
        return done


MODULES: list[tuple[Callable[[], nn.Module], str]] = [
    (
        run(lambda m, x: m.norm(m.fc(x)), fc=fc, norm=lambda: nn.BatchNorm1d(3)),
        "module.norm must be a layer that streams, got BatchNorm1d; ",
    ),
    (
        run(lambda m, x: m.l(x)[0], l=lambda: lstm(bidirectional=True)),
        (
            "module.l must run forward only to stream, got bidirectional=True: it needs the whole"
            " future"
        ),
    ),
    (
        Backward,
        (
            "module must be able to stream, got Backward: both: a bidirectional layer needs the"
            " whole future before its first output"
        ),
    ),
    (
        lambda: nn.Sequential(lstm(), nn.GRU(4, 4)),
        "module.1 must read (T, B, C), as GRU with batch_first=False does, got (B, T, C)",
    ),
    (
        run(lambda m, x: m.cell(m.l(x)[0]), l=lstm, cell=lambda: nn.GRUCell(4, 4)),
        "module.cell must read one step, (B, C), as GRUCell does, got (B, T, C)",
    ),
    (lambda: nn.Sequential(fc(), nn.Embedding(3, 4)), "module.1 must read tokens, got (T, B, C)"),
    (
        lambda: nn.Sequential(fc(), fc(4, 4)),
        (
            "module must be made of layers that fit together, got some where layer 1 must take the"
            " width that layer 0 gives, 3, got 4"
        ),
    ),
    (Deaf, "module must have a forward that takes an input, got one without arguments"),
    (Two, "module must read its first argument only, got *more too; give it a default"),
    (
        Crowd,
        (
            "module must run on an input (T, B, C), here (5, 2, 3), got RuntimeError: Expected"
            " hidden size (1, 2, 4), got [1, 3, 4]"
        ),
    ),
]


REFUSED = [*STATES, *CONVOLUTIONS, *FUNCTIONS, *MODULES]


@pytest.mark.parametrize(("make", "text"), REFUSED, ids=[text[:50] for _, text in REFUSED])
def test_what_cannot_be_taken_is_named(make: Callable[[], nn.Module], text: str) -> None:
    with pytest.raises(ConversionError) as raised:
        network_of(make())
    message = str(raised.value)
    assert message == text or (text.endswith(("takes ", "; ")) and message.startswith(text))
    assert "\n" not in message


def test_what_is_refused_is_refused_before_it_is_compared() -> None:
    """Nothing but a subclass and a hook is left to the comparison."""
    for make, text in [*STATES, *CONVOLUTIONS, *FUNCTIONS, *MODULES[:-1]]:
        with pytest.raises(ConversionError) as raised:
            network_of(make(), check=False)
        assert str(raised.value).startswith(text)


def test_an_example_that_fits_is_run() -> None:
    assert network_of(Crowd(), example=torch.zeros(4, 3, 3)).output_size == 4


@pytest.mark.parametrize("change", [lambda m, x, y: y * 1.001, lambda m, x, y: y.roll(1, 0)])
def test_what_a_hook_does_is_seen(change: Any) -> None:
    module = nn.Sequential(fc(), nn.GELU())
    module[0].register_forward_hook(change)
    with pytest.raises(
        ConversionError,
        match=(
            r"^module must compute what its layers say, got numbers that differ by .*; is forward"
            r" its own\?$"
        ),
    ):
        network_of(module)
    assert network_of(module, check=False).output_size == 3


def test_the_comparison_goes_on_past_what_a_convolution_looks_back() -> None:
    module = nn.Sequential(nn.ConstantPad1d((8, 0), 0.0), conv(9))
    module[1].register_forward_hook(lambda m, x, y: torch.cat([y[..., :9], 0 * y[..., 9:]], -1))
    with pytest.raises(
        ConversionError, match="module must compute what its layers say, got numbers that differ by"
    ):
        network_of(module)


def test_the_comparison_tells_both_gelus_apart() -> None:
    class Mistaken(nn.GELU):
        __module__ = "torch.nn.mistaken"

        def forward(self, input: Tensor) -> Tensor:
            return F.gelu(input, approximate="tanh")

    with pytest.raises(
        ConversionError, match="module must compute what its layers say, got numbers that differ by"
    ):
        network_of(nn.Sequential(nn.Linear(3, 40), Mistaken()))


@pytest.mark.filterwarnings("ignore")
def test_modules_that_are_wrapped_are_named_or_unwrapped() -> None:
    plain = nn.Sequential(nn.Linear(3, 4), nn.Tanh())
    with pytest.raises(
        ConversionError,
        match="^module must be made of Python's modules, got TorchScript; give the module ",
    ):
        network_of(torch.jit.trace(plain, torch.zeros(2, 3)))
    assert network_of(torch.compile(plain)).output_size == 4  # type: ignore[arg-type]
    quantised = torch.ao.quantization.quantize_dynamic(plain, {nn.Linear})
    with pytest.raises(
        ConversionError,
        match=(
            r"^module\.0 must be a layer that streams, got torch\.ao\.\S+\.Linear; recurra takes "
        ),
    ):
        network_of(quantised)
