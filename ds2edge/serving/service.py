"""What all that a server does has in common: who may come in, who is there, and the end."""

from __future__ import annotations

import asyncio
import hmac
import os
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Literal, Protocol, TypeAlias

from starlette.datastructures import Headers

from ds2edge.options import StreamOptions
from ds2edge.serving.dispatcher import Dispatcher
from ds2edge.serving.limits import ServerOptions, is_address
from ds2edge.serving.protocol import RefusalError

Kind: TypeAlias = Literal["streams", "files"]
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Guest(Protocol):
    """Somebody who is served: a stream, or a recording that is uploaded."""

    def wind_up(self, refused: RefusalError) -> None:
        """Come to an end, soon; nothing that was taken is to be lost."""

    def stop(self, refused: RefusalError) -> None:
        """End now."""


class Service:
    """One dispatcher, and what is allowed."""

    def __init__(self, dispatcher: Dispatcher, options: ServerOptions, token: str) -> None:
        self.dispatcher, self.options = dispatcher, options
        self.draining = False
        self.endings: Counter[str] = Counter()  # of streams, by code; "finished", "vanished"
        self.answers: Counter[tuple[str, int]] = Counter()  # to requests, by path and status
        self.streams: set[Guest] = set()
        self.files: set[Guest] = set()
        self._file_turns = asyncio.Semaphore(options.files)
        self._guests: set[Guest] = set()  # those who have not said yet what they want, too
        self._token = token.encode()

    @property
    def needs_token(self) -> bool:
        """Whether a client has to know one."""
        return bool(self._token)

    def is_token(self, token: bytes) -> bool:
        """Whether this is it, in UTF-8."""
        return hmac.compare_digest(token, self._token)

    def check_header(self, headers: Headers) -> bool:
        """Whether the headers have the token.

        Raises:
            RefusalError: they have another one.
        """
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if not self.needs_token:
            return True
        if scheme.lower() != "bearer":
            return False
        if not self.is_token(token.strip().encode("latin-1")):  # as which headers are read
            raise RefusalError("unauthorised", "the token in the header Authorization is wrong")
        return True

    def check_origin(self, headers: Headers) -> None:
        """What is no browser says no origin, and may come.

        Raises:
            RefusalError: a page of another site asks.
        """
        origin = headers.get("origin")
        if origin is None or origin in self.options.allow_origin:
            return
        host = headers.get("host", "").lower()
        if origin.lower().partition("://")[2] != host or not self._is_own(host):
            raise RefusalError("origin", f"pages of {origin!r} may not use this server")

    def admit(self, kind: Kind) -> None:
        """Let another stream or file in.

        Raises:
            RefusalError: the server stops, or there are too many, or the memory is used up.
        """
        if self.draining:
            raise RefusalError("draining", "the server is about to stop")
        most = self.options.connections if kind == "streams" else self.options.files
        if len(getattr(self, kind)) >= most:
            raise RefusalError("too_many", f"{most} {kind} are served at once; try again later")
        self._check_memory()

    def check_options(self, options: StreamOptions) -> None:
        """What one stream costs, all others pay for.

        Raises:
            RefusalError: they are too expensive.
        """
        for name, most in (
            ("beam", self.options.widest_beam),
            ("alternatives", self.options.most_alternatives),
        ):
            if (getattr(options, name) or 0) > most:
                got = getattr(options, name)
                raise RefusalError("bad_message", f"{name} may be {most} here, got {got}")
        if options.boost or options.add_words or options.vocabulary:
            self._check_memory()

    @contextmanager
    def guest(self, guest: Guest) -> Iterator[None]:
        """Somebody who will be told when the server stops."""
        self._guests.add(guest)
        try:
            yield
        finally:
            self._guests.discard(guest)

    @contextmanager
    def place(self, guest: Guest, kind: Kind) -> Iterator[None]:
        """One of the places of "streams" or "files". Raises as `admit`."""
        self.admit(kind)
        places: set[Guest] = getattr(self, kind)
        places.add(guest)
        try:
            yield
        finally:
            places.discard(guest)

    @asynccontextmanager
    async def file_turn(self) -> AsyncIterator[None]:
        """Wait until a file can be taken.

        Raises:
            RefusalError: that takes too long.
        """
        try:
            async with asyncio.timeout(self.options.idle_seconds):
                await self._file_turns.acquire()
        except TimeoutError:
            raise RefusalError(
                "too_many", "too many files are transcribed; try again later"
            ) from None
        try:
            yield
        finally:
            self._file_turns.release()

    async def drain(self) -> None:
        """Let everybody come to an end who is there, and nobody else in."""
        self.draining = True
        for guest in self._guests - self.streams - self.files:
            guest.stop(RefusalError("draining", "the server is about to stop"))
        for guest in self.streams | self.files:
            guest.wind_up(RefusalError("going_away", "the server stops"))
        end = asyncio.get_running_loop().time() + self.options.drain_seconds
        while self._guests and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.02)
        self.stop()

    def stop(self) -> None:
        """Let everybody go, now."""
        self.draining = True
        for guest in list(self._guests):
            guest.stop(RefusalError("going_away", "the server stops"))

    def _check_memory(self) -> None:
        used, allowed = resident_bytes() / 1e6, self.options.memory_megabytes
        if used >= allowed:
            raise RefusalError("too_many", f"{used:.0f} MB of memory are used, of {allowed:g}")

    def _is_own(self, host: str) -> bool:
        """Whether a browser that says this name means this server.

        Any name may lead here, of another site's choice: where no token is needed, only names
        that nobody else gives count.
        """
        name = re.sub(r":\d*$", "", host).strip("[]")
        known = (self.options.host.lower(), "localhost")
        return self.needs_token or name in known or is_address(name)


def resident_bytes() -> int:
    """Memory that this process occupies."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * PAGE_BYTES
