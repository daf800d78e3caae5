"""The most memory that a daemon may come to before something is wrong: MemoryMax of its unit.

In: a pack, how it is computed, how many streams. Out: bytes. It is no budget: it is far above what is needed, so that a
leak ends this service and not another program.
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

_ROOM = 1.5  # over what is expected
_STEP = 256 * MIB
_WIDER = 2.0  # weights of the encoders in fp32 over those in a file of 16 bits
_NO_BOUND = 1 << 62
_FP32_BYTES = 4
_CUDA_LIBRARIES = 1 << 30  # of the host's memory, where there is a GPU


def memory_limit(pack: Pack, compute: Compute, *, streams: int, budget: int | None = None) -> int:
    """streams: spoken side by side. budget: what the daemon keeps to while it speaks. Raises PackError.

    Learning a voice is counted beside speaking, with the encoders in fp32.
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
