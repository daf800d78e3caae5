"""Compares the speed of two packs, measured alternately, because the load of a shared machine varies.

In: two packs. Out, as JSON: for each pack the real-time factor of `say` and of streams, and the milliseconds to the
first sound, as medians over rounds, and the ratios of the packs. In each round both packs read the same sentences, one
pack after the other; `say` uses the same seeds.

    python -m recipes.tiny.evaluation.compare_speed --pack NEW --against OLD [--rounds 5] [--compute fast] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import torch

from edgetts import TTS
from edgetts.compute import Compute
from recipes.tiny.evaluation.evaluate import SENTENCES

KINDS = ("offline", "streamed", "first_sound_ms")


def one_round(tts: TTS, texts: Sequence[str], voice: str, seed: int) -> dict[str, float]:
    """The three metrics over these texts. Streams get no seed, so their chunk sizes adapt to the measured speed."""
    began = time.perf_counter()
    seconds = sum(tts.say(text, voice, seed=seed + k).seconds for k, text in enumerate(texts))
    offline = (time.perf_counter() - began) / seconds
    firsts, streamed, spent = [], 0.0, 0.0
    for text in texts:
        stream = tts.stream(text, voice)
        first = None
        for chunk in stream:
            if chunk.seconds and first is None:
                first = time.perf_counter() - stream.started_at
            streamed += chunk.seconds
        spent += time.perf_counter() - stream.started_at
        assert first is not None
        firsts.append(1e3 * first)
    return {"offline": offline, "streamed": spent / streamed, "first_sound_ms": statistics.median(firsts)}


def compared(rows: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, Any]:
    """Medians by pack, and the medians over rounds of the ratio of the first pack to the second."""
    new, old = rows.values()
    result: dict[str, Any] = {
        name: {kind: statistics.median(row[kind] for row in part) for kind in KINDS} for name, part in rows.items()
    }
    result["ratio"] = {
        kind: statistics.median(a[kind] / b[kind] for a, b in zip(new, old, strict=True)) for kind in KINDS
    }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", default="builtin", help="a pack (default: the built-in one)")
    parser.add_argument("--against", required=True, help="the pack to compare with")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=int, default=6, help="sentences per round")
    parser.add_argument("--compute", choices=get_args(Compute), default="fast", help="compute mode of both packs")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    texts = SENTENCES.read_text(encoding="utf-8").splitlines()[: args.limit]
    rows: dict[str, list[dict[str, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as home:
        packs = {
            name: TTS.load(name, device="cpu", compute=args.compute, home=Path(home) / str(k))
            for k, name in enumerate((args.pack, args.against))
        }
        for round_ in range(-1, args.rounds):  # the first one warms up
            for name, tts in packs.items():
                found = one_round(tts, texts, next(iter(tts.ready_voices())), 100 * (round_ + 1))
                if round_ >= 0:
                    rows[name].append(found)
    result = {"compute": args.compute, "rounds": args.rounds, "threads": args.threads, **compared(rows)}
    print(json.dumps(result, indent=1))
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
