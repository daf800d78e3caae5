"""Random excerpts of a corpus: waveform, its mel and its pitch, at random levels.

In: corpora with `wav` and `pitch`. Out: batches. The mel is computed with the real samples around the excerpt, so its
edges equal those of the whole recording. If a corpus has predicted mels (`predicted_mels`), a share of the excerpts can
use them, at the recording's own level. It does not know what is trained.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recipes.tiny import dims
from recipes.tiny.corpus.data import Corpus
from recipes.tiny.mel import mel_of

CONTEXT_FRAMES = 2  # frames on either side that the mel of the first and last frame depends on
SILENT_PEAK = 0.02  # excerpts below are mostly skipped
SKIP_SILENT = 0.8
MIN_GAIN, MAX_PEAK = 0.25, 0.99  # random gain: from this factor up to this peak
PCM_SCALE = 32768
PREDICTED_MEL = "predicted"  # mels of S2Mel, (F, M)


@dataclass(frozen=True)
class ExcerptBatch:
    mel: Tensor  # (B, M, T)
    wave: Tensor  # (B, S)
    pitch: Tensor  # (B, T) periods per frame, 0 where unvoiced
    is_predicted: Tensor  # (B,) bool: the mel is S2Mel's, whose pitch is not the recording's


class Excerpts:
    """Draws from recordings in proportion to their length."""

    def __init__(self, corpora: Sequence[Corpus], n_frames: int, *, held: bool, predicted: float = 0.0) -> None:
        """predicted: share of predicted mels among excerpts of recordings that have one."""
        self.n_frames, self.predicted = n_frames, predicted
        needed = n_frames + 2 * CONTEXT_FRAMES
        self.places: list[tuple[Corpus, int, int]] = []  # corpus, recording, starts
        for corpus in corpora:
            for i in corpus.held_out() if held else corpus.training():
                n_starts = corpus.length("wav", i) // dims.HOP - needed + 1
                if n_starts > 0:
                    self.places.append((corpus, i, n_starts))
        if not self.places:
            raise ValueError(f"no {'held-out' if held else 'training'} recording has {needed} frames")
        lengths = np.array([n for _, _, n in self.places], float)
        self.shares = lengths / lengths.sum()

    def draw(
        self, n: int, generator: np.random.Generator, *, gain: bool = True, device: torch.device | str = "cpu"
    ) -> ExcerptBatch:
        waves: list[Tensor] = []
        pitches: list[Tensor] = []
        given: dict[int, Tensor] = {}  # row of the batch: a predicted mel (M, T)
        size = (self.n_frames + 2 * CONTEXT_FRAMES) * dims.HOP
        while len(waves) < n:
            corpus, i, n_starts = self.places[generator.choice(len(self.places), p=self.shares)]
            start = int(generator.integers(n_starts))
            wave = corpus.part("wav", i, start * dims.HOP, start * dims.HOP + size).float() / PCM_SCALE
            peak = float(wave.abs().max())
            if peak < SILENT_PEAK and generator.random() < SKIP_SILENT:
                continue
            found = self._predicted(corpus, i, start + CONTEXT_FRAMES, generator)
            if found is not None:
                given[len(waves)] = found
            elif gain:
                highest = MAX_PEAK / max(peak, SILENT_PEAK)
                wave = wave * math.exp(generator.uniform(math.log(MIN_GAIN), math.log(max(highest, 1.0))))
            waves.append(wave)
            pitches.append(corpus.part("pitch", i, start + CONTEXT_FRAMES, start + CONTEXT_FRAMES + self.n_frames))
        batch = torch.stack(waves).to(device)
        edge = CONTEXT_FRAMES * dims.HOP
        mel = mel_of(batch)[:, :, CONTEXT_FRAMES:-CONTEXT_FRAMES].contiguous()
        for row, found in given.items():
            mel[row] = found.to(device)
        is_predicted = torch.tensor([row in given for row in range(n)], device=device)
        return ExcerptBatch(mel, batch[:, edge:-edge], torch.stack(pitches).to(device), is_predicted)

    def _predicted(self, corpus: Corpus, i: int, start: int, generator: np.random.Generator) -> Tensor | None:
        """The predicted mel (M, T) of the excerpt with probability `predicted`, if there is one; else None."""
        end = start + self.n_frames
        if (
            generator.random() >= self.predicted
            or not corpus.has(PREDICTED_MEL)
            or corpus.length(PREDICTED_MEL, i) < end
        ):
            return None
        return corpus.part(PREDICTED_MEL, i, start, end).T
