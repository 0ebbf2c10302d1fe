"""Server: live streams over WebSockets and recordings over HTTP, for one dispatcher::

    with Dispatcher(Transcriber()) as dispatcher:
        Server(dispatcher).run()  # until SIGTERM or Ctrl-C

or beside other work, in a thread::

    with Dispatcher(Transcriber()) as dispatcher, Server(dispatcher) as server:
        print(server.url)
"""

from __future__ import annotations

import asyncio
import resource
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from functools import partial

import uvicorn

from ds2edge.errors import ConfigError
from ds2edge.serving.application import Application
from ds2edge.serving.connections import MOST_PENDING, HttpSocket, Watch, WebSocketSocket
from ds2edge.serving.dispatcher import Dispatcher
from ds2edge.serving.limits import ServerOptions, is_loopback
from ds2edge.serving.service import Service

BACKLOG = 128  # connections that the system may have waiting
SHUTDOWN_SECONDS = 3  # for what is left when everything has been drained
OTHER_FILES = 256  # that the process may have open, besides its sockets


class Server:
    """Serves, by `run` or as a context manager; once.

    Args:
        dispatcher: whose streams they are; it is not closed.
        options: where to listen, and what is allowed.
        token: that clients have to know; "": none.

    Raises:
        ConfigError: it cannot listen there, or not without a token.
    """

    def __init__(
        self, dispatcher: Dispatcher, options: ServerOptions | None = None, token: str = ""
    ) -> None:
        self.options = ServerOptions() if options is None else options
        self.service = Service(dispatcher, self.options, token)
        context = _tls(self.options)
        self._socket = _listening(self.options, token)
        name, port = self._socket.getsockname()[:2]
        host = f"[{name}]" if ":" in name else name
        self.url = f"{'https' if context else 'http'}://{host}:{port}"
        self._application = Application(self.service)
        self._watch = Watch(self.options, lambda: len(self.service.streams))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._thread: threading.Thread | None = None
        self._started = threading.Event()
        self._uvicorn = _Uvicorn(self._config(context), self._watch, self._started.set)

    def run(self) -> None:
        """Serve until SIGTERM or Ctrl-C; every stream is finished then. A second one hurries."""
        asyncio.run(self._serve(with_signals=True))

    def stop(self) -> None:
        """Finish every stream and file, let nobody in, and end. Called again: at once."""
        if self._loop:
            with suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._stop)

    def __enter__(self) -> Server:
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(with_signals=False)), name="ds2edge-server"
        )
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._thread:
            self._thread.join()

    async def _serve(self, with_signals: bool) -> None:
        self._loop = asyncio.get_running_loop()
        # Of one thread: who sends options again and again keeps no others from their turn.
        self._loop.set_default_executor(ThreadPoolExecutor(1, thread_name_prefix="ds2edge-options"))
        _allow_open_files(self.options.connections + MOST_PENDING + OTHER_FILES)
        watching = asyncio.create_task(self._watch.run())
        try:
            with self._signals() if with_signals else nullcontext():
                await self._uvicorn.serve(sockets=[self._socket])
        finally:
            self._started.set()
            watching.cancel()
            self._watch.abort()
            self._application.close()

    def _stop(self) -> None:
        if self._stopping is None:
            self._stopping = asyncio.ensure_future(self._drain())
        else:
            self.service.stop()
            self._uvicorn.should_exit = True

    async def _drain(self) -> None:
        try:
            await self.service.drain()
        finally:
            self._uvicorn.should_exit = True

    @contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def _config(self, context: ssl.SSLContext | None) -> uvicorn.Config:
        return uvicorn.Config(
            self._application.asgi(),
            ws=partial(WebSocketSocket, self._watch),  # type: ignore[arg-type]
            ws_max_size=self.options.message_bytes,
            ws_ping_interval=None,  # whoever sends nothing is gone, and whoever does is there
            ws_per_message_deflate=False,  # of samples it saves little, and takes much
            lifespan="off",
            log_config=None,
            access_log=False,
            interface="asgi3",
            workers=1,  # and no environment variable
            proxy_headers=False,
            forwarded_allow_ips=[],
            server_header=False,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            ssl_context_factory=(lambda *_: context) if context else None,
        )


class _Uvicorn(uvicorn.Server):
    """Watches its sockets, and leaves the signals alone."""

    def __init__(
        self, config: uvicorn.Config, watch: Watch, on_start: Callable[[], object]
    ) -> None:
        super().__init__(config)
        self._watch, self._on_start = watch, on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, but a handshake of TLS may not take as long as it likes."""
        config, loop = self.config, asyncio.get_running_loop()
        patience = self._watch.options.start_seconds if config.ssl else None

        def connect() -> HttpSocket:
            return HttpSocket(
                self._watch, config=config, server_state=self.server_state, app_state={}
            )

        self.servers = [
            await loop.create_server(
                connect,
                sock=listening,
                ssl=config.ssl,
                ssl_handshake_timeout=patience,
                ssl_shutdown_timeout=patience,
                backlog=BACKLOG,
            )
            for listening in sockets or ()
        ]
        self.started = True
        self._on_start()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """They are the server's."""
        yield


def _listening(options: ServerOptions, token: str) -> socket.socket:
    """A socket that is bound.

    Raises:
        ConfigError: it cannot be, or others could connect without a token.
    """
    host, port = options.host, options.port
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        if not is_loopback(str(address[0])) and options.token_needed and not token:
            raise ConfigError(
                f"{host} can be reached from other machines: give clients a token "
                "(--token-file), or let everybody in (--no-token)"
            )
        return socket.create_server(address, family=family, backlog=BACKLOG)
    except OSError as error:
        raise ConfigError(f"cannot listen at {host}, port {port}: {error.strerror}") from None


def _tls(options: ServerOptions) -> ssl.SSLContext | None:
    if options.tls_certificate is None or options.tls_key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(options.tls_certificate, options.tls_key, password="")
    except OSError as error:  # an SSLError, too
        raise ConfigError(
            f"cannot use the certificate {options.tls_certificate} with the key "
            f"{options.tls_key}: {error.strerror or error}"
        ) from None
    return context


def _allow_open_files(needed: int) -> None:
    """As many as the system lets this process have without asking."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed:
        wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
