"""Transcriber: a loaded bundle, and what it is used for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ds2edge.audio import SampleInput, Samples
from ds2edge.bundle import Bundle, load_bundle
from ds2edge.decoder import Decoder, SearchOptions
from ds2edge.errors import AudioError, ConfigError, StreamError
from ds2edge.options import (
    BackendOptions,
    Device,
    Library,
    Precision,
    RuntimeName,
    StreamOptions,
)
from ds2edge.pipeline import load_decoder, load_letters, load_pipeline
from ds2edge.results import Event, Final, Seconds, Transcript
from ds2edge.stream import Stream
from ds2edge.text import spoken

if TYPE_CHECKING:
    from ds2edge.asynchronous import AsyncStream

Progress: TypeAlias = Callable[[Seconds, Seconds], None]  # seconds done, seconds in all

BLOCK_SECONDS = 1.0  # of a file or buffer, fed at once
# Few phrases are searched without pruning: one that is badly heard has nobody to lose against but
# the empty text. So it needs a bonus, too, which no word of noise reaches.
CLOSED: Mapping[str, float] = {"cutoff": 1.0, "threshold": 50.0, "beta": 4.0}


class Transcriber:
    """A loaded bundle. Immutable: share it between threads, open a stream for each recording.

    Args:
        bundle: "en" for the embedded English one, the path of a bundle folder or .ds2 file, or a
            loaded `Bundle`.
        backend: what runs the acoustic model on the CPU; auto: the fastest that is installed.
        device: auto: the CPU, or a GPU where there is one that is faster.
        precision: of the acoustic model; auto: the fastest that the bundle has.
        strict: fail where the GPU or delegate that was asked for cannot be used. Else the CPU
            is, and a warning is logged.
        delegate: path of a library that tflite-runtime gives the model to, for a GPU say.

    Raises:
        BundleError: the bundle is missing, damaged or incomplete.
        BackendError: no runtime can run its model, or not as asked.
        ConfigError: an option is impossible.
    """

    def __init__(
        self,
        bundle: str | os.PathLike[str] | Bundle = "en",
        *,
        backend: RuntimeName = "auto",
        device: Device = "auto",
        precision: Precision = "auto",
        strict: bool = False,
        delegate: Library | None = None,
    ) -> None:
        self._how = BackendOptions(backend, device, precision, strict, delegate)
        self.bundle = load_bundle(bundle)
        self._reference = self.bundle.folder if isinstance(bundle, Bundle) else bundle
        self._pipeline = load_pipeline(self.bundle, self._how)
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
            from ds2edge.audio_file import open_audio  # late: libsndfile takes time to load

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
        sample_rate: float | None = None,
        options: StreamOptions | None = None,
    ) -> Iterator[Event]:
        """Transcribe blocks of samples as they come; partials and finals, in order.

        Args:
            blocks: samples as `Stream.feed` takes them, or a `Microphone`.
            sample_rate: of them, in Hz; a `Microphone` has its own.

        Raises:
            AudioError: the samples cannot be used, or `blocks` has another `sample_rate`, or
                changes it.
        """
        rate: Any = getattr(blocks, "sample_rate", None) if sample_rate is None else sample_rate
        with self.stream(rate, options) as stream:
            for block in blocks:
                own = getattr(blocks, "sample_rate", rate)
                if own != rate:
                    raise AudioError(f"the stream takes {rate} Hz, got blocks of {own} Hz")
                yield from stream.feed(block)
            yield from stream.finish()

    def stream(self, sample_rate: float, options: StreamOptions | None = None) -> Stream:
        """Open a stream for one recording of `sample_rate` Hz."""
        if os.getpid() != self._process:
            raise StreamError("a Transcriber does not survive fork(); make it in the child process")
        return Stream(self, sample_rate, options)

    def async_stream(self, sample_rate: float, options: StreamOptions | None = None) -> AsyncStream:
        """Open a stream for asyncio; it works in a thread of its own."""
        from ds2edge.asynchronous import AsyncStream  # late: asyncio is slow to import

        return AsyncStream(self.stream(sample_rate, options))

    def info(self) -> dict[str, Any]:
        """What is loaded: bundle, runtime, model, language model, figures."""
        bundle, manifest = self.bundle, self.bundle.manifest
        grid, step = manifest.grid, self._pipeline.seconds_per_output
        return {
            "bundle": manifest.name,
            "path": str(bundle.folder),
            "megabytes": round(bundle.size / 1e6, 2),
            "runtime": self._pipeline.backend.description,
            "backend": self._pipeline.loaded.report(),
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

    def decoder(self, options: StreamOptions) -> Decoder:
        """What a stream with these options searches; it shares lexicon and language model.

        Raises:
            ConfigError, DecoderError: an option is impossible, or a phrase cannot be spelled.
        """
        if not isinstance(options, StreamOptions):
            raise ConfigError(f"options must be StreamOptions, got {type(options).__name__}")
        decoder = self._decoder if options.language_model else self._letters
        if options.vocabulary:
            decoder = decoder.with_vocabulary(map(spoken, options.vocabulary))
        else:
            phrases = {spoken(phrase): 0.0 for phrase in options.add_words}
            phrases |= {spoken(phrase): boost for phrase, boost in options.boost.items()}
            decoder = decoder.with_phrases(phrases) if phrases else decoder
        given = {n: getattr(options, n) for n in ("alpha", "beta", "beam", "unknown")}
        changed: dict[str, Any] = dict(CLOSED) if options.vocabulary else {}
        changed |= {n: value for n, value in given.items() if value is not None}
        if options.vocabulary or options.add_words or options.boost or options.alternatives:
            # What is committed is in no phrase any more that begins with it, and has no other
            # reading.
            least = SearchOptions().max_ambiguity
            changed["max_ambiguity"] = max(decoder.options.max_ambiguity, least)
        return decoder.with_options(replace(decoder.options, **changed)) if changed else decoder

    @cached_property
    def _letters(self) -> Decoder:
        return load_letters(self.bundle)

    def __reduce__(self) -> tuple[Any, ...]:
        how = self._how
        if self._pipeline.loaded.device == "cpu":  # nobody has to find out and be warned again
            how = replace(how, device="cpu", delegate=None)
        return partial(Transcriber, self._reference, **how.plain()), ()
