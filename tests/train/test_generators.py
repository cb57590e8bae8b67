"""Every generator goes on where it was."""

from __future__ import annotations

import json
import random

import numpy as np
import torch

from recurra.train.generators import generator_states, set_generators

CPU = torch.device("cpu")


def drawn() -> list[object]:
    return [
        torch.rand(3).tolist(),
        torch.randn(1).item(),
        np.random.rand(2).tolist(),
        np.random.randn(),
        random.random(),
        random.gauss(0, 1),
    ]


def test_generators_go_on_where_they_were() -> None:
    drawn()  # so that the spare normal numbers of Python and NumPy are part of what is kept
    tensors, plain = generator_states(CPU)
    plain = json.loads(json.dumps(plain))
    expected = [drawn(), drawn()]
    drawn()
    set_generators(tensors, plain, CPU)
    assert [drawn(), drawn()] == expected
