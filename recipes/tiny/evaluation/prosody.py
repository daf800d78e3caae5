"""Measures intonation, pauses and speaking rate.

In: a pack, and optionally the teacher's corpus. Out, as JSON: the pitch rise at the end of the same words as statement,
question and exclamation, in semitones relative to the rest of the sentence; the longest silence inside sentences with
and without a comma, and the silence at the end of sentences; letters per second of each sentence of a paragraph. For
the teacher's corpus, the same metrics of sentences with these punctuation marks, except silence at the end.

    python -m recipes.tiny.evaluation.prosody [--pack PACK] [--teacher CORPUS] [--limit 80] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import torch

from edgetts import TTS
from edgetts.audio.io import resample
from recipes.tiny import dims
from recipes.tiny.corpus.pitch import pitch_of
from recipes.tiny.evaluation.sound_metrics import Wave

WORDS = (
    "You are coming with us tonight",
    "They finished all of the work",
    "She knows the way home",
    "It was raining in the morning",
    "He has never been to the city",
    "We can leave the window open",
    "The store is closed on Monday",
    "Your brother lives near the station",
)
COMMAS = (
    ("When the rain stopped, we went outside.", "When the rain stopped we went outside."),
    ("If you are tired, take a short break.", "If you are tired take a short break."),
    ("After the long meeting, everyone went home.", "After the long meeting everyone went home."),
    ("Before you go, please close the door.", "Before you go please close the door."),
)
PARAGRAPH = (
    "The small shop at the corner opens early in the morning. An old man sells bread and fresh milk there. "
    "He knows all of his customers by name. On cold days he gives them a cup of hot tea. "
    "Children stop by on their way to school. In the afternoon it is quiet and he reads a book. "
    "When the evening comes he cleans the floor. Then he turns off the light and walks home."
)
MARKS = {"statement": ".", "question": "?", "exclamation": "!"}
END_S = 0.3  # of voiced sound at the end; the pitch of its second half is compared
FRAME_S = 0.01
SILENT_DB = -35.0  # relative to the loud level
LOUD_SHARE = 0.95  # quantile of the frame levels that is the loud level


def rise(waveform: Wave) -> float:
    """Pitch rise in semitones at the end of the voiced sound; nan if too little is voiced.

    It compares the median of the second half of the last `END_S` with the median of everything before `END_S`.
    """
    pitch = pitch_of(waveform)
    voiced = pitch[pitch > 0]
    n = round(END_S * dims.SAMPLE_RATE / dims.HOP)
    if len(voiced) < 2 * n:
        return float("nan")
    return float(12 * np.log2(np.median(voiced[-n // 2 :]) / np.median(voiced[:-n])))


def silences(waveform: Wave, rate: int = dims.SAMPLE_RATE) -> tuple[float, float]:
    """Seconds of the longest silence inside the speech, and of the silence at the end."""
    size = round(FRAME_S * rate)
    frames = waveform[: len(waveform) // size * size].astype(np.float64).reshape(-1, size)
    level = 10 * np.log10((frames**2).mean(1) + 1e-12)
    sound = np.flatnonzero(level > np.quantile(level, LOUD_SHARE) + SILENT_DB)
    if len(sound) == 0:
        return 0.0, len(waveform) / rate
    longest = int(np.diff(sound).max(initial=1)) - 1
    return longest * FRAME_S, (len(level) - 1 - int(sound[-1])) * FRAME_S


def letters_per_second(text: str, seconds: float) -> float:
    return sum(c.isalpha() for c in text) / seconds


def quartiles(values: Iterable[float]) -> dict[str, float]:
    """Median and quartiles without nan, and the number of values."""
    known = np.array([v for v in values if np.isfinite(v)])
    low, mid, high = np.quantile(known, (0.25, 0.5, 0.75)) if len(known) else (np.nan,) * 3
    return {"low": round(float(low), 3), "median": round(float(mid), 3), "high": round(float(high), 3), "n": len(known)}


def spoken(tts: TTS) -> dict[str, Any]:
    """All metrics of a pack; each ready voice reads each text."""
    rises: dict[str, list[float]] = defaultdict(list)
    pauses: dict[str, list[float]] = defaultdict(list)
    paces, spreads = [], []
    for k, voice in enumerate(tts.ready_voices()):
        for i, words in enumerate(WORDS):
            for kind, mark in MARKS.items():
                made = tts.say(words + mark, voice, seed=100 * k + i).samples
                rises[kind].append(rise(made))
                pauses["end"].append(silences(made)[1])
        for i, (with_comma, without) in enumerate(COMMAS):
            for kind, text in (("comma", with_comma), ("no comma", without)):
                pauses[kind].append(silences(tts.say(text, voice, seed=100 * k + i).samples)[0])
        stream = tts.stream(PARAGRAPH, voice, seed=k, chunks="whole")
        for _ in stream:
            pass
        pace = [letters_per_second(s.queued.text, (s.end - s.start) / tts.sample_rate) for s in stream.segments]
        paces += pace
        spreads.append(statistics.stdev(pace) / statistics.fmean(pace))
    return {
        "rise": {kind: quartiles(values) for kind, values in rises.items()},
        "silence_s": {kind: quartiles(values) for kind, values in pauses.items()},
        "letters_per_second": quartiles(paces),
        "spread_of_pace_in_a_paragraph": quartiles(spreads),
    }


def recorded(teacher: Path, limit: int) -> dict[str, Any]:
    """The same metrics of the teacher's first recordings of each kind, at most `limit`."""
    rises: dict[str, list[float]] = defaultdict(list)
    pauses: dict[str, list[float]] = defaultdict(list)
    paces = []
    for line in (teacher / "metadata.tsv").read_text(encoding="utf-8").splitlines():
        name, _, speed, _, _, text = line.split("\t")
        kind = next((k for k, mark in MARKS.items() if text.endswith(mark)), None)
        commas = "comma" if text.count(",") == 1 else "no comma" if not text.count(",") else None
        if kind is None or (len(rises[kind]) >= limit and (commas is None or len(pauses[commas]) >= limit)):
            continue
        samples, rate = sf.read(teacher / "wav" / f"{name}.ogg", dtype="float32")
        samples = resample(samples, rate, dims.SAMPLE_RATE)
        if len(rises[kind]) < limit:
            rises[kind].append(rise(samples))
        if commas is not None and len(pauses[commas]) < limit:
            pauses[commas].append(silences(samples)[0])
            paces.append(letters_per_second(text, len(samples) / dims.SAMPLE_RATE) / float(speed))
    return {
        "rise": {kind: quartiles(values) for kind, values in rises.items()},
        "silence_s": {kind: quartiles(values) for kind, values in pauses.items()},
        "letters_per_second": quartiles(paces),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", default="builtin", help="a pack (default: the built-in one)")
    parser.add_argument("--teacher", type=Path, help="corpus folder with metadata.tsv and wav/")
    parser.add_argument("--limit", type=int, default=80, help="recordings of each kind")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    result = {"pack": spoken(TTS.load(args.pack, device="cpu"))}
    if args.teacher is not None:
        result["teacher"] = recorded(args.teacher, args.limit)
    print(json.dumps(result, indent=1))
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
