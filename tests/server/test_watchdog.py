"""The watchdog: a supervisor hears of the daemon while it can speak, and no more when it cannot."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from helpers.daemon import QUICK, VOICE, Running

from edgetts.errors import GenerationError, PackError
from edgetts.request import SpeechRequest
from edgetts.server import watchdog
from edgetts.server.faults import Stalled, fault_of
from edgetts.server.health import speak_briefly
from edgetts.server.service import LiveSpeech, Service
from edgetts.server.settings import Limits, Settings
from edgetts.server.watchdog import Watchdog

SECONDS = 0.4


def service(*, is_loaded: bool = True, is_stalled: bool = False) -> SimpleNamespace:
    host = SimpleNamespace(opened=SimpleNamespace(is_loaded=is_loaded))
    return SimpleNamespace(is_stalled=is_stalled, progress=(0, 0), host=host)


def problem(dog: Watchdog) -> str | None:
    return asyncio.run(dog.problem())


def test_a_short_synthesis_that_ends_is_a_sign_of_life() -> None:
    spoken = list[object]()
    assert problem(Watchdog(service(), None, SECONDS, spoken.append)) is None
    assert len(spoken) == 1


def test_one_that_hangs_is_none_and_no_second_one_is_begun() -> None:
    hang, begun = threading.Event(), list[object]()

    def check(tts: object) -> None:
        begun.append(tts)
        hang.wait()

    dog = Watchdog(service(), None, SECONDS, check)
    assert "has not ended" in str(problem(dog))
    assert "hangs" in str(problem(dog))
    assert len(begun) == 1
    hang.set()
    dog._thread.join()
    assert problem(dog) is None


@pytest.mark.parametrize(
    ("error", "is_alive"),
    [(RuntimeError("CUDA error"), False), (GenerationError("no numbers"), False), (PackError("moved"), True)],
)
def test_only_what_a_new_start_mends_counts(error: Exception, is_alive: bool) -> None:
    def check(_tts: object) -> None:
        raise error

    assert (problem(Watchdog(service(), None, SECONDS, check)) is None) == is_alive


def test_streams_that_make_sound_and_networks_that_are_not_loaded_need_no_check() -> None:
    def check(_tts: object) -> None:
        raise RuntimeError

    at_work = service()
    dog = Watchdog(at_work, None, SECONDS, check)
    assert problem(dog) is not None
    at_work.progress = (0, 512)
    assert problem(dog) is None
    assert problem(dog) is not None
    assert problem(Watchdog(service(is_loaded=False), None, SECONDS, check)) is None
    assert "hangs" in str(problem(Watchdog(service(is_stalled=True), None, SECONDS, check)))


def test_the_supervisor_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told = list[str]()
    monkeypatch.setattr(watchdog, "notify", lambda _address, line: told.append(line))

    def run(check: Callable[[object], None]) -> None:
        async def wait() -> None:
            dog = Watchdog(service(), "somewhere", 0.04, check)
            dog.start()
            while len(told) < 2:
                await asyncio.sleep(0.01)
            dog.stop()

        asyncio.run(asyncio.wait_for(wait(), 5))

    run(lambda _tts: None)
    assert told == ["WATCHDOG=1"] * len(told)
    told.clear()

    def fail(_tts: object) -> None:
        raise RuntimeError("gone")

    run(fail)
    assert told == ["STATUS=a short synthesis failed: gone"] * len(told)


def test_the_check_speaks_beside_other_streams(daemon: Running) -> None:
    with daemon.tts.stream("One two three four.", VOICE, **QUICK) as stream:
        speak_briefly(daemon.tts)
        assert sum(len(chunk.samples) for chunk in stream) > 0


class Slow:
    """A stream of two chunks, whose text takes its time or whose model does."""

    def __init__(self) -> None:
        self.n_chunks = 0

    async def begin(self) -> None:
        pass

    async def __anext__(self) -> SimpleNamespace:
        if self.n_chunks == 2:
            raise StopAsyncIteration
        await asyncio.sleep(0.3)
        self.n_chunks += 1
        return SimpleNamespace(samples=())


@pytest.mark.parametrize("awaits_text", [True, False])
def test_waiting_for_text_is_not_hanging(awaits_text: bool) -> None:
    async def listen() -> int:
        live = LiveSpeech(SpeechRequest(), "id", "test", 0.0, stall_s=0.1)
        live.attach(Slow())  # type: ignore[arg-type]
        live.awaits_text = awaits_text
        return len([chunk async for chunk in live])

    if awaits_text:
        assert asyncio.run(listen()) == 2
    else:
        with pytest.raises(Stalled):
            asyncio.run(listen())


def test_a_stream_that_hangs_ends_with_an_error_and_gives_its_place_away(caplog: pytest.LogCaptureFixture) -> None:
    hang = threading.Event()

    def start(_request: SpeechRequest, _on_sound: object) -> None:
        hang.wait(30)

    @contextlib.asynccontextmanager
    async def use():
        yield SimpleNamespace(start=start)

    async def listen() -> Service:
        service = Service(SimpleNamespace(use=use), Settings(limits=Limits(stall_s=0.1)))  # type: ignore[arg-type]
        try:
            async with service.speak(SpeechRequest(text="Hello."), "test") as live:
                with pytest.raises(Stalled):
                    await live.begin()
                raise Stalled
        except Stalled as error:
            assert fault_of(error).code == "model_stalled"
        finally:
            hang.set()
        return service

    service = asyncio.run(listen())
    assert service.is_stalled and service.queue.n_served == 0
    assert "no sound for 0.1 s" in caplog.text
