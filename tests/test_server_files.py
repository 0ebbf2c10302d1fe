"""Recordings over HTTP: in ds2edge's own form, and as OpenAI's clients send them."""

from __future__ import annotations

import gc
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from conftest import RECORDINGS, SPEECH
from live_streams import held, wait_until
from served import PATIENCE, is_cut_off, narrow_socket, others_go_on, raw_socket, served

from ds2edge import Final, StreamOptions, Transcriber
from ds2edge.serving.dispatcher import Dispatcher
from ds2edge.serving.files import Upload
from ds2edge.serving.protocol import RefusalError
from ds2edge.serving.server import Server
from ds2edge.subtitles import to_srt, to_vtt

pytestmark = pytest.mark.usefixtures("no_hang", "nothing_fails")

WOMAN = SPEECH / "2428-83705-0017.mp3"
OWN, OPENAI = "/v1/transcribe", "/v1/audio/transcriptions"
BOUNDARY = "multipart/form-data; boundary=x"
Segments = Sequence[tuple[Final, ...]]


def post(server: Server, path: str, **settings: Any) -> httpx.Response:
    return httpx.post(server.url + path, timeout=PATIENCE, trust_env=False, **settings)


def form(recording: Path = WOMAN, **fields: Any) -> dict[str, Any]:
    return {"files": {"file": (recording.name, recording.read_bytes())}, "data": fields}


def error_of(answer: httpx.Response, status: int, code: str) -> str:
    found = answer.json()["error"]
    assert (answer.status_code, found["code"]) == (status, code)
    assert found["type"] == ("server_error" if status >= 500 else "invalid_request_error")
    assert found["param"] is None
    return found["message"]


# ---- ds2edge's own


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.name)
def test_a_file_says_what_transcribe_says(
    server: Server, transcriber: Transcriber, recording: Path
) -> None:
    answer = post(server, OWN, content=recording.read_bytes())
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.text == transcriber.transcribe(recording).to_json()


def test_options_and_formats(server: Server, transcriber: Transcriber) -> None:
    values: dict[str, Any] = {"boost": {"business": 4}, "alternatives": 1}
    transcript = transcriber.transcribe(WOMAN, options=StreamOptions(**values))
    expected = {
        "json": transcript.to_json(display=True),
        "text": transcript.display + "\n",
        "srt": to_srt(transcript.segments),
        "vtt": to_vtt(transcript.segments),
    }
    for name, text in expected.items():
        query = {"options": json.dumps(values), "format": name, "display": "true"}
        answer = post(server, OWN, params=query, content=WOMAN.read_bytes())
        assert answer.text == text
        assert post(server, OWN, params=query, **form()).text == text
    assert answer.headers["content-type"] == "text/vtt; charset=utf-8"


def test_files_and_streams_at_once(
    server: Server, transcriber: Transcriber, alone: Segments
) -> None:
    """More than are transcribed at once: they wait for each other."""
    text = transcriber.transcribe(WOMAN).text + "\n"
    with others_go_on(server, alone), ThreadPoolExecutor(10) as pool:
        answers = pool.map(lambda _: post(server, f"{OWN}?format=text", **form()), range(10))
        assert [answer.text for answer in answers] == [text] * 10


def test_a_long_file_goes_through_a_short_queue(transcriber: Transcriber, tmp_path: Path) -> None:
    samples, rate = soundfile.read(WOMAN, dtype="int16")
    soundfile.write(tmp_path / "long.wav", np.tile(samples, 6), rate)
    expected = transcriber.transcribe(tmp_path / "long.wav")
    with Dispatcher(transcriber, backlog=0.1) as dispatcher, served(dispatcher) as server:
        answer = post(server, OWN, content=(tmp_path / "long.wav").read_bytes())
    assert answer.text == expected.to_json()


# ---- OpenAI's


def test_what_openai_s_clients_read(server: Server, transcriber: Transcriber) -> None:
    transcript = transcriber.transcribe(WOMAN)
    asked = {"model": "whisper-1", "language": "en", "prompt": "a talk", "temperature": "0"}
    assert post(server, OPENAI, **form(**asked)).json() == {"text": transcript.text}
    assert post(server, OPENAI, **form(response_format="text")).text == transcript.text + "\n"
    assert post(server, OPENAI, **form(response_format="srt")).text == to_srt(transcript.segments)
    granularities = {"timestamp_granularities[]": ["word", "segment"]}
    verbose = post(server, OPENAI, **form(response_format="verbose_json", **granularities)).json()
    assert {verbose[key] for key in ("text", "duration")} == {transcript.text, transcript.duration}
    assert [word["word"] for word in verbose["words"]] == transcript.text.split()
    assert [word["start"] for word in verbose["words"]] == [w.start for w in transcript.words]
    assert [one["text"] for one in verbose["segments"]] == [
        segment.text for segment in transcript.segments if segment.words
    ]
    only = post(server, OPENAI, **form(response_format="verbose_json")).json()
    assert "segments" in only
    assert "words" not in only


def test_an_unmodified_openai_client(server: Server, transcriber: Transcriber) -> None:
    openai = pytest.importorskip("openai")
    transcript = transcriber.transcribe(WOMAN)
    with httpx.Client(trust_env=False) as http:
        client = openai.OpenAI(
            base_url=f"{server.url}/v1", api_key="none", http_client=http, max_retries=0
        )
        create = client.audio.transcriptions.create
        with WOMAN.open("rb") as file:
            assert create(model="ds2edge", file=file).text == transcript.text
        verbose = create(
            model="ds2edge",
            file=WOMAN,
            response_format="verbose_json",
            timestamp_granularities=["word"],
        )
        assert [word.word for word in verbose.words] == transcript.text.split()
        with pytest.raises(openai.BadRequestError, match="stream=true is not supported"):
            create(model="ds2edge", file=WOMAN, stream=True)


# ---- What is refused

NOISE = np.random.default_rng(1).bytes(20_000)
REFUSED: dict[str, tuple[str, dict[str, Any], int, str, str]] = {
    "nothing": (OWN, {}, 415, "bad_audio", "the recording is empty (0 bytes)"),
    "noise": (OWN, {"content": NOISE}, 415, "bad_audio", "the recording is not a readable"),
    "half a file": (
        OWN,
        {"content": (SPEECH / "84-121123-0028.mp3").read_bytes()[:50]},
        415,
        "bad_audio",
        "the recording",
    ),
    "a path": (f"{OWN}?path=/etc/passwd", {}, 400, "bad_message", "unknown field 'path'"),
    "a model": (f"{OWN}?model=x", {}, 400, "bad_message", "unknown field 'model'"),
    "a bundle": (
        OWN,
        {"params": {"options": '{"bundle": "/tmp/x"}'}},
        400,
        "bad_message",
        "unknown key 'bundle'",
    ),
    "no options": (f"{OWN}?options=[]", {}, 400, "bad_message", "needed a JSON object"),
    "impossible options": (
        OWN,
        {"params": {"options": '{"beam": 0}'}, "content": WOMAN.read_bytes()},
        400,
        "bad_message",
        "beam must be",
    ),
    "expensive options": (
        OWN,
        {"params": {"options": '{"alternatives": 100}'}, "content": WOMAN.read_bytes()},
        400,
        "bad_message",
        "alternatives may be 20 here",
    ),
    "no such format": (f"{OWN}?format=docx", {}, 400, "bad_message", "json, text, srt, vtt"),
    "no such display": (f"{OWN}?display=1", {}, 400, "bad_message", "true or false, got '1'"),
    "a form without a file": (
        OPENAI,
        {"files": {"model": (None, "whisper-1")}},
        400,
        "bad_message",
        "no file in a field 'file'",
    ),
    "another file": (
        OPENAI,
        {"files": {"audio": ("a.mp3", WOMAN.read_bytes())}},
        400,
        "bad_message",
        "got 'audio'",
    ),
    "two files": (
        OPENAI,
        {"files": [("file", ("a", b"a")), ("file", ("b", b"b"))]},
        400,
        "bad_message",
        "Too many files",
    ),
    "no form": (OPENAI, {"content": b"x"}, 415, "bad_audio", "not a readable recording"),
    "half a form": (
        OPENAI,
        {"content": b"--x\r\nContent-", "headers": {"content-type": BOUNDARY}},
        400,
        "bad_message",
        "form",
    ),
    "a broken form": (
        OPENAI,
        {"content": b"nothing of that kind", "headers": {"content-type": BOUNDARY}},
        400,
        "bad_message",
        "the form cannot be read",
    ),
    "a long field": (
        OPENAI,
        {"files": {"prompt": (None, "x" * 2**17)}},
        400,
        "bad_message",
        "maximum size",
    ),
    "a name that is a path": (
        OPENAI,
        {"files": {"file": ("../../etc/passwd", NOISE)}},
        415,
        "bad_audio",
        "the recording is not a readable",
    ),
    "an unknown field": (OPENAI, form(path="/x"), 400, "bad_message", "unknown field 'path'"),
    "streaming": (OPENAI, form(stream="true"), 400, "bad_message", "stream=true"),
    "letters": (
        OPENAI,
        form(**{"timestamp_granularities[]": "letter"}),
        400,
        "bad_message",
        "word and segment",
    ),
    "no such response": (
        OPENAI,
        form(response_format="diarized_json"),
        400,
        "bad_message",
        "response_format must be one of json",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(server: Server, name: str) -> None:
    path, settings, status, code, said = REFUSED[name]
    message = error_of(post(server, path, **settings), status, code)
    assert said in message
    assert "/proc" not in message


def test_another_method(server: Server) -> None:
    answer = httpx.get(server.url + OWN, trust_env=False)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_no_token_or_a_wrong_one(dispatcher: Dispatcher) -> None:
    with served(dispatcher, "secret") as server:
        for headers in ({}, {"authorization": "Bearer guess"}, {"authorization": "secret"}):
            error_of(post(server, OWN, content=b"x", headers=headers), 401, "unauthorised")
        right = {"authorization": "Bearer secret"}
        assert post(server, OPENAI, headers=right, **form()).status_code == 200


@pytest.mark.parametrize("is_promised", [True, False])
@pytest.mark.parametrize("is_form", [True, False])
def test_an_upload_that_is_too_large(
    dispatcher: Dispatcher, alone: Segments, is_promised: bool, is_form: bool
) -> None:
    def body() -> Iterator[bytes]:
        if is_form:
            yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
        for _ in range(300):
            yield bytes(1000)

    headers = {"content-type": BOUNDARY} if is_form else {}
    content = b"".join(body()) if is_promised else body()
    with served(dispatcher, file_megabytes=0.2) as server, others_go_on(server, alone):
        answer = post(server, OWN, content=content, headers=headers)
        assert "may have 0.2 MB" in error_of(answer, 413, "too_large")


@pytest.mark.parametrize("is_form", [True, False])
def test_a_full_disk(
    server: Server, alone: Segments, monkeypatch: pytest.MonkeyPatch, is_form: bool
) -> None:
    full = Path("/dev/full")
    large = bytes(2_000_000)  # more than a form keeps in memory
    upload = {"files": {"file": ("x.wav", large)}} if is_form else {"content": large}
    with others_go_on(server, alone), monkeypatch.context() as patch:
        patch.setattr(tempfile, "TemporaryFile", lambda *_, **__: full.open("w+b", buffering=0))
        answer = post(server, OWN, **upload)
    assert "no room for the upload" in error_of(answer, 429, "too_many")
    assert answer.headers["retry-after"]
    assert post(server, OWN, content=WOMAN.read_bytes()).status_code == 200


@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_a_recording_that_is_too_long(
    dispatcher: Dispatcher, alone: Segments, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / f"long.{kind}"
    soundfile.write(path, np.zeros(8_000 * 30, np.int16), 8_000)
    with served(dispatcher, longest_recording=29) as server, others_go_on(server, alone):
        answer = post(server, OWN, content=path.read_bytes())
        assert "may have 29 s" in error_of(answer, 413, "too_long")


def test_a_header_that_promises_less(
    dispatcher: Dispatcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "long.wav", np.zeros(8_000 * 30, np.int16), 8_000)
    monkeypatch.setattr("ds2edge.audio_file.AudioFile.seconds", 0.0)
    with served(dispatcher, longest_recording=3) as server:
        answer = post(server, OWN, content=(tmp_path / "long.wav").read_bytes())
        assert "may have 3 s" in error_of(answer, 413, "too_long")


HEAD = b"POST /v1/transcribe HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"


def test_an_upload_byte_by_byte(dispatcher: Dispatcher) -> None:
    with served(dispatcher, idle_seconds=0.4) as server, raw_socket(server) as slow:
        slow.sendall(HEAD)
        for _ in range(50):
            slow.sendall(b"x")
            time.sleep(0.02)
        answer = slow.recv(10_000)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"idle"' in answer


def test_who_hangs_up_is_not_transcribed_for(
    dispatcher: Dispatcher, transcriber: Transcriber
) -> None:
    dropped = dispatcher.metrics.dropped
    with served(dispatcher, files=1) as server, held(transcriber) as (go, batches):
        with raw_socket(server) as gone:
            recording = WOMAN.read_bytes()
            gone.sendall(HEAD.replace(b"1000000", b"%d" % len(recording)) + recording)
            wait_until(lambda: bool(batches))
        wait_until(lambda: dispatcher.metrics.dropped > dropped)
        wait_until(lambda: not server.service.files)
        go.set()
        assert post(server, OWN, **form()).status_code == 200


def test_nobody_is_left_to_hear_what_is_wrong(
    dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    began: list[Upload] = []

    def find_out_late(upload: Upload, *_: object) -> Any:
        began.append(upload)
        assert upload._end.wait(PATIENCE)
        raise RefusalError("bad_audio", "noise")

    monkeypatch.setattr(Upload, "_transcript", find_out_late)
    with served(dispatcher) as server:
        with raw_socket(server) as gone:
            gone.sendall(HEAD.replace(b"1000000", b"5") + b"noise")
            wait_until(lambda: bool(began))
        wait_until(lambda: not server.service.files)
    began.clear()
    gc.collect()  # and nothing is logged


def test_no_turn_within_the_time(dispatcher: Dispatcher) -> None:
    with served(dispatcher, files=1, idle_seconds=0.3) as server, raw_socket(server) as busy:
        busy.sendall(HEAD)
        wait_until(lambda: bool(server.service.files))
        busy.sendall(bytes(100_000))  # which may take its time
        answer = post(server, OWN, content=b"x")
        assert "try again later" in error_of(answer, 429, "too_many")
        assert answer.headers["retry-after"]


def test_who_does_not_read_the_answer_is_cut_off(dispatcher: Dispatcher) -> None:
    limits = {"reader_seconds": 0.1, "start_seconds": 0.5}
    with served(dispatcher, **limits) as server, narrow_socket(server) as lazy:
        lazy.sendall(b"GET /v1/protocol.json HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        wait_until(lambda: not server._watch)
        assert is_cut_off(lazy)
