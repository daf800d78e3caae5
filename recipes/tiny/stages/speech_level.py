"""Stage `speech_level`: one level for all voices of a pack.

In: a pack and sentences, one per line. Out: `speech_level.json` in the pack, and the level of each ready voice in its
file (read by `edgetts.voices.level`). Every ready voice speaks every sentence, and the mean is its level. The codes of
a few utterances are kept, with which new voices are measured: of those that are long enough the ones with which the
ready voices come out most nearly as over all sentences. They come out a little louder or quieter nevertheless; the
levels of the ready voices are shifted by the mean of that, so that learned voices speak at the same level as they do.

    python -m recipes.tiny.stages.speech_level --pack PACK [--db -24] [--sentences FILE] [--limit 32]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import torch
from rich.progress import track

from edgetts import TTS
from edgetts.audio.level import speech_level_db
from edgetts.errors import EdgeTTSError
from edgetts.options import SynthesisOptions
from edgetts.pack.entries import SPEECH_LEVEL_FILE
from edgetts.voices.level import SpeechLevel
from edgetts.voices.voice import Voice
from recipes.tiny.stages.pack_files import put_files

SENTENCES = Path(__file__).parents[1] / "sentences.txt"
FIRST_SENTENCE = 40  # `evaluation.levels` speaks those before
SPEECH_LEVEL_DB = -24.0  # with it no peak of the 80 sentences exceeds 0.99, also in voices never heard in training
N_UTTERANCES, N_CODES = 4, 115  # for new voices; more of them would measure better and take longer
N_CANDIDATES = 24  # utterances to choose those from
SHIFT_WEIGHT = 0.25  # of what all voices are off by, which makes all of them louder or quieter than asked
MAX_CODES = 400  # 8 s; of a model that does not end its sentences


def add(pack: Path, sentences: Sequence[str], db: float = SPEECH_LEVEL_DB) -> bool:
    """Let all voices of an existing pack speak at `db` decibels relative to full scale.

    Returns False, and writes nothing, if there are too few utterances that are long enough. A sentence that the model
    cannot speak does not count.
    """
    tts = TTS.load(pack, device="cpu")
    files = tts.pack.manifest.ready_voices()
    voices = {name: dataclasses.replace(tts.voice(name), level_db=None) for name in files}  # without a gain
    spoken: dict[str, list[float]] = {name: [] for name in voices}
    kept: list[tuple[int, ...]] = []
    for k, sentence in enumerate(track(sentences, description="levels")):
        for j, (name, voice) in enumerate(voices.items()):
            try:
                speech = tts.say(sentence, voice, seed=k, guards=False, max_codes=MAX_CODES)
            except EdgeTTSError as error:  # an untrained model skips all words, or its codes are none
                print(f"{name} does not count: {error}")
                continue
            spoken[name].append(speech_level_db(speech.samples, speech.sample_rate))
            codes = speech.segments[0].codes
            if j == k % len(voices) and len(kept) < N_CANDIDATES and len(codes) >= N_CODES:
                kept.append(tuple(codes[:N_CODES]))
    if len(kept) < N_UTTERANCES or not all(spoken.values()):
        return False
    options, device = SynthesisOptions.of(tts.pack.manifest.defaults, {}), torch.device("cpu")

    def measure(level: SpeechLevel) -> dict[str, float]:
        return {n: level.measured(tts.pack, voice, options, device).level_db or 0.0 for n, voice in voices.items()}

    means = {name: statistics.fmean(found) for name, found in spoken.items()}
    level = SpeechLevel(
        db, tuple(kept[k] for k in fairest([measure(SpeechLevel(db, (codes,))) for codes in kept], means))
    )
    measured = measure(level)
    shift = statistics.fmean(measured[name] - mean for name, mean in means.items())
    print({name: (round(means[name], 2), measured[name]) for name in voices}, f"shift {shift:.2f} dB")
    contents = {SPEECH_LEVEL_FILE: level_json(level)}
    for name, file in files.items():
        contents[file] = saved(dataclasses.replace(voices[name], level_db=round(means[name] + shift, 2)))
    put_files(pack, contents)
    return True


def fairest(levels: Sequence[Mapping[str, float]], means: Mapping[str, float]) -> tuple[int, ...]:
    """The utterances with which all voices are off by the same, and by little.

    levels: of each utterance in each voice, dB. means: of the voices over all sentences.
    """

    def unfairness(chosen: tuple[int, ...]) -> float:
        off = [statistics.fmean(levels[k][name] for k in chosen) - mean for name, mean in means.items()]
        return max(off) - min(off) + SHIFT_WEIGHT * abs(statistics.fmean(off))

    return min(combinations(range(len(levels)), N_UTTERANCES), key=unfairness)


def level_json(level: SpeechLevel) -> bytes:
    """The content of `speech_level.json`."""
    return (json.dumps(dataclasses.asdict(level)) + "\n").encode()


def saved(voice: Voice) -> bytes:
    """The content of a voice file."""
    with tempfile.TemporaryDirectory() as folder:
        return voice.save(Path(folder) / "voice.safetensors").read_bytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--db", type=float, default=SPEECH_LEVEL_DB)
    parser.add_argument("--sentences", type=Path, default=SENTENCES)
    parser.add_argument("--limit", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    lines = args.sentences.read_text(encoding="utf-8").splitlines()
    lines = (lines[FIRST_SENTENCE:] if args.sentences == SENTENCES else lines)[: args.limit]
    if not add(args.pack, lines, args.db):
        parser.exit(1, f"Fewer than {N_UTTERANCES} utterances have {N_CODES} codes: give more or longer sentences.\n")


if __name__ == "__main__":
    main()
