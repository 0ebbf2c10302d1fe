"""Helpers of the tests of servers: real ones at a free port of this machine, and their clients."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pytest
from contract_inputs import RATE, Samples, recorded
from live_streams import PIECE, pieces_of, wait_until
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from ds2edge import Final
from ds2edge.serving.dispatcher import Dispatcher
from ds2edge.serving.limits import ServerOptions
from ds2edge.serving.server import Server

PATIENCE = 60.0  # seconds after which something hangs
SOON = 0.4  # seconds, for limits of time
START = {"type": "start", "version": 1, "sample_rate": RATE}

Messages = list[dict[str, Any]]


@contextmanager
def served(dispatcher: Dispatcher, token: str = "", **options: Any) -> Iterator[Server]:
    """A server in a thread of this process, which has TensorFlow and more in its memory."""
    given = ServerOptions(**{"port": 0, "memory_megabytes": 1e6, **options})
    with Server(dispatcher, given, token) as server:
        yield server


def address_of(server: Server) -> str:
    """Of its WebSocket."""
    return server.url.replace("http", "ws", 1) + "/v1/stream"


class Client:
    """A WebSocket that has not said anything yet; a context manager."""

    socket: ClientConnection

    def __init__(self, server: Server, address: str = "", **settings: Any) -> None:
        self._connection = connect(
            address or address_of(server),
            open_timeout=PATIENCE,
            close_timeout=PATIENCE,
            proxy=None,
            **settings,
        )
        self.heard: Messages = []

    def send(self, data: str | bytes) -> None:
        """Though the server may have closed: `hear_all` tells why."""
        with suppress(ConnectionClosed):
            self.socket.send(data)

    def say(self, **message: Any) -> None:
        self.send(json.dumps(message))

    def start(self, **changes: Any) -> dict[str, Any]:
        """Begin a stream; returns the answer."""
        self.say(**{**START, **changes})
        return self.hear()

    def speak(self, samples: Samples, piece: int = PIECE) -> None:
        for part in pieces_of(samples, piece):
            self.send(np.ascontiguousarray(part).tobytes())

    def hear(self) -> dict[str, Any]:
        """The next message."""
        self.heard.append(json.loads(self.socket.recv(PATIENCE)))
        return self.heard[-1]

    def hear_until(self, kind: str) -> dict[str, Any]:
        """Up to the next message of a type; returns that."""
        while self.hear()["type"] != kind:
            pass
        return self.heard[-1]

    def hear_all(self) -> tuple[int, str]:
        """Up to the end; returns close code and reason."""
        with pytest.raises(ConnectionClosed) as closed:
            self.hear_until("nothing is of this type")
        end = closed.value.rcvd
        assert end is not None, "the connection was cut off"
        return end.code, end.reason

    def finish(self) -> tuple[int, str]:
        """As `hear_all`, having said that all is said."""
        self.say(type="finish")
        return self.hear_all()

    def of_type(self, kind: str) -> Messages:
        return [message for message in self.heard if message["type"] == kind]

    def __enter__(self) -> Client:
        self.socket = self._connection.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._connection.__exit__(*error)


def told(finals: Sequence[Final], display: bool = False) -> Messages:
    """What a server says of segments."""
    return [json.loads(json.dumps({"type": "final", **final.as_dict(display)})) for final in finals]


@contextmanager
def others_go_on(
    server: Server, alone: Sequence[Sequence[Final]], token: str = ""
) -> Iterator[None]:
    """Whatever happens meanwhile does nothing to a stream that is spoken to before and after."""
    with Client(server) as client:
        client.start(token=token)
        middle = len(recorded(0)) // 2
        client.speak(recorded(0)[:middle])
        yield
        client.speak(recorded(0)[middle:])
        assert client.finish() == (1000, "finished")
        assert client.of_type("final") == told(alone[0])


def refused(client: Client, code: int) -> str:
    """Hear to the end, which has this code, and an error of the same name; returns what is said."""
    found, reason = client.hear_all()
    assert found == code, reason
    error = client.heard[-1]
    assert error["type"] == "error"
    name, _, said = reason.partition(": ")
    assert error["code"] == name
    assert error["message"].startswith(said)
    return error["message"]


def raw_socket(server: Server) -> socket.socket:
    """Connected, and no more."""
    host, port = server.url.rpartition("/")[2].rsplit(":", 1)
    return socket.create_connection((host, int(port)), PATIENCE)


def narrow_socket(server: Server) -> socket.socket:
    """Connected, and little is on its way that nobody reads."""
    server._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # of what it accepts
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.settimeout(PATIENCE)
    narrow.connect(server._socket.getsockname())
    return narrow


def is_cut_off(open_socket: socket.socket) -> bool:
    """Whether the other side closes it, within a while."""
    open_socket.settimeout(PATIENCE)
    try:
        while open_socket.recv(2**16):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


def as_subprotocol(token: str) -> str:
    return "token." + base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")


def wait_for_streams(server: Server, count: int) -> None:
    wait_until(lambda: len(server.service.streams) == count)


def elapsed(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began
