"""Measures the loss of sound quality by stage, on held-out recordings.

In: a pack and a cached corpus with `wav` (`recipes.tiny.corpus.pitch`), whose items have texts and voices. Out: mean
metrics (`sound_metrics`) of four kinds of sound, as a table and as JSON:

- the held-out recordings;
- the vocoder's output for their true mels;
- the vocoder's output for mels that S2Mel predicts from their codes, with another recording of the voice as prompt;
- the whole model's reading of their texts, in the voice of that other recording.

Seeds are fixed.

    python -m recipes.tiny.evaluation.by_stage --corpus CACHE [--pack PACK] [--limit 30] [--option noise_scale=0.4]

DNSMOS and PESQ are optional packages: `pip install -e '.[train]'`.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from rich.progress import track

from edgetts.compute import DEFAULT_COMPUTE, Compute
from edgetts.options import SynthesisOptions
from edgetts.pack.load import open_pack
from edgetts.pack.locate import builtin_pack
from edgetts.pack.text import frontend_of
from edgetts.pipeline import Pipeline
from edgetts.voices.speaker import make_speaker
from edgetts.voices.voice import Voice
from recipes.tiny import dims
from recipes.tiny.corpus.data import Corpus
from recipes.tiny.corpus.excerpts import PCM_SCALE
from recipes.tiny.corpus.predicted_mels import MAX_TOKENS, predict, voice_of
from recipes.tiny.evaluation import sound_metrics
from recipes.tiny.evaluation.evaluate import options_of
from recipes.tiny.evaluation.evaluate_vocoder import show
from recipes.tiny.evaluation.sound_metrics import Wave
from recipes.tiny.mel import mel_of

RECORDING, COPY, CODES, WHOLE = STAGES = ("recording", "true mel", "true codes", "whole model")


class Stages:
    """Runs recordings through the stages of one pack."""

    def __init__(self, pipeline: Pipeline, options: SynthesisOptions) -> None:
        self.pipeline, self.options = pipeline, options
        self.frontend = frontend_of(pipeline.pack)

    def sounds(self, corpus: Corpus, i: int, prompt: Voice, wanted: tuple[str, ...]) -> Iterator[tuple[str, Wave]]:
        """The wanted kinds of sound of recording `i`. Yields nothing if the text has several segments."""
        segments = self.frontend.segments(corpus.items[i]["text"], MAX_TOKENS).segments
        if len(segments) != 1:
            return
        ids = torch.tensor([list(segments[0].ids)])
        real = corpus.get("wav", i).float() / PCM_SCALE
        real = real[: len(real) // dims.HOP * dims.HOP]
        if RECORDING in wanted:
            yield RECORDING, real.numpy()
        if COPY in wanted:
            yield COPY, self._wave(mel_of(real[None]))
        if CODES in wanted:
            codes = voice_of(self.pipeline, corpus, i).reference_codes
            assert codes is not None
            n_frames = len(real) // dims.HOP
            mel = predict(self.pipeline, ids, codes, prompt, n_frames, seed=i, options=self.options)
            yield CODES, self._wave(mel.T[None])
        if WHOLE in wanted:
            speaker = make_speaker(self.pipeline.networks, prompt, prompt_s=self.options.prompt_s)
            yield WHOLE, self.pipeline.speak(speaker, ids[0].tolist(), self.options, seed=i).waveform.flatten().numpy()

    def _wave(self, mel: torch.Tensor) -> Wave:
        wave: Wave = self.pipeline.waveform(mel).flatten().numpy()
        return wave


def chosen(corpus: Corpus, limit: int) -> dict[int, int]:
    """At most `limit` evenly spaced held-out recordings, each with a training recording of the voice as prompt."""
    by_voice: dict[str, list[int]] = defaultdict(list)
    for i in corpus.training():
        by_voice[corpus.items[i]["voice"]].append(i)
    held = corpus.held_out()
    places = np.unique(np.linspace(0, len(held) - 1, min(limit, len(held))).astype(int))
    return {held[k]: by_voice[corpus.items[held[k]]["voice"]][int(k)] for k in places}


@torch.inference_mode()
def figures(stages: Stages, corpus: Corpus, pairs: Mapping[int, int], wanted: tuple[str, ...]) -> dict[str, Any]:
    """Mean metrics by stage."""
    rows: dict[str, list[dict[str, float]]] = defaultdict(list)
    for i, other in track(pairs.items(), description="recordings"):
        prompt = voice_of(stages.pipeline, corpus, other)
        for stage, wave in stages.sounds(corpus, i, prompt, wanted):
            if stage == COPY:
                real = (corpus.get("wav", i).float() / PCM_SCALE).numpy()
                rows[stage].append(sound_metrics.against(wave, real))
            else:
                rows[stage].append(sound_metrics.alone(wave))
    return {stage: sound_metrics.means(rows[stage]) for stage in wanted}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="cached corpus")
    parser.add_argument("--pack", type=Path, help="default: the built-in one")
    parser.add_argument("--limit", type=int, default=30, help="number of held-out recordings, evenly spaced")
    parser.add_argument("--stage", action="append", choices=STAGES, help="may be repeated (default: all)")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="synthesis option")
    parser.add_argument("--compute", choices=get_args(Compute), default=DEFAULT_COMPUTE)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    pipeline = Pipeline(open_pack(args.pack or builtin_pack()), torch.device("cpu"), compute=args.compute)
    options = SynthesisOptions.of(pipeline.pack.manifest.defaults, options_of(args.option))
    corpus = Corpus(args.corpus)
    wanted = tuple(args.stage or STAGES)
    found = figures(Stages(pipeline, options), corpus, chosen(corpus, args.limit), wanted)
    show(found)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
