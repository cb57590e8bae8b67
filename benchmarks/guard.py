"""No speed is printed while the matching tests are red."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def tests_pass(*paths: str) -> None:
    """Run tests; exit with their output if they fail."""
    print(f"tests first: {' '.join(paths)} ...", flush=True)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not slow", *paths],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{done.stdout[-3000:]}\nno figures while the tests are red")
