"""How clients of the soak behave: most speak to the end, others vanish, stall, or send garbage.

Each conduct is one connection of a client, and tells how it came out, in few words.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeAlias

import common  # noqa: F401 - first: it pins threads
import numpy as np
from serving_client import Speaker, frames_of
from serving_speech import CHUNK, Finals
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

from ds2edge.results import Seconds

PATIENCE: Seconds = 60.0  # for the server's answer
RIGHT = "right"  # what is said where all finals are those of the same recording offline
GONE, CLOSED = "gone", "closed by the server"
DOCUMENTED = "as documented"  # ends what is said where the server closed with the right code
DEAF = "does not read"
UNREAD_PINGS = 3000  # whose answers are 375 kB, of which 150 have room on the way
PAUSE: Seconds = 2.0  # between two connections of a client, at most

# Frames that no client may send, and the codes with which a connection may be closed for them.
BAD = {
    "no JSON": (Frame(Opcode.TEXT, b"{nonsense").serialize(mask=True), {4400}),
    "another start": (
        Frame(Opcode.TEXT, b'{"type": "start", "version": 1, "sample_rate": 16000}').serialize(
            mask=True
        ),
        {4400},
    ),
    "a path": (
        Frame(Opcode.TEXT, b'{"type": "flush", "path": "/etc/passwd"}').serialize(mask=True),
        {4400},
    ),
    "an unknown type": (Frame(Opcode.TEXT, b'{"type": "train"}').serialize(mask=True), {4400}),
    "half a sample": (Frame(Opcode.BINARY, b"odd").serialize(mask=True), {4400}),
    "a large message": (Frame(Opcode.BINARY, bytes(4 << 20)).serialize(mask=True), {4413, 1009}),
    "no mask": (Frame(Opcode.BINARY, bytes(64)).serialize(mask=False), {1002}),
    "an unknown opcode": (b"\x83\x80\x00\x00\x00\x00", {1002}),
    "no UTF-8": (Frame(Opcode.TEXT, b"\xff\xfe").serialize(mask=True), {1007, 4400}),
}


@dataclass(frozen=True)
class Orders:
    """What one process of clients is to do."""

    url: str
    tracks: Path  # .npy: shape = (tracks, chunks, samples), int16
    expected: Sequence[Finals]  # of each track
    clients: int
    seed: int
    until: float  # by the event loop's clock: no connection is opened later
    idle: Seconds  # after which the server closes
    unread: Seconds  # after which it has dropped who does not read


class Clients:
    """Clients that come again and again, each time with another conduct."""

    def __init__(self, orders: Orders) -> None:
        self.outcomes: Counter[tuple[str, str]] = Counter()  # of conducts
        self.seconds = 0.0  # of audio, in the connections that came out right
        self._orders = orders
        self._frames = [frames_of(samples) for samples in np.load(orders.tracks)]
        self._length = len(self._frames[0]) * CHUNK
        self._chance = random.Random(orders.seed)

    async def run(self) -> None:
        """Until the time is over and the last of them has gone."""
        kinds = itertools.cycle(CONDUCTS)  # so that soon there is one of each
        first = [next(kinds) for _ in range(self._orders.clients)]
        await asyncio.gather(*map(self._client, first))

    async def _client(self, kind: str) -> None:
        loop, chance = asyncio.get_running_loop(), self._chance
        await asyncio.sleep(chance.uniform(0, self._length))
        while loop.time() < self._orders.until:
            try:
                outcome = await self._connect(kind)
            except Exception as error:
                outcome = f"{type(error).__name__}: {error}"
            self.outcomes[kind, outcome] += 1
            (kind,) = chance.choices(list(CONDUCTS), [share for share, _ in CONDUCTS.values()])
            await asyncio.sleep(chance.uniform(0, PAUSE))

    async def _connect(self, kind: str) -> str:
        track, is_deaf = self._chance.randrange(len(self._frames)), kind == DEAF
        speaker = Speaker(self._orders.url, 0, track, self._frames[track])
        await self._open(speaker, is_deaf)
        try:
            await asyncio.wait_for(speaker.ready.wait(), PATIENCE)
            if speaker.told.error:
                return speaker.told.error
            return await CONDUCTS[kind][1](self, speaker)
        except TimeoutError:
            return "no answer in time"
        finally:
            speaker.close()

    async def _open(self, speaker: Speaker, is_narrow: bool) -> None:
        """Narrow: with little room on the way for what is not read; the system has megabytes."""
        uri, loop = parse_uri(self._orders.url), asyncio.get_running_loop()
        connection = socket.socket()
        connection.setblocking(False)
        if is_narrow:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1400)
        await loop.sock_connect(connection, (uri.host, uri.port))
        await loop.create_connection(lambda: speaker, sock=connection)

    # ---- conducts

    async def speak(self, speaker: Speaker) -> str:
        """From beginning to end."""
        speaker.speak(asyncio.get_running_loop().time())
        return await self._end(speaker)

    async def burst(self, speaker: Speaker) -> str:
        """All at once."""
        speaker.burst()
        return await self._end(speaker)

    async def stall(self, speaker: Speaker) -> str:
        """Pauses, not long enough to be idle, and goes on."""
        speaker.speak(asyncio.get_running_loop().time())
        await self._sleep()
        speaker.delay(self._chance.uniform(1, 0.8 * self._orders.idle))
        return await self._end(speaker)

    async def fall_silent(self, speaker: Speaker) -> str:
        """Says nothing any more."""
        speaker.speak(asyncio.get_running_loop().time())
        await self._sleep()
        speaker.stop()
        return await self._closed(speaker, {4408}, self._orders.idle)

    async def vanish(self, speaker: Speaker) -> str:
        """Closes without a word."""
        speaker.speak(asyncio.get_running_loop().time())
        await self._sleep()
        speaker.close(rudely=self._chance.random() < 0.5)
        return GONE

    async def half_close(self, speaker: Speaker) -> str:
        """Will send nothing more, and listens on."""
        speaker.speak(asyncio.get_running_loop().time())
        await self._sleep()
        speaker.half_close()
        await asyncio.wait_for(speaker.gone.wait(), PATIENCE + self._orders.idle)
        return CLOSED

    async def go_deaf(self, speaker: Speaker) -> str:
        """Speaks, and reads only after it was dropped; cut off, it gets no code."""
        speaker.go_deaf()
        speaker.speak(asyncio.get_running_loop().time())
        speaker.ping(UNREAD_PINGS)
        await asyncio.sleep(self._orders.unread)
        speaker.listen()
        return await self._closed(speaker, {4409, 1006})

    async def talk_nonsense(self, speaker: Speaker) -> str:
        """Sends what nobody may send, in the midst of its speech."""
        speaker.speak(asyncio.get_running_loop().time())
        await self._sleep()
        frame, codes = BAD[self._chance.choice(list(BAD))]
        speaker.stop()
        speaker.write(frame)
        return await self._closed(speaker, codes)

    async def _sleep(self) -> None:
        """Until some part of the track was said."""
        await asyncio.sleep(self._chance.uniform(0.1, 0.9) * self._length)

    async def _end(self, speaker: Speaker) -> str:
        length = self._orders.idle + self._length
        await asyncio.wait_for(speaker.done.wait(), length + PATIENCE)
        told = speaker.told
        if told.ended is None:
            return told.error
        if told.finals != self._orders.expected[told.track]:
            return "of other text"
        self.seconds += told.ended
        return RIGHT

    async def _closed(self, speaker: Speaker, codes: set[int], after: Seconds = 0.0) -> str:
        await asyncio.wait_for(speaker.gone.wait(), PATIENCE + after)
        code = speaker.told.code
        return f"closed with {code}, " + (DOCUMENTED if code in codes else f"not {sorted(codes)}")


def is_right(outcome: str) -> bool:
    """Is this how a conduct may come out?"""
    return outcome in (RIGHT, GONE, CLOSED) or outcome.endswith(DOCUMENTED)


Conduct: TypeAlias = Callable[[Clients, Speaker], Awaitable[str]]
CONDUCTS: dict[str, tuple[float, Conduct]] = {  # and their shares of all connections
    "speaks": (0.70, Clients.speak),
    "speaks all at once": (0.04, Clients.burst),
    "stalls, goes on": (0.05, Clients.stall),
    "falls silent": (0.03, Clients.fall_silent),
    "vanishes": (0.06, Clients.vanish),
    "half-closes": (0.03, Clients.half_close),
    DEAF: (0.03, Clients.go_deaf),
    "talks nonsense": (0.06, Clients.talk_nonsense),
}


def work(pipe: Connection, orders: Orders) -> None:
    """A process: tells what came of it."""
    clients = Clients(orders)
    asyncio.run(clients.run())
    pipe.send((clients.outcomes, clients.seconds))
