"""A time limit, and cancellations at any moment."""

from __future__ import annotations

import asyncio

import pytest

from edgetts.server.within import within


async def answer(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "done"


def test_a_result_an_error_and_a_limit() -> None:
    async def fail() -> None:
        raise ValueError("no")

    assert asyncio.run(within(answer(0), 5)) == "done"
    assert asyncio.run(within(answer(0), None)) == "done"
    with pytest.raises(ValueError, match="no"):
        asyncio.run(within(fail(), 5))
    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(within(answer(5), 0.01))


@pytest.mark.parametrize("n_steps", range(8))
def test_no_cancellation_is_lost_while_the_work_ends(n_steps: int) -> None:
    async def run() -> None:
        gate: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def work() -> str:
            return await gate

        async def caller() -> str:
            return await within(work(), 5)

        calling = asyncio.ensure_future(caller())
        for _ in range(4):
            await asyncio.sleep(0)
        gate.set_result("done")
        for _ in range(n_steps):
            await asyncio.sleep(0)
        was_cancelled = calling.cancel()
        await asyncio.wait({calling})
        assert calling.cancelled() == was_cancelled

    asyncio.run(run())
