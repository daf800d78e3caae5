"""The notice of a slow machine is printed once: before playback where it is known by then, else after it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from helpers.command import Edgetts

from edgetts.audio.playback.simulated import SimulatedClock, SimulatedSink
from edgetts.cli.say import live
from edgetts.streaming.latency import LatencyModel
from edgetts.streaming.schedule import LatencyEstimator

SLOW = "Speech is estimated to take 2.0 times its length here"
OPTIONS = ("--greedy", "--beams", 1, "--max-codes", 40, "--steps", 1, "--seed", 7, "--no-guards", "--chunks", "18")


def played(edgetts: Edgetts, monkeypatch: pytest.MonkeyPatch, known: list[bool]) -> str:
    """What `edgetts say` prints to stderr, with a mark where playback starts. known: whether the estimate is there,
    each time it is asked for; the last one goes on."""

    def rtf(self: LatencyEstimator, context: int) -> float | None:
        return 2.0 if (known.pop(0) if len(known) > 1 else known[0]) else None

    def output_chunks(*arguments: object) -> int:
        print("starts", file=sys.stderr)
        return really(*arguments)

    really = live.output_chunks
    monkeypatch.setattr(LatencyEstimator, "rtf", rtf)
    monkeypatch.setattr(LatencyModel, "save", lambda self, path: None)
    monkeypatch.setattr(live, "output_chunks", output_chunks)
    monkeypatch.setattr(live, "open_sink", lambda device: SimulatedSink(SimulatedClock(), lambda block: None))
    result = edgetts("say", "Hello there.", *OPTIONS)
    assert result.exit_code == 0, result.stderr
    lines = result.stderr.replace("note: ", "").splitlines()
    return " | ".join("slow" if line.startswith(SLOW) else line for line in lines if line.startswith((SLOW, "starts")))


@pytest.fixture(autouse=True)
def mini(edgetts: Edgetts, mini_pack: Path, voice_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGETTS_PACK", str(mini_pack))
    monkeypatch.setenv("EDGETTS_VOICE", str(voice_file))


@pytest.mark.parametrize(
    ("known", "printed"),
    [
        ([True], "slow | starts"),
        ([False, True], "starts | slow"),
        ([False, False, True], "starts | slow"),
        ([False], "starts"),
    ],
)
def test_it_is_printed_once(edgetts: Edgetts, monkeypatch: pytest.MonkeyPatch, known: list[bool], printed: str) -> None:
    assert played(edgetts, monkeypatch, list(known)) == printed
