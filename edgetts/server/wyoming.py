"""The Wyoming protocol, for Home Assistant: describe voices, speak a text, speak a text that arrives in pieces.

A connection may ask for several utterances; they are spoken in order. A client that disconnects stops its streams. An
error is sent as Wyoming's `error` event and ends the connection, so that a client does not wait for sound. Wyoming has
no tokens: whoever reaches the address may speak. Needs the package `wyoming`, of the extra of that name.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event, Eventable, async_write_event
from wyoming.info import Attribution, Describe, Info, TtsProgram, TtsVoice
from wyoming.ping import Ping, Pong
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop, SynthesizeStopped

from edgetts import __version__
from edgetts.audio.formats import to_pcm16
from edgetts.errors import EdgeTTSError
from edgetts.request import SpeechRequest
from edgetts.server import tasks
from edgetts.server.api_request import voice_name_of
from edgetts.server.body import json_object
from edgetts.server.faults import Fault, Stalled, fault_of, refused
from edgetts.server.request_queue import Busy, Closed
from edgetts.server.service import ClientGone, LiveSpeech, Service
from edgetts.server.voices import voice_languages
from edgetts.server.within import within

logger = logging.getLogger(__name__)

_PIECES = 64  # of text that wait; a client that sends more waits
_MAX_LINE_BYTES = 64 << 10  # of an event's first line
_WIDTH_BYTES, _CHANNELS = 2, 1
_ATTRIBUTION = Attribution("Index team, bilibili", "https://github.com/index-tts/index-tts")


@dataclass
class _Utterance:
    """text: whole; None: `pieces` has it, ended by None."""

    voice: str | None
    text: str | None = None
    pieces: asyncio.Queue[str | None] | None = None

    async def texts(self) -> AsyncIterator[str]:
        assert self.pieces is not None
        while (piece := await self.pieces.get()) is not None:
            yield piece


class WyomingServer:
    """Serves the sockets, which listen already, until `close`."""

    def __init__(self, service: Service, sockets: list[socket.socket]) -> None:
        self._service = service
        self._sockets = sockets
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        for sock in self._sockets:
            self._servers.append(await asyncio.start_server(self._serve, sock=sock, limit=_MAX_LINE_BYTES))

    async def close(self) -> None:
        """Stop listening and end all connections."""
        await tasks.close(self._servers, self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            if len(self._tasks) < self._service.limits.connections:
                self._tasks.add(task)
                await _Connection(self._service, reader, writer).run()
        except (ClientGone, asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()


class _Connection:
    def __init__(self, service: Service, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._service = service
        self._reader = reader
        self._writer = writer
        self._waiting: asyncio.Queue[_Utterance | None] = asyncio.Queue(service.limits.utterances)
        self._arriving: _Utterance | None = None  # whose text is not complete

    async def run(self) -> None:
        try:
            speaking = asyncio.create_task(self._speak_all())
            reading = asyncio.create_task(self._read_all())
            try:
                await asyncio.wait({speaking, reading}, return_when=asyncio.FIRST_COMPLETED)
                if speaking.done():
                    await speaking
                else:
                    await reading
                    raise ClientGone
            finally:
                await tasks.cancel(speaking, reading)
        except (EdgeTTSError, Fault, Busy, Closed, Stalled, MemoryError) as error:
            fault = fault_of(error)
            await self._put(Error(fault.message, fault.code))

    # --- messages from the client ---------------------------------------------------------------------

    async def _read_all(self) -> None:
        """Read events until the client disconnects. Raises Fault."""
        while (event := await self._event()) is not None:
            await self._handle(event)

    async def _event(self) -> Event | None:
        """The next event, within limits; None at the end."""
        most = self._service.limits.body_bytes
        try:
            line = await self._reader.readline()
        except ValueError:  # no end of the line within its limit
            raise refused("The event's header is too long.", code="request_too_large") from None
        if not line:
            return None
        head = json_object(line, most, "event")
        lengths = [head.get(name) or 0 for name in ("data_length", "payload_length")]
        if not all(isinstance(length, int) and 0 <= length <= most for length in lengths):
            raise refused(f"An event may have {most} bytes.", code="request_too_large")
        data = head.get("data") or {}
        if not isinstance(data, dict):
            raise refused("An event's data must be a JSON object.", code="invalid_json")
        try:
            rest = await within(self._reader.readexactly(sum(lengths)), self._service.limits.body_s)
        except asyncio.TimeoutError:
            raise Fault(408, "The event did not arrive in time.", code="request_timeout") from None
        if lengths[0]:  # no event for synthesis has a payload after it
            data = {**data, **json_object(rest[: lengths[0]], most, "event")}
        return Event(str(head.get("type")), data)

    async def _handle(self, event: Event) -> None:
        """Events that a synthesizer does not know are dropped, as the protocol wants."""
        if Describe.is_type(event.type):
            await self._put(await self._info())
        elif Ping.is_type(event.type):
            await self._put(Pong(text=event.data.get("text")))
        elif SynthesizeStart.is_type(event.type):
            if self._arriving is not None:
                raise refused("synthesize-start came twice: send synthesize-stop between them.")
            self._arriving = _Utterance(_voice(event), pieces=asyncio.Queue(_PIECES))
            await self._waiting.put(self._arriving)
        elif SynthesizeChunk.is_type(event.type):
            if self._arriving is None or self._arriving.pieces is None:
                raise refused("synthesize-chunk needs a synthesize-start before it.")
            await self._arriving.pieces.put(_text(event))
        elif SynthesizeStop.is_type(event.type):
            if self._arriving is not None and self._arriving.pieces is not None:
                await self._arriving.pieces.put(None)
            self._arriving = None
        elif Synthesize.is_type(event.type) and self._arriving is None:
            # Between start and stop it repeats the text, for servers that cannot stream.
            await self._waiting.put(_Utterance(_voice(event), _text(event)))

    # --- messages to the client -------------------------------------------------------------------------------

    async def _info(self) -> Info:
        tts = await self._service.host.tts()
        found = await asyncio.to_thread(voice_languages, tts)
        every: list[str] = list(tts.frontend().languages)
        about: dict[str, Any] = {"attribution": _ATTRIBUTION, "installed": True, "version": __version__}
        voices = [
            TtsVoice(name=name, description=name, languages=every if own is None else [own], **about)
            for name, own in found.items()
        ]
        program = TtsProgram(
            name="edgetts",
            description=tts.pack.manifest.name,
            voices=voices,
            supports_synthesize_streaming=True,
            **about,
        )
        return Info(tts=[program])

    async def _speak_all(self) -> None:
        while (utterance := await self._waiting.get()) is not None:
            await self._speak(utterance)

    async def _speak(self, utterance: _Utterance) -> None:
        voice = utterance.voice
        if voice is None:  # the first that it was told of
            names = await asyncio.to_thread(voice_languages, await self._service.host.tts())
            voice = next(iter(names), None)
        request = SpeechRequest(text=utterance.text, voice=voice)
        pieces = utterance.texts() if utterance.pieces is not None else None
        async with self._service.speak(request, "wyoming", pieces=pieces, arrived_at=time.perf_counter()) as live:
            await live.begin()
            await self._send_sound(live)
        if utterance.pieces is not None:
            await self._put(SynthesizeStopped())

    async def _send_sound(self, live: LiveSpeech) -> None:
        form = {"rate": live.stream.sample_rate, "width": _WIDTH_BYTES, "channels": _CHANNELS}
        await self._put(AudioStart(**form, timestamp=0))
        async for chunk in live:
            if len(chunk.samples):
                at_ms = round(1000 * chunk.offset / chunk.sample_rate)
                samples = to_pcm16(np.asarray(chunk.samples, np.float32))
                await self._put(AudioChunk(**form, audio=samples, timestamp=at_ms))
        await self._put(AudioStop(timestamp=round(1000 * live.seconds)))

    async def _put(self, event: Eventable) -> None:
        """Raises ClientGone when the client reads too slowly."""
        try:
            await within(async_write_event(event.event(), self._writer), self._service.limits.send_s)
        except (asyncio.TimeoutError, OSError):
            raise ClientGone from None


def _text(event: Event) -> str:
    text = event.data.get("text")
    if not isinstance(text, str):
        raise refused("text must be a string.", "text")
    return text


def _voice(event: Event) -> str | None:
    """The voice's name. A language alone means the default voice."""
    if event.data.get("text_format") not in (None, "text"):
        raise refused("text_format must be text.", "text_format")
    voice = event.data.get("voice") or {}
    if not isinstance(voice, dict):
        raise refused("voice must be an object.", "voice")
    if voice.get("speaker") is not None:
        raise refused("Voices have no speakers here: leave speaker out.", "voice")
    return voice_name_of(voice.get("name"))
