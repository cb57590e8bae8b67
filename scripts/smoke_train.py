"""Look at an installed recurra with PyTorch: a layer whole, in steps and as a stream, and what
ran.
"""

from __future__ import annotations

import sys

import torch

import recurra


def main() -> None:
    """Run, stream and explain small layers; fail if the numbers differ."""
    torch.manual_seed(0)
    lstm = recurra.LSTM(3, 5, num_layers=2, dtype=torch.float64).eval()
    x = torch.randn(7, 2, 3, dtype=torch.float64)
    with torch.no_grad():
        whole, _ = lstm(x)
        state, steps = None, []
        for x_t in x:
            y_t, state = lstm.step(x_t, state)
            steps.append(y_t)
        stream = recurra.Stream(lstm, batch=2)
        pushed = torch.stack([stream.push(x_t) for x_t in x])
        for name, y in (("steps", torch.stack(steps)), ("stream", pushed)):
            distance = float((y - whole).abs().max())
            print(f"{name}: {distance:.0e} from the whole sequence")
            if not distance <= 1e-12:
                sys.exit(f"{name} must equal the whole sequence to 1e-12")
        layer = recurra.Recurrent(
            recurra.Zoneout(recurra.cells.LSTM(), h=0.1), 3, 5, dtype=torch.float64
        ).eval()
        text = recurra.explain(layer, x)
        print(text)
        if "\n   fused: " not in text:
            sys.exit("a layer without gradients must run fused")


if __name__ == "__main__":
    main()
