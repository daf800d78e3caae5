"""Adaptation to a voice, with the built-in pack: what is learned, and that nothing else changes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from edgetts import TTS
from edgetts.errors import VoiceError
from edgetts.models.repcodec import Quantizer
from edgetts.models.s2mel import LatentS2Mel
from edgetts.models.voice_offsets import n_offsets, voice_offsets
from edgetts.options import SynthesisOptions
from edgetts.pack.load import Pack, open_pack
from edgetts.pack.locate import builtin_pack
from edgetts.pipeline import Pipeline
from edgetts.voices import adapt
from edgetts.voices.speaker import make_speaker
from edgetts.voices.voice import Voice

CPU = torch.device("cpu")
STEPS = 24
NOISE_SCALE = 0.3  # that the built-in pack was trained with


@pytest.fixture(scope="module")
def pack() -> Pack:
    return open_pack(builtin_pack())


@pytest.fixture(scope="module")
def voice(pack: Pack) -> Voice:
    """A ready voice whose style was lost on the way: what is to be learned from its recording."""
    ready = list(pack.manifest.ready_voices().values())
    voice, other = Voice.load(pack.file(ready[0])), Voice.load(pack.file(ready[-1]))
    return dataclasses.replace(voice, style=other.style)


def adapted(pack: Pack, voice: Voice, steps: int = STEPS) -> Voice:
    def quiet(_what: str, _share: float) -> None:
        return None

    return adapt.adapt(pack, voice, steps=steps, noise_scale=NOISE_SCALE, device=CPU, progress=quiet)


def error(pack: Pack, voice: Voice) -> float:
    """Of the flow, over the same excerpts, noise and times for every voice of one recording."""
    config = pack.config.s2mel
    s2mel = pack.module("s2mel", lambda: LatentS2Mel(config), CPU)
    quantizer = pack.module("quantizer", lambda: Quantizer(pack.config.semantic_codec), CPU)
    flat = torch.zeros(1, n_offsets(config.dit)) if voice.offsets is None else voice.offsets
    with torch.no_grad():
        semantic = quantizer.lookup(voice.reference_codes)
        drawn = adapt._Excerpts(voice.reference_mel, semantic, 1 / config.mel_frames_per_code, NOISE_SCALE)
        drawn.generator.manual_seed(99)
        found = [
            adapt._flow_error(s2mel, voice.style, voice_offsets(flat, config.dit), drawn.draw()) for _ in range(16)
        ]
    return float(torch.stack(found).mean())


def test_the_recording_is_explained_better(pack: Pack, voice: Voice) -> None:
    found = adapted(pack, voice)
    assert found.adapt_steps == STEPS and found.adapted_to == pack.manifest.s2mel_id
    assert error(pack, found) < 0.95 * error(pack, voice)
    for field in dataclasses.fields(Voice):
        if field.name not in ("offsets", "adapted_to", "adapt_steps"):
            assert getattr(found, field.name) is getattr(voice, field.name)


def test_the_same_again_and_in_inference_mode(pack: Pack, voice: Voice) -> None:
    first = adapted(pack, voice, 2)
    with torch.inference_mode():
        again = adapted(pack, voice, 2)
    assert first.offsets is not None and again.offsets is not None
    assert torch.equal(first.offsets, again.offsets) and not again.offsets.requires_grad


def test_a_second_of_speech_is_enough(pack: Pack, voice: Voice) -> None:
    short = dataclasses.replace(
        voice, reference_mel=voice.reference_mel[:, :, :86], reference_codes=voice.reference_codes[:, :50]
    )
    found = adapted(pack, short, 2).offsets
    assert found is not None and bool(torch.isfinite(found).all()) and float(found.abs().max()) > 0


def test_an_adapted_voice_speaks_otherwise_and_only_with_its_pack(pack: Pack, voice: Voice) -> None:
    pipeline = Pipeline(pack, CPU)
    options = SynthesisOptions.of(pack.manifest.defaults, {"max_codes": 30, "guards": False})
    ids, changed = (20, 30, 25, 41), adapted(pack, voice, 3)
    plain, moved = (pipeline.speak(make_speaker(pipeline.networks, v), ids, options, seed=1) for v in (voice, changed))
    assert plain.codes == moved.codes  # the GPT is not touched
    assert float((plain.waveform - moved.waveform).abs().max()) > 0.01
    none = dataclasses.replace(changed, offsets=torch.zeros_like(changed.offsets))  # type: ignore[arg-type]
    assert torch.equal(
        pipeline.speak(make_speaker(pipeline.networks, none), ids, options, seed=1).waveform, plain.waveform
    )
    with pytest.raises(VoiceError, match="adapted to another S2Mel"):
        make_speaker(pipeline.networks, dataclasses.replace(changed, adapted_to="0" * 64))


def test_recordings_are_adapted_to_as_asked_and_remembered_so(tmp_path: Path) -> None:
    tts = TTS.load(builtin_pack(), device="cpu", home=tmp_path / "home")
    recording = tmp_path / "speech.wav"
    tts.say("This is what I sound like.", seed=1).save(recording)
    plain, few = tts.voice(recording, adapt_steps=0), tts.voice(recording, adapt_steps=2)
    assert plain.offsets is None and few.adapt_steps == 2
    again = tts.voice(recording, adapt_steps=2)
    assert again.offsets is not None and few.offsets is not None and torch.equal(again.offsets, few.offsets)
    assert len(list(tts.store.cache_dir.iterdir())) == 2
    said = [tts.say("Yes.", recording, seed=1, adapt_steps=n).samples for n in (0, 2)]
    assert said[0].shape != said[1].shape or abs(said[0] - said[1]).max() > 0
