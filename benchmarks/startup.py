"""How quickly a cold process has the library, and answers on the command line."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from typing import Any

TESTS = ("tests/test_import.py",)
IMPORTS = ("numpy", "recurra", "recurra.runtime")
HELP = "import sys; from recurra.cli import main; sys.argv = ['recurra', '--help']; main()"
DONE = "; import time; print(time.time())"
WANTED = {"import recurra": 0.15, "import recurra.runtime": 0.15, "recurra --help": 0.5}


def measure(rounds: int = 9) -> dict[str, Any]:
    """The median seconds from a process's start until an import is done, or until the process has
    ended; a first one, which may compile modules that pip would have compiled, does not count.
    """
    ways = (
        {"python alone": "pass" + DONE}
        | {f"import {name}": f"import {name}{DONE}" for name in IMPORTS}
        | {"recurra --help": HELP}
    )
    return {
        name: statistics.median([_seconds(code) for _ in range(rounds + 1)][1:])
        for name, code in ways.items()
    }


def _seconds(code: str) -> float:
    environment = {
        name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    }
    began = time.time()
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, check=True, env=environment
    )
    return (float(done.stdout) if code.endswith(DONE) else time.time()) - began


def text(record: dict[str, Any]) -> str:
    """A line each."""
    wanted = {name: f"  (under {seconds} s wanted)" for name, seconds in WANTED.items()}
    return "\n".join(
        f"{name:<24}{seconds:.3f} s{wanted.get(name, '')}" for name, seconds in record.items()
    )
