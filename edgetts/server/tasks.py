"""Ends the tasks of a connection or a server.

In: asyncio tasks. Out: they have ended. Does not know protocols.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancel the tasks, one after the other, and drop their errors."""
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task


async def close(servers: Iterable[asyncio.Server], tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Stop listening and cancel the tasks of all connections."""
    for server in servers:
        server.close()
    ending = list(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)
