from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# text, start frame, end frame (exclusive), confidence, text and frames of each token, evidence
Word = tuple[str, int, int, float, tuple[tuple[str, int, int], ...], tuple[float, ...]]
Hypothesis = tuple[float, list[Word]]

class Features:
    def __init__(
        self,
        *,
        window: NDArray[np.float32],
        hop: int,
        fft: int,
        first: int,
        bank: NDArray[np.float32],
        floor: float,
        silence: float,
        scale: NDArray[np.float32],
        prior_frames: float,
        prior_level_frames: float,
        horizon_frames: float,
    ) -> None: ...
    def log_power(self, samples: NDArray[np.float32], most: int) -> NDArray[np.float32]: ...
    def frames(
        self,
        pieces: Sequence[NDArray[np.float32]],
        means: Sequence[NDArray[np.float32]],
        seen: Sequence[int],
        parts: int,
        part: int,
    ) -> list[tuple[NDArray[np.float32], NDArray[np.float32], int, NDArray[np.float32]]]: ...

class Speller:
    def __init__(self, tokens: list[str], blank: int, space: int | None) -> None: ...

class Phrases:
    def __init__(self, phrases: list[tuple[str, float]], speller: Speller) -> None: ...

class ClosedVocabulary:
    def __init__(self, phrases: list[str], speller: Speller) -> None: ...
    @property
    def size(self) -> int: ...

class LanguageModel:
    def __init__(self, path: str) -> None: ...
    @property
    def order(self) -> int: ...
    def __contains__(self, word: str) -> bool: ...
    def score(self, words: list[str]) -> float: ...

class Lexicon:
    def __init__(
        self,
        words: list[str],
        speller: Speller,
        language_model: LanguageModel | None = None,
    ) -> None: ...
    @property
    def size(self) -> int: ...
    def __contains__(self, word: str) -> bool: ...

class SearchOptions:
    def __init__(
        self,
        *,
        beam: int,
        alpha: float,
        beta: float,
        cutoff: float,
        top: int,
        threshold: float,
        max_ambiguity: int,
        unknown: float,
        prior: float,
    ) -> None: ...

class Confidence:
    def __init__(
        self,
        *,
        bias: float,
        letters: float,
        pace: float,
        language: float,
        deficit: float,
        clarity: float,
        usual_clarity: float,
    ) -> None: ...

class Search:
    def __init__(
        self,
        speller: Speller,
        *,
        lexicon: Lexicon | None = None,
        closed: ClosedVocabulary | None = None,
        language_model: LanguageModel | None = None,
        phrases: Phrases | None = None,
        prior: list[float] = ...,
        confidence: Confidence | None = None,
        options: SearchOptions,
    ) -> None: ...
    def decode(
        self, log_probs: list[NDArray[np.float32]], n: int = 1, threads: int = 1
    ) -> list[list[Hypothesis]]: ...
    def start(self) -> SearchState: ...

class SearchState:
    def advance(self, log_probs: NDArray[np.float32]) -> None: ...
    def commit(self) -> list[Word]: ...
    def words(self) -> list[Word]: ...
    def use(self, search: Search) -> None: ...
    def finish(self, n: int = 1) -> list[Hypothesis]: ...
    @property
    def frames(self) -> int: ...
    @property
    def nodes(self) -> int: ...
    @property
    def bytes(self) -> int: ...

def stack(rows: Sequence[NDArray[np.float32]], stacked: NDArray[np.float32]) -> None: ...
def unstack(stacked: NDArray[np.float32], count: int) -> list[NDArray[np.float32]]: ...
def join(pieces: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]: ...
def peak(samples: NDArray[np.float32]) -> float: ...
def mono(samples: NDArray[Any], factor: float) -> NDArray[np.float32]: ...
def advance_all(
    states: list[SearchState], blocks: list[NDArray[np.float32]], threads: int = 1
) -> None: ...
def align(
    scores: NDArray[np.float32],
    words: list[list[int]],
    *,
    blank: int,
    inner: int,
    space: int | None,
    foreign: float,
    leave_out: float,
    left_token: float,
    beam: float,
) -> NDArray[np.int32]: ...
def speak_at_exit() -> None: ...
def silent_at_exit() -> None: ...
