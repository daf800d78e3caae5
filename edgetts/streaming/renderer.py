"""Renders one segment chunk by chunk: all codes so far in, the next samples out.

New codes become features (`FeaturePass`), and these the condition of all frames so far. The DiT solves the
new frames, with the voice's prompt and the last seconds of finished mel as context. The last frames of a chunk are
computed as if speech ended there, so they are provisional: they are the vocoder's right context (look-ahead), and the
next chunk solves them again from the same noise, with a cross-fade. The waveform ends before them; its own end is
cross-faded with the vocoder's output for the same frames once the following frames are known. A segment in one chunk
takes none of these steps and equals the offline result.

The condition is computed again for all codes so far, because the length regulator's norm spans the whole segment.
Frames are counted from the start of the segment (`Pipeline.n_frames`), so the length is the offline length.

Knows no time, threads or schedules. Shapes: T codes, F frames, C channels, M mels, S samples.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from edgetts.backends.lanes import ClockTimer, Timer
from edgetts.decoding.features import FeaturePass
from edgetts.decoding.settings import FlowSettings
from edgetts.models.vocoder import reach
from edgetts.options import SynthesisOptions
from edgetts.pipeline import Pipeline
from edgetts.streaming.measured import Measure, Measurements
from edgetts.voices.speaker import Speaker


@dataclass(frozen=True)
class Seams:
    """Overlaps between two chunks of a segment, in mel frames."""

    context: int = 172  # finished mel that the DiT gets as additional prompt: 2 s
    provisional: int = 12  # overlapped with the next chunk, which computes them again
    mel_fade: int = 6  # of the provisional ones, cross-faded from the first version to the second
    wave_fade: int = 4  # of waveform before them, cross-faded: 46 ms

    @classmethod
    def of(cls, options: SynthesisOptions, frame_rate: float) -> Seams:
        """The overlaps of a call."""
        return cls(provisional=round(options.lookahead_s * frame_rate))

    @property
    def held(self) -> int:
        """Frames at the end of a chunk whose samples are output with the next chunk."""
        return self.provisional + self.wave_fade


class SegmentRenderer:
    """The mel and waveform of one segment, chunk by chunk. features: the segment's feature pass, unused so far."""

    def __init__(
        self,
        pipeline: Pipeline,
        speaker: Speaker,
        features: FeaturePass,
        seed: int,
        seams: Seams,
        measure: Measure | None = None,
        duration_factor: float = 1.0,
    ) -> None:
        self._pipeline = pipeline
        self._speaker = speaker
        self._seams = seams
        self._measure = measure
        self._measured = Measurements(ClockTimer(time.perf_counter), measure)
        self._generator = torch.Generator().manual_seed(seed)
        self._features = features
        self._duration_factor = duration_factor
        self._mel: Tensor | None = None  # (1, M, F), the last `seams.provisional` frames are not final
        self._n_final = 0  # frames that will not change
        self._noise: Tensor | None = None  # (1, M, F)
        self._held = torch.zeros(0)  # (S,) computed but not output yet
        self._n_given = 0  # frames whose samples were output

    @property
    def n_codes(self) -> int:
        """Number of rendered codes."""
        return self._features.n_codes

    @torch.inference_mode()
    def render(
        self,
        codes: Sequence[int],
        settings: FlowSettings,
        *,
        last: bool,
        should_stop: Callable[[], bool] | None = None,
        timer: Timer | None = None,
    ) -> Tensor:
        """The next samples (S,), float32 on the CPU. codes: all of the segment so far; last: no more will come.

        With `last` and no new codes, the samples held back. Raises Cancelled if `should_stop` returns True; the
        renderer cannot be used after that. timer: of this thread's work; None: the clock.
        """
        self._measured = Measurements(timer or ClockTimer(time.perf_counter), self._measure)
        new = codes[self.n_codes :]
        if not new:
            given, self._held = self._held, torch.zeros(0)
            return given if last else torch.zeros(0)
        mel = self._extend_mel(new, settings, should_stop)
        n_frames = mel.shape[-1]
        started = self._measured.mark()
        waveform = self._pipeline.waveform(mel, self._n_given, should_stop, self._speaker.gain)
        around = min(self._n_given, reach(self._pipeline.config.vocoder))
        self._measured.note("vocoder", n_frames - self._n_given + around, started)
        self._measured.settle(wait=True)  # the samples are on the host, so all of it is done
        hop = self._pipeline.config.audio.hop_length
        waveform = _fade(self._held[: self._seams.wave_fade * hop], waveform)
        n_given = n_frames if last else max(self._n_given, n_frames - self._seams.held)
        cut = (n_given - self._n_given) * hop
        self._held, self._n_given = waveform[cut:], n_given
        return waveform[:cut]

    def _extend_mel(self, new: Sequence[int], settings: FlowSettings, should_stop: Callable[[], bool] | None) -> Tensor:
        """Solve new and provisional frames; returns the whole mel (1, M, F)."""
        pipeline, start = self._pipeline, self._n_final
        started = self._measured.mark()
        features = self._features.append(new)  # (1, T, C), of all codes so far
        self._measured.note("features", len(new), started)
        condition = pipeline.condition(features, self._duration_factor)  # (1, F, C)
        n_frames = condition.shape[1]
        noise = self._extend_noise(n_frames)
        first = max(0, start - self._seams.context)
        context = self._mel[:, :, first:start] if self._mel is not None and start else None
        started = self._measured.mark()
        mel = pipeline.mel(self._speaker, condition[:, first:], noise[:, :, start:], settings, should_stop, context)
        n_solved = self._speaker.reference_mel.shape[-1] + n_frames - first
        self._measured.note("flow", settings.rows_per_eval * n_solved, started, settings.n_evals)
        if self._mel is not None:
            mel = _fade(self._mel[:, :, start : start + self._seams.mel_fade], mel)
            mel = torch.cat([self._mel[:, :, :start], mel], dim=-1)
        self._mel = mel
        self._n_final = max(start, n_frames - self._seams.provisional)
        return mel

    def _extend_noise(self, n_frames: int) -> Tensor:
        n_drawn = 0 if self._noise is None else self._noise.shape[-1]
        drawn = self._pipeline.noise(n_frames - n_drawn, self._generator)
        self._noise = drawn if self._noise is None else torch.cat([self._noise, drawn], dim=-1)
        return self._noise


def _fade(old: Tensor, new: Tensor) -> Tensor:
    """Cross-fade: `new` (..., T) with its beginning faded in over `old` (..., at most T)."""
    n = old.shape[-1]
    if n == 0:
        return new
    rising = torch.arange(1, n + 1, device=new.device, dtype=new.dtype) / (n + 1)
    return torch.cat([torch.lerp(old, new[..., :n], rising), new[..., n:]], dim=-1)
