"""The kinds of vocoder behind one interface: build, reach, and windowed synthesis in two steps.

In: the vocoder's dimensions, whose class selects the kind (`pack.config.VOCODER_KINDS`). Out: the network, its reach,
and the two steps: `frames_of` once over the whole mel, then `render` on any range of its frames.

It does not know weights and compute modes; `backends.prepare` has the optimized form of each kind.
"""

from __future__ import annotations

from torch import Tensor, nn

from edgetts.models import bigvgan, istft_vocoder
from edgetts.models.bigvgan import BigVGAN
from edgetts.models.istft_vocoder import IstftVocoder
from edgetts.pack.config import IstftVocoderConfig, VocoderConfig

Vocoder = BigVGAN | IstftVocoder


def build_vocoder(config: VocoderConfig | IstftVocoderConfig) -> Vocoder:
    """The network without weights."""
    return IstftVocoder(config) if isinstance(config, IstftVocoderConfig) else BigVGAN(config)


def reach(config: VocoderConfig | IstftVocoderConfig) -> int:
    """Frames (as from `frames_of`) on either side of a frame that its samples depend on."""
    if isinstance(config, IstftVocoderConfig):
        return istft_vocoder.reach(config)
    return bigvgan.reach(config)


def frames_of(vocoder: nn.Module, mel: Tensor) -> Tensor:
    """Log-mel (B, M, T) from a segment's first frame on -> frames (B, C, T) for `render`."""
    return vocoder.with_pitch(mel) if isinstance(vocoder, IstftVocoder) else mel


def render(vocoder: nn.Module, frames: Tensor, gain: float = 1.0) -> Tensor:
    """Consecutive frames (B, C, T) -> waveform (B, S), times `gain`, in [-1, 1].

    The outermost `reach` frames are inexact: they lack context.
    """
    if isinstance(vocoder, IstftVocoder):
        return vocoder.render(frames, gain)
    waveform: Tensor = vocoder(frames)
    return waveform if gain == 1.0 else (waveform * gain).clamp(-1.0, 1.0)
