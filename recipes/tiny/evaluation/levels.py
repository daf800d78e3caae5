"""Measures output levels: consistency between sentences and voices, noise in pauses, clicks.

In: a pack and the sentences of `sentences.txt`. Out: JSON. Each sentence gives the speech level (RMS of the louder
frames), the level of the quietest frames (pauses and ends), the largest step between samples in pauses (clicks), and
the larger of the first and last sample. The summary has the mean and spread of the speech level by voice, the mean
distance from the speech level to the quiet level, and the worst edges and clicks.

    python -m recipes.tiny.evaluation.levels [--pack PACK] [--limit 24] [--json FILE]
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
from recipes.tiny.evaluation.evaluate import SENTENCES
from recipes.tiny.evaluation.sound_metrics import Wave

FRAME_S = 0.02
SPEECH_RANGE_DB = 25.0  # frames further below the loudest are not speech
QUIET_SHARE = 0.05  # of the frames, for the quiet level
PAUSE_RANGE_DB = 45.0  # frames further below the speech level are pauses
FLOOR = 1e-6  # of amplitudes; -120 dB


def decibels(amplitude: float) -> float:
    """Level relative to full scale, at least -120 dB."""
    return float(20 * np.log10(max(amplitude, FLOOR)))


def levels(waveform: Wave, rate: int) -> dict[str, float]:
    """`speech`, `quiet`, `edges` and `click` in dB relative to full scale; `click` is nan without pauses.

    Raises ValueError for less than ten frames.
    """
    size = round(FRAME_S * rate)
    n = len(waveform) // size
    if n < 10:
        raise ValueError(f"{len(waveform)} samples are too few for levels")
    frames = waveform[: n * size].astype(np.float64).reshape(n, size)
    found = np.maximum(np.sqrt((frames**2).mean(1)), FLOOR)
    loud = found >= found.max() * 10 ** (-SPEECH_RANGE_DB / 20)
    speech = float(np.sqrt((found[loud] ** 2).mean()))
    quiet = np.sort(found)[: max(1, int(QUIET_SHARE * n))]
    pauses = found < speech * 10 ** (-PAUSE_RANGE_DB / 20)
    steps = np.abs(np.diff(frames[pauses], axis=1))
    return {
        "speech": decibels(speech),
        "quiet": decibels(float(np.sqrt((quiet**2).mean()))),
        "edges": decibels(float(max(abs(waveform[0]), abs(waveform[-1])))),
        "click": decibels(float(steps.max())) if steps.size else float("nan"),
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
            name: float(np.nanmax([r[name] for r in everything] + [decibels(0.0)])) for name in ("edges", "click")
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", default=None, help="pack folder (default: as `edgetts say` finds it)")
    parser.add_argument("--limit", type=int, default=24, help="number of sentences; the ready voices alternate")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows: dict[str, list[dict[str, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as home:
        tts = TTS.load(args.pack, device="cpu", home=Path(home) if args.pack else None)
        voices = list(tts.ready_voices())
        for k, sentence in enumerate(SENTENCES.read_text(encoding="utf-8").splitlines()[: args.limit]):
            voice = voices[k % len(voices)]
            rows[voice].append(levels(tts.say(sentence, voice, seed=k).samples, tts.sample_rate))
    found = summary(rows)
    print(json.dumps(found, indent=1))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
