"""Packs a corpus into a small folder for a machine that has only PyTorch, NumPy and rich.

In: a cached corpus with `wav` and `pitch`, and with `predicted` if it has any. Out: `pack` writes the folder, without
held-out recordings; `unpack` makes a cached corpus of it. Recordings stay compressed, so the folder also has
libsndfile, from the package soundfile, which decodes them without that package.
"""

from __future__ import annotations

import ctypes
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from recipes.tiny import dims
from recipes.tiny.corpus.data import Corpus
from recipes.tiny.corpus.excerpts import PREDICTED_MEL

MEGABYTES, MEL_MEGABYTES = 17.0, 3.0  # a checkout of 42 MB and the folder travel together, 64 MiB in all
SPEECH, INDEX, PITCH, MELS, LIBRARY = "speech.bin", "speech.json", "pitch.npz", "mels.npz", "libsndfile.so"
PITCH_STEP = 1e-3  # resolution of the stored pitch, periods per frame
MEL_STEP, MEL_ZERO = 0.07, -5.0  # of the stored mels, natural logarithm: -13.9 to 3.9 in 8 bits
READ_MODE = 0x10


class _Info(ctypes.Structure):
    """SF_INFO of sndfile.h."""

    _fields_ = (
        ("frames", ctypes.c_int64),
        *((name, ctypes.c_int) for name in ("samplerate", "channels", "format", "sections", "seekable")),
    )


class Decoder:
    """libsndfile, for mono files at the pack's rate."""

    def __init__(self, library: Path) -> None:
        self.library = ctypes.CDLL(str(library))
        self.library.sf_open.restype = ctypes.c_void_p
        self.library.sf_readf_short.restype = ctypes.c_int64
        self.library.sf_readf_short.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
        self.library.sf_close.argtypes = (ctypes.c_void_p,)

    def __call__(self, path: Path) -> np.ndarray:
        """Samples (S,) int16. Raises ValueError for anything but mono at the pack's rate."""
        info = _Info()
        file = self.library.sf_open(str(path).encode(), READ_MODE, ctypes.byref(info))
        if not file:
            raise ValueError(f"{path} cannot be decoded")
        try:
            if (info.samplerate, info.channels) != (dims.SAMPLE_RATE, 1):
                raise ValueError(
                    f"{path} has {info.channels} channels at {info.samplerate} Hz; "
                    f"needed is mono at {dims.SAMPLE_RATE} Hz"
                )
            samples = np.zeros(info.frames, np.int16)
            n = self.library.sf_readf_short(file, samples.ctypes.data_as(ctypes.c_void_p), len(samples))
        finally:
            self.library.sf_close(file)
        return samples[:n]


def pack(corpus: Corpus, out: Path, megabytes: float = MEGABYTES) -> int:
    """Write training recordings up to this size, and the mels that S2Mel predicted of them. Returns their number."""
    out.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(0).permutation(corpus.training()).tolist()
    if corpus.has(PREDICTED_MEL):  # those with a mel first
        order.sort(key=lambda i: corpus.length(PREDICTED_MEL, i) == 0)
    sizes: list[int] = []
    pitches: list[np.ndarray] = []
    mels: list[np.ndarray] = []
    with (out / SPEECH).open("wb") as speech:
        for i in order:
            content = Path(corpus.items[i]["path"]).read_bytes()
            if sum(sizes) + len(content) > megabytes * 1e6:
                break
            speech.write(content)
            sizes.append(len(content))
            pitches.append(np.rint(corpus.get("pitch", i).numpy() / PITCH_STEP).astype(np.uint16))
            mels.append(_stored_mel(corpus, i, sum(len(m) for m in mels)))
    if not sizes:
        raise ValueError(f"no recording fits into {megabytes} MB")
    (out / INDEX).write_text(json.dumps(sizes))
    np.savez_compressed(out / PITCH, pitch=np.concatenate(pitches), sizes=[len(p) for p in pitches])
    np.savez_compressed(out / MELS, mel=np.concatenate(mels), sizes=[len(m) for m in mels])
    found = find_spec("_soundfile_data")  # beside the package, where it was installed as a wheel
    if found is None or found.origin is None:
        raise ValueError("soundfile brings no libsndfile here: `pip install --force-reinstall soundfile`")
    shutil.copyfile(next(Path(found.origin).parent.glob("libsndfile*.so")), out / LIBRARY)
    return len(sizes)


def _stored_mel(corpus: Corpus, i: int, n_frames: int) -> np.ndarray:
    """(F, M) int8, empty where there is none or no room for more than `n_frames`."""
    if (
        not corpus.has(PREDICTED_MEL)
        or (n_frames + corpus.length(PREDICTED_MEL, i)) * dims.N_MELS > MEL_MEGABYTES * 1e6
    ):
        return np.zeros((0, dims.N_MELS), np.int8)
    levels = (corpus.get(PREDICTED_MEL, i).numpy() - MEL_ZERO) / MEL_STEP
    stored: np.ndarray = np.rint(levels).clip(-128, 127).astype(np.int8)
    return stored


def unpack(bundle: Path, cache: Path) -> Corpus:
    """The bundle as a cached corpus; every 40th recording of it is held out for validation."""
    sizes = json.loads((bundle / INDEX).read_text())
    ends = np.cumsum(sizes)
    content = (bundle / SPEECH).read_bytes()
    cache.mkdir(parents=True, exist_ok=True)
    decoder = Decoder(bundle / LIBRARY)

    def decode(i: int) -> np.ndarray:
        path = cache / f"{i}.part"
        path.write_bytes(content[ends[i] - sizes[i] : ends[i]])
        samples = decoder(path)
        path.unlink()
        return samples

    with ThreadPoolExecutor() as pool:
        waves = list(pool.map(decode, range(len(sizes))))
    stored = np.load(bundle / PITCH)
    pitches = np.split(stored["pitch"].astype(np.float32) * PITCH_STEP, np.cumsum(stored["sizes"])[:-1])
    (cache / "items.json").write_text(json.dumps([{"name": str(i)} for i in range(len(sizes))]))
    corpus = Corpus(cache)
    corpus.put("wav", [wave[: len(pitch) * dims.HOP] for wave, pitch in zip(waves, pitches, strict=True)])
    corpus.put("pitch", pitches)
    stored = np.load(bundle / MELS)
    if len(stored["mel"]):
        mels = (stored["mel"].astype(np.float32) * MEL_STEP + MEL_ZERO).astype(np.float16)
        corpus.put(PREDICTED_MEL, np.split(mels, np.cumsum(stored["sizes"])[:-1]))
    return corpus
