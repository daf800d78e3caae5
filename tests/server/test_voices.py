"""Voices over HTTP: a recording becomes one, speaks, and goes."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator

import numpy as np
import pytest
import soundfile
from helpers.daemon import Running, running
from helpers.paths import DATA


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """With the built-in pack, whose encoders can learn a voice."""
    with running(tmp_path_factory.mktemp("home"), "builtin") as daemon:
        yield daemon


RECORDING = (DATA / "speech.ogg").read_bytes()


def names(daemon: Running, path: str = "/v1/voices") -> list[str]:
    return [voice["id"] for voice in daemon.client.get(path).json()["voices"]]


def add(daemon: Running, name: str, data: bytes = RECORDING, **fields: str):
    form = {"name": name, "adapt_steps": "0", **fields}
    return daemon.client.post("/v1/voices", data=form, files={"file": ("../../x.wav", data)})


def test_a_recording_becomes_a_voice_that_speaks_and_goes(daemon: Running) -> None:
    assert names(daemon) == names(daemon, "/v1/audio/voices") == ["af_heart", "am_michael", "bf_emma", "bm_george"]
    answer = add(daemon, "me")
    assert answer.status_code == 201, answer.text
    assert answer.json()["id"] == "me" and answer.json()["seconds"] > 1
    assert names(daemon)[0] == "me"
    assert daemon.speak("Hi.", voice="me").status_code == 200
    again = add(daemon, "me")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "voice_exists")
    assert add(daemon, "me", replace="true").status_code == 201
    assert daemon.client.delete("/v1/voices/me").json()["deleted"] is True
    assert "me" not in names(daemon)
    assert daemon.client.delete("/v1/voices/me").status_code == 404
    assert daemon.client.delete("/v1/voices/af_heart").status_code == 403


def test_a_voice_is_matched_to_its_spectrum_as_asked(daemon: Running) -> None:
    for asked in ("true", "false"):
        assert add(daemon, asked, match_spectrum=asked).status_code == 201
        assert (daemon.tts.voice(asked).mel_map is not None) is (asked == "true")
        daemon.tts.store.remove(asked)
    wrong = add(daemon, "wrong", match_spectrum="yes")
    assert wrong.status_code == 400 and wrong.json()["error"]["param"] == "match_spectrum"


def test_a_recording_is_never_written_to_a_disk(daemon: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")
    samples, rate = soundfile.read(io.BytesIO(RECORDING), dtype="float32")
    long = wav(np.tile(samples, 12), rate)
    assert len(long) > 2 << 20
    answer = add(daemon, "long", long)
    assert answer.status_code == 201, answer.text
    daemon.tts.store.remove("long")


def test_what_is_no_form_is_refused(daemon: Running) -> None:
    send = daemon.client.post
    assert send("/v1/voices", json={"name": "x"}).status_code == 415
    assert send("/v1/voices", data={"name": "x"}).status_code == 415
    broken = send("/v1/voices", content=b"--x\r\nbroken", headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert broken.status_code == 400
    for headers in ({"Content-Type": "multipart/form-data"}, {"Content-Type": "multipart/form-data; boundary="}):
        assert send("/v1/voices", content=b"--x--", headers=headers).json()["error"]["code"] == "invalid_form"


def test_voices_of_other_programs_are_found_without_a_restart(daemon: Running) -> None:
    voice = daemon.tts.voice("bf_emma")
    daemon.tts.store.add("emma again", voice)
    assert names(daemon)[0] == "emma again"
    assert daemon.speak("Hi.", voice="emma again").status_code == 200
    daemon.tts.store.remove("emma again")
    answer = daemon.speak("Hi.", voice="emma again")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "voice")


def test_a_voice_has_a_language(daemon: Running) -> None:
    answer = add(daemon, "lia", language="en")
    assert (answer.status_code, answer.json().get("language")) == (201, "en"), answer.text
    listed = {voice["id"]: voice["language"] for voice in daemon.client.get("/v1/voices").json()["data"]}
    assert (listed["lia"], listed["af_heart"]) == ("en", None)
    refused = add(daemon, "x", language="es")  # the built-in model does not speak it
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "language")
    assert "language is 'es'; this model speaks en" in refused.json()["error"]["message"]
    daemon.client.delete("/v1/voices/lia")


def wav(samples: np.ndarray, rate: int = 22_050) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV")
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"this is no sound at all" * 100, "not"),
        (wav(np.zeros(60_000)), "silent"),
        (wav(np.ones(100) * 0.1), "short"),
    ],
)
def test_what_is_no_recording_is_refused(daemon: Running, data: bytes, said: str) -> None:
    answer = add(daemon, "none", data)
    assert answer.status_code == 400, answer.text
    assert said in answer.json()["error"]["message"]
    assert "none" not in names(daemon)


@pytest.mark.parametrize("name", ["../x", "a/b", "x.safetensors", "", "con", "x" * 49])
def test_names_that_could_leave_the_folder_are_refused(daemon: Running, name: str) -> None:
    answer = add(daemon, name)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "name")


def test_forms_that_are_none(daemon: Running) -> None:
    post = daemon.client.post
    assert post("/v1/voices", data={"name": "x"}).status_code == 415
    assert post("/v1/voices", json={"name": "x"}).status_code == 415
    two = [("file", ("a", b"x")), ("audio_sample", ("b", b"x"))]
    assert post("/v1/voices", data={"name": "x"}, files=two).status_code == 400
    assert add(daemon, "x", consent="cons_1").json()["error"]["param"] == "consent"
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    assert post("/v1/voices", content=b"garbage", headers=headers).status_code == 400


def test_a_recording_that_is_too_large(daemon: Running) -> None:
    assert add(daemon, "x", b"x" * (33 << 20)).status_code == 413
