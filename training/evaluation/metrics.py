"""Word and character errors, counted and aligned by jiwer.

Where a script writes no spaces, each character counts as a word: of Chinese with English words in
it, the word error rate is the mixed error rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import jiwer
import numpy as np
import numpy.typing as npt

from ds2edge.writing import is_unspaced, join, units

Counts: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ErrorRate:
    """Substitutions, insertions and deletions against the length of what was said."""

    errors: int
    length: int

    @property
    def rate(self) -> float:
        return self.errors / max(1, self.length)

    @property
    def percent(self) -> float:
        """The rate, rounded to what is worth printing."""
        return round(100 * self.rate, 2)


@dataclass(frozen=True)
class Piece:
    """Words that an alignment of fewest edits sets side by side."""

    wanted: str  # what was said; empty: the words of `said` are too many
    said: str  # what was recognised; empty: the words of `wanted` were lost

    @property
    def is_right(self) -> bool:
        return self.wanted == self.said


def word_error_rate(wanted: Sequence[str], said: Sequence[str]) -> ErrorRate:
    """Word errors over all recordings together."""
    return ErrorRate(int(word_errors(wanted, said).sum()), int(word_counts(wanted).sum()))


def character_error_rate(wanted: Sequence[str], said: Sequence[str]) -> ErrorRate:
    """Character errors, spaces included, over all recordings together."""
    return ErrorRate(int(character_errors(wanted, said).sum()), int(character_counts(wanted).sum()))


def word_errors(wanted: Sequence[str], said: Sequence[str]) -> Counts:
    """Word errors of each recording."""
    return _errors(jiwer.process_words(_apart(wanted), _apart(said)))


def character_errors(wanted: Sequence[str], said: Sequence[str]) -> Counts:
    """Character errors of each recording, spaces included."""
    return _errors(jiwer.process_characters(list(wanted), list(said)))


def word_counts(wanted: Sequence[str]) -> Counts:
    """Words of each recording."""
    return np.array([len(units(text)) for text in wanted], np.int64)


def counted(wanted: str) -> str:
    """What `word_counts` counts in a text, for people."""
    unspaced = [is_unspaced(unit) for unit in units(wanted)]
    if not any(unspaced):
        return "words"
    return "characters" if all(unspaced) else "words and characters"


def character_counts(wanted: Sequence[str]) -> Counts:
    """Characters of each recording, spaces included."""
    return np.array([len(text.strip()) for text in wanted], np.int64)


def align(wanted: str, said: str) -> list[Piece]:
    """One recording's words side by side."""
    found = jiwer.process_words(_apart([wanted]), _apart([said]))
    (here,), (there,) = found.references, found.hypotheses
    return [
        Piece(
            join(here[chunk.ref_start_idx : chunk.ref_end_idx]),
            join(there[chunk.hyp_start_idx : chunk.hyp_end_idx]),
        )
        for chunk in found.alignments[0]
    ]


def _apart(texts: Sequence[str]) -> list[str]:
    """What counts as a word, with spaces between."""
    return [" ".join(units(text)) for text in texts]


def _errors(found: jiwer.WordOutput | jiwer.CharacterOutput) -> Counts:
    return np.array(
        [
            sum(
                max(c.ref_end_idx - c.ref_start_idx, c.hyp_end_idx - c.hyp_start_idx)
                for c in chunks
                if c.type != "equal"
            )
            for chunks in found.alignments
        ],
        np.int64,
    )
