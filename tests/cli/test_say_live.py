"""`edgetts say` that plays or pipes: what is heard is what is written, and every way out of it is clean."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.command import Edgetts

from edgetts.audio.playback.simulated import SimulatedClock, SimulatedSink
from edgetts.cli.say import live

QUICK = ("--greedy", "--beams", 1, "--max-codes", 40, "--steps", 1, "--retries", 0, "--seed", 7, "--no-guards")


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """What a simulated device played, block by block."""
    blocks: list[np.ndarray] = []
    clock = SimulatedClock()
    monkeypatch.setattr(
        live, "open_sink", lambda device: SimulatedSink(clock, lambda block: blocks.append(block.copy()))
    )
    return blocks


@pytest.fixture
def say(edgetts: Edgetts, mini_pack: Path, voice_file: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    monkeypatch.setenv("EDGETTS_PACK", str(mini_pack))
    monkeypatch.setenv("EDGETTS_VOICE", str(voice_file))
    options = [o for o in QUICK if o != "--retries" and o != 0]  # --retries contradicts --no-guards

    def run(*arguments: object, input: str | bytes | None = None) -> object:
        return edgetts("say", *arguments, *options, input=input)

    return run


def test_plays_and_writes_the_same(say: Edgetts, heard: list[np.ndarray], tmp_path: Path) -> None:
    out, srt = tmp_path / "out.wav", tmp_path / "out.srt"
    result = say("Hello world.", "--play", "-o", out, "--chunks", "18,12", "--srt", srt, "--json")
    assert result.exit_code == 0, result.stderr
    written, _ = soundfile.read(out, dtype="int16")
    played = np.concatenate(heard)
    start = int(np.flatnonzero(played)[0]) - int(np.flatnonzero(written)[0])
    assert np.array_equal(played[start : start + len(written)], written)
    about = json.loads(result.stdout)
    assert about["playback"]["played_samples"] == len(written)
    assert about["playback"]["underruns"] == 0
    assert srt.read_text().startswith("1\n00:00:00,000 --> 00:00:0")


def test_plays_by_default(say: Edgetts, heard: list[np.ndarray]) -> None:
    result = say("Hello world.", "--chunks", "18", "--quiet")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == result.stderr == ""
    assert np.concatenate(heard).any()


def test_pipe_in_and_out(say: Edgetts) -> None:
    result = say("-", "--raw", "--chunks", "18", "--quiet", input="Hello there. World!")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    samples = np.frombuffer(result.stdout_bytes, "<i2")
    assert len(samples) > 10_000 and samples.any()
    for data in ("Hello.".encode("utf-16"), b"\xef\xbb\xbfHello."):
        assert say("-", "--raw", "--quiet", input=data).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("Hi.", "--output-device", "usb", "-o", "x.wav"), "--output-device has no effect"),
        (("Hi.", "--chunks", "30", "-o", "x.wav"), "--chunks and --first-steps have no effect"),
        (("Hi.", "--chunks", "30,no"), "--chunks is '30,no'"),
        (("Hi.", "--chunks", "0"), "--chunks is '0'"),
        (("Hi.", "--format", "flac"), "--format flac needs an output"),
        (("Hi.", "--srt", "/nowhere/x.srt"), "no folder"),
        (("Hi.", "--prompt-seconds", "0.1"), "prompt_s is 0.1"),
    ],
)
def test_misuse(say: Edgetts, heard: list[np.ndarray], arguments: tuple[str, ...], sentence: str) -> None:
    result = say(*arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr and len(result.stderr.splitlines()) == 1
    assert not heard


def test_bad_bytes_in_a_pipe(say: Edgetts, heard: list[np.ndarray]) -> None:
    result = say("-", input=b"Hello \xe9 world.")
    assert result.exit_code == 2
    assert "not UTF-8 (byte 0xe9" in result.stderr


def test_without_a_device_there_is_a_sentence_and_no_work(say: Edgetts, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgetts.audio.playback import portaudio
    from edgetts.errors import AudioError

    def none(_: str | None) -> None:
        raise AudioError("There is no sound output device here; connect or enable one, or write the speech to a file.")

    monkeypatch.setattr(portaudio, "find_device", none)
    result = say("Hello.")
    assert result.exit_code == 1
    assert "-o FILE" in result.stderr and len(result.stderr.splitlines()) == 1


def test_interrupt_silences(say: Edgetts, heard: list[np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    from edgetts.audio.playback.buffered import BufferedSink

    aborted: list[bool] = []
    monkeypatch.setattr(BufferedSink, "drain", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
    abort = BufferedSink.abort
    monkeypatch.setattr(BufferedSink, "abort", lambda self: (aborted.append(True), abort(self))[1])
    result = say("Hello.")
    assert result.exit_code == 130
    assert aborted
