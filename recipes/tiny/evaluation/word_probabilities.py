"""Compares packs by how probable each word of given texts is to recognizers that know the words before it.

In: packs and files of texts, one per line. Out: a table. The first pack is compared with each other one word by word,
so differences show with far fewer texts than by word error rates. The probabilities are those of
`recipes.tiny.stages.word_rewards`, so they favor a GPT that was trained on its rewards: word error rates decide.

Each text is read once, in the ready voices in turn, with the sampling of the pack's defaults but without second
attempts. Texts with digits or several sentences are left out.

    python -m recipes.tiny.evaluation.word_probabilities --pack PACK --pack NEW --set FILE...
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from edgetts import TTS
from edgetts.decoding.spoken import LEAST_CLEAR
from edgetts.pipeline import Pipeline
from edgetts.voices.speaker import Speaker, make_speaker
from recipes.tiny.evaluation.listeners import KINDS, Listener
from recipes.tiny.stages.policy_step import LEAST_HEARD
from recipes.tiny.stages.word_rewards import Reader, Recognizer, Text, heard_window, windows

BADLY_HEARD = -2.5


@dataclass(frozen=True)
class Reading:
    """What was found of one pack's readings."""

    scores: dict[int, npt.NDArray[np.float64]]  # of each text that was heard, log-probabilities of its words
    spoken: npt.NDArray[np.float64]  # of all words, the share of its sounds that the codes have
    n_codes: int

    @property
    def of_words(self) -> npt.NDArray[np.float64]:
        """The log-probabilities of all words."""
        return np.concatenate(list(self.scores.values()))


def read(
    reader: Reader, speakers: Sequence[Speaker], recognizers: Sequence[Recognizer], texts: Sequence[Text], seed: int
) -> Reading:
    """Read the texts in the voices in turn."""
    options = reader.options
    scores, spoken, n_codes, number = {}, [], 0, 0
    for part in track(list(windows(texts)), description="readings", transient=True):
        voices = [speakers[(number + k) % len(speakers)] for k in range(len(part))]
        drawing = torch.Generator().manual_seed(seed + number)
        found = reader.codes(voices, part, drawing, n=1, temperature=options.temperature, top_p=options.top_p)
        sounds: list[npt.NDArray[np.float32] | None] = []
        for voice, text, (codes,) in zip(voices, part, found, strict=True):
            sounds.append(None if codes is None else reader.speech(voice, text, codes))
            spoken += [0.0] * len(text.words) if codes is None else reader.said(text, codes)
            n_codes += 0 if codes is None else len(codes)
        for k, heard in enumerate(heard_window(recognizers, sounds, part)):
            if heard is not None:
                scores[number + k] = np.maximum(heard, LEAST_HEARD)
        number += len(part)
    return Reading(scores, np.array(spoken), n_codes)


def difference(one: Reading, other: Reading) -> tuple[float, float]:
    """Mean of the words' differences, `other` less `one`, and its standard error."""
    both = sorted(one.scores.keys() & other.scores.keys())
    gains = np.concatenate([other.scores[k] - one.scores[k] for k in both])
    return float(gains.mean()), float(gains.std() / len(gains) ** 0.5)


def table(readings: Mapping[str, Reading]) -> Table:
    """One row per pack; the first is compared with."""
    made = Table("pack", "words", "nats per word", "less the first", "badly heard", "lacking sounds", "codes")
    first = next(iter(readings.values()))
    for name, reading in readings.items():
        gain, error = difference(first, reading)
        made.add_row(
            name,
            str(len(reading.of_words)),
            f"{reading.of_words.mean():.3f}",
            "" if reading is first else f"{gain:+.3f} ± {error:.3f}",
            f"{np.mean(reading.of_words < BADLY_HEARD):.1%}",
            f"{np.mean(reading.spoken < LEAST_CLEAR):.1%}",
            str(reading.n_codes),
        )
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", type=Path, action="append", required=True, help="may be given again")
    parser.add_argument("--set", dest="sets", type=Path, action="append", required=True, help="may be given again")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    lines = [line for path in args.sets for line in path.read_text(encoding="utf-8").splitlines()]
    recognizers = [Recognizer(Listener(kind, args.threads)) for kind in KINDS]
    readings = {}
    for pack in args.pack:
        tts = TTS.load(pack, device="cpu")
        reader = Reader(Pipeline(tts.pack, torch.device("cpu")))
        networks, prompt_s = reader.pipeline.networks, reader.options.prompt_s
        speakers = [make_speaker(networks, tts.voice(name), prompt_s=prompt_s) for name in sorted(tts.ready_voices())]
        texts = [text for text in (Text.of(tts.frontend(), line) for line in lines) if text is not None]
        if not texts:
            parser.error(
                f"None of the {len(lines)} lines can be read: give sets with lines of one sentence without digits."
            )
        readings[str(pack)] = read(reader, speakers, recognizers, texts, args.seed)
    Console().print(table(readings))


if __name__ == "__main__":
    main()
