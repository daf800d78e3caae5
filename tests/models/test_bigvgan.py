"""BigVGAN against the upstream implementation's audio, and its parts against their definitions."""

from __future__ import annotations

import json

import pytest
import torch
from helpers.checkpoint import component_tensors
from helpers.folding import check_layout, fill
from helpers.paths import DATA, GOLDEN, SHARED
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from edgetts.models.bigvgan import (
    EXPECTED_EXTRAS,
    FILTER_TAPS,
    BigVGAN,
    anti_aliased_snake,
    kaiser_sinc_filter,
)
from edgetts.pack.config import VocoderConfig


def vocoder_config(text: str) -> VocoderConfig:
    source = json.loads(text)
    return VocoderConfig(
        n_mels=source["num_mels"],
        upsample_rates=tuple(source["upsample_rates"]),
        upsample_kernel_sizes=tuple(source["upsample_kernel_sizes"]),
        upsample_initial_channel=source["upsample_initial_channel"],
        resblock_kernel_sizes=tuple(source["resblock_kernel_sizes"]),
        resblock_dilation_sizes=tuple(tuple(d) for d in source["resblock_dilation_sizes"]),
        snake_logscale=source["snake_logscale"],
    )


def small_config() -> VocoderConfig:
    return VocoderConfig(8, (4, 2), (8, 4), 16, (3, 7), ((1, 3), (1, 3)), True)


@pytest.fixture(scope="module")
def upstream() -> dict[str, Tensor]:
    return component_tensors("bigvgan")


def test_matches_upstream(upstream: dict[str, Tensor]) -> None:
    with torch.device("meta"):
        vocoder = BigVGAN(vocoder_config((DATA / "config/mini/bigvgan.json").read_text()))
    fill(vocoder, upstream, EXPECTED_EXTRAS)
    golden = load_file(GOLDEN / "vocoder.safetensors")
    with torch.inference_mode():
        waveform = vocoder(golden["mel"])
    expected = golden["audio"].squeeze(1)
    assert waveform.shape == expected.shape
    assert (waveform - expected).abs().max() <= 1e-4 * expected.std()


def test_filters_are_the_published_ones(upstream: dict[str, Tensor]) -> None:
    ours = torch.tensor(kaiser_sinc_filter())
    published = [t for name, t in upstream.items() if name.endswith(".filter")]
    assert published
    for taps in published:
        torch.testing.assert_close(ours, taps.flatten(), rtol=0, atol=1e-7)


@pytest.mark.parametrize("length", [1, 2, 5, 64])
def test_activation_is_resample_snake_resample(length: int) -> None:
    generator = torch.Generator().manual_seed(length)
    channels = 3
    x = torch.randn(2, channels, length, generator=generator, dtype=torch.float64)
    alpha, beta = torch.rand(2, channels, generator=generator, dtype=torch.float64) + 0.5
    taps = torch.tensor(kaiser_sinc_filter(), dtype=torch.float64).expand(channels, 1, FILTER_TAPS)
    # The definition: stuff zeros, filter, apply at the doubled rate, filter, keep every second sample.
    reach = FILTER_TAPS // 2 - 1
    up = F.pad(x, (reach, reach), mode="replicate")
    up = 2 * F.conv_transpose1d(up, taps, stride=2, groups=channels)[..., 3 * reach : -3 * reach]
    up = up + torch.sin(up * alpha[:, None]).square() / beta[:, None]
    down = F.conv1d(F.pad(up, (reach, reach + 1), mode="replicate"), taps, stride=2, groups=channels)
    torch.testing.assert_close(anti_aliased_snake(x, alpha, beta), down, rtol=0, atol=1e-12)


def test_gradients_are_right() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 9, generator=generator, dtype=torch.float64, requires_grad=True)
    alpha = (torch.rand(3, generator=generator, dtype=torch.float64) + 0.5).requires_grad_()
    beta = (torch.rand(3, generator=generator, dtype=torch.float64) + 0.5).requires_grad_()
    assert torch.autograd.gradcheck(anti_aliased_snake, (x, alpha, beta))


def test_every_parameter_can_be_trained_after_inference() -> None:
    vocoder = BigVGAN(small_config())
    mel = torch.randn(2, 8, 6, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        vocoder(mel)
    vocoder(mel).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in vocoder.parameters())


def test_output_is_bounded_and_as_long_as_the_hop_says() -> None:
    vocoder = BigVGAN(small_config())
    with torch.inference_mode():
        vocoder.conv_post.weight.fill_(1e6)
        waveform = vocoder(torch.randn(2, 8, 6, generator=torch.Generator().manual_seed(0)))
    assert waveform.shape == (2, 6 * 4 * 2)
    assert waveform.abs().max() == 1


@pytest.mark.skipif(SHARED is None, reason="needs the published layout at full size")
def test_full_size_layout() -> None:
    assert SHARED is not None
    reference = SHARED / "reference"
    manifest = json.loads((reference / "manifest/full-bigvgan.json").read_text())
    with torch.device("meta"):
        vocoder = BigVGAN(vocoder_config((reference / "config/full/bigvgan.json").read_text()))
    check_layout(vocoder, manifest, EXPECTED_EXTRAS)
