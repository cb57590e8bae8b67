"""RNN, LSTM and GRU are torch.nn's, in values, gradients, forms and habits."""

from __future__ import annotations

import copy
import io
import pickle
import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import (
    PackedSequence,
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
)

import recurra
from recurra import cells
from recurra.errors import ArgumentError
from tests.cells.zoo import assert_close, gradients, tensors

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "RNN": ("RNN", {}),
    "RNN relu": ("RNN", dict(nonlinearity="relu")),
    "LSTM": ("LSTM", {}),
    "GRU": ("GRU", {}),
    "LSTM proj": ("LSTM", dict(proj_size=3)),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no bias": dict(bias=False),
    "both ways": dict(bidirectional=True),
    "three": dict(num_layers=3),
    "batch first": dict(batch_first=True),
    "all": dict(num_layers=3, bidirectional=True, batch_first=True),
}


def pair(kind: str, I: int = 4, H: int = 5, **options: Any) -> tuple[Any, Any]:
    """torch's module and recurra's, with the same weights."""
    name, more = KINDS[kind]
    theirs = getattr(nn, name)(I, H, **more, **options)
    ours = getattr(recurra, name)(I, H, **more, **options)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def first_state(module: Any, B: int | None) -> Any:
    """A random hx in torch's form."""
    layers = module.num_layers * (2 if module.bidirectional else 1)
    widths = [getattr(module, "proj_size", 0) or module.hidden_size, module.hidden_size]
    made = [
        torch.randn(layers, *([] if B is None else [B]), width).requires_grad_() for width in widths
    ]
    return tuple(made) if isinstance(module, (nn.LSTM, recurra.LSTM)) else made[0]


def equal(
    theirs: Any, ours: Any, x: Any, hx: Any = None, method: str = "auto", tolerance: float = 1e-10
) -> None:
    """Values and all gradients of one call."""
    leaves = {"x": x.data if isinstance(x, PackedSequence) else x} | {
        f"hx{i}": value for i, value in enumerate(tensors(hx))
    }
    expected, found = theirs(x, hx), ours(x, hx, method=method)
    assert type(found[0]) is type(expected[0]) and type(found[1]) is type(expected[1])
    if isinstance(found[0], PackedSequence):
        for field in ("batch_sizes", "sorted_indices", "unsorted_indices"):
            mine, other = getattr(found[0], field), getattr(expected[0], field)
            assert (mine is None) == (other is None) and (
                mine is None or torch.equal(mine, other)
            ), field
        expected, found = (expected[0].data, expected[1]), (found[0].data, found[1])
    assert_close(found, expected, tolerance)
    wanted = gradients(expected, leaves | dict(theirs.named_parameters()))
    d = gradients(found, leaves | dict(ours.named_parameters()))
    for name in wanted:
        assert_close(d[name], wanted[name], tolerance, f"d {name}")


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients_equal_torch(kind: str, option: str, with_state: bool) -> None:
    theirs, ours = pair(kind, **OPTIONS[option])
    x = torch.randn(6, 3, 4, requires_grad=True)
    rows = 6 if theirs.batch_first else 3
    for method in ("auto", "loop", "checkpointed"):
        equal(theirs, ours, x, first_state(ours, rows) if with_state else None, method)


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("option", ["plain", "all"])
@pytest.mark.parametrize("kind", KINDS)
def test_one_sequence_without_a_batch_equals_torch(
    kind: str, option: str, with_state: bool
) -> None:
    theirs, ours = pair(kind, **OPTIONS[option])
    equal(
        theirs,
        ours,
        torch.randn(6, 4, requires_grad=True),
        first_state(ours, None) if with_state else None,
    )


@pytest.mark.parametrize("is_sorted", [False, True])
@pytest.mark.parametrize("option", ["plain", "all"])
@pytest.mark.parametrize("kind", KINDS)
def test_packed_sequences_equal_torch(kind: str, option: str, is_sorted: bool) -> None:
    theirs, ours = pair(kind, **OPTIONS[option])
    lengths = [6, 4, 1] if is_sorted else [1, 6, 4]
    packed = pack_sequence([torch.randn(n, 4) for n in lengths], enforce_sorted=is_sorted)
    packed = packed._replace(data=packed.data.requires_grad_())
    for method in ("auto", "loop"):
        equal(theirs, ours, packed, method=method)
        equal(theirs, ours, packed, first_state(ours, 3), method=method)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("option", ["plain", "all"])
def test_lengths_equal_a_packed_sequence(kind: str, option: str) -> None:
    theirs, ours = pair(kind, **OPTIONS[option])
    lengths = torch.tensor([2, 6, 1])
    x = torch.randn(3, 6, 4) if ours.batch_first else torch.randn(6, 3, 4)
    packed = pack_padded_sequence(x, lengths, ours.batch_first, enforce_sorted=False)
    y, state = theirs(packed)
    padded, _ = pad_packed_sequence(y, ours.batch_first)
    assert_close(ours(x, lengths=lengths), [padded, state], 1e-12)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_resets_begin_a_row_anew(kind: str, batch_first: bool) -> None:
    ours = getattr(recurra, kind)(4, 5, num_layers=2, batch_first=batch_first)
    x, resets = torch.randn(6, 3, 4), torch.zeros(6, 3, dtype=torch.bool)
    resets[4] = True
    flip = (lambda v: v.transpose(0, 1)) if batch_first else (lambda v: v)
    y, state = ours(flip(x), first_state(ours, 3), resets=flip(resets))
    expected, final = ours(flip(x[4:]))
    assert_close([flip(y)[4:], state], [flip(expected), final])
    y, _ = ours(x[:, 0], resets=resets[:, 0])
    assert_close(y[4:], ours(x[4:, 0])[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_first", [False, True])
def test_steps_equal_the_whole(kind: str, batch_first: bool) -> None:
    _, ours = pair(kind, num_layers=2, batch_first=batch_first)
    x = torch.randn(6, 3, 4)
    for rows, each in ((3, x), (None, x[:, 0])):
        state = first_state(ours, rows)
        y, final = ours(each.transpose(0, 1) if batch_first and rows else each, state)
        steps = []
        for x_t in each:
            y_t, state = ours.step(x_t, state)
            steps.append(y_t)
        together = torch.stack(steps, 1 if batch_first and rows else 0)
        assert_close([together, state], [y, final])


def test_a_list_for_the_pair_of_an_lstm_is_taken() -> None:
    theirs, ours = pair("LSTM")
    x, hx = torch.randn(2, 3, 4), first_state(ours, 3)
    assert_close(ours(x, list(hx)), theirs(x, hx), 1e-12)


@pytest.mark.parametrize("kind", ["RNN", "RNN relu", "LSTM", "GRU"])
def test_float32_is_as_near_to_float64_as_the_loop_is(kind: str) -> None:
    theirs, ours = pair(kind, I=7, H=63, num_layers=2, bidirectional=True)
    x = torch.randn(40, 5, 7)
    exact, _ = theirs(x)
    ours = ours.float()
    loop, _ = ours(x.float(), method="loop")
    bound = 2 * float((loop - exact).detach().abs().max()) + 16 * torch.finfo(
        torch.float32
    ).eps * max(1.0, float(exact.detach().abs().max()))
    for method in ("auto", "vendor", "checkpointed"):
        found, _ = ours(x.float(), method=method)
        assert found.dtype == torch.float32
        assert float((found - exact).detach().abs().max()) <= bound


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("option", ["plain", "all", "no bias"])
def test_state_dicts_go_both_ways_in_torchs_order(kind: str, option: str) -> None:
    theirs, ours = pair(kind, **OPTIONS[option])
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [name for name, _ in ours.named_parameters()] == [
        name for name, _ in theirs.named_parameters()
    ]
    theirs.load_state_dict(ours.state_dict())
    assert [len(each) for each in ours.all_weights] == [len(each) for each in theirs.all_weights]
    assert ours.flatten_parameters() is None
    assert (
        ours.mode == theirs.mode
        and ours.extra_repr().split(", ")[:2] == theirs.extra_repr().split(", ")[:2]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_copies_and_pickles_and_files_give_the_same_numbers(kind: str) -> None:
    _, ours = pair(kind, num_layers=2)
    x = torch.randn(3, 2, 4)
    expected = ours(x)
    blob = io.BytesIO()
    torch.save(ours, blob)
    blob.seek(0)
    for again in (
        copy.deepcopy(ours),
        pickle.loads(pickle.dumps(ours)),
        torch.load(blob, weights_only=False),
    ):
        assert_close(again(x), expected)
        assert all(a is not b for a, b in zip(again.parameters(), ours.parameters()))
    blob = io.BytesIO()
    torch.save(ours.state_dict(), blob)
    blob.seek(0)
    fresh = pair(kind, num_layers=2)[1]
    fresh.load_state_dict(torch.load(blob))
    assert_close(fresh(x), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", KINDS)
def test_dtype_and_device_arguments_hold(kind: str, dtype: torch.dtype) -> None:
    name, more = KINDS[kind]
    made = getattr(recurra, name)(4, 5, num_layers=2, dtype=dtype, **more)
    assert {p.dtype for p in made.parameters()} == {dtype} and all(
        p.isfinite().all() for p in made.parameters()
    )
    y, state = made(torch.randn(3, 2, 4, dtype=dtype), method="loop")
    assert y.dtype == dtype and all(value.dtype == dtype for value in tensors(state))
    ghost = getattr(recurra, name)(4, 5, device="meta", dtype=dtype, **more)
    assert {p.device.type for p in ghost.parameters()} == {"meta"}
    assert (
        ghost(torch.zeros(3, 2, 4, device="meta", dtype=dtype), method="loop")[0].shape == y.shape
    )


def test_dropout_acts_between_layers_and_only_when_training() -> None:
    lstm = recurra.RNN(4, 300, num_layers=2, dropout=0.25, init="torch")
    with torch.no_grad():
        lstm.weight_ih_l1.copy_(torch.eye(300))
        lstm.weight_hh_l1.zero_()
        lstm.bias_ih_l1.zero_()
        lstm.bias_hh_l1.zero_()
    x = torch.randn(10, 7, 4)
    plain = lstm.eval()(x)[0]
    assert_close(lstm(x)[0], plain)
    dropped = lstm.train()(x)[0]
    share = float((dropped == 0).double().mean())
    assert abs(share - 0.25) < 0.02
    kept = dropped != 0
    assert_close(torch.atanh(dropped[kept]) * 0.75, torch.atanh(plain[kept]), 1e-10)
    assert (dropped == 0).any(0).all(0).any(), "each step has its own mask, as in torch"


def test_dropout_with_one_layer_warns_as_torch_does() -> None:
    for layer, kind in (
        (nn.LSTM, "dropout option"),
        (recurra.LSTM, "dropout=0.5 does nothing with num_layers=1; use recurra.LockedDropout"),
    ):
        with pytest.warns(UserWarning, match=kind) as caught:
            layer(3, 4, dropout=0.5)
        assert caught[0].filename == __file__ or layer is nn.LSTM


def test_a_net_of_both_directions_does_not_step() -> None:
    with pytest.raises(
        ArgumentError,
        match=(
            "step must be called on a module that can stream, got GRU: a bidirectional layer needs"
            " the whole future"
        ),
    ):
        recurra.GRU(4, 5, bidirectional=True).step(torch.zeros(2, 4))
    assert recurra.GRU(4, 5).streaming_obstacle() is None


def test_init_torch_is_torchs_and_orthogonal_is_the_default() -> None:
    theirs, ours = nn.LSTM(4, 400), recurra.LSTM(4, 400, init="torch")
    for mine, other in zip(ours.parameters(), theirs.parameters()):
        assert (
            float(mine.detach().abs().max()) <= 1 / 20
            and abs(float((mine.std() - other.std()).detach())) < 0.003
        )
    ours = recurra.LSTM(4, 5)
    block = ours.weight_hh_l0.detach()[:5]
    assert_close(block @ block.T, torch.eye(5), 1e-6)
    assert ours.bias_ih_l0.tolist() == [0.0] * 5 + [1.0] * 5 + [0.0] * 10


@pytest.mark.cuda
@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients_equal_torch_on_cuda(kind: str) -> None:
    theirs, ours = (net.cuda() for net in pair(kind, num_layers=2, bidirectional=True))
    equal(theirs, ours, torch.randn(6, 3, 4, device="cuda", requires_grad=True))


def test_tensors_of_a_state_are_what_recurra_state_expects() -> None:
    _, (h, c) = recurra.LSTM(4, 5, num_layers=2)(torch.randn(3, 2, 4))
    kept: tuple[Tensor, ...] = recurra.state.reset((h, c), [1])
    assert (
        float(kept[0].detach()[:, 1].abs().sum()) == 0
        and float(kept[1].detach()[:, 0].abs().sum()) > 0
    )


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("method", ["auto", "loop", "vendor", "checkpointed", "fused"])
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_rows_without_a_step_have_a_graph_and_gradients_of_zero(
    kind: str, method: str, steps: int
) -> None:
    for bidirectional in (False, True):
        layer = getattr(recurra, kind)(3, 4, bidirectional=bidirectional)
        x = torch.full((steps, 2, 3), float("nan"), requires_grad=True)
        y, state = layer(x, lengths=[0, 0], method=method)
        for value in (y, *(state if isinstance(state, tuple) else (state,))):
            gradients = torch.autograd.grad(
                value.sum(), [x, *layer.parameters()], retain_graph=True, allow_unused=True
            )
            assert not any(
                gradient is not None and bool(gradient.any()) for gradient in gradients
            ) and not bool(value.any())
        y.sum().backward()
        assert x.grad is not None and not bool(x.grad.any())


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("name", ["bias", "batch_first", "bidirectional", "recompute"])
@pytest.mark.parametrize("value", [1, 0, "no", None, 1.0])
def test_a_switch_must_be_true_or_false(kind: str, name: str, value: Any) -> None:
    with pytest.raises(ArgumentError, match=f"^{name} must be True or False, got {value!r}$"):
        getattr(recurra, kind)(3, 4, **{name: value})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: recurra.LSTM(3, 4, proj_size=True),
            "proj_size must be a whole number in 0..3, got True; 0 is none, and hidden_size - 1"
            " the most",
        ),
        (
            lambda: recurra.GRU(3, 4, num_layers=True),
            "num_layers must be a positive whole number, got True",
        ),
        (lambda: recurra.GRU(3, 4, dropout=True), "dropout must be a number in [0, 1], got True"),
        (lambda: recurra.LSTMCell(3, 4, bias=1), "bias must be True or False, got 1"),
        (
            lambda: recurra.Recurrent(cells.GRU(), 3, 4, biases=True),
            "biases must be a whole number in 0..2, got True",
        ),
        (
            lambda: recurra.Recurrent(cells.GRU(), 3, 4, learned_state=1),
            "learned_state must be True or False, got 1",
        ),
        (
            lambda: recurra.Recurrent(cells.GRU(), 3, 4, recompute="no"),
            "recompute must be True or False, got 'no'",
        ),
        (
            lambda: recurra.Recurrent(cells.GRU(), 3, 4).scan(torch.zeros(2, 1, 3), reverse="no"),
            "reverse must be True or False, got 'no'",
        ),
        (
            lambda: cells.ProjectedLSTM(True),
            "proj_size must be a positive whole number, got True; use LSTM for no projection",
        ),
        (
            lambda: cells.ProjectedLSTM(1.5),
            "proj_size must be a positive whole number, got 1.5; use LSTM for no projection",
        ),
    ],
)
def test_a_number_is_no_switch_and_a_switch_no_number(call: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}$"):
        call()


def test_a_module_of_torch_that_took_a_number_for_a_switch_is_swapped() -> None:
    one, both = (
        recurra.layers.from_torch(nn.GRU(3, 4, num_layers=True)),
        recurra.layers.from_torch(nn.GRU(3, 4, bidirectional=1)),
    )
    assert (
        repr(one) == "GRU(3, 4)"
        and both.bidirectional is True
        and both(torch.randn(5, 2, 3))[0].shape == (5, 2, 8)
    )


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize(
    "options", [{}, {"batch_first": True}, {"bidirectional": True}, {"num_layers": 2}], ids=str
)
def test_work_in_place_on_an_output_changes_no_gradient(kind: str, options: dict[str, Any]) -> None:
    """torch.nn.RNN and GRU take it on a CPU; the scan is run again for its backward."""
    layer, x, lengths = (
        getattr(recurra, kind)(3, 4, **options),
        torch.randn(5, 5, 3).requires_grad_(),
        [5, 2, 0, 1, 4],
    )
    leaves = dict(layer.named_parameters()) | {"x": x}
    for given in ({}, {"lengths": lengths}):
        wanted = gradients([F.relu(value) for value in tensors(layer(x, **given))], leaves)
        found = gradients(
            [F.relu(value, inplace=True) for value in tensors(layer(x, **given))], leaves
        )
        assert_close(found, wanted)
        y = layer(x, **given)[0]
        y *= 2
        (plain,) = torch.autograd.grad(layer(x, **given)[0].sum(), x)
        assert_close(torch.autograd.grad(y.sum(), x)[0], 2 * plain)


def test_work_in_place_on_what_the_scan_reads_raises() -> None:
    layer, x = recurra.GRU(3, 4), torch.randn(5, 2, 3)
    for change in (lambda: x.mul_(2), lambda: layer.weight_hh_l0.mul_(2)):
        y = layer(x)[0]
        y *= 2
        with torch.no_grad():
            change()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()
