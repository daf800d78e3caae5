"""One segment in parts: all codes so far in, the waveform that can be given out now out.

Codes become latents (a causal pass that goes on where it stopped), latents the condition of all frames so
far, of which the DiT solves the new ones behind the voice's prompt and the last seconds of its own mel. The
last frames of a part are computed as if speech ended there, so they are only lent: they serve as right
context of the vocoder, the next part solves them again from the same noise and fades over to its result.
The waveform stops short of them, and its own end is cross-faded with what the vocoder makes of the same
place once it knows what follows. A single part takes none of these measures and is the offline result.

The condition is made anew for all codes so far because the length regulator's norm spans the whole segment.
Frames are counted from the start of the segment (`Pipeline.n_frames`), so the length is the offline length.

Knows nothing of time, threads and schedules. Shapes: T codes, F frames, C channels, M mels, S samples.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from edgetts.decoding.latents import LatentPass
from edgetts.decoding.prompt import GPTPrompt
from edgetts.decoding.settings import FlowSettings
from edgetts.models.vocoder import reach
from edgetts.pipeline import Pipeline
from edgetts.streaming.latency import Stage
from edgetts.voices.speaker import Speaker

logger = logging.getLogger(__name__)

Measure = Callable[[Stage, float, float], None]  # stage, size of the work, seconds


@dataclass(frozen=True)
class Seams:
    """What is done where two parts of a segment meet; all in mel frames."""

    context: int = 172  # mel already made that the DiT sees as a further prompt: 2 s
    lent: int = 12  # frames at the end of a part that the next one makes again
    mel_fade: int = 6  # of those, how many fade from the first version to the second
    wave_fade: int = 4  # waveform before them that fades: 46 ms

    @property
    def held(self) -> int:
        """Frames at the end of a part whose sound is given out with the next part."""
        return self.lent + self.wave_fade


class SegmentRenderer:
    """The mel and waveform of one segment, part by part."""

    def __init__(
        self,
        pipeline: Pipeline,
        speaker: Speaker,
        prompt: GPTPrompt,
        seed: int,
        seams: Seams,
        measure: Measure | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._speaker = speaker
        self._seams = seams
        self._measure = measure
        self._clock: Callable[[], float] = time.perf_counter
        self._generator = torch.Generator().manual_seed(seed)
        self._latents = LatentPass(pipeline.gpt, prompt)
        self._semantic: Tensor | None = None  # (1, T, C)
        self._mel: Tensor | None = None  # (1, M, F), its last `lent` frames not final
        self._n_final = 0  # frames that stay as they are
        self._noise: Tensor | None = None  # (1, M, F)
        self._held = torch.zeros(0)  # (S,) made but not given out
        self._n_given = 0  # frames whose sound was given out

    @property
    def n_codes(self) -> int:
        """Codes that were rendered."""
        return self._latents.n_codes

    @torch.inference_mode()
    def render(
        self,
        codes: Sequence[int],
        settings: FlowSettings,
        *,
        last: bool,
        should_stop: Callable[[], bool] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> Tensor:
        """The next samples (S,), float32 on the CPU. codes: all of the segment so far; last: no more come.

        Without new codes and with `last`, what was held back. Raises Cancelled when `should_stop` says so,
        and then cannot go on.
        """
        self._clock = clock
        new = codes[self.n_codes :]
        if not new:
            given, self._held = self._held, torch.zeros(0)
            return given if last else torch.zeros(0)
        mel = self._extend_mel(new, settings, should_stop)
        n_frames = mel.shape[-1]
        started = self._clock()
        waveform = self._pipeline.waveform(mel, self._n_given, should_stop)
        around = min(self._n_given, reach(self._pipeline.config.vocoder))
        self._note("vocoder", n_frames - self._n_given + around, started)
        hop = self._pipeline.config.audio.hop_length
        waveform = _fade(self._held[: self._seams.wave_fade * hop], waveform)
        n_given = n_frames if last else max(self._n_given, n_frames - self._seams.held)
        cut = (n_given - self._n_given) * hop
        self._held, self._n_given = waveform[cut:], n_given
        return waveform[:cut]

    def _extend_mel(self, new: Sequence[int], settings: FlowSettings, should_stop: Callable[[], bool] | None) -> Tensor:
        """Solve the frames that are not final yet; the whole mel (1, M, F)."""
        pipeline, start = self._pipeline, self._n_final
        condition = pipeline.condition(self._extend_semantic(new))  # (1, F, C)
        n_frames = condition.shape[1]
        noise = self._extend_noise(n_frames)
        first = max(0, start - self._seams.context)
        context = self._mel[:, :, first:start] if self._mel is not None and start else None
        started = self._clock()
        mel = pipeline.mel(self._speaker, condition[:, first:], noise[:, :, start:], settings, should_stop, context)
        n_solved = self._speaker.reference_mel.shape[-1] + n_frames - first
        self._note("flow", settings.rows_per_eval * n_solved, started, settings.n_evals)
        if self._mel is not None:
            mel = _fade(self._mel[:, :, start : start + self._seams.mel_fade], mel)
            mel = torch.cat([self._mel[:, :, :start], mel], dim=-1)
        self._mel = mel
        self._n_final = max(start, n_frames - self._seams.lent)
        return mel

    def _extend_semantic(self, new: Sequence[int]) -> Tensor:
        """S2Mel's input of all codes so far (1, T, C)."""
        started = self._clock()
        latents = self._latents.append(new)
        self._note("latents", len(new), started)
        semantic = self._pipeline.semantic(torch.tensor([list(new)], device=self._pipeline.device), latents)
        self._semantic = semantic if self._semantic is None else torch.cat([self._semantic, semantic], dim=1)
        return self._semantic

    def _extend_noise(self, n_frames: int) -> Tensor:
        n_drawn = 0 if self._noise is None else self._noise.shape[-1]
        drawn = self._pipeline.noise(n_frames - n_drawn, self._generator)
        self._noise = drawn if self._noise is None else torch.cat([self._noise, drawn], dim=-1)
        return self._noise

    def _note(self, stage: Stage, size: float, started: float, n_times: int = 1) -> None:
        seconds = self._clock() - started
        logger.debug("%s: %g units in %.0f ms", stage, size * n_times, 1e3 * seconds)
        if self._measure is not None:
            self._measure(stage, size, seconds / n_times)


def _fade(old: Tensor, new: Tensor) -> Tensor:
    """`new` (..., T), beginning as `old` (..., up to T) and turning into itself where that ends."""
    n = old.shape[-1]
    if n == 0:
        return new
    rising = torch.arange(1, n + 1, device=new.device, dtype=new.dtype) / (n + 1)
    return torch.cat([torch.lerp(old, new[..., :n], rising), new[..., n:]], dim=-1)
