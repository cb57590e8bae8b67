"""The scan as two operators of PyTorch, `recurra::scan_forward` and `recurra::scan_backward`.

The program travels as JSON and the options as words, so a graph that holds a scan needs nothing
else. Gradients of gradients are found by PyTorch's own operations, one step after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recurra.kernels.backward import Seeds, backward
from recurra.kernels.encode import MOST_KEPT, Encoded, encode
from recurra.kernels.forward import run
from recurra.kernels.launch import Arrays, Made
from recurra.kernels.outputs import Options, Outputs, allocate, options_of, unflat
from recurra.kernels.replay import replay
from recurra.program.graph import Program
from recurra.program.serial import from_json, to_json

READ = (
    "Tensor x, Tensor[] state, Tensor[] initial, Tensor?[] weights, Tensor[] noise, Tensor?"
    " lengths, Tensor? resets"
)
LIBRARY: Any = torch.library.Library("recurra", "DEF")  # type: ignore[no-untyped-call]
LIBRARY.define(f"scan_forward({READ}, str program, str options) -> Tensor[]")
LIBRARY.define(
    f"scan_backward({READ}, str program, str options, Tensor h, Tensor[] states, Tensor? saved, "
    "Tensor? dh, Tensor?[] dfinal, Tensor?[] dstates, bool[] needed) -> Tensor[]"
)

_TEXTS: dict[int, tuple[Program, str]] = {}
_PROGRAMS: dict[str, Program] = {}


def text_of(program: Program) -> str:
    """A program as the operators take it; the same text for the same program.

    >>> from recurra.cells import LSTM
    >>> from recurra.program import trace
    >>> program_of(text_of(trace(LSTM()))) is trace(LSTM())
    True
    """
    found = _TEXTS.get(id(program))
    if found is None:
        if len(_TEXTS) >= MOST_KEPT:
            _TEXTS.clear()
        found = _TEXTS[id(program)] = program, to_json(program)
        _PROGRAMS.setdefault(found[1], program)
    return found[1]


def program_of(text: str) -> Program:
    """The program that a text says."""
    program = _PROGRAMS.get(text)
    if program is None:
        if len(_PROGRAMS) >= MOST_KEPT:
            _PROGRAMS.clear()
        program = _PROGRAMS[text] = from_json(text)
    return program


def _arrays(read: Sequence[Any], options: Options) -> Arrays:
    """What both operators begin with."""
    x, state, initial, weights, noise, lengths, resets = read
    return Arrays(x, state, initial, weights, noise, lengths, resets, options.reverse)


def _code(arrays: Arrays, text: str, options: Options) -> Encoded:
    program, (rows, input_size) = program_of(text), arrays.weights[0].shape
    widths = tuple(
        [int(value.shape[-1]) for value in arrays.state]
    )  # a graph of any length is still one of these sizes
    return encode(program, int(rows) // len(program.gates), widths, int(input_size), options.noise)


def _scan_forward(*arguments: Any) -> list[Tensor]:
    *read, program, text = arguments
    options = options_of(text)
    arrays = _arrays(read, options)
    return run(_code(arrays, program, options), arrays, options).flat()


def _shapes_forward(*arguments: Any) -> list[Tensor]:
    *read, program, text = arguments
    options = options_of(text)
    arrays = _arrays(read, options)
    return allocate(
        _code(arrays, program, options), arrays.x, arrays.lengths is not None, options
    ).flat()


def _scan_backward(*arguments: Any) -> list[Tensor]:
    *read, program, text, h, states, saved, dh, dfinal, dstates, needed = arguments
    options = options_of(text)
    arrays = _arrays(read, options)
    code = _code(arrays, program, options)
    return backward(
        code, arrays, Made(h, states=states, saved=saved), Seeds(dh, dfinal, dstates), needed
    )


def _shapes_backward(*arguments: Any) -> list[Tensor]:
    x, state, initial, weights, noise = arguments[:5]
    tensors = (x, *state, *initial, *weights, *noise)
    return [
        tensor.new_empty(tensor.shape)
        for tensor, flag in zip(tensors, arguments[-1])
        if flag and tensor is not None
    ]


def plain(x: Tensor) -> bool:
    """Whether a tensor is one of numbers in memory and nobody traces what is done with it."""
    return type(x) in (Tensor, torch.nn.Parameter) and not torch._C._len_torch_dispatch_stack()


class Call(NamedTuple):
    """What of a scan is not a tensor: the program, the options, and how many of each kind of tensor
    follow x.
    """

    program: str
    options: Options
    counts: tuple[int, int, int, int]

    def split(self, tensors: Sequence[Any]) -> list[list[Any]]:
        """State, initial state, weights and noise of one list."""
        rest, groups = list(tensors), []
        for count in self.counts:
            groups.append(rest[:count])
            rest = rest[count:]
        return groups


class Scan(torch.autograd.Function):
    """The scan with its derivative: the forward pass saves, the backward pass is
    `scan_backward`.
    """

    @staticmethod
    def forward(
        ctx: Any, call: Call, lengths: Any, resets: Any, x: Tensor, *tensors: Any
    ) -> tuple[Tensor, ...]:
        """Run the operator below autograd."""
        ctx.set_materialize_grads(False)
        ctx.call, options = call, call.options
        out = _outputs(call, lengths, resets, x, tensors)
        ctx.save_for_backward(lengths, resets, x, *tensors, out.h, *out.states, out.saved)
        ctx.given = (
            None
            if _packing()
            else [
                (each, each if each is None else each._version)
                for each in (lengths, resets, x, *tensors)
            ]
        )
        ctx.mark_non_differentiable(*out.gates)
        return tuple(out._replace(states=out.states if options.states else (), saved=None).flat())

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Any, ...]:
        """Run `scan_backward`; where gradients are recorded, or many found at once by vmap, go
        through the steps again.
        """
        lengths, resets, x, *rest = _saved(ctx)
        ctx.given, call, count = None, ctx.call, sum(ctx.call.counts)
        tensors, (h, *states, saved) = rest[:count], rest[count:]
        needed = ctx.needs_input_grad[3:]
        seeds = _seeds(call, gradients, len(states) + 1, lengths is not None)
        if torch.is_grad_enabled() or _batched(gradients):
            return (None, None, None, *_again(call, lengths, resets, (x, *tensors), seeds, needed))
        read = (x, *call.split(tensors), lengths, resets, call.program, call.options.text())
        run_backward = _scan_backward if plain(h) else _backward
        found = iter(
            run_backward(
                *read,
                h,
                states,
                saved,
                seeds.h,
                seeds.final,
                seeds.states,
                [bool(flag) for flag in needed],
            )
        )
        return (None, None, None, *(next(found) if flag else None for flag in needed))


def _outputs(call: Call, lengths: Any, resets: Any, x: Tensor, tensors: Sequence[Any]) -> Outputs:
    """Run `scan_forward`, with what its backward needs."""
    read = (x, *call.split(tensors), lengths, resets, call.program, call.options.text())
    if plain(x):
        made = _scan_forward(*read)
    else:
        with torch._C._AutoDispatchBelowAutograd():
            made = _forward(*read)
    program = program_of(call.program)
    return unflat(made, len(program.state), len(program.gates), lengths is not None, call.options)


def _packing() -> bool:
    """Whether what is saved is put elsewhere meanwhile, by torch.utils.checkpoint for example: then
    nothing else is held.
    """
    return torch._C._autograd._top_saved_tensors_default_hooks(True) is not None


def _saved(ctx: Any) -> Sequence[Any]:
    """What the forward pass saved. Where somebody has worked in place on an output, which is among
    it, it is found again.

    torch.nn.GRU and RNN take such work (`ReLU(inplace=True)` after them). A copy of every output
    would cost a tenth of a step.
    """
    try:
        return ctx.saved_tensors  # type: ignore[no-any-return]
    except RuntimeError as error:
        same = ctx.given is not None and all(
            each is None or each._version == version for each, version in ctx.given
        )
        if "inplace operation" not in str(error) or not same:
            raise
    given: list[Any] = [each if each is None else each.detach() for each, _ in ctx.given]
    lengths, resets, x, *tensors = given
    out = _outputs(ctx.call, lengths, resets, x, tensors)
    return lengths, resets, x, *tensors, out.h, *out.states, out.saved


def _batched(gradients: Sequence[Any]) -> bool:
    """Whether vmap hands many gradients over as one, as torch.func and `is_grads_batched` do."""
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return True
    return any(
        each is not None and torch._C._functorch.is_legacy_batchedtensor(each) for each in gradients
    )


def _seeds(call: Call, gradients: Sequence[Any], states: int, ragged: bool) -> Seeds:
    """The gradients of a scan's outputs by what they are of."""
    dh, final, rest = gradients[0], list(gradients[1 : 1 + states]), list(gradients[1 + states :])
    if not call.options.states:
        return Seeds(dh, final)
    held = rest.pop(0) if ragged else None
    return Seeds(dh, final, [held, *rest[: states - 1]])


def _again(
    call: Call,
    lengths: Any,
    resets: Any,
    tensors: Sequence[Any],
    seeds: Seeds,
    needed: Sequence[bool],
) -> list[Tensor | None]:
    """The same gradients by PyTorch's own operations, recorded.

    Each tensor is looked at through a view of its own, so that one that depends on another counts
    once.
    """
    recorded = torch.is_grad_enabled()
    with torch.enable_grad():
        x, *rest = [tensor if tensor is None else tensor.view_as(tensor) for tensor in tensors]
        arrays = _arrays((x, *call.split(rest), lengths, resets), call.options)
        done = replay(_code(arrays, call.program, call.options), arrays)
    outputs = [done.h, *done.final, *(done.states if seeds.states else ())]
    given = [seeds.h, *seeds.final, *seeds.states]
    pairs = [
        (out, seed) for out, seed in zip(outputs, given) if seed is not None and out.requires_grad
    ]
    wanted = [tensor for tensor, flag in zip((x, *rest), needed) if flag and tensor is not None]
    if not pairs:
        return [None] * len(needed)
    reached, weightings = zip(*pairs)
    found = iter(
        torch.autograd.grad(reached, wanted, weightings, create_graph=recorded, allow_unused=True)
    )
    return [next(found) if flag else None for flag in needed]


def with_gradients(*arguments: Any) -> list[Tensor]:
    """The operator as autograd sees it; what asks for no gradient goes straight on. Called
    directly, it is 50 us quicker.
    """
    x, state, initial, weights, noise, lengths, resets, program, text = arguments
    options, tensors = options_of(text), (*state, *initial, *weights, *noise)
    recorded = torch.is_grad_enabled() and any(
        tensor is not None and tensor.requires_grad for tensor in (x, *tensors)
    )
    if not recorded or options.saving:
        with torch._C._AutoDispatchBelowAutograd():
            return _forward(*arguments)  # type: ignore[no-any-return]
    options = options._replace(saving=True, noise=any(factor.requires_grad for factor in noise))
    call = Call(program, options, (len(state), len(initial), len(weights), len(noise)))
    return list(Scan.apply(call, lengths, resets, x, *tensors))  # type: ignore[no-untyped-call]


LIBRARY.impl("scan_forward", _scan_forward, "CPU")
LIBRARY.impl("scan_forward", with_gradients, "Autograd")
LIBRARY.impl("scan_backward", _scan_backward, "CPU")
torch.library.register_fake("recurra::scan_forward", _shapes_forward, lib=LIBRARY)
torch.library.register_fake("recurra::scan_backward", _shapes_backward, lib=LIBRARY)
_forward = torch.ops.recurra.scan_forward.default
_backward = torch.ops.recurra.scan_backward.default
