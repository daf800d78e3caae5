"""The vocoder at the frame rate: its sources, its reach, and that windows are the whole."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from helpers.istft_pack import ISTFT, filled

from edgetts.models import istft_vocoder
from edgetts.models.istft_vocoder import (
    N_PITCH_ROWS,
    IstftVocoder,
    pitch_reach,
    pitch_rows,
    reach,
    source_reach,
    sources_of,
)
from edgetts.pack.config import IstftVocoderConfig

HOP = ISTFT.hop_length
OTHER_SHAPES = (
    dataclasses.replace(ISTFT, n_fft=1024, frames_per_mel=1),
    dataclasses.replace(ISTFT, n_fft=192, frames_per_mel=4, hop_length=256),
    dataclasses.replace(ISTFT, n_fft=1024, frames_per_mel=4, n_layers=1),
)


@pytest.fixture(scope="module")
def vocoder() -> IstftVocoder:
    return filled(ISTFT)


def mel_of(n_frames: int, seed: int = 0) -> torch.Tensor:
    return torch.randn((1, ISTFT.n_mels, n_frames), generator=torch.Generator().manual_seed(seed)) * 2 - 5


@torch.inference_mode()
def test_samples_per_frame_in_range(vocoder: IstftVocoder) -> None:
    waveform = vocoder(torch.cat([mel_of(33), mel_of(33, 1) + 40]))
    assert waveform.shape == (2, 33 * HOP) and waveform.dtype == torch.float32
    assert waveform.isfinite().all() and waveform.abs().max() == 1.0  # a mel that is far too loud is clamped
    assert 0.001 < waveform[0].std() < 1


@torch.inference_mode()
def test_a_gain_comes_before_the_clamp(vocoder: IstftVocoder) -> None:
    """A voice that is too loud is not cut off first and lowered then; nor does a gain exceed full scale."""
    frames = vocoder.with_pitch(mel_of(33))
    frames[:, : ISTFT.n_mels] += 4  # so loud that some samples are cut off
    as_it_is, quarter, most = (vocoder.render(frames, gain) for gain in (1.0, 0.25, 100.0))
    assert torch.equal(vocoder.render(frames), as_it_is)
    inside = as_it_is.abs() < 1
    assert torch.allclose(quarter[inside], 0.25 * as_it_is[inside], atol=1e-6) and most.abs().max() == 1.0
    cut_off = ~inside
    assert cut_off.any() and (quarter[cut_off].abs() > 0.25).all()


@pytest.mark.parametrize("config", [ISTFT, *OTHER_SHAPES])
@torch.inference_mode()
def test_windows_are_the_whole(config: IstftVocoderConfig) -> None:
    """Any window with its reach around it, from the first frame, in the middle and to the last."""
    vocoder, around = filled(config), reach(config)
    n_frames = 4 * around + 20
    frames = vocoder.with_pitch(mel_of(n_frames))
    whole = vocoder.render(frames)[0]
    for first, last in ((0, 9), (around + 2, around + 30), (n_frames - 5, n_frames)):
        left = max(0, first - around)
        window = vocoder.render(frames[:, :, left : last + around])[0]
        part = window[(first - left) * HOP : (last - left) * HOP]
        assert (part - whole[first * HOP : last * HOP]).abs().max() < 1e-3 * whole.abs().max()


@pytest.mark.parametrize("config", [ISTFT, *OTHER_SHAPES])
@torch.inference_mode()
def test_reach_is_exact(config: IstftVocoderConfig) -> None:
    """What one frame changes ends where the reach says, and nearly reaches there."""
    vocoder, around = filled(config), reach(config)
    n_frames = 2 * around + 9
    frames = vocoder.with_pitch(mel_of(n_frames))
    changed = frames.clone()
    changed[:, : config.n_mels, n_frames // 2] += 3.0
    places = (vocoder.render(frames) - vocoder.render(changed))[0].nonzero()[:, 0] // HOP
    assert int(places.min()) == n_frames // 2 - around and int(places.max()) == n_frames // 2 + around


@torch.inference_mode()
def test_reach_of_pitch(vocoder: IstftVocoder) -> None:
    around = pitch_reach(ISTFT)
    mel = mel_of(2 * around + 9)
    changed = mel.clone()
    middle = mel.shape[-1] // 2
    changed[:, :, middle] += 3.0
    places = (vocoder.pitch_net(mel) - vocoder.pitch_net(changed)).abs().sum(-1)[0].nonzero()[:, 0]
    assert int(places.min()) == middle - around and int(places.max()) == middle + around
    rows = torch.stack([vocoder.with_pitch(m)[0, ISTFT.n_mels :] for m in (mel, changed)])
    assert torch.equal(rows[0, :, : middle - around], rows[1, :, : middle - around])  # causal but for the reach


def test_reach_of_sources_alone() -> None:
    """A stack of few layers sees less than the short frames span."""
    narrow = dataclasses.replace(ISTFT, n_layers=0, n_fft=8192, frames_per_mel=2)
    assert source_reach(narrow) == 33 == reach(narrow)


@torch.inference_mode()
def test_filters_of_one_give_the_sources_back(vocoder: IstftVocoder) -> None:
    signal = torch.randn(2, 1, 20 * HOP, generator=torch.Generator().manual_seed(0))
    back = vocoder._waveform(vocoder._spectra(signal)[:, 0], 20 * HOP)
    inner = slice(ISTFT.n_fft, -ISTFT.n_fft)
    assert (back - signal[:, 0])[:, inner].abs().max() < 1e-5


@torch.inference_mode()
def test_pulses_follow_a_gliding_pitch() -> None:
    """Against the sum of cosines of the integral of the pitch, each while it is below half the sample rate."""
    n_frames = 40
    pitch = torch.linspace(1.0, 3.0, n_frames)[None]
    rows = pitch_rows(pitch, torch.ones_like(pitch))
    pulses = sources_of(rows, HOP)[0, 0].double()
    place = (torch.arange(n_frames * HOP) + 0.5) / HOP - 0.5
    at = pitch[0, :1].double() + place.double() * (2.0 / (n_frames - 1))
    phase = place.double() * (pitch[0, 0].double() + at) / 2 + 0.5 * pitch[0, 0].double()
    per_sample = at / HOP
    multiples = torch.arange(1, HOP // 2 + 1).double()[:, None]
    there = (0.5 / per_sample - multiples + 1).clamp(0, 1)
    expected = 2 * per_sample.sqrt() * (there * torch.cos(2 * math.pi * multiples * phase)).sum(0)
    inner = slice(HOP, -HOP)  # the pitch is held before the first center and after the last
    assert (pulses - expected)[inner].abs().max() < 0.01 * expected.abs().max()


@torch.inference_mode()
def test_sources_have_the_power_of_white_noise() -> None:
    pitch = torch.full((1, 400), 1.37)
    voiced, unvoiced = (sources_of(pitch_rows(pitch, torch.full_like(pitch, v)), HOP)[0] for v in (1.0, 0.0))
    assert torch.allclose(voiced.square().mean(-1), torch.ones(3), atol=0.03)
    assert torch.equal(unvoiced[1], voiced[1]) and not unvoiced[[0, 2]].any()
    noise = voiced[1] - voiced[1].mean()
    assert abs(float((noise[1:] * noise[:-1]).mean())) < 0.01
    spectrum = torch.fft.rfft(noise[: 2**16].view(64, -1)).abs().square().mean(0)[1:-1]
    assert spectrum.max() / spectrum.min() < 4  # no line stands out


@torch.inference_mode()
def test_noise_is_a_function_of_the_place() -> None:
    index = torch.arange(5000)
    whole = istft_vocoder._noise(index)
    assert torch.equal(istft_vocoder._noise(index[1234:]), whole[1234:])
    assert len(whole.unique()) > 4900 and whole.abs().max() <= math.sqrt(3) + 1e-6


@torch.inference_mode()
def test_no_hum_where_the_mel_stands_still(vocoder: IstftVocoder) -> None:
    """The same frame for seconds: a network of frames alone would repeat its samples every hop."""
    waveform = vocoder(mel_of(1).expand(-1, -1, 200))[0, 20 * HOP : -20 * HOP]
    repeated = waveform[HOP:] * waveform[:-HOP]
    assert float(repeated.mean()) < 0.9 * float(waveform.square().mean())


@torch.inference_mode()
def test_louder_mels_sound_as_much_louder() -> None:
    """Before training, when the network adds nothing to the loudness that the mel says."""
    vocoder = filled(ISTFT)
    vocoder.head.weight.zero_()
    torch.nn.init.constant_(vocoder.envelope.weight, 1 / ISTFT.n_mels)
    frames = vocoder.with_pitch(mel_of(60) - 3)
    louder = frames.clone()
    louder[:, : ISTFT.n_mels] += math.log(2)
    assert torch.allclose(vocoder.render(louder), 2 * vocoder.render(frames), rtol=1e-3, atol=1e-5)


@torch.inference_mode()
def test_pitch_is_between_classes(vocoder: IstftVocoder) -> None:
    """Two neighbors of equal weight mean the place between them; a far class of much weight does not pull."""
    net = filled(ISTFT).pitch_net
    logits = torch.full((1, 1, ISTFT.pitch.n_classes + 1), -30.0)
    logits[0, 0, 7:9] = 5.0
    logits[0, 0, 20] = 4.5
    net.forward = lambda mel: logits  # type: ignore[method-assign]
    pitch, voicing = net.pitch(mel_of(1))
    assert float(pitch) == pytest.approx(ISTFT.pitch.lowest * 2 ** (7.5 / ISTFT.pitch.classes_per_octave), rel=1e-4)
    assert float(voicing) < 1e-6


def test_gradients_reach_everything_but_the_pitch() -> None:
    vocoder = filled(ISTFT).train()
    vocoder.pitch_net.requires_grad_(False)
    rows = pitch_rows(torch.full((2, 30), 1.5), torch.ones(2, 30))
    assert rows.shape == (2, N_PITCH_ROWS, 30)
    vocoder.render(torch.cat([mel_of(30).expand(2, -1, -1), rows], 1)).square().sum().backward()
    for name, parameter in vocoder.named_parameters():
        wanted = not name.startswith("pitch_net.")
        assert (parameter.grad is not None) == wanted, name
        assert not wanted or (parameter.grad is not None and parameter.grad.isfinite().all()), name
