"""From a recording to a voice: what is read, what is remembered, and what is said before it takes long."""

from __future__ import annotations

import dataclasses
import io
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from edgetts import TTS, Voice
from edgetts.audio import io as audio_io
from edgetts.audio.io import Take
from edgetts.errors import AudioError, PackError, UsageError
from edgetts.options import SynthesisOptions
from edgetts.pack.load import Pack
from edgetts.request import SpeechRequest
from edgetts.voices import learning
from edgetts.voices.learning import take_of, time_notice

SPEECH = Path(__file__).parents[1] / "data" / "speech.ogg"


@pytest.fixture
def tts(tmp_path: Path) -> TTS:
    return TTS.load(home=tmp_path / "home")


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    samples, rate = soundfile.read(SPEECH, dtype="float32")
    soundfile.write(tmp_path / "speech.wav", samples, rate, subtype="FLOAT")
    return tmp_path / "speech.wav"


@pytest.fixture
def learned(tts: TTS, monkeypatch: pytest.MonkeyPatch) -> list[Take]:
    """What would have been learned: enrollment itself is stood in for by the pack's own voice."""
    takes: list[Take] = []
    ready = dataclasses.replace(tts.voice(), offsets=None, adapted_to="", adapt_steps=0)

    def learn(pack: Pack, take: Take, options: SynthesisOptions, **_: object) -> Voice:
        takes.append(take)
        voice = dataclasses.replace(ready, notices=take.notices)
        if not options.match_spectrum:
            return voice
        return dataclasses.replace(voice, mel_map=torch.zeros(1, 80, 81), adapted_to=pack.manifest.s2mel_id)

    monkeypatch.setattr("edgetts.voices.learning.learn", learn)
    return takes


def test_arrays_give_the_voice_that_the_file_gives(tts: TTS, recording: Path) -> None:
    samples, rate = soundfile.read(recording, dtype="float32")
    voices = [
        tts.enroll(recording, adapt_steps=0),
        tts.enroll((samples, rate), adapt_steps=0),
        tts.enroll(samples, sample_rate=rate, adapt_steps=0),
        tts.enroll(recording, as_is=True, adapt_steps=0),
    ]
    for voice in voices[1:]:
        for tensor in (
            "conditioning_latents",
            "emotion_vector",
            "emotion_base",
            "style",
            "reference_codes",
            "reference_mel",
        ):
            assert torch.equal(getattr(voice, tensor), getattr(voices[0], tensor)), tensor
    assert voices[0].seconds == pytest.approx(5.5)
    assert voices[0].name == "speech"


def test_misuse_of_arrays(tts: TTS, recording: Path) -> None:
    with pytest.raises(UsageError, match="sample_rate="):
        tts.enroll(np.zeros(48_000))
    with pytest.raises(UsageError, match="leave sample_rate= out"):
        tts.enroll(recording, sample_rate=16_000)
    with pytest.raises(AudioError, match="silent"):
        tts.enroll((np.zeros(48_000), 16_000))


def test_a_recording_is_opened_once(
    tts: TTS, recording: Path, learned: list[Take], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []
    really = audio_io._open

    def counted(path: Path) -> Any:
        opened.append(path)
        return really(path)

    monkeypatch.setattr(audio_io, "_open", counted)
    tts.voice(recording, adapt_steps=0)
    assert opened == [recording]
    assert len(learned) == 1
    tts.voice(recording, adapt_steps=0)
    assert len(learned) == 1, "remembered"


def test_a_file_that_changes_while_it_is_learned_is_kept_under_what_was_heard(
    tts: TTS, recording: Path, learned: list[Take], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, (before, rate) = recording.read_bytes(), soundfile.read(recording, dtype="float32")
    stand_in = learning.learn

    def meanwhile(pack: object, take: Take, *rest: object, **named: object) -> Voice:
        soundfile.write(recording, before[::-1], rate, subtype="FLOAT")
        voice: Voice = stand_in(pack, take, *rest, **named)
        return voice

    monkeypatch.setattr("edgetts.voices.learning.learn", meanwhile)
    tts.voice(recording, adapt_steps=0)
    assert np.array_equal(learned[0].samples, before), "both rates come from what was read"
    tts.voice(recording, adapt_steps=0)
    assert len(learned) == 2, "the changed file is another recording"
    recording.write_bytes(data)
    tts.voice(recording, adapt_steps=0)
    assert len(learned) == 2, "the first one is remembered under what was heard"


def test_two_threads_learn_one_recording_once(
    tts: TTS, recording: Path, learned: list[Take], monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = threading.Barrier(2)
    really = take_of

    def together(*arguments: object, **named: Any) -> Take:
        take = really(*arguments, **named)
        if not isinstance(arguments[0], Take):
            ready.wait(60)
        return take

    monkeypatch.setattr("edgetts.voices.learning.take_of", together)
    with ThreadPoolExecutor(2) as pool:
        voices = list(pool.map(lambda _: tts.voice(recording, adapt_steps=0), range(2)))
    assert len(learned) == 1
    assert torch.equal(voices[0].style, voices[1].style)


def test_a_damaged_memory_is_made_again_with_a_notice(tts: TTS, recording: Path, learned: list[Take]) -> None:
    tts.voice(recording, adapt_steps=0)
    (file,) = tts.store.cache_dir.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    voice = tts.voice(recording, adapt_steps=0)
    assert len(learned) == 2
    assert "was damaged" in " ".join(voice.notices)
    assert tts.voice(recording, adapt_steps=0).notices == ()
    assert len(learned) == 2


def test_a_long_file_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples, rate = soundfile.read(SPEECH, dtype="float32")
    buffer = io.BytesIO()
    soundfile.write(buffer, np.tile(samples, 30), rate, format="WAV")
    data = bytearray(buffer.getvalue())
    data[40:44] = (1 << 30).to_bytes(4, "little")
    path = tmp_path / "long.wav"
    with path.open("wb") as file:
        file.write(data)
        file.truncate(1 << 30)  # sparse: takes no disk
    n_read = 0
    really = audio_io._open

    class Counted(io.FileIO):
        def read(self, size: int | None = -1, /) -> bytes:
            nonlocal n_read
            found = super().read(size)
            n_read += len(found)
            return found

    monkeypatch.setattr(learning, "SEARCHED_SECONDS", 20.0)
    monkeypatch.setattr(audio_io, "_open", lambda p: Counted(really(p).name))
    assert take_of(path).seconds == 15.0
    assert n_read < 1.2 * learning.SEARCHED_SECONDS * rate * 2


def test_what_takes_long_is_said_before(tts: TTS, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "_step_seconds", lambda *_: 1.2)
    sentence = time_notice(tts.pack, 100, tts.device)
    assert sentence is not None
    assert "about 2 minutes" in sentence and "100 steps" in sentence and "set adapt_steps= to 0" in sentence
    assert "about 40 seconds" in str(time_notice(tts.pack, 30, tts.device))
    assert time_notice(tts.pack, 0, tts.device) is None
    assert time_notice(tts.pack, 2, tts.device) is None


def test_the_sentence_comes_before_the_work(tts: TTS, recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    monkeypatch.setattr(learning, "_step_seconds", lambda *_: 10.0)
    tts.enroll(recording, adapt_steps=1, tell=events.append, progress=lambda what, _: events.append(what))
    assert "takes about 10 seconds" in events[0]
    assert events[1] == "reading the recording"
    assert tts.enroll(recording, adapt_steps=1).adapt_steps == 1, "nobody has to listen"


def test_a_pack_whose_statistics_do_not_fit_its_encoder_is_named(mini_pack: Path, tmp_path: Path) -> None:
    tts = TTS.load(mini_pack, home=tmp_path, device="cpu")
    with pytest.raises(
        PackError,
        match="cannot enroll a recording: its semantic encoder makes features 64 wide.* are for 1024.*voice file with voice=",
    ):
        tts.enroll(SPEECH, adapt_steps=0)


def test_speech_tells_what_was_wrong_with_its_recording(
    tts: TTS, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    ready = dataclasses.replace(tts.voice(), offsets=None, adapted_to="", adapt_steps=0, notices=("It hums.",))

    def learn(*_: object, tell: Callable[[str], None], **__: object) -> Voice:
        tell("This takes a while.")
        return ready

    monkeypatch.setattr("edgetts.voices.learning.learn", learn)
    options = {"max_codes": 4, "n_steps": 1, "guards": False, "seed": 1, "adapt_steps": 0}
    with tts.start(SpeechRequest("Hello.", recording, options=options), tell=told.append) as stream:
        assert "It hums." in stream.notices
    assert told == ["This takes a while."]
    with tts.start(SpeechRequest("Hello.", ready.save(tmp_path / "me.safetensors"), options=options)) as stream:
        assert "It hums." not in stream.notices  # shown when the file was made
