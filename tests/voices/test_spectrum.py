"""A voice's spectrum, matched to its recording: the fit, what it changes, its file, and that nothing else moves."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from edgetts import TTS
from edgetts.errors import VoiceError
from edgetts.options import SynthesisOptions
from edgetts.pack.load import Pack, open_pack
from edgetts.pack.locate import builtin_pack
from edgetts.pipeline import Pipeline
from edgetts.voices import learning, spectrum
from edgetts.voices.description import METADATA_KEY
from edgetts.voices.speaker import make_speaker
from edgetts.voices.spectrum import fit, mapped, match_spectrum
from edgetts.voices.store import VoiceStore
from edgetts.voices.voice import Voice
from edgetts.voices.voiced_flow import VoicedFlow

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pack() -> Pack:
    return open_pack(builtin_pack())


@pytest.fixture(scope="module")
def options(pack: Pack) -> SynthesisOptions:
    return SynthesisOptions.of(pack.manifest.defaults, {})


@pytest.fixture(scope="module")
def voice(pack: Pack) -> Voice:
    """A ready voice with another's style, so that S2Mel does not say it as it was recorded."""
    ready = list(pack.manifest.ready_voices().values())
    voice, other = Voice.load(pack.file(ready[0])), Voice.load(pack.file(ready[-1]))
    return dataclasses.replace(voice, style=other.style)


@pytest.fixture(scope="module")
def matched(pack: Pack, voice: Voice, options: SynthesisOptions) -> Voice:
    return match_spectrum(pack, voice, options, CPU)


BANDS = torch.linspace(-1, 1, 12)[:, None]


def speech(n: int = 4000, seed: int = 0) -> torch.Tensor:
    """(12, n): a mel with pauses, whose bands go together."""
    draw = torch.Generator().manual_seed(seed)
    mixed = torch.randn(12, 12, generator=draw) @ torch.randn(12, n, generator=draw) / 3 - 4
    mixed[:, torch.arange(n) % 10 < 3] -= 6
    return mixed


# --- the fit ---------------------------------------------------------------------------------------


def test_a_filter_and_a_warp_are_found() -> None:
    made = speech()
    warp = 0.15 * torch.eye(12).roll(1, 0)
    loud = spectrum.is_speech(made)
    centered = made - made[:, loud].mean(1, keepdim=True)
    recorded = made + (warp @ centered + BANDS) * loud
    found = mapped(speech(seed=1), fit(made, recorded))
    again = speech(seed=1)
    wanted = again + warp @ (again - made[:, loud].mean(1, keepdim=True)) + BANDS
    is_loud = again.mean(0) > -7
    before, after = ((x - wanted)[:, is_loud].abs().mean() for x in (again, found))
    assert float(after) < 0.5 * float(before)


def test_pauses_stay_as_they_are_made() -> None:
    """Whatever noise the recording has in them."""
    made = speech()
    quiet = made.mean(0) < -7
    recorded = made + BANDS
    recorded[:, quiet] += 4
    found = mapped(made, fit(made, recorded)) - made
    assert float(found[:, quiet].abs().mean()) < 0.35
    torch.testing.assert_close(found[:, ~quiet].mean(1, keepdim=True), BANDS, atol=0.25, rtol=0)


@pytest.mark.parametrize("louder", [-5.0, 2.0])
def test_a_louder_recording_gives_the_same_map(louder: float) -> None:
    made = speech()
    torch.testing.assert_close(fit(made, made + BANDS + louder), fit(made, made + BANDS), atol=1e-4, rtol=1e-4)


def test_speech_that_is_like_its_recording_stays() -> None:
    """Noise that no map can tell leaves it nearly as it is: it is not pulled towards its mean."""
    made = speech()
    recorded = made + torch.randn(made.shape, generator=torch.Generator().manual_seed(3))
    assert float((mapped(made, fit(made, recorded)) - made).abs().mean()) < 0.1


def test_a_short_recording_is_not_learned_by_heart() -> None:
    made = speech(100)
    recorded = made + torch.randn(made.shape, generator=torch.Generator().manual_seed(3))
    assert float((mapped(made, fit(made, recorded)) - made).abs().mean()) < 0.15


def test_little_speech_changes_less_and_too_little_nothing() -> None:
    made = speech(3000)
    shifts = {}
    for n in (spectrum.FEWEST_FRAMES - 1, spectrum.FEWEST_FRAMES, 200, 3000):
        part = made[:, :n]
        changed = mapped(part, fit(part, part + BANDS)) - part
        shifts[n] = float((changed * BANDS).mean() / BANDS.square().mean())
    few, fewest, some, many = shifts.values()
    assert few == 0 and 0 < fewest < some < many <= 1.0


def test_a_recording_without_pauses_or_speech_changes_nothing() -> None:
    """All of it is equally loud, so no frame is louder than pauses."""
    assert float(fit(speech(100), torch.full((12, 100), -4.0)).abs().max()) == 0


# --- in a pack -------------------------------------------------------------------------------------


def test_the_spectrum_gets_nearer_to_the_recording(
    pack: Pack, voice: Voice, matched: Voice, options: SynthesisOptions
) -> None:
    """Of codes that the map was not fitted to: the recording's second half, with a map of the first."""
    made, recorded = (x[0] for x in VoicedFlow(pack, voice, options, CPU).of_recording())
    assert made.shape == recorded.shape
    half = made.shape[1] // 2
    given = fit(made[:, :half], recorded[:, :half])
    loud = spectrum.is_speech(recorded)[half:]
    errors = []
    for each in (made, mapped(made, given)):
        errors.append(float((each - recorded)[:, half:][:, loud].mean(1).square().mean().sqrt()))
    assert errors[1] < 0.8 * errors[0], errors
    assert matched.mel_map is not None and matched.mel_map.shape == (1, 80, 81)
    for field in dataclasses.fields(Voice):
        if field.name not in ("mel_map", "adapted_to"):
            assert getattr(matched, field.name) is getattr(voice, field.name)
    assert matched.adapted_to == pack.manifest.s2mel_id


def test_the_prompt_is_no_part_of_what_is_compared(pack: Pack, voice: Voice, options: SynthesisOptions) -> None:
    assert options.prompt_s is not None
    n_prompt = round(options.prompt_s * pack.config.audio.frame_rate)
    n_all = voice.reference_mel.shape[-1]
    for given, kept in ((options, n_prompt), (dataclasses.replace(options, prompt_s=None), n_all // 2)):
        made, recorded = VoicedFlow(pack, voice, given, CPU).of_recording()
        assert made.shape[-1] == recorded.shape[-1] == n_all - kept
        assert torch.equal(recorded, voice.reference_mel[:, :, :-kept])


def test_only_new_frames_are_mapped_and_once(pack: Pack, voice: Voice, matched: Voice) -> None:
    pipeline = Pipeline(pack, CPU)
    settings = SynthesisOptions.of(pack.manifest.defaults, {}).flow_settings()
    plain, other = (make_speaker(pipeline.networks, v, prompt_s=1.0) for v in (voice, matched))
    draw = torch.Generator().manual_seed(0)
    condition, context = torch.randn(1, 60, 192, generator=draw), torch.randn(1, 80, 20, generator=draw) - 5
    noise = pipeline.noise(40, draw)
    with torch.inference_mode():
        found = [pipeline.mel(s, condition, noise, settings, context=context) for s in (plain, other)]
    assert other.mel_map is not None and float((found[0] - found[1]).abs().mean()) > 0.05
    torch.testing.assert_close(found[1], mapped(found[0], other.mel_map))


def test_a_matched_voice_speaks_otherwise_and_only_with_its_pack(pack: Pack, voice: Voice, matched: Voice) -> None:
    pipeline = Pipeline(pack, CPU)
    options = SynthesisOptions.of(pack.manifest.defaults, {"max_codes": 30, "guards": False})
    none = dataclasses.replace(matched, mel_map=torch.zeros(1, 80, 81))
    said = [
        pipeline.speak(make_speaker(pipeline.networks, v), (20, 30, 25, 41), options, seed=1)
        for v in (voice, matched, none)
    ]
    assert said[0].codes == said[1].codes  # the GPT is not touched
    assert float((said[0].waveform - said[1].waveform).abs().max()) > 1e-3
    assert torch.equal(said[0].waveform, said[2].waveform)
    with pytest.raises(VoiceError, match="adapted to another S2Mel"):
        make_speaker(pipeline.networks, dataclasses.replace(matched, adapted_to="0" * 64))
    with pytest.raises(VoiceError, match="mel_map has shape"):
        make_speaker(pipeline.networks, dataclasses.replace(matched, mel_map=torch.zeros(1, 80, 80)))


@pytest.mark.parametrize("chunks", ["whole", [25]])
def test_each_frame_of_a_stream_is_mapped_once(
    chunks: object, tmp_path: Path, matched: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those that the next chunk gets as context: where the flow gives nothing but zeros, all have the shift."""
    shift = torch.linspace(-1, 1, 80)[:, None]
    voice = dataclasses.replace(matched, mel_map=torch.cat([torch.eye(80) / 2, shift], 1)[None])
    mels: list[torch.Tensor] = []
    waveform = Pipeline.waveform

    def heard(pipeline: Pipeline, mel: torch.Tensor, *given: object, **more: object) -> torch.Tensor:
        mels.append(mel)
        return waveform(pipeline, mel, *given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("edgetts.pipeline.solve_flow", lambda _estimator, noise, *_more: torch.zeros_like(noise))
    monkeypatch.setattr(Pipeline, "waveform", heard)
    tts = TTS.load(builtin_pack(), device="cpu", home=tmp_path)
    for _ in tts.stream("The quick brown fox jumps over the lazy dog.", voice, seed=1, chunks=chunks):  # type: ignore[arg-type]
        pass
    assert len(mels) == 1 if chunks == "whole" else len(mels) > 2
    torch.testing.assert_close(mels[-1][0], shift.expand_as(mels[-1][0]))


# --- the file and the cache ------------------------------------------------------------------------


def test_a_voice_file_keeps_the_map(tmp_path: Path, matched: Voice) -> None:
    assert Voice.load(matched.save(tmp_path / "a.edgevoice")) == matched
    both = dataclasses.replace(matched, offsets=torch.ones(1, 7), adapt_steps=3, language="en")
    found = Voice.load(both.save(tmp_path / "b.edgevoice"))
    assert found == both and found != matched
    for each, version in ((matched, 5), (dataclasses.replace(matched, mel_map=None), 1)):
        with safe_open(each.save(tmp_path / "c.edgevoice"), framework="pt") as opened:
            assert json.loads(opened.metadata()[METADATA_KEY])["format_version"] == version
    assert "spectrum matched" in repr(matched) and "adapted in 3 steps, spectrum matched" in repr(both)


@pytest.mark.parametrize(
    ("mel_map", "sentence"),
    [
        (torch.zeros(80, 81), "mel_map has shape"),
        (torch.zeros(2, 80, 81), "mel_map has shape"),
        (torch.full((1, 80, 81), float("nan")), "mel_map holds unusable values"),
        (torch.zeros(1, 80, 81, dtype=torch.int64), "mel_map holds unusable values"),
    ],
)
def test_an_unusable_map_is_refused(tmp_path: Path, matched: Voice, mel_map: torch.Tensor, sentence: str) -> None:
    file = dataclasses.replace(matched, mel_map=mel_map).save(tmp_path / "a.edgevoice")
    with pytest.raises(VoiceError, match=sentence):
        Voice.load(file)


def test_a_file_that_lost_its_map_is_refused(tmp_path: Path, matched: Voice) -> None:
    file = matched.save(tmp_path / "a.edgevoice")
    with safe_open(file, framework="pt") as opened:
        about = opened.metadata()
    tensors = load_file(file)
    del tensors["mel_map"]
    save_file(tensors, file, metadata=about)
    with pytest.raises(VoiceError, match="mel_map is missing"):
        Voice.load(file)


def test_a_file_that_lost_its_offsets_is_refused(tmp_path: Path, matched: Voice) -> None:
    """With and without a map, and without a number of steps."""
    for mel_map in (None, matched.mel_map):
        voice = dataclasses.replace(matched, offsets=torch.ones(1, 7), adapt_steps=3, mel_map=mel_map)
        file = voice.save(tmp_path / "a.edgevoice")
        with safe_open(file, framework="pt") as opened:
            about = json.loads(opened.metadata()[METADATA_KEY])
        tensors = load_file(file)
        del tensors["offsets"]
        for steps in (3, 0) if mel_map is None else (3,):
            save_file(tensors, file, metadata={METADATA_KEY: json.dumps(about | {"adapt_steps": steps})})
            with pytest.raises(VoiceError, match="offsets is missing"):
                Voice.load(file)


def test_a_matched_voice_is_remembered_beside_the_plain_one(tmp_path: Path, voice: Voice, matched: Voice) -> None:
    store, key, to = VoiceStore.default(tmp_path), "a" * 64, matched.adapted_to
    both = dataclasses.replace(matched, offsets=torch.ones(1, 7), adapt_steps=4)
    for each in (voice, matched, both, dataclasses.replace(both, mel_map=None)):
        assert store.remember(key, each) is None
    plain = store.cached(key, voice.encoder_id)
    found = store.cached(key, voice.encoder_id, to, matched=True)
    assert plain is not None and plain.mel_map is None and found == matched
    assert store.cached(key, voice.encoder_id, to, 4, matched=True) == both
    adapted = store.cached(key, voice.encoder_id, to, 4)
    assert adapted is not None and adapted.mel_map is None
    assert store.cached(key, voice.encoder_id, "d" * 64, matched=True) is None
    assert store.cached(key, voice.encoder_id, to, 3, matched=True) is None
    assert store.cached(key, voice.encoder_id, to, 3) is None


def test_recordings_are_matched_as_asked_and_remembered_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tts = TTS.load(builtin_pack(), device="cpu", home=tmp_path / "home")
    recording = tmp_path / "speech.wav"
    tts.say("This is what I sound like.", seed=1).save(recording)
    found = {asked: tts.voice(recording, adapt_steps=0, match_spectrum=asked) for asked in (False, True)}
    assert found[False].mel_map is None and found[True].mel_map is not None
    assert tts.pack.manifest.defaults["match_spectrum"] is True
    monkeypatch.setattr(learning, "learn", None)  # not needed any more
    assert tts.voice(recording, adapt_steps=0, match_spectrum=True) == tts.voice(recording) == found[True]
    assert len(list(tts.store.cache_dir.iterdir())) == 2
    said = [tts.say("Yes.", recording, seed=1, adapt_steps=0, match_spectrum=asked).samples for asked in (False, True)]
    assert said[0].shape != said[1].shape or abs(said[0] - said[1]).max() > 0
    assert len(list(tts.store.cache_dir.iterdir())) == 2
