"""Copy synthesis: compares recordings with a vocoder's output for their true mels, as a table and as JSON.

In: recordings, and a pack or the work folder of a vocoder in training. Out: mean metrics (`sound_metrics`) of the
recordings and of the vocoder's output, for held-out recordings of training voices and for unseen voices. DNSMOS
estimates opinion scores. PESQ, STFT and MCD compare with the recording. `comb` is the fraction of a band's energy at
multiples of the frame rate.

    python -m recipes.tiny.evaluation.evaluate_vocoder --teacher DIR [--pack PACK | --work WORK] [--json FILE]

DNSMOS and PESQ are optional packages: `pip install -e '.[train]'`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import soundfile as sf
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from edgetts.audio.io import resample
from edgetts.backends.prepare import prepare_vocoder
from edgetts.compute import Compute
from edgetts.models import registry
from edgetts.pack.load import open_pack
from edgetts.pack.locate import builtin_pack
from recipes.tiny import dims
from recipes.tiny.corpus.data import is_held_out
from recipes.tiny.corpus.prepare import read_metadata
from recipes.tiny.evaluation import sound_metrics
from recipes.tiny.evaluation.evaluate import UNHEARD
from recipes.tiny.evaluation.sound_metrics import Wave
from recipes.tiny.mel import mel_of
from recipes.tiny.stages.train_vocoder_istft import with_pitch_net

CPU = torch.device("cpu")
Vocode = Callable[[Tensor], Tensor]


def load(pack: Path | None, work: Path | None, compute: Compute) -> Vocode:
    """The vocoder: log-mel (B, M, T) -> waveform (B, S)."""
    if work is not None:
        vocoder, _ = prepare_vocoder(with_pitch_net(work), compute, CPU)
        return vocoder
    opened = open_pack(pack or builtin_pack())
    plain = registry.VOCODER.load(opened)
    vocoder, _ = prepare_vocoder(plain, compute, CPU)
    return vocoder


def read(path: Path) -> Wave:
    """A recording at the pack's rate, cut to whole frames."""
    samples, rate = sf.read(path, dtype="float32")
    wave: Wave = resample(samples, rate, dims.SAMPLE_RATE)
    return wave[: len(wave) // dims.HOP * dims.HOP]


def sets(teacher: Path, limit: int) -> dict[str, list[Path]]:
    """Two sets of recordings: held-out ones of training voices, at most `limit`, and those of unseen voices."""
    held = [Path(item["path"]) for i, item in enumerate(read_metadata(teacher)) if is_held_out(i)]
    unheard = [p for p in sorted((teacher / "eval_voices").iterdir()) if p.stem in UNHEARD]
    return {"held out": held[:limit], "unheard voices": unheard}


def figures(paths: list[Path], vocode: Vocode | None, what: str) -> dict[str, float]:
    """Mean metrics of the vocoder's output for the recordings, or without a vocoder of the recordings themselves."""
    rows = []
    for path in track(paths, description=what):
        real = read(path)
        if vocode is None:
            rows.append(sound_metrics.alone(real))
            continue
        with torch.inference_mode():
            made = vocode(mel_of(torch.from_numpy(real)[None]))[0].numpy()
        rows.append(sound_metrics.against(made, real))
    return sound_metrics.means(rows)


def show(results: dict[str, dict[str, float]]) -> None:
    table = Table("")
    columns = list(dict.fromkeys(name for result in results.values() for name in result))
    for name in columns:
        table.add_column(name, justify="right")
    for what, result in results.items():
        table.add_row(what, *(f"{result[name]:.3f}" if name in result else "" for name in columns))
    Console(width=200).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--teacher", type=Path, required=True, help="folder with metadata.tsv, wav/ and eval_voices/")
    given = parser.add_mutually_exclusive_group()
    given.add_argument("--pack", type=Path, help="default: the built-in one")
    given.add_argument("--work", type=Path, help="work folder of the stages pitch and vocoder_istft")
    parser.add_argument("--compute", choices=("reference", "exact", "fast"), default="exact")
    parser.add_argument("--limit", type=int, default=60)
    parser.add_argument("--no-recordings", action="store_true", help="skip the figures of the recordings")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    vocode = load(args.pack, args.work, args.compute)
    results = {}
    for name, paths in sets(args.teacher, args.limit).items():
        if not args.no_recordings:
            results[f"{name}: {len(paths)} recordings"] = figures(paths, None, name)
        results[f"{name}: from their mel"] = figures(paths, vocode, f"{name}, vocoder")
    show(results)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
