"""Look at an installed recurra where there is no PyTorch. Prints what it sees; fails if anything is
amiss.
"""

from __future__ import annotations

import importlib.util
import sys


def main() -> None:
    """Import what needs no PyTorch, and ask for what does."""
    if importlib.util.find_spec("torch"):
        sys.exit("this is to be run where PyTorch is not installed")

    import recurra
    import recurra.native
    import recurra.runtime

    print("recurra", recurra.__version__, recurra.native.info())
    wanted = 'recurra.LSTM needs PyTorch; install it with: pip install "recurra[train]"'
    try:
        recurra.LSTM  # noqa: B018
    except ImportError as error:
        if str(error) != wanted:
            sys.exit(f"recurra.LSTM must raise {wanted!r}, got {error!r}")
        print(error)
    else:
        sys.exit("recurra.LSTM must raise without PyTorch")
    stream()


def stream() -> None:
    """A cell's program, read from JSON, through a file and a session."""
    import tempfile
    from pathlib import Path

    import numpy as np

    from recurra import runtime
    from recurra.network import Loop, Matrix, Network, Recurrent
    from recurra.network.file import write
    from recurra.program import Body, Derivative, Node, Product, Program

    nodes = (Node("state", name="h"), Node("a", name="h"), Node("tanh", (1,)))
    body = Body(
        (), Product(0, ("h",), "weight_hh", "bias_hh", None, (), 0, 1, "hidden", "hidden"), (2,)
    )
    program = Program(
        "Elman()",
        nodes,
        (body,),
        {"h": 2},
        {"h": 2},
        (),
        (),
        (),
        (),
        Derivative((((), ()),), {}, ({},), {}, {}, {}),
    )
    draws = np.random.default_rng(0)
    weights = {
        name: Matrix(draws.standard_normal((4, width)).astype(np.float32))
        for name, width in (("weight_ih", 3), ("weight_hh", 4))
    }
    network, x = (
        Network((Recurrent(program, weights),)),
        draws.standard_normal((9, 2, 3)).astype(np.float32),
    )
    with tempfile.TemporaryDirectory() as folder:
        write(network, Path(folder) / "model.rcr")
        y = runtime.load(Path(folder) / "model.rcr").session(batch=2).push(x)
    difference = float(abs(y - Loop(network, 2).run(x)).max())
    print(f"streamed without PyTorch, {difference:.1e} from the loop")
    if difference > 1e-5:
        sys.exit("the session must equal the loop")
    if "torch" in sys.modules:
        sys.exit("torch was loaded")


if __name__ == "__main__":
    main()
