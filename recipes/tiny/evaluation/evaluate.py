"""Evaluates a pack: words, voice, sound and speed, as a table and as JSON.

In: a pack, a fixed list of sentences (`sentences.txt`, not in the training data) and recordings of voices. Out: word
and character error rate (Whisper tiny), speaker similarity (Resemblyzer: cosine, and how often the right voice is the
nearest), quality (DNSMOS), hum at the frame rate (`sound_metrics`) and real-time factor. With the teacher's recordings
also the teacher's error rate, the mel-cepstral distance to them and the ratio of durations. Voices are `heard` if they
are in the training data, else `unheard`.

    python -m recipes.tiny.evaluation.evaluate --voices DIR [--pack PACK] [--teacher DIR] [--limit 80] [--json FILE]

The evaluation models are optional packages: `pip install -e '.[train]'`.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import soundfile as sf
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.fft import dct

from edgetts import TTS
from edgetts.audio.io import read_audio, resample
from edgetts.compute import DEFAULT_COMPUTE, Compute
from recipes.tiny import dims
from recipes.tiny.evaluation.listeners import JUDGE_RATE, Listener
from recipes.tiny.evaluation.sound_metrics import alone, means
from recipes.tiny.mel import mel_of

GROUPS = ("heard", "unheard")
UNHEARD = ("af_nova", "am_puck", "bf_lily", "bm_daniel")  # not in the training data
SENTENCES = Path(__file__).parents[1] / "sentences.txt"
N_CEPSTRA = 13
DB_PER_NEPER = 10 / np.log(10) * np.sqrt(2)
CLIPPED = 0.999  # absolute sample value from which a sample counts as clipped
LENGTH_RATIOS = (0.6, 1.6)  # accepted range of durations, relative to the teacher's

_SPELLED = {"mom": "mum", "ok": "okay", "gray": "grey", "colour": "color", "neighbour": "neighbor"}


class VoiceEmbedder:
    """Resemblyzer's voice encoder: waveform -> unit embedding (256,)."""

    def __init__(self) -> None:
        from resemblyzer import VoiceEncoder

        self.encoder = VoiceEncoder("cpu", verbose=False)

    def __call__(self, samples: np.ndarray, rate: int) -> np.ndarray:
        from resemblyzer import preprocess_wav

        embedding: np.ndarray = self.encoder.embed_utterance(preprocess_wav(samples, source_sr=rate))
        return embedding


def recordings_in(folder: Path) -> dict[str, Path]:
    """The audio files of a folder by file name without extension."""
    return {p.stem: p for p in sorted(folder.iterdir()) if p.suffix in (".flac", ".wav", ".ogg", ".mp3")}


def options_of(given: list[str]) -> dict[str, Any]:
    """Parse `NAME=VALUE` options; the values are JSON."""
    return {k: json.loads(v) for k, _, v in (o.partition("=") for o in given)}


def learning_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that decide how a voice is learned; None: as the pack's."""
    return {name: options.get(name) for name in ("adapt_steps", "match_spectrum")}


def words(text: str) -> str:
    """Lower-case words without punctuation, in one spelling."""
    plain = re.sub(r"[^a-z' ]", " ", text.lower().replace("’", "'").replace("-", " "))
    return " ".join(_SPELLED.get(w, w) for w in plain.split())


def mel_cepstral_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Mel-cepstral distance in dB of two mono signals at the pack's rate, aligned by dynamic time warping."""

    def cepstra(samples: np.ndarray) -> np.ndarray:
        mel = mel_of(torch.from_numpy(samples)[None])[0].numpy().T  # (T, M)
        transformed: np.ndarray = dct(mel, norm="ortho", axis=1)[:, 1 : N_CEPSTRA + 1] / np.sqrt(dims.N_MELS / 2)
        return transformed

    x, y = cepstra(a), cepstra(b)
    cost = np.sqrt(((x[:, None] - y[None]) ** 2).sum(-1))
    total = np.full((len(x) + 1, len(y) + 1), np.inf)
    steps = np.zeros_like(total)
    total[0, 0] = 0
    for i in range(1, len(x) + 1):
        for j in range(1, len(y) + 1):
            options = (total[i - 1, j - 1], total[i - 1, j], total[i, j - 1])
            k = int(np.argmin(options))
            total[i, j] = options[k] + cost[i - 1, j - 1]
            steps[i, j] = steps[(i - 1, i - 1, i)[k], (j - 1, j, j - 1)[k]] + 1
    return float(DB_PER_NEPER * total[-1, -1] / steps[-1, -1])


def evaluate(
    tts: TTS,
    sentences: list[str],
    voices: dict[str, Path],
    teacher: Path | None,
    options: dict[str, Any],
    first_seed: int = 0,
    wanted: Sequence[str] = GROUPS,
) -> dict[str, Any]:
    """All metrics. wanted: groups of voices that read; the nearest voice is searched among all voices."""
    import jiwer

    listener, embedder = Listener(), VoiceEmbedder()
    ready = tts.ready_voices()
    enrolled, embeddings = {}, {}
    groups = {
        "heard": [v for v in voices if v not in UNHEARD],
        "unheard": [v for v in voices if v in UNHEARD],
    }
    groups = {group: names for group, names in groups.items() if group in wanted}
    for name, path in voices.items():
        embeddings[name] = embedder(read_audio(path, JUDGE_RATE, 15.0).samples, JUDGE_RATE)
        if not any(name in names for names in groups.values()):
            continue
        learn = learning_options(options)
        enrolled[name] = tts.voice(name) if name in ready else tts.enroll(path, name=name, **learn)
    result: dict[str, Any] = {
        "pack": tts.pack.manifest.name,
        "sentences": len(sentences),
        "seed": first_seed,
        "options": options,
    }
    for group, names in groups.items():
        if not names:
            continue
        said, heard, cosines, nearest, seconds, compute = [], [], [], [], 0.0, 0.0
        sounds: list[dict[str, float]] = []
        problems: dict[str, int] = defaultdict(int)
        cases = []
        for k, sentence in enumerate(track(sentences, description=group, transient=True)):
            voice = names[k % len(names)]
            audio = tts.say(sentence, enrolled[voice], seed=first_seed + k, **options)
            samples = audio.samples
            problems["not finite"] += not bool(np.isfinite(samples).all())
            problems["clipped"] += bool((np.abs(samples) >= CLIPPED).mean() > 1e-3)
            problems["silent"] += bool(np.abs(samples).max(initial=0.0) < 0.01)
            problems["guarded"] += bool(audio.notices)
            seconds, compute = seconds + audio.seconds, compute + audio.compute_seconds
            transcript = listener(samples, audio.sample_rate)
            said.append(words(sentence))
            heard.append(words(transcript))
            if len(samples) >= audio.sample_rate:  # DNSMOS needs at least a second
                sounds.append(alone(samples))
            embedding = embedder(samples, audio.sample_rate)
            scores = {v: float(embedding @ e) for v, e in embeddings.items()}
            cosines.append(scores[voice])
            nearest.append(max(scores, key=lambda v: scores[v]) == voice)
            cases.append({"voice": voice, "said": sentence, "heard": transcript.strip(), "seconds": audio.seconds})
        result[group] = {
            "word_error_rate": jiwer.wer(said, heard),
            "character_error_rate": jiwer.cer(said, heard),
            "similarity": float(np.mean(cosines)),
            "nearest_of_all": float(np.mean(nearest)),
            "sound": means(sounds),
            "rtf": compute / max(seconds, 1e-6),
            "problems": dict(problems),
            "cases": cases,
        }
    if teacher is not None:
        result["teacher"] = against_teacher(tts, teacher, listener, options)
    return result


def against_teacher(
    tts: TTS, teacher: Path, listener: Listener, options: dict[str, Any], n: int = 16
) -> dict[str, Any]:
    """Compare held-out recordings of the teacher with the pack's readings of the same sentences in the same voices."""
    import jiwer

    rows = [line.rstrip("\n").split("\t") for line in (teacher / "metadata.tsv").read_text().splitlines()]
    rows = [r for i, r in enumerate(rows) if i % 40 == 39 and r[1] in tts.ready_voices()]
    if len(rows) < n:
        extra = [line.rstrip("\n").split("\t") for line in (teacher / "metadata.tsv").read_text().splitlines()]
        rows += [r for i, r in enumerate(extra) if i % 40 == 39 and r not in rows][: n - len(rows)]
    said, teachers, packs, distances, ratios = [], [], [], [], []
    for k, (name, voice, _, _, _, text) in enumerate(rows[:n]):
        path = teacher / "wav" / f"{name}.ogg"
        recorded, rate = sf.read(path, dtype="float32")
        own = resample(recorded, rate, tts.sample_rate)
        speaker = voice if voice in tts.ready_voices() else path
        made = tts.say(text, speaker, seed=k, **options)
        said.append(words(text))
        teachers.append(words(listener(own, tts.sample_rate)))
        packs.append(words(listener(made.samples, made.sample_rate)))
        distances.append(mel_cepstral_distance(made.samples, own))
        ratios.append(made.seconds / (len(own) / tts.sample_rate))
    return {
        "sentences": len(said),
        "teacher_word_error_rate": jiwer.wer(said, teachers),
        "word_error_rate": jiwer.wer(said, packs),
        "mel_cepstral_distance_db": float(np.mean(distances)),
        "length_ratio": float(np.mean(ratios)),
        "length_ratio_in_range": float(np.mean([LENGTH_RATIOS[0] <= r <= LENGTH_RATIOS[1] for r in ratios])),
    }


def show(result: dict[str, Any], console: Console) -> None:
    table = Table(title=f"pack {result['pack']}, {result['sentences']} sentences")
    for column in ("", "WER", "CER", "similarity", "nearest", "DNSMOS", "P.808", "comb", "RTF", "problems"):
        table.add_column(column)
    for group in ("heard", "unheard"):
        if group in result:
            g = result[group]
            bad = ", ".join(f"{v} {k}" for k, v in g["problems"].items() if v) or "none"
            table.add_row(
                group,
                f"{g['word_error_rate']:.1%}",
                f"{g['character_error_rate']:.1%}",
                f"{g['similarity']:.3f}",
                f"{g['nearest_of_all']:.0%}",
                *(f"{g['sound'].get(k, np.nan):.2f}" for k in ("overall", "p808")),
                f"{max((v for k, v in g['sound'].items() if k.startswith('comb')), default=np.nan):.0%}",
                f"{g['rtf']:.2f}",
                bad,
            )
    console.print(table)
    if "teacher" in result:
        t = result["teacher"]
        console.print(
            f"held-out sentences of the teacher ({t['sentences']}): teacher WER {t['teacher_word_error_rate']:.1%}, "
            f"pack WER {t['word_error_rate']:.1%}, mel-cepstral distance {t['mel_cepstral_distance_db']:.1f} dB, "
            f"length {t['length_ratio']:.2f} x the teacher's"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", default=None, help="pack folder (default: as `edgetts say` finds it)")
    parser.add_argument("--voices", type=Path, required=True, help="folder with one recording per voice")
    parser.add_argument("--teacher", type=Path, default=None, help="corpus folder with metadata.tsv and wav/")
    parser.add_argument("--sentences", type=Path, default=SENTENCES)
    parser.add_argument("--group", choices=GROUPS, action="append", help="group of voices to evaluate (default: both)")
    parser.add_argument("--limit", type=int, default=None, help="maximum number of sentences")
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--seed", type=int, default=0, help="seed of the first sentence; each further one adds 1")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="synthesis option")
    parser.add_argument("--compute", choices=get_args(Compute), default=DEFAULT_COMPUTE)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    options = options_of(args.option)
    sentences = args.sentences.read_text().splitlines()[: args.limit]
    with tempfile.TemporaryDirectory() as home:
        tts = TTS.load(args.pack, device="cpu", compute=args.compute, home=Path(home) if args.pack else None)
        result = evaluate(
            tts, sentences, recordings_in(args.voices), args.teacher, options, args.seed, args.group or GROUPS
        )
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")
    show(result, Console())


if __name__ == "__main__":
    main()
