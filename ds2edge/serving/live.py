"""LiveStream: a stream whose work is done by a dispatcher, together with that of others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy.typing as npt

from ds2edge.audio import SampleInput, Samples
from ds2edge.decoder import Decoder
from ds2edge.errors import BacklogError, StreamError
from ds2edge.options import StreamOptions
from ds2edge.results import Event, Seconds
from ds2edge.segments import Segments
from ds2edge.serving.board import Board
from ds2edge.serving.lane import Begin, Lane
from ds2edge.transcriber import Transcriber


class LiveStream:
    """As `Stream`, but nothing waits for the recogniser. What is said is read by iterating::

        stream.push(samples)
        stream.finish()
        for event in stream:
            ...

    or by `take`, at any time and from any thread. A `Partial` that nobody has read yet gives way
    to what follows it; each `Final` is kept. `push`, `flush`, `finish` and `set_options` are for
    one caller at a time, and done in the order of the calls. Leaving the `with` closes the stream.
    """

    def __init__(
        self,
        transcriber: Transcriber,
        board: Board,
        sample_rate: float,
        options: StreamOptions,
        backlog: Seconds,
        listener: Callable[[], None] | None,
    ) -> None:
        """Use `Dispatcher.stream`."""
        rate = transcriber.bundle.manifest.features.sample_rate
        self._input = SampleInput(sample_rate, rate)
        self._transcriber, self._board, self._options = transcriber, board, options
        segments = Segments(transcriber, options)
        self._lane = Lane(board, segments, round(backlog * rate), listener)
        self._caller = threading.Lock()
        self._closed = ""

    @property
    def sample_rate(self) -> float:
        """Hz, of the samples pushed."""
        return self._input.sample_rate

    @property
    def seconds(self) -> Seconds:
        """Audio taken so far; part of it may still wait to be heard."""
        return self._input.seconds

    @property
    def options(self) -> StreamOptions:
        """That count for what is pushed next."""
        return self._options

    @property
    def ended(self) -> bool:
        """There are no events to be read, and there will be none."""
        self._board.check_process()
        with self._board.lock:
            return self._lane.ended and not self._lane.has_events

    def push(
        self, samples: Samples, dtype: npt.DTypeLike | None = None, *, wait: bool = True
    ) -> None:
        """Let samples wait to be heard.

        Args:
            samples: of any length, as `Stream.feed` takes them.
            wait: until there is room, where as much audio waits as the dispatcher allows.

        Raises:
            AudioError: the samples cannot be used; the stream is as it was before.
            BacklogError: there is no room, and `wait` is False; the stream is as it was before.
            StreamError: the stream is finished, closed or failed, or in use by another thread.
        """
        with self._turn(wait):
            before = self.seconds
            heard = self._input.convert(samples, dtype)
            with self._board.lock:
                self._check_open()
                self._board.metrics.taken += self.seconds - before
                self._lane.put(heard)
                self._board.schedule(self._lane)

    def flush(self, *, wait: bool = True) -> None:
        """End the segment here. The stream goes on with a new one. Else as `push`."""
        with self._turn(wait):
            samples, seconds = self._input.finish(), self.seconds
            self._input = self._input.restart()
            self._do(lambda segments: segments.flush(samples, seconds))

    def set_options(self, options: StreamOptions, *, wait: bool = True) -> None:
        """Go on with other options from here on, as `Stream.set_options`. Else as `push`.

        Raises:
            ConfigError, DecoderError: an option is impossible; the stream is as it was before.
        """
        self.use(options, self._transcriber.decoder(options), wait=wait)

    def use(self, options: StreamOptions, decoder: Decoder, *, wait: bool = True) -> None:
        """As `set_options`, with the decoder that `Transcriber.decoder` makes of the options."""
        with self._turn(wait):
            self._options = options
            self._do(lambda segments: segments.use(options, decoder))

    def finish(self) -> None:
        """End the recording. When it has been heard, the last `Final` comes, and no more events."""
        with self._turn(None):
            self._finish()

    def close(self) -> None:
        """Drop what was not heard yet, and what nobody has read. Closing twice is fine."""
        if self._board.is_own_process:
            with self._board.lock:
                self._closed = self._closed or "closed"
                self._board.metrics.dropped += not self._lane.ended
                self._lane.take_events()
                self._lane.end()

    def take(self) -> list[Event]:
        """What was said since it was last read; does not wait.

        Raises:
            Ds2edgeError: that ended the stream, when all that was said before has been read.
        """
        self._board.check_process()
        with self._board.lock:
            return self._take()

    def __iter__(self) -> Iterator[Event]:
        """What is said, until the stream is finished or closed; waits. Raises as `take`."""
        while events := self._wait():
            yield from events

    def __enter__(self) -> LiveStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait(self) -> list[Event]:
        self._board.check_process()
        with self._board.lock:
            self._lane.changed.wait_for(lambda: self._lane.has_events or self._lane.ended)
            return self._take()

    def _take(self) -> list[Event]:
        if not self._lane.has_events and self._lane.error:
            raise self._lane.error
        events = self._lane.take_events()
        self._board.schedule(self._lane)  # it may have waited for its reader
        return events

    def _finish(self) -> None:
        samples, seconds = self._input.finish(), self.seconds
        self._closed = "finished"
        self._do(lambda segments: segments.finish(samples, seconds), is_last=True)

    def _do(self, begin: Begin, is_last: bool = False) -> None:
        with self._board.lock:
            self._lane.put_work(begin)
            self._lane.finishing = is_last
            self._board.schedule(self._lane)

    @contextmanager
    def _turn(self, wait: bool | None) -> Iterator[None]:
        """Refuse misuse, and wait for room, before anything is touched; None: it needs no room."""
        self._board.check_process()
        if not self._caller.acquire(blocking=False):
            raise StreamError("the stream is in use by another thread; give each its own")
        try:
            with self._board.lock:
                self._check_open()
                while wait is not None and not self._lane.has_room:
                    if not wait:
                        raise BacklogError("too much waits to be heard; push again later, or wait")
                    self._lane.changed.wait()
                    self._check_open()
            yield
        finally:
            self._caller.release()

    def _check_open(self) -> None:
        self._board.check_open()
        if self._closed:
            raise StreamError(f"the stream is {self._closed}; open a new one")
        if self._lane.error:
            raise StreamError(f"the stream has failed: {self._lane.error}") from self._lane.error

    # ---- for the dispatcher, when it closes

    def _drain(self) -> None:
        """Finish, unless that has been done."""
        with self._caller:  # who waited for room has given up
            with self._board.lock:
                self._lane.hurried = True
                self._board.schedule(self._lane)
                is_open = not self._closed and not self._lane.ended
            if is_open:
                self._finish()

    def _wake(self) -> None:
        """Let who waits for room find that there will be none."""
        with self._board.lock:
            self._lane.changed.notify_all()

    def _wait_for_end(self, timeout: Seconds | None) -> None:
        """Wait until all has been heard, at most so long."""
        with self._board.lock:
            self._lane.changed.wait_for(lambda: self._lane.ended, timeout)

    def _drop(self, error: Exception) -> None:
        """End, with an error for who reads."""
        with self._board.lock:
            self._board.metrics.dropped += not self._lane.ended
            self._lane.end(error)
        self._lane.tell()
