"""Work in a thread of its own: its result, its error, and nothing that stays."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import weakref

import pytest

from edgetts.backends.own_thread import in_own_thread

WAIT_S = 20.0
asked: contextvars.ContextVar[str] = contextvars.ContextVar("asked")


class Buffer:
    """As a library keeps one for each thread."""


def test_results_and_what_a_thread_holds_go_with_it() -> None:
    kept = threading.local()
    threads: list[threading.Thread] = []
    buffers: list[weakref.ref[Buffer]] = []

    def work(number: int, *, more: int) -> tuple[int, str]:
        kept.buffer = Buffer()
        buffers.append(weakref.ref(kept.buffer))
        threads.append(threading.current_thread())
        return number + more, asked.get()

    async def main() -> list[tuple[int, str]]:
        asked.set("context")
        return [await in_own_thread(work, number, more=1) for number in range(3)]

    assert asyncio.run(main()) == [(1, "context"), (2, "context"), (3, "context")]
    for thread in threads:
        thread.join(WAIT_S)
    assert len(set(threads)) == 3 and threading.main_thread() not in threads
    assert [buffer() for buffer in buffers] == [None] * 3


@pytest.mark.parametrize("kind", [ValueError, SystemExit])
def test_an_error_is_raised_and_keeps_nothing(kind: type[BaseException]) -> None:
    buffers: list[weakref.ref[Buffer]] = []

    def work() -> None:
        buffer = Buffer()  # in the frame that the error's traceback has
        buffers.append(weakref.ref(buffer))
        raise kind("no")

    async def main() -> None:
        with pytest.raises(kind, match="no"):
            await in_own_thread(work)

    gc.collect()
    gc.disable()
    try:
        asyncio.run(main())
        assert [buffer() for buffer in buffers] == [None]
    finally:
        gc.enable()


def test_a_cancelled_task_does_not_wait_for_its_thread() -> None:
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        may_end.wait(WAIT_S)
        ended.set()

    async def main() -> None:
        task = asyncio.create_task(in_own_thread(work))
        while not begun.is_set():
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not ended.is_set()

    asyncio.run(main())
    may_end.set()
    assert ended.wait(WAIT_S)
