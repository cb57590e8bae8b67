"""How quickly a cold process has the library, and answers on the command line."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from typing import Any

TESTS = ("tests/test_import.py",)
COMMANDS = {
    "python alone": "pass",
    "import numpy": "import numpy",
    "import recurra": "import recurra",
    "import recurra.runtime": "import recurra.runtime",
    "recurra --help": "import sys; from recurra.cli import main; sys.argv = ['recurra', '--help']; main()",
}
WANTED = {"import recurra": 0.15, "import recurra.runtime": 0.15, "recurra --help": 0.5}


def measure(rounds: int = 9) -> dict[str, Any]:
    """The median seconds of whole processes; a first one, which may compile modules that pip would have compiled, does not count."""
    return {name: statistics.median([_seconds(code) for _ in range(rounds + 1)][1:]) for name, code in COMMANDS.items()}


def _seconds(code: str) -> float:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False, env=environment)
    return time.perf_counter() - began


def text(record: dict[str, Any]) -> str:
    """A line each."""
    wanted = {name: f"  (under {seconds} s wanted)" for name, seconds in WANTED.items()}
    return "\n".join(f"{name:<24}{seconds:.3f} s{wanted.get(name, '')}" for name, seconds in record.items())
