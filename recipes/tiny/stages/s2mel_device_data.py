"""The recordings of a feature bundle on a device, and batches of S2Mel that are gathered there.

In: `feature_bundle.Features`, the GPT's latents of all codes, the codebook. Out: a batch in two steps: the host draws
a few numbers per item, and the device gathers the batch from them, in shapes that depend on the batch's shape only, so
that a graph can do it.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
from torch import Tensor

from edgetts.models.s2mel import LatentS2Mel
from recipes.tiny import dims
from recipes.tiny.corpus.data import is_held_out
from recipes.tiny.corpus.feature_bundle import Features
from recipes.tiny.stages.s2mel_data import Batch, Shape

CANDIDATES = 12  # recordings of which the one with the nearest resampling factor is the reference


class DeviceItems:
    """The recordings of a bundle on a device, in random batches."""

    def __init__(self, features: Features, latents: Tensor, table: Tensor, device: torch.device, *, held: bool) -> None:
        """latents (T, C): of all codes; table (K, C): the codebook's features. held: only the held-out recordings."""
        self._mel = torch.from_numpy(features.mel).to(device)
        self._first_frame, self._n_frames = _offsets(features.n_frames), features.n_frames
        self._first_code, self._n_codes = _offsets(features.n_codes), features.n_codes
        self._codes, self._heard, self._phones = (
            torch.from_numpy(x.astype(np.int64)).to(device) for x in (features.codes, features.heard, features.phones)
        )
        self._style = torch.from_numpy(features.style).to(device)
        self._latents, self._table, self.device = latents, table, device
        own = [i for i in range(len(features.voice)) if is_held_out(i) == held]
        self._order = np.array(sorted(own, key=lambda i: features.n_frames[i]), dtype=np.int64)
        self._factor = features.factor
        self._members, self._first_member, self._n_members = _references(features)

    @property
    def longest(self) -> int:
        """Frames of the longest recording."""
        return int(self._n_frames[self._order[-1]])

    def fitting(self, shape: Shape) -> Shape:
        """The shape with a target that some recording has."""
        n_prompt, n_target, size = shape
        return n_prompt, min(n_target, self.longest - 2), size

    def draw(self, generator: np.random.Generator, shape: Shape) -> Tensor:
        """Numbers (11, items) int64 of a `fitting` shape: where each item's target and prompt begin."""
        n_prompt, n_target, size = shape
        m_prompt, n_codes = int(n_prompt / dims.FRAMES_PER_CODE), int(n_target / dims.FRAMES_PER_CODE) + 1
        first = int(np.searchsorted(self._n_frames[self._order], n_target + 2))
        chosen = self._order[generator.integers(first, len(self._order), size)]
        references = self._draw_references(chosen, generator)
        cut = _cut(generator, self._n_codes[chosen] - n_codes + 1)
        frame = np.minimum(np.rint(cut * dims.FRAMES_PER_CODE).astype(np.int64), self._n_frames[chosen] - n_target)
        # A recording that is too short is repeated.
        r_cut = _cut(generator, self._n_codes[references] - m_prompt)
        start = np.minimum(
            np.rint(r_cut * dims.FRAMES_PER_CODE).astype(np.int64), self._n_frames[references] - n_prompt
        )
        rows = (
            *(self._first_code[chosen], cut, self._n_codes[chosen], self._first_frame[chosen] + frame),
            *(self._first_code[references], r_cut, self._n_codes[references]),
            *(self._first_frame[references], np.maximum(start, 0), self._n_frames[references], references),
        )
        return torch.from_numpy(np.stack(rows).astype(np.int64))

    def gather(self, numbers: Tensor, model: LatentS2Mel, shape: Shape) -> Batch:
        """The batch of numbers (11, items) on the device."""
        n_prompt, n_target, _ = shape
        m_prompt, n_codes = int(n_prompt / dims.FRAMES_PER_CODE), int(n_target / dims.FRAMES_PER_CODE) + 1
        first_code, cut, n, first, r_first_code, r_cut, r_n, r_first, start, r_n_frames, references = (
            row[:, None] for row in numbers
        )
        codes = first_code + torch.minimum(cut + self._to(n_codes), n - 1)
        code_of = (self._to(n_target) / dims.FRAMES_PER_CODE).long()
        prompt = self._mel[r_first + (start + self._to(n_prompt)) % r_n_frames]
        heard = self._heard[r_first_code + (r_cut + self._to(m_prompt)) % r_n]
        return Batch(
            mel=self._mel[first + self._to(n_target)].float().transpose(1, 2),
            semantic=self._table[self._codes[codes]] + model.project_latents(self._latents[codes].float()),
            prompt=prompt.float().transpose(1, 2),
            prompt_semantic=self._table[heard],
            style=self._style[references[:, 0]],
            phones=self._phones[codes][:, code_of],
        )

    def batch(self, generator: np.random.Generator, model: LatentS2Mel, shape: Shape) -> Batch:
        """A random batch; a target that is longer than all recordings is shortened."""
        shape = self.fitting(shape)
        return self.gather(self.draw(generator, shape).to(self.device), model, shape)

    def _to(self, n: int) -> Tensor:
        return torch.arange(n, device=self.device)

    def _draw_references(self, chosen: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Per recording a random other one of its voice, with a resampling factor close to its own."""
        n_members = self._n_members[chosen][:, None]
        at = (generator.random((len(chosen), CANDIDATES)) * n_members).astype(np.int64)
        drawn = self._members[self._first_member[chosen][:, None] + at]  # (items, CANDIDATES)
        distance = np.abs(self._factor[drawn] - self._factor[chosen][:, None])
        distance[drawn == chosen[:, None]] = np.inf  # itself only if nothing else was drawn
        found: np.ndarray = drawn[np.arange(len(chosen)), distance.argmin(1)]
        return found


def _references(features: Features) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All possible references, group by group, and per recording where its own begin and how many there are.

    Recordings of one voice on the same side of their natural pitch; a recording without others refers to itself.
    """
    group = [(int(v), float(f) > 1) for v, f in zip(features.voice, features.factor, strict=True)]
    by_group: dict[tuple[int, bool], list[int]] = defaultdict(list)
    for i, key in enumerate(group):
        if not is_held_out(i):
            by_group[key].append(i)
    members: list[int] = []
    place: dict[tuple[int, bool], tuple[int, int]] = {}
    for key, own in by_group.items():
        place[key] = len(members), len(own)
        members += own
    first, count = np.zeros(len(group), np.int64), np.ones(len(group), np.int64)
    for i, key in enumerate(group):
        if key not in place:
            place[key] = len(members), 1
            members.append(i)
        first[i], count[i] = place[key]
    return np.array(members, np.int64), first, count


def _offsets(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)


def _cut(generator: np.random.Generator, room: np.ndarray) -> np.ndarray:
    starts: np.ndarray = generator.integers(0, np.maximum(room, 1))
    return starts
