"""IndexTTS-2.5 speaks: voices, languages, durations, streams; and refuses what belongs to another family."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.paths import GOLDEN, GOLDEN_25
from helpers.voices import golden_voice, golden_voice_25
from safetensors.torch import load_file

from edgetts.api import TTS
from edgetts.backends.device_decoder import DeviceDecoders
from edgetts.backends.runners import EagerRunner
from edgetts.decoding.decode import generate_codes
from edgetts.decoding.prompt import GPTPrompt
from edgetts.decoding.settings import DecodeSettings
from edgetts.errors import UsageError, VoiceError
from edgetts.families.indextts25.codec_decoder import reach
from edgetts.families.indextts25.features import CodecFeatures
from edgetts.memory.estimate import Size
from edgetts.models import registry
from edgetts.options import SynthesisOptions
from edgetts.pack.load import open_pack
from edgetts.streaming.renderer import Seams, SegmentRenderer
from edgetts.voices import enroll as enrollment
from edgetts.voices.adapt import adapt
from edgetts.voices.speaker import make_speaker
from edgetts.voices.spectrum import match_spectrum
from edgetts.voices.voice import Voice

CPU = torch.device("cpu")
FAST: dict[str, Any] = {"n_beams": 1, "n_steps": 2, "max_codes": 24, "guards": False, "do_sample": False, "seed": 1}
CODES = [(i * 37) % 8192 for i in range(60)]  # 2.4 s


@pytest.fixture(scope="module")
def voice(mini_pack_25: Path) -> Voice:
    return golden_voice_25(mini_pack_25)


@pytest.fixture(scope="module")
def tts(mini_pack_25: Path) -> TTS:
    return TTS.load(mini_pack_25, device="cpu", compute="reference")


def test_voice_files_say_their_family(voice: Voice, tmp_path: Path) -> None:
    loaded = Voice.load(voice.save(tmp_path / "v.safetensors"))
    assert loaded == voice and loaded.family == "indextts-2.5" and loaded.reference_codes is None


def test_a_voice_of_the_other_family_is_refused(mini_pack: Path, mini_pack_25: Path, voice: Voice, tts: TTS) -> None:
    other = golden_voice(mini_pack)
    with pytest.raises(VoiceError, match=r"is one of IndexTTS-2, and this pack is IndexTTS-2\.5: enroll"):
        tts.say("Hello.", other, **FAST)
    with pytest.raises(VoiceError, match=r"is one of IndexTTS-2\.5, and this pack is IndexTTS-2: enroll"):
        TTS.load(mini_pack, device="cpu").say("Hello.", voice, **FAST)


def test_a_voice_file_holds_what_its_family_has(voice: Voice, tmp_path: Path) -> None:
    path = dataclasses.replace(voice, family="indextts-2").save(tmp_path / "v.safetensors")
    with pytest.raises(VoiceError, match=r"'reference_features' is unknown; reference_codes is missing"):
        Voice.load(path)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Good morning.", "en"),
        ("早上好。", "zh"),
        ("おはようございます。", "ja"),
        ("Buenos días.", "es"),
        ("مرحبا بكم.", "ar"),
    ],
)
def test_languages(tts: TTS, voice: Voice, text: str, language: str) -> None:
    said = tts.say(text, voice, language=language, **FAST)
    assert len(said.samples) == round(24 * 3.44 - 0.5) * 256
    found = tts.frontend().segments(text).languages
    assert found == (language,)
    assert any("set the language with" in notice for notice in tts.say(text, voice, **FAST).notices)


def test_the_languages_that_were_found_are_named(tts: TTS, voice: Voice) -> None:
    said = tts.say("Good morning. 早上好。¡Buenos días!", voice, **{**FAST, "max_codes": 4})
    assert any("spoken as English, Chinese and Spanish: set" in notice for notice in said.notices)


def test_a_language_changes_the_codes(tts: TTS, voice: Voice) -> None:
    pipeline = tts.engine.pipeline
    speaker = make_speaker(pipeline.networks, voice)
    ids = [60, 61, 62, 63, 64]
    prompts = [pipeline.prompt(speaker, ids, language).embeddings for language in ("en", "es", None)]
    assert len({float(prompt.sum()) for prompt in prompts}) == 3
    lengths = {prompt.shape[1] for prompt in prompts}
    assert lengths == {3 + len(ids) + 2}


def test_languages_that_are_not_spoken(tts: TTS, voice: Voice, mini_pack: Path) -> None:
    with pytest.raises(UsageError, match="language is 'de'; allowed is one of"):
        tts.say("Hallo.", voice, language="de", **FAST)
    two = TTS.load(mini_pack, device="cpu")
    with pytest.raises(UsageError, match="language is 'ja'; this model speaks en, zh"):
        two.say("Hello.", golden_voice(mini_pack), language="ja", **FAST)


def test_a_voice_speaks_its_language(tts: TTS, voice: Voice, mini_pack: Path) -> None:
    """Unless a call gives another one, or asks for that of the text."""
    spanish = dataclasses.replace(voice, language="es")
    text = "Hello there, 15 Uhr."

    def said(voice: Voice, **options: Any) -> bytes:
        return tts.say(text, voice, **{**FAST, **options}).samples.tobytes()

    as_spanish, as_english = said(voice, language="es"), said(voice, language="en")
    assert as_spanish != as_english
    assert said(spanish) == as_spanish and said(spanish, language="en") == as_english
    assert said(spanish, language="auto") == said(voice) == as_english
    assert not any("set the language with" in notice for notice in tts.say(text, spanish, **FAST).notices)
    streamed = [chunk.samples.tobytes() for chunk in tts.stream(iter([text]), spanish, chunks="whole", **FAST)]
    assert b"".join(streamed) == as_spanish  # text in pieces, too
    two = TTS.load(mini_pack, device="cpu")
    other = dataclasses.replace(golden_voice(mini_pack), language="es", name="ana")
    with pytest.raises(UsageError, match="Voice ana is set to the language 'es', and this model speaks en, zh"):
        two.say("Hello.", other, **FAST)


@pytest.mark.parametrize("factor", [0.5, 1.25])
def test_the_duration_factor(tts: TTS, voice: Voice, factor: float) -> None:
    said = tts.say("Good morning.", voice, duration_factor=factor, **FAST)
    assert len(said.samples) == int(24 * 3.44 * factor) * 256
    with tts.stream("Good morning.", voice, duration_factor=factor, chunks=(6,), **FAST) as stream:
        assert sum(len(chunk.samples) for chunk in stream) == len(said.samples)


def test_the_duration_factor_of_the_other_family(mini_pack: Path) -> None:
    two = TTS.load(mini_pack, device="cpu", compute="reference")
    voice = golden_voice(mini_pack)
    plain, slow = (two.say("Hello.", voice, duration_factor=factor, **FAST) for factor in (1.0, 1.5))
    assert len(plain.samples) == int(24 * 1.72) * 256 and len(slow.samples) == int(24 * 1.72 * 1.5) * 256
    with pytest.raises(UsageError, match=r"duration_factor is 2\.5; allowed is 0\.5"):
        two.say("Hello.", voice, duration_factor=2.5, **FAST)


@pytest.mark.parametrize("n_beams", [1, 3])
def test_the_device_decoder_chooses_the_golden_codes(mini_pack_25: Path, n_beams: int) -> None:
    """What makes codes in bursts on a GPU, run step by step on the CPU: the prompt may have any layout."""
    golden = load_file(GOLDEN_25 / "gpt.safetensors")
    about = json.loads((GOLDEN_25 / "gpt.json").read_text())["decode"]
    gpt = registry.GPT.load(open_pack(mini_pack_25))
    prompt = GPTPrompt.build(
        gpt, golden["speaker_token"], golden["emovec"], golden["text_ids"].long(), int(golden["lang"])
    )
    settings = DecodeSettings(
        do_sample=False,
        n_beams=n_beams,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        repetition_penalty=about["repetition_penalty"],
        length_penalty=about["length_penalty"],
        max_codes=about["max_generate_length"],
    )
    found = generate_codes(gpt, prompt, settings, None, decoders=DeviceDecoders(gpt, EagerRunner)).codes
    assert found == golden["greedy_codes" if n_beams == 1 else "beam3_codes"][0].tolist()


def test_a_memory_budget(mini_pack_25: Path, voice: Voice) -> None:
    bounded = TTS.load(mini_pack_25, device="cpu", compute="reference", memory_budget="2G")
    assert len(bounded.say("Good morning.", voice, **FAST).samples)
    assert bounded.budget is not None
    estimate = bounded.budget.estimate_size(Size(50, 700, 1, 200, 1, in_parts=True))
    assert 0 < estimate.features < estimate.decode + estimate.flow
    with pytest.raises(UsageError, match="memory"):
        TTS.load(mini_pack_25, device="cpu", memory_budget="50M")


def test_enrollment_takes_the_style_and_the_features(mini_pack_25: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mini model's semantic encoder is too narrow, so its features are golden ones."""
    frontend, golden = load_file(GOLDEN / "frontend.safetensors"), load_file(GOLDEN_25 / "conditioning.safetensors")
    heard = [golden["spk_cond_emb"], golden["emo_cond_emb"]]
    monkeypatch.setattr(enrollment, "_semantic_features", lambda *_: heard)
    pack = open_pack(mini_pack_25)
    made = enrollment.enroll(pack, frontend["audio_22k"][0], frontend["emo_audio_16k"][0], device=CPU, name="me")
    assert made.family == "indextts-2.5" and made.reference_codes is None
    assert torch.equal(made.reference_features, golden["spk_cond_emb"])  # type: ignore[arg-type]
    torch.testing.assert_close(made.conditioning_latents, golden["speaker_token"], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(made.emotion_base, golden["emovec_speaker"], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(made.emotion_vector, golden["emovec_emotion"], rtol=1e-4, atol=1e-4)
    made.check(pack.manifest.encoder_id, pack.manifest.family)
    made.check_fits(pack.config)


def test_a_voice_is_adapted(mini_pack_25: Path, tts: TTS, voice: Voice, tmp_path: Path) -> None:
    """It speaks otherwise, is kept in its file, and belongs to this S2Mel."""
    pack = open_pack(mini_pack_25)
    made = adapt(pack, voice, steps=3, noise_scale=1.0, device=CPU, progress=lambda _what, _share: None)
    assert made.adapt_steps == 3 and made.offsets is not None and float(made.offsets.abs().max()) > 0
    kept = Voice.load(made.save(tmp_path / "adapted.safetensors"))
    assert kept == made and kept.reference_features is not None
    plain, other = (tts.say("Good morning.", each, **FAST).samples for each in (voice, kept))
    assert plain.shape == other.shape and not (plain == other).all()
    foreign = dataclasses.replace(kept, adapted_to="0" * 64)
    with pytest.raises(VoiceError, match="adapted to another S2Mel"):
        tts.say("Good morning.", foreign, **FAST)


def test_features_in_parts_are_those_of_the_whole(mini_pack_25: Path) -> None:
    """Of codes with all neighbors exactly, up to the order of sums; of the last ones when more codes are known."""
    pack = open_pack(mini_pack_25)
    quantizer = registry.QUANTIZER.load(pack)
    decoder = registry.component("codec_decoder").load(pack)
    config = decoder.config
    whole = decoder(quantizer.lookup(torch.tensor([CODES])))
    near = reach(config)
    assert near == 10
    for size in (1, 7, 30):
        parts = CodecFeatures(config, quantizer, decoder)
        for start in range(0, len(CODES), size):
            made = parts.append(CODES[start : start + size])
            settled = 2 * max(0, parts.n_codes - near)
            assert made.shape[1] == 2 * parts.n_codes
            torch.testing.assert_close(made[:, :settled], whole[:, :settled], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(made, whole, rtol=1e-4, atol=1e-4)
    with pytest.raises(UsageError, match="8192 is not a code"):
        CodecFeatures(config, quantizer, decoder).append([8192])


def test_with_enough_lookahead_the_features_that_are_heard_are_those_of_the_whole(tts: TTS, voice: Voice) -> None:
    """The codec's decoder looks ahead by 10 codes, 35 frames; the usual lookahead is less."""
    pipeline = tts.engine.pipeline
    speaker, rate = make_speaker(pipeline.networks, voice), pipeline.config.audio.frame_rate
    prompt = pipeline.prompt(speaker, [60, 61, 62], "en")
    whole = pipeline.features(prompt, CODES)
    settings = SynthesisOptions(n_steps=1).flow_settings()

    def worst(**options: float) -> float:
        """Largest error of features whose frames are final, of the standard deviation."""
        seams = Seams.of(SynthesisOptions(**options), rate)  # type: ignore[arg-type]
        renderer, errors = SegmentRenderer(pipeline, speaker, pipeline.feature_pass(prompt), 1, seams), [0.0]
        for end in (20, 40):
            renderer.render(CODES[:end], settings, last=False)
            features = renderer._features._features
            n = int(renderer._n_final / pipeline.config.s2mel.mel_frames_per_code) * 2
            errors.append(float((features[:, :n] - whole[:, :n]).abs().max() / whole.std()))
        return max(errors)

    assert Seams.of(SynthesisOptions(), rate) == Seams()
    assert worst(lookahead_s=36 / rate) < 1e-4
    assert worst() > 0.05


@pytest.mark.parametrize(
    ("options", "least_s"), [({}, 0.4), ({"lookahead_s": 1.0}, 0.4), ({"duration_factor": 0.5}, 0.4)]
)
def test_the_first_chunk_is_heard_for_a_while(tts: TTS, voice: Voice, options: Any, least_s: float) -> None:
    given = {**FAST, "max_codes": 100, **options}
    text = "Good morning, everyone, and welcome to this long day of talks."
    with tts.stream(text, voice, **given) as stream:
        lengths = [len(chunk.samples) for chunk in stream]
    assert len(lengths) > 1 and least_s - 0.05 < lengths[0] / tts.sample_rate < least_s + 0.15, lengths
    sound = tts.say(text, voice, **given)
    assert sum(lengths) == len(sound.samples)


def test_lookahead_changes_a_stream_and_not_the_whole(tts: TTS, voice: Voice) -> None:
    given = {**FAST, "max_codes": 60}

    def streamed(**options: Any) -> list[float]:
        with tts.stream("Good morning.", voice, chunks=(20,), **{**given, **options}) as stream:
            return [float(x) for chunk in stream for x in chunk.samples]

    plain, more = streamed(), streamed(lookahead_s=0.3)
    assert plain != more and len(plain) == len(more)
    whole = [tts.say("Good morning.", voice, **given, lookahead_s=s).samples.tobytes() for s in (0.14, 0.3)]
    assert whole[0] == whole[1]
    for wrong in (0.05, 2.5, float("nan")):
        with pytest.raises(UsageError, match=r"lookahead_s is .*; allowed is 0\.07 to 2 s"):
            tts.say("Good morning.", voice, lookahead_s=wrong)


def test_many_chunks_are_close_to_one(tts: TTS, voice: Voice) -> None:
    """Log-mel of chunks of 0.6 s against one chunk: inside, and around the seams."""
    pipeline = tts.engine.pipeline
    speaker = make_speaker(pipeline.networks, voice)
    prompt = pipeline.prompt(speaker, [60, 61, 62], "en")
    settings = SynthesisOptions(n_steps=4).flow_settings()
    mels = []
    for sizes in ([len(CODES)], [15] * 4):
        renderer, end = SegmentRenderer(pipeline, speaker, pipeline.feature_pass(prompt), 1, Seams()), 0
        for size in sizes:
            end = min(end + size, len(CODES))
            renderer.render(CODES[:end], settings, last=end == len(CODES))
        assert renderer._mel is not None
        mels.append(renderer._mel)
    error = (mels[1] - mels[0]).abs().mean(dim=(0, 1)) / mels[0].std()
    seams = [int(15 * i * 3.44) for i in range(1, 4)]
    near = torch.zeros(len(error), dtype=torch.bool)
    for seam in seams:
        near[max(0, seam - 16) : seam + 4] = True
    print(f"log-mel, of its standard deviation: seams {error[near].mean():.4f}, inside {error[~near].mean():.4f}")
    assert error[near].mean() < 0.1 and error[~near].mean() < 0.1


def test_a_voice_gets_its_spectrum(mini_pack_25: Path, tts: TTS, voice: Voice, tmp_path: Path) -> None:
    pack = open_pack(mini_pack_25)
    made = match_spectrum(pack, voice, SynthesisOptions.of(pack.manifest.defaults, FAST), CPU)
    assert made.mel_map is not None and float(made.mel_map.abs().max()) > 0
    kept = Voice.load(made.save(tmp_path / "matched.safetensors"))
    assert kept == made
    plain, other = (tts.say("Good morning.", each, **FAST).samples for each in (voice, kept))
    assert plain.shape == other.shape and not (plain == other).all()
    assert "match_spectrum" not in pack.manifest.defaults  # off, as upstream
