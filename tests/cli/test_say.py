"""`edgetts say` on the mini pack: every way out, the voice cache, and what JSON says."""

from __future__ import annotations

import dataclasses
import io
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from helpers.command import Edgetts

from edgetts.request import SpeechRequest
from edgetts.voices.voice import Voice

QUICK = ("--greedy", "--beams", 1, "--max-codes", 12, "--steps", 1, "--no-guards", "--seed", 7)


@pytest.fixture
def say(edgetts: Edgetts, mini_pack: Path, voice_file: Path, monkeypatch: pytest.MonkeyPatch) -> Edgetts:
    monkeypatch.setenv("EDGETTS_PACK", str(mini_pack))
    monkeypatch.setenv("EDGETTS_VOICE", str(voice_file))

    def run(*arguments: object, input: str | bytes | None = None) -> object:
        return edgetts("say", *arguments, *QUICK, input=input)

    return run


def names(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir() if p.is_file()}


def test_json_and_file(say: Edgetts, tmp_path: Path) -> None:
    out = tmp_path / "out.wav"
    result = say("Hello world.", "-o", out, "--json")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    about = json.loads(result.stdout)
    samples, rate = soundfile.read(out)
    assert about["file"] == str(out)
    assert about["format"] == "wav"
    assert about["sample_rate"] == rate == 22_050
    assert about["seconds"] == pytest.approx(len(samples) / rate, abs=1e-3)
    assert about["seed"] == 7
    assert about["rtf"] > 0
    (segment,) = about["segments"]
    assert 0 == segment["start"] < segment["end"] <= about["seconds"]
    assert segment["codes"] <= 12
    assert about["retries"] == 0
    assert isinstance(about["notices"], list)
    assert names(tmp_path) == {"out.wav", "mini.safetensors"}


def test_a_memory_budget_is_kept_or_refused(say: Edgetts, tmp_path: Path) -> None:
    out = tmp_path / "out.wav"
    result = say("Hello world.", "-o", out, "--device", "cpu", "--memory-budget", "1M")
    assert result.exit_code == 2 and not out.exists() and "`edgetts quantize`" in result.stderr
    result = say("Hello world.", "-o", out, "--device", "cpu", "--memory-budget", "64G", "--json")
    assert result.exit_code == 0, result.stderr
    assert out.exists() and not any("memory" in notice for notice in json.loads(result.stdout)["notices"])


def test_same_seed_same_bytes_by_every_way(say: Edgetts, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("Hello world.")
    wav = tmp_path / "a.wav"
    result = say("-f", text, "-o", wav)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    assert all(line.startswith("note: ") for line in result.stderr.splitlines())

    streamed = say("-", "-o", "-", "--quiet", input="Hello world.")
    assert streamed.exit_code == 0, streamed.stderr
    assert streamed.stderr == ""
    assert streamed.stdout_bytes[4:8] == b"\xff\xff\xff\xff"
    assert streamed.stdout_bytes[44:] == wav.read_bytes()[44:]

    raw = say("Hello world.", "--raw", "--quiet")
    assert raw.stdout_bytes == wav.read_bytes()[44:]
    assert raw.stderr == ""
    told = say("Hello world.", "--raw")
    assert told.stdout_bytes == raw.stdout_bytes and "raw PCM: s16le, 22050 Hz, mono\n" in told.stderr

    flac = say("Hello world.", "-o", "-", "--format", "flac")
    samples, _ = soundfile.read(io.BytesIO(flac.stdout_bytes), dtype="int16")
    assert np.array_equal(samples, soundfile.read(wav, dtype="int16")[0])


def test_interrupt_leaves_no_file(say: Edgetts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgetts.api import TTS

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(TTS, "start", interrupted)
    result = say("Hello world.", "-o", tmp_path / "out.wav")
    assert result.exit_code == 130
    assert names(tmp_path) == {"mini.safetensors"}


def test_a_file_is_written_segment_by_segment_and_whole_or_not_at_all(
    say: Edgetts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgetts.audio.writer import SoundWriter
    from edgetts.streaming.session import Session

    out, order = tmp_path / "out.wav", []
    write, sound = SoundWriter.write, Session._sound

    def noted_write(self: SoundWriter, samples: Any) -> None:
        order.append("written")
        assert not out.exists()
        write(self, samples)

    def noted_sound(self: Session, spoken: Any, index: int) -> None:
        if index:  # the one before is in the file by the time that this one is made
            end = time.monotonic() + 60
            while order.count("written") < index and time.monotonic() < end:
                time.sleep(0.01)
        order.append("made")
        sound(self, spoken, index)

    monkeypatch.setattr(SoundWriter, "write", noted_write)
    monkeypatch.setattr(Session, "_sound", noted_sound)
    text = "One two three. Four five six. Seven eight nine. " * 2
    result = say(text, "-o", out, "--max-segment-tokens", 20)
    assert result.exit_code == 0, result.stderr
    written_before = [order[:i].count("written") for i, what in enumerate(order) if what == "made"]
    assert len(written_before) > 2 and out.exists()
    assert all(n >= index for index, n in enumerate(written_before))

    def interrupted(self: SoundWriter, samples: Any) -> None:
        raise KeyboardInterrupt

    out.unlink()
    monkeypatch.setattr(SoundWriter, "write", interrupted)
    assert say(text, "-o", out).exit_code == 130
    assert names(tmp_path) == {"mini.safetensors"}


def test_nothing_to_say(say: Edgetts, tmp_path: Path) -> None:
    for text in ("", " \n\t"):
        result = say("-", "-o", tmp_path / "out.wav", input=text)
        assert result.exit_code == 2
        assert "nothing to speak" in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_voice_of_another_pack(
    say: Edgetts, mini_voice: Voice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = dataclasses.replace(mini_voice, encoder_id="f" * 64).save(tmp_path / "other.safetensors")
    result = say("Hello.", "-v", other, "-o", tmp_path / "out.wav")
    assert result.exit_code == 1
    assert "other encoders" in result.stderr


def test_recording_is_enrolled_once(
    say: Edgetts, mini_voice: Voice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgetts.audio.io import Take

    calls: list[str] = []

    def learn(_pack: object, recording: Take, *_: object, **__: object) -> Voice:
        calls.append(recording.name)
        return mini_voice

    monkeypatch.setattr("edgetts.voices.learning.learn", learn)
    samples, rate = soundfile.read(Path(__file__).parents[1] / "data" / "speech.ogg")
    first, copy, other = (tmp_path / n for n in ("first.wav", "copy.wav", "other.wav"))
    for path, level in ((first, 1.0), (copy, 1.0), (other, 0.5)):
        soundfile.write(path, level * samples, rate)
    for path in (first, first, copy, other):
        result = say("Hello.", "-v", path, "-o", tmp_path / "out.wav")
        assert result.exit_code == 0, result.stderr
    assert calls == [str(first), str(other)], "by content, not by name"


@pytest.mark.parametrize("flags", [("--adapt-steps", 3), ("--match-spectrum",), ("--no-match-spectrum",)])
def test_learning_otherwise_needs_a_recording(
    say: Edgetts, edgetts: Edgetts, mini_voice: Voice, tmp_path: Path, flags: tuple[object, ...]
) -> None:
    file = mini_voice.save(tmp_path / "a voice.safetensors")
    for result in (
        say("Hello.", *flags, "-o", tmp_path / "out.wav"),
        say("Hello.", "-v", file, *flags, "-o", tmp_path / "out.wav"),
        edgetts("voices", "add", "anna", file, *flags),
    ):
        assert result.exit_code == 2 and "is an enrolled voice" in result.stderr
        assert str(flags[0]).removeprefix("--no-").removeprefix("--") in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_emotion_changes_the_speech(say: Edgetts, mini_voice: Voice, tmp_path: Path) -> None:
    plain, moved = tmp_path / "plain.wav", tmp_path / "moved.wav"
    # The mini GPT is narrower than the emotion matrix, so weights cannot be tried here: a recording can.
    other = dataclasses.replace(mini_voice, emotion_vector=-5 * mini_voice.emotion_vector)
    file = other.save(tmp_path / "other.safetensors")
    assert say("Hello.", "-o", plain).exit_code == 0
    result = say("Hello.", "-o", moved, "--emotion-voice", file, "--emotion-alpha", 1.5)
    assert result.exit_code == 0, result.stderr
    assert plain.read_bytes() != moved.read_bytes()


def test_weights_reach_the_api(say: Edgetts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgetts.api import TTS
    from edgetts.errors import GenerationError
    from edgetts.voices.emotion import Emotion

    seen: list[dict[str, object]] = []

    def note(self: TTS, request: SpeechRequest, **_: object) -> None:
        given = {field.name: getattr(request, field.name) for field in dataclasses.fields(request)}
        seen.append({**given.pop("options"), **given})
        raise GenerationError("Enough.")

    monkeypatch.setattr(TTS, "start", note)
    glossary = tmp_path / "glossary.yaml"
    glossary.write_text("GPU: gee pee you\n")
    emotion = ("-e", "happy=0.8,sad=0.1", "--emotion-alpha", 0.9, "--emotion-cap")
    knobs = ("--length-penalty", 1, "--repetition-penalty", 2, "--cfg-rate", 0, "--solver", "heun", "--markup",
             "--normalizer", "upstream")  # fmt: skip
    result = say("Hello.", "-o", tmp_path / "a.wav", *emotion, *knobs, "--glossary", glossary)
    assert result.stderr.endswith("edgetts: Enough.\n")
    (given,) = seen
    assert given.pop("emotion") == Emotion({"happy": 0.8, "sad": 0.1}, alpha=0.9, cap=True)
    assert given.pop("glossary") is not None
    assert str(given.pop("voice")).endswith(".safetensors")
    assert given == {
        "text": "Hello.",
        "dtype": "float32",
        "chunks": "whole",
        "markup": True,
        "normalizer": "upstream",
        "markdown": False,
        "do_sample": False,
        "n_beams": 1,
        "max_codes": 12,
        "n_steps": 1,
        "guards": False,
        "seed": 7,
        "length_penalty": 1.0,
        "repetition_penalty": 2.0,
        "cfg_rate": 0.0,
        "solver": "heun",
    }


def test_info(edgetts: Edgetts, mini_pack: Path) -> None:
    result = edgetts("info", mini_pack)
    assert result.exit_code == 0, result.stderr
    assert "22050 Hz" in result.stdout
    about = json.loads(edgetts("info", mini_pack, "--json").stdout)
    assert about["family"] == "indextts-2"
    assert about["builtin"] is False
    assert about["components"]["gpt"]["phase"] == ["run"]
    assert about["components"]["quantizer"]["phase"] == ["enroll", "run"]
    assert about["components"]["gpt"]["parameters"] > 1_000_000


def test_info_of_a_torn_pack(edgetts: Edgetts, mini_pack: Path, tmp_path: Path) -> None:
    import shutil

    pack = tmp_path / "torn"
    shutil.copytree(mini_pack, pack)
    (pack / "gpt.safetensors").write_bytes(b"\xff" * 100)
    result = edgetts("info", pack)
    assert result.exit_code == 1
    assert "gpt.safetensors" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_an_unknown_voice_is_told_those_of_the_pack(edgetts: Edgetts, tmp_path: Path) -> None:
    result = edgetts("say", "Hi.", "--voice", "nobody", "-o", tmp_path / "a.wav", "--device", "cpu")
    assert result.exit_code == 1 and "af_heart" in result.stderr and "none yet" not in result.stderr
    result = edgetts("say", "Hi.", "--voice", "af_hart", "-o", tmp_path / "a.wav", "--device", "cpu")
    assert "did you mean 'af_heart'?" in result.stderr


def test_words_without_quotes_are_one_text(say: Edgetts, tmp_path: Path) -> None:
    quoted, bare, piped = (tmp_path / f"{name}.wav" for name in ("quoted", "bare", "piped"))
    assert say("Hello world, again.", "-o", quoted).exit_code == 0
    assert say("Hello", "world,", "again.", "-o", bare).exit_code == 0
    assert say("-o", piped, input="Hello world, again.").exit_code == 0
    assert quoted.read_bytes() == bare.read_bytes() == piped.read_bytes()


@pytest.mark.parametrize("way", [(), ("--raw",), ("--format", "flac")])
def test_standard_output_that_is_a_file_gets_what_a_file_gets(
    way: tuple[str, ...], home: Path, mini_pack: Path, voice_file: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "edgetts", "say", "Hello world.", *map(str, QUICK), "--quiet"]
    command += ["--pack", str(mini_pack), "--voice", str(voice_file)]
    suffix = {"--raw": ".pcm", "--format": ".flac"}.get(way[0] if way else "", ".wav")
    written = tmp_path / f"written{suffix}"
    subprocess.run([*command, "-o", str(written)], check=True)
    redirected = tmp_path / "redirected"
    with redirected.open("wb") as file:
        subprocess.run([*command, *way, *(() if "--raw" in way else ("-o", "-"))], stdout=file, check=True)
    assert redirected.read_bytes() == written.read_bytes()


def test_the_demonstration_model_is_told_of_once(edgetts: Edgetts, tmp_path: Path) -> None:
    def said(*more: object) -> int:
        result = edgetts("say", "Hello.", "-o", tmp_path / "a.wav", "--steps", 1, *more)
        assert result.exit_code == 0, result.stderr
        return result.stderr.count("built-in demonstration model")

    assert said("--quiet") == 0  # nobody was told
    assert said() == 1
    assert said() == 0
