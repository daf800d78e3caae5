"""Compares streamed with offline speech of one pack: words, voice, seams, first sound, chunk timeline.

In: a pack, the sentences of `sentences.txt`, optionally recordings of voices. Out: JSON. In `quality`, offline and
streamed speech have the same seed, so the codes are equal and all differences come from chunking.

    python -m recipes.tiny.evaluation.evaluate_stream quality --pack PACK [--voices DIR] [--limit 60] [--chunks 30,45]
    python -m recipes.tiny.evaluation.evaluate_stream first-sound --pack PACK [--runs 20]
    python -m recipes.tiny.evaluation.evaluate_stream timeline --pack PACK --picture timeline.png
    python -m recipes.tiny.evaluation.evaluate_stream feed --pack PACK [--tokens 500]

Synthesis options are given as `--option name=value`. The evaluation models: `pip install -e '.[train]'`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import re
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np

from edgetts import TTS
from edgetts.compute import DEFAULT_COMPUTE, Compute
from edgetts.voices.voice import Voice
from recipes.tiny.evaluation import seams
from recipes.tiny.evaluation.evaluate import SENTENCES, options_of, recordings_in

PAUSES_S = (0.0, 0.0, 0.01, 0.03, 0.12)  # between simulated tokens of a language model
JUDGED_SECONDS = 15.0  # of a voice's recording


def sentences(limit: int) -> list[str]:
    return SENTENCES.read_text(encoding="utf-8").splitlines()[:limit]


def quality(tts: TTS, voices: dict[str, Voice | str], recordings: dict[str, Path], arguments: Any) -> dict[str, Any]:
    """Word error rate and similarity, offline and streamed, and the seams of the streams."""
    import jiwer

    from edgetts.audio.io import read_audio
    from recipes.tiny.evaluation.evaluate import VoiceEmbedder, words
    from recipes.tiny.evaluation.listeners import JUDGE_RATE, Listener

    listener, embedder = Listener(), VoiceEmbedder()
    references = {
        n: embedder(read_audio(p, JUDGE_RATE, JUDGED_SECONDS).samples, JUDGE_RATE) for n, p in recordings.items()
    }
    said: list[str] = []
    heard: dict[str, list[str]] = {"offline": [], "stream": []}
    likeness: dict[str, list[float]] = {"offline": [], "stream": [], "stream to offline": []}
    reports: list[seams.SeamReport] = []
    names = list(voices)
    for k, sentence in enumerate(sentences(arguments.limit)):
        name = names[k % len(names)]
        offline = tts.say(sentence, voices[name], seed=k, **arguments.options)
        chunks = list(tts.stream(sentence, voices[name], seed=k, chunks=arguments.chunks, **arguments.options))
        streamed = np.concatenate([c.samples for c in chunks])
        met = [c.offset for before, c in itertools.pairwise(chunks) if c.segment == before.segment]
        reports.append(seams.report(streamed, tts.sample_rate, met))
        said.append(words(sentence))
        embeddings = []
        for kind, samples in (("offline", offline.samples), ("stream", streamed)):
            heard[kind].append(words(listener(samples, tts.sample_rate)))
            embeddings.append(embedder(samples, tts.sample_rate))
            if name in references:
                likeness[kind].append(float(embeddings[-1] @ references[name]))
        likeness["stream to offline"].append(float(embeddings[0] @ embeddings[1]))
    n_seams = sum(r.n_seams for r in reports)
    return {
        "sentences": len(said),
        "chunks": arguments.chunks,
        "word_error_rate": {kind: jiwer.wer(said, texts) for kind, texts in heard.items()},
        "similarity": {kind: statistics.fmean(v) for kind, v in likeness.items() if v},
        "seams": n_seams,
        "flux_above_p95": sum(r.flux_above * r.n_seams for r in reports) / max(n_seams, 1),
        "step_above_p95": sum(r.step_above * r.n_seams for r in reports) / max(n_seams, 1),
        "clicks_at_seams": sum(len(r.clicks) for r in reports),
    }


def first_sound(tts: TTS, voice: Voice | str | None, arguments: Any) -> dict[str, Any]:
    """Milliseconds from the call to the first chunk that is not silent, after two warm-up calls."""
    times: list[float] = []
    texts = sentences(arguments.runs + 2)
    for k, text in enumerate(texts):
        started = time.perf_counter()
        with tts.stream(text, voice, seed=k, **arguments.options) as stream:
            next(c for c in stream if c.samples.any())
            times.append(1e3 * (time.perf_counter() - started))
            for _ in stream:  # to the end, so that the latency model is updated as in normal use
                pass
    warm = sorted(times[2:])
    return {
        "runs": len(warm),
        "median_ms": statistics.median(warm),
        "p95_ms": warm[min(len(warm) - 1, int(0.95 * len(warm)))],
        "least_ms": warm[0],
    }


def timeline(tts: TTS, voice: Voice | str | None, arguments: Any) -> dict[str, Any]:
    """Plot when each chunk arrived and when playback needed it. `late`: number of chunks that caused an underrun."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    stream = tts.stream(" ".join(sentences(arguments.limit)), voice, seed=1, **arguments.options)
    rows = [(time.perf_counter() - stream.started_at, c.seconds, c.segment) for c in stream if c.seconds]
    buffered, start = 0.0, rows[0][0]
    for came, seconds, _ in rows:  # playback starts when the prebuffer is full
        buffered, start = buffered + seconds, came
        if buffered >= stream.prebuffer_s:
            break
    due, late, bars = start, 0, []
    for came, seconds, segment in rows:
        if came > due + 1e-3:
            late, due = late + 1, came
        bars.append((came, due, seconds, segment))
        due += seconds
    figure, axes = pyplot.subplots(figsize=(11, 0.22 * len(bars) + 1.5))
    for row, (came, heard, seconds, segment) in enumerate(bars):
        axes.barh(row, seconds, left=heard, color=f"C{segment % 10}")
        axes.plot([came], [row], "k|", markersize=9)
    axes.invert_yaxis()
    axes.set_xlabel("seconds since the call; bar: playback, mark: arrival")
    axes.set_ylabel("chunk (color: segment)")
    figure.tight_layout()
    figure.savefig(arguments.picture)
    total = sum(seconds for _, seconds, _ in rows)
    return {
        "first_sound_s": rows[0][0],
        "playback_starts_s": start,
        "prebuffer_s": stream.prebuffer_s,
        "chunks": len(rows),
        "late": late,
        "rtf": rows[-1][0] / total,
        "picture": str(arguments.picture),
    }


def feed(tts: TTS, voice: Voice | str | None, arguments: Any) -> dict[str, Any]:
    """Stream text that arrives like the tokens of a language model.

    `complete` and `in_order`: the segments cover the text once, in order. `clause_to_sound_ms`: delay from the end of a
    clause to its first sound.
    """
    text = " ".join(sentences(1000) * 3)
    pieces = re.findall(r"\s?\S{1,4}", text)[: arguments.tokens]
    given = "".join(pieces)
    chance = random.Random(1)

    def tokens() -> Iterator[str]:
        for piece in pieces:
            time.sleep(chance.choice(PAUSES_S))
            yield piece

    stream = tts.stream(tokens(), voice, seed=1, **arguments.options)
    spans: list[tuple[int, int]] = []
    for chunk in stream:
        if not spans or spans[-1] != (chunk.start, chunk.end):
            spans.append((chunk.start, chunk.end))
    delays = [s.first_sound_at - s.queued.ready_at for s in stream.segments if s.first_sound_at is not None]
    return {
        "tokens": len(pieces),
        "segments": len(stream.segments),
        "complete": "".join(given[a:b] for a, b in spans) == given,
        "in_order": spans == sorted(spans),
        "clause_to_sound_ms_median": 1e3 * statistics.median(delays),
        "clause_to_sound_ms_each": [round(1e3 * d) for d in delays],
        "notices": list(stream.notices),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("quality", "first-sound", "timeline", "feed"))
    parser.add_argument("--pack", default=None)
    parser.add_argument(
        "--voice", default=None, help="default: the first of --voices or of the ready voices; not for `quality`"
    )
    parser.add_argument(
        "--voices", type=Path, default=None, help="folder with recordings of voices, to enroll and to compare with"
    )
    parser.add_argument("--limit", type=int, default=60)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--tokens", type=int, default=500)
    parser.add_argument("--chunks", type=lambda s: tuple(map(int, s.split(","))), default=(30, 45, 70))
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="synthesis option")
    parser.add_argument("--compute", choices=get_args(Compute), default=DEFAULT_COMPUTE)
    parser.add_argument("--picture", type=Path, default=Path("timeline.png"))
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    arguments.options = options_of(arguments.option)
    tts = TTS.load(arguments.pack, device="cpu", compute=arguments.compute)
    recordings = recordings_in(arguments.voices) if arguments.voices else {}
    voices: dict[str, Voice | str] = {n: tts.enroll(p, name=n) for n, p in recordings.items()}
    voices = voices or {n: n for n in tts.ready_voices()}
    one = tts.voice(arguments.voice or next(iter(voices.values())))
    if arguments.what == "quality":
        result = quality(tts, voices, recordings, arguments)
    else:
        result = {"first-sound": first_sound, "timeline": timeline, "feed": feed}[arguments.what](tts, one, arguments)
    print(json.dumps(result, indent=2))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
