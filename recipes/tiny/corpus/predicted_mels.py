"""Mels predicted by a pack's S2Mel for a corpus: the vocoder's real input at synthesis.

In: a pack, and a cached corpus with `wav` whose items have paths, texts and voices. Out: the array `predicted` (F, M)
per recording, which `train_vocoder_istft --predicted` mixes with true mels. It is made from the recording's own codes
with another recording of the same voice as prompt, as at synthesis, so it is aligned with the recording. It is empty if
the text has several segments or the voice has no other recording.

    python -m recipes.tiny.corpus.predicted_mels --pack PACK --corpus CACHE [--limit 400]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from edgetts.audio.features import resample_windowed_sinc
from edgetts.options import SynthesisOptions
from edgetts.pack.load import open_pack
from edgetts.pack.text import frontend_of
from edgetts.pipeline import Pipeline
from edgetts.voices.enroll import ENCODER_RATE, enroll
from edgetts.voices.speaker import Speaker, make_speaker
from edgetts.voices.voice import Voice
from recipes.tiny.corpus.data import Corpus
from recipes.tiny.corpus.excerpts import PCM_SCALE, PREDICTED_MEL

CPU = torch.device("cpu")
MAX_TOKENS = 400  # of a text, so that it stays one segment


def voice_of(pipeline: Pipeline, corpus: Corpus, i: int) -> Voice:
    """Enroll a recording; the voice has its codes."""
    wave = corpus.get("wav", i).float() / PCM_SCALE
    heard = resample_windowed_sinc(wave, pipeline.config.audio.sample_rate, ENCODER_RATE)
    return enroll(pipeline.pack, wave, heard, device=CPU)


def _codes(voice: Voice) -> Tensor:
    assert voice.reference_codes is not None
    return voice.reference_codes


def prompts(items: Sequence[dict[str, Any]], chosen: Sequence[int]) -> dict[int, int]:
    """For each chosen recording another one of its voice, if there is one."""
    by_voice: dict[str, list[int]] = {}
    for i in chosen:
        by_voice.setdefault(items[i]["voice"], []).append(i)
    return {
        i: group[(k + 1) % len(group)] for group in by_voice.values() if len(group) > 1 for k, i in enumerate(group)
    }


@torch.inference_mode()
def predict(
    pipeline: Pipeline,
    ids: Tensor,
    codes: Tensor,
    prompt: Voice,
    n_frames: int,
    *,
    seed: int,
    options: SynthesisOptions | None = None,
) -> Tensor:
    """Mel (F, M) of a recording's codes (1, T), at most `n_frames` long. options: default: the pack's."""
    options = options or SynthesisOptions.of(pipeline.pack.manifest.defaults, {})
    speaker = make_speaker(pipeline.networks, prompt, prompt_s=options.prompt_s)
    mel = mel_of_codes(pipeline, speaker, ids[0].tolist(), codes[0].tolist(), seed=seed, options=options)
    return mel[0, :, :n_frames].T


@torch.inference_mode()
def mel_of_codes(
    pipeline: Pipeline,
    speaker: Speaker,
    ids: Sequence[int],
    codes: Sequence[int],
    *,
    seed: int,
    options: SynthesisOptions,
) -> Tensor:
    """Mel (1, M, F) of the codes of a text."""
    condition = pipeline.condition(pipeline.features(pipeline.prompt(speaker, ids), codes))
    noise = pipeline.noise(condition.shape[1], torch.Generator().manual_seed(seed))
    return pipeline.mel(speaker, condition, noise, options.flow_settings())


def add_predicted(pipeline: Pipeline, corpus: Corpus, chosen: Sequence[int]) -> int:
    """Add the array to the corpus. Returns the number of recordings with a mel."""
    frontend = frontend_of(pipeline.pack)
    hop = pipeline.config.audio.hop_length
    voices = {i: voice_of(pipeline, corpus, i) for i in track(sorted(chosen), description="codes")}
    made: list[np.ndarray] = [np.zeros((0, pipeline.config.audio.n_mels), np.float16)] * len(corpus)
    others = prompts(corpus.items, sorted(chosen))
    for i, other in track(others.items(), description="mels"):
        segments = frontend.segments(corpus.items[i]["text"], MAX_TOKENS).segments
        if len(segments) != 1:
            continue
        ids = torch.tensor([list(segments[0].ids)])
        n_frames = corpus.length("wav", i) // hop
        mel = predict(pipeline, ids, _codes(voices[i]), voices[other], n_frames, seed=i)
        made[i] = mel.half().numpy()
    corpus.put(PREDICTED_MEL, made)
    return sum(len(mel) > 0 for mel in made)


def add(pack: Path, corpus: Corpus, limit: int) -> int:
    """`add_predicted` with a pack, for at most `limit` recordings, evenly over the corpus."""
    chosen = np.unique(np.linspace(0, len(corpus) - 1, min(limit, len(corpus))).astype(int)).tolist()
    return add_predicted(Pipeline(open_pack(pack), CPU, compute="exact"), corpus, chosen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=400, help="recordings, evenly over the corpus")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{add(args.pack, Corpus(args.corpus), args.limit)} mels")


if __name__ == "__main__":
    main()
