"""The compiled operations on frames against PyTorch's, on every instruction set and for both number types."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from edgetts.backends.frame_ops import CompiledFrameOps, PlainFrameOps, frame_ops
from edgetts.errors import UsageError
from edgetts.models.dit import RMS_EPS, rope_table
from edgetts.native import frames
from edgetts.native.library import Isa, find_library

CPU = torch.device("cpu")
LIBRARY = find_library()
ISAS = LIBRARY.isas if LIBRARY else ()
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="the compiled kernels were not built")
TOLERANCES = {torch.float32: 2e-6, torch.bfloat16: 2e-2}
PLAIN = PlainFrameOps(torch.float32)


def numbers(*shape: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    return (torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 3).to(dtype)


def check_close(found: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    assert found.dtype == dtype and found.is_contiguous()
    torch.testing.assert_close(found.float(), expected, rtol=TOLERANCES[dtype], atol=TOLERANCES[dtype])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("isa", ISAS, ids=lambda isa: isa.name)
@pytest.mark.parametrize(("rows", "time", "channels", "n_threads"), [(1, 1, 16, 1), (2, 77, 52, 3), (3, 130, 192, 2)])
def test_all_of_them(isa: Isa, dtype: torch.dtype, rows: int, time: int, channels: int, n_threads: int) -> None:
    assert LIBRARY is not None
    how = {"n_threads": n_threads, "isa": isa}
    x = numbers(rows, time, channels, dtype=dtype)
    for n_conditions in {1, rows}:
        conditions = numbers(n_conditions, 1, 2 * channels, dtype=dtype, seed=1)
        found = frames.norm(LIBRARY, x, conditions, RMS_EPS, **how)
        check_close(found, PLAIN.norm(x.float(), conditions.float()), dtype)
        wide = numbers(n_conditions, 1, 3 * channels, dtype=dtype, seed=2)
        bias = wide[:, :, :channels]  # rows that lie apart
        check_close(frames.gate(LIBRARY, x, bias, **how), PLAIN.gate(x.float(), bias.float()), dtype)
    check_close(frames.swiglu(LIBRARY, x, **how), PLAIN.swiglu(x.float()), dtype)
    heads = numbers(rows, time, 6, channels // 2, dtype=dtype)
    table = rope_table(time, channels // 2, CPU)
    cos, sin = table.unbind(-1)
    found = frames.rotate(LIBRARY, heads, 4, cos.contiguous(), sin.contiguous(), **how)
    check_close(found, PLAIN.rotate(heads.float(), 4, PLAIN.rope(table)), dtype)


def test_large_numbers_and_none() -> None:
    assert LIBRARY is not None
    x = torch.tensor([[[-1e4, 1e4, -100.0, 0.0, 1.0, 2.0, 3.0, 4.0]]])
    check_close(frames.swiglu(LIBRARY, x, n_threads=1), PLAIN.swiglu(x), torch.float32)
    check_close(frames.gate(LIBRARY, x, x * 0, n_threads=1), PLAIN.gate(x, x * 0), torch.float32)
    assert frames.swiglu(LIBRARY, torch.zeros(1, 0, 8), n_threads=1).shape == (1, 0, 4)


def test_what_does_not_fit_is_refused() -> None:
    assert LIBRARY is not None
    x = torch.zeros(2, 5, 8)
    with pytest.raises(UsageError, match="Gain and bias"):
        frames.norm(LIBRARY, x, torch.zeros(2, 1, 8), RMS_EPS, n_threads=1)
    with pytest.raises(UsageError, match="bias of shape"):
        frames.gate(LIBRARY, x, torch.zeros(1, 1, 8, dtype=torch.bfloat16), n_threads=1)
    with pytest.raises(UsageError, match="contiguous"):
        frames.swiglu(LIBRARY, x[:, :, ::2], n_threads=1)
    with pytest.raises(UsageError, match="rotary table"):
        frames.rotate(LIBRARY, x.view(2, 5, 2, 4), 2, torch.zeros(4, 2), torch.zeros(4, 2), n_threads=1)


def test_which_are_taken() -> None:
    assert isinstance(frame_ops(CPU, torch.bfloat16), CompiledFrameOps)
    assert isinstance(frame_ops(CPU, torch.float16), PlainFrameOps)
    assert isinstance(frame_ops(torch.device("meta"), torch.float32), PlainFrameOps)
