"""The floor of the error rates of `sets`: the teacher, Kokoro-82M, reads the texts, and the same recognizers hear it.

In: the packages and the voices folder that `make_corpus` needs, one recording per voice, and files with one text per
line. Out: the table and the JSON of `sets`. The voices heard in training alternate, at speed 1, at the pack's sample
rate. What the recognizers mishear here is not the pack's fault, unless it mispronounces the same words.

    python -m recipes.tiny.evaluation.teacher --styles package/voices --voices DIR --set FILE... [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from edgetts import TTS
from edgetts.audio.io import resample
from edgetts.compute import COMPUTE
from edgetts.speech import Audio
from recipes.tiny import dims
from recipes.tiny.corpus.make_corpus import Kokoro
from recipes.tiny.evaluation.evaluate import UNHEARD, recordings_in
from recipes.tiny.evaluation.sets import Judges, judged, show

SPEED = 1.0


def reader(teacher: Kokoro) -> Callable[[str, str, int], Audio]:
    """Synthesis for `judged`; the number of the text is not used, because the teacher has no seed."""

    def say(text: str, voice: str, _k: int) -> Audio:
        began = time.perf_counter()
        made, rate, _ = teacher.say(text, voice, SPEED)
        samples = resample(made, rate, dims.SAMPLE_RATE)
        return Audio(samples, dims.SAMPLE_RATE, 0, (), (), time.perf_counter() - began)

    return say


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--styles", type=Path, required=True, help="voices folder of kokoro-js")
    parser.add_argument("--voices", type=Path, required=True, help="folder with one recording per voice")
    parser.add_argument("--set", type=Path, action="append", required=True, dest="sets", metavar="FILE")
    parser.add_argument("--limit", type=int, default=None, help="maximum number of texts per set")
    parser.add_argument("--no-sound", action="store_true", help="evaluate only words and voices")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, default=None)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    recordings = recordings_in(args.voices)
    judges = Judges(recordings, args.threads, sound=not args.no_sound)
    frontend, say = TTS.load("builtin", device="cpu").frontend(), reader(Kokoro(args.styles))
    names = [name for name in recordings if name not in UNHEARD]
    result: dict[str, Any] = {"pack": "Kokoro-82M", COMPUTE: "int8", "options": {"speed": SPEED}, "seed": "none"}
    result |= {"enroll_s": {}, "sets": {}}
    for path in args.sets:
        texts = path.read_text(encoding="utf-8").splitlines()[: args.limit]
        result["sets"][path.stem] = {"teacher": judged(say, texts, names, judges, frontend)}
        if args.json:
            args.json.write_text(json.dumps(result, indent=1) + "\n")
    show(result, Console(width=160))


if __name__ == "__main__":
    main()
