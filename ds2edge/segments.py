"""Segments of one recording: samples at the model's rate to partial and final text.

All that decides what a stream says stands here; what waits, converts samples or shares out the
work stands around it. A method that needs the model returns `Work`, to be done before the next.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from ds2edge._native import join
from ds2edge.audio import FloatArray
from ds2edge.audio_check import AudioCheck
from ds2edge.decoder import DecodedWord, Decoder
from ds2edge.endpoint import Level, Silence, is_endpoint, is_too_long, widest_gap
from ds2edge.errors import DecoderError
from ds2edge.options import StreamOptions
from ds2edge.pipeline import PipelineState, Work
from ds2edge.results import Alternative, Event, Final, Partial, Seconds, Word, join_letters

if TYPE_CHECKING:
    from ds2edge.transcriber import Transcriber

LOOK_BEHIND = 3.0  # s that a segment without a pause may be cut back, to the end of a word


class Segments:
    """One recording, cut where speech ends."""

    state: PipelineState  # of the open segment
    _last: Partial | None  # of the open segment

    def __init__(self, transcriber: Transcriber, options: StreamOptions) -> None:
        """Raises ConfigError or DecoderError if an option is impossible."""
        manifest = transcriber.bundle.manifest
        self.options, self._decoder = options, transcriber.decoder(options)
        self._pipeline = transcriber._pipeline
        self._delay, self._language = manifest.delay, manifest.language
        self._spaced = manifest.tokens.space is not None
        self._rate = manifest.features.sample_rate
        self._input_start: Seconds = 0.0  # where the input begins in the stream
        self._input_end: Seconds = math.inf  # and where it ends, if that is known
        self._taken = 0  # of its samples, at the model's rate
        self._level = Level()
        self._check = AudioCheck(self._rate)
        self._segment = -1
        self._begin_segment()

    @property
    def samples_needed(self) -> int:
        """Samples that complete the next chunk of the step grid."""
        return self._pipeline.samples_needed(self.state)

    def advance(self, samples: FloatArray) -> Work[list[Event]]:
        """Take mono samples, in any pieces; returns the `Final` of each segment that ended.

        Chunk by chunk, so that segments end at the same samples however these are cut.
        """
        finals: list[Event] = []
        self._check.hear(samples)
        waiting = [samples]  # what comes first stands last
        while waiting:
            samples = waiting.pop()
            piece = samples[: self.samples_needed]
            if len(piece) < len(samples):
                waiting.append(samples[len(piece) :])
            self._taken += len(piece)
            self._recent.add(piece)
            for log_probs in (yield from self._pipeline.advance(self.state, piece)):
                powers = self.state.features.powers
                for power in powers.tolist():
                    self._level.hear(power, self._pipeline.seconds_per_chunk / len(powers))
                self._silence.hear(log_probs, self._pipeline.seconds_per_output)
                if self._is_endpoint():
                    behind = round(self._seconds_behind() * self._rate)
                    waiting.append(self._recent.last(behind))
                    self._taken -= behind
                    finals.append((yield from self._end_segment(self._position)))
                    self._begin_segment()
        return finals

    def partial(self) -> list[Event]:
        """What is new of the open segment, if anything is."""
        stable = self._take_stable()
        words = self._joined([*stable, *self._open_words()])
        count = len(self._joined(stable, more=True))
        partial = Partial(self._segment, words, count, self._language)
        if partial == self._last or not (words or self._last):
            return []
        self._last = partial
        return [partial]

    def flush(self, samples: FloatArray, seconds: Seconds) -> Work[list[Event]]:
        """End the segment with the last samples of the input; returns its `Final`.

        Args:
            seconds: length of the stream so far. Resampled, it may be half a sample longer.
        """
        events = yield from self.finish(samples, seconds)
        self._input_start, self._taken, self._input_end = seconds, 0, math.inf
        self._begin_segment()
        return events

    def finish(self, samples: FloatArray, seconds: Seconds) -> Work[list[Event]]:
        """End the recording; else as `flush`."""
        self._input_end = seconds
        finals = yield from self.advance(samples)
        final = yield from self._end_segment(seconds)
        return [*finals, final]

    def use(self, options: StreamOptions, decoder: Decoder) -> None:
        """Go on with other options, and the decoder that belongs to them."""
        self.options, self._decoder = options, decoder
        with suppress(DecoderError):  # other words: the open segment ends with its own
            self.state.decoder.use(decoder)

    def _seconds_behind(self) -> Seconds:
        """Where the next segment begins: no further back than makes each segment go forward."""
        kept = min(len(self._recent) / self._rate, (self._position - self._start) / 2)
        look_ahead = self._pipeline.look_ahead
        if not is_too_long(self._silence, self.options, look_ahead):
            # In the middle of what is quiet: a word may begin, too faint to be loud yet.
            return min(self._level.since + min(self._level.quiet, look_ahead) / 2, kept)
        # Partials promised the stable words, which therefore stay.
        words = [*self._take_stable()[-1:], *self._open_words()]
        gap = widest_gap(words, self._position - kept)
        return 0.0 if gap is None else self._position - gap

    def _is_endpoint(self) -> bool:
        look_ahead = self._pipeline.look_ahead
        return is_endpoint(self._silence, self._level, self.options, look_ahead, self._has_words)

    def _has_words(self) -> bool:
        return bool(self._take_stable() or self._open_words())

    def _begin_segment(self) -> None:
        self._segment += 1
        self._start = self._position
        self.state = self._pipeline.start(self._decoder)
        self._recent = _Recent(round(LOOK_BEHIND * self._rate), self.samples_needed)
        self._silence = Silence()
        self._stable: list[Word] = []  # words that never change again
        self._last = None

    @property
    def _position(self) -> Seconds:
        # The resampler rounds, up to half a sample beyond what was fed.
        return min(self._input_start + self._taken / self._rate, self._input_end)

    def _take_stable(self) -> list[Word]:
        self._stable += self._words(self.state.decoder.commit(), self._position)
        return self._stable

    def _open_words(self) -> list[Word]:
        return self._words(self.state.decoder.words(), self._position)

    def _end_segment(self, end: Seconds) -> Work[Final]:
        yield from self._pipeline.finish(self.state)
        stable = (*self._stable, *self._words(self.state.decoder.commit(), end))
        readings: dict[str, Alternative] = {}  # by text: cut off at `end`, some may be the same
        for found in self.state.decoder.finish(1 + self.options.alternatives):
            words = self._joined([*stable, *self._words(found.words, end)])
            reading = Alternative(words, found.score)
            readings.setdefault(reading.text, reading)
        best, *others = readings.values()
        return Final(self._segment, best.words, self._start, end, tuple(others), self._language)

    def _joined(self, words: Sequence[Word], more: bool = False) -> tuple[Word, ...]:
        """Letters to words, where the token set writes no spaces; see `join_letters`."""
        return tuple(words) if self._spaced else join_letters(words, more)

    def _words(self, decoded: Iterable[DecodedWord], end: Seconds) -> list[Word]:
        """Frames to seconds from the stream's start. The segment ends at `end`, and with it its
        words: what begins later is the next segment's."""
        step, delay, start = self._pipeline.seconds_per_output, self._delay, self._start

        def seconds(frame: int) -> Seconds:
            return max(start, round(start + frame * step - delay, 3))  # ms, for people to read

        words = []
        for word in decoded:
            begin = seconds(word.start_frame)
            if begin < end:
                last = min(seconds(word.end_frame), end)
                words.append(Word(word.text, begin, last, word.confidence))
        return words


class _Recent:
    """The last samples of a segment. To add some costs the same, however many are kept."""

    def __init__(self, most: int, piece: int) -> None:
        """Keep up to `most` samples, in pieces of at least `piece`."""
        self._most, self._piece = most, piece
        self._pieces: deque[FloatArray] = deque([np.zeros(0, np.float32)])
        self._length = 0  # of all pieces

    def __len__(self) -> int:
        return min(self._length, self._most)

    def add(self, samples: FloatArray) -> None:
        """Append copies of samples; shape = (n,)."""
        self._length += len(samples)
        last = [self._pieces.pop()] if len(self._pieces[-1]) < self._piece else []
        self._pieces.append(join([*last, samples]))
        while self._length - len(self._pieces[0]) >= self._most:
            self._length -= len(self._pieces.popleft())

    def last(self, count: int) -> FloatArray:
        """The latest of those that are kept; shape = (count,)."""
        return np.concatenate(self._pieces)[self._length - count :]
