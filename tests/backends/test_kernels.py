"""Every kernel against dequantize-and-multiply over the GPT's four matrices as a whole: every output is looked at.

Minutes long, so marked `slow`, but for one small sample; `test_linear.py` looks at a part of the outputs every time.
`pytest -m slow -s tests/backends/test_kernels.py` also prints the largest error of each kernel.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest
import torch
from helpers.gpt_weights import GPT_MATRICES, GROUPS, ROWS, groups_of, quantized
from torch import Tensor

from edgetts.backends import kernels
from edgetts.backends.kernels import KERNELS, Kernel, relative_error, try_kernel
from edgetts.pack.schemes import Quantized

CPU = torch.device("cpu")
CPU_CASES = [(k, group) for k in KERNELS if "cpu" in k.devices for group in groups_of(k.scheme)]
INTERPRETED_ROWS = (1, 7, 64)
INTERPRETED_OUTPUTS = 1024  # of one program; 16 on a GPU, and in the small cases of test_linear.py
WORST_OUTPUT = 10  # an error of one output, in units of what is allowed for the norm of all

Multiply = Callable[[Any, Tensor, Tensor | None], Tensor]
_largest: dict[tuple[str, str, int | None, torch.dtype], float] = {}


@pytest.fixture(scope="module", autouse=True)
def _print_largest_errors() -> Iterator[None]:
    yield
    for (name, scheme, group, dtype), error in _largest.items():
        kind = scheme if group is None else f"{scheme}/{group}"
        print(f"\n{name:<14}{kind:<16}{str(dtype).removeprefix('torch.'):<10}{error:.1e}", end="")


def limit(tolerance: float, dtype: torch.dtype) -> float:
    """What is allowed: a hundredth where products are made in bf16, a thousandth elsewhere."""
    return 1e-2 if dtype == torch.bfloat16 else max(tolerance, 1e-3)


def check_whole(
    name: str, weight: Quantized, packed: Any, multiply: Multiply, tolerance: float, all_rows: tuple[int, ...]
) -> None:
    decoded = weight.decode()
    for rows, dtype in product(all_rows, (torch.float32, torch.float16, torch.bfloat16)):
        x = torch.randn(rows, weight.shape[1], generator=torch.Generator().manual_seed(rows)).to(dtype)
        expected = x.float() @ decoded.t()
        found = multiply(packed, x, None)
        assert found.dtype == dtype and found.shape == expected.shape
        error, allowed = relative_error(found, expected), limit(tolerance, dtype)
        assert error <= allowed, f"{rows} rows, {dtype}"
        # Not one output, nor one row, is wrong beside many that are right.
        worst = (found.float() - expected).abs().max() / expected.square().mean().sqrt()
        assert worst <= WORST_OUTPUT * allowed, f"{rows} rows, {dtype}"
        key = (name, weight.scheme, weight.group_size, dtype)
        _largest[key] = max(error, _largest.get(key, 0.0))


@pytest.mark.slow
@pytest.mark.parametrize("matrix", GPT_MATRICES)
@pytest.mark.parametrize(
    ("kernel", "group"), CPU_CASES, ids=lambda v: f"{v.name}-{v.scheme}" if isinstance(v, Kernel) else str(v)
)
def test_on_the_cpu(kernel: Kernel, group: int | None, matrix: str) -> None:
    weight = quantized(kernel.scheme, group, GPT_MATRICES[matrix])
    problem = try_kernel(kernel, weight, CPU).problem
    if problem:
        pytest.skip(problem)
    check_whole(kernel.name, weight, kernel.pack(weight), kernel.multiply, kernel.tolerance, ROWS)


@pytest.mark.parametrize("group", GROUPS)
def test_a_sample_of_it(group: int) -> None:
    """One whole matrix by what `auto` takes here, at the rows of decoding."""
    weight = quantized("int4_group", group, GPT_MATRICES["attn.c_proj"])
    kernel = kernels.KernelChoice(CPU)(weight)
    check_whole(kernel.name, weight, kernel.pack(weight), kernel.multiply, kernel.tolerance, (1, 7))


@pytest.mark.slow
@pytest.mark.parametrize("matrix", GPT_MATRICES)
@pytest.mark.parametrize(("scheme", "group"), [("int8_channel", None), *(("int4_group", g) for g in GROUPS)])
def test_triton_in_its_interpreter(
    scheme: str, group: int | None, matrix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    from edgetts.backends.kernels import triton_common

    # The interpreter takes each program's instructions one by one: fewer, larger programs of the same code.
    monkeypatch.setattr(triton_common, "BLOCK_OUTPUTS", INTERPRETED_OUTPUTS)
    monkeypatch.setattr(triton_common, "DOT_OUTPUTS", INTERPRETED_OUTPUTS)
    monkeypatch.setattr(triton_common, "PROGRAMS_A_CORE", 0)
    kernel = next(k for k in KERNELS if (k.name, k.scheme) == ("triton", scheme))
    weight = quantized(scheme, group, GPT_MATRICES[matrix])
    check_whole("triton", weight, kernel.pack(weight), kernel.multiply, kernel.tolerance, INTERPRETED_ROWS)


@pytest.mark.slow
@pytest.mark.parametrize("matrix", GPT_MATRICES)
@pytest.mark.parametrize("group", GROUPS[1:])  # bitsandbytes knows blocks of 64 values and more
def test_nf4_by_bitsandbytes(group: int, matrix: str) -> None:
    """On the CPU, which it also serves: the pack's codes are the ones it reads."""
    try:
        importlib.import_module("bitsandbytes")
    except ImportError as error:
        pytest.skip(f"bitsandbytes is not installed ({error})")
    kernel = next(k for k in KERNELS if k.name == "bitsandbytes")
    weight = quantized(kernel.scheme, group, GPT_MATRICES[matrix])
    check_whole(kernel.name, weight, kernel.pack(weight), kernel.multiply, kernel.tolerance, ROWS)
