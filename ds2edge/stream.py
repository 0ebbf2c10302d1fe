"""Stream: one recording in the making, from samples to partial and final text."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import numpy.typing as npt

from ds2edge.audio import FloatArray, SampleInput, Samples
from ds2edge.audio_check import AudioCheck
from ds2edge.decoder import DecodedWord
from ds2edge.endpoint import Level, Silence, is_endpoint, is_too_long, widest_gap
from ds2edge.errors import DecoderError, StreamError
from ds2edge.options import StreamOptions
from ds2edge.results import Alternative, Event, Final, Partial, Seconds, Word

if TYPE_CHECKING:
    from ds2edge.transcriber import Transcriber


LOOK_BEHIND = 3.0  # s that a segment without a pause may be cut back, to the end of a word


class Stream:
    """One recording in the making; used by one caller at a time.

    `feed`, `flush` and `finish` each complete their work and return what is new. Leaving the
    `with` closes the stream; it never finishes it.
    """

    _recent: FloatArray  # the segment's last samples, at most LOOK_BEHIND seconds
    _silence: Silence  # in the segment

    def __init__(
        self, transcriber: Transcriber, sample_rate: float, options: StreamOptions | None = None
    ) -> None:
        """Use `Transcriber.stream`."""
        self._transcriber = transcriber
        self._pipeline = transcriber._pipeline
        self._options = StreamOptions() if options is None else options
        self._decoder = transcriber.decoder(self._options)
        self._delay = transcriber.bundle.manifest.delay
        self._rate = transcriber.bundle.manifest.features.sample_rate
        self._input = SampleInput(sample_rate, self._rate)
        self._input_start: Seconds = 0.0  # where the input begins in the stream
        self._taken = 0  # of its samples, at the model's rate
        self._kept = round(LOOK_BEHIND * self._rate)  # samples
        self._level = Level()
        self._check = AudioCheck(self._rate)
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._closed = ""
        self._segment = -1
        self._begin_segment()

    @property
    def sample_rate(self) -> float:
        """Hz, of the samples fed."""
        return self._input.sample_rate

    @property
    def seconds(self) -> Seconds:
        """Audio taken so far."""
        return self._input_start + self._input.seconds

    @property
    def state_bytes(self) -> int:
        """Memory of the stream's state; it does not grow with the recording."""
        return self._state.nbytes

    @property
    def options(self) -> StreamOptions:
        """As they are now."""
        return self._options

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
            return [*self._advance(self._input.convert(samples, dtype)), *self._partial()]

    def flush(self) -> list[Event]:
        """End the segment here; returns its `Final`. The stream goes on with a new segment."""
        with self._owned():
            events = self._end_input()
            self._input_start = self.seconds
            self._input, self._taken = self._input.restart(), 0
            self._begin_segment()
            return events

    def finish(self) -> list[Event]:
        """End the recording; returns the `Final` of the last segment."""
        with self._owned():
            events = self._end_input()
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
            decoder = self._transcriber.decoder(options)
            self._options, self._decoder = options, decoder
            with suppress(DecoderError):  # other words: the open segment ends with its own
                self._state.decoder.use(decoder)

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

    def _advance(self, samples: FloatArray) -> list[Event]:
        """Chunk by chunk, so that segments end at the same samples however these are cut."""
        finals: list[Event] = []
        self._check.hear(samples)
        waiting = [samples]  # what comes first stands last
        while waiting:
            samples = waiting.pop()
            piece = samples[: self._pipeline.samples_needed(self._state)]
            if len(piece) < len(samples):
                waiting.append(samples[len(piece) :])
            self._taken += len(piece)
            self._recent = np.concatenate([self._recent, piece])[-self._kept :]
            for log_probs in self._pipeline.advance(self._state, piece):
                powers = self._state.features.powers
                for power in powers.tolist():
                    self._level.hear(power, self._pipeline.seconds_per_chunk / len(powers))
                self._silence.hear(log_probs, self._pipeline.seconds_per_output)
                if self._is_endpoint():
                    behind = round(self._seconds_behind() * self._rate)
                    waiting.append(self._recent[len(self._recent) - behind :])
                    self._taken -= behind
                    finals.append(self._end_segment(self._position))
                    self._begin_segment()
        return finals

    def _seconds_behind(self) -> Seconds:
        """Where the next segment begins: no further back than makes each segment go forward."""
        kept = min(len(self._recent) / self._rate, (self._position - self._start) / 2)
        look_ahead = self._pipeline.look_ahead
        if not is_too_long(self._silence, self._options, look_ahead):
            # In the middle of what is quiet: a word may begin, too faint to be loud yet.
            return min(self._level.since + min(self._level.quiet, look_ahead) / 2, kept)
        # Partials promised the stable words, which therefore stay.
        words = [*self._take_stable()[-1:], *self._open_words()]
        gap = widest_gap(words, self._position - kept)
        return 0.0 if gap is None else self._position - gap

    def _is_endpoint(self) -> bool:
        look_ahead = self._pipeline.look_ahead
        return is_endpoint(self._silence, self._level, self._options, look_ahead, self._has_words)

    def _has_words(self) -> bool:
        return bool(self._take_stable() or self._open_words())

    def _begin_segment(self) -> None:
        self._segment += 1
        self._start = self._position
        self._state = self._pipeline.start(self._decoder)
        self._recent = np.zeros(0, np.float32)
        self._silence = Silence()
        self._stable: list[Word] = []  # words that never change again
        self._last: Partial | None = None

    @property
    def _position(self) -> Seconds:
        # The resampler rounds, up to half a sample beyond what was fed.
        return min(self._input_start + self._taken / self._rate, self.seconds)

    def _take_stable(self) -> list[Word]:
        self._stable += self._words(self._state.decoder.commit(), self._position)
        return self._stable

    def _open_words(self) -> list[Word]:
        return self._words(self._state.decoder.words(), self._position)

    def _partial(self) -> list[Event]:
        stable = self._take_stable()
        words = (*stable, *self._open_words())
        partial = Partial(self._segment, words, len(stable))
        if partial == self._last or not (words or self._last):
            return []
        self._last = partial
        return [partial]

    def _end_input(self) -> list[Event]:
        finals = self._advance(self._input.finish())
        return [*finals, self._end_segment(self.seconds)]

    def _end_segment(self, end: Seconds) -> Final:
        self._pipeline.finish(self._state)
        stable = (*self._stable, *self._words(self._state.decoder.commit(), end))
        readings: dict[str, Alternative] = {}  # by text: cut off at `end`, some may be the same
        for found in self._state.decoder.finish(1 + self._options.alternatives):
            reading = Alternative((*stable, *self._words(found.words, end)), found.score)
            readings.setdefault(reading.text, reading)
        best, *others = readings.values()
        return Final(self._segment, best.words, self._start, end, tuple(others))

    def _words(self, decoded: Iterable[DecodedWord], end: Seconds) -> list[Word]:
        """Frames to seconds from the stream's start. The segment ends at `end`, and with it its
        words: what begins later is the next segment's."""
        step, delay, start = self._pipeline.seconds_per_output, self._delay, self._start

        def seconds(frame: int) -> Seconds:
            return max(start, round(start + frame * step - delay, 3))  # ms, for people to read

        return [
            Word(
                word.text,
                seconds(word.start_frame),
                min(seconds(word.end_frame), end),
                word.confidence,
            )
            for word in decoded
            if seconds(word.start_frame) < end
        ]
