"""How a server begins and ends: `ds2edge serve`, SIGTERM, TLS, and what it refuses to begin."""

from __future__ import annotations

import os
import re
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from conftest import SPEECH, interruptible
from contract_inputs import RATE, recorded
from live_streams import held, wait_until
from served import (
    PATIENCE,
    START,
    Client,
    raw_socket,
    refused,
    served,
    told,
    wait_for_streams,
)

from ds2edge import Final, Transcriber, cli
from ds2edge.errors import ConfigError
from ds2edge.serving.dispatcher import Dispatcher
from ds2edge.serving.limits import ServerOptions
from ds2edge.serving.live import LiveStream
from ds2edge.serving.server import Server

pytestmark = pytest.mark.usefixtures("no_hang")

Segments = Sequence[tuple[Final, ...]]


def health(url: str) -> httpx.Response:
    return httpx.get(f"{url}/health", trust_env=False)


# ---- Draining


def test_draining_finishes_every_stream(
    dispatcher: Dispatcher,
    transcriber: Transcriber,
    alone: Segments,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    finishing, finish = threading.Event(), LiveStream.finish

    def noted(stream: LiveStream) -> None:
        finish(stream)
        finishing.set()

    monkeypatch.setattr(LiveStream, "finish", noted)
    with served(dispatcher) as server:
        with held(transcriber) as (go, _), Client(server) as open_one, Client(server) as finished:
            spoken = dispatcher.metrics.taken + 2 * len(recorded(1)) / RATE
            for client in (open_one, finished):
                client.start()
                client.speak(recorded(1))
            finished.say(type="finish")
            with Client(server) as undecided, raw_socket(server):
                wait_until(lambda: dispatcher.metrics.taken > spoken - 1e-6)
                assert finishing.wait(PATIENCE)
                server.stop()
                refused(undecided, 4503)
                answer = health(server.url)
                assert (answer.status_code, answer.json()["status"]) == (503, "draining")
                with Client(server) as late:
                    late.say(**START)
                    refused(late, 4503)
                posted = httpx.post(f"{server.url}/v1/transcribe", content=b"x", trust_env=False)
                assert posted.status_code == 503
                go.set()
                assert open_one.hear_all() == (1001, "going_away: the server stops")
                assert finished.hear_all() == (1000, "finished")
            for client in (open_one, finished):
                assert client.of_type("final") == told(alone[1])
                assert client.heard[-1]["type"] == "end"
        server._thread.join(PATIENCE)
        with pytest.raises(httpx.ConnectError):
            health(server.url)


def test_draining_takes_no_longer_than_it_may(
    dispatcher: Dispatcher, transcriber: Transcriber
) -> None:
    limits = {"drain_seconds": 0.2}
    with held(transcriber), served(dispatcher, **limits) as server, Client(server) as client:
        client.start()
        client.speak(recorded(1))
        wait_for_streams(server, 1)
        server.stop()
        assert client.hear_all()[0] == 1001


def test_a_second_stop_hurries(dispatcher: Dispatcher, transcriber: Transcriber) -> None:
    with held(transcriber), served(dispatcher) as server, Client(server) as client:
        client.start()
        client.speak(recorded(1))
        wait_for_streams(server, 1)
        server.stop()
        wait_until(lambda: server.service.draining)
        server.stop()
        assert client.hear_all()[0] == 1001


def test_a_file_that_came_whole_is_transcribed(
    dispatcher: Dispatcher, transcriber: Transcriber
) -> None:
    recording = SPEECH / "2428-83705-0017.mp3"
    answers: list[httpx.Response] = []
    with served(dispatcher) as server, held(transcriber) as (go, batches):
        url = f"{server.url}/v1/transcribe?format=text"
        posting = threading.Thread(
            target=lambda: answers.append(
                httpx.post(url, content=recording.read_bytes(), timeout=PATIENCE, trust_env=False)
            )
        )
        posting.start()
        wait_until(lambda: bool(batches))
        server.stop()
        wait_until(lambda: server.service.draining)
        go.set()
        posting.join(PATIENCE)
    assert answers[0].text == transcriber.transcribe(recording).text + "\n"


# ---- The command


@contextmanager
def command(*flags: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], Any]]:
    """`ds2edge serve`, and what a `Client` needs of a server."""
    program = [sys.executable, "-P", "-m", "ds2edge.cli", "serve", "--port", "0", *flags]
    with subprocess.Popen(
        program,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
        preexec_fn=interruptible,
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.fullmatch(r"listening at (\S+)\n", line)
            assert found, line + process.stderr.read()
            yield process, SimpleNamespace(url=found[1])
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains(transcriber: Transcriber, number: signal.Signals) -> None:
    samples = recorded(0)[: 3 * RATE]
    with command() as (process, server), Client(server) as client:
        client.start()
        client.speak(samples)
        client.hear_until("partial")
        process.send_signal(number)
        assert client.hear_all()[0] == 1001
        assert client.heard[-1] == {"type": "end", "seconds": 3.0}
        assert client.of_type("final") == told(transcriber.transcribe(samples, RATE).segments)
        output, errors = process.communicate(timeout=PATIENCE)
        assert (process.returncode, output, errors) == (0, "", "")


def test_flags_and_the_token_of_the_environment() -> None:
    flags = ("--connections", "1", "--longest-recording", "9.5", "--max-batch", "2")
    with command(*flags, DS2EDGE_TOKEN="secret") as (_, server):
        with Client(server) as client:
            client.say(**START)
            refused(client, 4401)
        with Client(server) as client:
            assert client.start(token="secret")["limits"]["seconds"] == 9.5


def test_other_addresses_need_a_token(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", "--host", "0.0.0.0", "--port", "0"]) == 2
    assert "0.0.0.0 can be reached from other machines" in capsys.readouterr().err


def test_without_the_extra(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "ds2edge.serving.server")
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert cli.main(["serve"]) == 2
    assert "pip install 'ds2edge[serve]'" in capsys.readouterr().err


# ---- The beginning


def test_a_token_lets_it_be_reached(dispatcher: Dispatcher, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    options = ServerOptions(host="0.0.0.0", port=0, token_file=tmp_path / "token")
    with Server(dispatcher, options, options.read_token({})) as server, Client(server) as client:
        assert client.start(token="secret")["type"] == "ready"


def test_everybody_may_be_let_in(dispatcher: Dispatcher) -> None:
    options = ServerOptions(host="0.0.0.0", port=0, token_needed=False)
    with Server(dispatcher, options) as server, Client(server) as client:
        assert client.start()["type"] == "ready"


def test_ipv6(dispatcher: Dispatcher) -> None:
    try:
        server = Server(dispatcher, ServerOptions(host="::1", port=0))
    except ConfigError as error:
        pytest.skip(str(error))
    with server, Client(server, origin=server.url) as client:
        assert server.url.startswith("http://[::1]:")
        assert client.start()["type"] == "ready"


def test_a_port_that_is_taken(dispatcher: Dispatcher) -> None:
    with served(dispatcher) as server:
        port = int(server.url.rpartition(":")[2])
        with pytest.raises(ConfigError, match=f"127.0.0.1, port {port}: Address already in use"):
            Server(dispatcher, ServerOptions(port=port))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"connections": 0}, "connections must be a whole number from 1 to 100000, got 0"),
        ({"port": 70_000}, "port must be a whole number from 0 to 65535, got 70000"),
        ({"files": 1.5}, "files must be a whole number from 1 to 1000, got 1.5"),
        ({"idle_seconds": 0}, "idle_seconds must be a number of 0.05 or more, got 0"),
        ({"idle_seconds": "1"}, "idle_seconds must be a number of 0.05 or more, got '1'"),
        ({"tls_key": Path("key")}, "tls_certificate and tls_key need each other"),
        ({"allow_origin": ["example.org"]}, "allow_origin must be as https://example.org"),
        ({"allow_origin": ["https://a/b"]}, "allow_origin must be as https://example.org"),
    ],
)
def test_impossible_options(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        ServerOptions(**values)


def test_a_token_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text(" \n")
    (tmp_path / "binary").write_bytes(b"\xff")
    for name, said in (("empty", "is empty"), ("binary", "no text"), ("none", "No such file")):
        with pytest.raises(ConfigError, match=said):
            ServerOptions(token_file=tmp_path / name).read_token()
    assert ServerOptions().read_token({"DS2EDGE_TOKEN": "secret\n"}) == "secret"
    assert ServerOptions().read_token({}) == ""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Certificate and key, of 127.0.0.1."""
    if not which("openssl"):
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    paths = folder / "certificate.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-out", str(paths[0]), "-keyout", str(paths[1])]
    subprocess.run([*command.split(), *subject, *files], check=True, capture_output=True)
    return paths


def test_tls(dispatcher: Dispatcher, alone: Segments, certificate: tuple[Path, Path]) -> None:
    context = ssl.create_default_context(cafile=certificate[0])
    options = {"tls_certificate": certificate[0], "tls_key": certificate[1], "start_seconds": 0.5}
    with served(dispatcher, **options) as server:
        assert server.url.startswith("https://")
        with raw_socket(server) as silent, Client(server, ssl=context) as client:
            client.start()
            client.speak(recorded(0))
            assert client.finish() == (1000, "finished")
            assert client.of_type("final") == told(alone[0])
            silent.settimeout(PATIENCE)
            assert silent.recv(1) == b""  # it never began to speak TLS
        with httpx.Client(verify=context, trust_env=False) as http:
            assert http.get(f"{server.url}/health").json()["status"] == "ok"


@pytest.mark.parametrize(
    ("flags", "runtime"), [([], "Interpreter"), (["--backend", "litert"], "CompiledModel")]
)
def test_the_command_lets_the_network_go_on_while_it_computes(
    monkeypatch: pytest.MonkeyPatch, flags: list[str], runtime: str
) -> None:
    """LiteRT's Interpreter gives Python's lock away; who asks for another runtime gets it."""
    found: list[str] = []

    def run(server: Server) -> None:
        found.append(server.service.dispatcher.transcriber.info()["runtime"])
        server._socket.close()

    monkeypatch.setattr(Server, "run", run)
    assert cli.main(["serve", "--port", "0", *flags]) == 0
    assert runtime in found[0]


def test_a_long_message_over_tls(dispatcher: Dispatcher, certificate: tuple[Path, Path]) -> None:
    context = ssl.create_default_context(cafile=certificate[0])
    files = {"tls_certificate": certificate[0], "tls_key": certificate[1]}
    with (
        served(dispatcher, message_bytes=2**17, **files) as server,
        Client(server, ssl=context) as client,
    ):
        client.start()
        client.send(bytes(2**20))
        refused(client, 4413)


def test_certificates_that_cannot_be_used(
    dispatcher: Dispatcher, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_text("no certificate")
    for path in (bad, tmp_path / "none.pem"):
        options = ServerOptions(port=0, tls_certificate=path, tls_key=certificate[1])
        with pytest.raises(ConfigError, match="cannot use the certificate"):
            Server(dispatcher, options)
