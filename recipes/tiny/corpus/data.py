"""A cached corpus: memory-mapped features, mel spectrograms and samples, and batches of them.

In: a folder made by `prepare` (one `.npy` per kind of array, all recordings concatenated, and `items.json`). Out:
`Corpus`, and batches of indices of similar length. It does not know what is trained.

Kinds: `sem` (T50, 160) features of the semantic encoder; `fbank` (T100, 80) Kaldi filter bank; `mel`
(T86, 80) log-mel; `wav` (S,) int16 at 22 050 Hz; and arrays of later stages.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

HELD_OUT_EVERY = 40  # every 40th recording is for validation
STRESS_AND_MARKS = set("ˈˌː .,;:!?'\"-—…“”()ʲ̃")


class Corpus:
    """Recordings and arrays computed from them; `items[i]` has name, voice, phones, text."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.items: list[dict[str, Any]] = json.loads((folder / "items.json").read_text())
        self._arrays: dict[str, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = {}

    def __len__(self) -> int:
        return len(self.items)

    def has(self, kind: str, since: Path | None = None) -> bool:
        """Whether the array exists, and is not older than the file `since`."""
        made = self.folder / f"{kind}.npy"
        return made.exists() and (since is None or made.stat().st_mtime >= since.stat().st_mtime)

    def _array(self, kind: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        if kind not in self._arrays:
            data = np.load(self.folder / f"{kind}.npy", mmap_mode="r")
            self._arrays[kind] = (data, np.load(self.folder / f"{kind}_off.npy"))
        return self._arrays[kind]

    def get(self, kind: str, i: int) -> Tensor:
        """Array `kind` of recording i; fp16 is widened to fp32."""
        return self.part(kind, i, 0, self.length(kind, i))

    def part(self, kind: str, i: int, start: int, end: int) -> Tensor:
        """Array `kind` of recording i from `start` to `end`."""
        data, offsets = self._array(kind)
        part = torch.from_numpy(np.array(data[offsets[i] + start : offsets[i] + end]))
        return part.float() if part.dtype == torch.float16 else part

    def length(self, kind: str, i: int) -> int:
        offsets = self._array(kind)[1]
        return int(offsets[i + 1] - offsets[i])

    def put(self, kind: str, arrays: Sequence[np.ndarray[Any, Any]]) -> None:
        """Add a kind of array, one per recording."""
        np.save(self.folder / f"{kind}.npy", np.concatenate(arrays))
        np.save(self.folder / f"{kind}_off.npy", np.cumsum([0] + [len(a) for a in arrays]))
        self._arrays.pop(kind, None)

    def training(self) -> list[int]:
        return [i for i in range(len(self)) if not is_held_out(i)]

    def held_out(self) -> list[int]:
        return [i for i in range(len(self)) if is_held_out(i)]


def is_held_out(i: int) -> bool:
    return i % HELD_OUT_EVERY == HELD_OUT_EVERY - 1


def batches(lengths: Sequence[int], budget: int, generator: np.random.Generator) -> Iterator[list[int]]:
    """Endless batches of indices with similar lengths, at most `budget` padded frames each."""
    while True:
        noisy = np.asarray(lengths) * generator.uniform(0.9, 1.1, len(lengths))
        made: list[list[int]] = [[]]
        for i in np.argsort(noisy):
            longest = max([lengths[i], *(lengths[j] for j in made[-1])])
            if made[-1] and longest * (len(made[-1]) + 1) > budget:
                made.append([])
            made[-1].append(int(i))
        for k in generator.permutation(len(made)):
            yield made[k]


def pad(parts: Sequence[Tensor], value: float = 0.0) -> tuple[Tensor, Tensor]:
    """Stack along a new batch axis, padded at the end; also the lengths (B,)."""
    padded = torch.nn.utils.rnn.pad_sequence(list(parts), batch_first=True, padding_value=value)
    return padded, torch.tensor([len(p) for p in parts])


def mask_of(lengths: Tensor, longest: int | None = None) -> Tensor:
    """Lengths (B,) -> mask (B, T) bool, True for real frames."""
    return torch.arange(longest or int(lengths.max()))[None] < lengths[:, None]


def n_phones(folder: Path) -> int:
    """Number of values of the array `phone`, including silence (0). `folder`: WORK, after the semantic encoder."""
    return len((folder / "phones.txt").read_text()) + 1


def phone_letters(phones: str) -> list[str]:
    """IPA without stress, length and punctuation, one symbol per letter."""
    return [p for p in phones if p not in STRESS_AND_MARKS]
