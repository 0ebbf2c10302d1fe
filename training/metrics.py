"""Word and character error rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein


@dataclass(frozen=True)
class ErrorRate:
    """Substitutions, insertions and deletions against the length of what was said."""

    errors: int
    length: int

    @property
    def rate(self) -> float:
        return self.errors / max(1, self.length)


def error_rate(wanted: Sequence[Sequence[str]], said: Sequence[Sequence[str]]) -> ErrorRate:
    """Errors over all recordings together; items are words, or characters."""
    pairs = list(zip(wanted, said, strict=True))
    return ErrorRate(sum(Levenshtein.distance(w, s) for w, s in pairs), sum(len(w) for w, _ in pairs))
