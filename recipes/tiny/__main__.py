"""The whole recipe in order: `python -m recipes.tiny --work DIR [--corpus DIR] [--hours 6] [--quick]`.

In: a corpus folder (`metadata.tsv`, `wav/`), made by `python -m recipes.tiny.corpus.make_corpus`. Out: `WORK/pack`.
Every stage can also be run by itself (`python -m recipes.tiny.stages.train_gpt --help`). Finished stages are skipped,
and an interrupted run continues.

`--quick` runs all stages in about three minutes on a corpus of synthetic buzzes, without a teacher. The pack is
complete, but its speech is unintelligible.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from edgetts.pack.entries import PRONOUNCER_FILE
from recipes.tiny.corpus import align, predicted_mels, prepare, synthetic
from recipes.tiny.corpus.data import Corpus
from recipes.tiny.corpus.excerpts import PREDICTED_MEL
from recipes.tiny.corpus.text import add_text
from recipes.tiny.stages import (
    code_sounds,
    export,
    relabel_codes,
    s2mel_data,
    speech_level,
    train_codec,
    train_gpt,
    train_joint,
    train_pitch,
    train_pronouncer,
    train_s2mel,
    train_semantic_encoder,
    train_speaker_encoder,
    train_vocoder_istft,
)

# Share of the total time per stage.
SHARES = {
    "semantic_encoder": 0.10,
    "codec": 0.02,
    "joint": 0.05,
    "speaker_encoder": 0.05,
    "gpt": 0.33,
    "s2mel": 0.18,
    "s2mel_latents": 0.15,
    "pitch": 0.02,
    "vocoder_istft": 0.08,
    "vocoder_predicted": 0.07,
}
QUICK_MINUTES = 2.0
N_PREDICTED, QUICK_PREDICTED = 600, 12
N_TABLE, QUICK_TABLE = 400, 4  # sentences
N_LEVEL = 32  # of them


def cached(corpus: Path, cache: Path, resampled: bool, workers: int) -> Corpus:
    if not (cache / "wav_off.npy").exists():
        items = prepare.read_metadata(corpus)
        prepare.prepare(prepare.resampled(items) if resampled else items, cache, workers)
    return Corpus(cache)


def run(
    work: Path, corpus: Path, minutes: float, *, workers: int, n_predicted: int = N_PREDICTED, n_table: int = N_TABLE
) -> Path:
    """All stages; returns the pack's folder. n_predicted: recordings with a mel of S2Mel; n_table: sentences for
    `code_sounds` and, of them, `speech_level`."""
    budget = {stage: share * minutes for stage, share in SHARES.items()}
    base = cached(corpus, work / "cache" / "base", False, workers)
    other = cached(corpus, work / "cache" / "resampled", True, workers)
    both = [base, other]
    train_semantic_encoder.train(work, both, budget["semantic_encoder"])
    add_text(work, both)
    if not (work / PRONOUNCER_FILE).exists():
        train_pronouncer.write(work, train_pronouncer.aligned_words(work))
    align.add_alignment(work, both)
    if not (work / "joint" / "last.pt").exists():
        train_codec.add_features(work, [base])
        train_codec.train(work, [base], budget["codec"])
    train_joint.train(work, both, budget["joint"])
    if not (work / "features_done").exists():  # features of the codec stage come from an older encoder
        for corpus_ in both:
            (corpus_.folder / "feat.npy").unlink(missing_ok=True)
        both = [Corpus(c.folder) for c in both]
        train_codec.add_features(work, both)
        relabel_codes.align_again(work, both)
        relabel_codes.add_codes(work, both, renew=True)
        (work / "features_done").touch()
    train_speaker_encoder.train(work, both, budget["speaker_encoder"])
    s2mel_data.add_styles(work, both)
    train_gpt.train(work, both[:1], [1], budget["gpt"])
    for stage in train_s2mel.STAGES:
        if stage != train_s2mel.STAGES[0]:
            s2mel_data.add_latents(work, both)
        train_s2mel.train(work, both, budget[stage], stage=stage)
    train_pitch.train(work, both, budget["pitch"])
    names = {it["voice"]: Path(it["path"]) for it in reversed(base.items)}
    ready = {v: names[v] for v in export.READY_VOICES if v in names} or dict(sorted(names.items())[:2])
    first, second = train_vocoder_istft.STAGES
    train_vocoder_istft.train(work, both, budget[first], stage=first)
    if not base.has(PREDICTED_MEL):
        pack = export.write(work / "pack_for_mels", work, base, export.DEFAULTS, ready)
        predicted_mels.add(pack, base, n_predicted)
    train_vocoder_istft.train(work, [base], budget[second], stage=second)
    pack = export.write(work / "pack", work, base, export.DEFAULTS, ready)
    texts = [item["text"] for item in base.items[:n_table]]
    code_sounds.add(pack, texts)
    speech_level.add(pack, texts[:N_LEVEL])
    return pack


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m recipes.tiny", description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for all results")
    parser.add_argument("--corpus", type=Path, help="folder with metadata.tsv and wav/")
    parser.add_argument("--hours", type=float, default=6.0, help="total time of all stages")
    parser.add_argument("--quick", action="store_true", help="two minutes of training on synthetic buzzes")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.quick:
        if args.work.is_symlink() or (args.work.exists() and any(args.work.iterdir())):
            parser.error(f"--work {args.work} is not empty: give a new folder, or remove it")
        corpus = synthetic.make(args.work / "buzzes")
        print(
            run(
                args.work, corpus, QUICK_MINUTES, workers=args.threads, n_predicted=QUICK_PREDICTED, n_table=QUICK_TABLE
            )
        )
        return
    if args.corpus is None:
        parser.error(
            "--corpus is needed: make one with `python -m recipes.tiny.corpus.make_corpus --out DIR`, or use --quick"
        )
    print(run(args.work, args.corpus, 60 * args.hours, workers=args.threads))


if __name__ == "__main__":
    main()
