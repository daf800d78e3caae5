"""The PortAudio sink through the real library into a file: an ALSA device of `type file` over `type null`.

It plays without sound hardware, exactly, and as fast as it is served, so starving is its normal state:
what is silent (0) in the file is not speech, which has no 0 here. Each test is a process of its own,
since ALSA reads its configuration once.
"""

from __future__ import annotations

import ctypes.util
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[3]
TIMEOUT_S = 240

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ALSA is Linux's"),
    pytest.mark.skipif(
        importlib.util.find_spec("sounddevice") is None, reason="sounddevice is not installed: pip install '.[play]'"
    ),
    pytest.mark.skipif(
        ctypes.util.find_library("portaudio") is None, reason="PortAudio is not installed: apt install libportaudio2"
    ),
]

# The slave's format is pinned, so the file holds 16-bit samples. PortAudio's assertion that not every
# device is an ordinary one makes `default` needed; and it ignores devices that are named file or null.
CONFIGURATION = """
pcm.recorder {{
    type plug
    slave {{
        pcm {{ type file  slave.pcm {{ type null }}  file "{path}"  format "raw" }}
        format S16_LE
    }}
}}
pcm.default {{ type null }}
"""

PRELUDE = """
import gc, json, os, random, resource, sys, threading, time
import numpy as np
from edgetts.audio.playback.devices import list_devices
from edgetts.audio.playback.portaudio import PortAudioSink
from edgetts.errors import Cancelled

RATE = 22_050
recorded = sys.argv[1]
rng = np.random.default_rng(0)
pcm = rng.integers(1, 32_767, 6 * RATE).astype(np.int16) * rng.choice([-1, 1], 6 * RATE).astype(np.int16)
samples = (pcm / 32_767).astype(np.float32)

def heard():
    return np.fromfile(recorded, "<i2")
"""


def run(tmp_path: Path, program: str) -> dict[str, Any]:
    recorded = tmp_path / "recorded.raw"
    configuration = tmp_path / "asound.conf"
    configuration.write_text(CONFIGURATION.format(path=recorded), encoding="utf-8")
    environment = os.environ | {"ALSA_CONFIG_PATH": str(configuration), "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + program, str(recorded)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def test_what_was_played_is_what_was_said_sample_for_sample(tmp_path: Path) -> None:
    result = run(
        tmp_path,
        """
names = [device.name for device in list_devices()]
sink = PortAudioSink("recorder", prebuffer_s=10)  # all of it before the start: no silence in between
sink.open(RATE)
for chunk in np.array_split(samples, 23):
    sink.write(chunk)
sink.drain()
stats = sink.stats
sink.close()
played = heard()
first, last = np.flatnonzero(played)[[0, -1]]
print(json.dumps({
    "names": names,
    "equal": np.array_equal(played[first : last + 1], pcm),
    "underruns": stats.underruns,
    "rate": stats.sample_rate,
    "played": stats.played_samples,
    "tail": int(len(played) - last),
}))
""",
    )
    assert "recorder" in result["names"]
    assert result["equal"]
    assert (result["rate"], result["played"], result["underruns"]) == (22_050, 6 * 22_050, 0)


def test_a_starved_device_loses_and_repeats_nothing_and_drain_keeps_the_tail(tmp_path: Path) -> None:
    result = run(
        tmp_path,
        """
sink = PortAudioSink("recorder", prebuffer_s=0.05, capacity_s=1)
sink.open(RATE)
for utterance in np.array_split(samples, 3):
    for chunk in np.array_split(utterance, 5):
        sink.write(chunk)
    sink.drain()
stats = sink.stats
sink.close()
played = heard()
print(json.dumps({"equal": np.array_equal(played[played != 0], pcm), "rebuffers": stats.rebuffers}))
""",
    )
    assert result["equal"]
    assert result["rebuffers"] > 0  # the device is faster than any writer


def test_a_hundred_aborts_at_random_times_leave_nothing_behind(tmp_path: Path) -> None:
    result = run(
        tmp_path,
        """
os.nice(10)
random.seed(0)
sink = PortAudioSink("recorder", prebuffer_s=0, capacity_s=0.25)

def look():
    gc.collect()
    pages = int(open("/proc/self/statm").read().split()[1])
    return {
        "threads": len(os.listdir("/proc/self/task")),
        "files": len(os.listdir("/proc/self/fd")),
        "bytes": pages * resource.getpagesize(),
    }

cancelled = 0
slowest = 0.0
for turn in range(110):
    if turn == 10:  # the libraries have allocated what they keep
        before = look()
    if turn % 2:
        sink = PortAudioSink("recorder", prebuffer_s=0, capacity_s=0.25)
    sink.open(RATE)
    asked = []
    def stop():
        asked.append(time.monotonic())
        sink.abort()
    timer = threading.Timer(random.uniform(0, 0.03), stop)
    timer.start()
    try:
        while True:
            sink.write(samples)
            sink.drain()
    except Cancelled:
        cancelled += 1
    timer.join()
    slowest = max(slowest, time.monotonic() - asked[0])
    if turn % 2 == 0:
        sink.close()
    else:
        sink.open(RATE)  # again, and closed without a sound
        sink.close()
    if os.path.exists(recorded):
        os.truncate(recorded, 0)
print(json.dumps({"cancelled": cancelled, "slowest": slowest, "before": before, "after": look()}))
""",
    )
    print(result)
    assert result["cancelled"] == 110
    assert result["after"]["threads"] == result["before"]["threads"]
    assert result["after"]["files"] == result["before"]["files"]
    assert result["after"]["bytes"] - result["before"]["bytes"] < 4 << 20
