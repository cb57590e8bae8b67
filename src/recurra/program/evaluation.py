"""A program without its derivative: all that a cell needs to run, and no more."""

from __future__ import annotations

from recurra.program.graph import ALPHABET, Body, Derivative, Node, Program


def forward_only(program: Program) -> Program:
    """The step of a program: the same numbers, the nodes of its derivative left out.

    >>> from recurra.cells import LSTM
    >>> from recurra.program import trace
    >>> len(trace(LSTM()).nodes), len(forward_only(trace(LSTM())).nodes)
    (49, 23)
    """
    wanted = {*program.state.values(), *program.gates.values()}
    wanted |= {number for body in program.bodies for number in (*body.operand_nodes, *body.nodes)}
    wanted |= {body.product.operand for body in program.bodies if body.product}
    wanted |= {arg for number in wanted for arg in program.nodes[number].args}
    # A product's a and v are kept whether they are read or not: they say what it makes.
    wanted |= {
        number
        for number, node in enumerate(program.nodes)
        if node.op in ("u", "v", "state", "param", "noise")
    }
    order = sorted(wanted)
    to = {number: place for place, number in enumerate(order)}
    nodes = tuple(_moved(program.nodes[number], to) for number in order)
    bodies = tuple(
        Body(
            tuple(to[i] for i in body.operand_nodes),
            body.product and body.product._replace(operand=to[body.product.operand]),
            tuple(to[i] for i in body.nodes),
        )
        for body in program.bodies
    )
    state, gates = (
        {name: to[number] for name, number in group.items()}
        for group in (program.state, program.gates)
    )
    nothing = Derivative(tuple(((), ()) for _ in bodies), {}, tuple({} for _ in bodies), {}, {}, {})
    return Program(
        program.cell,
        nodes,
        bodies,
        state,
        gates,
        program.noise,
        program.params,
        program.widths,
        program.input_norm,
        nothing,
    )


def _moved(node: Node, to: dict[int, int]) -> Node:
    return node._replace(args=tuple(to[arg] for arg in node.args)) if node.op in ALPHABET else node
