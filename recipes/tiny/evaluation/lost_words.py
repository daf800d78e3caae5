"""Detects lost words: words of a text that are missing in the speech, and whether the runtime gave a notice.

In: a pack and texts that are prone to lose words (`lost_words.txt`, one per line, `\\n` for a line end). Out, as a
table: the shares of complete texts, of texts with lost words with and without a notice, and of abrupt ends, and the
retries per segment. The JSON has every case. Whisper tiny transcribes. Transcript and text are compared as phones, so
spelling, digits and spaces do not matter. A word counts as lost if its phones match too little (`LEAST_MATCH`).

    python -m recipes.tiny.evaluation.lost_words [--pack PACK] [--seeds 4] [--texts FILE] [--json FILE]

The evaluation models are optional packages: `pip install -e '.[train]'`.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.table import Table

from edgetts import TTS
from edgetts.errors import EdgeTTSError
from edgetts.text.frontend import TextFrontend
from recipes.tiny.evaluation.listeners import Listener

TEXTS = Path(__file__).parents[1] / "lost_words.txt"
VOWELS = frozenset("aeiouæɑɔəɚɛɜɪʊʌ")
SAME_KIND = 0.5  # match score of two different vowels, or of two different consonants
LEAST_MATCH = 0.4  # mean match score of a word's phones below which it is lost
END_S = 0.01
ABRUPT_DB = -45.0  # level of the last `END_S` seconds above which an end is abrupt

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
_NOT_PHONES = re.compile(r"[^\w]|_|▁")


@dataclass(frozen=True)
class Case:
    """One synthesis of a text, with its transcript."""

    text: str
    seed: int
    voice: str
    heard: str
    lost: tuple[str, ...]  # words missing in the speech
    notices: tuple[str, ...]
    error: str | None
    seconds: float
    compute_seconds: float
    attempts: int  # in total over all segments
    n_segments: int
    end_db: float  # level of the last 10 ms

    @property
    def is_silent_loss(self) -> bool:
        """Whether words were lost without a notice or an error."""
        return bool(self.lost) and not self.notices and self.error is None


class Phones:
    """Converts texts to words and phones with the pack's front end."""

    def __init__(self, frontend: TextFrontend) -> None:
        self.frontend = frontend
        self.lexicon = frontend.tokenizer.lexicon

    def of(self, text: str) -> list[tuple[str, str]]:
        """The words of a text, each with its phones, or with its letters if the lexicon lacks it."""
        words = _WORD.findall(self.frontend.normalizer.normalize(text).upper())
        return [(word, self._phones(word)) for word in words]

    def _phones(self, word: str) -> str:
        known = self.lexicon.phones(word) if self.lexicon is not None else None
        return _NOT_PHONES.sub("", known or word.lower()).replace("ˈ", "")


def lost_words(said: list[tuple[str, str]], heard: list[tuple[str, str]]) -> tuple[str, ...]:
    """Words of `said` whose phones match too little in the best alignment with the phones of `heard`."""
    a, b = "".join(p for _, p in said), "".join(p for _, p in heard)
    score = np.zeros((len(a) + 1, len(b) + 1))
    for i, x in enumerate(a, 1):
        for j, y in enumerate(b, 1):
            score[i, j] = max(score[i - 1, j], score[i, j - 1], score[i - 1, j - 1] + _match(x, y))
    matched = np.zeros(len(a))
    i, j = len(a), len(b)
    while i and j:
        if score[i, j] == score[i - 1, j - 1] + _match(a[i - 1], b[j - 1]):
            i, j = i - 1, j - 1
            matched[i] = _match(a[i], b[j])
        elif score[i, j] == score[i - 1, j]:
            i -= 1
        else:
            j -= 1
    lost, start = [], 0
    for word, phones in said:
        if phones and matched[start : start + len(phones)].mean() < LEAST_MATCH:
            lost.append(word)
        start += len(phones)
    return tuple(lost)


def _match(x: str, y: str) -> float:
    if x == y:
        return 1.0
    return SAME_KIND if (x in VOWELS) == (y in VOWELS) else 0.0


def end_level_db(samples: npt.NDArray[np.float32], rate: int) -> float:
    """Root mean square of the last 10 ms, in dB of full scale."""
    end = samples[-round(END_S * rate) :]
    return float(20 * np.log10(max(float(np.sqrt(np.mean(end**2))) if len(end) else 0.0, 1e-6)))


def listen(tts: TTS, texts: list[str], seeds: range) -> list[Case]:
    """Synthesize and transcribe each text with each seed, alternating the pack's voices."""
    phones, listener = Phones(tts.frontend()), Listener()
    voices = sorted(tts.ready_voices())
    cases = []
    for seed in seeds:
        for k, text in enumerate(texts):
            voice = voices[(k + seed) % len(voices)]
            try:
                audio = tts.say(text, voice, seed=seed)
            except EdgeTTSError as error:
                cases.append(Case(text, seed, voice, "", (), (), str(error), 0.0, 0.0, 0, 0, -120.0))
                continue
            heard = listener(audio.samples, audio.sample_rate) if audio.seconds else ""
            cases.append(
                Case(
                    *(text, seed, voice, heard.strip(), lost_words(phones.of(text), phones.of(heard))),
                    audio.notices,
                    None,
                    audio.seconds,
                    audio.compute_seconds,
                    sum(s.attempts for s in audio.segments),
                    len(audio.segments),
                    end_level_db(audio.samples, audio.sample_rate),
                )
            )
    return cases


def show(cases: list[Case], n_words: int, console: Console) -> None:
    n = len(cases)
    table = Table(title=f"{n} calls, {n_words} words")
    table.add_column("")
    table.add_column("share")
    rows = {
        "texts without lost words": sum(not c.lost and c.error is None for c in cases) / n,
        "texts that lost words": sum(bool(c.lost) for c in cases) / n,
        "... without a notice": sum(c.is_silent_loss for c in cases) / n,
        "errors": sum(c.error is not None for c in cases) / n,
        "words lost": sum(len(c.lost) for c in cases) / n_words,
        "notices": sum(bool(c.notices) for c in cases) / n,
        "retries per segment": sum(c.attempts - c.n_segments for c in cases) / max(1, sum(c.n_segments for c in cases)),
        "abrupt ends": sum(c.end_db > ABRUPT_DB for c in cases) / n,
    }
    for name, share in rows.items():
        table.add_row(name, f"{share:.1%}")
    console.print(table)
    for text, count in Counter(c.text for c in cases if c.is_silent_loss).most_common():
        console.print(f"{count} x {text!r}", markup=False, highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", default=None, help="pack folder (default: as `edgetts say` finds it)")
    parser.add_argument("--texts", type=Path, default=TEXTS)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--limit", type=int, default=None, help="maximum number of texts")
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    texts = [line.replace("\\n", "\n") for line in args.texts.read_text().splitlines()[: args.limit]]
    tts = TTS.load(args.pack, device="cpu")
    cases = listen(tts, texts, range(args.first_seed, args.first_seed + args.seeds))
    phones = Phones(tts.frontend())
    if args.json:
        args.json.write_text(json.dumps([asdict(case) for case in cases], indent=1) + "\n")
    show(cases, args.seeds * sum(len(phones.of(text)) for text in texts), Console())


if __name__ == "__main__":
    main()
