"""Clients of the server's benchmark, many of them in one process: they speak in real time.

Frames are made once, before anybody speaks, so that to speak costs a client little more than the
system's call. The protocol itself is that of the websockets library.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import common  # noqa: F401 - first: it pins threads
import numpy as np
from serving_speech import CHUNK, RATE, STAGGER, Finals, stagger
from websockets.client import ClientProtocol
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

from ds2edge.results import Seconds

PINGS = 20  # a second, of all clients of a measurement together
PING_BYTES = 125  # the most that there may be
PATIENCE: Seconds = 60.0  # that connecting may take, and the end of what was said
TICK: Seconds = 0.002  # what falls into the same one is sent together, which costs less
AT_ONCE = 16  # connections that are being opened


@dataclass(frozen=True)
class Orders:
    """What one process of clients is to do."""

    url: str
    tracks: Path  # .npy: shape = (tracks, chunks, samples), int16
    clients: tuple[int, ...]  # their numbers among all clients
    all_clients: int
    processors: tuple[int, ...]  # that it may use; none: any


@dataclass
class Told:
    """What one client found."""

    track: int
    sent: Seconds = 0.0  # of audio
    late: list[Seconds] = field(default_factory=list)  # of each chunk, when it was sent
    pings: list[Seconds] = field(default_factory=list)  # there and back
    finals: Finals = field(default_factory=list)
    partials: int = 0
    ended: Seconds | None = None  # of audio, as the server says at the end
    closing: Seconds | None = None  # from finish to the end
    unsent: int = 0  # the most bytes that waited for the server to read
    code: int | None = None  # with which the connection was closed
    error: str = ""


class Speaker(asyncio.Protocol):
    """One client: connects, speaks one track, listens to the end."""

    def __init__(
        self,
        url: str,
        number: int,
        track: int,
        frames: Sequence[bytes],
    ) -> None:
        self.told = Told(track)
        self.ready, self.done, self.gone = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._protocol = ClientProtocol(parse_uri(url), max_size=None)
        self._number, self._frames = number, frames
        self._loop = asyncio.get_running_loop()
        self._finished = 0.0

    # ---- what the event loop calls

    def connection_made(self, transport: Any) -> None:
        self._transport: asyncio.Transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._protocol.send_request(self._protocol.connect())
        self._write()

    def data_received(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Response):
                if self._protocol.handshake_exc is None:
                    self._say({"type": "start", "version": 1, "sample_rate": RATE})
                else:
                    self._fail(str(self._protocol.handshake_exc))
            elif isinstance(event, Frame):
                self._hear(event)
        self._write()

    def eof_received(self) -> None:
        self._protocol.receive_eof()

    def connection_lost(self, error: Exception | None) -> None:
        self.told.code = self._protocol.close_code or CloseCode.ABNORMAL_CLOSURE
        if self.told.ended is None:
            self._fail(f"closed with {self.told.code}: {self._protocol.close_reason}")
        self.done.set()
        self.gone.set()

    # ---- what it says and hears

    def speak(self, begin: float) -> None:
        """From this moment of the event loop's clock on, and a little later than others."""
        self._begin = begin + stagger(self._number)
        self._loop.call_at(self._begin, self._speak_next, 0)

    def ping(self, times: int = 1) -> None:
        """The answer shows how long the server's event loop lets what arrives wait.

        As many bytes come back as were sent.
        """
        if not self.done.is_set():
            data = repr(self._loop.time()).encode().ljust(PING_BYTES)
            for _ in range(times):
                self._protocol.send_ping(data)
            self._write()

    def burst(self) -> None:
        """Say all of it at once, as fast as the server takes it."""
        for frame in self._frames:
            self._transport.write(frame)
        self.told.sent = len(self._frames) * CHUNK
        self._finish()

    def delay(self, seconds: Seconds) -> None:
        """Say nothing for so long, then go on."""
        self._begin += seconds

    def stop(self) -> None:
        """Say nothing more."""
        self._frames = self._frames[:0]
        self.done.set()

    def go_deaf(self) -> None:
        """Read nothing any more."""
        self._transport.pause_reading()

    def listen(self) -> None:
        """Read again what has come meanwhile."""
        self._transport.resume_reading()

    def half_close(self) -> None:
        """Tell the system, and nobody else, that nothing more will come."""
        self.stop()
        self._transport.write_eof()

    def write(self, data: bytes) -> None:
        """Any bytes."""
        self._transport.write(data)

    def close(self, rudely: bool = False) -> None:
        """Without a word; rudely: such that the system tells the server of an error."""
        if self.gone.is_set():  # asyncio does not always bear it
            return
        if rudely:
            linger = struct.pack("ii", 1, 0)
            connection = self._transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._transport.abort()

    def _speak_next(self, number: int) -> None:
        if self.done.is_set():
            return
        if number == len(self._frames):
            self._finish()
            return
        self.told.late.append(self._loop.time() - (self._begin + number * CHUNK))
        self._transport.write(self._frames[number])
        self.told.sent += CHUNK
        self.told.unsent = max(self.told.unsent, self._transport.get_write_buffer_size())
        due = math.ceil((self._begin + (number + 1) * CHUNK) / TICK) * TICK
        self._loop.call_at(due, self._speak_next, number + 1)

    def _finish(self) -> None:
        self._finished = self._loop.time()
        self._say({"type": "finish"})

    def _hear(self, frame: Frame) -> None:
        if frame.opcode is Opcode.PONG:
            self.told.pings.append(self._loop.time() - float(bytes(frame.data)))
        elif frame.opcode is Opcode.TEXT:
            if b'"partial"' in bytes(frame.data[:24]):  # too many to look at each
                self.told.partials += 1
                return
            message = json.loads(bytes(frame.data))
            if message["type"] == "ready":
                self.ready.set()
            elif message["type"] == "final":
                self.told.finals.append(message)
            elif message["type"] == "end":
                self.told.ended = message["seconds"]
                self.told.closing = self._loop.time() - self._finished
            elif message["type"] == "error":
                self._fail(message["message"])

    def _say(self, message: dict[str, Any]) -> None:
        self._protocol.send_text(json.dumps(message).encode())
        self._write()

    def _write(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._transport.write(data)
            else:
                self._transport.write_eof()

    def _fail(self, why: str) -> None:
        self.told.error = self.told.error or why
        self.ready.set()
        self.done.set()


def frames_of(samples: np.ndarray[Any, Any]) -> list[bytes]:
    """Chunks as masked binary frames, ready to be sent; shape = (chunks, samples)."""
    return [
        Frame(Opcode.BINARY, chunk.astype("<i2").tobytes()).serialize(mask=True)
        for chunk in samples
    ]


def work(pipe: Connection, orders: Orders) -> None:
    """A process: says that it is ready, is told when to begin, tells what it found."""
    if orders.processors:
        os.sched_setaffinity(0, orders.processors)
    pipe.send(asyncio.run(_speak(pipe, orders)))


async def _speak(pipe: Connection, orders: Orders) -> list[Told]:
    samples = np.load(orders.tracks)
    needed = {number % len(samples) for number in orders.clients}
    frames = {track: frames_of(samples[track]) for track in needed}
    speakers = [
        Speaker(orders.url, number, number % len(samples), frames[number % len(samples)])
        for number in orders.clients
    ]
    try:
        await _connect(orders.url, speakers)
        pipe.send("ready")
        begin = await asyncio.to_thread(pipe.recv)
        pings = asyncio.create_task(_ping(speakers, PINGS * len(speakers) / orders.all_clients))
        for speaker in speakers:
            speaker.speak(begin)
        length = STAGGER + len(samples[0]) * CHUNK
        await _all(speakers, "done", begin + length + PATIENCE)
        pings.cancel()
    finally:
        for speaker in speakers:
            speaker.close()
    return [speaker.told for speaker in speakers]


async def _connect(url: str, speakers: Sequence[Speaker]) -> None:
    loop, uri = asyncio.get_running_loop(), parse_uri(url)
    for at in range(0, len(speakers), AT_ONCE):
        some = speakers[at : at + AT_ONCE]
        for speaker in some:
            await loop.create_connection(lambda speaker=speaker: speaker, uri.host, uri.port)
        await _all(some, "ready", loop.time() + PATIENCE)


async def _all(speakers: Sequence[Speaker], event: str, deadline: float) -> None:
    """Wait for all of them, or until then."""
    for speaker in speakers:
        left = max(0.001, deadline - asyncio.get_running_loop().time())
        try:
            await asyncio.wait_for(getattr(speaker, event).wait(), left)
        except TimeoutError:
            speaker.told.error = speaker.told.error or f"not {event} in time"


async def _ping(speakers: Sequence[Speaker], rate: float) -> None:
    """One after the other, so many a second."""
    while True:
        for speaker in speakers:
            speaker.ping()
            await asyncio.sleep(1 / rate)
