"""Stream: one recording in the making, from samples to partial and final text."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import numpy.typing as npt

from ds2edge.audio import SampleInput, Samples
from ds2edge.errors import StreamError
from ds2edge.options import StreamOptions
from ds2edge.results import Event, Seconds
from ds2edge.segments import Segments

if TYPE_CHECKING:
    from ds2edge.transcriber import Transcriber


class Stream:
    """One recording in the making; used by one caller at a time.

    `feed`, `flush` and `finish` each complete their work and return what is new. Leaving the
    `with` closes the stream; it never finishes it.
    """

    def __init__(
        self, transcriber: Transcriber, sample_rate: float, options: StreamOptions | None = None
    ) -> None:
        """Use `Transcriber.stream`."""
        self._transcriber = transcriber
        self._segments = Segments(transcriber, StreamOptions() if options is None else options)
        self._input = SampleInput(sample_rate, transcriber.bundle.manifest.features.sample_rate)
        self._run = transcriber._pipeline.run
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._closed = ""

    @property
    def sample_rate(self) -> float:
        """Hz, of the samples fed."""
        return self._input.sample_rate

    @property
    def seconds(self) -> Seconds:
        """Audio taken so far."""
        return self._input.seconds

    @property
    def state_bytes(self) -> int:
        """Memory of the stream's state; it does not grow with the recording."""
        return self._segments.state.nbytes

    @property
    def options(self) -> StreamOptions:
        """As they are now."""
        return self._segments.options

    def feed(self, samples: Samples, dtype: npt.DTypeLike | None = None) -> list[Event]:
        """Take samples; returns the segments that ended and what is new of the open one.

        Args:
            samples: int16, int32, float32 or float64, shape = (n,) or (n, channels), of full
                scale or in -1..1; or bytes with their `dtype`.

        Raises:
            AudioError: the samples cannot be used; the stream is as it was before.
            StreamError: the stream is closed, finished, or in use by another thread.
        """
        with self._owned():
            finals = self._run(self._segments.advance(self._input.convert(samples, dtype)))
            return [*finals, *self._segments.partial()]

    def flush(self) -> list[Event]:
        """End the segment here; returns its `Final`. The stream goes on with a new segment."""
        with self._owned():
            events = self._run(self._segments.flush(self._input.finish(), self.seconds))
            self._input = self._input.restart()
            return events

    def finish(self) -> list[Event]:
        """End the recording; returns the `Final` of the last segment."""
        with self._owned():
            events = self._run(self._segments.finish(self._input.finish(), self.seconds))
            self._closed = "finished"
            return events

    def set_options(self, options: StreamOptions) -> None:
        """Go on with other options.

        Endpoints, phrases and weights change at once; another vocabulary or language model is
        used from the next segment on.

        Raises:
            ConfigError, DecoderError: an option is impossible; the stream is as it was before.
        """
        with self._owned():
            self._segments.use(options, self._transcriber.decoder(options))

    def close(self) -> None:
        """Drop what is not finished. Closing twice is fine."""
        self._closed = self._closed or "closed"

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise StreamError("a Stream cannot be pickled; pickle the Transcriber and open a new one")

    def check_open(self) -> None:
        """Raise StreamError if the stream is finished, closed or another process's."""
        if os.getpid() != self._process:
            raise StreamError("a Stream does not survive fork(); open it in the child process")
        if self._closed:
            raise StreamError(f"the stream is {self._closed}; open a new one")

    @contextmanager
    def _owned(self) -> Iterator[None]:
        """Refuse misuse before anything is touched."""
        self.check_open()
        if not self._lock.acquire(blocking=False):
            raise StreamError("the stream is in use by another thread; give each its own")
        try:
            self.check_open()  # the thread that had it may have finished it
            yield
        finally:
            self._lock.release()
