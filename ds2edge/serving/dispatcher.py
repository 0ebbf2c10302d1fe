"""Dispatcher: Batch Dispatch as in Deep Speech 2. Many streams, whose acoustic steps run together.

A batch begins the moment the one before it ends, with whatever waits then: there is no timer. One
thread runs features and acoustic model, another one the search and all that follows from it, so
that both go on at the same time. A stream says what `Transcriber` says of the same audio, whatever
it shares its batches with::

    with Dispatcher(Transcriber()) as dispatcher:
        stream = dispatcher.stream(sample_rate=16_000)
        stream.push(samples)
        stream.finish()
        for event in stream:
            print(event.text)
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ds2edge.errors import BackendError, ConfigError, DecoderError, StreamError
from ds2edge.options import StreamOptions
from ds2edge.results import Seconds
from ds2edge.serving.board import Board, Stepped
from ds2edge.serving.lane import Lane
from ds2edge.serving.live import LiveStream
from ds2edge.serving.metrics import Metrics
from ds2edge.transcriber import Transcriber

if TYPE_CHECKING:
    from ds2edge.serving.asynchronous import AsyncLiveStream

log = logging.getLogger(__name__)


class Dispatcher:
    """Shares out the work of many streams. Threads may share it; it does not survive fork().

    Args:
        transcriber: whose bundle and runtime are used.
        max_batch: steps in one batch, at most; more serve more streams, each a little later.
        threads: of the search.
        backlog: seconds of audio of one stream that may wait to be heard.

    Raises:
        BackendError: the bundle's model hears whole recordings only.
        ConfigError: an option is impossible.
    """

    def __init__(
        self,
        transcriber: Transcriber,
        *,
        max_batch: int = 32,
        threads: int = 1,
        backlog: Seconds = 5.0,
    ) -> None:
        for name, value in (("max_batch", max_batch), ("threads", threads)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"{name} must be 1 or more, got {value!r}")
        if isinstance(backlog, bool) or not isinstance(backlog, int | float) or not backlog > 0:
            raise ConfigError(f"backlog must be more than 0 seconds, got {backlog!r}")
        self._pipeline = transcriber._pipeline
        if self._pipeline.loaded.artefact.form == "whole":
            name = transcriber.bundle.manifest.name
            raise BackendError(f"the model of bundle {name!r} hears whole recordings, no streams")
        self.transcriber = transcriber  # whose streams these are
        self._board = Board()
        self._max_batch, self._threads, self._backlog = max_batch, threads, backlog
        self._streams: weakref.WeakSet[LiveStream] = weakref.WeakSet()
        self._workers = [
            threading.Thread(
                target=self._guarded, args=(work,), name=f"ds2edge-{name}", daemon=True
            )
            for name, work in (("acoustic", self._hear), ("search", self._search))
        ]
        for worker in self._workers:
            worker.start()
        atexit.register(self.close)  # a daemon that computes while Python ends may crash it

    @property
    def is_open(self) -> bool:
        """Takes streams; false from `close` on, or after a fault of its own."""
        return not self._board.closing

    @property
    def metrics(self) -> Metrics:
        """What is measured."""
        return self._board.metrics

    def stream(
        self,
        sample_rate: float,
        options: StreamOptions | None = None,
        listener: Callable[[], None] | None = None,
    ) -> LiveStream:
        """Open a stream for one recording of `sample_rate` Hz.

        Args:
            listener: called when there is something to read, when there is room again, and when
                the stream has ended; by a thread of the dispatcher, for which it must be quick.
                If it raises, its stream fails.
        """
        self._board.check_process()
        stream = LiveStream(
            self.transcriber,
            self._board,
            sample_rate,
            StreamOptions() if options is None else options,
            self._backlog,
            listener,
        )
        with self._board.lock:
            self._board.check_open()
            self._streams.add(stream)
            self.metrics.streams += 1
        return stream

    def async_stream(
        self, sample_rate: float, options: StreamOptions | None = None
    ) -> AsyncLiveStream:
        """Open a stream for asyncio, in a running event loop."""
        from ds2edge.serving.asynchronous import AsyncLiveStream  # late: asyncio is slow to import

        return AsyncLiveStream(self, sample_rate, options)

    def close(self, *, drain: bool = False, timeout: Seconds | None = None) -> None:
        """Take no more, and end the threads. What was said can still be read.

        Args:
            drain: finish every stream first, and wait until all of it is heard. Else what was not
                heard is dropped; to read a stream that was not finished then raises StreamError.
            timeout: seconds that draining may take; then the rest is dropped.
        """
        if not self._board.is_own_process:
            return
        with self._board.lock:
            self._board.closing = True
            streams = list(self._streams)
        for stream in streams:
            stream._wake()
        if drain:
            _drain(streams, timeout)
        self._stop(StreamError("the dispatcher was closed before the stream was finished"))
        for worker in self._workers:
            if worker is not threading.current_thread():
                worker.join()
        atexit.unregister(self.close)

    def __enter__(self) -> Dispatcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _hear(self) -> None:
        """Features and acoustic model: of whatever is due, as soon as the last batch is done."""
        while lanes := self._board.take_due(self._max_batch):
            self._hear_together(lanes)

    def _hear_together(self, lanes: Sequence[Lane]) -> None:
        batch = [(lane, step) for lane in lanes if (step := lane.next_step())]
        if not batch:
            return
        began = time.perf_counter()
        try:
            blocks = self._pipeline.hear([step for _, step in batch])
        except Exception as error:
            for lane, _ in batch:
                lane.fail(error)
            return
        done = time.perf_counter()
        self._note_batch([lane for lane, _ in batch], began, done)
        self._board.pass_on(
            [Stepped(*one, block) for one, block in zip(batch, blocks, strict=True)]
        )

    def _search(self) -> None:
        """The search, and what follows from it: of all that was heard meanwhile."""
        while stepped := self._board.take_stepped():
            began = time.perf_counter()
            self._advance(stepped)
            self.metrics.search.observe(time.perf_counter() - began)
            going = [one.lane for one in stepped if one.lane.resume(one.log_probs)]
            self._board.schedule_again(going)
            del stepped  # and what it holds of streams, which may end while this waits

    def _advance(self, stepped: Sequence[Stepped]) -> None:
        steps, blocks = [one.step for one in stepped], [one.log_probs for one in stepped]
        try:
            self._pipeline.search(steps, blocks, self._threads)
        except DecoderError as error:  # of one of them, and none has been searched
            if len(stepped) == 1:
                stepped[0].lane.fail(error)
            else:
                for one in stepped:
                    self._advance([one])

    def _note_batch(self, lanes: Sequence[Lane], began: float, done: float) -> None:
        self.metrics.batches[len(lanes)] += 1
        self.metrics.step.observe(done - began)
        for lane in lanes:
            if lane.arrived:
                self.metrics.queue.observe(began - lane.arrived)
                self.metrics.acoustic.observe(done - lane.arrived)
                lane.arrived = None  # of what is heard again, no more is noted

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # a fault of ours: nobody is to wait for ever
            log.exception("a dispatcher has failed")
            self._stop(error)

    def _stop(self, error: Exception) -> None:
        self._board.stop()
        for stream in list(self._streams):
            stream._drop(error)


def _drain(streams: Sequence[LiveStream], timeout: Seconds | None) -> None:
    end = None if timeout is None else time.monotonic() + timeout
    for stream in streams:
        stream._drain()
    for stream in streams:
        stream._wait_for_end(None if end is None else end - time.monotonic())
