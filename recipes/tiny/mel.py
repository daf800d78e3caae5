"""The mel spectrogram of the built-in pack: output of S2Mel, input of the vocoder."""

from __future__ import annotations

from torch import Tensor

from edgetts.audio.features import mel_spectrogram
from recipes.tiny.dims import AUDIO


def mel_of(waveform: Tensor) -> Tensor:
    """Log-mel (B, M, T) of waveforms (B, S) at 22.05 kHz."""
    return mel_spectrogram(
        waveform,
        sample_rate=AUDIO.sample_rate,
        n_fft=AUDIO.n_fft,
        hop_length=AUDIO.hop_length,
        n_mels=AUDIO.n_mels,
        fmin=AUDIO.fmin,
        fmax=AUDIO.fmax,
    )
