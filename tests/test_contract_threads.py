"""The contract of a stream, line 7: one Transcriber, many streams. Threads, pickling, misuse."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from conftest import RECORDINGS
from contract_inputs import (
    OPTIONS,
    RATE,
    Excerpt,
    Script,
    excerpts,
    finals_of,
    play,
    recorded,
    scripts,
)
from forked import refused_in_a_child
from hypothesis import given, settings
from hypothesis import strategies as st

from ds2edge import StreamOptions, Transcriber
from ds2edge.errors import StreamError
from ds2edge.results import Event
from ds2edge.stream import Stream


@given(scripts=st.lists(scripts(seconds=2.0), min_size=2, max_size=6))
@settings(max_examples=8)
def test_7_threads_share_a_transcriber(transcriber: Transcriber, scripts: list[Script]) -> None:
    """All at once, each with options of its own; the model's interpreter is one."""
    together = threading.Barrier(len(scripts))

    def run(script: Script) -> Any:
        together.wait(20)
        return play(script, transcriber)

    with ThreadPoolExecutor(len(scripts)) as pool:
        found = list(pool.map(run, scripts))
    assert found == [play(script, transcriber) for script in scripts]


@given(
    chosen=st.lists(st.tuples(excerpts(2.0), OPTIONS), min_size=2, max_size=4),
    schedule=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=40),
)
@settings(max_examples=8)
def test_7_streams_may_change_threads_in_any_order(
    transcriber: Transcriber,
    chosen: list[tuple[Excerpt, StreamOptions]],
    schedule: list[tuple[int, int]],
) -> None:
    """One caller at a time, which need not be the same: (stream, thread) piece by piece."""
    streams = [transcriber.stream(excerpt.rate, options) for excerpt, options in chosen]
    pieces = [np.array_split(excerpt.samples, 10) for excerpt, _ in chosen]
    events: list[list[Event]] = [[] for _ in chosen]
    busy: list[Future[list[Event]] | None] = [None] * len(chosen)
    pools = [ThreadPoolExecutor(1) for _ in range(3)]

    def settle(which: int) -> None:
        future, busy[which] = busy[which], None
        events[which] += future.result() if future else []

    rest = [(which, 0) for which in range(len(chosen)) for _ in range(10)]
    for drawn, thread in [*schedule, *rest]:
        which = drawn % len(chosen)
        settle(which)
        if pieces[which]:
            busy[which] = pools[thread].submit(streams[which].feed, pieces[which].pop(0))
    for which, stream in enumerate(streams):
        settle(which)
        events[which] += stream.finish()
    for pool in pools:
        pool.shutdown()
    for (excerpt, options), found in zip(chosen, events, strict=True):
        alone = transcriber.transcribe(excerpt.samples, excerpt.rate, options)
        assert tuple(finals_of(found)) == alone.segments


USES: dict[str, Callable[[Stream], Any]] = {
    "feed": lambda stream: stream.feed(np.zeros(800, np.float32)),
    "flush": lambda stream: stream.flush(),
    "finish": lambda stream: stream.finish(),
    "set_options": lambda stream: stream.set_options(StreamOptions(longest=0.1)),
}


@given(
    inside=st.sampled_from(["feed", "flush", "finish"]), second=st.lists(st.sampled_from([*USES]))
)
@settings(max_examples=12)
def test_7_two_threads_at_once_are_refused_and_the_first_goes_on(
    transcriber: Transcriber, inside: str, second: list[str]
) -> None:
    samples = recorded(0)[: 2 * RATE]
    stream, alone = transcriber.stream(RATE), transcriber.stream(RATE)
    assert stream.feed(samples) == alone.feed(samples)
    entered, leave = threading.Event(), threading.Event()
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as pool:
        convert, finish = stream._input.convert, stream._input.finish

        def held(work: Callable[..., Any]) -> Callable[..., Any]:
            def hold(*arguments: Any) -> Any:
                entered.set()
                assert leave.wait(20)
                return work(*arguments)

            return hold

        patch.setattr(stream._input, "convert", held(convert))
        patch.setattr(stream._input, "finish", held(finish))
        future = pool.submit(USES[inside], stream)
        assert entered.wait(20)
        for name in second:
            with pytest.raises(StreamError, match="in use by another thread"):
                USES[name](stream)
        leave.set()
        assert future.result() == USES[inside](alone)
    if inside != "finish":
        assert stream.finish() == alone.finish()


class LockThatWaits:
    """The lock of a stream that another thread finishes right before it is free."""

    def __init__(self, stream: Stream) -> None:
        self.stream, self.lock = stream, stream._lock

    def acquire(self, blocking: bool) -> bool:
        self.stream._lock = self.lock
        self.stream.finish()
        return self.lock.acquire(blocking)

    def release(self) -> None:
        self.lock.release()


@pytest.mark.parametrize("use", USES)
def test_7_a_stream_that_another_thread_just_finished(transcriber: Transcriber, use: str) -> None:
    stream = transcriber.stream(RATE)
    stream._lock = LockThatWaits(stream)  # type: ignore[assignment]
    with pytest.raises(StreamError, match="finished"):
        USES[use](stream)


LISTENING = st.sampled_from(
    [{"boost": dict.fromkeys(("and", "i", "the", "of"), 9.0)}, {"vocabulary": ["and", "i"]}]
).map(lambda options: StreamOptions(**options))


@given(
    first=scripts(seconds=1.0, options=LISTENING), then=scripts(seconds=2.0), dropped=st.booleans()
)
@settings(max_examples=8)
def test_7_a_stream_knows_nothing_of_others(
    transcriber: Transcriber, first: Script, then: Script, dropped: bool
) -> None:
    """Neither of one before, nor of one that is open, nor of what they listen for."""
    expected = play(then, Transcriber())
    with transcriber.stream(first.excerpt.rate, first.options) as other:
        other.feed(first.excerpt.samples)
        if dropped:
            other.close()
        assert play(then, transcriber) == expected


def test_7_a_transcriber_pickles_as_its_bundle(transcriber: Transcriber) -> None:
    from_bundle = Transcriber(transcriber.bundle)
    for original in (transcriber, from_bundle):
        data = pickle.dumps(original)
        assert len(data) < 1000
        again = pickle.loads(data)
        assert again.bundle == original.bundle
        assert again.transcribe(RECORDINGS[0]) == original.transcribe(RECORDINGS[0])


@pytest.mark.parametrize("state", ["new", "running", "finished", "closed"])
def test_7_a_stream_does_not_pickle(transcriber: Transcriber, state: str) -> None:
    with transcriber.stream(RATE) as stream:
        if state == "running":
            stream.feed(recorded(0))
        if state == "finished":
            stream.finish()
        if state == "closed":
            stream.close()
        for misuse in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(StreamError, match="cannot be pickled; pickle the Transcriber"):
                misuse(stream)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_7_use_in_a_forked_child_raises(transcriber: Transcriber) -> None:
    stream, listening = transcriber.stream(RATE), transcriber.async_stream(RATE)
    asyncio.run(listening.feed(recorded(0)[:RATE]))  # its thread does not survive the fork
    uses: list[Callable[[], Any]] = [
        *(lambda use=use: use(stream) for use in USES.values()),
        lambda: asyncio.run(listening.feed(recorded(0))),
        lambda: transcriber.stream(RATE),
        lambda: transcriber.transcribe(RECORDINGS[0]),
        lambda: next(transcriber.events([], RATE)),
    ]
    assert refused_in_a_child(uses) == len(uses)
    stream.finish()  # the parent's goes on
    asyncio.run(listening.finish())
    listening.close()


@given(end=st.sampled_from(["finish", "close", "with"]), use=st.sampled_from([*USES]))
def test_7_a_stream_that_ended_takes_nothing(transcriber: Transcriber, end: str, use: str) -> None:
    stream = transcriber.stream(RATE)
    with stream if end == "with" else transcriber.stream(RATE):
        if end != "with":
            getattr(stream, end)()
    said = "finished" if end == "finish" else "closed"
    with pytest.raises(StreamError, match=f"the stream is {said}; open a new one"):
        USES[use](stream)
    stream.close()  # twice is fine, and changes nothing
    with pytest.raises(StreamError, match=said):
        USES[use](stream)
