"""Stage `export`: writes the trained networks as a model pack, with ready voices.

In: a work folder with all stages, a corpus for the emotion matrix and the silence code, and a recording of each ready
voice. Out: a pack folder with large matrices in int8 per output channel and most other weights in fp16.

Emotion matrix: the teacher's speech is neutral. Each row is the mean emotion vector of the recordings of one voice that
deviate most in pitch, pitch range, level and pace toward the typical values of the emotion (`DIRECTIONS`). The matrix
exercises the emotion path; at most it changes liveliness and pace.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgetts.api import TTS
from edgetts.compute import COMPUTE
from edgetts.models.conditioning import Conditioning
from edgetts.pack.entries import EMOTION, LEXICON_FILE, PRONOUNCER_FILE, TOKENIZER_FILE
from edgetts.pack.strict import to_dict
from edgetts.quant.build import ALWAYS_FP32
from edgetts.quant.schemes import SchemeRule
from edgetts.quant.staging import remove_pack
from edgetts.quant.writer import PackWriter
from recipes.tiny import dims
from recipes.tiny.common import stage_weights
from recipes.tiny.corpus.data import Corpus, phone_letters
from recipes.tiny.corpus.text import N_TOKENS, TEXT_CONFIG, save_text_tables
from recipes.tiny.stages.output_level import OUTPUT_DB, scaled
from recipes.tiny.stages.s2mel_data import load_speaker_encoder
from recipes.tiny.stages.swap_vocoder import INT8_RULES
from recipes.tiny.stages.train_codec import latest_weights, load_codec
from recipes.tiny.stages.train_s2mel import final_weights
from recipes.tiny.stages.train_vocoder_istft import with_pitch_net

EMOTION_VOICES = ("af_heart", "bf_emma", "af_kore", "am_michael", "bm_george", "am_eric")
READY_VOICES = ("af_heart", "am_michael", "bf_emma", "bm_george")
# happy, angry, sad, afraid, disgusted, melancholic, surprised, calm: pitch, pitch range, level, pace
DIRECTIONS = (
    (1.0, 1.0, 0.5, 0.5),
    (-0.3, 0.5, 1.0, 0.7),
    (-0.7, -0.5, -1.0, -0.7),
    (1.0, -0.3, -0.5, 1.0),
    (-1.0, 0.5, 0.0, -0.5),
    (-0.5, -1.0, -0.5, -1.0),
    (1.0, 1.0, 0.7, -0.3),
    (-0.3, -1.0, -0.3, -0.5),
)
RECORDINGS_PER_ROW = 4
ALL_INT8 = (SchemeRule("*", "int8_channel"),)
RULES: dict[str, Sequence[SchemeRule]] = {
    **dict.fromkeys(("semantic_encoder", "codec_encoder", "conditioning", "gpt", "s2mel"), ALL_INT8),
    "vocoder": INT8_RULES,
}
LICENSE = (
    "Weights trained by the edgetts project from speech synthesized by Kokoro-82M (Apache-2.0) and by a Piper voice; "
    "MIT, as the project itself. Synthetic voices; see LICENSE-NOTE.md."
)
DESCRIPTION = "Built-in demonstration model: plain English, small networks, the same code path as IndexTTS-2."
# Codes repeat often in a small codebook, so there is no repetition penalty. Greedy or narrow sampling prolongs sounds,
# so top_p is high. Three steps of the multistep solver (the first with guidance) and a 1 s prompt sound as good as five
# steps and a 3 s prompt, in less than half the time. In long segments the GPT sometimes loses its position in the text;
# 80 tokens are about fifteen words.
DEFAULTS: dict[str, Any] = {
    "do_sample": True,
    "temperature": 0.8,
    "top_p": 0.95,
    "top_k": 0,
    "repetition_penalty": 1.0,
    "n_beams": 1,
    "length_penalty": 1.0,
    "max_segment_tokens": 80,
    "retries": 3,
    "solver": "ab2",
    "n_steps": 3,
    "cfg_rate": 0.5,
    "cfg_until": 0.3,
    "prompt_s": 1.0,
    "first_steps": 2,
    "noise_scale": 0.0,  # lower than in training: part of the initial noise remains audible
    "tail_s": 0.1,  # without it, one ending in ten is cut off
    "adapt_steps": 0,  # it takes seconds, and a matched spectrum is as close to a new voice and sounds better
    "match_spectrum": True,
    COMPUTE: "fast",
}
LOWEST_PITCH, HIGHEST_PITCH = 70, 400  # Hz


def pitch(waveform: np.ndarray) -> tuple[float, float]:
    """Median and standard deviation of ln(pitch in Hz) over voiced frames, by autocorrelation; 0 if none is voiced."""
    size, hop = 1024, 512
    frames = np.lib.stride_tricks.sliding_window_view(waveform, size)[::hop] * np.hanning(size)
    power = np.abs(np.fft.rfft(frames, 2 * size)) ** 2
    correlation = np.fft.irfft(power)[:, :size]
    low, high = dims.SAMPLE_RATE // HIGHEST_PITCH, dims.SAMPLE_RATE // LOWEST_PITCH
    part = correlation[:, low:high]
    voiced = part.max(1) > 0.45 * correlation[:, 0] + 1e-6
    if not voiced.any():
        return 0.0, 0.0
    values = np.log(dims.SAMPLE_RATE / (low + part[voiced].argmax(1)))
    return float(np.median(values)), float(values.std())


def emotion_matrices(corpus: Corpus, conditioning: Conditioning, style_of: Any) -> dict[str, Tensor]:
    """`speaker_matrix` (rows, 192) and `emotion_matrix` (rows, C), ordered by emotion, then by voice."""
    by_voice: dict[str, list[int]] = defaultdict(list)
    for i, item in enumerate(corpus.items):
        by_voice[item["voice"]].append(i)
    voices = [v for v in EMOTION_VOICES if v in by_voice] or sorted(by_voice)
    styles: dict[str, Tensor] = {}
    vectors: dict[tuple[int, str], Tensor] = {}
    for voice in voices:
        indices = by_voice[voice]
        measures = []
        for i in indices:
            wave = corpus.get("wav", i).numpy().astype(np.float32) / 32768
            height, spread = pitch(wave)
            pace = len(phone_letters(corpus.items[i]["phones"])) * dims.SAMPLE_RATE / len(wave)
            measures.append((height, spread, float(corpus.get("mel", i).mean()), pace))
        table = np.array(measures)
        table = (table - table.mean(0)) / (table.std(0) + 1e-6)
        styles[voice] = torch.stack([style_of(i) for i in indices[:20]]).mean(0)
        for k, direction in enumerate(DIRECTIONS):
            far = np.argsort(-table @ np.array(direction))[:RECORDINGS_PER_ROW]
            with torch.no_grad():
                found = [conditioning.emotion_vector(corpus.get("feat", indices[j])[None])[0] for j in far]
            vectors[k, voice] = torch.stack(found).mean(0)
    rows = [(k, v) for k in range(len(DIRECTIONS)) for v in voices]
    return {
        "speaker_matrix": torch.stack([styles[v] for _, v in rows]),
        "emotion_matrix": torch.stack([vectors[row] for row in rows]),
    }


def trained(work: Path, corpus: Corpus) -> tuple[dict[str, dict[str, Tensor]], int]:
    """The tensors of each component, and the silence code."""
    codec = load_codec(work).state_dict()
    gpt = stage_weights(work, "gpt")
    config = dims.model_config(N_TOKENS, None, (1,) * len(DIRECTIONS))
    conditioning = Conditioning(config.conditioning)
    conditioning.load_state_dict(gpt["average_conditioning"])
    conditioning.eval()
    speaker_encoder = load_speaker_encoder(work)

    def style_of(i: int) -> Tensor:
        fbank = corpus.get("fbank", i)
        with torch.no_grad():
            style: Tensor = speaker_encoder((fbank - fbank.mean(0, keepdim=True))[None])[0]
        return style

    stats = torch.load(work / "stats.pt", weights_only=True)
    tensors = {
        "semantic_encoder": latest_weights(work, "semantic_encoder")["encoder"],
        "semantic_statistics": {"mean": stats["mean"], "std": stats["std"]},
        "codec_encoder": {k: v for k, v in codec.items() if k.startswith("encoder.")},
        "quantizer": {k: v for k, v in codec.items() if k.startswith("quantizer.")},
        "speaker_encoder": speaker_encoder.state_dict(),
        "conditioning": gpt["average_conditioning"],
        "emotion": emotion_matrices(corpus, conditioning, style_of),
        "gpt": gpt["average_gpt"],
        "s2mel": final_weights(work),
        "vocoder": scaled(with_pitch_net(work).state_dict(), OUTPUT_DB),
    }
    return tensors, silence_code(corpus)


def silence_code(corpus: Corpus) -> int:
    """The most frequent code of the quietest frames."""
    counts = np.zeros(dims.CODEBOOK)
    for i in range(0, len(corpus), 8):
        level = corpus.get("mel", i).mean(1).numpy()
        codes = corpus.get("codes", i).numpy()
        at = (np.arange(len(codes)) * dims.FRAMES_PER_CODE).astype(int).clip(max=len(level) - 1)
        quiet = level[at] < np.quantile(level, 0.03)
        np.add.at(counts, codes[quiet], 1)
    return int(counts.argmax())


def write(
    target: Path,
    work: Path,
    corpus: Corpus,
    defaults: dict[str, Any],
    recordings: dict[str, Path],
    *,
    float32: bool = False,
) -> Path:
    """Write the pack in the shipped precision, or entirely in float32 for comparisons. Returns `target`."""
    tensors, silence = trained(work, corpus)
    n_rows = len(tensors["emotion"]["speaker_matrix"]) // len(DIRECTIONS)
    config = dims.model_config(N_TOKENS, silence, (n_rows,) * len(DIRECTIONS))
    save_text_tables(work)
    note = Path(__file__).parents[1] / "LICENSE-NOTE.md"

    def once(folder: Path, voices: dict[str, bytes]) -> None:
        with PackWriter(
            folder,
            config,
            name="tiny",
            recipe="recipes/tiny",
            license=LICENSE,
            description=DESCRIPTION,
            text=to_dict(TEXT_CONFIG),
            defaults=defaults,
            without=(EMOTION,),  # the matrix only exercises the emotion path; its effect is not audible
            force=True,
        ) as writer:
            for component, values in tensors.items():
                rules = [] if float32 else RULES.get(component, ())
                dtype = "float32" if float32 or component in ALWAYS_FP32 else "float16"
                writer.add_component(component, values, dtype=dtype, rules=rules)
            for name in (TOKENIZER_FILE, LEXICON_FILE, PRONOUNCER_FILE):
                writer.add_file(name, work / name)
            writer.add_file("LICENSE-NOTE.md", note)
            for name, data in voices.items():
                writer.add_file(f"voices/{name}.safetensors", data)
            writer.finish(None)

    # Voices are enrolled with the pack itself, so a draft without voices is written first.
    draft = work / "pack_draft"
    once(draft, {})
    tts = TTS.load(draft, device="cpu", home=work / "home")
    voices = {}
    for name, recording in recordings.items():
        path = tts.enroll(recording, name=name).save(work / f"{name}.safetensors")
        voices[name] = path.read_bytes()
        path.unlink()
    once(target, voices)
    remove_pack(draft)
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, required=True, help="cached corpus, for emotions and the silence code")
    parser.add_argument("--voices", type=Path, required=True, help="folder with a recording of each ready voice")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--float32", action="store_true", help="write all weights in float32, to measure schemes and half precision"
    )
    args = parser.parse_args()
    recordings = {v: next(args.voices.glob(f"{v}.*")) for v in READY_VOICES}
    print(write(args.out, args.work, Corpus(args.corpus), DEFAULTS, recordings, float32=args.float32))


if __name__ == "__main__":
    main()
