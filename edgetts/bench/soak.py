"""Soak test: resident memory of a process after each of many calls of varying length.

In: a pack, a voice, a number of calls and settings. Out: `Soak`. The calls run in a process of their own; texts and
seeds are the same in every run. Only memory matters: a call that ends without speech is counted. Linux only.

    python -m edgetts.bench.soak REQUEST      # JSON in, a line of JSON for each call out; `measure_soak` starts it
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetts.compute import Compute
from edgetts.errors import GenerationError, UsageError
from edgetts.options import SynthesisOptions
from edgetts.voices.voice import Voice

SETTLED_AFTER = 20  # calls: by then all networks were used and most buffers have their final size
MIN_CALLS = 2
MAX_WORDS = 12  # in a text; at least 1
WORDS = (
    "river",
    "house",
    "green",
    "music",
    "table",
    "stone",
    "happy",
    "paper",
    "window",
    "garden",
    "silver",
    "morning",
)
_MIN_S, _WORD_S = 0.4, 0.5  # seconds of speech allowed per text: an untrained model never stops by itself
_MIB = 1 << 20
_STATM = Path("/proc/self/statm")
_RESIDENT_PAGES = 1  # field of statm


@dataclass(frozen=True)
class Soak:
    """Resident memory (MiB) after loading and after each call, and the time of each call."""

    rss_mb: tuple[float, ...]  # one more than calls
    seconds: tuple[float, ...]  # of each call
    audio_s: tuple[float, ...]  # that each call made
    n_silent: int  # calls that ended without speech

    @property
    def n_calls(self) -> int:
        return len(self.seconds)

    @property
    def settled_at(self) -> int:
        """The call from which growth is counted."""
        return min(SETTLED_AFTER, max(1, self.n_calls // 2))

    @property
    def settled_mb(self) -> float:
        return self.rss_mb[self.settled_at]

    @property
    def end_mb(self) -> float:
        return self.rss_mb[-1]

    @property
    def growth_mb(self) -> float:
        return self.end_mb - self.settled_mb

    @property
    def calls_per_minute(self) -> float:
        return 60 * self.n_calls / sum(self.seconds)

    def to_json(self) -> dict[str, Any]:
        return {
            "calls": self.n_calls,
            "settled_at": self.settled_at,
            "settled_mb": self.settled_mb,
            "end_mb": self.end_mb,
            "growth_mb": self.growth_mb,
            "most_mb": max(self.rss_mb),
            "calls_per_minute": self.calls_per_minute,
            "silent_calls": self.n_silent,
            "rss_mb": list(self.rss_mb),
            "seconds": list(self.seconds),
            "audio_s": list(self.audio_s),
        }


def measure_soak(
    pack: Path,
    voice: Voice,
    options: SynthesisOptions,
    n_calls: int,
    folder: Path,
    *,
    device: str,
    compute: Compute,
    kernel: str,
    threads: int,
    memory_budget: int | None = None,
    progress: Callable[[float], None] = lambda _share: None,
) -> Soak:
    """Run the calls. folder: for the voice and for caches. Raises GenerationError with the process's last line."""
    if not sys.platform.startswith("linux"):
        raise UsageError(f"The soak test reads Linux's /proc, and this is {sys.platform}: leave soak= out.")
    request = {
        "pack": str(pack.absolute()),
        "voice": str(voice.save(folder / "soak-voice.safetensors")),
        "home": str(folder),
        "calls": n_calls,
        "options": {name: getattr(options, name) for name in options.__dataclass_fields__},
        "device": device,
        "compute": compute,
        "kernel": kernel,
        "threads": threads,
        "memory_budget": memory_budget,
    }
    command = [sys.executable, "-m", "edgetts.bench.soak", json.dumps(request)]
    environment = {**os.environ, "EDGETTS_HOME": str(folder)}
    records: list[Mapping[str, float]] = []
    errors = folder / "soak-errors.txt"  # not a pipe, which would fill up unread
    with (
        errors.open("wb") as stderr,
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=stderr) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                records.append(json.loads(line))
                progress((len(records) - 1) / n_calls)
        finally:
            process.kill()
    if len(records) != n_calls + 1:
        lines = errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise GenerationError(
            f"The soak ended after {max(0, len(records) - 1)} calls: {lines[-1] if lines else 'no message'}"
        )
    return Soak(
        rss_mb=tuple(each["rss_mb"] for each in records),
        seconds=tuple(each["seconds"] for each in records[1:]),
        audio_s=tuple(each["audio_s"] for each in records[1:]),
        n_silent=sum(each["audio_s"] == 0 for each in records[1:]),
    )


def texts(n_calls: int) -> list[str]:
    """Texts of 1 to 12 words, the same in every run."""
    drawn = random.Random(1)
    return [" ".join(drawn.choices(WORDS, k=drawn.randint(1, MAX_WORDS))) + "." for _ in range(n_calls)]


def _run(request: Mapping[str, Any]) -> None:
    import torch

    from edgetts.api import TTS

    torch.set_num_threads(request["threads"])
    tts = TTS.load(
        request["pack"],
        device=request["device"],
        home=Path(request["home"]),
        kernel=request["kernel"],
        compute=request["compute"],
        memory_budget=request["memory_budget"],
    )
    voice = tts.voice(Path(request["voice"]))
    code_rate = tts.engine.pipeline.config.code_rate
    _print_record(0.0, 0.0)
    for i, text in enumerate(texts(request["calls"])):
        n_codes = round((_MIN_S + _WORD_S * (text.count(" ") + 1)) * code_rate)
        options = {**request["options"], "seed": i, "guards": False, "max_codes": n_codes}
        started = time.perf_counter()
        try:
            audio_s = tts.say(text, voice, **options).seconds
        except GenerationError:  # no speech: the memory of the call counts anyway
            audio_s = 0.0
        _print_record(time.perf_counter() - started, audio_s)


def _print_record(seconds: float, audio_s: float) -> None:
    pages = int(_STATM.read_text(encoding="ascii").split()[_RESIDENT_PAGES])
    rss_mb = pages * os.sysconf("SC_PAGE_SIZE") / _MIB
    print(json.dumps({"rss_mb": rss_mb, "seconds": seconds, "audio_s": audio_s}), flush=True)


if __name__ == "__main__":
    _run(json.loads(sys.argv[1]))
