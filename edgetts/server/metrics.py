"""Prometheus metrics of a daemon: requests, time to first sound, speed, errors, queue, memory.

In: values from the service. Out: the page of `/metrics`. It has its own registry, so that two daemons in one process
(tests) do not share it.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

_FIRST_SOUND_S = (0.05, 0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0)
_RTF = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9, 1.0, 1.3, 2.0, 4.0, 10.0)


class Metrics:
    """queue, streams, is_loaded: called when the page is requested."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, queue: Callable[[], int], streams: Callable[[], int], is_loaded: Callable[[], bool]) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        for name, about, ask in (
            ("edgetts_queue_length", "Requests waiting in the queue.", queue),
            ("edgetts_streams", "Requests being synthesized.", streams),
            ("edgetts_model_loaded", "1 while the networks are in memory.", is_loaded),
        ):
            Gauge(name, about, registry=registry).set_function(ask)
        self.requests = Counter(
            "edgetts_requests",
            "Speech requests by protocol and outcome.",
            ("protocol", "outcome"),
            registry=registry,
        )
        self.errors = Counter("edgetts_errors", "Failed requests by error.", ("error",), registry=registry)
        self.first_sound = Histogram(
            "edgetts_first_sound_seconds",
            "Time from the arrival of a request to its first audio.",
            buckets=_FIRST_SOUND_S,
            registry=registry,
        )
        self.rtf = Histogram(
            "edgetts_rtf", "Compute time over audio time of finished requests.", buckets=_RTF, registry=registry
        )
        self.audio_seconds = Counter("edgetts_audio_seconds", "Seconds of synthesized audio.", registry=registry)
        self.characters = Counter("edgetts_characters", "Characters of requested text.", registry=registry)
        self.underruns = Counter(
            "edgetts_underruns",
            "Chunks that arrived after real-time playback from the first audio would have run out.",
            registry=registry,
        )

    def page(self) -> bytes:
        return generate_latest(self._registry)
