"""A layer whose very first call is compiled, in a process of its own, with gradients."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import torch, recurra
torch.set_num_threads(1)
layer, x = recurra.LSTM(4, 8, batch_first=True), torch.randn(3, 5, 4)
y = torch.compile(layer, fullgraph=True, backend="aot_eager")(x)[0]
y.sum().backward()
compiled = layer.weight_hh_l0.grad.clone()
layer.zero_grad()
layer(x)[0].sum().backward()
torch.testing.assert_close(compiled, layer.weight_hh_l0.grad, atol=1e-5, rtol=1e-5)
print("equal")
"""
OWN = """
import torch, recurra
torch.set_num_threads(1)

class IndRNN(recurra.Cell):
    gates, params = ("h",), ("w",)
    def pointwise(self, a, s): return dict(h=torch.tanh(a.u.h + s.w * s.h))

class Net(torch.nn.Module):
    def __init__(self, method):
        super().__init__()
        self.layer, self.method = recurra.Recurrent(IndRNN(), 3, 5), method
    def forward(self, x): return self.layer(x, method=self.method)[0]

x = torch.randn(4, 2, 3)
for method in ("loop", "auto"):
    net = Net(method)
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(x), net(x), atol=1e-6)
print("equal")
"""


@pytest.mark.parametrize("code", [CODE, OWN], ids=["recurra's", "own"])
def test_a_layer_may_be_compiled_before_it_ever_ran(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=200
    )
    assert done.stdout.strip() == "equal", done.stderr[-2000:]
