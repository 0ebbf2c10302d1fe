"""A small transcription server on asyncio, and a client that sends it several recordings at once.

A client writes a line with its sample rate, then raw int16 samples, and closes its side when it has
spoken; meanwhile it reads a line of JSON for each event. `async_stream` works in a thread of its
own, so no client holds up another.

python examples/asyncio_server.py                                 serves until Ctrl-C
python examples/asyncio_server.py tests/data/speech/*.mp3         the client, in another terminal
"""

import argparse
import asyncio
import json
from collections.abc import AsyncIterator

import numpy as np

from ds2edge import Ds2edgeError, Final, Transcriber
from ds2edge.audio_file import read_audio

HOST = "127.0.0.1"
RATE = 16_000  # Hz, what the client sends


async def blocks(reader: asyncio.StreamReader, rate: int) -> AsyncIterator[np.ndarray]:
    """Samples as they come, 50 ms at a time."""
    while not reader.at_eof():
        try:
            data = await reader.readexactly(2 * (rate // 20))
        except asyncio.IncompleteReadError as end:
            data = end.partial[: len(end.partial) // 2 * 2]
        yield np.frombuffer(data, "<i2")


async def serve(port: int) -> None:
    transcriber = Transcriber()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            rate = int(await reader.readline())
            async with transcriber.async_stream(rate) as stream:
                async for event in stream.events(blocks(reader, rate)):
                    facts = {"final": isinstance(event, Final), "text": event.text}
                    writer.write(json.dumps(facts).encode() + b"\n")
                    await writer.drain()
        except (Ds2edgeError, ValueError) as error:
            writer.write(json.dumps({"error": str(error)}).encode() + b"\n")
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client is gone, or Ctrl-C
        finally:
            writer.close()

    server = await asyncio.start_server(answer, HOST, port)
    print(f"listening on {HOST}:{server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.Event().wait()  # until Ctrl-C


async def send(recording: str, port: int) -> str:
    """The text of a recording, from the server."""
    samples = (read_audio(recording, RATE) * 32767).clip(-32768, 32767).astype("<i2")
    reader, writer = await asyncio.open_connection(HOST, port)

    async def speak() -> None:
        writer.write(b"%d\n" % RATE + samples.tobytes())
        await writer.drain()
        writer.write_eof()

    async def hear() -> str:
        events = [json.loads(line) async for line in reader]
        if errors := [event["error"] for event in events if "error" in event]:
            raise Ds2edgeError(f"{recording}: {errors[0]}")
        return " ".join(event["text"] for event in events if event["final"] and event["text"])

    _, text = await asyncio.gather(speak(), hear())
    writer.close()
    return f"{recording}: {text}"


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recordings", nargs="*", help="[none: be the server]")
    parser.add_argument("--port", type=int, default=4321)
    arguments = parser.parse_args()
    if not arguments.recordings:
        await serve(arguments.port)
    for line in await asyncio.gather(*(send(r, arguments.port) for r in arguments.recordings)):
        print(line)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except (Ds2edgeError, OSError, OverflowError) as error:  # no server, or no such port
        raise SystemExit(f"asyncio_server: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
