"""Transcripts made wrong on purpose: bad examples for the filter, where nobody has labelled any."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Words = Sequence[str]


@dataclass(frozen=True)
class Others:
    """Where wrong words come from."""

    texts: tuple[tuple[str, ...], ...]  # of other recordings

    def text(self, rng: np.random.Generator) -> tuple[str, ...]:
        """Of any of them."""
        return self.texts[int(rng.integers(len(self.texts)))]

    def word(self, rng: np.random.Generator) -> str:
        """Any of them."""
        text = self.text(rng)
        return text[int(rng.integers(len(text)))]


def spoil(words: Words, others: Others, rng: np.random.Generator) -> Words:
    """A transcript as those are that a pipeline gets wrong; never the right one.

    Args:
        words: of it; where no spaces are written, its characters.
    """
    while True:
        way = WAYS[int(rng.integers(len(WAYS)))]
        spoiled = way(words, others, rng)
        if spoiled and list(spoiled) != list(words):
            return spoiled


def _another(words: Words, others: Others, rng: np.random.Generator) -> Words:
    """That of another recording."""
    return others.text(rng)


def _scattered(words: Words, others: Others, rng: np.random.Generator) -> Words:
    """One word in three lost, replaced or added."""
    found = []
    for word in words:
        chance = rng.random()
        if chance < 1 / 9:
            continue
        found.append(others.word(rng) if chance < 2 / 9 else word)
        if chance > 8 / 9:
            found.append(others.word(rng))
    return found


def _shorter(words: Words, others: Others, rng: np.random.Generator) -> Words:
    """A fifth to three fifths lost, in a row."""
    lost = max(1, round(len(words) * rng.uniform(0.2, 0.6)))
    begin = int(rng.integers(len(words) - lost + 1))
    return [*words[:begin], *words[begin + lost :]]


def _longer(words: Words, others: Others, rng: np.random.Generator) -> Words:
    """With the end of the text before, or the beginning of the one after."""
    more = others.text(rng)
    count = max(1, round(len(more) * rng.uniform(0.2, 0.5)))
    return [*words, *more[:count]] if rng.random() < 0.5 else [*more[-count:], *words]


WAYS: tuple[Callable[[Words, Others, np.random.Generator], Words], ...] = (
    _another,
    _scattered,
    _shorter,
    _longer,
)
