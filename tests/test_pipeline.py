"""The run phase on the mini pack: stages chained as upstream chains them, seeds, guards, cancellation, memory."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from paths import GOLDEN
from safetensors.torch import load_file
from voices import golden_voice

from edgetts.emotion import Emotion
from edgetts.errors import Cancelled, VoiceError
from edgetts.options import SynthesisOptions
from edgetts.pack.load import open_pack
from edgetts.pack.manifest import ENROL_COMPONENTS, RUN_COMPONENTS
from edgetts.pipeline import Pipeline, Speaker, derive_seed
from edgetts.runtime.decode import DecodeResult
from edgetts.runtime.flow import solve_flow
from edgetts.runtime.settings import Compute, FlowSettings

QUICK = SynthesisOptions(n_beams=1, n_steps=2, max_codes=20, guards=False)
IDS = (20, 30, 25, 41)


@pytest.fixture(scope="module")
def pipeline(mini_pack: Path) -> Pipeline:
    return Pipeline(open_pack(mini_pack), torch.device("cpu"))


@pytest.fixture(scope="module")
def speaker(pipeline: Pipeline, mini_pack: Path) -> Speaker:
    return pipeline.speaker(golden_voice(mini_pack))


@pytest.mark.parametrize("compute", ["reference", "fast"])
def test_other_ways_to_compute_say_the_same(
    pipeline: Pipeline, speaker: Speaker, mini_pack: Path, compute: Compute
) -> None:
    other = Pipeline(open_pack(mini_pack), torch.device("cpu"), compute=compute)
    exact, found = (p.speak(speaker, IDS, QUICK, seed=3) for p in (pipeline, other))
    assert found.codes == exact.codes and found.waveform.dtype == torch.float32
    difference = (found.waveform - exact.waveform).abs().max() / exact.waveform.std()
    assert difference < (1e-3 if compute == "reference" else 0.5)


def test_a_voice_gives_the_golden_prompt_condition(speaker: Speaker) -> None:
    golden = load_file(GOLDEN / "s2mel.safetensors")["prompt_condition"]
    assert (speaker.prompt_condition - golden).abs().max() / golden.std() < 1e-4


def test_stages_in_a_row_give_the_golden_mel(pipeline: Pipeline, speaker: Speaker) -> None:
    gpt, s2mel = load_file(GOLDEN / "gpt.safetensors"), load_file(GOLDEN / "s2mel.safetensors")
    golden_speaker = dataclasses.replace(
        speaker, conditioning_latents=gpt["conditioning_latents"], emotion_vector=gpt["emovec"]
    )
    codes = gpt["greedy_codes"].long()
    with torch.inference_mode():
        latents = pipeline.latents(golden_speaker, gpt["text_ids"].long(), codes[0].tolist())
        semantic = pipeline.semantic(codes, latents)
        assert (semantic - s2mel["s_infer"]).abs().max() / s2mel["s_infer"].std() < 1e-4
        n_frames = int(codes.shape[1] * pipeline.config.s2mel.mel_frames_per_code)
        target = pipeline.s2mel.length_regulator(semantic, n_frames)
        mel = solve_flow(
            pipeline.s2mel.cfm.estimator,
            s2mel["noise"],
            speaker.reference_mel,
            torch.cat([speaker.prompt_condition, target], dim=1),
            speaker.style,
            FlowSettings(n_steps=int(s2mel["steps"]), solver="euler", cfg_rate=float(s2mel["cfg_rate"])),
        )[:, :, speaker.reference_mel.shape[-1] :]
    assert (mel - s2mel["mel"]).abs().max() / s2mel["mel"].std() < 1e-4


def test_same_seed_same_speech(pipeline: Pipeline, speaker: Speaker) -> None:
    first, again, other = (pipeline.speak(speaker, IDS, QUICK, seed) for seed in (5, 5, 6))
    assert torch.equal(first.waveform, again.waveform) and first.codes == again.codes
    assert first.codes != other.codes
    frames = int(len(first.codes) * pipeline.config.s2mel.mel_frames_per_code)
    assert first.waveform.shape == (frames * pipeline.config.audio.hop_length,)


def test_a_guard_cuts_retries_and_reports(pipeline: Pipeline, speaker: Speaker) -> None:
    # Random weights never end by themselves, so the cap by text length is reached in every attempt.
    options = dataclasses.replace(QUICK, guards=True, retries=1)
    spoken = pipeline.speak(speaker, IDS, options, 5)
    assert spoken.attempts == 2 and len(spoken.notices) == 2
    assert "no end after" in spoken.notices[0]
    assert spoken.seed == derive_seed(5, 1)


def test_an_end_too_early_is_tried_again(pipeline: Pipeline, speaker: Speaker, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = iter([len(IDS) - 1, len(IDS)])

    def generate(*_args: object, **_options: object) -> DecodeResult:
        return DecodeResult(list(range(next(lengths))), stopped=True, cancelled=False)

    monkeypatch.setattr("edgetts.pipeline.generate_codes", generate)
    spoken = pipeline.speak(speaker, IDS, dataclasses.replace(QUICK, guards=True, retries=1), 5)
    assert len(spoken.codes) == len(IDS) and spoken.attempts == 2
    assert len(spoken.notices) == 1 and "too early for the text" in spoken.notices[0]


def test_cancelling(pipeline: Pipeline, speaker: Speaker) -> None:
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    with pytest.raises(Cancelled):
        pipeline.speak(speaker, IDS, QUICK, 1, should_stop=stop)
    assert asked == 4


def test_emotion_changes_the_vector_and_only_that(pipeline: Pipeline, mini_pack: Path) -> None:
    voice = golden_voice(mini_pack)
    other = dataclasses.replace(voice, emotion_vector=voice.emotion_vector + 1)
    plain = pipeline.speaker(voice)
    mixed = pipeline.speaker(voice, Emotion(recording="other", alpha=0.25), other)
    assert torch.allclose(mixed.emotion_vector, plain.emotion_vector + 0.25)
    assert torch.equal(mixed.conditioning_latents, plain.conditioning_latents)


def test_other_encoders_and_codes_out_of_range_are_refused(pipeline: Pipeline, mini_pack: Path) -> None:
    voice = golden_voice(mini_pack)
    with pytest.raises(VoiceError, match="other encoders"):
        pipeline.speaker(dataclasses.replace(voice, encoder_id="0" * 64))
    with pytest.raises(VoiceError, match="outside the codebook"):
        pipeline.speaker(dataclasses.replace(voice, reference_codes=voice.reference_codes + 10_000))


def test_no_encoder_parameter_is_resident(pipeline: Pipeline) -> None:
    """The networks that speak hold the run components' parameters, byte for byte, and nothing else."""
    pack = pipeline.pack
    plain = Pipeline(pack, pipeline.device, compute="reference")
    resident = sum(
        p.numel() * p.element_size() for m in plain.modules().values() for p in (*m.parameters(), *m.buffers())
    )
    run = set(RUN_COMPONENTS) - {"emotion"}
    assert resident == sum(4 * torch.Size(s).numel() for c in run for s in pack.shapes(c).values())
    encoders = set(ENROL_COMPONENTS) - set(RUN_COMPONENTS)
    assert encoders == {"semantic_encoder", "semantic_statistics", "codec_encoder", "speaker_encoder", "conditioning"}
    for each in (plain, pipeline):
        names = {type(m).__name__ for module in each.modules().values() for m in module.modules()}
        assert not names & {"SemanticEncoder", "SemanticCodecEncoder", "SpeakerEncoder", "Conditioning"}
    assert "FastDiT" in names and "DiT" not in names  # what the fast form took its weights from is gone


def test_seeds_of_parts_differ() -> None:
    assert len({derive_seed(1), derive_seed(1, 0), derive_seed(1, 1), derive_seed(2, 0), derive_seed(1, 0, 0)}) == 5
