"""Stress test with many random texts: checks that the speech is audible, intact and of plausible duration.

In: a pack, and sentences from which runs of 1 to 25 words are cut at random. Out: how often the speech was not finite,
clipped, silent, or had a notice, and its duration relative to the teacher's. The teacher's duration is a linear fit of
seconds to letters and words over the teacher's recordings (`metadata.tsv`).

    python -m recipes.tiny.evaluation.stress [--pack PACK] [--teacher CORPUS] [--n 200] [--json FILE]

Words and voices are not checked: see `recipes.tiny.evaluation.evaluate`.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from rich.progress import track

from edgetts import TTS
from edgetts.compute import DEFAULT_COMPUTE, Compute
from recipes.tiny.evaluation.evaluate import CLIPPED, LENGTH_RATIOS, options_of

WORDS = (1, 25)
SILENT_PEAK = 0.01


def pieces(sentences: Sequence[str], n: int, seed: int = 0) -> list[str]:
    """n texts of 1 to 25 consecutive words, which may span sentences, capitalized and with a period."""
    chance = random.Random(seed)
    words = " ".join(sentences).split()
    made = []
    for _ in range(n):
        length = chance.randint(*WORDS)
        start = chance.randrange(len(words) - length)
        text = " ".join(words[start : start + length]).strip(" ,.?!")
        made.append(f"{text[:1].upper()}{text[1:]}.")
    return made


def size(text: str) -> tuple[float, float, float]:
    """The regressors of a text's duration: letters, words, and 1."""
    return float(sum(c.isalpha() for c in text)), float(len(text.split())), 1.0


def pace(teacher: Path) -> np.ndarray:
    """Seconds per letter, word and recording (3,), at normal speed, by least squares over the teacher's corpus."""
    rows = [line.split("\t") for line in (teacher / "metadata.tsv").read_text(encoding="utf-8").splitlines()]
    sizes = np.array([size(row[5]) for row in rows])
    seconds = np.array([float(row[3]) * float(row[2]) for row in rows])
    solution: np.ndarray = np.linalg.lstsq(sizes, seconds, rcond=None)[0]
    return solution


def stress(tts: TTS, texts: Sequence[str], teacher: Path | None, options: dict[str, Any]) -> dict[str, Any]:
    """The texts with each problem, and with `teacher` the range of duration ratios. The ready voices alternate."""
    problems: dict[str, list[str]] = {"not finite": [], "clipped": [], "silent": [], "noticed": []}
    line = pace(teacher) if teacher is not None else None
    ratios = []
    voices = list(tts.ready_voices())
    for k, text in enumerate(track(texts, description="texts", transient=True)):
        audio = tts.say(text, voices[k % len(voices)], seed=k, **options)
        level = np.abs(audio.samples)
        found = {
            "not finite": not bool(np.isfinite(audio.samples).all()),
            "clipped": bool((level >= CLIPPED).mean() > 1e-3),
            "silent": float(level.max(initial=0.0)) < SILENT_PEAK,
            "noticed": bool(audio.notices),
        }
        for kind, is_so in found.items():
            if is_so:
                problems[kind].append("; ".join([text, *audio.notices]))
        if line is not None:
            ratios.append(audio.seconds / float(np.array(size(text)) @ line))
    result: dict[str, Any] = {"texts": len(texts), "options": options, "problems": problems}
    if ratios:
        low, high = LENGTH_RATIOS
        outside = [(round(r, 2), t) for r, t in zip(ratios, texts, strict=True) if not low <= r <= high]
        result["length_ratio"] = {
            "least": min(ratios),
            "median": float(np.median(ratios)),
            "most": max(ratios),
            "outside": outside,
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", default=None, help="pack folder (default: as `edgetts say` finds it)")
    parser.add_argument("--teacher", type=Path, default=None, help="corpus folder with metadata.tsv")
    parser.add_argument("--sentences", type=Path, default=Path(__file__).parents[1] / "sentences.txt")
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="synthesis option")
    parser.add_argument("--compute", choices=get_args(Compute), default=DEFAULT_COMPUTE)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tts = TTS.load(args.pack, device="cpu", compute=args.compute)
    texts = pieces(args.sentences.read_text(encoding="utf-8").splitlines(), args.n)
    result = stress(tts, texts, args.teacher, options_of(args.option))
    print(json.dumps(result, indent=1))
    if args.json is not None:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
