"""The public face: arguments of the wrong type are named at once, and `asay`, `close` and `repr` do what they say."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest

from edgetts import TTS, Emotion
from edgetts.api import AsyncSpeechStream
from edgetts.audio.playback import portaudio
from edgetts.audio.playback.simulated import SimulatedClock, SimulatedSink
from edgetts.errors import UsageError
from edgetts.options import OptionKeywords, SynthesisOptions
from edgetts.pack.load import Pack
from edgetts.pack.locate import builtin_pack
from edgetts.pack.text import tokenizer_of
from edgetts.text.tokenizer import TextTokenizer

QUICK: dict[str, Any] = {"n_steps": 1, "solver": "euler", "first_steps": 1, "adapt_steps": 0}


@pytest.fixture(scope="module")
def tts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TTS]:
    with TTS.load(builtin_pack(), home=tmp_path_factory.mktemp("home"), device="cpu") as opened:
        yield opened


def test_reprs_say_what_there_is(tts: TTS) -> None:
    assert repr(tts.pack).startswith(f"Pack('tiny' at {str(tts.pack.path)!r}, indextts-2, recipe recipes/tiny, 2")
    assert repr(tts).startswith("TTS('tiny' at ") and " on cpu, " in repr(tts)
    assert repr(tts.voice("af_heart")).startswith("Voice('af_heart', ")
    stream = tts.stream("Hi.", seed=5, **QUICK)
    assert repr(stream).startswith("SpeechStream(0.00 s taken, ") and "speaking, seed=5" in repr(stream)
    seconds = sum(chunk.seconds for chunk in stream)
    assert repr(stream) == f"SpeechStream({seconds:.2f} s taken, segments so far: 1, over, seed=5)"
    assert seconds > 0

    async def twin() -> None:
        chunks = tts.astream("Hi.", seed=5, **QUICK)
        assert repr(chunks) == "AsyncSpeechStream(not started)"
        await chunks.begin()
        assert repr(chunks).startswith("AsyncSpeechStream(0.00 s taken, ")
        await chunks.aclose()

    asyncio.run(twin())


def test_a_stream_plays_itself(tts: TTS, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: dict[str, list[np.ndarray]] = {"float32": [], "int16": []}
    for dtype, blocks in heard.items():

        def sink(device: str | None, blocks: list[np.ndarray] = blocks) -> SimulatedSink:
            assert device == "speakers"
            return SimulatedSink(SimulatedClock(), lambda block: blocks.append(block.copy()))

        monkeypatch.setattr(portaudio, "PortAudioSink", sink)
        stream = tts.stream("Hi.", seed=5, dtype=dtype, **QUICK)  # type: ignore[arg-type]
        stream.play("speakers")
        assert stream.is_over
    floats, integers = (np.trim_zeros(np.concatenate(blocks)).astype(int) for blocks in heard.values())
    assert len(floats) > tts.sample_rate // 4 and np.abs(floats - integers).max() <= 1


@pytest.mark.parametrize("text", [None, b"Hello.", 5, ["Hello."], object()])
def test_say_takes_a_string(tts: TTS, text: Any) -> None:
    with pytest.raises(UsageError, match=f"text is of type {type(text).__name__}"):
        tts.say(text)
    with pytest.raises(UsageError, match=f"text is of type {type(text).__name__}"):
        asyncio.run(tts.asay(text))


@pytest.mark.parametrize("text", [None, b"Hello.", bytearray(b"Hello."), 5, object()])
def test_streams_take_a_string_or_an_iterable(tts: TTS, text: Any) -> None:
    with pytest.raises(UsageError, match=f"text is of type {type(text).__name__}"):
        tts.stream(text)
    with pytest.raises(UsageError, match=f"text is of type {type(text).__name__}"):
        tts.astream(text)


@pytest.mark.parametrize("piece", [None, b"Hello.", 5])
def test_a_piece_of_another_type_ends_the_stream(tts: TTS, piece: Any) -> None:
    with pytest.raises(UsageError, match=f"one of them is a {type(piece).__name__}"):
        list(tts.stream(iter([piece]), **QUICK))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"voice": 5}, "voice is of type int"),
        ({"voice": b"me"}, "voice is of type bytes"),
        ({"emotion": 0.5}, "emotion is of type float"),
        ({"emotion": "happy"}, "is not name=weight"),
        ({"emotion": ["happy"]}, "emotion is of type list"),
        ({"emotion": {"happy": "0.5"}}, "Emotion weight happy is '0.5'"),
        ({"emotion": {"happy": True}}, "Emotion weight happy is True"),
        ({"emotion": {"joyful": 0.5}}, "Unknown emotion 'joyful'"),
        ({"emotion": {}}, "An emotion needs weights"),
        ({"glossary": {"AI": "a i"}}, "glossary is of type dict"),
        ({"progress": "bar"}, "progress is not callable"),
        ({"preset": "fast"}, "preset is not an option but a set of them"),
        ({"sped": 3}, "Unknown synthesis option 'sped'"),
        ({"seed": 2**53}, "seed is 9007199254740992"),
    ],
)
def test_other_arguments_are_checked_before_anything_is_done(tts: TTS, arguments: Any, named: str) -> None:
    for call in (tts.say, tts.stream):
        with pytest.raises(UsageError, match=named):
            call("Hello.", **arguments)


def test_an_emotion_may_be_given_by_its_weights(tts: TTS) -> None:
    by_name = tts.say("Hello there.", emotion={"happy": 0.6}, seed=1, **QUICK)
    assert by_name == tts.say("Hello there.", emotion=Emotion({"happy": 0.6}), seed=1, **QUICK)
    assert by_name == tts.say("Hello there.", emotion="happy=0.6", seed=1, **QUICK)


def test_keywords_are_the_fields_of_the_options() -> None:
    known, options = get_type_hints(OptionKeywords), get_type_hints(SynthesisOptions)
    assert known == {field.name: options[field.name] for field in fields(SynthesisOptions)}
    for name in ("say", "asay", "stream", "astream"):
        assert inspect.signature(getattr(TTS, name)).parameters["options"].annotation == "Unpack[OptionKeywords]"


def test_asay_gives_what_say_gives_and_leaves_the_loop_free(tts: TTS) -> None:
    told: list[tuple[str, float]] = []

    async def speak() -> tuple[Any, int]:
        n_ticks = 0

        async def tick() -> None:
            nonlocal n_ticks
            while True:
                n_ticks += 1
                await asyncio.sleep(0.001)

        ticking = asyncio.create_task(tick())
        audio = await tts.asay("Hello there, my friend.", seed=1, progress=lambda *a: told.append(a), **QUICK)
        ticking.cancel()
        return audio, n_ticks

    audio, n_ticks = asyncio.run(speak())
    assert audio == tts.say("Hello there, my friend.", seed=1, **QUICK)
    assert n_ticks > 5 and told[0] == ("speaking", 0.0) and told[-1] == ("speaking", 1.0)


def test_asay_can_be_cancelled(tts: TTS) -> None:
    async def speak() -> None:
        text = "This is a long sentence, and nobody waits for its end. " * 20
        await asyncio.wait_for(tts.asay(text, seed=1, **QUICK), 0.05)

    with pytest.raises((TimeoutError, asyncio.TimeoutError)):
        asyncio.run(speak())
    assert len(tts.say("Still here.", seed=1, **QUICK)) > 0


def test_a_seed_repeats_a_stream(tts: TTS) -> None:
    text = "Good morning to all of you, and welcome to this house. We begin in a moment."

    def heard() -> np.ndarray:
        return np.concatenate([chunk.samples for chunk in tts.stream(text, seed=3, **QUICK)])

    first = heard()
    for _ in range(2):
        # What was measured in between must not change the parts.
        tts.engine.speeds.add("codes", 16, 5.0)
        tts.engine.speeds.add("vocoder", 100, 5.0)
        assert np.array_equal(heard(), first)


def test_other_calls_name_an_argument_of_the_wrong_type(tts: TTS) -> None:
    with pytest.raises(UsageError, match="pack is of type int"):
        TTS.load(3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="There is no recording"):
        tts.enroll(None)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="target is of type NoneType"):
        tts.say("Hello.", seed=1, **QUICK).save(None)  # type: ignore[arg-type]


def test_voices_are_equal_by_their_values(tts: TTS) -> None:
    one, same, other = tts.voice("af_heart"), tts.voice("af_heart"), tts.voice("am_michael")
    assert one == same and hash(one) == hash(same) and one != other and one != "af_heart"
    assert one != dataclasses.replace(one, offsets=one.style)


def test_a_voice_is_learned_from_speech_that_was_made(tts: TTS) -> None:
    audio = tts.say("This is a voice that was made here, and it is learned again from its own speech.", seed=1)
    voice = tts.enroll(audio, name="made", adapt_steps=0)
    assert voice == tts.enroll(audio.samples, sample_rate=audio.sample_rate, name="made", adapt_steps=0)


def test_close_frees_the_networks_and_a_later_call_loads_them_again(tmp_path: Path) -> None:
    tts = TTS.load(builtin_pack(), home=tmp_path, device="cpu")
    assert "not loaded yet" in repr(tts)
    before = tts.say("Hello.", seed=1, **QUICK)
    assert repr(tts).startswith("TTS('tiny' at ") and repr(tts).endswith("on cpu, fast, loaded)")
    tts.close()
    tts.close()
    assert "not loaded yet" in repr(tts)
    assert tts.say("Hello.", seed=1, **QUICK) == before


def test_two_first_streams_share_one_front_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Pack] = []

    def slow(pack: Pack) -> TextTokenizer:
        time.sleep(0.2)
        made.append(pack)
        return tokenizer_of(pack)

    monkeypatch.setattr("edgetts.api.tokenizer_of", slow)
    tts = TTS.load(builtin_pack(), home=tmp_path, device="cpu")
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(lambda _: tts.frontend(), range(2))
    assert first is second and len(made) == 1

    async def n_samples(stream: AsyncSpeechStream) -> int:
        return sum([len(chunk.samples) async for chunk in stream])

    async def both() -> list[int]:
        return await asyncio.gather(*(n_samples(tts.astream("Hello.", seed=1, **QUICK)) for _ in range(2)))

    tts = TTS.load(builtin_pack(), home=tmp_path, device="cpu")
    lengths = asyncio.run(both())
    assert lengths[0] == lengths[1] > 0 and len(made) == 2


def test_an_emotion_that_the_model_lacks_is_told(tts: TTS) -> None:
    assert any("no emotions" in n for n in tts.say("Hello.", emotion={"sad": 0.5}, seed=1, **QUICK).notices)
    assert not any("emotion" in n for n in tts.say("Hello.", seed=1, **QUICK).notices)


def test_a_fresh_interpreter_lists_every_public_name() -> None:
    """A prompt completes from `dir`, before anything was used."""
    code = "import edgetts, sys; print(set(edgetts.__all__) <= set(dir(edgetts)), 'torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["True", "False"]
