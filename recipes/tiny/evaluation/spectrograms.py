"""Plots spectrograms of the same sentences side by side: the teacher's recording, and each pack's reading.

In: a corpus folder and packs. Out: one picture, with a row per held-out recording, a column for the recordings and a
column per pack, which reads the text in the voice of the recording. The texts belong to the corpus and are not shown.

    python -m recipes.tiny.evaluation.spectrograms --teacher DIR --pack OLD --pack NEW --picture FILE.png [--limit 5]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import soundfile as sf
import torch

from edgetts import TTS
from edgetts.audio.io import resample
from recipes.tiny import dims
from recipes.tiny.corpus.data import is_held_out
from recipes.tiny.corpus.prepare import read_metadata
from recipes.tiny.evaluation.sound_metrics import Wave

RECORDING = "recording"
SIZE, STEP = 1024, 256
HIGHEST_HZ = 8000
RANGE_DB = 70
WORDS = (5, 9)  # range of the sentences shown


def spectrogram(waveform: Wave) -> np.ndarray:
    """Magnitudes (bins, frames) up to `HIGHEST_HZ`, in dB relative to the loudest bin, clipped at -`RANGE_DB`."""
    padded = np.pad(waveform, SIZE // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, SIZE)[::STEP] * np.hanning(SIZE)
    power = np.abs(np.fft.rfft(frames)).T[: int(HIGHEST_HZ / dims.SAMPLE_RATE * SIZE)]
    levels = 20 * np.log10(np.maximum(power, 1e-6))
    below: np.ndarray = (levels - levels.max()).clip(-RANGE_DB, 0)
    return below


def draw(columns: dict[str, list[Wave]], titles: list[str], picture: Path) -> None:
    """Save the picture. columns: name -> one waveform per title."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(titles), len(columns), figsize=(5 * len(columns), 2.2 * len(titles)), squeeze=False)
    for k, (name, waves) in enumerate(columns.items()):
        for row, (title, wave) in enumerate(zip(titles, waves, strict=True)):
            axis = axes[row][k]
            seconds = len(wave) / dims.SAMPLE_RATE
            axis.imshow(
                spectrogram(wave),
                origin="lower",
                aspect="auto",
                cmap="magma",
                extent=(0, seconds, 0, HIGHEST_HZ / 1000),
            )
            axis.set_title(f"{name} {title}" if k == 0 else name, fontsize=7)
            axis.tick_params(labelsize=6)
    figure.supxlabel("s", fontsize=7)
    figure.supylabel("kHz", fontsize=7)
    figure.tight_layout()
    figure.savefig(picture, dpi=75)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=Path, required=True, help="folder with metadata.tsv and wav/")
    parser.add_argument("--pack", type=Path, action="append", required=True, help="may be repeated")
    parser.add_argument("--picture", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    held = [item for i, item in enumerate(read_metadata(args.teacher)) if is_held_out(i)]
    shown = [item for item in held if WORDS[0] <= len(item["text"].split()) <= WORDS[1]][: args.limit]
    columns: dict[str, list[Wave]] = {RECORDING: []}
    for item in shown:
        samples, rate = sf.read(item["path"], dtype="float32")
        columns[RECORDING].append(resample(samples, rate, dims.SAMPLE_RATE))
    with tempfile.TemporaryDirectory() as home:
        for k, pack in enumerate(args.pack):
            tts = TTS.load(pack, device="cpu", home=Path(home))
            voices = [tts.enroll(item["path"], adapt_steps=0) for item in shown]  # training voices need no adaptation
            made = [
                tts.say(item["text"], voice, seed=i).samples
                for i, (item, voice) in enumerate(zip(shown, voices, strict=True))
            ]
            columns[f"pack {k + 1}"] = made
    draw(columns, [str(k + 1) for k in range(len(shown))], args.picture)


if __name__ == "__main__":
    main()
