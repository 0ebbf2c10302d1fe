"""What a server refuses: each with its code and a reason, and never with an effect on others."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from contract_inputs import RATE, recorded
from live_streams import wait_until
from served import (
    PATIENCE,
    SOON,
    START,
    Client,
    as_subprotocol,
    is_cut_off,
    others_go_on,
    raw_socket,
    refused,
    served,
    told,
    wait_for_streams,
)
from websockets.frames import Frame, Opcode

from ds2edge import Final, Transcriber
from ds2edge.serving import connections
from ds2edge.serving.dispatcher import Dispatcher
from ds2edge.serving.server import Server

pytestmark = pytest.mark.usefixtures("no_hang", "nothing_fails")

Segments = Sequence[tuple[Final, ...]]


@pytest.fixture(scope="module")
def server(dispatcher: Dispatcher) -> Iterator[Server]:
    with served(dispatcher, message_bytes=2**17) as server:
        yield server


def start(**changes: Any) -> str:
    return json.dumps({**START, **changes})


FLUSH = '{"type": "flush"}'
FINISH = '{"type": "finish"}'
# What the first message is, and what follows it; the code; a part of what is said about it.
BAD: dict[str, tuple[list[str | bytes], int, str]] = {
    "samples first": ([b"\0\0"], 4400, "the first message must be a start"),
    "no JSON": (["start"], 4400, "must be JSON"),
    "no object": (["[1]"], 4400, "needed a JSON object, got list"),
    "too deep": (["[" * 10_000], 4400, "must be JSON"),
    "no type": (["{}"], 4400, "a message needs a type"),
    "an unknown type": (['{"type": "begin"}'], 4400, "of the type \"start\", got 'begin'"),
    "flush first": ([FLUSH], 4400, "of the type \"start\", got 'flush'"),
    "another version": ([start(version=2)], 4406, "speaks version 1, got 2"),
    "another version with more": ([start(version=3, codec="opus")], 4406, "version 1, got 3"),
    "no version": (['{"type": "start", "sample_rate": 16000}'], 4400, "version is missing"),
    "a version that is none": ([start(version="1")], 4400, "version needs int, got '1'"),
    "no rate": (['{"type": "start", "version": 1}'], 4400, "sample_rate is missing"),
    "an impossible rate": ([start(sample_rate=10)], 4400, "from 1000 to 768000 Hz, got 10"),
    "an infinite rate": ([start(sample_rate=1).replace("1}", "1e999}")], 4400, "1e999"),
    "NaN": ([start(sample_rate=float("nan"))], 4400, "NaN is no number"),
    "an endless number": ([start(sample_rate=10**400)], 4400, "is no number that can be used"),
    "another encoding": ([start(encoding="opus")], 4400, "encoding needs"),
    "no channels": ([start(channels=0)], 4400, "channels must be from 1 to 64, got 0"),
    "an unknown field": ([start(mode="fast")], 4400, "unknown key 'mode'"),
    "a path": ([start(path="/etc/passwd")], 4400, "unknown key 'path'"),
    "a model": ([start(model="../model")], 4400, "unknown key 'model'"),
    "a bundle": ([start(options={"bundle": "/tmp"})], 4400, "unknown key 'options.bundle'"),
    "no options": ([start(options=[])], 4400, "options. needs a table"),
    "an option of another type": ([start(options={"beam": "8"})], 4400, "options.beam needs int"),
    "an impossible option": ([start(options={"longest": -1})], 4400, "more than 0 seconds"),
    "an impossible beam": ([start(options={"beam": 10**14})], 4400, "beam"),
    "an expensive beam": ([start(options={"beam": 600})], 4400, "beam may be 512 here, got 600"),
    "too many readings": (
        [start(), '{"type": "options", "options": {"alternatives": 21}}'],
        4400,
        "alternatives may be 20 here, got 21",
    ),
    "a phrase nobody can spell": ([start(options={"boost": {"1984": 3}})], 4400, "1984"),
    "half a character": ([start(options={"add_words": ["\ud800"]})], 4400, "lone surrogate"),
    "much text": ([start(token="x" * 2**16)], 4413, "65536"),
    "odd bytes": ([start(), b"\0\0\0"], 4400, "multiples of 2 bytes, got 3"),
    "odd bytes of channels": (
        [start(channels=3, encoding="float32"), b"\0" * 16],
        4400,
        "multiples of 12 bytes, got 16",
    ),
    "text where samples are due": ([start(), "AAAA"], 4400, "must be JSON"),
    "numbers as text": ([start(), "[0, 1, 2]"], 4400, "needed a JSON object, got list"),
    "not a number among samples": (
        [start(encoding="float32"), np.array([0, np.nan], "<f4").tobytes()],
        4400,
        "finite numbers, got nan",
    ),
    "far beyond full scale": (
        [start(encoding="float32"), np.array([1e30], "<f4").tobytes()],
        4400,
        "within -1..1",
    ),
    "a second start": ([start(), start()], 4400, "got 'start'"),
    "a field too many": ([start(), '{"type": "flush", "now": true}'], 4400, "unknown key 'now'"),
    "options without options": ([start(), '{"type": "options"}'], 4400, "options is missing"),
    "impossible options": (
        [start(), '{"type": "options", "options": {"beam": 0}}'],
        4400,
        "beam must be 1 to 65536, got 0",
    ),
    "a long message": ([start(), bytes(2**17 + 2)], 4413, "131072"),
    "a long text": ([start(), "x" * (2**17 + 1)], 4413, "131072"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused(server: Server, alone: Segments, name: str) -> None:
    messages, code, said = BAD[name]
    with others_go_on(server, alone), Client(server) as client:
        for message in messages:
            client.send(message)
        assert said in refused(client, code)
    wait_for_streams(server, 0)


def test_nothing_may_follow_the_finish(server: Server, alone: Segments) -> None:
    with others_go_on(server, alone), Client(server) as client:
        client.start()
        for part in (recorded(1).tobytes(), recorded(2).tobytes(), FINISH, FLUSH):
            client.send(part[: 2**17])
        assert "nothing may follow" in refused(client, 4400)


def test_frames_that_are_none(server: Server, alone: Segments) -> None:
    """The codes are those of RFC 6455."""
    text = Frame(Opcode.TEXT, b"\xff").serialize(mask=True)
    reserved = bytes([0x83]) + bytes(5)
    unmasked = Frame(Opcode.BINARY, b"\0\0").serialize(mask=False)
    more = Frame(Opcode.PING, b"").serialize(mask=True) + text
    for data, code in ((text, 1007), (reserved, 1002), (unmasked, 1002)):
        with others_go_on(server, alone), Client(server) as client:
            client.start()
            client.socket.socket.sendall(data + more)
            assert client.hear_all()[0] == code


def test_a_message_of_too_many_fragments(server: Server) -> None:
    empty = Frame(Opcode.CONT, b"", fin=False).serialize(mask=True)
    with Client(server) as client:
        client.start()
        first = Frame(Opcode.BINARY, b"", fin=False).serialize(mask=True)
        client.socket.socket.sendall(first + empty * (connections.MOST_FRAGMENTS + 1))
        assert "fragments" in refused(client, 4413)


def test_a_message_may_come_in_fragments(server: Server, alone: Segments) -> None:
    with Client(server) as client:
        client.start()
        samples = recorded(0).tobytes()
        client.socket.send([samples[:1001], samples[1001:1003], samples[1003:90_000]])
        client.send(samples[90_000:])
        client.finish()
        assert client.of_type("final") == told(alone[0])


# ---- Tokens and origins


@pytest.mark.parametrize(
    ("settings", "changes"),
    [
        ({}, {}),
        ({}, {"token": "guess"}),
        ({"subprotocols": ["ds2edge.v1", as_subprotocol("guess")]}, {}),
        ({"subprotocols": ["ds2edge.v1", "token.x"]}, {}),
        ({"additional_headers": {"Authorization": "Bearer guess"}}, {"token": "secret"}),
        ({"additional_headers": {"Authorization": "Basic c2VjcmV0"}}, {}),
    ],
)
def test_no_token_or_a_wrong_one(
    dispatcher: Dispatcher, alone: Segments, settings: Any, changes: Any
) -> None:
    with (
        served(dispatcher, "secret") as server,
        others_go_on(server, alone, "secret"),
        Client(server, **settings) as client,
    ):
        client.say(**{**START, **changes})
        assert "token" in refused(client, 4401)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://example.com", None),
        ("null", None),
        ("http://localhost:1", None),
        ("http://[", None),
        # A name of the other site's that leads here:
        ("http://evil.example:8300", "evil.example:8300"),
    ],
)
def test_pages_of_other_sites(
    server: Server, alone: Segments, origin: str, host: str | None
) -> None:
    with others_go_on(server, alone):
        address = f"ws://{host or 'localhost'}/v1/stream"
        with Client(server, address, sock=raw_socket(server), origin=origin) as client:
            assert "may not use this server" in refused(client, 4403)
        headers = {"Origin": origin, **({"Host": host} if host else {})}
        answer = httpx.post(f"{server.url}/v1/transcribe", headers=headers, trust_env=False)
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "origin"


# ---- Too many, too much, too long


def test_too_many_streams(dispatcher: Dispatcher, alone: Segments) -> None:
    """And many more who try."""
    with served(dispatcher, connections=2) as server, others_go_on(server, alone):
        with Client(server) as client, ThreadPoolExecutor(20) as pool:
            client.start()

            def try_it(_: int) -> None:
                with Client(server) as other:
                    assert "2 streams are served at once" in refused(other, 4429)

            list(pool.map(try_it, range(100)))
            client.speak(recorded(1))
            client.finish()
            assert client.of_type("final") == told(alone[1])
        wait_for_streams(server, 1)
        with Client(server) as client:
            assert client.start()["type"] == "ready"


def test_too_many_connections(
    dispatcher: Dispatcher, alone: Segments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That are not even streams."""
    monkeypatch.setattr(connections, "MOST_PENDING", 5)
    with served(dispatcher, start_seconds=SOON) as server, others_go_on(server, alone):
        silent = [raw_socket(server) for _ in range(5)]
        wait_until(lambda: len(server._watch) == 6)
        with raw_socket(server) as another:
            assert another.recv(2**16).startswith(b"HTTP/1.1 503 ")
        assert all(map(is_cut_off, silent))
        with Client(server) as client:
            assert client.start()["type"] == "ready"
        for one in silent:
            one.close()


def test_memory_is_used_up(dispatcher: Dispatcher) -> None:
    with served(dispatcher, memory_megabytes=10) as server:
        with Client(server) as client:
            client.say(**START)
            assert "MB of memory are used, of 10" in refused(client, 4429)
        answer = httpx.post(f"{server.url}/v1/transcribe", content=b"x", trust_env=False)
        assert answer.status_code == 429


def test_a_stream_that_is_too_long(dispatcher: Dispatcher, transcriber: Transcriber) -> None:
    """It ends as if it had been finished there, or within what is taken at once."""
    with served(dispatcher, longest_recording=2.0) as server, Client(server) as client:
        client.start()
        for _ in range(100):
            client.send(recorded(0)[: RATE // 2].tobytes())
        assert "a stream may have 2 s" in refused(client, 4414)
        heard = np.tile(recorded(0)[: RATE // 2], 4)
        assert client.of_type("final") == told(transcriber.transcribe(heard, RATE).segments)
        assert client.of_type("end") == [{"type": "end", "seconds": 2.0}]


def test_a_stream_that_takes_too_long(dispatcher: Dispatcher) -> None:
    options = {"longest_recording": SOON, "start_seconds": SOON}
    with served(dispatcher, **options) as server, Client(server) as client:
        client.start()
        end = time.monotonic() + PATIENCE
        while server.service.streams and time.monotonic() < end:
            client.send(b"")
            time.sleep(0.02)
        refused(client, 4414)
