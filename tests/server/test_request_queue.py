"""The line of a daemon: who is served, who waits, who is sent away."""

from __future__ import annotations

import asyncio

import pytest

from edgetts.server.request_queue import Busy, Closed, RequestQueue


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_first_come_first_served_and_nobody_beyond_the_line() -> None:
    async def run() -> None:
        queue, served, doors = RequestQueue(1, 2), [], [asyncio.Event() for _ in range(3)]

        async def come(number: int) -> None:
            async with queue.slot():
                served.append(number)
                await doors[number].wait()

        tasks = [asyncio.create_task(come(number)) for number in range(3)]
        await settle()
        assert served == [0] and queue.n_waiting == 2 and queue.is_full
        with pytest.raises(Busy) as sent_away:
            async with queue.slot():
                pass
        assert sent_away.value.retry_s >= 1
        for number in range(3):
            assert served == list(range(number + 1))
            doors[number].set()
            await settle()
        await asyncio.gather(*tasks)
        assert (queue.n_served, queue.n_waiting, queue.is_full) == (0, 0, False)

    asyncio.run(run())


def test_who_leaves_the_line_keeps_no_place() -> None:
    async def run() -> None:
        queue, door = RequestQueue(1, 5), asyncio.Event()

        async def come() -> None:
            async with queue.slot():
                await door.wait()

        first, second, third = (asyncio.create_task(come()) for _ in range(3))
        await settle()
        second.cancel()  # while it waits
        await settle()
        assert queue.n_waiting == 1
        door.set()
        first.cancel()  # the place goes over to the third in the moment in which that one goes
        await asyncio.sleep(0)
        third.cancel()
        await settle()
        assert (first.cancelled(), second.cancelled(), third.done()) == (True, True, True)
        assert (queue.n_served, queue.n_waiting) == (0, 0)

    asyncio.run(run())


def test_a_closed_desk_sends_everybody_away() -> None:
    async def run() -> None:
        queue, door = RequestQueue(1, 5), asyncio.Event()

        async def come() -> None:
            async with queue.slot():
                await door.wait()

        first, second = asyncio.create_task(come()), asyncio.create_task(come())
        await settle()
        queue.close()
        with pytest.raises(Closed):
            await second
        with pytest.raises(Closed):
            await come()
        door.set()
        await first
        assert queue.n_served == 0

    asyncio.run(run())
