"""Bad frames for a server, while a stream beside them must come out right.

    python tests/fuzz_server.py --frames 100000

Each connection sends some good frames and one bad one, and must then be closed in a documented way;
some connections do not even begin as they should. Nothing may crash, hang, or be kept.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import struct
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Protocol

import numpy as np
from conftest import BENCHMARKS, RECORDINGS
from hypothesis import given, seed, settings
from server_conversations import Conversation, check, conversations
from server_frames import (
    BAD,
    CLOSE,
    GOOD,
    HEADERS,
    MESSAGE,
    START,
    TEXT,
    UNSTARTED,
    Codes,
    bad_request,
    frame,
    handshake,
    text,
)

from ds2edge import Transcriber
from ds2edge.audio_file import read_audio
from ds2edge.progress import track

PATIENCE = 30.0  # seconds that the server may take to close
REST = 0.1  # seconds that it may wait for the rest of what is no whole frame
AT_ONCE = 8  # connections
REQUESTS = 0.1  # of all connections begin with a request that is wrong
FIRST = 0.25  # and so many with a first message that is
PIECE = 2560  # bytes, 80 ms
PERIOD = 0.08  # seconds
OPTIONS = ("--connections", "50", "--idle-seconds", "5", "--message-bytes", str(MESSAGE))
THREADS = 16  # that the server may have more, in its pools
GROWTH = 0.05, 8.0  # share that memory may grow, or so many MB, after the first quarter


class Watched(Protocol):
    """What tells of the server's process: `serving_processes.Process`."""

    def resident(self) -> float: ...
    def descriptors(self) -> int: ...
    def threads(self) -> int: ...


class Served(Protocol):
    """A server that is fuzzed: `serving_server.Server`."""

    port: int
    process: Watched

    def health(self) -> dict[str, Any]: ...
    def said(self) -> str: ...


@dataclass
class Tally:
    """What came of it."""

    frames: int = 0  # that were bad, and answered
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)  # of kinds
    codes: Counter[str] = field(default_factory=Counter)
    beside: int = 0  # recordings that came out right
    faults: Counter[str] = field(default_factory=Counter)
    memory: list[float] = field(default_factory=list)  # MB, again and again

    def note(self, kind: str, outcome: str, is_fault: bool = False) -> None:
        """How something of a kind came out."""
        self.frames += 1
        self.outcomes[kind, outcome] += 1
        self.codes[outcome] += 1
        if is_fault:
            self.faults[f"{kind}: {outcome}"] += 1


class Connection:
    """Bytes to a server and back."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> Connection:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def upgrade(self, port: int, headers: Mapping[str, str] | None = None) -> int:
        """Become a WebSocket; returns the answer's status."""
        self.writer.write(handshake(port, headers))
        return await self.status()

    async def status(self) -> int:
        """Of an answer to a request."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        return int(head.split(b" ", 2)[1])

    async def receive(self) -> tuple[int, bytes]:
        """The next frame of the server: its opcode and what is in it."""
        first, length = await self.reader.readexactly(2)
        if length == 126:
            (length,) = struct.unpack("!H", await self.reader.readexactly(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", await self.reader.readexactly(8))
        return first & 15, await self.reader.readexactly(length)

    async def closing(self) -> tuple[int | None, list[dict[str, Any]]]:
        """The code of the server's close frame, None if none came, and its messages before."""
        messages = []
        try:
            while True:
                opcode, data = await self.receive()
                if opcode == CLOSE:
                    return struct.unpack("!H", data[:2])[0] if data else 1005, messages
                if opcode == TEXT:
                    messages.append(json.loads(data))
        except (EOFError, ConnectionError):
            return None, messages

    def end(self) -> None:
        """Send nothing more; the server may have closed already."""
        with suppress(OSError):
            self.writer.write_eof()

    def close(self) -> None:
        self.writer.transport.abort()


class Fuzzer:
    """Bad frames from one seed."""

    def __init__(self, port: int, tally: Tally, seed: int, first: Sequence[str]) -> None:
        """`first`: kinds that are sent before any are drawn."""
        self._port, self._tally, self._chance = port, tally, random.Random(seed)
        self._first = list(first)

    async def run(self, turns: Iterator[int]) -> None:
        """One connection for each turn that the other fuzzers leave."""
        for _ in turns:
            self._kind = "connecting"
            try:
                connection = await Connection.open(self._port)
                try:
                    await asyncio.wait_for(self._talk(connection), PATIENCE)
                finally:
                    connection.close()
            except TimeoutError:
                self._tally.note(self._kind, "does not let go", is_fault=True)
            except (OSError, EOFError, ValueError) as error:
                self._tally.note(self._kind, repr(error), is_fault=True)

    async def _talk(self, connection: Connection) -> None:
        chance = self._chance
        if chance.random() < REQUESTS:
            self._kind = "request"
            await self._request(connection)
            return
        kinds = UNSTARTED if chance.random() < FIRST else BAD
        self._kind = self._first.pop() if self._first else chance.choice(list(kinds))
        kinds = BAD if self._kind in BAD else UNSTARTED
        make, codes = kinds[self._kind]
        status = await connection.upgrade(self._port, HEADERS.get(self._kind))
        if status != 101:
            raise ValueError(f"HTTP {status}")
        if kinds is BAD:
            connection.writer.write(text(START))
            for _ in range(chance.choice((0, 0, 1, 3))):
                connection.writer.write(chance.choice(GOOD)(chance))
        connection.writer.write(make(chance))
        closing = asyncio.create_task(connection.closing())
        if None in codes and not (await asyncio.wait({closing}, timeout=REST))[0]:
            connection.writer.write(frame(CLOSE, struct.pack("!H", 1000)))
            connection.end()
        self._judge(codes, *await closing)

    async def _request(self, connection: Connection) -> None:
        connection.writer.write(bad_request(self._port, self._chance))
        answering = asyncio.create_task(connection.status())
        if not (await asyncio.wait({answering}, timeout=REST))[0]:
            connection.end()
        try:
            status = await answering
        except (EOFError, ConnectionError):
            self._tally.note(self._kind, "broken off")
            return
        self._tally.note(self._kind, f"HTTP {status}", is_fault=not 400 <= status < 500)

    def _judge(self, codes: Codes, code: int | None, messages: Sequence[dict[str, Any]]) -> None:
        """Our own codes come after an error message that says the same."""
        errors = [message for message in messages if message["type"] == "error"]
        told = "broken off" if code is None else f"closed with {code}"
        is_fault = code not in codes
        if code is not None and code >= 4000 and (len(errors) != 1 or not errors[0]["message"]):
            told, is_fault = f"{told} without a reason", True
        self._tally.note(self._kind, told, is_fault)


class Beside:
    """A client that does what is right, again and again."""

    def __init__(self, port: int, tally: Tally, recordings: Sequence[tuple[bytes, Any]]) -> None:
        self._port, self._tally, self._recordings = port, tally, recordings

    async def run(self, end: asyncio.Event) -> None:
        """Until the end, and then once more."""
        ended = False
        while not ended:
            ended = end.is_set()
            for data, expected in self._recordings:
                try:
                    found = await asyncio.wait_for(self._speak(data), PATIENCE + len(data) / 32000)
                except (TimeoutError, OSError, EOFError) as error:
                    self._tally.faults[f"beside: {type(error).__name__}"] += 1
                    continue
                right = found == expected
                self._tally.beside += right
                if not right:
                    self._tally.faults[f"beside: {found}"] += 1

    async def _speak(self, data: bytes) -> list[dict[str, Any]]:
        """In real time; the finals."""
        connection = await Connection.open(self._port)
        try:
            await connection.upgrade(self._port)
            connection.writer.write(text(START))
            listening = asyncio.create_task(connection.closing())
            begin = asyncio.get_running_loop().time()
            for at in range(0, len(data), PIECE):
                due = begin + at / PIECE * PERIOD
                await asyncio.sleep(due - asyncio.get_running_loop().time())
                connection.writer.write(frame(2, data[at : at + PIECE]))
            connection.writer.write(text({"type": "finish"}))
            code, messages = await listening
        finally:
            connection.close()
        finals = [message for message in messages if message["type"] == "final"]
        return finals if code == 1000 else [*finals, {"code": code}]


def fuzz(
    server: Served, frames: int, recordings: Sequence[tuple[bytes, Any]], start: int = 1
) -> Tally:
    """So many bad frames, and a look at what is left of the server.

    Args:
        recordings: samples as int16 at 16 kHz, and the finals that must come of them.
    """
    tally = Tally()
    asyncio.run(_fuzz(server, tally, frames, recordings, start))
    return tally


async def _fuzz(
    server: Served, tally: Tally, frames: int, recordings: Sequence[tuple[bytes, Any]], start: int
) -> None:
    end = asyncio.Event()
    before = server.process.descriptors(), server.process.threads()
    beside = asyncio.create_task(Beside(server.port, tally, recordings).run(end))
    watching = asyncio.create_task(_watch(server, tally))
    kinds = [*BAD, *UNSTARTED]
    fuzzers = [
        Fuzzer(server.port, tally, start * AT_ONCE + i, kinds[i::AT_ONCE]) for i in range(AT_ONCE)
    ]
    turns = track(range(frames), "bad frames", frames)
    await asyncio.gather(*(fuzzer.run(turns) for fuzzer in fuzzers))
    end.set()
    await beside
    watching.cancel()
    await asyncio.to_thread(check_left, server, tally, before)


async def _watch(server: Served, tally: Tally) -> None:
    while True:
        tally.memory.append(server.process.resident())
        await asyncio.sleep(0.5)


def check_left(server: Served, tally: Tally, before: tuple[int, int]) -> None:
    """What the server still holds when all have gone."""
    for _ in range(round(PATIENCE)):
        streams, files = server.health()["streams"], server.process.descriptors()
        if not streams and files <= before[0] + 1:  # one is that of the question
            break
        time.sleep(1)
    if streams:
        tally.faults[f"{streams} streams are still open"] += 1
    if files > before[0] + 1:
        tally.faults[f"{files} files are open, {before[0]} were before"] += 1
    if server.process.threads() > before[1] + THREADS:
        tally.faults[f"{server.process.threads()} threads run, {before[1]} did before"] += 1
    if "Traceback" in server.said():
        tally.faults[f"the server said: {server.said()[-2000:]}"] += 1


def grown(memory: Sequence[float]) -> str:
    """What is wrong with the server's memory, MB, of a long run; empty: nothing."""
    quarter = len(memory) // 4
    early, late = (median(memory[i * quarter : (i + 1) * quarter] or [0.0]) for i in (1, 3))
    share, slack = GROWTH
    if late - early > max(share * early, slack):
        return f"memory has grown from {early:.1f} to {late:.1f} MB"
    return ""


def talk(url: str, transcriber: Transcriber, tally: Tally, count: int, start: int) -> None:
    """Conversations, each of which must be answered as it should."""

    @seed(start)
    @settings(max_examples=count, deadline=None, database=None)
    @given(conversation=conversations())
    def run(conversation: Conversation) -> None:
        if wrong := check(url, conversation, transcriber):
            raise AssertionError(wrong)

    try:
        run()
    except Exception as error:
        notes = "\n".join(getattr(error, "__notes__", ()))
        tally.faults[f"a conversation: {error}\n{notes}"] += 1


def recorded(transcriber: Transcriber, most: int | None = None) -> list[tuple[bytes, Any]]:
    """The recordings of the stream beside, `most` samples of each, and what must come of them."""
    found = []
    for path in RECORDINGS[:2]:
        scaled = np.clip(np.round(read_audio(path, 16000) * 2**15), -(2**15), 2**15 - 1)
        samples = scaled.astype("<i2")[:most]
        segments = transcriber.transcribe(samples, 16000).segments
        finals = [{"type": "final", **segment.as_dict()} for segment in segments]
        found.append((samples.tobytes(), json.loads(json.dumps(finals))))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100_000, help="bad ones [%(default)s]")
    parser.add_argument(
        "--conversations", type=int, default=2000, help="drawn by hypothesis [%(default)s]"
    )
    parser.add_argument("--seed", type=int, default=1, help="[%(default)s]")
    asked = parser.parse_args()
    sys.path.insert(0, str(BENCHMARKS))
    from serving_server import Server

    transcriber = Transcriber(device="cpu")
    with Server(OPTIONS) as server:
        began = time.monotonic()
        tally = fuzz(server, asked.frames, recorded(transcriber), asked.seed)
        seconds = time.monotonic() - began
        talk(server.url, transcriber, tally, asked.conversations, asked.seed)
        if code := server.stop():
            tally.faults[f"the server ended with exit code {code}"] += 1
    if trend := grown(tally.memory):
        tally.faults[trend] += 1
    for (kind, outcome), count in sorted(tally.outcomes.items()):
        print(f"{kind:28} {outcome:36} {count:7d}")
    print("\n" + ", ".join(f"{code}: {count}" for code, count in tally.codes.most_common()))
    print(
        f"{tally.frames} bad frames and requests in {seconds:.0f} s, seed {asked.seed}; "
        f"{tally.beside} recordings came out right beside them; memory "
        f"{tally.memory[0]:.1f} MB at first, {max(tally.memory):.1f} at most, "
        f"{tally.memory[-1]:.1f} at last"
    )
    print("\n".join(f"WRONG, {n} times: {fault}" for fault, n in tally.faults.items()))
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
