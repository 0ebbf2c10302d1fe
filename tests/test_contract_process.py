"""The contract of a stream, line 9: the process is never killed, nothing is printed or fetched.

Then what an exception of the caller's own leaves behind.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import RECORDINGS
from contract_inputs import BAD_BLOCKS, RATE, Samples, recorded
from hypothesis import given, settings
from hypothesis import strategies as st

from ds2edge import Transcriber, load_bundle
from ds2edge.bundle import write_bundle
from ds2edge.errors import AudioError, StreamError
from ds2edge.stream import Stream

CHILD = """
import json, os, socket, sys, threading
import numpy as np

happened = []
WATCHED = ("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork",
           "urllib.", "http.", "ftplib.", "smtplib.", "webbrowser.")
sys.addaudithook(lambda event, _: happened.append(event) if event.startswith(WATCHED) else None)
threads = len(os.listdir("/proc/self/task"))  # NumPy starts some

from ds2edge import StreamOptions, Transcriber
from ds2edge.errors import Ds2edgeError
from contract_inputs import BAD_BLOCKS, recorded

errors = []
def expect(use, *arguments, **named):
    try:
        use(*arguments, **named)
    except Ds2edgeError as error:
        errors.append(str(error))
    else:
        raise AssertionError(f"{arguments} were accepted")

happened.clear()  # the tests' own imports
transcriber = Transcriber()
for bundle in json.loads(sys.argv[1]):
    expect(Transcriber, bundle)
stream = transcriber.stream(16_000)
speech = recorded(0)
stream.feed(speech)
for bad in BAD_BLOCKS.values():
    expect(stream.feed, *bad(speech, 7))
for rate in (None, 0, float("nan")):
    expect(transcriber.stream, rate)
expect(transcriber.stream, 16_000, StreamOptions(boost={"\\u4e00": 1.0}))
expect(transcriber.transcribe, "/nowhere.wav")
expect(transcriber.transcribe, __file__)
stream.finish()
expect(stream.feed, speech)
assert transcriber.transcribe(np.tile(speech, 3), 16_000).words
transcriber.transcribe(np.zeros(16_000 * 11, np.float32), 16_000)  # of which AudioCheck warns
tasks = len(os.listdir("/proc/self/task"))
json.dump({"errors": errors, "happened": happened, "more": tasks - threads,
           "python": threading.active_count()}, open(sys.argv[2], "w"))
"""


def bad_bundles(folder: Path) -> Iterator[str]:
    """Three with a damaged member, one with a model that is none, an archive that is none."""
    whole = load_bundle("en")
    members = {name: whole.folder / name for name in whole.manifest.members}
    for name in ("manifest.json", "int8.tflite", "language_model.bin"):
        bundle = write_bundle(folder / name, whole.manifest, members).folder
        content = (bundle / name).read_bytes()
        (bundle / name).write_bytes(content[: len(content) // 2])
        yield str(bundle)
    wrong = {**members, "int8.tflite": members["int8.tflite"].read_bytes()[:100_000]}
    yield str(write_bundle(folder / "wrong", whole.manifest, wrong).folder)
    (folder / "bundle.ds2").write_bytes(b"PK\3\4 no bundle")
    yield str(folder / "bundle.ds2")


def test_9_bad_input_does_not_kill_print_or_fetch_nor_start_threads(tmp_path: Path) -> None:
    bundles = json.dumps([*bad_bundles(tmp_path), str(tmp_path), "xx", ""])
    result = tmp_path / "result.json"
    program = tmp_path / "child.py"
    program.write_text(CHILD)
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]  # for contract_inputs
    done = subprocess.run(
        [sys.executable, "-P", program, bundles, result],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    found = json.loads(result.read_text())
    assert len(found["errors"]) == 8 + len(BAD_BLOCKS) + 3 + 1 + 2 + 1
    assert not [error for error in found["errors"] if not error or "\n" in error]
    assert found["happened"] == []
    assert (found["more"], found["python"]) == (0, 1)


# ---- the caller's own exceptions ----


class MishapError(Exception):
    """The caller's own."""


def blocks_until(count: int, error: BaseException) -> Iterator[Samples]:
    yield from np.array_split(recorded(0), 20)[:count]
    raise error


@given(
    count=st.integers(0, 20),
    error=st.sampled_from(
        [MishapError("own"), KeyboardInterrupt(), AudioError("gone"), OSError(5, "x")]
    ),
)
@settings(max_examples=10)
def test_an_exception_of_the_blocks_passes_unchanged(
    transcriber: Transcriber, count: int, error: BaseException
) -> None:
    with pytest.raises(type(error)) as raised:
        list(transcriber.events(blocks_until(count, error), RATE))
    assert raised.value is error
    assert transcriber.transcribe(recorded(1), RATE).words


@given(after=st.integers(0, 8), form=st.sampled_from(["events", "stream", "progress"]))
@settings(max_examples=10)
def test_an_exception_in_the_callers_loop_releases_everything(
    transcriber: Transcriber, after: int, form: str
) -> None:
    opened: list[Stream] = []
    closed = []

    def blocks() -> Iterator[Samples]:
        try:
            yield from np.array_split(recorded(0), 20)
        finally:
            closed.append(True)

    def progress(done: float, _: float) -> None:
        if done > 0.1 * after:
            raise MishapError

    def loop_over_events() -> None:
        for i, _ in enumerate(transcriber.events(blocks(), RATE)):
            if i == min(after, 2):
                raise MishapError

    def loop_over_blocks() -> None:
        with transcriber.stream(RATE) as stream:
            for i, block in enumerate(blocks()):
                stream.feed(block)
                if i == after:
                    raise MishapError

    def show_progress() -> None:
        transcriber.transcribe(RECORDINGS[0], progress=progress)

    loops = {"events": loop_over_events, "stream": loop_over_blocks, "progress": show_progress}
    with pytest.MonkeyPatch.context() as patch:
        open_stream = Transcriber.stream

        def noted(*arguments: Any) -> Stream:
            opened.append(open_stream(*arguments))
            return opened[-1]

        patch.setattr(Transcriber, "stream", noted)
        with pytest.raises(MishapError):
            loops[form]()
    (stream,) = opened
    assert closed or form == "progress"
    with pytest.raises(StreamError, match="closed"):
        stream.feed(recorded(0))
    assert transcriber.transcribe(recorded(1), RATE).words


@pytest.mark.parametrize("where", ["blocks", "loop"])
def test_an_exception_in_an_async_loop_ends_the_streams_thread(
    transcriber: Transcriber, where: str
) -> None:
    async def blocks() -> AsyncIterator[Samples]:
        for block in np.array_split(recorded(0), 20):
            yield block
        if where == "blocks":
            raise MishapError

    async def listen() -> None:
        async with transcriber.async_stream(RATE) as stream:
            async for _ in stream.events(blocks()):
                if where == "loop":
                    raise MishapError

    with pytest.raises(MishapError):
        asyncio.run(listen())
    for thread in threading.enumerate():
        if thread.name.startswith("ds2edge"):
            thread.join(20)
            assert not thread.is_alive()
