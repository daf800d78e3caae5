"""Forks: a child of a process that loaded networks gets one sentence wherever it asks for speech, and never hangs."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.voices import golden_voice

pytestmark = pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
LIMIT_S = 240

# Every script gets PACK, VOICE and HOME; `in_child` runs a function in a fork and returns what it returned or raised.
COMMON = """
import asyncio, hashlib, json, multiprocessing, os, sys, threading
from pathlib import Path
import torch
from edgetts import TTS
from edgetts.errors import UsageError
from edgetts.voices.voice import Voice
from edgetts.voices.speaker import make_speaker
PACK, VOICE, HOME = map(Path, sys.argv[1:4])
torch.set_num_threads(2)
QUICK = {"n_beams": 1, "n_steps": 2, "max_codes": 45, "guards": False, "seed": 3}

def load():
    return TTS.load(PACK, device="cpu", home=HOME)

def digest(tts):
    return hashlib.sha256(tts.say("One two three.", Voice.load(VOICE), **QUICK).samples.tobytes()).hexdigest()

def attempt(work):
    try:
        return repr(work())
    except UsageError as error:
        return f"UsageError: {error}"

def in_child(work, seconds=60):
    receiver, sender = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=lambda: sender.send(attempt(work)))
    child.start()
    try:
        return receiver.recv() if receiver.poll(seconds) else "hangs"
    finally:
        child.kill()
        child.join()
"""

AFTER_SPEECH = """
tts = load()
digest(tts)
voice = Voice.load(VOICE)

async def first(text):
    async for chunk in tts.astream(text, voice, **QUICK):
        return len(chunk.samples)

print(json.dumps({
    "say": in_child(lambda: digest(tts)),
    "stream": in_child(lambda: next(tts.stream("One.", voice, **QUICK))),
    "pieces": in_child(lambda: next(tts.stream(iter(["One. ", "Two."]), voice, **QUICK))),
    "astream": in_child(lambda: asyncio.run(first("One."))),
    "asay": in_child(lambda: asyncio.run(tts.asay("One.", voice, **QUICK))),
    "enroll": in_child(lambda: tts.enroll(HOME / "missing.wav")),
    "engine": in_child(lambda: tts.engine),
    "pipeline": in_child(lambda: tts.pipeline),
    "kept_pipeline": in_child(lambda p=tts.pipeline: make_speaker(p.networks, voice)),
    "another_pack": in_child(lambda: digest(load())),
    "grandchild": in_child(lambda: in_child(lambda: digest(tts))),
    "parent": attempt(lambda: len(digest(tts))),
}))
"""

OPEN_STREAMS = """
tts = load()
voice = Voice.load(VOICE)
stream = tts.stream(iter(["One two three. ", "Four five six. "]), voice, **QUICK)
next(stream)
state = stream._state
held, go = threading.Event(), threading.Event()

def hold():
    with tts._loading, state.changed:
        held.set()
        go.wait()

async def halves():
    opened = tts.astream("One two three. Four five six.", voice, **QUICK)
    await opened.__anext__()
    fails = in_child(lambda: asyncio.run(ask(opened)))
    await opened.aclose()
    return fails

async def ask(opened):
    try:
        await opened.__anext__()
    finally:
        await opened.aclose()

found = {"async": asyncio.run(halves())}
holder = threading.Thread(target=hold)
holder.start()
held.wait()
found["next"] = in_child(lambda: next(stream))
found["ready"] = in_child(lambda: stream.take_ready())
found["spoken"] = in_child(lambda: stream.segments)
found["notices"] = in_child(lambda: stream.notices)
found["say"] = in_child(lambda: digest(tts))
found["engine"] = in_child(lambda: tts.engine)
found["close"] = in_child(lambda: (stream.close(), tts.close()))
go.set()
holder.join()
found["parent"] = sum(len(chunk.samples) for chunk in stream) > 0
print(json.dumps(found))
"""

# Threads of a stream must not be waited for when a plain fork ends, either: finalizers run then.
PLAIN_FORK = """
tts = load()
stream = tts.stream("One two three. Four five six.", Voice.load(VOICE), **QUICK)
next(stream)
child = os.fork()
if child == 0:
    sys.exit(7)
_, status = os.waitpid(child, 0)
print(json.dumps({"status": os.waitstatus_to_exitcode(status), "rest": sum(len(c.samples) for c in stream) > 0}))
"""

BEFORE_LOADING = """
tts = load()
tts.frontend()
child = in_child(lambda: digest(tts))
print(json.dumps({"child": child, "parent": attempt(lambda: digest(tts))}))
"""


def voice_file(pack: Path, folder: Path) -> Path:
    voice = golden_voice(pack)
    apart = dataclasses.replace(voice, emotion_base=voice.emotion_base.clone())  # a file holds no tensor twice
    return apart.save(folder / "voice.safetensors")


def run(script: str, pack: Path, tmp_path: Path) -> dict[str, object]:
    voice = voice_file(pack, tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", COMMON + script, str(pack), str(voice), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def is_told(found: object) -> bool:
    return isinstance(found, str) and found.startswith("UsageError: ") and 'get_context("spawn")' in found


def test_after_speech_every_way_to_ask_says_so(mini_pack: Path, tmp_path: Path) -> None:
    found = run(AFTER_SPEECH, mini_pack, tmp_path)
    assert found.pop("parent") == "64"  # the process that loaded goes on
    assert is_told(str(found.pop("grandchild")).strip("'\""))
    assert {name: told for name, told in found.items() if not is_told(told)} == {}
    assert len(found) == 10


def test_streams_and_locks_that_were_open_at_the_fork(mini_pack: Path, tmp_path: Path) -> None:
    found = run(OPEN_STREAMS, mini_pack, tmp_path)
    assert found.pop("parent") is True
    assert found.pop("close") == "(None, None)"
    assert {name: told for name, told in found.items() if not is_told(told)} == {}
    assert len(found) == 7


def test_a_plain_fork_ends_although_a_stream_is_open(mini_pack: Path, tmp_path: Path) -> None:
    assert run(PLAIN_FORK, mini_pack, tmp_path) == {"status": 7, "rest": True}


def test_a_fork_before_networks_are_loaded_speaks(mini_pack: Path, tmp_path: Path) -> None:
    found = run(BEFORE_LOADING, mini_pack, tmp_path)
    assert found["child"] == found["parent"] and not str(found["child"]).startswith("UsageError")


def _speak(pack: Path, voice: Path, home: Path) -> int:
    from edgetts import TTS

    options = {"n_beams": 1, "n_steps": 2, "max_codes": 45, "guards": False, "seed": 3}
    return len(TTS.load(pack, device="cpu", home=home).say("One two three.", voice, **options).samples)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_other_ways_to_start_a_process_speak(method: str, mini_pack: Path, tmp_path: Path) -> None:
    voice = voice_file(mini_pack, tmp_path)
    here = _speak(mini_pack, voice, tmp_path)
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply_async(_speak, (mini_pack, voice, tmp_path)).get(LIMIT_S) == here > 0
