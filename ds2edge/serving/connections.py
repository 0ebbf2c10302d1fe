"""Sockets as uvicorn has them, watched: too many are refused, and those that stall are cut off.

What an ASGI application cannot do stands here: it never sees who connects and says nothing, who
does not read the answer, or who does not close.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame
from websockets.protocol import State
from websockets.server import ServerProtocol

from ds2edge.results import Seconds
from ds2edge.serving import protocol
from ds2edge.serving.limits import ServerOptions

MOST_PENDING = 256  # sockets that are no stream (yet): handshakes, requests, what is being closed
INTERVAL: Seconds = 0.2  # between two looks at all sockets
CLOSING_SECONDS: Seconds = 10.0  # that a client has to close, too
LINGER_SECONDS: Seconds = 2.0  # to send on, for a client that broke the protocol
SLOWEST = 16_000  # bytes a second that a reader has to read
# Read at once, from one socket: what it holds keeps the others waiting, 0.1 s for a quarter of a
# megabyte of empty frames.
MOST_READ = 2**14
MOST_QUEUED = 2**16  # bytes of messages, for the application
EVENT_BYTES = 500  # that an empty message takes
MOST_FRAGMENTS = 1000  # of a message
BUSY_BODY = b'{"error":{"message":"there are too many connections","type":"server_error"}}'
BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n"
    b"connection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(BUSY_BODY), BUSY_BODY)
)

log = logging.getLogger(__name__)


class Talk(Protocol):
    """What goes on over a WebSocket, as the sockets' watch sees it."""

    def take_at_once(self, data: bytes) -> bool:
        """Take a binary message, if that is possible now and all before it has been taken."""

    def look(self, now: float) -> None:
        """Called again and again, at the loop's time."""

    def drop_slow_reader(self) -> None:
        """The client does not read what it is sent."""


class Watch:
    """All sockets of a server."""

    def __init__(self, options: ServerOptions, streams: Callable[[], int]) -> None:
        """`streams`: how many sockets are streams, which have limits of their own."""
        self.options, self._streams = options, streams
        self._sockets: set[HttpSocket | WebSocketSocket] = set()

    def __len__(self) -> int:
        return len(self._sockets)

    @property
    def is_full(self) -> bool:
        """Has no room for another socket."""
        return len(self._sockets) - self._streams() >= MOST_PENDING

    def add(self, socket: HttpSocket | WebSocketSocket) -> None:
        """From now on it is looked at."""
        self._sockets.add(socket)

    def remove(self, socket: HttpSocket | WebSocketSocket) -> None:
        """It is closed, or another one takes over."""
        self._sockets.discard(socket)

    async def run(self) -> None:
        """Look, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            now = loop.time()
            for socket in list(self._sockets):
                try:
                    socket.look(now)
                except Exception:  # the others are looked at all the same
                    log.exception("a socket could not be looked at")
                    socket.transport.abort()
            await asyncio.sleep(INTERVAL)

    def abort(self) -> None:
        """Close every socket, at once."""
        for socket in list(self._sockets):
            socket.transport.abort()


class _Stall:
    """For how long something has been the case."""

    def __init__(self) -> None:
        self._since: float | None = None

    def seconds(self, now: float, is_so: bool) -> Seconds:
        """Since it has been so, by all earlier calls."""
        if not is_so:
            self._since = None
        elif self._since is None:
            self._since = now
        return now - self._since if self._since is not None else 0.0


class HttpSocket(H11Protocol):
    """A connection for requests, one after the other, or for the start of a WebSocket."""

    def __init__(self, watch: Watch, **settings: Any) -> None:
        super().__init__(**settings)
        self._watch = watch
        self._waiting, self._writing, self._closing = _Stall(), _Stall(), _Stall()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.max_size = MOST_READ  # type: ignore[attr-defined]
        if self._watch.is_full:
            transport.write(BUSY)
            transport.close()
        self._watch.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._watch.remove(self)

    def handle_websocket_upgrade(self, event: Any) -> None:
        super().handle_websocket_upgrade(event)
        self._watch.remove(self)

    def look(self, now: float) -> None:
        """Cut it off if nothing goes on."""
        options, unread = self._watch.options, self.transport.get_write_buffer_size()
        patience = options.reader_seconds + unread / SLOWEST
        rests = self.cycle is None or self.cycle.response_complete
        closes = self.transport.is_closing()
        if (
            self._waiting.seconds(now, rests and not unread) > options.start_seconds
            or self._writing.seconds(now, self.flow.write_paused) > patience
            or self._closing.seconds(now, closes) > CLOSING_SECONDS
        ):
            self.transport.abort()


class WebSocketSocket(WebSocketsSansIOProtocol):
    """A WebSocket. The application finds it in the scope's state as "socket"."""

    def __init__(self, watch: Watch, app_state: dict[str, Any], **settings: Any) -> None:
        super().__init__(app_state={**app_state, "socket": self}, **settings)
        self.conn = _Conversation(max_size=self.config.ws_max_size, logger=self.logger)
        self.talk: Talk | None = None  # set by the application
        self._watch = watch
        self._queued = 0  # bytes that the application has not taken
        self._writing, self._closing = _Stall(), _Stall()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._watch.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._watch.remove(self)

    def handle_ping(self) -> None:
        if self.writable.is_set() and not self.close_sent:
            super().handle_ping()
        else:  # pongs that are not read would fill the memory
            self.conn.data_to_send()

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) >= MOST_FRAGMENTS:
            self.conn.fail(CloseCode.MESSAGE_TOO_BIG, f"more than {MOST_FRAGMENTS} fragments")
            self.handle_parser_exception()
        elif not self.close_sent:
            super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        """As uvicorn's, which pauses the socket for every message, and logs what is not UTF-8."""
        data, self.frames = b"".join(self.frames), []
        if self.close_sent:
            return
        is_text = self.curr_msg_data_type == "text"
        if not is_text and self.queue.empty() and self.talk and self.talk.take_at_once(data):
            return
        event: dict[str, Any] = {"type": "websocket.receive"}
        try:
            event |= {"text": data.decode()} if is_text else {"bytes": data}
        except UnicodeDecodeError:
            self.conn.fail(CloseCode.INVALID_DATA, "text that is not UTF-8")
            return self.handle_parser_exception()
        self.queue.put_nowait(event)  # type: ignore[arg-type]
        self._queued += len(data) + EVENT_BYTES
        if self._queued > MOST_QUEUED and not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    async def receive(self) -> Any:
        event = await super().receive()  # goes on to read when the queue is empty
        if self.queue.empty():
            self._queued = 0
        return event

    def handle_parser_exception(self) -> None:
        """Close; but to close while the client sends would take from it what it was told."""
        if self.close_sent:  # called again for whatever still comes
            return
        closed = self.conn.close_sent
        assert closed is not None
        event = {"type": "websocket.disconnect", "code": closed.code, "reason": closed.reason}
        self.queue.put_nowait(event)  # type: ignore[arg-type]
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    async def send(self, message: Any) -> None:
        if self.close_sent:
            raise ClientDisconnected
        await super().send(message)

    def write_at_once(self) -> None:
        """Let what is sent from now on wait in memory for a client that does not read."""
        self.writable.set()

    def look(self, now: float) -> None:
        """Cut it off if nothing goes on."""
        patience = self._watch.options.reader_seconds
        patience += self.transport.get_write_buffer_size() / SLOWEST
        if self._closing.seconds(now, self.close_sent or self.transport.is_closing()):
            if self._closing.seconds(now, True) > CLOSING_SECONDS:
                self.transport.abort()
        elif self.talk and self._writing.seconds(now, not self.writable.is_set()) > patience:
            self.talk.drop_slow_reader()
        elif self.talk:
            self.talk.look(now)


class _Conversation(ServerProtocol):
    """Tells of messages that are too large as of every other fault."""

    def fail(self, code: CloseCode | int, reason: str = "") -> None:
        """See `Protocol.fail`."""
        if code == CloseCode.MESSAGE_TOO_BIG and self.state is State.OPEN:
            refused = protocol.RefusalError(
                "too_large", f"{reason}, allowed: {self.max_message_size}"
            )
            self.send_text(protocol.error(refused).encode())
            code, reason = refused.fault.close_code, refused.reason
        super().fail(code, reason)
