"""A module with a forward of its own, made of layers that are known: its graph, walked from the
input to the output.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor, fx, nn

from recurra.errors import ArgumentError, ConversionError, shape_text
from recurra.export.torch_calls import CALLS, Extent, Shape, Zeros, is_nothing, is_zero
from recurra.export.torch_flow import Flow, Path, WidthUnknown
from recurra.export.torch_layers import TAKEN, Past, is_known

Call = Callable[[str, nn.Module, Flow], Any]


class Tracer(fx.Tracer):
    """Sees a known module as one node, and looks into every other."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module is one node."""
        return is_known(m)


def followed(
    path: Path,
    name: str,
    module: nn.Module,
    flow: Flow,
    call: Call,
    output: int | str | None = None,
) -> Any:
    """A flow through a forward: its output, and where it gives more a tuple of it, its place or
    key, and a state.

    Args:
        path: what leads flows.
        name: of the module.
        module: what is called.
        flow: its input.
        call: leads a flow through a module that is known.
        output: which of several outputs is meant; None for the only one beside its states.

    Raises:
        ArgumentError: there is no such output.
        ConversionError: torch.fx cannot follow the forward, it does what does not stream, or has
            several outputs.
    """
    return Walk(path, name, module, call).run(_traced(name, module), flow, output)


def _traced(name: str, module: nn.Module) -> fx.Graph:
    parameters = list(inspect.signature(module.forward).parameters.values())
    if not parameters:
        raise ConversionError(
            f"{name} must have a forward that takes an input, got one without arguments"
        )
    others = {
        p.name: None if p.default is p.empty else p.default
        for p in parameters[1:]
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    }
    try:
        return Tracer().trace(module, others)
    except Exception as error:  # whatever a forward may raise
        text = str(error).strip().split(". ")[0].splitlines()
        raise ConversionError(
            f"{name} must have a forward that torch.fx can follow, without a branch or a loop that"
            f" depends on the input, got {type(error).__name__}:"
            f" {text[0] if text else 'no reason given'}"
        ) from error


class Walk:
    """Goes along a graph, node by node.

    Args:
        path: what leads flows.
        name: of the module.
        module: whose graph it is.
        call: leads a flow through a module that is one node.
    """

    def __init__(self, path: Path, name: str, module: nn.Module, call: Call) -> None:
        self.path, self.name, self.module, self.call = path, name, module, call
        self.values: dict[fx.Node, Any] = {}

    def run(self, graph: fx.Graph, flow: Flow, wanted: int | str | None) -> Any:
        """The forward's output; see `followed`."""
        entries = _entries(
            next(node for node in graph.nodes if node.op == "output").args[0], wanted
        )
        if wanted is not None and wanted not in entries:
            names = ", ".join(repr(key) for key in entries if key is not None)
            raise ArgumentError(
                f"output must be one of {names}, got {wanted!r}"
                if names
                else f"output must be left out, got {wanted!r}"
            )
        key = (
            next(iter(entries))
            if len(entries) == 1
            else self._only(graph, flow, entries)
            if wanted is None
            else wanted
        )
        node = entries[key]
        if not isinstance(node, fx.Node):
            raise ConversionError(
                f"{self.name} must give an output, or a tuple that begins with it, got"
                f" {type(node).__name__}"
            )
        done = self._value(graph, flow, node)
        done = done[0] if isinstance(done, tuple) and done and isinstance(done[0], Flow) else done
        if not isinstance(done, Flow):
            raise ConversionError(
                f"{self.name} must give an output at each step, got {said(done)}; export the part"
                " before it"
            )
        return done if key is None else (done, Past(self.name), key)

    def _value(self, graph: fx.Graph, flow: Flow, wanted: fx.Node) -> Any:
        """What a node gives, everything that it needs led along anew."""
        start = next(node for node in graph.nodes if node.op == "placeholder")
        self.values = {start: flow}
        needed = _needed(wanted)
        for node in graph.nodes:
            if node in needed and node is not start:
                self.values[node] = self._node(node)
        return self.values[wanted]

    def _only(
        self, graph: fx.Graph, flow: Flow, entries: Mapping[int | str | None, Any]
    ) -> int | str | None:
        """The one of several outputs that is no state; of those that are both, the one that there
        is.
        """
        kinds = {key: self._kind(graph, flow, entry) for key, entry in entries.items()}
        for kind in ("output", "both"):
            keys = [key for key in entries if kinds[key] == kind]
            if len({id(entries[key]) for key in keys}) == 1:
                return keys[0]
            if keys:
                names = ", ".join(map(repr, keys))
                raise ConversionError(
                    f"{self.name} must give one output beside its states, got {names}; choose one"
                    " by output= (--output)"
                )
        return next(iter(entries))

    def _kind(self, graph: fx.Graph, flow: Flow, entry: Any) -> str:
        """Whether an output is one at each step, a "state", or "both", as what a cell gives is; one
        that is not known is an output.
        """
        orders, kinds = self.path.orders, []
        for node in flat(entry):
            if isinstance(node, fx.Node):
                try:
                    value = self._value(graph, flow, node)
                except WidthUnknown:
                    raise
                except ConversionError:
                    kinds.append("output")
                else:
                    kinds += [
                        "both" if each in self.path.states else "output"
                        for each in flat(value)
                        if isinstance(each, Flow)
                    ]
                    kinds += ["state" for each in flat(value) if isinstance(each, Past)]
                self.path.orders = orders
        alone = isinstance(entry, fx.Node)
        return (
            "output"
            if "output" in kinds
            else "both"
            if "both" in kinds and alone and "state" not in kinds
            else "state"
        )

    def _node(self, node: fx.Node) -> Any:
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda each: self.values[each])
        target: Any = node.target
        if node.op == "placeholder":
            raise ConversionError(
                f"{self.name} must read its first argument only, got {target} too; give it a"
                " default"
            )
        if node.op == "get_attr":
            return _attribute(self.module, target)
        if node.op == "call_module":
            return self._module(target, args, kwargs)
        known = not any(
            isinstance(value, (Flow, Past, Extent, Shape, Zeros)) for value in flat((args, kwargs))
        )
        if known:
            return (
                target(*args, **kwargs)
                if node.op == "call_function"
                else getattr(args[0], target)(*args[1:], **kwargs)
            )
        return self._called(
            _place(self.name, node),
            target if isinstance(target, str) else target.__name__,
            args,
            kwargs,
        )

    def _module(self, target: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name, given = f"{self.name}.{target}", [*args, *kwargs.values()]
        if not given or not isinstance(given[0], Flow):
            raise ConversionError(
                f"{name} must read what comes at each step, got"
                f" {said(given[0]) if given else 'nothing'}; export the part before it"
            )
        for value in (
            *args[1:],
            *(value for key, value in kwargs.items() if key not in ("input", "x", "method")),
        ):
            if value is not given[0] and not is_nothing(value):
                raise ConversionError(
                    f"{name} must begin with its own first state to be exported, got {said(value)}"
                )
        return self.call(name, self.module.get_submodule(target), given[0])

    def _called(self, name: str, called: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for value in flat((args, kwargs)):
            if isinstance(value, Past) and called != "getitem":
                raise ConversionError(
                    f"{name} must use what comes at each step, got {called} of {said(value)};"
                    " export the part before it"
                )
        if (
            called == "getitem"
            and isinstance(args[0], (Past, tuple))
            and not isinstance(args[0], Shape)
        ):
            return args[0] if isinstance(args[0], Past) else args[0][args[1]]
        if is_zero(called, args):
            return Zeros()
        if called not in CALLS:
            raise ConversionError(
                f"{name} must be made of layers that stream, got {called} in its forward; {TAKEN}"
            )
        given = {"x" if key == "input" else key: value for key, value in kwargs.items()}
        try:
            inspect.signature(CALLS[called]).bind(self.path, name, *args, **given)
        except TypeError as error:
            raise ConversionError(
                f"{name} must be made of layers that stream, got {called} in a form unknown here"
                f" ({error})"
            ) from None
        done = CALLS[called](self.path, name, *args, **given)
        if done is NotImplemented:
            raise ConversionError(
                f"{name} must be made of layers that stream, got {called} of"
                f" {', '.join(map(said, args))}; {TAKEN}"
            )
        return done


def _entries(output: Any, wanted: int | str | None) -> dict[int | str | None, Any]:
    """The outputs of a forward by their places, or keys; by None where it gives one alone."""
    if isinstance(output, Mapping):
        return dict(output)
    names: tuple[str, ...] = ()
    if isinstance(output, fx.Node) and isinstance(
        output.target, type
    ):  # a named tuple is made by a call of its class
        names = getattr(output.target, "_fields", ())
        output = output.args if names else output
    if not isinstance(output, (tuple, list)) or not output:
        return {None: output}
    return dict(zip(names, output)) if wanted in names else dict(enumerate(output))


def _needed(wanted: fx.Node) -> set[fx.Node]:
    found, left = {wanted}, [wanted]
    while left:
        for node in left.pop().all_input_nodes:
            if node not in found:
                found.add(node)
                left.append(node)
    return found


def _attribute(module: nn.Module, target: str) -> Any:
    found: Any = module
    for part in target.split("."):
        found = getattr(found, part)
    return found


def _place(name: str, node: fx.Node) -> str:
    """The module in whose forward a node is."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    inner = stack[-1][0] if stack else ""
    return f"{name}.{inner}" if inner else name


def flat(value: Any) -> Iterator[Any]:
    """Every value within tuples, lists, dicts and slices; what stands for a value of the graph is
    one.
    """
    if isinstance(value, (Flow, Past, Extent, Shape, Zeros)):
        yield value
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from flat(each)
    elif isinstance(value, dict):
        yield from flat(list(value.values()))
    elif isinstance(value, slice):
        yield from flat((value.start, value.stop, value.step))
    else:
        yield value


def said(value: Any) -> str:
    """A value in an error's words."""
    for each in flat(value):
        if isinstance(each, Past):
            return f"the state that {each.name} leaves"
        if isinstance(each, Tensor):
            return f"a tensor of the module's own, {shape_text(each.shape)}"
    if isinstance(value, Flow):
        return "what came before it"
    return (
        "the size of the input"
        if isinstance(value, (Extent, Shape))
        else f"{type(value).__name__} {value!r}"[:60]
    )
