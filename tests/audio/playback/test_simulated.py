"""The states of playback under a simulated clock: nothing lost, nothing repeated, no needless silence."""

from __future__ import annotations

import random
import threading
import time
import tracemalloc

import numpy as np
import pytest

from edgetts.audio.playback.player import Player, State
from edgetts.audio.playback.ring import RingBuffer
from edgetts.audio.playback.simulated import BLOCK_S, N_BLOCKS_AHEAD, SimulatedClock, SimulatedSink
from edgetts.audio.playback.sink import MAX_PREBUFFER_S, MIN_PREBUFFER_S, prebuffer_seconds
from edgetts.errors import AudioError, Cancelled, UsageError

RATE = 1_000  # Hz; the states know no rates, and a low one makes half an hour a second of testing
PERIOD = 30_000  # of the counted samples, none of which is 0: silence is what is not speech
FULL_SCALE = 32_767


def counted(start: int, count: int) -> np.ndarray:
    """int16 (S,): 1, 2, 3 ... PERIOD, 1, 2 ..., so that a lost or repeated sample shows."""
    return (np.arange(start, start + count) % PERIOD + 1).astype(np.int16)


def as_float(pcm: np.ndarray) -> np.ndarray:
    return (pcm / FULL_SCALE).astype(np.float32)


class Ear:
    """Takes blocks and keeps them with the time of the first speech."""

    def __init__(self, clock: SimulatedClock) -> None:
        self.clock = clock
        self.blocks: list[np.ndarray] = []
        self.first_speech: float | None = None

    def __call__(self, block: np.ndarray) -> None:
        if self.first_speech is None and block.any():
            self.first_speech = self.clock.now
        self.blocks.append(block.copy())

    @property
    def heard(self) -> np.ndarray:
        return np.concatenate(self.blocks) if self.blocks else np.zeros(0, np.int16)

    @property
    def speech(self) -> np.ndarray:
        heard = self.heard
        return heard[heard != 0]

    @property
    def n_gaps(self) -> int:
        """Silences between the first and the last speech."""
        is_speech = (self.heard != 0).astype(np.int8)
        return int((np.diff(is_speech) == 1).sum()) - int(not is_speech[0])


def setup(**kwargs: float) -> tuple[SimulatedClock, Ear, SimulatedSink]:
    clock = SimulatedClock()
    ear = Ear(clock)
    sink = SimulatedSink(clock, ear, **kwargs)  # type: ignore[arg-type]
    sink.open(RATE)
    return clock, ear, sink


def speak(clock: SimulatedClock, sink: SimulatedSink, seconds: float, rtf: float, seed: int) -> int:
    """Chunks that grow from 0.2 to 1 s, each computed in rtf times its length, +-50 %; samples written."""
    rng = random.Random(seed)
    start, length = 0, 0.2
    while start < seconds * RATE:
        clock.sleep(rtf * length * rng.uniform(0.5, 1.5))
        pcm = counted(start, int(length * RATE))
        sink.write(as_float(pcm))
        start += len(pcm)
        length = min(1.0, length * 1.3)
    sink.drain()
    return start


@pytest.mark.parametrize(("rtf", "seed"), [(0.1, 0), (0.5, 1), (0.8, 2), (0.8, 3)])
def test_half_an_hour_without_an_underrun_up_to_rtf_0_8(rtf: float, seed: int) -> None:
    clock, ear, sink = setup(prebuffer_s=prebuffer_seconds(rtf, chunk_s=1.0))
    n_written = speak(clock, sink, 30 * 60, rtf, seed)
    assert sink.stats.underruns == sink.stats.rebuffers == 0
    assert ear.n_gaps == 0
    np.testing.assert_array_equal(ear.speech, counted(0, n_written))
    # Back-pressure held the producer to the device's pace, and the wait at the start was the prebuffer.
    assert clock.now == pytest.approx(n_written / RATE, abs=10)
    assert ear.first_speech is not None and ear.first_speech < 6


@pytest.mark.parametrize(("rtf", "seed"), [(1.1, 0), (3.0, 1)])
def test_slower_than_real_time_it_rebuffers_seldom_and_loses_and_repeats_nothing(rtf: float, seed: int) -> None:
    clock, ear, sink = setup(prebuffer_s=prebuffer_seconds(rtf, chunk_s=1.0))
    n_written = speak(clock, sink, 30 * 60, rtf, seed)
    stats = sink.stats
    np.testing.assert_array_equal(ear.speech, counted(0, n_written))
    assert stats.underruns == stats.rebuffers == ear.n_gaps
    assert 0 < stats.rebuffers <= 60  # each waits longer, up to the buffer's size: not one a second
    assert stats.played_samples == n_written and stats.buffered_samples == 0


def test_slower_than_real_time_with_the_length_known_it_buffers_first_and_never_stops() -> None:
    for seed in range(5):
        clock, ear, sink = setup(prebuffer_s=prebuffer_seconds(1.3, chunk_s=1.0, remaining_s=60))
        speak(clock, sink, 60, 1.3, seed)
        assert sink.stats.underruns == 0
        assert ear.n_gaps == 0


def test_speech_starts_at_the_prebuffer_and_no_sooner() -> None:
    clock, ear, sink = setup(prebuffer_s=0.5)
    needed = 0.5 + BLOCK_S * N_BLOCKS_AHEAD
    sink.write(as_float(counted(0, int(needed * RATE) - 1)))
    clock.sleep(5)
    assert sink.stats.state is State.BUFFERING and not ear.blocks
    sink.write(as_float(counted(0, 1)))
    assert sink.stats.state is State.PLAYING and ear.first_speech == 5


def test_a_starved_device_hears_silence_until_twice_as_much_is_there() -> None:
    clock, ear, sink = setup(prebuffer_s=0.34)  # 0.5 s with the latency
    sink.write(as_float(counted(0, 500)))
    clock.sleep(2)
    assert sink.stats.state is State.STARVED
    assert (sink.stats.underruns, sink.stats.rebuffers) == (1, 0)
    sink.write(as_float(counted(500, 999)))
    clock.sleep(1)
    assert sink.stats.state is State.STARVED
    sink.write(as_float(counted(1499, 1)))
    clock.sleep(0.1)
    assert sink.stats.state is State.PLAYING
    assert (sink.stats.underruns, sink.stats.rebuffers) == (1, 1)
    sink.drain()
    np.testing.assert_array_equal(ear.speech, counted(0, 1500))


def test_what_is_shorter_than_the_prebuffer_is_heard_whole_when_drained() -> None:
    clock, ear, sink = setup(prebuffer_s=5)
    sink.write(as_float(counted(0, 77)))
    sink.drain()
    np.testing.assert_array_equal(ear.speech, counted(0, 77))
    assert sink.stats.underruns == 0
    # Until the last block was heard, not only taken.
    assert clock.now >= BLOCK_S * N_BLOCKS_AHEAD
    sink.drain()  # nothing more to wait for
    sink.write(as_float(counted(77, 100)))
    sink.drain()
    np.testing.assert_array_equal(ear.speech, counted(0, 177))


def test_a_pause_after_an_end_is_no_underrun_and_the_next_utterance_has_its_own_prebuffer() -> None:
    clock, ear, sink = setup(prebuffer_s=0.34)
    sink.write(as_float(counted(0, 600)))
    sink.end()
    sink.write(as_float(counted(600, 100)))  # below the watermark: waits though the device runs
    clock.sleep(3)
    assert sink.stats.state is State.BUFFERING and sink.stats.underruns == 0
    assert len(ear.speech) == 600
    sink.write(as_float(counted(700, 400)))
    clock.sleep(0.2)
    assert sink.stats.state is State.PLAYING
    sink.drain()
    assert sink.stats.underruns == sink.stats.rebuffers == 0
    np.testing.assert_array_equal(ear.speech, counted(0, 1100))


def test_utterances_that_are_there_in_time_follow_without_a_gap() -> None:
    _, ear, sink = setup(prebuffer_s=0.2)
    for start in range(0, 5000, 1000):
        sink.write(as_float(counted(start, 1000)))
        sink.end()
    sink.drain()
    assert ear.n_gaps == 0
    np.testing.assert_array_equal(ear.speech, counted(0, 5000))


def test_an_end_that_comes_after_the_last_sample_was_heard_takes_the_underrun_back() -> None:
    clock, ear, sink = setup(prebuffer_s=0.2)
    sink.write(as_float(counted(0, 800)))
    clock.sleep(2)
    assert sink.stats.underruns == 1
    sink.end()
    clock.sleep(1)
    assert sink.stats.underruns == 0 and sink.stats.state is State.BUFFERING
    assert len(ear.speech) == 800


def test_a_full_buffer_makes_the_writer_sleep_not_spin() -> None:
    clock, ear, sink = setup(prebuffer_s=0.2, capacity_s=1.0)
    naps: list[float] = []
    sleep = clock.sleep
    clock.sleep = lambda seconds: (naps.append(seconds), sleep(seconds))[1]  # type: ignore[assignment,func-returns-value]
    sink.write(as_float(counted(0, 20 * RATE)))
    assert clock.now == pytest.approx(19, abs=0.5)
    assert len(naps) < 20 * 5
    sink.drain()
    np.testing.assert_array_equal(ear.speech, counted(0, 20 * RATE))


def test_a_prebuffer_larger_than_the_buffer_does_not_wait_for_ever() -> None:
    _, ear, sink = setup(prebuffer_s=20, capacity_s=0.5)
    sink.write(as_float(counted(0, 3000)))
    sink.drain()
    np.testing.assert_array_equal(ear.speech, counted(0, 3000))


@pytest.mark.parametrize("when", [0.1, 0.77, 3.21])
def test_abort_is_silent_at_once_and_ends_a_sleeping_write(when: float) -> None:
    clock, ear, sink = setup(prebuffer_s=0.2, capacity_s=1.0)
    clock.at(when, sink.abort)
    with pytest.raises(Cancelled):
        sink.write(as_float(counted(0, 20 * RATE)))
    heard_until = len(ear.heard)
    assert heard_until <= (when + BLOCK_S * N_BLOCKS_AHEAD) * RATE + 1
    assert sink.stats.state is State.STOPPED
    clock.sleep(5)
    assert len(ear.heard) == heard_until
    for call in (lambda: sink.write(as_float(counted(0, 10))), sink.end, sink.drain):
        with pytest.raises(Cancelled):
            call()
    # Opened again, it starts from nothing.
    ear.blocks.clear()
    sink.open(RATE)
    sink.write(as_float(counted(5, 500)))
    sink.drain()
    np.testing.assert_array_equal(ear.speech, counted(5, 500))
    assert sink.stats.played_samples == 500


def test_abort_ends_a_drain() -> None:
    clock, _, sink = setup()
    sink.write(as_float(counted(0, 20 * RATE)))
    clock.at(3, sink.abort)
    with pytest.raises(Cancelled):
        sink.drain()
    assert clock.now == pytest.approx(3, abs=0.3)


def test_a_device_of_another_rate_hears_all_of_it_resampled_without_seams() -> None:
    import soxr

    clock = SimulatedClock()
    ear = Ear(clock)
    sink = SimulatedSink(clock, ear, device_rate=48_000)
    sink.open(22_050)
    rng = np.random.default_rng(0)
    speech = (0.1 * rng.standard_normal(22_050 * 2)).astype(np.float32)
    for start in range(0, len(speech), 1777):
        sink.write(speech[start : start + 1777])
    sink.drain()
    whole = np.rint(soxr.resample(speech, 22_050, 48_000, quality="HQ") * FULL_SCALE)
    heard = ear.heard[: len(whole)]
    assert sink.stats.sample_rate == 48_000
    assert abs(sink.stats.played_samples - len(whole)) <= 1
    assert np.abs(heard - whole).max() <= 1  # rounding
    # A second utterance begins anew.
    sink.write(speech[:10_000])
    sink.drain()


def test_prebuffer_grows_with_the_real_time_factor() -> None:
    assert prebuffer_seconds(None, 1.0) == prebuffer_seconds(0.05, 0.2) == MIN_PREBUFFER_S
    factors = [prebuffer_seconds(rtf, 0.5) for rtf in (0.2, 0.5, 0.8, 0.9, 0.99)]
    assert factors == sorted(factors) and factors[-1] <= MAX_PREBUFFER_S
    assert prebuffer_seconds(0.8, 0.5) < 2
    assert 10 < prebuffer_seconds(2.0, 0.5, remaining_s=20) < 15
    assert prebuffer_seconds(0.99, 0.5, remaining_s=20) < 6
    assert prebuffer_seconds(5.0, 0.5, remaining_s=0.1) == MIN_PREBUFFER_S
    assert prebuffer_seconds(2.0, 0.5, remaining_s=1e6) == MAX_PREBUFFER_S
    with pytest.raises(ValueError):
        prebuffer_seconds(-1, 0.5)


def test_misuse_is_one_sentence() -> None:
    _, _, sink = setup()
    with pytest.raises(UsageError, match="float32"):
        sink.write(np.zeros(4, np.int16))
    with pytest.raises(UsageError, match="prebuffer"):
        sink.prebuffer_s = -1
    with pytest.raises(AudioError, match="not numbers"):
        sink.write(np.full(4, np.nan, np.float32))
    sink.close()
    sink.close()
    with pytest.raises(AudioError, match="not open"):
        sink.write(np.zeros(4, np.float32))
    assert sink.stats.underruns == 0
    with pytest.raises(UsageError):
        sink.open(0)


def test_ring_keeps_order_across_its_end_between_two_threads() -> None:
    ring = RingBuffer(97)
    source = counted(0, 5_000)
    target = np.zeros_like(source)

    def produce() -> None:
        done = 0
        while done < len(source):
            done += ring.write(source[done : done + 61])
            time.sleep(0)  # the other thread's turn

    thread = threading.Thread(target=produce)
    thread.start()
    done = 0
    while done < len(target):
        count = min(ring.available, 53)
        ring.read_into(target[done:], count)
        done += count
        time.sleep(0)
    thread.join()
    np.testing.assert_array_equal(target, source)


def test_render_allocates_no_buffer() -> None:
    player = Player(capacity=1 << 16, watermark=1)
    player.push(counted(0, 1 << 16))
    block = np.zeros((4096, 2), np.int16)
    out = block[:, 0]  # a device's stereo block
    player.render(out)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(20):  # plays, then starves
        player.render(out)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak - before < 4096  # views and numbers; one block alone has 8 KiB
    assert player.state is State.STARVED
