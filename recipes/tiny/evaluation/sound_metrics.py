"""Objective sound metrics: hum at the frame rate, harmonics-to-noise ratio, DNSMOS, distances to a recording.

In: waveforms (S,) at the pack's rate, float32. Out: numbers. The metrics do not depend on the synthesizer. Optional
packages (PESQ, DNSMOS) are imported at first use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr
import torch
from scipy.fft import dct

from recipes.tiny import dims
from recipes.tiny.corpus.pitch import strength_of
from recipes.tiny.mel import mel_of
from recipes.tiny.stages.adversarial import stft_loss

Wave = npt.NDArray[np.float32]

COMB_WIDTH_HZ = 1.5
BANDS_HZ = ((100, 1000), (1000, 2000), (2000, 4000), (4000, 8000))
SHORTEST_COMB_S = 1.0  # shorter spectra cannot resolve the lines of the comb
JUDGE_RATE = 16_000
N_CEPSTRA = 13
DB_PER_NEPER = 10 / np.log(10) * np.sqrt(2)


def comb_shares(waveform: Wave, rate: int = dims.SAMPLE_RATE, hop: int = dims.HOP) -> list[float]:
    """Share of each band's energy within 1.5 Hz of a multiple of the frame rate; 0.035 for a flat spectrum.

    Raises ValueError for less than a second.
    """
    if len(waveform) < SHORTEST_COMB_S * rate:
        raise ValueError(f"{len(waveform)} samples are too few for a comb spectrum")
    power = np.abs(np.fft.rfft(waveform.astype(np.float64) * np.hanning(len(waveform)))) ** 2
    frequency = np.fft.rfftfreq(len(waveform), 1 / rate)
    spacing = rate / hop
    near = np.abs(frequency - spacing * np.rint(frequency / spacing)) <= COMB_WIDTH_HZ
    shares = []
    for low, high in BANDS_HZ:
        band = (frequency >= low) & (frequency < high)
        shares.append(float(power[band & near].sum() / power[band].sum()))
    return shares


def harmonics_to_noise(waveform: Wave) -> float:
    """Harmonics-to-noise ratio in dB, mean over voiced frames; nan if nothing is voiced."""
    strength = strength_of(waveform)
    strength = strength[strength > 0].clip(max=0.9999)
    return float(np.mean(10 * np.log10(strength / (1 - strength)))) if len(strength) else float("nan")


def cepstral_distance(made: Wave, real: Wave) -> float:
    """Mel-cepstral distortion in dB, frame by frame; the signals must be aligned."""
    mels = mel_of(torch.from_numpy(np.stack([made, real]))).double().numpy()  # (2, M, T)
    cepstra = dct(mels, norm="ortho", axis=1)[:, 1 : N_CEPSTRA + 1] / np.sqrt(dims.N_MELS / 2)
    return float(DB_PER_NEPER * np.sqrt(((cepstra[0] - cepstra[1]) ** 2).sum(0)).mean())


def spectral_distance(made: Wave, real: Wave) -> float:
    """Multi-resolution STFT distance, the loss of vocoder training."""
    return float(stft_loss(torch.from_numpy(made)[None], torch.from_numpy(real)[None]))


def at_judge_rate(waveform: Wave) -> Wave:
    """The waveform at `JUDGE_RATE`, the input rate of PESQ and DNSMOS."""
    heard: Wave = soxr.resample(waveform, dims.SAMPLE_RATE, JUDGE_RATE).astype(np.float32).clip(-1, 1)
    return heard


def wideband_pesq(made: Wave, real: Wave) -> float:
    """Wideband PESQ with `real` as the reference."""
    from pesq import pesq

    return float(pesq(JUDGE_RATE, at_judge_rate(real), at_judge_rate(made), "wb"))


def dnsmos(waveform: Wave) -> dict[str, float]:
    """Microsoft's DNSMOS estimates of mean opinion scores: `overall`, `signal`, `p808`."""
    from speechmos import dnsmos as judge

    found: dict[str, Any] = judge.run(at_judge_rate(waveform), JUDGE_RATE, return_df=False)
    return {"overall": float(found["ovrl_mos"]), "signal": float(found["sig_mos"]), "p808": float(found["p808_mos"])}


def alone(waveform: Wave) -> dict[str, float]:
    """Metrics without a reference recording."""
    figures = {"hnr": harmonics_to_noise(waveform), **dnsmos(waveform)}
    if len(waveform) >= SHORTEST_COMB_S * dims.SAMPLE_RATE:
        figures |= {f"comb_{low}": share for (low, _), share in zip(BANDS_HZ, comb_shares(waveform), strict=True)}
    return figures


def means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean of each metric over the rows that have it, without nan."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: float(np.nanmean([row[name] for row in rows if name in row])) for name in names}


def against(made: Wave, real: Wave) -> dict[str, float]:
    """Metrics of `made`, and its distances to the reference recording; the longer one is cut."""
    n = min(len(made), len(real))
    made, real = made[:n], real[:n]
    return {
        **alone(made),
        "stft": spectral_distance(made, real),
        "mcd": cepstral_distance(made, real),
        "pesq": wideband_pesq(made, real),
    }
