"""torchao, where it is installed: int8 by int8 for the DiT, its own quantization beside ours; without it, what is said.

`pip install torchao` for these tests, or PYTHONPATH to a folder of `pip install --target FOLDER --no-deps torchao`.
"""

from __future__ import annotations

import importlib.util
import platform
import sys

import pytest
import torch
from helpers.gpt_weights import quantized
from helpers.s2mel_config import tiny_dit_config

from edgetts.backends.fast_dit import FastDiT
from edgetts.backends.kernels import KERNELS, W8A8, Kernel, KernelChoice, ao, dit_linear, relative_error, try_kernel
from edgetts.backends.kernels.registry import wanted_kernel
from edgetts.errors import UsageError
from edgetts.models.dit import DiT
from edgetts.pack.load import open_pack
from edgetts.pack.locate import builtin_pack
from edgetts.pack.schemes import Quantized
from edgetts.pipeline import Pipeline
from edgetts.quant import hqq
from edgetts.quant.schemes import SchemeRule, round_to_nearest

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
INT8_ERROR = 2e-2  # of a product of int8 by int8 with a scale per row, on normal numbers
installed = pytest.mark.skipif(importlib.util.find_spec("torchao") is None, reason="torchao is not installed")


def kernel_of(scheme: str) -> Kernel:
    return next(k for k in KERNELS if (k.name, k.scheme) == (ao.NAME, scheme))


# --- everywhere ----------------------------------------------------------------------------------------


def test_it_is_a_candidate_on_arm_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    weight = quantized("int8_channel", None, (64, 64))
    assert try_kernel(kernel_of("int8_channel"), weight, CPU).problem == "it is for ARM processors"
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.setitem(sys.modules, "torchao", None)
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)
    assert "torchao" in try_kernel(kernel_of("int8_channel"), weight, CPU).problem


@pytest.mark.parametrize(("scheme", "group"), [("int8_channel", None), ("int4_group", 32)])
def test_what_it_gets_is_the_weight(scheme: str, group: int | None) -> None:
    weight = quantized(scheme, group, (16, 128))
    if group:  # whole zero points
        weight.parts["zeros"].copy_(weight.parts["zeros"] // 16 * 16)
    codes, scales, zeros, _ = ao._parts(weight)
    values = (codes.float().view(16, scales.shape[1], -1) - zeros.unsqueeze(-1)) * scales.unsqueeze(-1)
    assert torch.allclose(values.reshape(16, 128), weight.decode(), rtol=1e-6, atol=1e-9)
    assert codes.dtype == torch.int8 and (group is None or (codes.min() >= -8 and codes.max() <= 7))


def test_zero_points_between_codes_are_refused() -> None:
    weight = quantized("int4_group", 32, (16, 128))
    weight.parts["zeros"].fill_(8 * 16 + 3)
    with pytest.raises(UsageError, match="between codes"):
        ao._parts(weight)


def test_the_name_of_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the DiT; the GPT has the kernels of auto."""
    assert wanted_kernel(W8A8, "fast") == "auto" and wanted_kernel(W8A8, "reference") == "dequantized"
    assert KernelChoice(CPU, W8A8).wanted == "auto"
    assert dit_linear("auto", CUDA) is None
    with pytest.raises(UsageError, match="needs a CUDA device of capability 8.0 or more, and this is cpu"):
        Pipeline(open_pack(builtin_pack()), CPU, compute="fast", kernel=W8A8)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    with pytest.raises(UsageError, match="capability 8.0"):
        dit_linear(W8A8, CUDA)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 7))
    monkeypatch.setitem(sys.modules, "torchao", None)
    with pytest.raises(UsageError, match=r"pip install 'edgetts-runtime\[torchao\]'"):
        dit_linear(W8A8, CUDA)


# --- with it -------------------------------------------------------------------------------------------


@installed
def test_products_in_int8() -> None:
    generator = torch.Generator().manual_seed(0)
    weight, x = torch.randn(96, 128, generator=generator), torch.randn(2, 50, 128, generator=generator)
    made = ao.int8_weight(weight)
    assert made.shape == weight.shape and type(made).__name__ == "Int8Tensor"
    error = relative_error(torch.nn.functional.linear(x, made), torch.nn.functional.linear(x, weight))
    assert 1e-3 < error < INT8_ERROR


@installed
def test_the_dit_in_int8() -> None:
    """One evaluation of a small DiT with random weights; what it costs a trained one is in docs/performance.md."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        config = tiny_dit_config()
        plain = DiT(config).eval().requires_grad_(False)
        for parameter in plain.parameters():  # some begin as zeros
            parameter.normal_(0, parameter[0].numel() ** -0.5 if parameter.dim() > 1 else 0.1)
        inputs = (
            torch.randn(2, config.n_mels, 40), torch.randn(2, config.n_mels, 40), torch.tensor([0.3, 0.3]),
            torch.randn(2, config.style_dim), torch.randn(2, 40, config.content_dim),
        )  # fmt: skip
    with torch.inference_mode():
        expected = FastDiT(plain, torch.float32, CPU)(*inputs)
        found = FastDiT(plain, torch.float32, CPU, linear=ao.int8_weight)(*inputs)
    assert 1e-4 < relative_error(found, expected) < 5e-2


@installed
@pytest.mark.parametrize("group", [32, 64])
def test_our_hqq_is_at_least_as_good_as_theirs(group: int) -> None:
    """int4 of a weight with outliers: the norm of the error, by its HQQ, by ours, and by rounding to nearest."""
    from torchao.quantization.quant_primitives import _choose_qparams_and_quantize_affine_hqq

    generator = torch.Generator().manual_seed(group)
    weight = torch.distributions.StudentT(4.0).sample((64, 256)) * 0.02
    weight = torch.randn(64, 256, generator=generator) * 0.02 + 0.3 * weight
    theirs = _choose_qparams_and_quantize_affine_hqq(
        weight, nbits=4, group_size=group, compute_dtype=torch.float32, device="cpu", raw_output=True
    )
    codes, scales, zeros = (part.float() for part in theirs[:3])
    of_theirs = ((codes.reshape(-1, group) - zeros.reshape(-1, 1)) * scales.reshape(-1, 1)).reshape(64, 256)
    rule = SchemeRule("*", "int4_group", group)
    ours, nearest = (
        Quantized("int4_group", group, (64, 256), parts).decode()
        for parts in (hqq.encode("w", weight, rule), round_to_nearest("w", weight, rule))
    )
    errors = {name: relative_error(made, weight) for name, made in (("ours", ours), ("nearest", nearest))}
    their_error = relative_error(of_theirs, weight)
    assert 0.01 < their_error < 0.15  # it is what it should be
    assert errors["ours"] < 1.02 * their_error and errors["ours"] < errors["nearest"], (errors, their_error)


@installed
def test_on_arm_it_packs_or_says_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its packed layouts exist in its ARM wheels only: elsewhere it says so, which is what a trial reports."""
    real = platform.machine() in ao._ARM
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    for scheme, group in (("int8_channel", None), ("int4_group", 32)):
        weight = quantized(scheme, group, (64, 128))
        if group:
            weight.parts["zeros"].copy_(weight.parts["zeros"] // 16 * 16)
        trial = try_kernel(kernel_of(scheme), weight, CPU)
        assert trial.problem == ("" if real else "TorchAO kernel library is not loaded"), trial
