"""One WebSocket from its start to its end: samples in, events out."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import numpy.typing as npt
from starlette.websockets import WebSocket, WebSocketDisconnect

from ds2edge.errors import Ds2edgeError, StreamError
from ds2edge.results import Final, Seconds, event_to_json
from ds2edge.serving import protocol
from ds2edge.serving.asynchronous import AsyncLiveStream
from ds2edge.serving.protocol import Finish, Flush, RefusalError, SetOptions, Start
from ds2edge.serving.service import Service

PIECE: Seconds = 0.5  # of a long message, taken at once: what waits is bounded, and so is a turn
DTYPES = {"int16": "<i2", "float32": "<f4"}

log = logging.getLogger(__name__)


class Session:
    """A client that streams. It listens in one task, and tells in another one."""

    def __init__(self, socket: WebSocket, service: Service) -> None:
        self._socket, self._service = socket, service
        self._options = service.options
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._waits_since: float | None = None  # for a message
        self._start: Start | None = None
        self._stream: AsyncLiveStream | None = None  # while it is listened to
        self._ending: RefusalError | None = None  # why it ends before the client has finished
        self._error: Exception | None = None  # why it ends now
        self._finished = self._closing = False
        self._task: asyncio.Task[None] | None = None  # that tells, and closes
        self._hearing: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Until it is closed; nothing is raised."""
        self._task = asyncio.current_task()
        with self._service.guest(self):
            ending = await self._closed()
        self._service.endings[ending] += 1
        log.info("a stream of %s ended: %s", self._socket.client, ending)

    # ---- For the socket, the watch of all sockets, and the end of the server

    def take_at_once(self, data: bytes) -> bool:
        """Take samples before they become a message, which costs more than to take them.

        Returns whether that was possible; if not, nothing has been done.
        """
        start, stream = self._start, self._stream
        if not start or not stream or self._waits_since is None or self._ending:
            return False
        is_whole = len(data) % start.frame_bytes == 0
        if not is_whole or len(data) > start.frame_bytes * PIECE * start.sample_rate:
            return False
        if stream.seconds >= self._options.longest_recording:
            return False
        if not stream.push_at_once(_samples(data, start)):
            return False
        self._waits_since = self._loop.time()
        return True

    def look(self, now: float) -> None:
        """Let the client go if it has sent nothing for too long, or has been here for too long."""
        options = self._options
        if self._start is None:
            if now - self._began > options.start_seconds:
                reason = f"no start came within {options.start_seconds:g} s"
                self.stop(RefusalError("idle", reason))
        elif self._finished:
            return
        elif self._waits_since and now - self._waits_since > options.idle_seconds:
            self.wind_up(RefusalError("idle", f"nothing came for {options.idle_seconds:g} s"))
        elif now - self._began > options.longest_recording + options.start_seconds:
            self.wind_up(self._too_long())

    def drop_slow_reader(self) -> None:
        """Let the client go: it does not read."""
        self._socket.state.socket.write_at_once()
        self.stop(RefusalError("slow_reader", "what the server says has to be read"))

    def wind_up(self, refused: RefusalError) -> None:
        """Hear no more, and end when all is told that was heard."""
        if self._hearing is None:
            self.stop(refused)
        elif self._ending is None and not self._finished:
            self._ending = refused
            if self._waits_since is not None:  # what is being taken will be heard
                self._hearing.cancel()

    def stop(self, refused: RefusalError) -> None:
        """End now."""
        self._stop_for(refused)

    # ---- From start to end

    async def _closed(self) -> str:
        """Serve and close; returns how it ended."""
        try:
            try:
                await self._serve()
            except asyncio.CancelledError:
                if self._error is None or not self._task:
                    raise
                self._task.uncancel()
                raise self._error from None
        except RefusalError as refused:
            return await self._refuse(refused)
        except WebSocketDisconnect:
            return "vanished"
        except StreamError as error:
            if self._service.draining:
                return await self._refuse(RefusalError("going_away", "the server stopped"))
            return await self._fail(error)
        except Exception as error:
            return await self._fail(error)
        self._closing = True
        with suppress(WebSocketDisconnect, RuntimeError):
            await self._socket.close(protocol.FINISHED, "finished")
        return "finished"

    async def _serve(self) -> None:
        headers, subprotocols = self._socket.headers, self._socket.scope["subprotocols"]
        known = protocol.SUBPROTOCOL in subprotocols
        await self._socket.accept(protocol.SUBPROTOCOL if known else None)
        self._socket.state.socket.talk = self
        self._service.check_origin(headers)
        is_known = self._service.check_header(headers) or self._has_token(subprotocols)
        self._service.admit("streams")
        self._start = start = await self._receive_start(is_known)
        with self._service.place(self, "streams"):
            async with await self._open(start) as stream:
                await self._converse(start, stream)

    async def _receive_start(self, is_known: bool) -> Start:
        message = await self._receive()
        if isinstance(message, bytes):
            raise RefusalError("bad_message", "the first message must be a start, got samples")
        start = protocol.parse_start(message)
        if not is_known and not self._service.is_token(start.token.encode()):
            said = "wrong" if start.token else "missing"
            raise RefusalError("unauthorised", f"the token is {said}")
        return start

    async def _open(self, start: Start) -> AsyncLiveStream:
        """In a thread: many phrases take their time."""
        self._service.check_options(start.options)
        with _faults_of_the_client():
            return await asyncio.to_thread(
                AsyncLiveStream,
                self._service.dispatcher,
                start.sample_rate,
                start.options,
                self._loop,
            )

    async def _converse(self, start: Start, stream: AsyncLiveStream) -> None:
        manifest = self._service.dispatcher.transcriber.bundle.manifest
        limits = {
            "message_bytes": self._options.message_bytes,
            "seconds": self._options.longest_recording,
            "idle_seconds": self._options.idle_seconds,
        }
        ready = protocol.ready(manifest.name, manifest.features.sample_rate, limits)
        await self._socket.send_text(ready)
        self._hearing = asyncio.create_task(self._hear(start, stream))
        self._hearing.add_done_callback(self._note_heard)
        try:
            async for event in stream:
                if start.partials or isinstance(event, Final):
                    await self._socket.send_text(event_to_json(event, start.display))
            await self._socket.send_text(protocol.end(stream.seconds))
        finally:
            self._hearing.cancel()
        if self._ending:
            raise self._ending

    def _note_heard(self, hearing: asyncio.Task[None]) -> None:
        error = None if hearing.cancelled() else hearing.exception()
        if isinstance(error, Exception):
            self._stop_for(error)

    def _stop_for(self, error: Exception) -> None:
        if self._error is None and not self._closing and self._task:
            self._error = error
            self._task.cancel()

    async def _fail(self, error: Exception) -> str:
        log.error("a stream failed", exc_info=error)
        return await self._refuse(RefusalError("internal", "the server failed"))

    async def _refuse(self, refused: RefusalError) -> str:
        """Say why, and close; returns the code."""
        self._closing = True
        with suppress(WebSocketDisconnect, RuntimeError):  # nobody is there
            if refused.code != "going_away":
                await self._socket.send_text(protocol.error(refused))
            await self._socket.close(refused.fault.close_code, refused.reason)
        return refused.code

    # ---- What the client says

    async def _hear(self, start: Start, stream: AsyncLiveStream) -> None:
        self._stream = stream
        try:
            while self._ending is None:
                message = await self._receive()
                if isinstance(message, bytes):
                    await self._take(message, start, stream)
                elif not await self._obey(message, stream):
                    break
        except asyncio.CancelledError:
            if self._ending is None:
                raise
        finally:
            self._stream = None
        self._finished = True
        await stream.finish()
        if self._ending is None:  # and notice if the client goes
            await self._receive()
            raise RefusalError("bad_message", "nothing may follow the finish")

    async def _receive(self) -> str | bytes:
        self._waits_since = self._loop.time()
        message = await self._socket.receive()
        self._waits_since = None
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1006))
        text: str | None = message.get("text")
        data: bytes = message.get("bytes") or b""
        return data if text is None else text

    async def _take(self, data: bytes, start: Start, stream: AsyncLiveStream) -> None:
        """Samples, in pieces."""
        if len(data) % start.frame_bytes:
            raise RefusalError(
                "bad_message",
                f"samples of {start.encoding} with channels: {start.channels} come in multiples "
                f"of {start.frame_bytes} bytes, got {len(data)}",
            )
        samples = _samples(data, start)
        length = max(1, round(PIECE * start.sample_rate))
        for begin in range(0, len(samples), length):
            if stream.seconds >= self._options.longest_recording:
                self._ending = self._too_long()
                break
            with _faults_of_the_client():
                await stream.push(samples[begin : begin + length])

    async def _obey(self, text: str, stream: AsyncLiveStream) -> bool:
        """Do what a message says; returns whether the stream goes on."""
        message = protocol.parse_message(text)
        if isinstance(message, Flush):
            await stream.flush()
        elif isinstance(message, SetOptions):
            self._service.check_options(message.options)
            with _faults_of_the_client():
                await stream.set_options(message.options)
        return not isinstance(message, Finish)

    def _has_token(self, subprotocols: list[str]) -> bool:
        """Whether it was offered as a subprotocol, all that the page of a browser can set.

        Raises:
            RefusalError: it is another one.
        """
        for offered in subprotocols:
            if offered.startswith(protocol.TOKEN_PREFIX):
                coded = offered.removeprefix(protocol.TOKEN_PREFIX)
                with suppress(ValueError):
                    token = base64.urlsafe_b64decode(coded + "=" * (-len(coded) % 4))
                    if self._service.is_token(token):
                        return True
                raise RefusalError("unauthorised", "the token among the subprotocols is wrong")
        return False

    def _too_long(self) -> RefusalError:
        longest = self._options.longest_recording
        return RefusalError("too_long", f"a stream may have {longest:g} s; open a new one")


def _samples(data: bytes, start: Start) -> npt.NDArray[Any]:
    """Shape = (n,), or (n, channels) where there are several."""
    samples = np.frombuffer(data, DTYPES[start.encoding])
    return samples if start.channels == 1 else samples.reshape(-1, start.channels)


@contextmanager
def _faults_of_the_client() -> Iterator[None]:
    """What it sent cannot be used."""
    try:
        yield
    except StreamError:
        raise
    except Ds2edgeError as error:
        raise RefusalError("bad_message", str(error)) from None
