"""The memory limit of the daemon's systemd unit (MemoryMax).

In: a pack, a compute mode, the number of streams. Out: bytes. The limit is not a budget: it is far above what the
daemon needs, and only a leak reaches it. systemd then ends this service and no other program.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edgetts.compute import Compute
from edgetts.families import family_of
from edgetts.memory import MIB, Budget, Place, held_now, weigh
from edgetts.options import MAX_PROMPT_S, SynthesisOptions

if TYPE_CHECKING:
    from edgetts.pack.load import Pack

_ROOM = 1.5  # limit over expected use
_STEP = 256 * MIB
_WIDER = 2.0  # encoder weights in fp32 over the same weights in a 16-bit file
_NO_BOUND = 1 << 62
_FP32_BYTES = 4
_CUDA_LIBRARIES = 1 << 30  # host memory that they take


def memory_limit(pack: Pack, compute: Compute, *, streams: int, budget: int | None = None) -> int:
    """The limit in bytes, rounded up. Raises PackError.

    streams: concurrent streams. budget: the daemon's memory budget for speaking, in bytes. Enrollment may run at the
    same time as speech, so its encoders are added, in fp32.
    """
    place = Place(gpt_bytes=_FP32_BYTES, acoustic_bytes=_FP32_BYTES)
    weights = weigh(pack, compute, place)
    whole = Budget(_NO_BOUND, pack.config, weights, compute, place, held_now())
    options = SynthesisOptions.of(pack.manifest.defaults, {})
    frames = round(MAX_PROMPT_S * pack.config.audio.frame_rate)
    call = whole.estimate(options, frames, in_parts=True)
    speaking = call.peak + (streams - 1) * (call.decode + max(call.features, call.flow, call.vocoder))
    speaking = max(speaking, budget or 0) + _CUDA_LIBRARIES
    names = family_of(pack.config).enroll_components
    files = {pack.manifest.components[name].file for name in names if name in pack.manifest.components}
    learning = _WIDER * sum(pack.manifest.files[file].bytes for file in files)
    return math.ceil(_ROOM * (speaking + learning) / _STEP) * _STEP
