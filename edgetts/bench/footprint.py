"""Memory of one call: the estimate before anything is loaded, and the measured peak.

In: a pack, a device, a compute mode, lengths. Out: an `Estimate` (edgetts.memory), and peaks in bytes. The call is that
of `stages`: a voice of noise, one beam.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import torch

from edgetts.backends.process import prepare_process
from edgetts.bench.machine import MIB, peak_cuda_mb, reset_peak_memory
from edgetts.bench.stages import Call, Candidate, run_interleaved, voice_of_length
from edgetts.compute import Compute
from edgetts.memory import Estimate, Place, Size, estimate, held_now, weigh
from edgetts.options import SynthesisOptions
from edgetts.pack.config import ModelConfig
from edgetts.pack.load import Pack
from edgetts.pipeline import Pipeline

SECONDS, PROMPT_S = 5.0, 5.0  # seconds of speech and of the voice in a usual call
_N_TEXT_TOKENS = 40
_PAUSE_S = 0.002  # between two samples of the process's memory


@dataclass(frozen=True)
class Peak:
    """Peak bytes. host: of the process, without file pages; cuda: of tensors on the GPU, if any."""

    host: float
    cuda: float | None


def size_of(config: ModelConfig, seconds: float, prompt_s: float, n_tokens: int, *, guided: bool, parts: bool) -> Size:
    """The size of a call with one beam. guided: with classifier-free guidance; parts: streamed."""
    return Size(
        n_tokens=n_tokens,
        n_codes=round(seconds * config.code_rate),
        n_beams=1,
        prompt_frames=round(prompt_s * config.audio.frame_rate),
        n_rows=2 if guided else 1,
        in_parts=parts,
    )


def expected(pack: Pack, compute: Compute, place: Place, size: Size) -> Estimate:
    """The expected memory of a call in the current process."""
    return estimate(pack.config, weigh(pack, compute, place), size, compute, place, start=place.start())


def usual_size(pack: Pack) -> Size:
    """The size of the call of `measured_peak`."""
    guided = SynthesisOptions.of(pack.manifest.defaults, {}).flow_settings().is_guided(0.0)
    return size_of(pack.config, SECONDS, PROMPT_S, _N_TEXT_TOKENS, guided=guided, parts=False)


def measured_peak(pack: Pack, device: torch.device, compute: Compute, kernel: str) -> Peak:
    """Load the networks, run a usual call, and free them."""
    prepare_process()
    options = SynthesisOptions.of(pack.manifest.defaults, {"n_beams": 1, "seed": 0, "guards": False, "n_steps": 2})
    config = pack.config.gpt
    first = max(config.start_text_token, config.stop_text_token) + 1
    ids = tuple(range(first, min(config.n_text_tokens, first + _N_TEXT_TOKENS)))
    call = Call(voice_of_length(pack, PROMPT_S), ids, round(SECONDS * pack.config.code_rate), options)
    reset_peak_memory(device)
    with PeakSampler() as sampler:
        run_interleaved([Candidate("memory", Pipeline(pack, device, kernel=kernel, compute=compute), call)])
    cuda = peak_cuda_mb(device)
    return Peak(sampler.peak, None if cuda is None else cuda * MIB)


class PeakSampler:
    """Samples the process's memory in a thread and keeps the maximum."""

    def __init__(self) -> None:
        self.peak = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="edgetts-memory", daemon=True)

    def __enter__(self) -> PeakSampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._done.is_set():
            self.peak = max(self.peak, held_now())
            self._done.wait(_PAUSE_S)
