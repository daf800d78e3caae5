"""Both model families speak through the daemon: speed, streams, voices of the other family."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
from helpers.daemon import QUICK, VOICE, Running, home_of, running
from helpers.voices import golden_voice, golden_voice_25

FIXED = {**QUICK, "do_sample": False, "n_steps": 1}
TEXT = "Hello."  # one segment: pauses keep their length


@pytest.fixture(scope="module", params=["mini_pack", "mini_pack_25"])
def daemon(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    pack: Path = request.getfixturevalue(request.param)
    home = home_of(tmp_path_factory.mktemp("home"), pack)
    with running(home, pack, stop_s=1.0) as daemon:
        yield daemon


def samples_of(daemon: Running, **fields: object) -> int:
    answer = daemon.speak(TEXT, seed=1, response_format="wav", options=FIXED, **fields)
    assert answer.status_code == 200, answer.text
    return (len(answer.content) - 44) // 2


def test_speed_changes_the_length_whole_and_streamed(daemon: Running) -> None:
    normal = samples_of(daemon)
    for speed in (0.5, 0.8, 2, 1.25):
        for chunks in ("whole", [8]):
            assert samples_of(daemon, speed=speed, chunks=chunks) == pytest.approx(normal / speed, rel=0.03)
    assert samples_of(daemon, speed=1) == samples_of(daemon, speed=None) == normal


def test_speed_is_that_of_the_api_and_arrives_in_parts(daemon: Running) -> None:
    body = {"input": TEXT, "voice": VOICE, "seed": 1, "speed": 0.8, "chunks": [8], "response_format": "wav"}
    with daemon.client.stream("POST", "/v1/audio/speech", json={**body, "options": FIXED}) as answer:
        pieces = list(answer.iter_raw())
    with daemon.tts.stream(
        TEXT, VOICE, dtype="int16", chunks=(8,), **{**FIXED, "seed": 1, "duration_factor": 1.25}
    ) as stream:
        expected = [chunk.samples.tobytes() for chunk in stream]
    assert b"".join(pieces)[44:] == b"".join(expected)
    assert len([part for part in expected if part]) > 1
    soundfile.info(io.BytesIO(b"".join(pieces)))


@pytest.mark.parametrize("speed", [0.49, 2.01, 0.25, 4, 0, -1, 1e308, True, "1", [1]])
def test_another_speed_is_refused_in_one_sentence(daemon: Running, speed: object) -> None:
    answer = daemon.speak(TEXT, speed=speed)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "speed")
    assert error["message"].startswith("speed is ") and error["message"].endswith("allowed is 0.5 to 2.")


def test_a_voice_of_the_other_family_is_refused_by_name(daemon: Running, request: pytest.FixtureRequest) -> None:
    is_25 = daemon.tts.pack.manifest.family == "indextts-2.5"
    other = request.getfixturevalue("mini_pack" if is_25 else "mini_pack_25")
    voice = (golden_voice if is_25 else golden_voice_25)(other)
    voice = dataclasses.replace(voice, emotion_base=voice.emotion_base.clone())  # files share no memory
    daemon.tts.store.add("stranger", voice)
    try:
        answer = daemon.speak(TEXT, voice="stranger")
        error = answer.json()["error"]
        assert (answer.status_code, error["param"], error["code"]) == (400, "voice", "voice_unusable")
        assert "stranger" in error["message"] and str(daemon.home) not in error["message"]
        assert daemon.speak(TEXT).status_code == 200
    finally:
        daemon.tts.store.remove("stranger")
