"""What another thread writes while a push looks at it and runs: an answer or an error, and no
crash.
"""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys, threading
import numpy as np
from recurra.errors import ArgumentError
from recurra.network import Embedding, Linear, Matrix, Network
from recurra.runtime import Model
sys.setswitchinterval(1e-6)
table, out = Matrix(np.ones((50, 64), np.float32)), Matrix(np.ones((64, 64), np.float32))
session = Model(Network((Embedding(table), Linear(out)))).session(1)
x, stop = np.zeros((3000, 1), np.int64), threading.Event()

def flip():
    while not stop.is_set():
        x[-1] = 1 << 44
        x[-1] = 0

thread = threading.Thread(target=flip)
thread.start()
for _ in range(60):
    try:
        session.push(x)
    except ArgumentError:
        pass
stop.set()
thread.join()
print("whole")
"""


def test_tokens_that_are_looked_at_are_those_that_are_read() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (0, "whole\n"), done.stderr[-500:]
