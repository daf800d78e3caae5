"""A small speech server with asyncio: one model, any number of clients, each hears its text while it is synthesized.

python asyncio_server.py --port 7000
echo "Hello." | nc -q 60 127.0.0.1 7000 | aplay -f S16_LE -r 22050

A client sends a line of text for each utterance and receives 16-bit mono samples. For more, there is `edgetts serve`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from functools import partial

from edgetts import TTS, EdgeTTSError


async def serve_client(tts: TTS, voice: str | None, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Speak the lines of one client until it leaves. A client that leaves early ends the work for it."""
    with contextlib.suppress(ConnectionError):
        while line := (await reader.readline()).decode("utf-8", "replace").strip():
            try:
                async with tts.astream(line, voice, dtype="int16") as stream:
                    async for chunk in stream:
                        writer.write(chunk.samples.tobytes())
                        await writer.drain()  # raises when the client is gone
            except EdgeTTSError as error:
                print(error)
        writer.close()
        await writer.wait_closed()


async def start(tts: TTS, port: int, voice: str | None = None) -> asyncio.Server:
    """The listening server, on this machine only."""
    return await asyncio.start_server(partial(serve_client, tts, voice), "127.0.0.1", port)


async def run(port: int, voice: str | None) -> None:
    with TTS.load() as tts:
        await tts.asay("Ready.", voice)  # loads the networks before the first client comes
        server = await start(tts, port, voice)
        async with server:
            await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=7000)
    parser.add_argument("--voice", help="a name, a voice file or a recording")
    given = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run(given.port, given.voice))
