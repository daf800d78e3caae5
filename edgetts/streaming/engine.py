"""One set of networks that several streams share.

In: a loaded pipeline and the cache folder. Out: an `Engine`: the pipeline, a lock per stage, the latency model of this
machine. Knows no streams.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import torch

from edgetts.backends.device import describe, triton_version
from edgetts.backends.lanes import Lanes, lanes
from edgetts.models.vocoder import reach
from edgetts.options import SynthesisOptions
from edgetts.pack.page_release import FreedMemory
from edgetts.pipeline import Pipeline
from edgetts.streaming.fair_lock import FairLock
from edgetts.streaming.latency import LatencyModel
from edgetts.streaming.renderer import Seams
from edgetts.streaming.schedule import LatencyEstimator

KEY_LENGTH = 16  # hexadecimal digits in the file name of the latency model


@dataclass
class Engine:
    """One set of networks that several streams share, a step at a time.

    The stages run concurrently, so two threads may call the GPT at once: one decodes codes, the other computes latents
    for the same or another stream.
    """

    pipeline: Pipeline
    speeds: LatencyModel
    speeds_path: Path | None = None  # where speeds are kept; None: nowhere
    codes_lock: FairLock = field(default_factory=FairLock)
    sound_lock: FairLock = field(default_factory=FairLock)
    freed: FreedMemory = field(default_factory=FreedMemory)
    lanes: Lanes = field(init=False)  # where codes and sound are computed

    def __post_init__(self) -> None:
        self.lanes = lanes(self.pipeline.device)

    @classmethod
    def open(cls, pipeline: Pipeline, cache_dir: Path) -> Engine:
        """The engine of a pipeline, with the latency model kept for this pack, device, compute mode and
        versions of torch and Triton."""
        files = pipeline.pack.manifest.files
        versions = [f"torch {torch.__version__}", f"triton {triton_version()}"]
        how = [describe(pipeline.device), pipeline.compute, pipeline.kernel, *versions]
        parts = [*how, *(files[name].sha256 for name in sorted(files))]
        key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:KEY_LENGTH]
        path = cache_dir / "speeds" / f"{key}.json"
        return cls(pipeline, LatencyModel.load(path), path)

    def estimator(self, prompt_frames: int, options: SynthesisOptions, seams: Seams) -> LatencyEstimator:
        """The latency estimator of one call. prompt_frames: of the voice's reference mel."""
        config, settings = self.pipeline.config, options.flow_settings()
        return LatencyEstimator(
            speeds=self.speeds,
            code_rate=config.code_rate / options.duration_factor,
            frames_per_code=config.s2mel.mel_frames_per_code * options.duration_factor,
            prompt_frames=prompt_frames,
            n_evals=settings.n_evals,
            n_rows=settings.rows_per_eval,
            held_frames=seams.held,
            edge_frames=seams.held + reach(config.vocoder),
        )
