"""The server's protocol under bad frames and drawn conversations. For longer: fuzz_server.py."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given, settings

from ds2edge import Transcriber

pytest.importorskip("uvicorn")
pytest.importorskip("websockets")
from fuzz_server import OPTIONS, fuzz, grown, recorded
from server_conversations import Conversation, check, conversations
from server_frames import BAD, UNSTARTED

FRAMES = 600
BESIDE = 2 * 16000  # samples of each recording, which are spoken in real time
SEEN = {"closed with 1002", "closed with 1007", "closed with 4400", "closed with 4406"}


@pytest.fixture(scope="module")
def server(benchmark_scripts: None) -> Iterator[Any]:
    with import_module("serving_server").Server(OPTIONS) as running:
        yield running
        assert running.stop() == 0


def test_bad_frames_close_their_own_connection_only(server: Any, transcriber: Transcriber) -> None:
    tally = fuzz(server, FRAMES, recorded(transcriber, BESIDE))
    assert tally.faults == {}
    assert tally.beside >= 2
    assert tally.frames >= FRAMES
    # It reaches what it is to reach.
    assert set(tally.codes) >= SEEN
    assert set(tally.codes) & {"closed with 1009", "closed with 4413"}
    assert any(code.startswith("HTTP 4") for code in tally.codes)
    assert {kind for kind, _ in tally.outcomes} == {"request", *BAD, *UNSTARTED}


@given(conversation=conversations())
@settings(max_examples=60)
def test_a_conversation_says_what_a_stream_says_or_what_is_wrong(
    server: Any, transcriber: Transcriber, conversation: Conversation
) -> None:
    assert check(server.url, conversation, transcriber) == ""


def test_memory_that_grows_is_a_fault() -> None:
    assert grown([100.0] * 20) == ""
    assert grown([50.0, 100.0, 110.0, 110.0] * 1 + [110.0] * 12) == ""
    assert "grown" in grown([100.0 + 2 * i for i in range(40)])
    assert grown([]) == ""
