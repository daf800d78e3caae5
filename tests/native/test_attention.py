"""The compiled attention against float64, over lengths that do not fill its blocks and memory that lies apart."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from edgetts.errors import UsageError
from edgetts.native.attention import attend, can_attend
from edgetts.native.library import find_library

LIBRARY = find_library()
needs_it = pytest.mark.skipif(
    LIBRARY is None or not can_attend(LIBRARY, 64), reason="no compiled kernels, or no bfloat16 dot products"
)


@needs_it
@pytest.mark.parametrize("dim", [32, 48, 64])
@pytest.mark.parametrize(("rows", "queries", "keys"), [(1, 1, 1), (2, 7, 15), (1, 6, 64), (2, 13, 65), (1, 40, 150)])
def test_against_float64(dim: int, rows: int, queries: int, keys: int) -> None:
    assert LIBRARY is not None
    torch.manual_seed(keys)
    heads, begin = 3, max(0, keys - queries)
    qk = torch.randn(rows, keys, 2 * heads, dim).mul_(2).bfloat16()
    v = torch.randn(rows, keys, 3 * heads, dim).bfloat16()[:, :, 2 * heads :]
    q, k = qk[:, begin:, :heads], qk[:, :, heads:]
    found = attend(LIBRARY, q, k, v, n_threads=2)
    expected = F.scaled_dot_product_attention(*(x.double().transpose(1, 2) for x in (q, k, v))).transpose(1, 2)
    assert found.shape == expected.shape and found.is_contiguous()
    torch.testing.assert_close(found.double(), expected, rtol=1e-2, atol=1e-2)
    assert (found.double() - expected).norm() <= 8e-3 * expected.norm()


@needs_it
def test_scores_of_any_size() -> None:
    assert LIBRARY is not None
    q = torch.full((1, 2, 1, 32), 300.0).bfloat16()
    k = torch.cat([q, -q], dim=1)
    v = torch.arange(4.0).view(1, 4, 1, 1).expand(1, 4, 1, 32).contiguous().bfloat16()
    found = attend(LIBRARY, q, k, v, n_threads=1)
    assert torch.equal(found, torch.full_like(found, 0.5))  # of the two that are alike


@needs_it
def test_what_it_cannot_do_is_refused() -> None:
    assert LIBRARY is not None and not can_attend(LIBRARY, 40)
    x = torch.zeros(1, 4, 2, 64, dtype=torch.bfloat16)
    for q, k in ((x.float(), x), (x, x[:, :, :1]), (x[..., :32], x[..., :32]), (x, x[:, :0])):
        with pytest.raises(UsageError, match="use PyTorch's"):
            attend(LIBRARY, q, k, k, n_threads=1)
