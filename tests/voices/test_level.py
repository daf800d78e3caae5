"""All voices of a pack with a level of speech speak at it, offline and streamed; without one, nothing changes."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from edgetts import TTS
from edgetts.audio.level import speech_level_db
from edgetts.errors import PackError, VoiceError
from edgetts.models.voice_offsets import n_offsets
from edgetts.options import SynthesisOptions
from edgetts.pack.entries import SPEECH_LEVEL_FILE
from edgetts.pack.load import open_pack
from edgetts.pack.locate import builtin_pack
from edgetts.pack.manifest import manifest_json
from edgetts.voices.level import MAX_GAIN_DB, SpeechLevel
from edgetts.voices.speaker import make_speaker
from edgetts.voices.voice import Voice

RECORDING = Path(__file__).parents[1] / "data" / "speech.ogg"
EVEN_DB = 1.5  # the most between any two voices
UNHEARD = Path(__file__).parents[3] / "shared" / "teacher" / "eval_voices"
SENTENCES = (
    "We walked along the river until it was dark.",
    "The children were asleep when the train came in.",
    "Nobody knew where the old key had been hidden.",
    "A bird sat on the fence and began to sing.",
)


@pytest.fixture(scope="module")
def tts(tmp_path_factory: pytest.TempPathFactory) -> TTS:
    return TTS.load(builtin_pack(), device="cpu", home=tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def level(tts: TTS) -> SpeechLevel:
    found = SpeechLevel.of_pack(tts.pack)
    assert found is not None
    return found


def spoken_db(tts: TTS, voice: str | Voice) -> float:
    spoken = [tts.say(text, voice, seed=k).samples for k, text in enumerate(SENTENCES)]
    return float(np.mean([speech_level_db(each, tts.sample_rate) for each in spoken]))


def test_the_ready_voices_speak_at_one_level(tts: TTS, level: SpeechLevel) -> None:
    found = {name: spoken_db(tts, name) for name in tts.ready_voices()}
    assert max(found.values()) - min(found.values()) < EVEN_DB, found
    assert np.mean(list(found.values())) == pytest.approx(level.level_db, abs=0.75)


@pytest.mark.parametrize("matched", [False, True])
@pytest.mark.parametrize("lower_db", [0.0, 4.0])
def test_a_learned_voice_speaks_at_the_same_level(
    tts: TTS, level: SpeechLevel, matched: bool, lower_db: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = dataclasses.replace(level, level_db=level.level_db - lower_db)
    monkeypatch.setattr(SpeechLevel, "of_pack", lambda _pack: asked)
    voice = tts.enroll(RECORDING, adapt_steps=0, match_spectrum=matched)
    assert voice.level_db is not None
    assert lower_db == 0 or abs(voice.level_db - asked.level_db) > 1  # there is something to even
    assert spoken_db(tts, voice) == pytest.approx(asked.level_db, abs=EVEN_DB / 2)


@pytest.mark.slow
@pytest.mark.skipif(not UNHEARD.is_dir(), reason="the recordings of unheard voices are not here")
def test_unheard_voices_speak_at_the_same_level(tts: TTS) -> None:
    names = ("am_puck", "af_nova")  # without a gain 4 dB apart
    voices: list[str | Voice] = [*tts.ready_voices(), *(tts.enroll(UNHEARD / f"{name}.flac") for name in names)]
    found = [spoken_db(tts, voice) for voice in voices]
    assert max(found) - min(found) < EVEN_DB, found


def test_ready_and_learned_voices_are_measured_alike(tts: TTS, level: SpeechLevel) -> None:
    """The stored levels are those of more sentences."""
    options = SynthesisOptions.of(tts.pack.manifest.defaults, {})
    for name in ("am_michael", "bf_emma"):
        stored = tts.voice(name)
        again = level.measured(tts.pack, dataclasses.replace(stored, level_db=None), options, torch.device("cpu"))
        assert stored.level_db is not None and again.level_db == pytest.approx(stored.level_db, abs=EVEN_DB / 2)
        assert dataclasses.replace(again, level_db=stored.level_db) == stored


def test_the_offsets_of_an_adapted_voice_count(tts: TTS, level: SpeechLevel) -> None:
    options, dit = SynthesisOptions.of(tts.pack.manifest.defaults, {}), tts.pack.config.s2mel.dit
    voice, found = tts.voice("af_heart"), []
    for scale in (None, 0.0, 0.3):
        offsets = None if scale is None else torch.full((1, n_offsets(dit)), scale)
        each = dataclasses.replace(voice, offsets=offsets, adapted_to=tts.pack.manifest.s2mel_id, adapt_steps=1)
        found.append(level.measured(tts.pack, each, options, torch.device("cpu")).level_db)
    plain, none, some = found
    assert plain == none and plain is not None and some is not None and abs(some - plain) > 0.1


def test_the_gain_is_the_difference_within_bounds(level: SpeechLevel, tts: TTS) -> None:
    voice = tts.voice("af_heart")
    for above, gain_db in ((3.0, -3.0), (-4.0, 4.0), (30.0, -MAX_GAIN_DB), (-30.0, MAX_GAIN_DB)):
        told = dataclasses.replace(voice, level_db=level.level_db + above)
        assert 20 * np.log10(level.gain(told.level_db)) == pytest.approx(gain_db)
        assert make_speaker(tts.pipeline.networks, told).gain == level.gain(told.level_db)


@pytest.mark.parametrize("options", [{}, {"emotion": {"happy": 0.4}}, {"duration_factor": 1.2}])
def test_file_and_stream_have_the_gain_and_nothing_else(
    tts: TTS, level: SpeechLevel, options: dict[str, object]
) -> None:
    voice, text = dataclasses.replace(tts.voice("bf_emma"), level_db=level.level_db + 6), SENTENCES[0]
    plain = dataclasses.replace(voice, level_db=None)
    said = tts.say(text, voice, seed=1, **options).samples
    before = tts.say(text, plain, seed=1, **options).samples
    unclipped = np.abs(before) < 0.999
    assert np.abs(said - before * level.gain(voice.level_db))[unclipped].max() < 1e-4
    for chunks in ((10_000,), (20, 40)):
        streams = []
        for each in (voice, plain):
            with tts.stream(text, each, seed=1, chunks=chunks, **options) as stream:
                streams.append(np.concatenate([chunk.samples for chunk in stream]))
        loud, quiet = streams
        unclipped = np.abs(quiet) < 0.9  # a seam between two chunks is a mean of both
        assert np.abs(loud - quiet * level.gain(voice.level_db))[unclipped].max() < 1e-4
        assert len(loud) == len(said) and (chunks != (10_000,) or np.array_equal(loud, said))


def test_a_pack_without_a_level_and_a_voice_without_one_speak_as_before(tts: TTS, tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    shutil.copytree(builtin_pack(), pack)
    manifest = open_pack(pack).manifest
    files = {name: entry for name, entry in manifest.files.items() if name != SPEECH_LEVEL_FILE}
    (pack / "manifest.json").write_text(manifest_json(dataclasses.replace(manifest, files=files)), encoding="utf-8")
    (pack / SPEECH_LEVEL_FILE).unlink()
    other = TTS.load(pack, device="cpu", home=tmp_path / "home")
    plain = dataclasses.replace(tts.voice("bf_emma"), level_db=None)
    assert make_speaker(tts.pipeline.networks, plain).gain == 1.0
    assert make_speaker(other.pipeline.networks, tts.voice("bf_emma")).gain == 1.0
    assert np.array_equal(other.say("Yes.", "bf_emma", seed=1).samples, tts.say("Yes.", plain, seed=1).samples)
    assert other.enroll(RECORDING, adapt_steps=0).level_db is None


def test_a_voice_cached_without_a_level_is_learned_again(tmp_path: Path) -> None:
    tts = TTS.load(builtin_pack(), device="cpu", home=tmp_path / "home")
    learned = tts.voice(RECORDING, adapt_steps=0)
    (file,) = tts.store.cache_dir.iterdir()
    dataclasses.replace(learned, level_db=None).save(file)
    assert learned.level_db is not None and tts.voice(RECORDING, adapt_steps=0).level_db == learned.level_db
    assert Voice.load(file).level_db == learned.level_db
    written = file.stat().st_ino
    assert tts.voice(RECORDING, adapt_steps=0).level_db == learned.level_db and file.stat().st_ino == written


def test_a_voice_file_keeps_the_level_and_older_versions_read_it(tts: TTS, tmp_path: Path) -> None:
    voice = dataclasses.replace(tts.voice("af_heart"), level_db=-21.25)
    path = voice.save(tmp_path / "a.safetensors")
    assert Voice.load(path) == voice
    with safe_open(path, framework="pt") as file:
        assert json.loads(file.metadata()["edgetts_voice"])["format_version"] == 1
    plain = dataclasses.replace(voice, level_db=None)
    assert Voice.load(plain.save(tmp_path / "b.safetensors")).level_db is None
    for wrong in (-121.0, 21.0, "loud", True):
        dataclasses.replace(voice, level_db=wrong).save(path)  # type: ignore[arg-type]
        with pytest.raises(VoiceError, match="missing or wrong fields"):
            Voice.load(path)


GOOD = {"level_db": -22, "codes": [[1, 2, 3], [4, 5, 6]]}


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"level_db": -5.9}, "its level is not -60 to -6 dB"),
        ({"level_db": "-20"}, "its level is not"),
        ({"level_db": True}, "its level is not"),
        ({"codes": []}, "not of one length"),
        ({"codes": [[]]}, "not of one length"),
        ({"codes": [[1, 2], [3]]}, "not of one length"),
        ({"codes": [[1, -2]]}, "not whole numbers"),
        ({"codes": [[1, 2.0]]}, "not whole numbers"),
        ({"codes": [["a"]]}, "not whole numbers"),
        ({"codes": 7}, "not a level of speech"),
        ({"codes": [[1] * 2049] * 2}, "not of one length"),
    ],
)
def test_an_unusable_level_is_refused(tmp_path: Path, changed: dict[str, object], sentence: str) -> None:
    path = tmp_path / SPEECH_LEVEL_FILE
    path.write_text(json.dumps(GOOD))
    assert SpeechLevel.read(path) == SpeechLevel(-22.0, ((1, 2, 3), (4, 5, 6)))
    path.write_text(json.dumps({**GOOD, **changed}))
    with pytest.raises(PackError, match=sentence):
        SpeechLevel.read(path)
    path.write_text("{")
    with pytest.raises(PackError, match="not a level of speech"):
        SpeechLevel.read(path)


def test_codes_outside_the_codebook_are_refused(tts: TTS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, pack = tmp_path / SPEECH_LEVEL_FILE, open_pack(tts.pack.path)
    monkeypatch.setattr(pack, "file", lambda _name: path)
    size = pack.config.semantic_codec.codebook_size
    path.write_text(json.dumps({**GOOD, "codes": [[size]]}))
    with pytest.raises(PackError, match="another model"):
        SpeechLevel.of_pack(pack)
    path.write_text(json.dumps({**GOOD, "codes": [[size - 1]]}))  # what was not usable is read again
    assert SpeechLevel.of_pack(pack) == SpeechLevel(-22.0, ((size - 1,),))


def test_the_level_is_read_once_per_pack(tts: TTS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By several threads at once, too; another pack has its own, and the level goes with the pack."""
    read, paths = SpeechLevel.read, list[Path]()

    def slow(path: Path) -> SpeechLevel:
        paths.append(path)
        time.sleep(0.05)  # long enough for all threads to ask
        return read(path)

    monkeypatch.setattr(SpeechLevel, "read", slow)
    pack, other = open_pack(tts.pack.path), open_pack(tts.pack.path, home=tmp_path)
    with ThreadPoolExecutor(4) as threads:
        levels = list(threads.map(SpeechLevel.of_pack, [pack] * 4))
    assert len(paths) == 1 and levels == [read(paths[0])] * 4
    SpeechLevel.of_pack(other)
    assert len(paths) == 2
    gone = weakref.ref(levels[0])  # type: ignore[arg-type]
    levels.clear()
    assert gone() is not None
    del pack
    assert gone() is None
