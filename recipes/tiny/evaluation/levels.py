"""Measures output levels: consistency between sentences and voices, noise in pauses, clicks.

In: a pack and the sentences of `sentences.txt`. Out: JSON. Each sentence gives the speech level (RMS of the louder
frames), the level of the quietest frames (pauses and ends), the largest step between samples in pauses (clicks), the
larger of the first and last sample, and the peak. The summary has the mean and spread of the speech level by voice, the
mean distance from the speech level to the quiet level, and the worst edges, clicks and peaks.

    python -m recipes.tiny.evaluation.levels [--pack PACK] [--voices DIR] [--limit 24] [--json FILE]

The ready voices speak, or with `--voices` those that the pack learns from its recordings.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgetts import TTS
from edgetts.audio.level import FRAME_SECONDS, decibels, frame_levels, speech_level_db
from edgetts.voices.voice import Voice
from recipes.tiny.evaluation.evaluate import SENTENCES, recordings_in
from recipes.tiny.evaluation.sound_metrics import Wave

QUIET_SHARE = 0.05  # of the frames, for the quiet level
PAUSE_RANGE_DB = 45.0  # frames further below the speech level are pauses


def levels(waveform: Wave, rate: int) -> dict[str, float]:
    """`speech`, `quiet`, `edges`, `click` and `peak` in dB relative to full scale; `click` is nan without pauses.

    Raises ValueError for less than ten frames.
    """
    found = frame_levels(waveform, rate)
    n = len(found)
    if n < 10:
        raise ValueError(f"{len(waveform)} samples are too few for levels")
    frames = waveform[: n * round(FRAME_SECONDS * rate)].astype(np.float64).reshape(n, -1)
    speech = speech_level_db(waveform, rate)
    quiet = np.sort(found)[: max(1, int(QUIET_SHARE * n))]
    pauses = found < 10 ** ((speech - PAUSE_RANGE_DB) / 20)
    steps = np.abs(np.diff(frames[pauses], axis=1))
    return {
        "speech": speech,
        "quiet": decibels(float(np.sqrt((quiet**2).mean()))),
        "edges": decibels(float(max(abs(waveform[0]), abs(waveform[-1])))),
        "click": decibels(float(steps.max())) if steps.size else float("nan"),
        "peak": decibels(float(np.abs(waveform).max())),
    }


def summary(rows: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Mean and spread of the speech level by voice; over all voices the mean quiet level and worst edges and clicks."""
    everything = [row for voice in rows.values() for row in voice]
    means = {voice: statistics.fmean(r["speech"] for r in part) for voice, part in rows.items()}
    return {
        "voices": {
            voice: {"speech": means[voice], "spread": statistics.pstdev(r["speech"] for r in part)}
            for voice, part in rows.items()
        },
        "between_voices": max(means.values()) - min(means.values()),
        "quiet_below_speech": float(np.mean([r["speech"] - r["quiet"] for r in everything])),
        "worst": {
            name: float(np.nanmax([r[name] for r in everything] + [decibels(0.0)]))
            for name in ("edges", "click", "peak")
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", default=None, help="pack folder (default: as `edgetts say` finds it)")
    parser.add_argument("--voices", type=Path, default=None, help="folder with recordings of voices to learn and use")
    parser.add_argument("--limit", type=int, default=24, help="number of sentences; the voices alternate")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows: dict[str, list[dict[str, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as home:
        tts = TTS.load(args.pack, device="cpu", home=Path(home) if args.pack else None)
        voices: dict[str, str | Voice] = {name: name for name in tts.ready_voices()}
        if args.voices is not None:
            voices = {name: tts.enroll(path, name=name) for name, path in recordings_in(args.voices).items()}
        names = list(voices)
        for k, sentence in enumerate(SENTENCES.read_text(encoding="utf-8").splitlines()[: args.limit]):
            name = names[k % len(names)]
            rows[name].append(levels(tts.say(sentence, voices[name], seed=k).samples, tts.sample_rate))
    found = summary(rows)
    print(json.dumps(found, indent=1))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
