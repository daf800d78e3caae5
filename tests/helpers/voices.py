"""Voices for tests that do not enroll: put together from the golden tensors."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from safetensors.torch import load_file

from edgetts.pack.load import open_pack
from edgetts.pack.manifest import read_manifest
from edgetts.voices.voice import Voice
from helpers.paths import GOLDEN, GOLDEN_25


def golden_voice(pack: Path) -> Voice:
    """The voice of the golden tensors, as one that the encoders of `pack` made."""
    conditioning = load_file(GOLDEN / "gpt_conditioning.safetensors")
    s2mel = load_file(GOLDEN / "s2mel.safetensors")
    return Voice(
        conditioning_latents=conditioning["conditioning_latents"],
        emotion_vector=conditioning["emovec_speaker"],
        emotion_base=conditioning["emovec_speaker"],
        style=s2mel["style"],
        reference_codes=load_file(GOLDEN / "semantic_codec.safetensors")["codes"].to(torch.int64),
        reference_mel=s2mel["ref_mel"],
        encoder_id=open_pack(pack).manifest.encoder_id,
        seconds=2.4,
        name="golden",
    )


def golden_voice_25(pack: Path) -> Voice:
    """The same for a pack of IndexTTS-2.5."""
    gpt, s2mel = load_file(GOLDEN_25 / "gpt.safetensors"), load_file(GOLDEN_25 / "s2mel.safetensors")
    conditioning = load_file(GOLDEN_25 / "conditioning.safetensors")
    manifest = open_pack(pack).manifest
    return Voice(
        conditioning_latents=gpt["speaker_token"],
        emotion_vector=gpt["emovec"],
        emotion_base=conditioning["emovec_speaker"],
        style=s2mel["style"],
        reference_mel=s2mel["ref_mel"],
        reference_features=conditioning["spk_cond_emb"],
        encoder_id=manifest.encoder_id,
        family=manifest.family,
        seconds=2.4,
        name="golden",
    )


def voice_for(pack: Path, path: Path) -> Path:
    """A voice file that fits a pack of the tests, which cannot learn one."""
    voice = golden_voice_25(pack) if read_manifest(pack).family == "indextts-2.5" else golden_voice(pack)
    return dataclasses.replace(voice, emotion_base=voice.emotion_base.clone()).save(path)
