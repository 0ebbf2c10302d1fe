"""Word and character error rates, counted by jiwer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jiwer


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


def word_error_rate(wanted: Sequence[str], said: Sequence[str]) -> ErrorRate:
    """Word errors over all recordings together."""
    return _counted(jiwer.process_words(list(wanted), list(said)))


def character_error_rate(wanted: Sequence[str], said: Sequence[str]) -> ErrorRate:
    """Character errors, spaces included, over all recordings together."""
    return _counted(jiwer.process_characters(list(wanted), list(said)))


def _counted(found: jiwer.WordOutput | jiwer.CharacterOutput) -> ErrorRate:
    errors = found.substitutions + found.deletions + found.insertions
    return ErrorRate(errors, found.hits + found.substitutions + found.deletions)
