"""Clients that are silent, slow or gone: they are let go, and never hold up others."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from contract_inputs import RATE, recorded
from live_streams import held, pieces_of, wait_until
from served import (
    PATIENCE,
    SOON,
    START,
    Client,
    is_cut_off,
    narrow_socket,
    others_go_on,
    raw_socket,
    refused,
    served,
    told,
    wait_for_streams,
)
from websockets.frames import Frame, Opcode

from ds2edge import Final, StreamOptions, Transcriber
from ds2edge.decoder import Decoder
from ds2edge.serving import connections
from ds2edge.serving.connections import WebSocketSocket
from ds2edge.serving.dispatcher import Dispatcher
from ds2edge.serving.server import Server

pytestmark = pytest.mark.usefixtures("no_hang", "nothing_fails")

Segments = Sequence[tuple[Final, ...]]


def test_silence_before_and_after_the_start(
    dispatcher: Dispatcher, transcriber: Transcriber
) -> None:
    with served(dispatcher, start_seconds=SOON, idle_seconds=SOON) as server:
        with Client(server) as client:
            assert "no start came within 0.4 s" in refused(client, 4408)
        with Client(server) as client:
            client.start()
            client.speak(recorded(0)[:RATE])
            assert "nothing came for 0.4 s" in refused(client, 4408)
            finals = transcriber.transcribe(recorded(0)[:RATE], RATE).segments
            assert client.of_type("final") == told(finals)  # what was said is not lost


def test_who_speaks_slowly_is_not_silent(dispatcher: Dispatcher, transcriber: Transcriber) -> None:
    samples = recorded(0)[:RATE]
    with served(dispatcher, idle_seconds=SOON) as server, Client(server) as client:
        client.start(partials=False)
        for part in pieces_of(samples, RATE // 8):
            time.sleep(SOON / 2)
            client.speak(part)
        assert client.finish() == (1000, "finished")
        assert client.of_type("final") == told(transcriber.transcribe(samples, RATE).segments)


def test_who_waits_for_the_server_is_not_silent(
    dispatcher: Dispatcher, transcriber: Transcriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To make a decoder of many phrases takes its time."""
    decoder = transcriber.decoder

    def slow(options: StreamOptions) -> Decoder:
        time.sleep(3 * SOON)
        return decoder(options)

    monkeypatch.setattr(transcriber, "decoder", slow)
    with served(dispatcher, start_seconds=SOON) as server, Client(server) as client:
        assert client.start()["type"] == "ready"


def drip(open_socket: socket.socket, data: bytes) -> None:
    """Send byte for byte, slowly, as long as somebody listens."""
    try:
        for byte in data:
            open_socket.sendall(bytes([byte]))
            time.sleep(0.02)
    except OSError:
        pass


# Whether the stream is started before, and what then comes byte by byte.
SLOW: dict[str, tuple[bool, bytes]] = {
    "a start": (False, Frame(Opcode.TEXT, json.dumps(START).encode() * 9).serialize(mask=True)),
    "samples": (True, Frame(Opcode.BINARY, bytes(2000)).serialize(mask=True)),
    "pings": (True, Frame(Opcode.PING, b"").serialize(mask=True) * 99),
}


@pytest.mark.parametrize("what", SLOW)
def test_a_message_byte_by_byte(
    dispatcher: Dispatcher, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing whole comes, but bytes do; that the client closes, too, would be a part of them."""
    monkeypatch.setattr(connections, "CLOSING_SECONDS", SOON)
    is_started, data = SLOW[what]
    limits = {"start_seconds": SOON, "idle_seconds": SOON}
    with served(dispatcher, **limits) as server, Client(server) as client:
        if is_started:
            client.start()
        drip(client.socket.socket, data[:150])
        refused(client, 4408)


def test_a_request_byte_by_byte(dispatcher: Dispatcher, alone: Segments) -> None:
    request = b"GET /v1/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n" + b"X: y\r\n" * 99
    with served(dispatcher, start_seconds=SOON) as server, others_go_on(server, alone):
        with raw_socket(server) as slow:
            drip(slow, request[:60])
            assert is_cut_off(slow)
        with raw_socket(server) as silent:
            assert is_cut_off(silent)


def test_half_closed_sockets(server: Server, alone: Segments) -> None:
    """Who sends nothing more is gone: nobody is left to read what would be said."""
    with others_go_on(server, alone), Client(server) as client:
        client.start()
        client.speak(recorded(1)[:RATE])
        wait_for_streams(server, 2)
        client.socket.socket.shutdown(socket.SHUT_WR)
        wait_for_streams(server, 1)


def test_who_does_not_read_is_dropped(
    dispatcher: Dispatcher, alone: Segments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "SLOWEST", 10**6)  # who does not read needs no time to read
    with (
        served(dispatcher, reader_seconds=SOON) as server,
        others_go_on(server, alone),
        Client(server, sock=narrow_socket(server), max_queue=1) as client,
    ):
        client.start(options={"alternatives": 20})
        for which in [0, 1, 2] * 10:
            client.speak(recorded(which)[:RATE])
            client.say(type="flush")
        wait_until(lambda: server.service.endings["slow_reader"] == 1)
        wait_for_streams(server, 1)
        assert "has to be read" in refused(client, 4409)  # if it reads after all


def test_pongs_that_nobody_reads(dispatcher: Dispatcher, alone: Segments) -> None:
    ping = Frame(Opcode.PING, bytes(125)).serialize(mask=True)
    with (
        served(dispatcher) as server,
        others_go_on(server, alone),
        narrow_socket(server) as flood,
    ):
        flood.sendall(
            b"GET /v1/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        assert flood.recv(12) == b"HTTP/1.1 101"
        flood.sendall(ping * 40_000)
        kept = [one.transport.get_write_buffer_size() for one in server._watch._sockets]
        assert max(kept) < 2**20


def test_who_speaks_faster_than_is_heard_has_to_wait(
    dispatcher: Dispatcher, transcriber: Transcriber, server: Server
) -> None:
    samples = np.tile(recorded(0), 4)  # 20 s
    with Client(server) as client, ThreadPoolExecutor(1) as pool:
        client.start(partials=False)
        before = dispatcher.metrics.taken
        with held(transcriber) as (go, _):
            speaking = pool.submit(client.speak, samples, 2**15)
            sockets = [one for one in server._watch._sockets if isinstance(one, WebSocketSocket)]
            wait_until(lambda: any(one.read_paused for one in sockets))
            assert dispatcher.metrics.taken - before < 6.0  # seconds that wait to be heard
            assert max(one._queued for one in sockets) < 2**18
            go.set()
            speaking.result(PATIENCE)
        assert client.finish() == (1000, "finished")
        assert client.of_type("final") == told(transcriber.transcribe(samples, RATE).segments)
