"""Initialization of the built-in model's iSTFT vocoder.

In: the spectrogram of `dims`. Out: a fresh network. Nothing is trained here.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from edgetts.audio.features import slaney_filters
from edgetts.models.istft_vocoder import IstftVocoder
from edgetts.pack.config import IstftVocoderConfig
from recipes.tiny import dims

RAYLEIGH_MEAN = math.sqrt(math.pi) / 2  # mean magnitude of complex noise over the root of its power


def fresh(config: IstftVocoderConfig = dims.VOCODER) -> IstftVocoder:
    """An untrained vocoder whose envelope reproduces the levels of the mel, interpolated between band centers."""
    vocoder = IstftVocoder(config)
    audio = dims.AUDIO
    filters = slaney_filters(audio.sample_rate, audio.n_fft, audio.n_mels, audio.fmin, audio.fmax)  # (M, bins)
    bins = np.linspace(0, 1, filters.shape[1])
    centers = (filters * bins).sum(1) / filters.sum(1)
    # Log-mel of white noise of variance 1.
    window_power = float(torch.hann_window(audio.n_fft).square().sum())
    noise = np.log(filters.sum(1) * RAYLEIGH_MEAN * math.sqrt(window_power))
    targets = np.linspace(0, 1, vocoder.n_bins)
    weight = np.stack([np.interp(targets, centers, row) for row in np.eye(len(centers))], axis=1)  # (K, M)
    with torch.no_grad():
        vocoder.envelope.weight.copy_(torch.from_numpy(weight))
        vocoder.envelope.bias.copy_(torch.from_numpy(-weight @ noise))
    return vocoder
