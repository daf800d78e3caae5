"""How long something that waits for another machine may take.

In: a piece of work, and how much of something it must get done in each stretch of time. Out: its result, or
`TooSlow`. The work runs in a thread of its own, because a read that gets one byte now and then never returns and
knows no time limit of its own; when patience ends, the work is told to stop and not waited for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


class TooSlow(Exception):
    """Less than the least was done in time."""


class Abandoned(Exception):
    """Raised in the work itself, at the next `Heartbeat.add`, when nobody waits for it any more."""


class Heartbeat:
    """What was done so far: the work adds to it."""

    def __init__(self) -> None:
        self.done = 0
        self.is_abandoned = False

    def add(self, count: int) -> None:
        """Raises Abandoned when the work is to stop."""
        if self.is_abandoned:
            raise Abandoned
        self.done += count


def patiently(work: Callable[[Heartbeat], Result], stretch_s: float, least: int) -> Result:
    """The result of `work`. Raises TooSlow when it does less than `least` in `stretch_s` seconds; what `work` raises
    is raised here."""
    progress = Heartbeat()
    results: list[Result] = []
    failures: list[BaseException] = []
    ended = threading.Event()

    def run() -> None:
        try:
            results.append(work(progress))
        except BaseException as error:  # it is raised again where it is waited for
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
