"""Enrollment: a recording becomes a `Voice`. Each network is loaded, run once and freed before the next.

In: waveforms (S,) float32, already cut (`audio.io`), and an open pack. Out: a `Voice`. The order of stages is that
of upstream's `infer_v2.py`. Does not know where recordings come from or where voices are stored.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch

from edgetts.audio import features
from edgetts.backends.kernels import KernelChoice
from edgetts.backends.linear import replacer
from edgetts.backends.process import prepare_process
from edgetts.errors import PackError
from edgetts.families import family_of
from edgetts.models import registry
from edgetts.progress import Progress, no_progress
from edgetts.voices.voice import Voice

if TYPE_CHECKING:
    from edgetts.pack.load import Pack

logger = logging.getLogger(__name__)

ENCODER_RATE = 16_000  # Hz, input of the semantic and the speaker encoder


@torch.inference_mode()
def enroll(
    pack: Pack,
    waveform: torch.Tensor,
    emotion_waveform: torch.Tensor,
    *,
    device: torch.device,
    name: str = "",
    notices: tuple[str, ...] = (),
    progress: Progress = no_progress,
) -> Voice:
    """Make a voice from one recording, resampled in the two ways that upstream uses.

    waveform (S,): mono float32 at the pack's sample rate; emotion_waveform (S,): the same recording resampled
    directly to 16 kHz. Both at most 15 s. Returns a Voice on the CPU.
    """
    prepare_process()
    config = pack.config
    progress("reading the recording", 0.0)
    mel = mel_spectrogram(pack, waveform)
    waveform_16k = features.resample_windowed_sinc(waveform, config.audio.sample_rate, ENCODER_RATE)
    speaker_features, emotion_features = _semantic_features(pack, (waveform_16k, emotion_waveform), device)

    family = family_of(config).part("voice")
    reference = family.reference(pack, speaker_features, device, progress)

    progress("speaker style", 0.6)
    fbank = features.kaldi_fbank(waveform_16k)
    speaker_encoder = registry.SPEAKER_ENCODER.load(pack, device)
    style = speaker_encoder((fbank - fbank.mean(0, keepdim=True)).unsqueeze(0).to(device))
    del speaker_encoder

    progress("conditioning", 0.7)
    quantized = replacer(KernelChoice(device))  # quantized weights are not expanded: the encoders are large
    conditioning = registry.CONDITIONING.load(pack, device, replace=quantized)
    latents = family.speaker_latents(conditioning, speaker_features, style)
    emotion_base = conditioning.emotion_vector(speaker_features)
    emotion_vector = conditioning.emotion_vector(emotion_features)
    del conditioning
    progress("voice ready", 1.0)
    logger.info("enrolled %.1f s of speech as %s", waveform.shape[-1] / config.audio.sample_rate, name or "a voice")
    return Voice(
        conditioning_latents=latents.float().cpu(),
        emotion_vector=emotion_vector.float().cpu(),
        emotion_base=emotion_base.float().cpu(),
        style=style.float().cpu(),
        **reference,
        reference_mel=mel.cpu(),
        encoder_id=pack.manifest.encoder_id,
        family=pack.manifest.family,
        seconds=waveform.shape[-1] / config.audio.sample_rate,
        name=name,
        notices=notices,
    )


def mel_spectrogram(pack: Pack, waveform: torch.Tensor) -> torch.Tensor:
    """Log-mel (1, M, F) of a waveform (S,) at the pack's sample rate, as S2Mel and the vocoder use it."""
    audio = pack.config.audio
    return features.mel_spectrogram(
        waveform.unsqueeze(0),
        sample_rate=audio.sample_rate,
        n_fft=audio.n_fft,
        hop_length=audio.hop_length,
        n_mels=audio.n_mels,
        fmin=audio.fmin,
        fmax=audio.fmax,
    )


def _semantic_features(pack: Pack, waveforms: tuple[torch.Tensor, ...], device: torch.device) -> list[torch.Tensor]:
    """Normalized semantic features (1, T, C) of each waveform (S,) at 16 kHz; the encoder is loaded once."""
    config, quantized = pack.config.semantic_encoder, replacer(KernelChoice(device))
    encoder = registry.SEMANTIC_ENCODER.load(pack, device, replace=quantized)
    stats = pack.state_dict("semantic_statistics", device)
    width = config.hidden_size
    if any(tuple(stats[name].shape) != (width,) for name in ("mean", "std")):
        raise PackError(
            f"This pack cannot enroll a recording: its semantic encoder makes features {width} wide, and its "
            f"statistics are for {stats['mean'].shape[-1]}. Give a voice file with voice=, or convert a checkpoint "
            "whose w2v-bert-2.0 and wav2vec2bert_stats.pt belong together."
        )
    result = []
    for waveform in waveforms:
        inputs, mask = features.semantic_features(waveform)
        hidden = encoder(inputs.to(device), mask.to(device))
        result.append((hidden - stats["mean"]) / stats["std"])
    return result
