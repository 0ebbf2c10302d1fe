"""What is known of each recording of some corpora: its row, its text as tokens, its figures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ds2edge.errors import DataError
from ds2edge.progress import track
from ds2edge.text import TokenSet, normalise
from ds2edge.training.data.manifest import Utterance, corpus_names, read_manifest
from ds2edge.training.data.spelling import unknown_characters
from ds2edge.training.statistics.gather import gather
from ds2edge.training.statistics.measure import Figures


@dataclass(frozen=True)
class Row:
    """A recording that can be read."""

    corpus: str  # what its manifest is called
    utterance: Utterance
    figures: Figures
    text: str  # normalised
    unknown: tuple[str, ...]  # characters that the tokens cannot spell

    @property
    def speaker(self) -> tuple[str, str]:
        """With the folder of the manifest: another corpus may call somebody else the same."""
        return os.path.dirname(os.path.abspath(self.utterance.manifest or "")), (
            self.utterance.speaker
        )


@dataclass(frozen=True)
class Unreadable:
    """A recording that cannot be read, and why."""

    corpus: str
    utterance: Utterance
    reason: str


@dataclass(frozen=True)
class Recordings:
    """All rows of some manifests."""

    tokens: TokenSet
    rows: list[Row]
    unreadable: list[Unreadable]

    @cached_property
    def corpora(self) -> list[str]:
        """In the order in which they were given."""
        return list(dict.fromkeys(row.corpus for row in self.rows))

    def of(self, corpus: str) -> list[int]:
        """Places of a corpus's rows."""
        return [i for i, row in enumerate(self.rows) if row.corpus == corpus]

    def words(self, row: Row) -> list[str]:
        """Of its text; characters, where nothing stands between words."""
        return self.tokens.words(row.text)


def read_rows(
    manifests: Sequence[Path], split: str | None, tokens: TokenSet, jobs: int | None
) -> Recordings:
    """Read manifests and measure their recordings.

    Raises:
        DataError: a manifest cannot be used, or none of the recordings can be read.
    """
    found = [
        (name, utterance)
        for name, manifest in zip(corpus_names(manifests), manifests, strict=True)
        for utterance in read_manifest(manifest, split)
    ]
    outcomes = gather([utterance for _, utterance in found], jobs)
    rows: list[Row] = []
    unreadable: list[Unreadable] = []
    for (name, utterance), outcome in track(
        zip(found, outcomes, strict=True), "reading texts", len(found)
    ):
        if isinstance(outcome, str):
            unreadable.append(Unreadable(name, utterance, outcome))
            continue
        text = normalise(utterance.text, tokens)
        unknown = tuple(unknown_characters(utterance.text, tokens))
        rows.append(Row(name, utterance, outcome, text, unknown))
    if not rows:
        raise DataError(
            f"none of {len(unreadable)} recordings can be read; of the first, "
            f"{unreadable[0].utterance.where}: {unreadable[0].reason}"
        )
    return Recordings(tokens, rows, unreadable)
