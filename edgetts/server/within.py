"""A time limit for an awaitable that never loses a cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def within(work: Awaitable[T], seconds: float | None) -> T:
    """The result of `work`; it is cancelled after `seconds` (None: no limit). Raises
    asyncio.TimeoutError.

    `asyncio.wait_for` before Python 3.12 ignores a cancellation that comes while the work ends: a client that
    disconnects at that moment would be spoken to until the end of its text.
    """
    working = asyncio.ensure_future(work)
    try:
        await asyncio.wait({working}, timeout=seconds)
        if working.done():
            return working.result()
    finally:
        if not working.done():
            working.cancel()
            await asyncio.wait({working})
        del working  # its error's traceback has this frame: a cycle
    raise asyncio.TimeoutError
