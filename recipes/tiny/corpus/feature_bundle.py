"""Packs what S2Mel learns from into a small folder for a machine that has only PyTorch, NumPy and rich.

In: a pack, and cached corpora with `mel`, `fbank`, `feat`, `text`, `codes`, `heard` and `phone`. Out: `pack` writes
the folder, without held-out recordings; `unpack` reads it. Mels are stored in 8 bits. The GPT's latents are too large:
the folder has each voice's conditioning instead, and the machine computes them with the pack's GPT. The folder also has
the small libraries that opening a pack needs; they are found with `PYTHONPATH=BUNDLE/libraries`.
"""

from __future__ import annotations

import json
import lzma
import shutil
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from edgetts.models import registry
from edgetts.pack.load import Pack
from recipes.tiny import dims
from recipes.tiny.corpus.data import Corpus

MEGABYTES = 22.0  # of the whole folder, about 1.7 hours of speech: checkout and folder travel together
MEL_STEP, MEL_ZERO = 0.2, -5.0  # of the stored mels, natural logarithm: -30.6 to 20.4 in 8 bits, wrong by 0.5 dB
REFERENCES = 2  # recordings per voice that the latents are computed for
REFERENCE_CODES = 200  # of their frames
BLOCK = 50  # recordings that are compressed together
INDEX, ARRAYS, FEATURES, LIBRARIES = "index.json", "arrays.npz", "features.xz", "libraries"
NEEDED = ("safetensors", "platformdirs")
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Features:
    """Recordings, one after the other. F mel frames and T codes in all, N recordings, V voices."""

    mel: Array  # (F, M) float16
    n_frames: Array  # (N,)
    codes: Array  # (T,) the target's
    heard: Array  # (T,) the codec's own, for prompts
    phones: Array  # (T,)
    n_codes: Array  # (N,)
    ids: list[list[int]]  # of the texts
    style: Array  # (N, 192) float32
    voice: Array  # (N,)
    factor: Array  # (N,) of resampling
    latents: Array  # (V, REFERENCES, N latents, C) float16: conditioning of the GPT
    emotions: Array  # (V, REFERENCES, C) float16

    @property
    def n_phones(self) -> int:
        return int(self.phones.max()) + 1


Recording = tuple[Corpus, int]


@torch.inference_mode()
def pack(model: Pack, corpora: Sequence[Corpus], out: Path, megabytes: float = MEGABYTES) -> int:
    """Write training recordings until the folder has this size. Returns their number. Raises ValueError for none.

    A recording that is in several corpora, as it is and resampled, is written once, in one of these forms.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name in NEEDED:
        _copy_library(name, out / LIBRARIES)
    order = _order(corpora)
    room = megabytes * 1e6 - _size(out / LIBRARIES) - sum(map(_heads_size, corpora))
    blocks: list[bytes] = []
    kept: list[Recording] = []
    for first in range(0, len(order), BLOCK):
        part = order[first : first + BLOCK]
        blocks.append(lzma.compress(_stored(part)))
        if sum(map(len, blocks)) + len(kept + part) * dims.STYLE * 2 > room:
            blocks.pop()
            break
        kept += part
    if not kept:
        raise ValueError(f"no recording fits into {megabytes} MB")
    voices = [corpus.items[i]["voice"] for corpus, i in kept]
    names = sorted(set(voices))
    speaker_encoder = registry.SPEAKER_ENCODER.load(model)
    fbanks = (corpus.get("fbank", i) for corpus, i in kept)
    styles = [speaker_encoder((fbank - fbank.mean(0, keepdim=True))[None])[0].numpy() for fbank in fbanks]
    latents, emotions = _heads(model, kept, names)
    (out / FEATURES).write_bytes(b"".join(blocks))
    np.savez_compressed(
        out / ARRAYS,
        sizes=[len(block) for block in blocks],
        n_frames=[corpus.length("mel", i) for corpus, i in kept],
        n_codes=[corpus.length("codes", i) for corpus, i in kept],
        style=np.stack(styles).astype(np.float16),
        voice=[names.index(voice) for voice in voices],
        factor=[float(corpus.items[i].get("factor", 1.0)) for corpus, i in kept],
        latents=latents,
        emotions=emotions,
    )
    (out / INDEX).write_text(json.dumps([corpus.get("text", i).tolist() for corpus, i in kept]))
    return len(kept)


def _order(corpora: Sequence[Corpus]) -> list[Recording]:
    """All training recordings in random order, each name once."""
    generator = np.random.default_rng(0)
    forms: dict[str, list[Recording]] = defaultdict(list)
    for corpus in corpora:
        for i in corpus.training():
            forms[corpus.items[i]["name"]].append((corpus, i))
    chosen = [of_name[generator.integers(len(of_name))] for of_name in forms.values()]
    return [chosen[k] for k in generator.permutation(len(chosen))]


def unpack(bundle: Path) -> Features:
    """The recordings of a folder written by `pack`."""
    about = np.load(bundle / ARRAYS)
    ends = np.cumsum(about["sizes"])
    content = (bundle / FEATURES).read_bytes()
    n_frames, n_codes = about["n_frames"], about["n_codes"]
    mels: list[Array] = []
    numbers: list[Array] = []  # rows: codes, heard, phones
    with ThreadPoolExecutor() as pool:  # a GPU waits for it
        blocks = pool.map(lzma.decompress, (content[s:e] for s, e in zip([0, *ends[:-1]], ends, strict=True)))
    for k, block in enumerate(blocks):
        here = slice(k * BLOCK, (k + 1) * BLOCK)
        n_mel, n = int(n_frames[here].sum()) * dims.N_MELS, int(n_codes[here].sum())
        steps = np.frombuffer(block, np.int8, n_mel).reshape(dims.N_MELS, -1)
        mels.append((np.cumsum(steps, axis=0, dtype=np.int8).T * MEL_STEP + MEL_ZERO).astype(np.float16))
        numbers.append(np.frombuffer(block, np.int16, 3 * n, n_mel).reshape(3, n))
    codes, heard, phones = np.concatenate(numbers, axis=1)
    return Features(
        mel=np.concatenate(mels),
        n_frames=n_frames,
        codes=codes,
        heard=heard,
        phones=phones,
        n_codes=n_codes,
        ids=json.loads((bundle / INDEX).read_text()),
        style=about["style"].astype(np.float32),
        voice=about["voice"],
        factor=about["factor"],
        latents=about["latents"],
        emotions=about["emotions"],
    )


def _stored(chosen: Sequence[Recording]) -> bytes:
    """Mels as differences between neighboring bands, band by band, modulo 256; then the codes and phones in 16 bits."""
    mel = torch.cat([corpus.get("mel", i) for corpus, i in chosen]).numpy()
    levels = np.rint((mel - MEL_ZERO) / MEL_STEP).clip(-128, 127).astype(np.int8)
    steps = np.diff(levels, axis=1, prepend=np.int8(0)).astype(np.int8)
    kinds = ("codes", "heard", "phone")
    numbers = [torch.cat([corpus.get(kind, i) for corpus, i in chosen]).short().numpy() for kind in kinds]
    return bytes(steps.T.tobytes()) + np.stack(numbers).tobytes()


def _heads(model: Pack, kept: Sequence[Recording], names: Sequence[str]) -> tuple[Array, Array]:
    """Conditioning latents (V, REFERENCES, N, C) and emotion vectors (V, REFERENCES, C), float16."""
    conditioning = registry.SPEAKER_CONDITIONING.load(model)
    by_voice: dict[str, list[Recording]] = defaultdict(list)
    for corpus, i in kept:
        by_voice[corpus.items[i]["voice"]].append((corpus, i))
    latents, emotions = [], []
    for name in names:
        for k in range(REFERENCES):
            corpus, i = by_voice[name][k % len(by_voice[name])]
            features = corpus.get("feat", i)[:REFERENCE_CODES][None]
            latents.append(conditioning.speaker_latents(features)[0].half().numpy())
            emotions.append(conditioning.emotion_vector(features)[0].half().numpy())
    shape = (len(names), REFERENCES)
    return np.stack(latents).reshape(*shape, *latents[0].shape), np.stack(emotions).reshape(*shape, -1)


def _heads_size(corpus: Corpus) -> int:
    n_voices = len({item["voice"] for item in corpus.items})
    return 2 * n_voices * REFERENCES * (dims.N_LATENTS + 1) * dims.MODEL


def _copy_library(name: str, target: Path) -> None:
    found = find_spec(name)
    if found is None or found.submodule_search_locations is None:
        raise ValueError(f"the library {name} is missing: pip install {name}")
    ignored = shutil.ignore_patterns("__pycache__", "*.dist-info")
    shutil.copytree(next(iter(found.submodule_search_locations)), target / name, ignore=ignored, dirs_exist_ok=True)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
