"""`POST /v1/audio/speech` of a daemon at work: OpenAI's client, formats, refusals, clients that go away or come in
numbers."""

from __future__ import annotations

import base64
import json
import logging
import threading

import httpx
import numpy as np
import openai
import pytest
from helpers.daemon import LONG, QUICK, Running, until

from edgetts.audio.formats import wav_header
from edgetts.audio.io import read_sound_bytes
from edgetts.request import SpeechRequest
from edgetts.server.encoder import KINDS
from edgetts.server.service import voice_name

TEXT = "Good morning."


def test_the_client_of_openai(daemon: Running) -> None:
    client = openai.OpenAI(api_key="none", base_url=f"{daemon.url}/v1", max_retries=0)
    more = {"seed": 7, "options": QUICK}
    speech = client.audio.speech.create(
        model="tts-1", voice="golden", input=TEXT, response_format="wav", extra_body=more
    ).read()
    assert speech == wav_header(22_050, None) + daemon.reference(TEXT, 7)
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="golden", input=TEXT, response_format="pcm", extra_body=more
    ) as response:
        assert response.headers["content-type"] == "audio/pcm"
        assert response.headers["x-sample-rate"] == "24000"
        assert "content-length" not in response.headers
        pcm = b"".join(response.iter_bytes())
    assert len(pcm) / 24_000 == pytest.approx(len(speech) / 22_050, rel=0.01)
    with pytest.raises(openai.NotFoundError, match="Unknown model 'gpt-9'"):
        client.audio.speech.create(model="gpt-9", voice="golden", input=TEXT)
    with pytest.raises(openai.BadRequestError) as refused:
        client.audio.speech.create(model="tts-1", voice="alloy", input=TEXT)
    assert refused.value.param == "voice" and "golden" in refused.value.message
    assert {model.id for model in client.models.list()} >= {"IndexTTS-2", "tts-1"}


@pytest.mark.parametrize("format", list(KINDS))
def test_every_format_is_the_same_speech(daemon: Running, format: str) -> None:
    answer = daemon.speak(TEXT, voice={"id": "golden"}, seed=7, response_format=format)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == KINDS[format].media_type
    assert answer.headers["x-seed"] == "7"
    heard = np.frombuffer(daemon.reference(TEXT, 7), "<i2") / 32768
    if format == "pcm":
        samples, rate = np.frombuffer(answer.content, "<i2") / 32768, 24_000
    else:
        sound = read_sound_bytes(answer.content, 60, "the answer")
        samples, rate = sound.samples, sound.sample_rate
    assert rate == int(answer.headers["x-sample-rate"]) or format == "opus"  # which libsndfile decodes at 48 kHz
    assert len(samples) / rate == pytest.approx(len(heard) / 22_050, abs=0.15)
    assert np.sqrt(np.mean(samples**2)) == pytest.approx(np.sqrt(np.mean(heard**2)), rel=0.5)


def test_the_default_is_mp3(daemon: Running) -> None:
    assert daemon.speak(TEXT).headers["content-type"] == "audio/mpeg"


def test_sound_comes_while_it_is_made(daemon: Running) -> None:
    body = {"input": LONG, "voice": "golden", "options": QUICK, "response_format": "pcm", "seed": 1}
    with daemon.client.stream("POST", "/v1/audio/speech", json=body) as response:
        first = next(response.iter_bytes())
        assert len(first) / 48_000 < 20 < len(LONG) / 20
    until(lambda: daemon.service.queue.n_served == 0)


def test_events(daemon: Running) -> None:
    answer = daemon.speak(TEXT, voice="golden", seed=7, response_format="wav", stream_format="sse")
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line for line in answer.text.split("\n\n") if line]
    events = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert [event["type"] for event in events[:-1]] == ["speech.audio.delta"] * (len(events) - 1)
    sound = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    assert sound == wav_header(22_050, None) + daemon.reference(TEXT, 7)
    usage = events[-1]["usage"]
    assert events[-1]["type"] == "speech.audio.done"
    assert 0 < usage["input_tokens"] < usage["output_tokens"] < usage["total_tokens"]


@pytest.mark.parametrize(
    ("fields", "status", "param", "said"),
    [
        ({"input": 3}, 400, "input", "string"),
        ({"input": " "}, 400, None, "nothing to speak"),
        ({"input": "x" * 20_001}, 400, "input", "more than 20000 characters"),
        ({"voice": "../../etc/passwd"}, 400, "voice", "is not a valid name"),
        ({"voice": "/etc/passwd"}, 400, "voice", "is not a valid name"),
        ({"voice": "me.wav"}, 400, "voice", "is not a valid name"),
        ({"voice": {"id": 3}}, 400, "voice", "must be a name"),
        ({"voice": "nobody"}, 400, "voice", "no voice called 'nobody'"),
        ({"model": "other"}, 404, "model", "Unknown model 'other'"),
        ({"instructions": "whisper"}, 400, "instructions", "not supported"),
        ({"speed": 2.1}, 400, "speed", "speed is 2.1; allowed is 0.5 to 2"),
        ({"response_format": "aac"}, 400, "response_format", "aac is not supported"),
        ({"response_format": "midi"}, 400, "response_format", "Unknown response_format"),
        ({"stream_format": "smoke"}, 400, "stream_format", "audio or sse"),
        ({"emotion": {"happy": 9}}, 400, "emotion", "from 0 to 2"),
        ({"emotion": {"voice": "/etc/passwd"}}, 400, "emotion", "is not a valid name"),
        ({"emotion": {"recording": "/etc/passwd"}}, 400, "emotion", "Unknown emotion"),
        ({"seed": -1}, 400, "seed", "allowed is 0"),
        ({"steps": 0}, 400, "options", "flow steps"),
        ({"preset": "slow"}, 400, "preset", "choose one of"),
        ({"options": {"n_stops": 3}}, 400, "options", "did you mean n_steps"),
        ({"normalizer": "none"}, 400, None, "Unknown normalizer"),
        ({"sampling": 1}, 400, "sampling", "Unknown field"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(
    daemon: Running, fields: dict[str, object], status: int, param: str | None, said: str
) -> None:
    answer = daemon.client.post("/v1/audio/speech", json={"input": "Hi.", "voice": "golden", **fields})
    error = answer.json()["error"]
    assert answer.status_code == status
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert said in error["message"]


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"\xff\xfe\x00", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"input": "Hi."}', "text/plain", 415),
        (b'{"input": "' + b"x" * (1 << 21) + b'"}', "application/json", 413),
    ],
)
def test_bodies_that_are_none(daemon: Running, content: bytes, kind: str, status: int) -> None:
    answer = daemon.client.post("/v1/audio/speech", content=content, headers={"Content-Type": kind})
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_a_client_that_goes_away_stops_its_stream(daemon: Running, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="edgetts.server"):
        for _ in range(3):
            body = {"input": LONG, "voice": "golden", "options": QUICK, "response_format": "pcm"}
            with daemon.client.stream("POST", "/v1/audio/speech", json=body) as response:
                sound = response.iter_bytes()  # which ends the stream when it is dropped
                next(sound)
                assert daemon.service.queue.n_served == 1
            until(lambda: daemon.service.queue.n_served == 0, 3)
        until(lambda: caplog.text.count("outcome=cancelled") == 3)
    assert daemon.speak(TEXT).status_code == 200


def test_each_of_several_clients_hears_its_own_text(daemon: Running) -> None:
    texts = ["One thing.", "Two things.", "Three things, and more.", "Four."]
    expected = [wav_header(22_050, None) + daemon.reference(text, i) for i, text in enumerate(texts)]
    heard: dict[int, bytes] = {}

    def ask(i: int) -> None:
        with httpx.Client(base_url=daemon.url, timeout=60) as client:
            body = {"input": texts[i], "voice": "golden", "seed": i, "options": QUICK, "response_format": "wav"}
            heard[i] = client.post("/v1/audio/speech", json=body).content

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [heard[i] for i in range(len(texts))] == expected


def test_beyond_the_line_clients_are_told_when_to_come_again(daemon: Running) -> None:
    body = {"input": LONG, "voice": "golden", "options": QUICK, "response_format": "pcm"}
    with (
        daemon.client.stream("POST", "/v1/audio/speech", json=body) as one,
        daemon.client.stream("POST", "/v1/audio/speech", json=body) as two,
    ):
        at_work = [response.iter_bytes() for response in (one, two)]  # one that is dropped ends its stream
        for sound in at_work:
            next(sound)
        waiting = [threading.Thread(target=daemon.speak, args=("Hi.",)) for _ in range(2)]
        for thread in waiting:
            thread.start()
        until(lambda: daemon.service.queue.n_waiting == 2)
        answer = daemon.speak("Hi.")
        assert daemon.client.get("/ready").status_code == 503
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["error"]["code"] == "queue_full"
    for thread in waiting:
        thread.join()
    assert daemon.client.get("/ready").json() == {"ready": True, "state": "loaded", "streams": 0, "waiting": 0}


def test_a_line_in_the_log_says_all_but_the_text(daemon: Running, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="edgetts.server"):
        answer = daemon.speak("Tell nobody.", voice="golden")
        until(lambda: "speech id=" in caplog.text)
    (line,) = [r.getMessage() for r in caplog.records if r.getMessage().startswith("speech ")]
    table = dict(part.split("=") for part in line.split()[1:])
    assert table["id"] == answer.headers["x-request-id"]
    assert (table["voice"], table["characters"], table["outcome"]) == ("golden", "12", "done")
    assert float(table["first_sound_ms"]) > 0 and float(table["rtf"]) > 0
    assert "nobody" not in caplog.text


def test_numbers_for_prometheus(daemon: Running) -> None:
    def value(name: str) -> float:
        lines = daemon.client.get("/metrics").text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    done = 'edgetts_requests_total{outcome="done",protocol="http"}'
    before = value(done), value("edgetts_first_sound_seconds_count"), value("edgetts_errors_total")
    daemon.speak(TEXT)
    daemon.speak(TEXT, voice="nobody")
    until(lambda: value(done) == before[0] + 1)
    assert value("edgetts_first_sound_seconds_count") == before[1] + 1
    assert value("edgetts_errors_total") == before[2] + 1
    assert value("process_resident_memory_bytes") > 1e8


def test_a_voice_cannot_write_lines_of_its_own_to_the_log() -> None:
    """Over the Unix socket a voice is any text without a dot or a slash."""
    said = voice_name(SpeechRequest(text="Hi.", voice="me\n2026 INFO outcome=done\x1b[2J" + "x" * 100))
    assert said == "me_2026_INFO_outcome=done?[2J" + "x" * (48 - 29)
    assert voice_name(SpeechRequest(text="Hi.", voice="my voice")) == "my_voice"
    assert voice_name(SpeechRequest(text="Hi.")) is None
