"""Playback by the daemon itself, for `edgetts say --play-on server`: on a board without a screen, the board speaks.

In: the chunks of a request, a device by name. Out: sound, and the sink's counters.
"""

from __future__ import annotations

import asyncio

import numpy as np

from edgetts.audio.playback.sink import PlaybackStats, Sink
from edgetts.server.service import LiveSpeech


def open_sink(device: str | None) -> Sink:
    """A sink for the device whose name contains `device`, or for the system's default."""
    from edgetts.audio.playback.portaudio import PortAudioSink

    return PortAudioSink(device)


async def play(live: LiveSpeech, device: str | None) -> PlaybackStats:
    """Play to the end. Cancellation silences it at once. Raises AudioError, UsageError and the errors of the stream."""
    sink = open_sink(device)
    try:
        await asyncio.to_thread(sink.open, live.stream.sample_rate)
        async for chunk in live:
            sink.prebuffer_s = live.stream.prebuffer_s
            await asyncio.to_thread(sink.write, np.asarray(chunk.samples, np.float32))
            if chunk.awaits_text:
                await asyncio.to_thread(sink.end)
        await asyncio.to_thread(sink.drain)
        return sink.stats
    except BaseException:
        sink.abort()  # also wakes the thread that writes
        raise
    finally:
        await asyncio.shield(asyncio.to_thread(sink.close))
