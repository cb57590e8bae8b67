"""A program as text that one can read beside the paper. Reads plain data, without torch."""

from __future__ import annotations

from recurra.program.graph import Node, Product, Program
from recurra.wording import printable

INFIX = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "div": "/",
    "gt": ">",
    "ge": ">=",
    "lt": "<",
    "le": "<=",
    "eq": "==",
}


def program_text(program: Program) -> str:
    """A program line by line: each phase's product and operations, then the derivative, where the
    program has one.
    """
    names = _names(program)
    lines = [program.cell, "", "step"]
    for body in program.bodies:
        lines += [_line(program, names, i) for i in body.operand_nodes]
        if body.product:
            lines.append(_product(body.product, names))
        lines += [_line(program, names, i) for i in body.nodes]
    lines += [
        f"  {name}' = {names[i]}" for name, i in program.state.items() if names[i] != f"{name}'"
    ]
    derivative = _derivative(program, names)
    return printable(
        "\n".join([*lines, "", "derivative", *derivative] if derivative else lines)
    )  # the names may be a file's


def _derivative(program: Program, names: dict[int, str]) -> list[str]:
    lines, derivative = [], program.derivative
    for phase, (first, second) in zip(
        reversed(range(len(program.bodies))), derivative.bodies, strict=True
    ):
        lines += [_line(program, names, i) for i in first]
        product = program.bodies[phase].product
        if product and derivative.dv[phase]:
            dv = ", ".join(
                names[derivative.dv[phase][g]] for g in product.gates if g in derivative.dv[phase]
            )
            norm = " through the norm" if product.norm else ""
            weight = f" @ {_weight(product)}" if product.weight else ""
            source = next(
                (
                    i
                    for i, n in enumerate(program.nodes)
                    if n.op == "grad_operand" and n.phase == phase
                ),
                None,
            )
            left = f"d({product.operand})" if source is None else names[source]
            lines.append(f"  {left} = {f'[{dv}]' if len(product.gates) > 1 else dv}{weight}{norm}")
        lines += [_line(program, names, i) for i in second]
    direct = {name: names[i] for name, i in derivative.dstate.items() if names[i] != f"d({name})"}
    return lines + [f"  d({name}) = {value}" for name, value in direct.items()]


def _names(program: Program) -> dict[int, str]:
    names: dict[int, str] = {}
    outputs = {i: name for name, i in program.gates.items()} | {
        i: f"{name}'" for name, i in program.state.items()
    }
    d = program.derivative
    gradients = {i: f"d({name})" for group in (d.dstate, d.dparam) for name, i in group.items()}
    gradients |= {i: f"d(v.{gate})" for each in d.dv for gate, i in each.items()}
    gradients |= {
        i: f"d(a.{gate})" if i in gradients else f"d(u.{gate})" for gate, i in d.du.items()
    }
    temporary = 0
    for number, node in enumerate(program.nodes):
        if node.op == "const":
            names[number] = f"{node.value:g}"
        elif node.op in ("u", "v"):
            names[number] = f"{node.op}.{node.name}"
        elif node.op == "grad":
            names[number] = f"d({node.name}')"
        elif node.op == "grad_operand":
            names[number] = f"d(operand{node.phase + 1 if len(program.bodies) > 1 else ''})"
        elif node.name:
            names[number] = node.name
        elif _sums(program, node):
            names[number] = f"a.{program.nodes[node.args[0]].name}"
        elif number in outputs or number in gradients:
            names[number] = outputs.get(number) or gradients[number]
        else:
            temporary += 1
            names[number] = f"t{temporary}"
    return names


def _sums(program: Program, node: Node) -> bool:
    """Whether a node is the pre-activation u.f + v.f of a gate f."""
    read = [program.nodes[arg] for arg in node.args]
    return (
        node.op == "add"
        and {each.op for each in read} == {"u", "v"}
        and read[0].name == read[1].name
    )


def _line(program: Program, names: dict[int, str], number: int) -> str:
    node = program.nodes[number]
    args = [names[i] for i in node.args]
    right = (
        f"{args[0]} {INFIX[node.op]} {args[1]}"
        if node.op in INFIX
        else f"{node.op}({', '.join(args)})"
    )
    return f"  {names[number]} = {right}"


def _weight(product: Product) -> str:
    part = f"[{', '.join(product.gates)}]" if len(product.gates) < product.total else ""
    return f"{product.weight}{part}"


def _product(product: Product, names: dict[int, str]) -> str:
    right = names[product.operand]
    if product.weight:
        right = f"{right} @ {_weight(product)}.T"
    if product.norm:
        right = f"norm({right}) * {product.gain} + {product.bias}"
    elif product.adds_bias:
        right = f"{right} + {product.bias}"
    return f"  v = {right:<44} blocks {', '.join(product.gates)}"
