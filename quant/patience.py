"""A minimum rate for work that waits for another machine.

In: a function, and the progress it must make in each stretch of time. Out: its result, or `TooSlow`. The work runs in
its own thread, because a read that receives a byte now and then never times out; a work that is too slow is told to
stop and not waited for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


class TooSlow(Exception):
    """The minimum progress was not made in time."""


class Abandoned(Exception):
    """Raised inside the work, at the next `Heartbeat.add`, after it was given up."""


class Heartbeat:
    """The progress of the work, reported by it."""

    def __init__(self) -> None:
        self.done = 0
        self.is_abandoned = False

    def add(self, count: int) -> None:
        """Add to the progress. Raises Abandoned if the work must stop."""
        if self.is_abandoned:
            raise Abandoned
        self.done += count


def patiently(work: Callable[[Heartbeat], Result], stretch_s: float, least: int) -> Result:
    """The result of `work`, or its exception. Raises TooSlow for progress below `least` in `stretch_s` seconds."""
    progress = Heartbeat()
    results: list[Result] = []
    failures: list[BaseException] = []
    ended = threading.Event()

    def run() -> None:
        try:
            results.append(work(progress))
        except BaseException as error:  # raised again in the waiting thread
            failures.append(error)
        finally:
            ended.set()

    threading.Thread(target=run, daemon=True, name="edgetts-download").start()
    before = 0
    try:
        while not ended.wait(stretch_s):
            if progress.done - before < least:
                raise TooSlow
            before = progress.done
    finally:
        progress.is_abandoned = True
    if failures:
        raise failures[0]
    return results[0]
