"""Source-filter vocoder at the frame rate: mel spectrogram in, waveform out by inverse STFT.

In: log-mel `(B, M, T)`. Out: waveform `(B, S)` in [-1, 1] with `S = T * hop_length` samples. No layer runs at the
sample rate, so it is much cheaper than a BigVGAN with as many parameters.

A network at the frame rate cannot advance a phase: for a constant mel it would repeat the same samples in every frame,
a hum at the frame rate. So the phase is computed: a small network estimates the pitch, which is integrated over the
frames. Three sources are made from it: pulses at that phase, white noise, and noise modulated by the pulses. A ConvNeXt
stack predicts their filters: for several short frames per mel frame and each frequency bin, the gain of each source and
the phase shift of the pulses. Noise is a function of the sample index, so synthesis is deterministic.

Windowed synthesis: call `with_pitch` once over all frames so far, for the phase, then `render` on any range of frames
with `reach(config)` more on either side; the result equals rendering all frames at once.

It does not know the sample rate; pitch is in periods per mel frame.

Sources: Siuzdak 2023, "Vocos" (arXiv 2306.00814): ConvNeXt and inverse STFT; Wang et al. 2019, "Neural source-filter
waveform models" (arXiv 1904.12088); Yoneyama et al. 2024, "Wavehax" (arXiv 2411.06807): a harmonic prior for a complex
spectrogram; Kim et al. 2018, "CREPE" (arXiv 1802.06182): pitch classification.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgetts.models.repcodec import CONV_KERNEL_SIZE, ConvNeXtStack
from edgetts.pack.config import IstftVocoderConfig, PitchConfig

# The rows that `with_pitch` appends to a mel.
PITCH, VOICING, PHASE, NUMBER = range(4)  # periods per frame; 0 to 1; phase in periods, modulo 1; frame index
N_PITCH_ROWS = 4
MEL_CENTER, MEL_SCALE = -5.0, 2.5  # approximate mean and standard deviation of log-mels of speech
PITCH_NEIGHBORS = 4  # classes on either side of the likeliest one, averaged for sub-class accuracy
SILENT_PITCH = 1.0  # periods per frame given to the filter network for unvoiced frames
LOUDEST = 6.0  # log of the largest gain
NOISE_PERIOD = 1 << 22  # samples: three minutes at 22.05 kHz
HASH_FACTORS = (0x7FEB352D, 0x846CA68B)  # of Wellons' 32-bit integer hash
PULSE_NOISE_GAIN = math.sqrt(8 / 35)  # normalizes noise * (1 + cos)^2 to the power of the noise


def reach(config: IstftVocoderConfig) -> int:
    """Frames with pitch rows on either side of a frame that its samples depend on."""
    overlapping = -(-config.margin // config.hop_length)  # frames whose spectra overlap this one
    return max(_stack_reach(config.n_layers) + overlapping, source_reach(config))


def source_reach(config: IstftVocoderConfig) -> int:
    """Frames on either side that contribute sources to a frame, apart from the network's receptive field."""
    spanned = -(-(config.n_fft - 1) // config.hop_length)  # short frames that share a sample
    return spanned + 1  # pitch is interpolated between frames


def pitch_reach(config: IstftVocoderConfig) -> int:
    """Mel frames on either side of a frame that its pitch depends on; its phase depends on all earlier frames."""
    return _stack_reach(config.pitch.n_layers)


def _stack_reach(n_layers: int) -> int:
    return (n_layers + 1) * (CONV_KERNEL_SIZE // 2)


class PitchNet(nn.Module):
    """Log-mel -> pitch and voicing."""

    def __init__(self, n_mels: int, config: PitchConfig) -> None:
        super().__init__()
        self.config = config
        self.stack = ConvNeXtStack(n_mels, config.channels, config.ffn_dim, config.n_layers)
        self.head = nn.Linear(config.channels, config.n_classes + 1)

    def forward(self, mel: Tensor) -> Tensor:
        """Log-mel (B, M, T) -> logits (B, T, classes + 1), the last one of voicing."""
        x = (mel.transpose(1, 2) - MEL_CENTER) / MEL_SCALE
        logits: Tensor = self.head(self.stack(x, None))
        return logits

    def pitch(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """Log-mel (B, M, T) -> periods per frame (B, T) and voicing (B, T) between 0 and 1."""
        logits = self(mel).float()
        classes, voicing = logits[..., :-1], logits[..., -1].sigmoid()
        places = torch.arange(classes.shape[-1], device=mel.device)
        far = (places - classes.argmax(-1, keepdim=True)).abs() > PITCH_NEIGHBORS
        weights = classes.masked_fill(far, -torch.inf).softmax(-1)
        octaves = (weights * places).sum(-1) / self.config.classes_per_octave
        return self.config.lowest * torch.exp2(octaves), voicing


class IstftVocoder(nn.Module):
    """The vocoder. Only `stack` and `head` may be in half precision; everything else is float32."""

    def __init__(self, config: IstftVocoderConfig) -> None:
        super().__init__()
        self.config = config
        self.n_bins = config.n_fft // 2 + 1
        self.pitch_net = PitchNet(config.n_mels, config.pitch)
        self.stack = ConvNeXtStack(config.n_mels + 2, config.channels, config.ffn_dim, config.n_layers)
        self.head = nn.Linear(config.channels, config.frames_per_mel * 4 * self.n_bins)
        self.envelope = nn.Linear(config.n_mels, self.n_bins)  # log-mel to log-magnitude; the stack predicts the rest
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, mel: Tensor) -> Tensor:
        """Log-mel (B, M, T) -> waveform (B, S), clamped to [-1, 1]."""
        return self.render(self.with_pitch(mel))

    def with_pitch(self, mel: Tensor) -> Tensor:
        """Log-mel (B, M, T) from the first frame on -> frames (B, M + N_PITCH_ROWS, T) for `render`."""
        pitch, voicing = self.pitch_net.pitch(mel)
        return torch.cat([mel, pitch_rows(pitch, voicing)], dim=1)

    def render(self, frames: Tensor, gain: float = 1.0) -> Tensor:
        """Frames (B, M + N_PITCH_ROWS, T) -> waveform (B, S), times `gain`, clamped to [-1, 1]."""
        n_mels, hop = self.config.n_mels, self.config.hop_length
        mel, rows = frames[:, :n_mels], frames[:, n_mels:]
        pulses, noise, modulated = self._spectra(sources_of(rows, hop)).unbind(1)  # (B, T', K) complex
        gains, delays = self.filters(mel, rows)
        rest = torch.view_as_real(noise) * gains[:, :, 1, :, None]
        rest = rest + torch.view_as_real(modulated) * gains[:, :, 2, :, None]
        spectra = torch.polar(gains[:, :, 0], delays) * pulses + torch.view_as_complex(rest)
        waveform = self._waveform(spectra, mel.shape[-1] * hop)
        return (waveform if gain == 1.0 else waveform * gain).clamp(-1.0, 1.0)

    def filters(self, mel: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Gain of each source (B, T', 3, K) and phase of the pulses (B, T', K); T' short frames, K bins."""
        voicing = rows[:, VOICING]
        told = torch.where(voicing > 0.5, rows[:, PITCH], SILENT_PITCH).log()
        x = torch.cat([(mel - MEL_CENTER) / MEL_SCALE, torch.stack([told, voicing], 1)], 1).transpose(1, 2)
        dtype = self.head.weight.dtype
        y = self.head(self.stack(x.to(dtype), None)).float()  # (B, T, frames 4 K)
        y = y.view(len(y), -1, self.config.frames_per_mel, 4, self.n_bins)
        loudness = self.envelope(mel.transpose(1, 2))[:, :, None, None]  # (B, T, 1, 1, K)
        gains = (y[:, :, :, :3] + loudness).clamp(max=LOUDEST).exp()  # (B, T, frames, 3, K)
        return gains.flatten(1, 2), y[:, :, :, 3].flatten(1, 2)

    def _window(self, like: Tensor) -> Tensor:
        return torch.hann_window(self.config.n_fft, device=like.device)

    def _spectra(self, signals: Tensor) -> Tensor:
        """Signals (B, N, S) -> spectra (B, N, T', K) of short frames, each centered on its own samples."""
        step, n_fft, margin = self.config.step, self.config.n_fft, self.config.margin
        short = F.pad(signals, (margin, margin)).unfold(-1, n_fft, step)  # (B, N, T', n_fft)
        spectra: Tensor = torch.fft.rfft(short * self._window(signals))
        return spectra

    def _waveform(self, spectra: Tensor, n_samples: int) -> Tensor:
        """Spectra (B, T', K) -> waveform (B, S) by overlap-add: inverts `_spectra`, except for tapered ends."""
        step, n_fft, margin = self.config.step, self.config.n_fft, self.config.margin
        n_overlapping = n_fft // step
        window = self._window(spectra)
        short = torch.fft.irfft(spectra, n=n_fft) * window  # (B, T', n_fft)
        scale = window.square().sum() / step  # sum of the squared windows at any sample
        parts = (short / scale).unflatten(-1, (n_overlapping, step))  # (B, T', overlapping, step)
        total = sum(F.pad(parts[:, :, k], (0, 0, k, n_overlapping - 1 - k)) for k in range(n_overlapping))
        assert isinstance(total, Tensor)
        return total.flatten(1)[:, margin : margin + n_samples]


def pitch_rows(pitch: Tensor, voicing: Tensor) -> Tensor:
    """Pitch in periods per frame (B, T) and voicing (B, T), both from the first frame on -> (B, N_PITCH_ROWS, T)."""
    exact = pitch.double()
    steps = (exact + F.pad(exact[:, :-1], (1, 0))) / 2  # from the center of one frame to that of the next
    phase = steps.cumsum(1).remainder(1.0).float()
    number = torch.arange(pitch.shape[1], device=pitch.device, dtype=torch.float32).expand_as(pitch)
    return torch.stack([pitch, voicing, phase, number], dim=1)


def sources_of(rows: Tensor, hop: int) -> Tensor:
    """Pitch rows (B, N_PITCH_ROWS, T) -> pulses, noise, and noise modulated by the pulses: (B, 3, S).

    Each has the power of white noise of variance 1 (pulses and modulated noise: where fully voiced).
    """
    pitch, voicing = rows[:, PITCH], rows[:, VOICING]
    place = (torch.arange(hop, device=rows.device) + 0.5) / hop - 0.5  # offset from the center of a frame, in frames
    before, after = place.clamp(max=0), place.clamp(min=0)

    def neighbors(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        padded = F.pad(x[:, None], (1, 1), mode="replicate")[:, 0, :, None]  # (B, T + 2, 1)
        return padded[:, :-2], padded[:, 1:-1], padded[:, 2:]

    left, here, right = neighbors(pitch)
    frequency = here + after * (right - here) - before * (left - here)  # (B, T, hop), periods per frame
    turned = place * here + after.square() / 2 * (right - here) - before.square() / 2 * (left - here)
    phase = (rows[:, PHASE, :, None] + turned).remainder(1.0)
    left, here, right = neighbors(voicing)
    voiced = here + after * (right - here) - before * (left - here)
    per_sample = frequency / hop
    pulses = _pulses(phase, per_sample) * voiced
    index = rows[:, NUMBER, :, None].long() * hop + torch.arange(hop, device=rows.device)  # (B, T, hop)
    noise = _noise(index)
    modulated = PULSE_NOISE_GAIN * (1 + torch.cos(2 * math.pi * phase)).square()
    return torch.stack([pulses, noise, noise * modulated * voiced], dim=1).flatten(2)


def _pulses(phase: Tensor, per_sample: Tensor) -> Tensor:
    """Band-limited pulse train: the sum of cosines of all harmonics below the Nyquist frequency.

    phase: periods, modulo 1. per_sample: periods per sample. The highest harmonic is faded in and out.
    """
    highest = 0.5 / per_sample
    n_whole = highest.floor()
    centered = phase - (phase > 0.5).float()
    half = math.pi * centered
    near = half.abs() < 1e-4  # the quotient below is 0 / 0 there; all cosines are 1
    sum_of_cosines = torch.sin((2 * n_whole + 1) * half) / (2 * torch.sin(torch.where(near, 1.0, half))) - 0.5
    sum_of_cosines = torch.where(near, n_whole, sum_of_cosines)
    last = (highest - n_whole) * torch.cos(2 * (n_whole + 1) * half)
    return 2 * per_sample.sqrt() * (sum_of_cosines + last)


def _noise(index: Tensor) -> Tensor:
    """White noise of variance 1 as a function of the sample index: uniform, by an integer hash."""
    mask = 0xFFFFFFFF
    x = index % NOISE_PERIOD + 1
    x = ((x ^ (x >> 16)) * HASH_FACTORS[0]) & mask
    x = ((x ^ (x >> 15)) * HASH_FACTORS[1]) & mask
    x = x ^ (x >> 16)
    return (x.float() / mask - 0.5) * math.sqrt(12)
