"""Transcriber, Stream and StreamOptions: the public face over the pipeline."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NoReturn, TypeAlias

import numpy as np
import numpy.typing as npt

from ds2edge.audio import SampleInput, Samples, open_audio
from ds2edge.bundle import Bundle, load_bundle
from ds2edge.decoder import DecodedWord, Decoder
from ds2edge.errors import AudioError, ConfigError, StreamError
from ds2edge.pipeline import load_decoder, load_letters, load_pipeline
from ds2edge.results import Final, Partial, Seconds, Transcript, Word

Event: TypeAlias = Partial | Final
Progress: TypeAlias = Callable[[Seconds, Seconds], None]  # seconds done, seconds in all

BLOCK_SECONDS = 1.0  # of a file or buffer, fed at once


def _option(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class StreamOptions:
    """What can differ from stream to stream. None: as the bundle was tuned."""

    language_model: bool = _option(True, "use the bundle's lexicon and language model")
    alpha: float | None = _option(None, "weight of the language model")
    beta: float | None = _option(None, "added to the score for each word")
    beam: int | None = _option(None, "hypotheses kept at each step")


class Transcriber:
    """A loaded bundle. Immutable: share it between threads, open a stream for each recording.

    Args:
        bundle: "en" for the embedded English one, the path of a bundle folder or .ds2 file, or a
            loaded `Bundle`.

    Raises:
        BundleError: the bundle is missing, damaged or incomplete.
        BackendError: no runtime can run its model.
    """

    def __init__(self, bundle: str | os.PathLike[str] | Bundle = "en") -> None:
        self.bundle = load_bundle(bundle)
        self._reference = self.bundle.folder if isinstance(bundle, Bundle) else bundle
        self._pipeline = load_pipeline(self.bundle)
        self._decoder = load_decoder(self.bundle)
        self._process = os.getpid()

    def transcribe(
        self,
        source: str | os.PathLike[str] | npt.NDArray[Any],
        sample_rate: float | None = None,
        options: StreamOptions | None = None,
        progress: Progress | None = None,
    ) -> Transcript:
        """Transcribe a file, or an array of samples with its `sample_rate` in Hz.

        Args:
            source: a path, or samples as `Stream.feed` takes them.
            sample_rate: of an array; a file has its own.
            progress: called with seconds done and seconds in all.

        Raises:
            AudioError: the file or the samples cannot be used.
        """
        if isinstance(source, str | os.PathLike):
            if sample_rate is not None:
                raise AudioError(f"{os.fspath(source)} has its own rate; sample_rate is for arrays")
            with open_audio(source) as file:
                blocks = file.blocks(BLOCK_SECONDS)
                return self._transcribe(blocks, file.sample_rate, file.seconds, options, progress)
        if not isinstance(source, np.ndarray) or source.ndim == 0:
            raise AudioError(
                f"needed a path or a NumPy array of samples, got {type(source).__name__}"
            )
        if sample_rate is None:
            raise AudioError("samples without a header need sample_rate= in Hz")
        rate = SampleInput(sample_rate, sample_rate).sample_rate  # checked
        length = max(1, round(rate * BLOCK_SECONDS))
        pieces = (source[i : i + length] for i in range(0, max(1, len(source)), length))
        return self._transcribe(pieces, rate, len(source) / rate, options, progress)

    def events(
        self,
        blocks: Iterable[Samples],
        sample_rate: float,
        options: StreamOptions | None = None,
    ) -> Iterator[Event]:
        """Transcribe blocks of samples as they come; partials and finals, in order."""
        with self.stream(sample_rate, options) as stream:
            for block in blocks:
                yield from stream.feed(block)
            yield from stream.finish()

    def stream(self, sample_rate: float, options: StreamOptions | None = None) -> Stream:
        """Open a stream for one recording of `sample_rate` Hz."""
        if os.getpid() != self._process:
            raise StreamError("a Transcriber does not survive fork(); make it in the child process")
        if not isinstance(options, StreamOptions | None):
            raise ConfigError(f"options must be StreamOptions, got {type(options).__name__}")
        return Stream(self, sample_rate, options or StreamOptions())

    def info(self) -> dict[str, Any]:
        """What is loaded: bundle, runtime, model, language model, figures."""
        bundle, manifest = self.bundle, self.bundle.manifest
        grid, step = manifest.grid, self._pipeline.seconds_per_output
        return {
            "bundle": manifest.name,
            "path": str(bundle.folder),
            "megabytes": round(bundle.size / 1e6, 2),
            "runtime": self._pipeline.backend.description,
            "sample_rate": manifest.features.sample_rate,
            "tokens": len(manifest.tokens),
            "seconds_per_output": step,
            "look_ahead_seconds": round(grid.look_ahead * step, 4),
            "chunk_seconds": round(grid.chunk_outputs * step, 4),
            "language_model": manifest.language_model,
            "decoder": manifest.decoder.plain(),
            "training": {
                name: manifest.training.get(name) for name in ("corpora", "epochs", "dev_cer")
            },
            "accuracy": manifest.accuracy,
            "parity": manifest.parity,
            "licence": manifest.licence,
        }

    def _transcribe(
        self,
        blocks: Iterable[Samples],
        sample_rate: float,
        seconds: Seconds,
        options: StreamOptions | None,
        progress: Progress | None,
    ) -> Transcript:
        finals: list[Event] = []  # of a long recording the partials would fill the memory
        with self.stream(sample_rate, options) as stream:
            for block in blocks:
                finals += [event for event in stream.feed(block) if isinstance(event, Final)]
                if progress:
                    progress(stream.seconds, max(seconds, stream.seconds))
            finals += stream.finish()
            return Transcript.from_events(finals, stream.seconds)

    def _decoder_for(self, options: StreamOptions) -> Decoder:
        decoder = self._decoder if options.language_model else self._letters
        given = {n: getattr(options, n) for n in ("alpha", "beta", "beam")}
        changed = {n: value for n, value in given.items() if value is not None}
        return decoder.with_options(replace(decoder.options, **changed)) if changed else decoder

    @cached_property
    def _letters(self) -> Decoder:
        return load_letters(self.bundle)

    def __reduce__(self) -> tuple[Any, ...]:
        return Transcriber, (self._reference,)


class Stream:
    """One recording in the making; used by one caller at a time.

    `feed`, `flush` and `finish` each complete their work and return what is new. Leaving the
    `with` closes the stream; it never finishes it.
    """

    def __init__(
        self, transcriber: Transcriber, sample_rate: float, options: StreamOptions
    ) -> None:
        """Use `Transcriber.stream`."""
        self._pipeline = transcriber._pipeline
        self._decoder = transcriber._decoder_for(options)
        self._delay = transcriber.bundle.manifest.delay
        model_rate = transcriber.bundle.manifest.features.sample_rate
        self._input = SampleInput(sample_rate, model_rate)
        self._state = self._pipeline.start(self._decoder)
        self._segment = 0
        self._offset: Seconds = 0.0  # where the open segment begins
        self._stable: list[Word] = []  # words of the open segment that never change again
        self._last: Partial | None = None
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
        return self._offset + self._input.seconds

    @property
    def state_bytes(self) -> int:
        """Memory of the stream's state; it does not grow with the recording."""
        return self._state.nbytes

    def feed(self, samples: Samples, dtype: npt.DTypeLike | None = None) -> list[Event]:
        """Take samples; returns a `Partial` if the text changed, else nothing.

        Args:
            samples: int16, int32, float32 or float64, shape = (n,) or (n, channels), of full
                scale or in -1..1; or bytes with their `dtype`.

        Raises:
            AudioError: the samples cannot be used; the stream is as it was before.
            StreamError: the stream is closed, finished, or in use by another thread.
        """
        with self._owned():
            self._pipeline.advance(self._state, self._input.convert(samples, dtype))
            return self._partial()

    def flush(self) -> list[Event]:
        """End the segment here; returns its `Final`. The stream goes on with a new segment."""
        with self._owned():
            final = self._end_segment()
            self._offset = final.end
            self._input = self._input.restart()
            self._state = self._pipeline.start(self._decoder)
            return [final]

    def finish(self) -> list[Event]:
        """End the recording; returns the `Final` of the last segment."""
        with self._owned():
            final = self._end_segment()
            self._closed = "finished"
            return [final]

    def close(self) -> None:
        """Drop what is not finished. Closing twice is fine."""
        self._closed = self._closed or "closed"

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise StreamError("a Stream cannot be pickled; pickle the Transcriber and open a new one")

    @contextmanager
    def _owned(self) -> Iterator[None]:
        """Refuse misuse before anything is touched."""
        if self._closed:
            raise StreamError(f"the stream is {self._closed}; open a new one")
        if os.getpid() != self._process:
            raise StreamError("a Stream does not survive fork(); open it in the child process")
        if not self._lock.acquire(blocking=False):
            raise StreamError("the stream is in use by another thread; give each its own")
        try:
            yield
        finally:
            self._lock.release()

    def _partial(self) -> list[Event]:
        self._stable += self._words(self._state.decoder.commit())
        words = (*self._stable, *self._words(self._state.decoder.words()))
        partial = Partial(self._segment, words, len(self._stable))
        if partial == self._last or not (words or self._last):
            return []
        self._last = partial
        return [partial]

    def _end_segment(self) -> Final:
        self._pipeline.advance(self._state, self._input.finish())
        self._pipeline.finish(self._state)
        self._stable += self._words(self._state.decoder.commit())
        best = self._state.decoder.finish()
        rest = self._words(best[0].words) if best else []
        final = Final(self._segment, (*self._stable, *rest), self._offset, self.seconds)
        self._stable, self._last = [], None
        self._segment += 1
        return final

    def _words(self, decoded: Iterable[DecodedWord]) -> list[Word]:
        """Frames to seconds from the stream's start."""
        step, delay = self._pipeline.seconds_per_output, self._delay
        first, last = self._offset, self.seconds

        def seconds(frame: int) -> Seconds:
            return min(max(first, first + frame * step - delay), last)

        return [
            Word(word.text, seconds(word.start_frame), seconds(word.end_frame), word.confidence)
            for word in decoded
        ]
