"""Streams of a dispatcher: they come, go, fail and end alone; threads, processes, asyncio."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from contract_inputs import RATE, Samples, finals_of, recorded
from forked import refused_in_a_child
from live_streams import (
    PATIENCE,
    USES,
    finals_by_turns,
    held,
    pieces_of,
    wait_until,
)

from ds2edge import Final, StreamOptions, Transcriber
from ds2edge.errors import AudioError, BackendError, ConfigError, DecoderError, StreamError
from ds2edge.pipeline import Step
from ds2edge.serving import lane
from ds2edge.serving.asynchronous import Bell, bell_of
from ds2edge.serving.dispatcher import Dispatcher

pytestmark = pytest.mark.usefixtures("no_hang")


@pytest.fixture
def no_collection() -> Iterator[None]:
    """Without Python's collector of cycles, which comes when it wants."""
    gc.disable()
    yield
    gc.enable()


# ---- They come and go, and fail, alone


def test_a_stream_that_vanishes_leaves_nothing_behind(
    transcriber: Transcriber, alone: list[tuple[Final, ...]]
) -> None:
    with Dispatcher(transcriber) as dispatcher:
        stays = dispatcher.stream(RATE)
        gone = []
        for turn, piece in enumerate(pieces_of(recorded(0))):
            stays.push(piece)
            with dispatcher.stream(RATE) as closed:
                closed.push(recorded(1)[: 1000 * turn])
            forgotten = dispatcher.stream(RATE)
            forgotten.push(recorded(2)[: 1000 * turn])
            gone += [weakref.ref(closed), weakref.ref(forgotten)]
            del closed, forgotten
        stays.finish()
        assert tuple(finals_of(stays)) == alone[0]
        wait_until(lambda: gc.collect() >= 0 and not any(one() for one in gone))
        assert (dispatcher.metrics.finished, dispatcher.metrics.failed) == (1, 0)


def test_bad_input_is_refused_where_it_is_given(
    transcriber: Transcriber, alone: list[tuple[Final, ...]]
) -> None:
    with Dispatcher(transcriber) as dispatcher:
        with pytest.raises(AudioError):
            dispatcher.stream(0)
        with pytest.raises(DecoderError):
            dispatcher.stream(RATE, StreamOptions(beam=0))
        stream, other = dispatcher.stream(RATE), dispatcher.stream(RATE)
        for piece in pieces_of(recorded(0)):
            with pytest.raises(AudioError):
                stream.push(np.array([0.1, np.nan]))
            with pytest.raises(AudioError):
                stream.push(piece.tobytes())
            with pytest.raises(ConfigError):
                stream.set_options("boost")  # type: ignore[arg-type]
            with pytest.raises(DecoderError):
                stream.set_options(StreamOptions(boost={"1984": 3.0}))
            stream.push(piece.tobytes(), "int16")
            other.push(piece)
        for one in (stream, other):
            one.finish()
            assert tuple(finals_of(one)) == alone[0]


def poisoned(hear: Callable[..., Any], state: Any, error: Exception | None) -> Callable[..., Any]:
    """Of the second chunk of one recording, the model says what no search can use, or raises."""
    turns = Counter[str]()

    def poison(steps: Sequence[Step]) -> Any:
        blocks = hear(steps)
        for i, step in enumerate(steps):
            if step.state is state:
                turns["taken"] += 1
                if turns["taken"] == 4 and error:
                    raise error
                blocks[i] = blocks[i] * (np.nan if turns["taken"] == 4 else 1)
        return blocks

    return poison


def test_a_stream_fails_alone(transcriber: Transcriber, alone: list[tuple[Final, ...]]) -> None:
    pipeline = transcriber._pipeline
    with pytest.MonkeyPatch.context() as patch, Dispatcher(transcriber) as dispatcher:
        bad, good = dispatcher.stream(RATE), dispatcher.stream(RATE)
        state = bad._lane._segments.state
        patch.setattr(pipeline, "hear", poisoned(pipeline.hear, state, None))
        for one, other in zip(pieces_of(recorded(0)), pieces_of(recorded(1)), strict=False):
            good.push(other)
            if not bad.ended:
                bad.push(one)
        good.push(recorded(1)[len(recorded(0)) :])
        good.finish()
        assert tuple(finals_of(good)) == alone[1]
        with pytest.raises(DecoderError):
            list(bad)
        for use in USES.values():
            with pytest.raises(StreamError, match="has failed"):
                use(bad)
        assert (dispatcher.metrics.finished, dispatcher.metrics.failed) == (1, 1)


def test_a_batch_that_the_runtime_cannot_run_ends_its_streams_only(
    transcriber: Transcriber, alone: list[tuple[Final, ...]]
) -> None:
    pipeline, error = transcriber._pipeline, BackendError("the GPU is gone")
    with pytest.MonkeyPatch.context() as patch, Dispatcher(transcriber) as dispatcher:
        bad = dispatcher.stream(RATE)
        state = bad._lane._segments.state
        patch.setattr(pipeline, "hear", poisoned(pipeline.hear, state, error))
        bad.push(recorded(0))
        with pytest.raises(BackendError, match="the GPU is gone"):
            list(bad)
        assert finals_by_turns(dispatcher, [recorded(1)], []) == alone[1:2]


def test_a_listener_that_raises_ends_its_own_stream(
    transcriber: Transcriber, alone: list[tuple[Final, ...]], caplog: pytest.LogCaptureFixture
) -> None:
    def fall() -> None:
        raise RuntimeError("fallen")

    called: list[float] = []
    with Dispatcher(transcriber) as dispatcher:
        bad = dispatcher.stream(RATE, listener=fall)
        good = dispatcher.stream(RATE, listener=lambda: called.append(time.monotonic()))
        for stream in (bad, good):
            stream.push(recorded(0))
        good.finish()
        assert tuple(finals_of(good)) == alone[0]
        with pytest.raises(RuntimeError, match="fallen"):
            list(bad)
    assert called
    assert "fallen" in caplog.text


# ---- The end


@pytest.mark.parametrize("end", ["finish", "close"])
def test_who_keeps_a_stream_that_ended_keeps_no_more_than_what_was_said(
    transcriber: Transcriber, no_collection: None, end: str
) -> None:
    with Dispatcher(transcriber) as dispatcher:
        stream = dispatcher.stream(RATE, listener=lambda: str(stream) and None)  # a cycle
        stream.push(recorded(0))
        wait_until(lambda: not stream._lane.busy)  # nor does a thread that waits for others
        state = weakref.ref(stream._lane._segments.state)
        getattr(stream, end)()
        wait_until(lambda: stream._lane.ended and state() is None)
        assert bool(finals_of(stream)) or end == "close"


@pytest.mark.parametrize("end", ["finish", "close", "with"])
def test_a_stream_that_ended_takes_nothing(transcriber: Transcriber, end: str) -> None:
    with Dispatcher(transcriber) as dispatcher:
        stream = dispatcher.stream(RATE)
        if end == "with":
            with stream:
                pass
        else:
            getattr(stream, end)()
        said = "finished" if end == "finish" else "closed"
        for use in USES.values():
            with pytest.raises(StreamError, match=f"the stream is {said}; open a new one"):
                use(stream)
        assert len(list(stream)) == (end == "finish")
        assert stream.ended
        stream.close()
        assert stream.take() == []


def test_draining_finishes_every_stream(
    transcriber: Transcriber, alone: list[tuple[Final, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that wait for a reader, too."""
    monkeypatch.setattr(lane, "MOST_UNREAD", 1)
    with Dispatcher(transcriber, backlog=60.0) as dispatcher:
        streams = [dispatcher.stream(RATE) for _ in range(3)]
        for i, stream in enumerate(streams):
            stream.push(recorded(i))
        streams[0].finish()
        dispatcher.close(drain=True)
        assert [tuple(finals_of(stream)) for stream in streams] == alone
    assert (dispatcher.metrics.finished, dispatcher.metrics.dropped) == (3, 0)


def test_closing_drops_what_is_not_heard(transcriber: Transcriber) -> None:
    with Dispatcher(transcriber) as dispatcher, held(transcriber) as (go, batches):
        waiting, heard = dispatcher.stream(RATE), dispatcher.stream(RATE)
        waiting.push(recorded(0))
        wait_until(lambda: bool(batches))
        with ThreadPoolExecutor(2) as pool:
            blocked = pool.submit(heard.push, np.tile(recorded(0), 5))
            blocked.result(PATIENCE)
            blocked = pool.submit(heard.push, recorded(0))  # no room
            closing = pool.submit(dispatcher.close)
            with pytest.raises(StreamError, match="the dispatcher is closed"):
                blocked.result(PATIENCE)
            go.set()
            closing.result(PATIENCE)
    for stream in (waiting, heard):
        with pytest.raises(StreamError, match="closed before the stream was finished"):
            list(stream)
        for use in USES.values():
            with pytest.raises(StreamError, match="the dispatcher is closed; make a new one"):
                use(stream)
    with pytest.raises(StreamError, match="the dispatcher is closed; make a new one"):
        dispatcher.stream(RATE)
    dispatcher.close()  # twice is fine
    assert dispatcher.metrics.dropped == 2


def test_draining_takes_no_longer_than_it_may(transcriber: Transcriber) -> None:
    hear = transcriber._pipeline.hear

    def slow(steps: Sequence[Step]) -> Any:
        time.sleep(0.05)
        return hear(steps)

    with pytest.MonkeyPatch.context() as patch, Dispatcher(transcriber, backlog=60.0) as dispatcher:
        patch.setattr(transcriber._pipeline, "hear", slow)
        stream = dispatcher.stream(RATE)
        stream.push(np.tile(recorded(0), 10))
        began = time.monotonic()
        dispatcher.close(drain=True, timeout=0.2)
        assert time.monotonic() - began < 5
        with pytest.raises(StreamError, match="closed before"):
            list(stream)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_use_in_a_forked_child_raises(transcriber: Transcriber) -> None:
    with Dispatcher(transcriber) as dispatcher:
        stream = dispatcher.stream(RATE)
        stream.push(recorded(0)[:RATE])
        uses: list[Callable[[], Any]] = [
            *(lambda use=use: use(stream) for use in USES.values()),
            stream.take,
            lambda: list(stream),
            lambda: dispatcher.stream(RATE),
        ]
        refused = refused_in_a_child(uses, afterwards=[stream.close, dispatcher.close])
        assert refused == len(uses)
        stream.finish()  # the parent's goes on
        assert finals_of(stream)


def test_two_callers_at_once_are_refused(transcriber: Transcriber) -> None:
    with Dispatcher(transcriber, backlog=0.2) as dispatcher, held(transcriber) as (go, batches):
        stream = dispatcher.stream(RATE)
        stream.push(recorded(0))
        wait_until(lambda: bool(batches))
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(stream.push, recorded(0))
            wait_until(stream._caller.locked)  # there is no room
            for use in USES.values():
                with pytest.raises(StreamError, match="in use by another thread"):
                    use(stream)
            go.set()
            waiting.result(PATIENCE)


# ---- asyncio


def test_asyncio_streams_push_and_read_at_once(
    transcriber: Transcriber, alone: list[tuple[Final, ...]]
) -> None:
    async def run(dispatcher: Dispatcher, samples: Samples) -> tuple[Final, ...]:
        async with dispatcher.async_stream(RATE) as stream:

            async def speak() -> None:
                for piece in pieces_of(samples):
                    await stream.push(piece)
                await stream.finish()

            async def listen() -> tuple[Final, ...]:
                return tuple([event async for event in stream if isinstance(event, Final)])

            _, finals = await asyncio.gather(speak(), listen())
            assert stream.seconds == pytest.approx(len(samples) / RATE)
            return finals

    async def all_at_once(dispatcher: Dispatcher) -> list[tuple[Final, ...]]:
        return await asyncio.gather(*(run(dispatcher, recorded(i)) for i in range(3)))

    with Dispatcher(transcriber, backlog=0.3) as dispatcher:
        assert asyncio.run(all_at_once(dispatcher)) == alone


def test_asyncio_flush_options_close_and_errors(transcriber: Transcriber) -> None:
    async def run(dispatcher: Dispatcher) -> None:
        async with dispatcher.async_stream(RATE) as stream:
            await stream.push(recorded(0)[:RATE].tobytes(), "int16")
            await stream.flush()
            await stream.set_options(StreamOptions(language_model=False))
            with pytest.raises(AudioError):
                await stream.push(np.array([np.nan]))
            async for event in stream:
                if isinstance(event, Final):
                    break
        assert [event async for event in stream] == []
        waiting = dispatcher.async_stream(RATE)
        listening = asyncio.ensure_future(anext(aiter(waiting)))
        await asyncio.sleep(0.01)
        await asyncio.to_thread(dispatcher.close)
        with pytest.raises(StreamError, match="closed before"):
            await listening

    with Dispatcher(transcriber) as dispatcher:
        asyncio.run(run(dispatcher))


def test_a_bell_sets_whatever_many_threads_ring() -> None:
    async def run() -> Bell:
        bell = bell_of(asyncio.get_running_loop())
        assert bell_of(asyncio.get_running_loop()) is bell
        events = [asyncio.Event() for _ in range(2000)]
        with ThreadPoolExecutor(4) as pool:
            for part in range(4):
                pool.submit(lambda own: [bell.ring(event) for event in own], events[part::4])
            waiting = asyncio.gather(*(event.wait() for event in events))
            await asyncio.wait_for(waiting, PATIENCE)
        return bell

    asyncio.run(run()).ring(asyncio.Event())  # the loop is closed: nobody listens
