"""Tokens as vectors, whole words dropped."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from recurra.models.embedding import embed, extremes
from tests.cells.zoo import assert_close

V, E = 40, 3


def test_without_a_rate_it_is_the_embedding() -> None:
    embedding, x = nn.Embedding(V, E), torch.randint(V, (5, 2))
    assert torch.equal(embed(embedding, x), embedding(x))


def test_words_dropped_equal_rows_of_the_matrix_dropped() -> None:
    embedding, x = nn.Embedding(V, E), torch.randint(V, (50, 4)).int()
    torch.manual_seed(3)
    found = embed(embedding, x, 0.4)
    torch.manual_seed(3)
    mask = F.dropout(torch.ones(V), 0.4)
    expected = F.embedding(x, embedding.weight * mask[:, None])
    assert_close(found, expected)
    assert 0 < int((mask == 0).sum()) < V and set(mask.tolist()) == {0.0, 1 / 0.6}
    (d,) = torch.autograd.grad(found.square().sum(), embedding.weight)
    assert_close(d, torch.autograd.grad(expected.square().sum(), embedding.weight)[0])
    assert not bool(d[mask == 0].any())


def test_a_word_is_dropped_wherever_it_stands_and_anew_at_each_call() -> None:
    embedding, x = nn.Embedding(V, E), torch.arange(V).repeat(3, 1)
    masks = [embed(embedding, x, 0.5) / embedding(x) for _ in range(2)]
    for mask in masks:
        assert torch.equal(mask, mask[:1, :, :1].expand_as(mask))
    assert not torch.equal(masks[0], masks[1])


def test_the_mask_has_the_dtype_of_the_embedding() -> None:
    embedding = nn.Embedding(V, E).bfloat16()
    assert embed(embedding, torch.zeros(2, 2, dtype=torch.long), 0.5).dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_extremes(dtype: torch.dtype) -> None:
    assert extremes(torch.tensor([[5, -7, 3]], dtype=dtype)) == (-7, 5)
    assert extremes(torch.zeros(0, 3, dtype=dtype)) == (0, 0)
