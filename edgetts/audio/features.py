"""Features for the networks: mel spectrograms, filter banks and windowed-sinc resampling.

In: mono float32 waveforms in [-1, 1] as tensors, and plain numbers. Out: tensors on the same device. Reads no files,
holds no weights and does not know the networks. All functions but `mel_spectrogram` take one recording at a time.

There are three front ends, each as its network was trained:
- `mel_spectrogram`: log of a Slaney mel of magnitudes (S2Mel and vocoder; from HiFi-GAN's training code),
- `kaldi_fbank`: log of a Kaldi mel of powers (speaker encoder; Povey et al., "Kaldi", 2011),
- `semantic_features`: the same at 16-bit scale, normalized and stacked (w2v-BERT; SeamlessM4T).

Filters are computed in float64. So is Kaldi's spectrum, whose quietest bands are 8 orders of magnitude below the
loudest. Its frames have the precision of each encoder's training features (float32 for the speaker encoder, float64
for the semantic one), because their rounding changes the quiet bands, too.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from edgetts.errors import AudioError

Table = npt.NDArray[np.float64]  # cached as numpy: tensors made in inference mode cannot be used in training

# Windowed sinc: torchaudio's defaults.
SINC_ZERO_CROSSINGS = 6
SINC_ROLLOFF = 0.99  # cut-off, as a share of the lower Nyquist frequency

# S2Mel's spectrogram.
MAGNITUDE_EPS = 1e-9  # added to the power, so that the root has a gradient
MEL_FLOOR = 1e-5

# Kaldi's filter bank, at the input rate of both encoders.
FBANK_RATE = 16_000  # Hz
FBANK_BANDS = 80
FBANK_WINDOW = FBANK_RATE * 25 // 1000  # samples
FBANK_HOP = FBANK_RATE * 10 // 1000  # samples
FBANK_N_FFT = 512  # the next power of two
FBANK_FMIN = 20.0  # Hz
FBANK_PREEMPHASIS = 0.97
FBANK_FLOOR = 1.1920928955078125e-07  # float32's epsilon
POVEY_EXPONENT = 0.85  # of a Hann window

# SeamlessM4T's features.
PCM_SCALE = 2.0**15
STACKED_FRAMES = 2
VARIANCE_EPS = 1e-7
PADDING_VALUE = 1.0  # of the missing half of an odd last frame, after normalization


def resample_windowed_sinc(waveform: Tensor, from_rate: int, to_rate: int) -> Tensor:
    """Resample with a Hann-windowed sinc, as `torchaudio.transforms.Resample` does.

    waveform: (S,) float. from_rate, to_rate: positive, Hz.
    Returns (ceil(S * to_rate / from_rate),). Raises AudioError on a rate that is not positive.
    """
    if from_rate <= 0 or to_rate <= 0:
        raise AudioError(f"Cannot resample a recording from {from_rate} to {to_rate} Hz; rates must be positive.")
    if from_rate == to_rate:
        return waveform
    divisor = math.gcd(from_rate, to_rate)
    step, phases = from_rate // divisor, to_rate // divisor
    kernels = torch.tensor(_sinc_kernels(step, phases)).to(waveform)  # (phases, 1, taps)
    margin = (kernels.shape[-1] - step) // 2
    padded = F.pad(waveform, (margin, margin + step))
    resampled = F.conv1d(padded[None, None], kernels, stride=step)  # (1, phases, blocks)
    in_order: Tensor = resampled[0].T.flatten()
    return in_order[: math.ceil(waveform.shape[-1] * phases / step)]


def mel_spectrogram(
    waveform: Tensor,
    *,
    sample_rate: int,
    n_fft: int,
    hop_length: int,
    n_mels: int,
    fmin: float,
    fmax: float | None,
) -> Tensor:
    """Log-mel spectrogram as S2Mel and the vocoder use it.

    waveform: (B, S) float at `sample_rate`, with S more than (n_fft - hop_length) / 2.
    fmin, fmax: edges of the mel filters, Hz; fmax None is half the sample rate.
    Returns (B, n_mels, T), T = S // hop_length, natural logarithm, at least log(MEL_FLOOR).
    Raises AudioError when the waveform is too short.
    """
    padding = (n_fft - hop_length) // 2
    if waveform.shape[-1] <= padding:
        raise AudioError(
            f"A recording of {waveform.shape[-1]} samples is too short for a mel spectrogram; "
            f"it must have more than {padding}."
        )
    # In float64: the rounding noise of a float32 FFT exceeds quiet bands next to loud ones.
    window = torch.hann_window(n_fft, dtype=torch.float64, device=waveform.device)
    padded = F.pad(waveform[:, None].double(), (padding, padding), mode="reflect")[:, 0]
    spectrum = torch.stft(padded, n_fft, hop_length, window=window, center=False, return_complex=True)
    magnitude = (spectrum.real**2 + spectrum.imag**2 + MAGNITUDE_EPS).sqrt()  # (B, bins, T)
    filters = torch.tensor(slaney_filters(sample_rate, n_fft, n_mels, fmin, fmax)).to(magnitude)
    mel: Tensor = (filters @ magnitude).clamp(min=MEL_FLOOR).log()  # (B, M, T)
    return mel.to(waveform.dtype)


def kaldi_fbank(waveform: Tensor) -> Tensor:
    """Kaldi's log filter bank without dither and without mean subtraction, 100 frames a second.

    waveform: (S,) float at 16 kHz, at least 25 ms; its scale shifts the result.
    Returns (T, 80) float32, T = 1 + (S - 400) // 160. Raises AudioError when the waveform is too short.
    """
    if waveform.shape[-1] < FBANK_WINDOW:
        raise AudioError(
            f"A recording of {waveform.shape[-1]} samples at {FBANK_RATE} Hz is too short for the speaker encoder; "
            f"it must have at least {FBANK_WINDOW}."
        )
    return _log_bands(waveform.float()).float()


def semantic_features(waveform: Tensor) -> tuple[Tensor, Tensor]:
    """The semantic encoder's input: normalized filter bank, two frames stacked, 50 a second.

    waveform: (S,) float in [-1, 1] at 16 kHz, at least two frames (35 ms).
    Returns features (1, T, 160) float32 and mask (1, T) int64, 0 where a frame is half padding: the last
    one, when the filter bank has an odd number of frames. Raises AudioError when the waveform is too short.
    """
    needed = FBANK_WINDOW + (STACKED_FRAMES - 1) * FBANK_HOP
    if waveform.shape[-1] < needed:
        raise AudioError(
            f"A recording of {waveform.shape[-1]} samples at {FBANK_RATE} Hz is too short for the semantic encoder; "
            f"it must have at least {needed}."
        )
    bands = _log_bands(waveform.double() * PCM_SCALE)  # (frames, M)
    variance, mean = torch.var_mean(bands, dim=0, correction=1, keepdim=True)  # (1, M) per band
    normalized = (bands - mean) / (variance + VARIANCE_EPS).sqrt()
    missing = -bands.shape[0] % STACKED_FRAMES
    padded = F.pad(normalized, (0, 0, 0, missing), value=PADDING_VALUE)
    stacked = padded.reshape(1, -1, STACKED_FRAMES * FBANK_BANDS).float()  # (1, T, 160)
    mask = torch.ones(1, stacked.shape[1], dtype=torch.int64, device=waveform.device)
    if missing:
        mask[:, -1] = 0
    return stacked, mask


def _log_bands(waveform: Tensor) -> Tensor:
    """(S,) -> (T, M) float64, frames cut and windowed in the precision of the waveform."""
    frames = waveform.unfold(-1, FBANK_WINDOW, FBANK_HOP)  # (T, window)
    frames = frames - frames.mean(dim=-1, keepdim=True)
    before = torch.cat([frames[:, :1], frames[:, :-1]], dim=-1)
    hann = torch.hann_window(FBANK_WINDOW, periodic=False, dtype=frames.dtype, device=frames.device)
    windowed = (frames - FBANK_PREEMPHASIS * before) * hann**POVEY_EXPONENT
    power = torch.fft.rfft(windowed.double(), n=FBANK_N_FFT).abs() ** 2  # (T, bins)
    bands: Tensor = power @ torch.tensor(_kaldi_filters()).to(power).T  # (T, M)
    return bands.clamp(min=FBANK_FLOOR).log()


@lru_cache(maxsize=8)
def _sinc_kernels(step: int, phases: int) -> Table:
    """One filter per output phase, (phases, 1, taps): output p of a block is at p / phases of a step."""
    cutoff = min(step, phases) * SINC_ROLLOFF  # on a time axis whose unit is one block of `step` samples
    margin = math.ceil(SINC_ZERO_CROSSINGS * step / cutoff)
    taps = np.arange(-margin, margin + step) / step
    time = (taps[None, :] - np.arange(phases)[:, None] / phases) * cutoff
    time = time.clip(-SINC_ZERO_CROSSINGS, SINC_ZERO_CROSSINGS)
    window = np.cos(time * math.pi / (2 * SINC_ZERO_CROSSINGS)) ** 2
    kernels: Table = np.sinc(time) * window * (cutoff / step)
    return kernels[:, None, :]


@lru_cache(maxsize=8)
def slaney_filters(sample_rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float | None) -> Table:
    """Triangles on Slaney's mel scale, each of area one: (n_mels, n_fft / 2 + 1)."""
    top = sample_rate / 2 if fmax is None else fmax
    low, high = _hz_to_slaney(np.array([fmin, top]))
    edges = _slaney_to_hz(np.linspace(low, high, n_mels + 2))
    triangles = _triangles(np.linspace(0.0, sample_rate / 2, n_fft // 2 + 1), edges)
    areas: Table = triangles * (2.0 / (edges[2:] - edges[:-2]))[:, None]
    return areas


@lru_cache(maxsize=1)
def _kaldi_filters() -> Table:
    """Triangles on the mel axis, not on the hertz axis, of height one: (80, n_fft / 2 + 1)."""
    bins = _hz_to_htk(np.linspace(0.0, FBANK_RATE / 2, FBANK_N_FFT // 2 + 1))
    low, high = _hz_to_htk(np.array([FBANK_FMIN, FBANK_RATE / 2]))
    return _triangles(bins, np.linspace(low, high, FBANK_BANDS + 2))


def _triangles(points: Table, edges: Table) -> Table:
    """Triangle i rises from edges[i] to 1 at edges[i + 1] and falls to edges[i + 2]: (n, points)."""
    left, center, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (points - left) / (center - left)
    falling = (right - points) / (right - center)
    triangles: Table = np.minimum(rising, falling).clip(min=0.0)
    return triangles


def _hz_to_htk(hertz: Table) -> Table:
    mels: Table = 1127.0 * np.log1p(hertz / 700.0)
    return mels


# Slaney's scale (Auditory Toolbox, 1998): 3 mels per 200 Hz up to 1 kHz, then 27 mels per factor of 6.4.
SLANEY_HZ_PER_MEL = 200.0 / 3.0
SLANEY_BREAK_HZ = 1000.0
SLANEY_BREAK_MELS = SLANEY_BREAK_HZ / SLANEY_HZ_PER_MEL
SLANEY_LOG_STEP = math.log(6.4) / 27.0


def _hz_to_slaney(hertz: Table) -> Table:
    above = SLANEY_BREAK_MELS + np.log(hertz.clip(min=SLANEY_BREAK_HZ) / SLANEY_BREAK_HZ) / SLANEY_LOG_STEP
    return np.where(hertz < SLANEY_BREAK_HZ, hertz / SLANEY_HZ_PER_MEL, above)


def _slaney_to_hz(mels: Table) -> Table:
    above = SLANEY_BREAK_HZ * np.exp(SLANEY_LOG_STEP * (mels - SLANEY_BREAK_MELS))
    return np.where(mels < SLANEY_BREAK_MELS, mels * SLANEY_HZ_PER_MEL, above)
