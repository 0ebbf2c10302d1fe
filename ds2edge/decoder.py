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

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from numbers import Integral, Real
from typing import Any, NamedTuple, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ds2edge.errors import DecoderError
from ds2edge.text import BLANK, TokenSet, collapse
from ds2edge.writing import join

try:
    from ds2edge import _native
except ImportError as error:
    raise ImportError(
        "ds2edge._native cannot be loaded. Is this a checkout's own folder? Then install it with "
        "`pip install -e .`, or run Python elsewhere"
    ) from error

LARGEST = 10**9  # of all numbers that are given, but infinity
UNKNOWN = "<unk>"  # stands for what a closed vocabulary does not have
LogProbs: TypeAlias = NDArray[np.float32]  # natural logarithms, shape = (frames, tokens)


def _check_number(name: str, value: object, kind: type) -> None:
    wanted = "a whole number" if kind is int else "a number"
    if isinstance(value, bool) or not isinstance(value, Integral if kind is int else Real):
        raise DecoderError(f"{name} must be {wanted}, got {value!r}")
    size: Any = abs(value)
    if LARGEST < size < math.inf:
        raise DecoderError(f"{name} must be {wanted} of at most {LARGEST:,}, got {value!r}")


@dataclass(frozen=True)
class SearchOptions:
    """How the search ranks and prunes hypotheses.

    Ranked by log p_ctc + alpha log p_lm + beta * number of words + boosts of phrases
    - unknown * number of unknown words, in natural logarithms.
    """

    beam: int = 64  # hypotheses kept after each frame
    alpha: float = 1.0  # weight of the language model
    beta: float = 1.0  # added for each word
    cutoff: float = 0.99  # only the likeliest tokens of a frame that reach this probability
    top: int = 40  # and at most so many of them; what is in the beam may go on with any token
    threshold: float = 12.0  # hypotheses this far (nats) below the best are dropped
    max_ambiguity: int = 250  # frames after which the best hypothesis' words are committed
    unknown: float = math.inf  # cost (nats) of a word the vocabulary lacks; infinite: none
    prior: float = 0.0  # 0..1, how much of the label prior is divided out

    def __post_init__(self) -> None:
        for field in fields(self):
            _check_number(field.name, getattr(self, field.name), type(field.default))

    def plain(self) -> dict[str, float]:
        """For JSON, which has no infinity: without the options that are infinite."""
        return {name: value for name, value in vars(self).items() if math.isfinite(value)}


class Evidence(NamedTuple):
    """What is known about a word besides its score; logarithms are natural."""

    letters: float  # its tokens
    pace: float  # frames for each of them
    language: float  # log p(word | words before); 0 without language model
    deficit: float  # what log p of the hypothesis gained on each frame's likeliest token meanwhile
    clarity: float  # mean log probability of each frame's likeliest token, around the word
    usual_clarity: float  # the same for the stream so far


@dataclass(frozen=True)
class Confidence:
    """Weights of `Evidence` in the log odds of a word being right.

    Fitted by `ds2edge.training.confidence`.
    """

    bias: float  # log odds where all evidence is 0
    letters: float  # of `Evidence.letters`
    pace: float  # of `Evidence.pace`
    language: float  # of `Evidence.language`
    deficit: float  # of `Evidence.deficit`
    clarity: float  # of `Evidence.clarity`
    usual_clarity: float  # of `Evidence.usual_clarity`

    def __post_init__(self) -> None:
        for name, weight in vars(self).items():
            _check_number(f"confidence: {name}", weight, float)
            if not math.isfinite(weight):
                raise DecoderError(f"confidence: {name} must be a finite number, got {weight}")


class DecodedToken(NamedTuple):
    """One token of a word."""

    text: str  # as the token set has it
    start_frame: int  # where it is likeliest, from the state's first frame
    end_frame: int  # after it is over and, within 4 frames, another is heard


class DecodedWord(NamedTuple):
    """One word and the frames in which it was spoken."""

    text: str  # as the vocabulary has it, or `UNKNOWN`
    start_frame: int  # where its first token is likeliest, from the state's first frame
    end_frame: int  # where its last token ends
    confidence: float  # 0..1; without a fit the geometric mean of its tokens' probabilities
    spelling: tuple[tuple[str, int, int], ...]  # of `tokens`
    measured: tuple[float, ...]  # of `evidence`

    @property
    def tokens(self) -> tuple[DecodedToken, ...]:
        """That it is spelled with."""
        return tuple(DecodedToken(*token) for token in self.spelling)

    @property
    def evidence(self) -> Evidence:
        """That the confidence comes from."""
        return Evidence(*self.measured)


class Hypothesis(NamedTuple):
    """One reading of a segment."""

    score: float  # of the whole segment, words committed earlier included
    words: tuple[DecodedWord, ...]  # without the words committed earlier

    @property
    def text(self) -> str:
        """Its words, with single spaces between where their script writes them."""
        return join(word.text for word in self.words)


@contextmanager
def _decoder_errors() -> Iterator[None]:
    """The one place that turns the native code's exceptions into ours."""
    try:
        yield
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise DecoderError(str(error)) from None


class Decoder:
    """What is searched: tokens, vocabulary, language model, options.

    Constant: threads may share it.

    Args:
        tokens: the acoustic model's outputs.
        words: the words that may be recognised, spelled with `tokens`; None allows any
            sequence of tokens. With a finite `SearchOptions.unknown`, other words at that cost.
        language_model: file of an n-gram model, KenLM binary or ARPA: over `words` or, without
            them, over `tokens` (the space is `|` there).
        prior: log probability of each token over all frames (Deep Speech's outputs are mostly
            blank), of which `SearchOptions.prior` is divided out.
        confidence: how a word's evidence becomes its confidence.
        options: ranking and pruning.

    Raises:
        DecoderError: a word cannot be spelled, or the language model cannot be read or does not
            belong to the words or tokens.
    """

    def __init__(
        self,
        tokens: TokenSet,
        *,
        words: Sequence[str] | None = None,
        language_model: str | os.PathLike[str] | None = None,
        prior: Sequence[float] | None = None,
        confidence: Confidence | None = None,
        options: SearchOptions | None = None,
    ) -> None:
        self.tokens = tokens
        self.options = SearchOptions() if options is None else options
        self._parts: dict[str, Any] = {}
        with _decoder_errors():
            if not isinstance(tokens, TokenSet):
                raise TypeError(f"tokens must be a TokenSet, got {type(tokens).__name__}")
            self._speller = _native.Speller(list(tokens.tokens), BLANK, tokens.space)
            if language_model is not None:
                self._parts["language_model"] = _native.LanguageModel(os.fspath(language_model))
            if words is not None:
                self._parts["lexicon"] = _native.Lexicon(
                    _texts(words), self._speller, self._parts.get("language_model")
                )
            if prior is not None:
                self._parts["prior"] = _checked_prior(prior, tokens)
            if confidence is not None:
                self._parts["confidence"] = _native.Confidence(**asdict(confidence))
        self._prepare()

    def _prepare(self) -> None:
        with _decoder_errors():
            options = _native.SearchOptions(**asdict(self.options))
            self._search = _native.Search(self._speller, **self._parts, options=options)

    def _with(self, options: SearchOptions, **parts: Any) -> Decoder:
        other = Decoder.__new__(Decoder)
        other.__dict__.update(self.__dict__)
        other.options, other._parts = options, self._parts | parts
        other._prepare()
        return other

    def with_options(self, options: SearchOptions) -> Decoder:
        """Another decoder with the same tokens, vocabulary and language model, which are shared."""
        return self._with(options)

    def with_phrases(self, phrases: Mapping[str, float]) -> Decoder:
        """Another decoder that listens for phrases, in the place of those it listened for before.

        Each phrase is one or more words; they need not be in the lexicon. Its boost, in nats, is
        added to a hypothesis for each time that it has the phrase, whole words only, and only
        once the phrase is complete: a phrase that breaks off brings nothing. While it is begun,
        it is kept in the beam (contextual biasing by Aho-Corasick). A boost of 0 merely allows
        the words; a negative one avoids the phrase.

        Raises:
            DecoderError: a phrase has no words or cannot be spelled with the tokens, or its boost
                is not finite; or the vocabulary is closed.
        """
        with _decoder_errors():
            if not isinstance(phrases, Mapping):
                raise TypeError(f"phrases must map texts to boosts, got {type(phrases).__name__}")
            for text, boost in zip(_texts(phrases), phrases.values(), strict=True):
                _check_number(f"the boost of {text!r}", boost, float)
            listed = _native.Phrases(list(phrases.items()), self._speller) if phrases else None
        return self._with(self.options, phrases=listed)

    def with_vocabulary(self, phrases: Iterable[str]) -> Decoder:
        """Another decoder that hears nothing but these phrases, one after the other.

        Lexicon, language model and boosted phrases are out of use. With a finite
        `SearchOptions.unknown`, what is no phrase becomes `UNKNOWN`, at that cost.

        Raises:
            DecoderError: there is no phrase, or one cannot be spelled with the tokens.
        """
        with _decoder_errors():
            closed = _native.ClosedVocabulary(_texts(phrases), self._speller)
        nothing = {"lexicon": None, "language_model": None, "phrases": None}
        return self._with(self.options, closed=closed, **nothing)

    def __reduce__(self) -> NoReturn:
        raise DecoderError("a Decoder cannot be pickled or copied; threads share it as it is")

    def start(self) -> DecoderState:
        """The state of a new stream."""
        return DecoderState(self._search.start())

    def decode(
        self, log_probs: Sequence[LogProbs], *, n: int = 1, threads: int = 1
    ) -> list[tuple[Hypothesis, ...]]:
        """The best `n` hypotheses of each of many whole recordings, on a pool of threads.

        Args:
            log_probs: for each recording, shape = (frames, tokens).

        Raises:
            DecoderError: an array cannot be used.
        """
        with _decoder_errors():
            found = self._search.decode(list(log_probs), n, threads)
        return [_to_hypotheses(one) for one in found]


class DecoderState:
    """The hypotheses of one stream. How frames are cut into calls changes nothing."""

    def __init__(self, state: _native.SearchState) -> None:
        """Use `Decoder.start`."""
        self._state = state

    def __reduce__(self) -> NoReturn:
        raise DecoderError("a DecoderState cannot be pickled or copied; start another one")

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

    def use(self, decoder: Decoder) -> None:
        """Go on with the phrases and options of another decoder.

        What was heard so far stays; phrases that are just being said are recognised, too.

        Raises:
            DecoderError: it has another vocabulary or language model.
        """
        with _decoder_errors():
            self._state.use(decoder._search)

    def finish(self, n: int = 1) -> tuple[Hypothesis, ...]:
        """End the segment: the best `n` hypotheses, the best first. A new segment begins."""
        with _decoder_errors():
            found = self._state.finish(n)
        return _to_hypotheses(found)

    @property
    def frames(self) -> int:
        """Frames consumed since the state was made."""
        with _decoder_errors():
            return self._state.frames

    @property
    def nodes(self) -> int:
        """Prefixes held; bounded, however long the stream."""
        with _decoder_errors():
            return self._state.nodes

    @property
    def bytes(self) -> int:
        """Memory held by the state."""
        with _decoder_errors():
            return self._state.bytes


def advance_all(
    states: Sequence[DecoderState], log_probs: Sequence[LogProbs], *, threads: int = 1
) -> None:
    """`advance` each of many streams with frames of its own, on a pool of threads.

    Raises:
        DecoderError: an array cannot be used, then no stream has changed; or a state is given
            twice, or in use.
    """
    with _decoder_errors():
        for state in states:
            if not isinstance(state, DecoderState):
                raise TypeError(f"states must be DecoderStates, got {type(state).__name__}")
        _native.advance_all([state._state for state in states], list(log_probs), threads)


def unknown_words(words: Sequence[str], language_model: str | os.PathLike[str]) -> list[str]:
    """Those of `words` that an n-gram model lacks. A lexicon may have some: all are as likely.

    Raises:
        DecoderError: the model cannot be read.
    """
    with _decoder_errors():
        model = _native.LanguageModel(os.fspath(language_model))
        return [word for word in _texts(words) if word not in model]


def greedy(log_probs: LogProbs, tokens: TokenSet) -> str:
    """Text of the likeliest token of every frame: repeats merged, then blanks dropped.

    Raises:
        DecoderError: an array of another shape.
    """
    needed = f"log_probs must be an array of floats, shape (frames, {len(tokens)}); got "
    if not isinstance(log_probs, np.ndarray) or log_probs.dtype.kind != "f":
        raise DecoderError(needed + str(getattr(log_probs, "dtype", type(log_probs).__name__)))
    if log_probs.ndim != 2 or log_probs.shape[1] != len(tokens):
        raise DecoderError(f"{needed}shape {log_probs.shape}")
    best: list[int] = np.argmax(log_probs, axis=1).tolist()
    return " ".join(tokens.decode(collapse(best)).split())


def _to_words(words: Iterable[_native.Word]) -> tuple[DecodedWord, ...]:
    # From a list: tuple(map()) is cut to size, and leaves CPython's lists of free tuples fuller.
    return tuple([DecodedWord._make(word) for word in words])


def _to_hypotheses(found: Iterable[_native.Hypothesis]) -> tuple[Hypothesis, ...]:
    return tuple(Hypothesis(score, _to_words(words)) for score, words in found)


def _texts(texts: Iterable[str]) -> list[str]:
    if isinstance(texts, str | bytes):
        raise TypeError(f"needed a list of texts, got a {type(texts).__name__}")
    listed = list(texts)
    for text in listed:
        if not isinstance(text, str):
            raise TypeError(f"texts must be str, got {text!r}")
    return listed


def _checked_prior(prior: Sequence[float], tokens: TokenSet) -> list[float]:
    values = [float(value) for value in prior]
    if len(values) != len(tokens):
        raise ValueError(
            f"prior must have a value for each of {len(tokens)} tokens, got {len(values)}"
        )
    return values
