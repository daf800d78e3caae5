"""Front ends against upstream's features of the same audio, and what is too short for them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.paths import GOLDEN, SHARED
from safetensors.torch import load_file

from edgetts.audio.features import (
    MEL_FLOOR,
    kaldi_fbank,
    mel_spectrogram,
    resample_windowed_sinc,
    semantic_features,
)
from edgetts.audio.io import read_audio
from edgetts.errors import AudioError

MEL = {"sample_rate": 22_050, "n_fft": 1024, "hop_length": 256, "n_mels": 80, "fmin": 0.0, "fmax": None}
TOLERANCE = 1e-4  # of the golden's standard deviation
RESAMPLING_TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / "frontend.safetensors")


def close(ours: torch.Tensor, golden: torch.Tensor, tolerance: float = TOLERANCE) -> bool:
    assert ours.shape == golden.shape
    assert ours.dtype == golden.dtype
    return bool((ours - golden).abs().max() < tolerance * golden.std())


@pytest.mark.parametrize("prefix", ["", "emo_"])
def test_semantic_features_are_upstreams(golden: dict[str, torch.Tensor], prefix: str) -> None:
    features, mask = semantic_features(golden[f"{prefix}audio_16k"][0])
    assert close(features, golden[f"{prefix}w2v_features"])
    assert torch.equal(mask, golden[f"{prefix}w2v_attention_mask"].long())


def test_fbank_is_upstreams(golden: dict[str, torch.Tensor]) -> None:
    fbank = kaldi_fbank(golden["audio_16k"][0])
    assert close(fbank - fbank.mean(dim=0), golden["kaldi_fbank_mean_normalised"])


def test_mel_is_upstreams(golden: dict[str, torch.Tensor]) -> None:
    assert close(mel_spectrogram(golden["audio_22k"], **MEL), golden["mel_22k"])


def test_resampling_is_upstreams(golden: dict[str, torch.Tensor]) -> None:
    assert close(resample_windowed_sinc(golden["audio_22k"][0], 22_050, 16_000), golden["audio_16k"][0])


def test_recordings_become_upstreams_audio(golden: dict[str, torch.Tensor]) -> None:
    if SHARED is None:
        pytest.skip("the reference recordings are not here")
    voices = SHARED / "reference" / "voices"
    voice = torch.from_numpy(read_audio(voices / "voice_01.wav", 22_050, 15.0).samples)
    emotion = torch.from_numpy(read_audio(voices / "emo_sad.wav", 16_000, 15.0).samples)
    assert close(voice, golden["audio_22k"][0], RESAMPLING_TOLERANCE)
    resampled = resample_windowed_sinc(voice, 22_050, 16_000)
    assert close(resampled, golden["audio_16k"][0], RESAMPLING_TOLERANCE)
    assert close(emotion, golden["emo_audio_16k"][0], RESAMPLING_TOLERANCE)


@pytest.mark.parametrize(("from_rate", "to_rate"), [(8_000, 16_000), (22_050, 16_000), (48_000, 22_050)])
def test_resampling_keeps_a_tone(from_rate: int, to_rate: int) -> None:
    seconds, hertz = 0.25, 440.0
    tone, expected = (
        torch.sin(2 * np.pi * hertz * torch.arange(int(seconds * rate)) / rate) for rate in (from_rate, to_rate)
    )
    resampled = resample_windowed_sinc(tone, from_rate, to_rate)
    assert len(resampled) == -(-len(tone) * to_rate // from_rate)
    middle = slice(to_rate // 20, len(expected) - to_rate // 20)
    torch.testing.assert_close(resampled[middle], expected[middle], rtol=0, atol=5e-3)


def test_same_rate_changes_nothing() -> None:
    waveform = torch.randn(100)
    assert torch.equal(resample_windowed_sinc(waveform, 16_000, 16_000), waveform)


def test_silence_is_finite_everywhere() -> None:
    silence = torch.zeros(16_000)
    features, _ = semantic_features(silence)
    assert features.isfinite().all()
    assert kaldi_fbank(silence).isfinite().all()
    mel = mel_spectrogram(silence[None], **MEL)
    torch.testing.assert_close(mel.max(), torch.tensor(np.log(MEL_FLOOR), dtype=torch.float32))


def test_mel_is_per_row_and_has_a_gradient() -> None:
    batch = torch.randn(2, 4_096, requires_grad=True)
    mel = mel_spectrogram(batch, **MEL)
    torch.testing.assert_close(mel[1:], mel_spectrogram(batch[1:], **MEL))
    mel.sum().backward()
    assert batch.grad is not None
    assert batch.grad.isfinite().all()


def test_features_made_in_inference_mode_do_not_spoil_training() -> None:
    with torch.inference_mode():
        mel_spectrogram(torch.randn(1, 2_048), **MEL)
    waveform = torch.randn(1, 2_048, requires_grad=True)
    mel_spectrogram(waveform, **MEL).sum().backward()


def test_too_short_is_refused_in_a_sentence() -> None:
    for call in (
        lambda: kaldi_fbank(torch.zeros(399)),
        lambda: semantic_features(torch.zeros(559)),
        lambda: mel_spectrogram(torch.zeros(1, 384), **MEL),
    ):
        with pytest.raises(AudioError, match=r"too short .*\.$"):
            call()
    with pytest.raises(AudioError, match="must be positive"):
        resample_windowed_sinc(torch.zeros(10), 0, 16_000)
