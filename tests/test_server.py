"""A server's WebSockets: what streams say, several at once, in every form; and what else it tells.

What it refuses is in test_server_limits.py and test_server_stalls.py, files are in
test_server_files.py, and its end is in test_server_end.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from conftest import RECORDINGS
from contract_inputs import RATE, Samples, in_form, recorded
from jsonschema import Draft202012Validator
from live_streams import pieces_of
from prometheus_client.parser import text_string_to_metric_families
from served import START, Client, as_subprotocol, refused, served, told, wait_for_streams
from websockets.frames import Frame, Opcode

from ds2edge import Final, StreamOptions, Transcriber
from ds2edge.serving import application
from ds2edge.serving.dispatcher import Dispatcher
from ds2edge.serving.schema import protocol_schema
from ds2edge.serving.server import Server

pytestmark = pytest.mark.usefixtures("no_hang")


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server) as client:
        yield client


def get(server: Server, path: str, **settings: Any) -> httpx.Response:
    return httpx.get(server.url + path, trust_env=False, **settings)


# ---- What streams say


def test_a_stream_says_what_transcribe_says(client: Client, alone: list[tuple[Final, ...]]) -> None:
    ready = client.start()
    assert {ready[key] for key in ("type", "version", "bundle")} == {"ready", 1, "en"}
    assert ready["sample_rate"] == RATE
    assert ready["limits"] == {"message_bytes": 2**20, "seconds": 14_400, "idle_seconds": 30}
    client.speak(recorded(0)[: 3 * RATE])
    partial = client.hear_until("partial")
    client.speak(recorded(0)[3 * RATE :])
    assert client.finish() == (1000, "finished")
    assert client.of_type("final") == told(alone[0])
    assert client.heard[-1] == {"type": "end", "seconds": round(len(recorded(0)) / RATE, 6)}
    stable = [word["text"] for word in partial["words"]][: partial["stable_words"]]
    assert alone[0][0].text.startswith(" ".join(stable))


def test_several_streams_at_once(server: Server, alone: list[tuple[Final, ...]]) -> None:
    def run(which: int) -> None:
        with Client(server) as client:
            client.start(partials=which % 2 == 0)
            client.speak(recorded(which % 3), piece=1000 + 777 * which)
            assert client.finish() == (1000, "finished")
            assert client.of_type("final") == told(alone[which % 3])
            assert which % 2 == 0 or not client.of_type("partial")

    with ThreadPoolExecutor(9) as pool:
        list(pool.map(run, range(9)))


@pytest.mark.parametrize(
    ("rate", "encoding", "channels"), [(48_000, "float32", 2), (8_000, "int16", 3)]
)
def test_samples_in_another_form(
    client: Client, transcriber: Transcriber, rate: int, encoding: str, channels: int
) -> None:
    samples = in_form(recorded(1, rate), encoding, channels)
    client.start(sample_rate=rate, encoding=encoding, channels=channels)
    client.speak(samples, piece=len(samples) // 3)  # a long message, which is taken in pieces
    assert client.finish() == (1000, "finished")
    assert client.of_type("final") == told(transcriber.transcribe(samples, rate).segments)


def test_flush_options_and_display(client: Client, transcriber: Transcriber) -> None:
    first: dict[str, Any] = {"boost": {"the first importance": 5.0}, "alternatives": 2}
    client.start(options=first, display=True)
    middle = len(recorded(0)) // 2
    client.speak(recorded(0)[:middle])
    client.say(type="flush")
    client.say(type="options", options={"vocabulary": ["of the first"], "unknown": 4})
    client.speak(recorded(0)[middle:])
    client.finish()
    with transcriber.stream(RATE, StreamOptions(**first)) as stream:
        events = stream.feed(recorded(0)[:middle])
        events += stream.flush()
        stream.set_options(StreamOptions(vocabulary=["of the first"], unknown=4))
        events += stream.feed(recorded(0)[middle:]) + stream.finish()
    finals = [event for event in events if isinstance(event, Final)]
    assert client.of_type("final") == told(finals, display=True)
    assert client.heard[2]["display"]


def test_what_arrives_together_is_taken_in_its_order(
    client: Client, transcriber: Transcriber
) -> None:
    samples = recorded(0)
    messages = [Frame(Opcode.BINARY, part.tobytes()) for part in pieces_of(samples[:5120], 1280)]
    messages.insert(2, Frame(Opcode.TEXT, b'{"type": "flush"}'))
    client.start(partials=False)
    client.socket.socket.sendall(b"".join(one.serialize(mask=True) for one in messages))
    client.speak(samples[5120:])
    client.finish()
    with transcriber.stream(RATE) as stream:
        events = stream.feed(samples[:2560]) + stream.flush()
        events += stream.feed(samples[2560:]) + stream.finish()
    assert client.of_type("final") == told([one for one in events if isinstance(one, Final)])


def test_an_empty_stream_and_empty_messages(client: Client, transcriber: Transcriber) -> None:
    client.start()
    client.socket.send(b"")
    assert client.finish() == (1000, "finished")
    assert client.of_type("final") == told(
        transcriber.transcribe(np.zeros(0, np.int16), RATE).segments
    )


def test_a_client_that_vanishes_leaves_nothing_behind(server: Server) -> None:
    before = server.service.endings["vanished"]
    with Client(server) as client:
        client.start()
        client.speak(recorded(0)[:RATE])
        client.socket.socket.close()
        wait_for_streams(server, 0)
    assert server.service.endings["vanished"] == before + 1


def test_what_is_said_fits_the_schema(client: Client) -> None:
    schema = protocol_schema()
    Draft202012Validator.check_schema(schema)
    part = {**schema, "anyOf": [{"$ref": "#/$defs/server"}]}
    client.start(options={"alternatives": 1}, display=True)
    client.speak(recorded(0)[: 3 * RATE])
    client.hear_until("partial")
    client.say(type="flush")
    client.hear_until("final")
    client.say(type="nonsense")
    client.hear_all()
    kinds = {message["type"] for message in client.heard}
    assert kinds >= {"ready", "partial", "final", "error"}
    for message in [*client.heard, {"type": "end", "seconds": 1.5}]:
        Draft202012Validator(part).validate(message)
    assert not Draft202012Validator(part).is_valid(START)


# ---- Who may come

TOKEN = "söme secret"


@pytest.fixture(scope="module")
def locked(dispatcher: Dispatcher) -> Iterator[Server]:
    with served(dispatcher, TOKEN, allow_origin=["https://example.org"]) as server:
        yield server


def test_a_token_in_the_first_message(locked: Server) -> None:
    with Client(locked) as client:
        assert client.start(token=TOKEN)["type"] == "ready"


def test_a_token_among_the_subprotocols(locked: Server) -> None:
    with Client(locked, subprotocols=["ds2edge.v1", as_subprotocol(TOKEN)]) as client:
        assert client.start()["type"] == "ready"
        assert client.socket.subprotocol == "ds2edge.v1"


def test_a_token_in_a_header(dispatcher: Dispatcher) -> None:
    headers = {"Authorization": "Bearer secret"}
    with (
        served(dispatcher, "secret") as server,
        Client(server, additional_headers=headers) as client,
    ):
        assert client.start()["type"] == "ready"
        assert get(server, "/metrics", headers=headers).status_code == 200


def test_a_token_that_is_not_ascii(locked: Server) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}".encode()}
    assert get(locked, "/metrics", headers=headers).status_code == 200


def test_what_needs_no_token(locked: Server) -> None:
    for path in ("/health", "/v1/protocol.json"):
        assert get(locked, path).status_code == 200
    answer = get(locked, "/metrics")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_pages_of_this_server_and_of_a_friend(server: Server, locked: Server) -> None:
    with Client(server, origin=server.url) as client:
        assert client.start()["type"] == "ready"
    with Client(locked, origin="https://example.org") as client:
        assert client.start(token=TOKEN)["type"] == "ready"
    asked = httpx.options(
        f"{locked.url}/v1/transcribe",
        headers={"origin": "https://example.org", "access-control-request-method": "POST"},
        trust_env=False,
    )
    assert asked.headers["access-control-allow-origin"] == "https://example.org"


# ---- What else it tells


def test_health(server: Server, client: Client) -> None:
    wait_for_streams(server, 0)
    assert get(server, "/health").json() == {"status": "ok", "bundle": "en", "streams": 0}
    client.start()
    assert get(server, "/health").json()["streams"] == 1


def test_a_dispatcher_that_failed(transcriber: Transcriber) -> None:
    with Dispatcher(transcriber) as dispatcher, served(dispatcher) as server:
        dispatcher.close()
        answer = get(server, "/health")
        assert (answer.status_code, answer.json()["status"]) == (503, "failed")
        with Client(server) as client:
            client.say(**START)
            assert refused(client, 4500) == "the server failed"


def test_a_fault_of_the_server_s_own(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is answered, counted and as safe as everything else."""
    monkeypatch.setattr(server.service.dispatcher, "stream", None)
    before = server.service.answers["/v1/transcribe", 500]
    answer = httpx.post(
        f"{server.url}/v1/transcribe", content=RECORDINGS[0].read_bytes(), trust_env=False
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert server.service.answers["/v1/transcribe", 500] == before + 1


def test_the_schema(server: Server) -> None:
    assert get(server, "/v1/protocol.json").json() == json.loads(json.dumps(protocol_schema()))


def test_the_metrics_are_the_dispatchers(server: Server, dispatcher: Dispatcher) -> None:
    with Client(server) as client:
        client.start()
        client.speak(recorded(2))
        client.finish()
    wait_for_streams(server, 0)
    before = server.service.answers["/health", 200]
    get(server, "/health")
    answer, metrics = get(server, "/metrics"), dispatcher.metrics
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert found["ds2edge_streams",] == 0
    assert found["ds2edge_streams_opened_total",] == metrics.streams
    assert found["ds2edge_endings_total", "finished"] == server.service.endings["finished"]
    assert found["ds2edge_requests_total", "/health", "200"] == before + 1
    assert found["ds2edge_audio_taken_seconds_total",] == pytest.approx(metrics.taken)
    assert found["ds2edge_batch_size_bucket", "1.0"] == metrics.batches[1]
    assert found["ds2edge_batch_size_count",] == metrics.batches.total()
    assert found["ds2edge_batch_size_sum",] == sum(n * c for n, c in metrics.batches.items())
    for name in ("queue", "step", "search", "acoustic", "text"):
        histogram = getattr(metrics, name)
        assert found[f"ds2edge_{name}_seconds_count",] == histogram.count
        assert found[f"ds2edge_{name}_seconds_sum",] == pytest.approx(histogram.sum)
        assert found[f"ds2edge_{name}_seconds_bucket", "+Inf"] == histogram.count
    assert found["ds2edge_latency_seconds", "text", "0.98"] == metrics.text.quantile(0.98)
    assert found["process_resident_memory_bytes",] > 2**20


@pytest.mark.parametrize(
    ("path", "name", "kind"),
    [
        ("/", "index.html", "text/html"),
        ("/page/page.js", "page.js", "text/javascript"),
        ("/page/page.css", "page.css", "text/css"),
    ],
)
def test_the_page(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    name: str,
    kind: str,
) -> None:
    (tmp_path / name).write_text(f"this is {name}")
    monkeypatch.setattr(application, "PAGE", tmp_path)
    answer = get(server, path)
    assert answer.text == f"this is {name}"
    assert answer.headers["content-type"] == f"{kind}; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    policy = dict(
        part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; ")
    )
    assert policy["default-src"] == "'none'"
    for what in ("script-src", "style-src", "worker-src", "connect-src"):
        assert policy[what] == "'self'"


@pytest.mark.parametrize(
    "path", ["/x", "/page/..%2fserver.py", "/page/%2e%2e/server.py", "/page/%00"]
)
def test_there_is_nothing_else(server: Server, path: str) -> None:
    answer = get(server, path)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


def test_numbers_of_samples(client: Client) -> None:
    """A stream's seconds are those of its samples, of whatever length its messages are."""
    samples: Samples = recorded(0)[:12_345]
    client.start(partials=False)
    client.speak(samples, piece=7)
    client.finish()
    assert client.heard[-1]["seconds"] == pytest.approx(12_345 / RATE, abs=1e-6)
