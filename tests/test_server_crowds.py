"""A crowd at the server's door, and a recording of half a day: minutes each, so for `make soak`."""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from contract_inputs import recorded as samples_of

from ds2edge import Transcriber

pytest.importorskip("uvicorn")
pytest.importorskip("websockets")
from fuzz_server import Beside, Connection, Tally, check_left, recorded
from server_frames import START, text

pytestmark = pytest.mark.slow

CROWD = 10_000
STREAMS = 50  # that the server serves
PATIENCE = 300.0  # seconds
LONG = 60.0  # seconds, in which the server has told all that it knows of
HALF_A_DAY = 12 * 3600  # seconds
GROWTH = 60.0  # MB: 10,000 sockets must not leave more


@pytest.fixture
def many_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < CROWD + 1000:
        pytest.skip(f"{before[1]} files may be open, needed: {CROWD + 1000}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture(scope="module")
def server_class(benchmark_scripts: None) -> Any:
    """Of a server in a process of its own."""
    return import_module("serving_server").Server


async def come(port: int, number: int, found: Counter[str]) -> None:
    """One of the crowd: a third says nothing, a third half a request, a third wants a stream."""
    connection = await Connection.open(port)
    try:
        if number % 3 == 1:
            connection.writer.write(b"GET / HTTP/1.1\r\nHost:")
        elif number % 3 == 2:
            status = await connection.upgrade(port)
            if status != 101:
                found[f"HTTP {status}"] += 1
                return
            connection.writer.write(text(START))
            found[f"closed with {(await connection.closing())[0]}"] += 1
            return
        reading = asyncio.create_task(connection.reader.read())
        if not (await asyncio.wait({reading}, timeout=LONG))[0]:
            # Of more than it has room for, the system forgets some, and they hear of that only
            # when they say something.
            connection.writer.write(b"\r\n")
        answer = await reading
        found["told to come later" if b" 503 " in answer else "cut off"] += 1
    except (EOFError, ConnectionError):
        found["cut off"] += 1
    finally:
        connection.close()


async def crowd(server: Any, tally: Tally, speech: list[tuple[bytes, Any]]) -> Counter[str]:
    """All at once, beside a client that speaks; how they came out."""
    end, found = asyncio.Event(), Counter[str]()
    beside = asyncio.create_task(Beside(server.port, tally, speech).run(end))
    while not (await asyncio.to_thread(server.health))["streams"]:  # it is in before them
        await asyncio.sleep(0.05)
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(come(server.port, i, found) for i in range(CROWD)))
    end.set()
    await beside
    return found


def test_ten_thousand_connections(
    server_class: Any, transcriber: Transcriber, many_files: None
) -> None:
    options = ("--connections", str(STREAMS), "--start-seconds", "5")
    tally, speech = Tally(), recorded(transcriber)
    with server_class(options) as server:
        before = server.process.descriptors(), server.process.threads()
        memory = server.process.resident()
        found = asyncio.run(crowd(server, tally, speech))
        check_left(server, tally, before)
        assert server.process.resident() - memory < GROWTH
        assert server.stop() == 0
    assert tally.faults == {}
    assert tally.beside >= 2
    assert found.total() == CROWD
    # Whoever got in was let go for saying nothing, the others were told why they were not let in.
    documented = {"told to come later", "cut off", "HTTP 503", "closed with 4408"}
    assert set(found) <= {*documented, "closed with 4429"}
    assert found["HTTP 503"] + found["told to come later"] > CROWD / 2


def test_a_recording_of_twelve_hours(
    server_class: Any, transcriber: Transcriber, tmp_path: Path
) -> None:
    """Refused as it comes; where the server allows it, transcribed to its last word."""
    path, speech = tmp_path / "long.flac", samples_of(0)
    silence = np.zeros(16000 * 60, np.int16)
    with soundfile.SoundFile(path, "w", 16000, 1) as file:
        for _ in range(HALF_A_DAY // 60 - 1):
            file.write(silence)
        file.write(speech)
    options = ("--longest-recording", str(13 * 3600))
    for given, status in (((), 413), (options, 200)):
        with server_class(given) as server:
            url = f"http://127.0.0.1:{server.port}/v1/transcribe"
            memory = server.process.resident()
            answer = httpx.post(url, content=path.read_bytes(), timeout=3600, trust_env=False)
            assert answer.status_code == status, answer.text
            assert server.process.resident() - memory < GROWTH
            assert server.stop() == 0
    # After hours of silence the speech may be heard otherwise than alone, as offline.
    assert answer.json()["text"] == transcriber.transcribe(path).text
