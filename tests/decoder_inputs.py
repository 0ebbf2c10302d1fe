"""Toy inputs for the decoder's tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from reference_decoder import Scored

from ds2edge.decoder import Decoder, SearchOptions
from ds2edge.text import TokenSet

TINY_ARPA = Path(__file__).parent / "data" / "tiny.arpa"
LETTERS_ARPA = TINY_ARPA.with_name("letters.arpa")  # of a, b, l and the space
WORDS = ["a", "ab", "all"]  # the vocabulary of tiny.arpa
TOKENS = TokenSet(("<blank>", " ", "a", "b", "l"))
# No pruning at all.
EXHAUSTIVE = {
    "beam": 65536,
    "cutoff": 1.0,
    "top": 10_000,
    "threshold": float("inf"),
    "max_ambiguity": 1_000_000,
}


def exhaustive(**options: float) -> SearchOptions:
    return SearchOptions(**{**EXHAUSTIVE, **options})  # type: ignore[arg-type]


def random_log_probs(seed: int, frames: int, tokens: int, sharpness: float = 2.0) -> np.ndarray:
    """Independent frames; a larger `sharpness` gives one token more of the probability."""
    logits = np.random.default_rng(seed).normal(size=(frames, tokens)) * sharpness
    return log_softmax(logits)


def speech(seed: int, words: list[str], tokens: TokenSet, noise: float = 1.0) -> np.ndarray:
    """Blank-dominated frames that spell `words`, with confusions; four frames for a character."""
    rng = np.random.default_rng(seed)
    rows = []
    for token in tokens.encode(" ".join(words) + " "):
        rows += [token, 0, 0, 0] if rng.random() < 0.5 else [token, token, 0, 0]
    logits = rng.normal(size=(len(rows), len(tokens))) * noise
    logits[np.arange(len(rows)), rows] += 6.0
    return log_softmax(logits)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return (logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)).astype(np.float32)


def spelled(text: str, tokens: TokenSet, certainty: float = 0.999) -> np.ndarray:
    """One frame for each character of `text`, nearly certain; "_" is the blank."""
    index = [0 if c == "_" else tokens.tokens.index(c) for c in text]
    probs = np.full((len(index), len(tokens)), (1 - certainty) / (len(tokens) - 1))
    probs[np.arange(len(index)), index] = certainty
    return np.log(probs).astype(np.float32)


def found(decoder: Decoder, log_probs: np.ndarray, n: int = 10_000) -> Scored:
    """The native decoder's hypotheses, as the reference gives them."""
    state = decoder.start()
    state.advance(log_probs)
    return [(h.score, tuple(word.text for word in h.words)) for h in state.finish(n)]


def assert_same(got: Scored, wanted: Scored) -> None:
    """The same hypotheses with the same scores, the best first."""
    assert got == sorted(got, key=lambda pair: -pair[0])
    assert {words for _, words in got} == {words for _, words in wanted}
    assert len(got) == len(wanted)
    scores = {words: score for score, words in wanted}
    for score, words in got:
        assert score == pytest.approx(scores[words], abs=2e-4, rel=2e-5), words
