"""Learning a voice: reads a recording, enrolls it and adapts to it; estimates the time that takes.

In: a path, an array or a `Take`, and an open pack. Out: a `Voice`. Does not know names, folders or caches (`library`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from edgetts.audio.array import sound_of_array
from edgetts.audio.excerpt import SEARCHED_SECONDS, best_part
from edgetts.audio.io import MARGIN_SECONDS, Take, first_seconds, read_sound, read_sound_bytes
from edgetts.backends.numbers import numbers_of
from edgetts.errors import UsageError
from edgetts.progress import Progress
from edgetts.voices import enroll as enrollment
from edgetts.voices.adapt import EXCERPT_FRAMES, EXCERPTS_PER_STEP, adapt
from edgetts.voices.level import SpeechLevel
from edgetts.voices.spectrum import match_spectrum
from edgetts.voices.voice import Voice

if TYPE_CHECKING:
    from edgetts.options import SynthesisOptions
    from edgetts.pack.load import Pack

MAX_REFERENCE_SECONDS = 15.0  # used of a recording, as upstream does
NOTICE_SECONDS = 5.0  # the user gets a notice before learning that takes longer
_BYTES_PER_WEIGHT = 2.0  # of S2Mel in most packs
_PASSES = 3.0  # forward, and backward at twice the cost
_OVERHEAD = 3.0  # factor over the matrix products: attention, normalization, small operations
_PROBE_SHAPE = (EXCERPT_FRAMES * EXCERPTS_PER_STEP, 512, 2048)
_PROBE_TIMES = 3


def take_of(recording: Any, sample_rate: Any = None, *, as_is: bool = False) -> Take:
    """The excerpt of a recording to learn a voice from.

    recording: a path, the bytes of a file, samples (with `sample_rate`), a pair of samples and their rate, or a Take.
    as_is: the first 15 s without a quality check, as upstream. Raises AudioError, UsageError.
    """
    if isinstance(recording, Take):
        return recording
    if recording is None:
        raise UsageError("There is no recording: give a file, or samples with sample_rate=.")
    seconds = MAX_REFERENCE_SECONDS + MARGIN_SECONDS if as_is else SEARCHED_SECONDS
    if isinstance(recording, (str, Path)):
        if sample_rate is not None:
            raise UsageError("A recording in a file has its own sample rate: leave sample_rate= out.")
        sound = read_sound(Path(recording).expanduser(), seconds, keep_silent_channels=as_is)
    elif isinstance(recording, bytes):
        sound = read_sound_bytes(recording, seconds, "the recording", keep_silent_channels=as_is)
    else:
        if isinstance(recording, tuple) and len(recording) == 2 and sample_rate is None:
            recording, sample_rate = recording
        sound = sound_of_array(recording, sample_rate, seconds, keep_silent_channels=as_is)
    return first_seconds(sound, MAX_REFERENCE_SECONDS) if as_is else best_part(sound, MAX_REFERENCE_SECONDS)


def learn(
    pack: Pack,
    take: Take,
    options: SynthesisOptions,
    *,
    device: torch.device,
    name: str,
    progress: Progress,
    tell: Callable[[str], None] | None = None,
) -> Voice:
    """Enroll a voice from `take`, adapt it and match its spectrum according to `options`, measure its level.

    The level only if the pack has one.

    tell: gets a sentence first if it takes long.
    """
    if tell is not None:
        notice = time_notice(pack, options.adapt_steps, device)
        if notice is not None:
            tell(notice)
    voice = enrollment.enroll(
        pack,
        torch.from_numpy(take.at(pack.config.audio.sample_rate)),
        torch.from_numpy(take.at(enrollment.ENCODER_RATE)),
        device=device,
        name=name,
        notices=take.notices,
        progress=progress,
    )
    if options.adapt_steps:
        voice = adapt(
            pack,
            voice,
            steps=options.adapt_steps,
            noise_scale=options.noise_scale,
            device=device,
            progress=progress,
        )
    if options.match_spectrum:
        voice = match_spectrum(pack, voice, options, device)
    level = SpeechLevel.of_pack(pack)
    return voice if level is None else level.measured(pack, voice, options, device)


def time_notice(pack: Pack, steps: int, device: torch.device) -> str | None:
    """A sentence with the estimated time of learning a voice on this machine; None if it is short."""
    seconds = steps * _step_seconds(pack, device)
    if seconds < NOTICE_SECONDS:
        return None
    about = f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{max(1, round(seconds / 10)) * 10} seconds"
    return (
        f"Learning this voice takes about {about}, once: {steps} steps adapt the model to it "
        "(set adapt_steps= to 0 to skip this)."
    )


def _step_seconds(pack: Pack, device: torch.device) -> float:
    """Estimated seconds of one adaptation step, from S2Mel's size and this machine's current matrix rate."""
    n_weights = pack.file(pack.manifest.components["s2mel"].file).stat().st_size / _BYTES_PER_WEIGHT
    rows, inner, columns = _PROBE_SHAPE
    dtype = numbers_of(device, "fast").training
    left = torch.ones(rows, inner, dtype=dtype, device=device)
    right = torch.ones(inner, columns, dtype=dtype, device=device)
    fastest = float("inf")
    for _ in range(_PROBE_TIMES):
        start = time.perf_counter()
        (left @ right)[0, 0].item()  # waits for the GPU
        fastest = min(fastest, time.perf_counter() - start)
    products = 2.0 * n_weights * rows * _PASSES
    return _OVERHEAD * products / (2.0 * rows * inner * columns / fastest)
