"""Runs work that computes in a thread of its own, which ends with it.

In: a function and its arguments, in an event loop. Out: its result or its error. What only waits needs no thread of its
own: the event loop's pool is for that.

Libraries keep buffers for each thread that computes, and OpenMP keeps a team of threads for it, until the thread ends.
Threads of the pool never end: recordings learned in them, one after the other, left three more threads and up to 3.7 MB
in each of them.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def in_own_thread(work: Callable[P, T], /, *args: P.args, **named: P.kwargs) -> T:
    """As `asyncio.to_thread`. A cancellation does not stop the thread; its result is dropped."""
    return await asyncio.wrap_future(_begun(partial(contextvars.copy_context().run, work, *args, **named)))


def _begun(work: Callable[[], T]) -> Future[T]:
    future: Future[T] = Future()
    threading.Thread(target=_run, args=(work, future), name="edgetts-work").start()
    return future


def _run(work: Callable[[], T], future: Future[T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work())
    except BaseException as error:  # SystemExit, too: whoever waits gets it
        future.set_exception(error)
    finally:
        del work, future  # the error's traceback has this frame: a cycle
