"""Triton's kernels in its interpreter, on the CPU, against the reference: everything but the launch on a GPU."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers.gpt_weights import quantized
from helpers.paths import TESTS
from torch import Tensor

from edgetts.backends.kernels import KERNELS, Epilogue, Kernel, relative_error
from edgetts.backends.kernels.base import on_device
from edgetts.models.bigvgan import anti_aliased_snake

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")

LIMITS = {torch.float32: 1e-5, torch.float16: 1e-3, torch.bfloat16: 1e-2}
CASES = [("int4_group", 32), ("int4_group", 64), ("int4_group", 128), ("int8_channel", None)]
SHAPE = {"int4_group": (34, 256), "int8_channel": (18, 160)}  # outputs and inputs that are not whole blocks


def kernel_of(scheme: str) -> Kernel:
    return next(k for k in KERNELS if (k.name, k.scheme) == ("triton", scheme))


@pytest.mark.parametrize("n_rows", [1, 3, 16, 70])
@pytest.mark.parametrize(("scheme", "group"), CASES)
def test_products(scheme: str, group: int | None, n_rows: int) -> None:
    kernel, weight = kernel_of(scheme), quantized(scheme, group, SHAPE[scheme])
    generator = torch.Generator().manual_seed(n_rows)
    bias = torch.randn(weight.shape[0], generator=generator)
    for dtype, limit in LIMITS.items():
        x = torch.randn(n_rows, weight.shape[1], generator=generator).to(dtype)
        residual = torch.randn(n_rows, weight.shape[0], generator=generator).to(dtype)
        expected = x.float() @ weight.decode().t()
        for epilogue in (Epilogue(), Epilogue(bias), Epilogue(bias, gelu=True), Epilogue(None, True, residual)):
            found = kernel.multiply_then(weight, x, epilogue)
            wanted = Epilogue(epilogue.bias, epilogue.gelu, None)(expected)
            wanted = wanted if epilogue.residual is None else wanted + residual.float()
            assert found.dtype == dtype and found.shape == wanted.shape
            assert relative_error(found, wanted) < limit, (dtype, epilogue)


@pytest.mark.parametrize(("scheme", "group"), CASES[1:])
@pytest.mark.parametrize("cores", [1, 3, 64])
def test_a_narrow_output_is_split(scheme: str, group: int | None, cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Into parts that are summed up in the same order each time; the result hardly knows of it."""
    from edgetts.backends.kernels import triton_common as common

    sums: list[int] = []
    whole = common.sum_splits
    monkeypatch.setattr(common, "sum_splits", lambda parts, *rest: (sums.append(len(parts)), whole(parts, *rest)))
    monkeypatch.setattr(common, "n_cores", lambda device: cores)
    kernel, weight = kernel_of(scheme), quantized(scheme, group, (16, 1280))
    x = torch.randn(3, 1280, generator=torch.Generator().manual_seed(0))
    found = kernel.multiply_then(weight, x, Epilogue(torch.ones(16), True, torch.ones(3, 16)))
    assert sums == ([] if cores == 0 else [{1: 2, 3: 5, 64: 5}[cores]])  # of 10 steps; at most 8, and equal ones
    assert relative_error(found, Epilogue(torch.ones(16), True, torch.ones(3, 16))(x @ weight.decode().t())) < 1e-5
    assert torch.equal(found, kernel.multiply_then(weight, x, Epilogue(torch.ones(16), True, torch.ones(3, 16))))


def test_a_group_that_no_tile_fits_is_refused() -> None:
    kernel, weight = kernel_of("int4_group"), quantized("int4_group", 16, (16, 64))
    with pytest.raises(ValueError, match="is 16; the Triton kernel needs a power of two of at least 32"):
        kernel.multiply(weight, torch.ones(1, 64), None)


def test_launches_are_on_the_device_of_the_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not on the current one, which with `cuda:1` is another."""
    entered: list[Any] = []
    monkeypatch.setattr(torch.cuda, "device", entered.append)
    on_device(SimpleNamespace(is_cuda=True, device=torch.device("cuda:1")))  # type: ignore[arg-type]
    assert entered == [torch.device("cuda:1")]
    with on_device(torch.ones(1)):
        assert len(entered) == 1


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Triton's compiler is there for Linux only")
@pytest.mark.parametrize(("capability", "dtype"), [(75, "fp16"), (87, "fp16"), (90, "bf16"), (90, "fp32")])
def test_they_compile_for_cards_that_are_not_here(capability: int, dtype: str, tmp_path: Path) -> None:
    """Turing, Orin, Hopper: the compiler and its assembler need no card."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"TRITON_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, str(TESTS / "helpers" / "compile_triton.py"), str(capability), dtype]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert len(lines) == 15 and all(int(line.split()[-2]) <= 48 << 10 for line in lines)  # shared memory of any card


@pytest.mark.parametrize(("channels", "length"), [(24, 40), (5, 1), (1, 2), (1, 3), (2, 9)])
def test_the_activation(channels: int, length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At both edges, across stretches, for channels that are not a whole block; in half precision of the signal."""
    from edgetts.backends.kernels import triton_snake

    monkeypatch.setattr(triton_snake, "_STEPS", (8,))
    generator = torch.Generator().manual_seed(channels)
    x = 2 * torch.randn(2, channels, length, generator=generator)
    alpha, beta = (0.3 + 4 * torch.rand(channels, generator=generator) for _ in range(2))
    for dtype, limit in {torch.float32: 1e-5, torch.float16: 1e-3}.items():
        given = x.to(dtype)
        expected = anti_aliased_snake(given.float(), alpha, beta)
        found = triton_snake.snake_last(given.transpose(1, 2).contiguous(), alpha, 1 / beta)
        assert found.dtype == dtype and found.is_contiguous()
        assert relative_error(found.transpose(1, 2), expected) < limit


@pytest.mark.filterwarnings("ignore:overflow")  # of the square that is cut
def test_the_square_of_a_sine() -> None:
    """Of angles of any size that float32 resolves, and at the borders of the polynomial; beyond, it stays a square."""
    import triton
    import triton.language as tl

    from edgetts.backends.kernels.triton_snake import sin_squared

    def squared(x_ptr, y_ptr, block: tl.constexpr):  # type: ignore[no-untyped-def]
        at = tl.arange(0, block)
        tl.store(y_ptr + at, sin_squared(tl.load(x_ptr + at)))

    squared.__globals__.update(tl=tl, sin_squared=sin_squared)  # where Triton looks for names

    def of(angles: Tensor) -> Tensor:
        y = torch.empty_like(angles)
        triton.jit(squared)[(1,)](angles, y, len(angles))
        return y

    generator = torch.Generator().manual_seed(0)
    drawn = torch.rand(1 << 15, generator=generator, dtype=torch.float64) * 2 - 1
    for most in (1e-3, 2.0, 100.0, 5000.0):
        angles = (most * drawn).float()
        assert float((of(angles).double() - angles.double().sin().square()).abs().max()) < 3e-7, most
    halves = (torch.arange(-2048, 2048, dtype=torch.float64) * torch.pi / 2).float()
    for angles in (halves, halves.nextafter(torch.tensor(torch.inf)), halves.nextafter(torch.tensor(-torch.inf))):
        assert float((of(angles).double() - angles.double().sin().square()).abs().max()) < 3e-7
    huge = torch.tensor([1e5, 1e6, 1.4e7, 1e20, 3e38, -3e38, 0.0, -0.0])
    assert of(huge).min() >= 0 and of(huge).max() <= 1 + 3e-7
    assert float((of(huge)[:1].double() - huge[:1].double().sin().square()).abs().max()) < 1e-2


def test_a_launch_fills_the_gpu() -> None:
    """Short windows have short stretches, and channels that are no power of two waste few lanes."""
    from edgetts.backends.kernels import triton_snake

    widths = {24: 32, 48: 16, 96: 32, 192: 64, 384: 128, 768: 128, 5: 8, 1: 1, 100: 16}
    assert {n: triton_snake._channels_of(n) for n in widths} == widths
    for n_frames in (1, 64, 320, 5000):
        steps = triton_snake._steps_of(1, 256 * n_frames, 4, 132)
        n_programs = 256 * n_frames / (4 * steps)
        assert steps % triton_snake._AT_ONCE == 0
        assert n_programs >= 8 * 132 or steps == min(triton_snake._STEPS)
        assert n_programs < 2 * 8 * 132 + 1 or steps == max(triton_snake._STEPS)
    assert triton_snake._steps_of(1, 256 * 64, 4, 132) < triton_snake._steps_of(1, 256 * 5000, 4, 132)


def test_a_new_length_compiles_no_new_kernel() -> None:
    """In the middle of speech it would be a second of silence."""
    code = (
        "from edgetts.backends.kernels import triton_snake as s\n"
        "print(*[p.name for p in s._snake_kernel.params if p.do_not_specialize])"
    )
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["n_times", "n_turns"]
