"""Look at an installed recurra where there is no PyTorch. Prints what it sees; fails if anything is amiss."""

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


if __name__ == "__main__":
    main()
