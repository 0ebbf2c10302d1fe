"""Token log-probabilities to words: the typed face of the native prefix search.

Online::

    decoder = Decoder(tokens, words=lexicon, language_model="words.binary")
    state = decoder.start()
    for log_probs in chunks:          # float32, shape = (frames, tokens)
        state.advance(log_probs)
        fixed = state.commit()        # words that never change again
        open_words = state.words()    # the best guess at the rest
    best = state.finish()[0]
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from numbers import Integral, Real
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ds2edge.errors import DecoderError
from ds2edge.text import BLANK, TokenSet, collapse

try:
    from ds2edge import _native
except ImportError as error:
    raise ImportError(
        "ds2edge._native cannot be loaded. Is this a checkout's own folder? Then install it with "
        "`pip install -e .`, or run Python elsewhere"
    ) from error

LARGEST_OPTION = 10**9
LogProbs: TypeAlias = NDArray[np.float32]  # natural logarithms, shape = (frames, tokens)


@dataclass(frozen=True)
class SearchOptions:
    """How the search ranks and prunes hypotheses.

    Ranked by log p_ctc + alpha log p_lm + beta * number of words, in natural logarithms.
    """

    beam: int = 64  # hypotheses kept after each frame
    alpha: float = 1.0  # weight of the language model
    beta: float = 1.0  # added for each word
    cutoff: float = 0.99  # only the likeliest tokens of a frame that reach this probability
    top: int = 40  # and at most so many of them
    threshold: float = 12.0  # hypotheses this far (nats) below the best are dropped
    max_ambiguity: int = 250  # frames after which the best hypothesis' words are committed

    def __post_init__(self) -> None:
        for field in fields(self):
            value, whole = getattr(self, field.name), isinstance(field.default, int)
            is_number = isinstance(value, Integral if whole else Real)
            # What is too large for the native code's numbers would be told in its own words.
            too_large = is_number and LARGEST_OPTION < abs(value) < float("inf")
            if not is_number or isinstance(value, bool) or too_large:
                kind = "a whole number" if whole else "a number"
                raise DecoderError(f"{field.name} must be {kind}, got {value!r}")


@dataclass(frozen=True)
class DecodedWord:
    """One word and the frames in which it was spoken."""

    text: str
    start_frame: int  # where its first token is likeliest, from the state's first frame
    end_frame: int  # one after the frame in which its last token is likeliest
    confidence: float  # 0..1: geometric mean of its tokens' probabilities in those frames


@dataclass(frozen=True)
class Hypothesis:
    """One reading of a segment."""

    score: float  # of the whole segment, words committed earlier included
    words: tuple[DecodedWord, ...]  # without the words committed earlier

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)


@contextmanager
def _decoder_errors() -> Iterator[None]:
    """The one place that turns the native code's exceptions into ours."""
    try:
        yield
    except (ValueError, TypeError, RuntimeError) as error:
        raise DecoderError(str(error)) from None


def _to_words(words: Iterable[_native.Word]) -> tuple[DecodedWord, ...]:
    return tuple(DecodedWord(*word) for word in words)


class Decoder:
    """What is searched: tokens, lexicon, language model, options. Constant; threads may share it.

    Args:
        tokens: the acoustic model's outputs.
        words: the words that may be recognised, spelled with `tokens`; None allows any
            sequence of tokens.
        language_model: file of an n-gram model over `words`, KenLM binary or ARPA.
        options: ranking and pruning.

    Raises:
        DecoderError: a word cannot be spelled, or the language model cannot be read or does not
            belong to the words.
    """

    def __init__(
        self,
        tokens: TokenSet,
        *,
        words: Sequence[str] | None = None,
        language_model: str | os.PathLike[str] | None = None,
        options: SearchOptions | None = None,
    ) -> None:
        self.tokens = tokens
        self._model: _native.LanguageModel | None = None
        self._lexicon: _native.Lexicon | None = None
        with _decoder_errors():
            if language_model is not None:
                self._model = _native.LanguageModel(os.fspath(language_model))
            if words is not None:
                self._lexicon = _native.Lexicon(list(words), list(tokens.tokens), self._model)
        self._set_options(options or SearchOptions())

    def _set_options(self, options: SearchOptions) -> None:
        self.options = options
        with _decoder_errors():
            self._search = _native.Search(
                list(self.tokens.tokens),
                BLANK,
                self.tokens.space,
                self._lexicon,
                self._model,
                _native.SearchOptions(**asdict(options)),
            )

    def with_options(self, options: SearchOptions) -> Decoder:
        """Another decoder with the same tokens, lexicon and language model, which are shared."""
        other = object.__new__(Decoder)
        other.tokens, other._model, other._lexicon = self.tokens, self._model, self._lexicon
        other._set_options(options)
        return other

    def start(self) -> DecoderState:
        """The state of a new stream."""
        return DecoderState(self._search.start())


class DecoderState:
    """The hypotheses of one stream. How frames are cut into calls changes nothing."""

    def __init__(self, state: _native.SearchState) -> None:
        self._state = state

    def advance(self, log_probs: LogProbs) -> None:
        """Consume frames; shape = (frames, tokens), natural logarithms."""
        with _decoder_errors():
            self._state.advance(log_probs)

    def commit(self) -> tuple[DecodedWord, ...]:
        """Words that became certain since the last call; they never change again."""
        with _decoder_errors():
            return _to_words(self._state.commit())

    def words(self) -> tuple[DecodedWord, ...]:
        """Words of the best hypothesis not yet committed; the last may be unfinished."""
        with _decoder_errors():
            return _to_words(self._state.words())

    def finish(self, n: int = 1) -> tuple[Hypothesis, ...]:
        """End the segment: the best `n` hypotheses, the best first. A new segment begins."""
        with _decoder_errors():
            found = self._state.finish(n)
        return tuple(Hypothesis(score, _to_words(words)) for score, words in found)

    @property
    def frames(self) -> int:
        """Frames consumed since the state was made."""
        return self._state.frames

    @property
    def nodes(self) -> int:
        """Prefixes held; bounded, however long the stream."""
        return self._state.nodes

    @property
    def bytes(self) -> int:
        """Memory held by the state."""
        return self._state.bytes


def greedy(log_probs: LogProbs, tokens: TokenSet) -> str:
    """Text of the likeliest token of every frame: repeats merged, then blanks dropped."""
    best: list[int] = np.argmax(log_probs, axis=1).tolist()
    return " ".join(tokens.decode(collapse(best)).split())
