"""A module runs as at evaluation, and every part is put back."""

from __future__ import annotations

import pytest
from torch import nn

from recurra.models.mode import evaluating


def test_every_part_gets_its_own_mode_back_even_after_an_error() -> None:
    model = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout()), nn.Dropout())
    model.train()
    model[1].eval()
    before = [part.training for part in model.modules()]
    assert before == [True, True, False, False, True]
    with pytest.raises(RuntimeError, match="inside"), evaluating(model):
        assert not any(part.training for part in model.modules())
        raise RuntimeError("inside")
    assert [part.training for part in model.modules()] == before
