"""Which network a pack's vocoder is: the one place that knows them all.

In: the vocoder's dimensions, whose class says which kind it is (`pack.config.VOCODER_KINDS`). Out: the network, how far
it reaches, and the two steps in which every kind makes sound window by window: `frames_of` once over the whole mel,
then `render` of any of the frames.

It does not know weights and ways to compute.
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
    """Of what `frames_of` gives, the frames on either side of a frame that its samples depend on."""
    if isinstance(config, IstftVocoderConfig):
        return istft_vocoder.reach(config)
    return bigvgan.reach(config)


def frames_of(vocoder: nn.Module, mel: Tensor) -> Tensor:
    """What `render` takes of the mel (B, M, T) from a segment's first frame on: (B, C, T)."""
    return vocoder.with_pitch(mel) if isinstance(vocoder, IstftVocoder) else mel


def render(vocoder: nn.Module, frames: Tensor) -> Tensor:
    """Waveform (B, S) of frames (B, C, T) in a row. The outermost `reach` of them lack what is beyond."""
    waveform: Tensor = vocoder.render(frames) if isinstance(vocoder, IstftVocoder) else vocoder(frames)
    return waveform
