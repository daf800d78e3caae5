"""Schedules and speeds: sizes that are ready in time, under a simulated listener; kept measurements."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from edgetts.errors import UsageError
from edgetts.streaming.fair_lock import FairLock
from edgetts.streaming.latency import STAGES, Cost, LatencyModel
from edgetts.streaming.schedule import MIN_CHUNK_S, MIN_FIRST_S, Adaptive, BufferState, Fixed, LatencyEstimator, Whole

MIN_CHUNK_CODES = round(MIN_CHUNK_S * 50)
CODE_RATE = 50.0
CONTEXT = 172


def measured(codes_rtf: float, render_rtf: float, fixed_s: float = 0.05) -> LatencyModel:
    """A machine whose stages take these shares of real time, and `fixed_s` for each part whatever its size."""
    speeds = LatencyModel()
    for size in (10.0, 200.0):
        speeds.add("codes", size, size / CODE_RATE * codes_rtf)
        speeds.add("features", size, 1e-4 * size)
        speeds.add("flow", size, fixed_s / 10)
        speeds.add("vocoder", size, size / 86.13 * render_rtf)
        speeds.add("speech", size, size * 0.2)
    return speeds


def estimator(speeds: LatencyModel) -> LatencyEstimator:
    return LatencyEstimator(
        speeds, CODE_RATE, 1.72, prompt_frames=430, n_evals=10, n_rows=2, held_frames=16, edge_frames=28
    )


def simulate(machine: LatencyEstimator, n_codes: int, jitter: float, seed: int) -> tuple[float, int, list[int]]:
    """Start of playback, underruns and sizes of one segment, with codes and sound made at the same time."""
    random, schedule = np.random.default_rng(seed), Adaptive(machine)
    code_s = (machine.codes_s(100) or 0) / 100
    prebuffer_s = machine.prebuffer_s(CONTEXT, n_codes / CODE_RATE)
    now, made, given, underruns, done = 0.0, 0.0, 0.0, 0, 0
    start, ends_at = None, None  # of playback
    sizes: list[int] = []
    while done < n_codes:
        lead = max(0.0, ends_at - now) if ends_at is not None else None
        waiting = min(int(made), n_codes) - done
        target = schedule.target(BufferState(waiting, lead, len(sizes), sizes[-1] if sizes else 0, CONTEXT))
        assert target is not None
        if waiting < target and done + waiting < n_codes:
            now, made = now + code_s, made + 1
            continue
        part = min(waiting, target)
        seconds = (machine.render_s(part, CONTEXT if done else 0) or 0) * random.uniform(1 - jitter, 1 + jitter)
        now, made = now + seconds, made + seconds / code_s
        given += machine.first_sound_s(part) if not sizes else part / CODE_RATE
        done, sizes = done + part, [*sizes, part]
        if ends_at is not None:
            if now > ends_at and done < n_codes:
                underruns += 1
            ends_at = max(now, ends_at) + part / CODE_RATE
        elif given >= prebuffer_s or done == n_codes:
            start, ends_at = now, now + given
    assert start is not None
    return start, underruns, sizes


@pytest.mark.parametrize("fixed_s", [0.05, 0.2, 0.4])
@pytest.mark.parametrize(("codes_rtf", "render_rtf"), [(0.1, 0.1), (0.3, 0.2), (0.3, 0.45)])
def test_parts_are_ready_before_the_sound_runs_out(codes_rtf: float, render_rtf: float, fixed_s: float) -> None:
    machine = estimator(measured(codes_rtf, render_rtf, fixed_s))
    for seed in range(8):
        _, underruns, sizes = simulate(machine, 1500, 0.5, seed)
        assert underruns == 0, sizes
        assert len(sizes) < 25  # they grow: there would be 62 of the smallest


def test_the_faster_the_machine_the_sooner_it_starts_and_the_larger_its_parts() -> None:
    starts, counts = [], []
    for share in (0.05, 0.2, 0.35, 0.6, 0.9):
        start, _, sizes = simulate(estimator(measured(share, share)), 1000, 0.0, 0)
        starts.append(start)
        counts.append(len(sizes))
    assert starts == sorted(starts) and starts[0] < 0.3
    assert counts[0] < counts[2]


def test_a_small_part_that_would_fall_behind_for_good_is_not_used() -> None:
    assert estimator(measured(0.1, 0.1, 0.02)).least_codes(CONTEXT) == MIN_CHUNK_CODES
    machine = estimator(measured(0.1, 0.1, 0.8))  # 0.8 s for each part, however small
    least = machine.least_codes(CONTEXT)
    assert least > 2 * MIN_CHUNK_CODES
    starved = BufferState(least, 0.0, 5, 30, CONTEXT)
    assert Adaptive(machine).target(starved) == least
    assert simulate(machine, 1500, 0.3, 0)[1] == 0


def test_a_slow_machine_is_given_a_head_start() -> None:
    fast, slow = estimator(measured(0.2, 0.2)), estimator(measured(0.8, 1.5))
    assert not fast.is_tight(CONTEXT) and slow.is_tight(CONTEXT)
    assert fast.prebuffer_s(CONTEXT, 10.0) < 0.5 < slow.prebuffer_s(CONTEXT, 10.0) <= 10.0
    # Told how long the speech is, it waits long enough: nothing runs dry although no part is ready in time.
    assert sum(simulate(slow, 600, 0.2, seed)[1] for seed in range(5)) <= 2


def test_before_anything_is_measured_parts_start_small_and_grow() -> None:
    schedule = Adaptive(estimator(LatencyModel()))
    assert schedule.estimator.rtf(CONTEXT) is None
    sizes = [schedule.target(BufferState(0, None, 0, 0, 0))]
    for _ in range(4):
        sizes.append(schedule.target(BufferState(0, 0.5, len(sizes), sizes[-1] or 0, CONTEXT)))
    assert None not in sizes and sizes[0] == schedule.estimator.codes(MIN_FIRST_S)
    assert all(b > a for a, b in itertools.pairwise(sizes) if a and b)


def test_fixed_sizes_repeat_the_last() -> None:
    schedule = Fixed((30, 60))
    assert [schedule.target(BufferState(0, 0.0, n, 0, 0)) for n in range(4)] == [30, 60, 60, 60]
    for sizes in ((), (0,), (-1, 5)):
        with pytest.raises(UsageError, match="Chunks"):
            Fixed(sizes)


def test_codes_of_chunks_of_fixed_sizes_are_settled_once_they_are_there() -> None:
    """With the code after them; what was output does not matter. Of other schedules, only that does."""
    fixed = Fixed((30, 60))
    settled = [fixed.settled(n, m, 0) for m in (0, 30) for n in (0, 30, 31, 90, 91, 150, 151)]
    assert settled == [(0, 0), (0, 0), (31, 1), (31, 1), (91, 2), (91, 2), (151, 3)] * 2
    assert [fixed.settled(n, 0, 5) for n in (60, 61)] == [(0, 0), (61, 1)]
    adaptive = Adaptive(estimator(measured(0.1, 0.1)))
    assert [adaptive.settled(500, m, 0)[0] for m in (0, 40)] == [0, 40]
    assert Whole().settled(500, 0, 0) == (0, 0)


@pytest.mark.parametrize("sizes", [(1,), (30,), (5, 3), (30, 60, 120), (120, 7, 7, 40)])
def test_settled_codes_are_those_of_the_chunks_that_are_rendered(sizes: tuple[int, ...]) -> None:
    """Chunk by chunk: each is as long as the target of that part of the stream, and one code must follow it."""
    fixed = Fixed(sizes)
    for n_before, n_codes in itertools.product(range(len(sizes) + 2), range(400)):
        end, n_chunks = 0, 0
        while n_codes > (next_end := end + fixed.target(BufferState(0, 0.0, n_before + n_chunks, 0, 0))):
            end, n_chunks = next_end, n_chunks + 1
        assert fixed.settled(n_codes, 0, n_before) == (end + 1 if n_chunks else 0, n_chunks)


def test_only_a_part_that_is_waited_for_is_urgent() -> None:
    adaptive, fixed = Adaptive(estimator(measured(0.1, 0.1))), Fixed((30,))
    first, starved = BufferState(30, None, 0, 0, 0), BufferState(30, 0.0, 4, 0, 0)
    flowing, later = BufferState(30, 0.7, 4, 0, 0), BufferState(30, 0.0, 4, 30, 0)
    assert [adaptive.is_urgent(s) for s in (first, starved, flowing, later)] == [True, True, False, False]
    assert [fixed.is_urgent(s) for s in (first, starved, flowing, later)] == [True, False, False, False]
    assert not Whole().is_urgent(first)


def test_costs_learn_a_fixed_part_and_forget() -> None:
    cost = Cost()
    assert cost.seconds(10) is None
    for size in (10, 40, 80, 20):
        cost.add(size, 0.5 + 0.01 * size)
    assert cost.seconds(100) == pytest.approx(1.5)
    for size in (10, 40, 80, 20) * 20:
        cost.add(size, 0.1 + 0.02 * size)
    assert cost.seconds(100) == pytest.approx(2.1, rel=0.01)
    same = Cost()
    for _ in range(3):
        same.add(16, 0.8)
    assert same.seconds(32) == pytest.approx(1.6)


def test_speeds_are_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "speeds" / "key.json"
    speeds = measured(0.2, 0.3)
    speeds.save(path)
    assert LatencyModel.load(path) == speeds
    assert [f.name for f in path.parent.iterdir()] == ["key.json"]
    for damaged in (
        "",
        "{",
        "[]",
        "{}",
        '{"format": 9}',
        json.dumps({"format": 1, "stages": {key: [1] for key in STAGES}}),
        json.dumps({"format": 1, "stages": {key: [1, 0, 1, 1, 1] for key in STAGES}}),
    ):
        path.write_text(damaged)
        assert LatencyModel.load(path) == LatencyModel()
    speeds.save(Path("/proc/nowhere/speeds.json"))  # no error: it is measured again


def test_turns_go_round() -> None:
    lock, order, ready = FairLock(), [], threading.Barrier(3)

    def work(name: int) -> None:
        ready.wait()
        with lock.hold() as hold:
            for _ in range(20):
                order.append(name)
                while lock.n_waiting < 2 and len(order) < 30:
                    pass  # all three are at it
                hold.yield_to_others()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(order) == 60
    assert all(sorted(order[i : i + 3]) == [0, 1, 2] for i in range(0, 27, 3)), order


def test_a_resting_turn_lets_others_go_and_counts_it_as_waiting() -> None:
    lock = FairLock()
    with lock.hold() as hold:
        with contextlib.suppress(ValueError), hold.released():
            with lock.hold() as other:
                assert other.waited_s < 0.05
            time.sleep(0.05)
            raise ValueError
        assert lock._is_held  # again, whatever happened inside
        assert hold.waited_s >= 0.05
    assert not lock._is_held


def test_a_turn_counts_its_waiting() -> None:
    lock = FairLock()
    with lock.hold() as alone:
        alone.yield_to_others()
        assert alone.waited_s < 0.01
        start = alone.clock()
        assert alone.clock() >= start
