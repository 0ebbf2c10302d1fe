"""The Python interface of Mozilla DeepSpeech 0.9 and Coqui STT 1.4, over ds2edge::

    # from deepspeech import Model
    from ds2edge.compat.deepspeech import Model

The names are theirs. Scores, times and words are ds2edge's: weights of the scorer are on its scale
(natural logarithms), hot words boost once for each time that they are said, and the confidence of
a transcript is the mean of its words', from 0 to 1.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt

from ds2edge.errors import ConfigError, StreamError
from ds2edge.options import StreamOptions
from ds2edge.results import Final, Partial, Seconds, Word
from ds2edge.transcriber import Transcriber
from ds2edge.writing import stands_apart

FOREIGN = (".pb", ".pbmm", ".tflite", ".scorer", ".binary", ".trie")  # of their models
TIMESTEP: Seconds = 0.02  # of their models; what applications multiply timesteps with

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TokenMetadata:
    """One character."""

    text: str  # a space between words
    timestep: int  # of 20 ms
    start_time: Seconds  # the characters of a word are spread over it evenly


@dataclass(frozen=True)
class CandidateTranscript:
    """One reading."""

    tokens: list[TokenMetadata]  # character by character
    confidence: float  # 0..1


@dataclass(frozen=True)
class Metadata:
    """Readings, the best first."""

    transcripts: list[CandidateTranscript]  # at least one


class Model:
    """A model, and what its streams listen for.

    Args:
        model_path: a ds2edge bundle, "en" for the embedded one. In the place of a DeepSpeech or
            Coqui model (.pbmm, .tflite) the embedded one is used, and a warning logged.

    Raises:
        BundleError: there is no such bundle.
    """

    def __init__(self, model_path: str | os.PathLike[str] = "en") -> None:
        self._transcriber = Transcriber(_known(model_path))
        decoder = self._transcriber.bundle.manifest.decoder
        self._beam, self._alpha, self._beta = decoder.beam, decoder.alpha, decoder.beta
        # How many readings are wanted is only said at the end.
        self._options = StreamOptions.without_endpoints(language_model=False, alternatives=1)

    def sampleRate(self) -> int:
        """Hz, of the samples that `stt` and streams take."""
        return self._transcriber.bundle.manifest.features.sample_rate

    def beamWidth(self) -> int:
        """Hypotheses kept."""
        return self._options.beam or self._beam

    def setBeamWidth(self, beam_width: int) -> None:
        """For streams made from now on."""
        self._use(replace(self._options, beam=beam_width))

    def enableExternalScorer(self, scorer_path: str | os.PathLike[str] = "en") -> None:
        """Use the bundle's lexicon and language model; a file of theirs is not read."""
        _known(scorer_path)
        self._use(replace(self._options, language_model=True))

    def disableExternalScorer(self) -> None:
        """Letters as they are heard."""
        self._use(replace(self._options, language_model=False, alpha=None, beta=None))

    def setScorerAlphaBeta(self, alpha: float, beta: float) -> None:
        """Weight of the language model and of each word, in natural logarithms."""
        self._use(replace(self._options, alpha=alpha, beta=beta))

    def addHotWord(self, word: str, boost: float) -> None:
        """Listen for a word, which the lexicon may lack, or a phrase."""
        self._use(replace(self._options, boost={**self._options.boost, word: boost}))

    def eraseHotWord(self, word: str) -> None:
        """Listen for it no longer."""
        if word not in self._options.boost:
            raise ConfigError(f"{word!r} is no hot word; there are: {list(self._options.boost)}")
        rest = {other: boost for other, boost in self._options.boost.items() if other != word}
        self._use(replace(self._options, boost=rest))

    def clearHotWords(self) -> None:
        """Listen for none."""
        self._use(replace(self._options, boost={}))

    def stt(self, audio_buffer: npt.NDArray[Any]) -> str:
        """The text of 16-bit samples at `sampleRate`."""
        stream = self.createStream()
        stream.feedAudioContent(audio_buffer)
        return stream.finishStream()

    def sttWithMetadata(self, audio_buffer: npt.NDArray[Any], num_results: int = 1) -> Metadata:
        """The best readings of 16-bit samples at `sampleRate`."""
        stream = self.createStream()
        stream.feedAudioContent(audio_buffer)
        return stream.finishStreamWithMetadata(num_results)

    def createStream(self) -> Stream:
        """A stream with the beam, weights and hot words of now."""
        return Stream(self._transcriber, self.sampleRate(), self._options)

    def freeModel(self) -> None:
        """Nothing to do: Python frees it."""

    def _use(self, options: StreamOptions) -> None:
        self._transcriber.decoder(options)  # refuses what is impossible
        self._options = options


class Stream:
    """One utterance."""

    def __init__(
        self, transcriber: Transcriber, sample_rate: float, options: StreamOptions
    ) -> None:
        """Use `Model.createStream`."""
        self._options = options
        self._stream = transcriber.stream(sample_rate, options)
        self._heard: Partial | Final | None = None

    def feedAudioContent(self, audio_buffer: npt.NDArray[Any]) -> None:
        """Take 16-bit samples."""
        for event in self._stream.feed(np.asarray(audio_buffer)):
            self._heard = event

    def intermediateDecode(self) -> str:
        """The text so far."""
        self._stream.check_open()
        return self._heard.text if self._heard else ""

    def intermediateDecodeWithMetadata(self, num_results: int = 1) -> Metadata:
        """The best reading so far; further ones are known at the end."""
        self._stream.check_open()
        return Metadata([_candidate(self._heard.words if self._heard else ())])

    def finishStream(self) -> str:
        """The text; the stream is over."""
        return self._finish().text

    def finishStreamWithMetadata(self, num_results: int = 1) -> Metadata:
        """The best readings; the stream is over."""
        if num_results < 1:
            raise ConfigError(f"num_results must be 1 or more, got {num_results}")
        self._stream.set_options(replace(self._options, alternatives=num_results - 1))
        final = self._finish()
        others = [other.words for other in final.alternatives]
        return Metadata([_candidate(words) for words in (final.words, *others)])

    def freeStream(self) -> None:
        """Drop what is not finished."""
        self._stream.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.freeStream()

    def _finish(self) -> Final:
        (final,) = self._stream.finish()
        if not isinstance(final, Final):
            raise StreamError("the stream ended without a final segment")
        return final


def version() -> str:
    """Of ds2edge."""
    from importlib.metadata import version as version_of

    return version_of("ds2edge")


def _known(path: str | os.PathLike[str]) -> str | os.PathLike[str]:
    if not os.fspath(path).endswith(FOREIGN):
        return path
    log.warning("%s is not for ds2edge: its embedded English bundle is used", os.fspath(path))
    return "en"


def _candidate(words: Iterable[Word]) -> CandidateTranscript:
    listed = list(words)
    tokens: list[TokenMetadata] = []
    for word in listed:
        if tokens and stands_apart(tokens[-1].text, word.text):
            tokens.append(_token(" ", word.start))
        step = (word.end - word.start) / len(word.text)
        tokens += [_token(c, word.start + i * step) for i, c in enumerate(word.text)]
    return CandidateTranscript(tokens, fmean(w.confidence for w in listed) if listed else 0.0)


def _token(text: str, start: Seconds) -> TokenMetadata:
    return TokenMetadata(text, round(start / TIMESTEP), start)
