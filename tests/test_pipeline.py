"""The run phase on the mini pack: stages chained as upstream chains them, seeds, guards, cancellation, memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from helpers.made_codes import give_codes
from helpers.paths import GOLDEN
from helpers.voices import golden_voice
from safetensors.torch import load_file

from edgetts.attempt import GuardedCodes
from edgetts.backends.linear import kernels_used
from edgetts.compute import Compute
from edgetts.decoding.attempts import derive_seed
from edgetts.decoding.flow import solve_flow
from edgetts.decoding.guards import Expected
from edgetts.decoding.settings import FlowSettings
from edgetts.decoding.spoken import CodeSounds
from edgetts.errors import Cancelled, GenerationError, VoiceError
from edgetts.families.indextts2.dims import INDEXTTS_2
from edgetts.options import SynthesisOptions
from edgetts.pack.load import open_pack
from edgetts.pack.locate import builtin_pack
from edgetts.pipeline import Pipeline
from edgetts.voices.emotion import Emotion
from edgetts.voices.speaker import Speaker, make_speaker

QUICK = SynthesisOptions(n_beams=1, n_steps=2, max_codes=20, guards=False)
IDS = (20, 30, 25, 41)


@pytest.fixture(scope="module")
def pipeline(mini_pack: Path) -> Pipeline:
    return Pipeline(open_pack(mini_pack), torch.device("cpu"))


@pytest.fixture(scope="module")
def speaker(pipeline: Pipeline, mini_pack: Path) -> Speaker:
    return make_speaker(pipeline.networks, golden_voice(mini_pack))


@pytest.mark.parametrize("compute", ["reference", "fast"])
def test_other_ways_to_compute_say_the_same(
    pipeline: Pipeline, speaker: Speaker, mini_pack: Path, compute: Compute
) -> None:
    other = Pipeline(open_pack(mini_pack), torch.device("cpu"), compute=compute)
    exact, found = (p.speak(speaker, IDS, QUICK, seed=3) for p in (pipeline, other))
    assert found.codes == exact.codes and found.waveform.dtype == torch.float32
    difference = (found.waveform - exact.waveform).abs().max() / exact.waveform.std()
    assert difference < (1e-3 if compute == "reference" else 0.5)


@pytest.mark.parametrize("n_beams", [1, 3])
def test_steps_in_bursts_say_the_same(pipeline: Pipeline, speaker: Speaker, mini_pack: Path, n_beams: int) -> None:
    """As on a GPU, where the latents, too, start from what decoding kept of the prefix."""
    other = Pipeline(open_pack(mini_pack), torch.device("cpu"), runner="eager")
    assert pipeline.decoders is None and other.decoders is not None
    options = dataclasses.replace(QUICK, n_beams=n_beams)
    expected, found = (p.speak(speaker, IDS, options, seed=3) for p in (pipeline, other))
    assert found.codes == expected.codes and found.notices == ()
    assert (found.waveform - expected.waveform).abs().max() / expected.waveform.std() < 1e-3


@pytest.mark.parametrize("n_beams", [1, 3])
def test_a_runner_that_could_not_do_its_work_is_told_of(speaker: Speaker, mini_pack: Path, n_beams: int) -> None:
    other = Pipeline(open_pack(mini_pack), torch.device("cpu"), runner="eager")
    assert other.decoders is not None
    decoder = other.decoders.take(n_beams)
    decoder.runner.notices.append("Slower than it could be.")
    other.decoders.give_back(decoder)
    options = dataclasses.replace(QUICK, n_beams=n_beams)
    assert other.speak(speaker, IDS, options, seed=3).notices == ("Slower than it could be.",)
    assert other.notices == ("Slower than it could be.",)


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
        semantic = pipeline.features(pipeline.prompt(golden_speaker, gpt["text_ids"][0].tolist()), codes[0].tolist())
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
    assert spoken.attempts == 2 and len(spoken.notices) == 1
    assert "no end after" in spoken.notices[0]
    assert spoken.seed == derive_seed(5, 1)


LEAST = Expected(least_s=0.2)  # 10 codes at 50 a second


def ends_after(lengths: Iterable[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of decoding: attempts of these lengths, which end by themselves, or at the cap if they are so long."""
    give_codes(monkeypatch, (range(n) for n in lengths))


@pytest.mark.parametrize("n_beams", [1, 3])
def test_an_end_too_early_is_tried_again(
    pipeline: Pipeline, speaker: Speaker, n_beams: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends_after([9, 10], monkeypatch)
    options = dataclasses.replace(QUICK, guards=True, retries=1, n_beams=n_beams)
    spoken = pipeline.speak(speaker, IDS, options, 5, expected=LEAST)
    assert len(spoken.codes) == 10 and spoken.attempts == 2
    assert spoken.notices == ()  # nothing is wrong with what was kept


@pytest.mark.parametrize("n_beams", [1, 3])
def test_a_long_silence_inside_is_tried_again(
    pipeline: Pipeline, speaker: Speaker, n_beams: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What follows it was left out, however long the whole is."""
    silence = pipeline.config.silence_code
    assert silence is not None
    give_codes(monkeypatch, [[*range(9), *[silence] * 10, 60], range(9)])
    options = dataclasses.replace(QUICK, guards=True, retries=1, n_beams=n_beams)
    spoken = pipeline.speak(speaker, IDS, options, 5, expected=Expected(max_silence_s=0.2))
    assert spoken.attempts == 2 and spoken.codes == tuple(range(9))


@pytest.mark.parametrize(
    ("spoken", "n_attempts", "kept", "notices"),
    [
        (["all"], 1, "all", ()),
        (["one", "all"], 2, "all", ()),
        (["two", "one", "two"], 3, "one", ()),  # one may as well be there
        (["two", "two", "two"], 3, "two", ("2 words may be missing",)),
    ],
)
def test_words_that_the_codes_lack_are_tried_again(
    pipeline: Pipeline,
    speaker: Speaker,
    monkeypatch: pytest.MonkeyPatch,
    spoken: list[str],
    n_attempts: int,
    kept: str,
    notices: tuple[str, ...],
) -> None:
    """A pack that tells which sound each code is: here code n is text token n, and 2 comes before each word."""
    sounds = CodeSounds.of([-1] * 10 + list(range(10, 40)), 2, [])
    monkeypatch.setattr(pipeline, "code_sounds", sounds)
    text = [2, 11, 12, 2, 13, 14, 2, 15, 16]
    said = {"all": list(range(11, 17)), "one": [11, 12, 15, 16], "two": [11, 12]}
    give_codes(monkeypatch, [said[name] for name in spoken])
    options = dataclasses.replace(QUICK, guards=True, retries=2)
    found = pipeline.speak(speaker, text, options, 5)
    assert (found.attempts, found.codes, found.notices) == (n_attempts, tuple(said[kept]), notices)


def test_missing_words_are_an_error_when_no_try_has_them(
    pipeline: Pipeline, speaker: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends_after([9, 0, 3], monkeypatch)
    with pytest.raises(GenerationError, match="in 3 tries.*seed=") as error:
        pipeline.speak(speaker, IDS, dataclasses.replace(QUICK, guards=True, retries=2), 5, expected=LEAST)
    assert error.value.exit_code == 1
    ends_after([9], monkeypatch)  # without guards a caller gets what there is
    assert len(pipeline.speak(speaker, IDS, QUICK, 5, expected=LEAST).codes) == 9


def test_a_caller_who_wants_less_gets_it_with_a_notice(pipeline: Pipeline, speaker: Speaker) -> None:
    options = dataclasses.replace(QUICK, guards=True, retries=0, max_codes=5)
    spoken = pipeline.speak(speaker, IDS, options, 5, expected=LEAST)
    assert len(spoken.codes) == 5 and "no end after 0.1 s, cut off" in spoken.notices[0]


def test_a_try_with_all_words_is_kept_over_a_later_one_without(
    pipeline: Pipeline, speaker: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends_after([99, 3], monkeypatch)
    spoken = pipeline.speak(speaker, IDS, dataclasses.replace(QUICK, guards=True, retries=1), 5, expected=LEAST)
    assert len(spoken.codes) == 20 and spoken.attempts == 2
    assert spoken.seed == derive_seed(5, 0) and "no end after 0.4 s" in spoken.notices[0]


def test_an_abrupt_end_rings_out(pipeline: Pipeline, speaker: Speaker, monkeypatch: pytest.MonkeyPatch) -> None:
    silence = pipeline.config.silence_code

    def made(ending: list[int], tail_s: float) -> list[int]:
        give_codes(monkeypatch, [[1, 2, 3, *ending]])
        decoding = GuardedCodes(
            pipeline.networks, pipeline.prompt(speaker, IDS), dataclasses.replace(QUICK, tail_s=tail_s), 1
        )
        list(decoding)
        return decoding.attempt.codes

    assert silence is not None
    assert made([], 0.0) == [1, 2, 3]  # as upstream
    assert made([], 0.1) == [1, 2, 3, *[silence] * 5]
    assert made([silence] * 2, 0.1) == [1, 2, 3, *[silence] * 5]
    assert made([silence] * 9, 0.1) == [1, 2, 3, *[silence] * 9]


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
    plain = make_speaker(pipeline.networks, voice)
    mixed = make_speaker(pipeline.networks, voice, Emotion(recording="other", alpha=0.25), other)
    assert torch.allclose(mixed.emotion_vector, plain.emotion_vector + 0.25)
    assert torch.equal(mixed.conditioning_latents, plain.conditioning_latents)


def test_other_encoders_and_codes_out_of_range_are_refused(pipeline: Pipeline, mini_pack: Path) -> None:
    voice = golden_voice(mini_pack)
    with pytest.raises(VoiceError, match="other encoders"):
        make_speaker(pipeline.networks, dataclasses.replace(voice, encoder_id="0" * 64))
    with pytest.raises(VoiceError, match="outside the codebook"):
        make_speaker(pipeline.networks, dataclasses.replace(voice, reference_codes=voice.reference_codes + 10_000))


def test_no_encoder_parameter_is_resident(pipeline: Pipeline) -> None:
    """The networks that speak hold the run components' parameters, byte for byte, and nothing else."""
    pack = pipeline.pack
    plain = Pipeline(pack, pipeline.device, compute="reference")
    resident = sum(
        p.numel() * p.element_size() for m in plain.modules().values() for p in (*m.parameters(), *m.buffers())
    )
    run = set(INDEXTTS_2.run_components) - {"emotion"}
    assert resident == sum(4 * torch.Size(s).numel() for c in run for s in pack.shapes(c).values())
    encoders = set(INDEXTTS_2.enroll_components) - set(INDEXTTS_2.run_components)
    assert encoders == {"semantic_encoder", "semantic_statistics", "codec_encoder", "speaker_encoder", "conditioning"}
    for each in (plain, pipeline):
        names = {type(m).__name__ for module in each.modules().values() for m in module.modules()}
        assert not names & {"SemanticEncoder", "SemanticCodecEncoder", "SpeakerEncoder", "Conditioning"}
    assert "FastDiT" in names and "DiT" not in names  # what the fast form took its weights from is gone


@pytest.mark.parametrize(("kernel", "has_kernels"), [("auto", False), ("dequantize-per-call", True)])
def test_reference_dequantizes_all_weights_unless_a_kernel_is_asked_for(kernel: str, has_kernels: bool) -> None:
    pipeline = Pipeline(open_pack(builtin_pack()), torch.device("cpu"), kernel=kernel, compute="reference")
    assert bool(kernels_used(pipeline.gpt)) == has_kernels
    assert pipeline.stepper is None
