"""A layer whose very first call is compiled, in a process of its own, with gradients."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import torch, recurra
torch.set_num_threads(1)
layer, x = recurra.LSTM(4, 8, batch_first=True), torch.randn(3, 5, 4)
y = torch.compile(layer, fullgraph=True, backend="aot_eager")(x)[0]
y.sum().backward()
compiled = layer.weight_hh_l0.grad.clone()
layer.zero_grad()
layer(x)[0].sum().backward()
assert torch.allclose(compiled, layer.weight_hh_l0.grad, atol=1e-5), (compiled - layer.weight_hh_l0.grad).abs().max()
print("equal")
"""


def test_a_layer_may_be_compiled_before_it_ever_ran() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=200)
    assert done.stdout.strip() == "equal", done.stderr[-2000:]
