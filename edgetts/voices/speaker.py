"""Applies an emotion to a voice and moves it to the device.

In: a voice, an emotion, the networks of the run phase. Out: a `Speaker`. Does not know text and stages.

Shapes: B is 1; T codes, F mel frames, C channels, M mel bands, N latents, D style.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from edgetts.backends.networks import Networks
from edgetts.backends.process import check_process
from edgetts.errors import VoiceError
from edgetts.families import family_of
from edgetts.models.dit import AdaLNModulation
from edgetts.models.voice_offsets import n_offsets, voice_offsets
from edgetts.voices.emotion import Emotion, matrix_rows, merge_vectors, mix_weights
from edgetts.voices.level import SpeechLevel
from edgetts.voices.voice import Voice


@dataclass(frozen=True)
class Speaker:
    """A voice on the device with its emotion applied: the input of a synthesis call."""

    conditioning_latents: torch.Tensor  # (1, N, C)
    emotion_vector: torch.Tensor  # (1, C)
    style: torch.Tensor  # (1, D)
    reference_mel: torch.Tensor  # (1, M, F)
    prompt_condition: torch.Tensor  # (1, F, C)
    offsets: AdaLNModulation | None = None  # of an adapted voice; added to the DiT's conditions
    mel_map: torch.Tensor | None = None  # (M, M + 1) of a voice with a matched spectrum (`voices.spectrum`)
    gain: float = 1.0  # of waveforms, so that all voices have one level


@torch.inference_mode()
def make_speaker(
    networks: Networks,
    voice: Voice,
    emotion: Emotion | None = None,
    emotion_voice: Voice | None = None,
    prompt_s: float | None = None,
) -> Speaker:
    """Move a voice to the networks' device and apply an emotion.

    emotion_voice: the voice enrolled from the emotion's recording, if it has one. prompt_s: keep only the last seconds
    of the prompt, which the DiT computes again at each step, at the cost of as many seconds of speech; None: all of it.
    Raises VoiceError if a voice was made by other encoders or adapted to another S2Mel.
    """
    check_process()
    pack, config, device = networks.pack, networks.config, networks.device
    for each in filter(None, (voice, emotion_voice)):
        each.check(pack.manifest.encoder_id, pack.manifest.family)
        each.check_fits(config)
    dit = config.s2mel.dit
    voice.check_adaptation(pack.manifest.s2mel_id, n_offsets(dit))
    offsets = None
    if voice.offsets is not None:
        offsets = voice_offsets(voice.offsets.to(device), dit)
    style = voice.style.to(device)
    vector = voice.emotion_vector.to(device)
    if emotion is not None and emotion.recording is not None:
        if emotion_voice is None:
            raise ValueError("emotion_voice is missing: the emotion is a recording")
        target = emotion_voice.emotion_vector.to(device)
        vector = merge_vectors(voice.emotion_base.to(device), target, emotion.alpha)
    elif emotion is not None:
        matrices = networks.emotion_matrices
        if matrices["emotion_matrix"].shape[1] != vector.shape[1]:
            raise VoiceError(
                f"The emotion matrix of this pack is {matrices['emotion_matrix'].shape[1]} wide and its GPT "
                f"{vector.shape[1]}, so emotion weights cannot be used: give the recording of an emotion."
            )
        _, rows = matrix_rows(style, matrices["speaker_matrix"], matrices["emotion_matrix"], config.emotion.group_sizes)
        vector = mix_weights(vector, rows, emotion.effective_weights())
    level = SpeechLevel.of_pack(pack)
    reference_mel = voice.reference_mel.to(device)
    family = family_of(config).part("voice")
    features = family.reference_features(voice, networks.quantizer, device)  # (1, T, C), as S2Mel was trained on
    condition = networks.s2mel.length_regulator(features, reference_mel.shape[-1])
    n_kept = reference_mel.shape[-1] if prompt_s is None else round(prompt_s * config.audio.frame_rate)
    return Speaker(
        conditioning_latents=voice.conditioning_latents.to(device),
        emotion_vector=vector,
        style=style if offsets is None else style + offsets.style,
        reference_mel=reference_mel[:, :, -n_kept:],
        prompt_condition=condition[:, -n_kept:],
        offsets=None if offsets is None else offsets.times,
        mel_map=None if voice.mel_map is None else voice.mel_map[0].to(device),
        gain=1.0 if level is None else level.gain(voice.level_db),
    )
