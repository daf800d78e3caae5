"""Eleven calls whose sound must not change when only the code's form does: run before and after a refactoring.

    python tests/ten_calls.py --out before.json            # in the old checkout
    python tests/ten_calls.py --against before.json        # in the new one; exit code 1 where a call differs

Each call is kept as the SHA-256 of its samples in fp32. They cover both networks' paths that a user meets: offline and
streamed, seeded sampling and beams, compute modes, pauses, text in pieces, and a recording that is enrolled and adapted
to. Equal sums need the same machine and the same torch.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from edgetts import TTS

RECORDING = Path(__file__).parent / "data" / "speech.ogg"
TEXT = "The garden gate was open. Two birds sat on the wall, and nobody came."


def digest(*parts: np.ndarray) -> str:
    return hashlib.sha256(np.concatenate([np.asarray(p, np.float32).reshape(-1) for p in parts]).tobytes()).hexdigest()


def said(tts: TTS, text: str, **options: object) -> str:
    return digest(tts.say(text, **options).samples)


def streamed(tts: TTS, text: object, **options: object) -> str:
    with tts.stream(text, **options) as chunks:
        return digest(*(chunk.samples for chunk in chunks))


def calls() -> dict[str, Callable[[], str]]:
    tiny = {compute: TTS.load(compute=compute) for compute in ("exact", "fast", "reference")}
    exact = tiny["exact"]
    return {
        "say exact": lambda: said(exact, TEXT, seed=1),
        "say fast": lambda: said(tiny["fast"], TEXT, seed=1),
        "say reference": lambda: said(tiny["reference"], "A short one.", seed=1),
        "another voice": lambda: said(exact, TEXT, voice="am_michael", seed=2),
        "three beams": lambda: said(exact, "Three beams look further.", seed=3, n_beams=3),
        "greedy": lambda: said(exact, "The same each time.", seed=4, do_sample=False, n_beams=1),
        "markup": lambda: said(exact, "One. [pause:0.5] Two.", seed=5, markup=True),
        "stream": lambda: streamed(exact, TEXT, seed=6),
        "stream of pieces": lambda: streamed(exact, ["At 7:30 it ", "costs $5.50; **Dr.** ", "Lee said no.\n"], seed=7),
        "chunks": lambda: streamed(exact, TEXT, seed=8, chunks=(20, 40)),
        "a recording": lambda: said(exact, "Hello again.", voice=RECORDING, seed=9, adapt_steps=2),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--against", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(2)
    sums = {name: call() for name, call in calls().items()}
    for name, value in sums.items():
        print(f"{value[:16]}  {name}")
    if args.out is not None:
        args.out.write_text(json.dumps(sums, indent=1) + "\n", encoding="utf-8")
    if args.against is None:
        return 0
    before = json.loads(args.against.read_text(encoding="utf-8"))
    differing = [name for name in before if sums.get(name) != before[name]]
    print(
        f"{len(before) - len(differing)} of {len(before)} equal"
        + (f"; not {', '.join(differing)}" if differing else "")
    )
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
