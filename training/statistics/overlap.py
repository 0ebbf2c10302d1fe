"""What is in a corpus twice, and what is in two of its splits: there, figures would be too good."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from itertools import combinations

from ds2edge.training.statistics.rows import Recordings, Row


@dataclass(frozen=True)
class Overlap:
    """What two splits share."""

    first: str
    second: str
    speakers: list[str]
    texts: list[str]  # normalised
    audio: list[tuple[str, str]]  # paths of equal recordings, one in each
    utterances: int  # of the second split, whose text is in the first
    share: float  # of the second split

    @property
    def is_leak(self) -> bool:
        return bool(self.speakers or self.texts or self.audio)


def overlaps(recordings: Recordings) -> list[Overlap]:
    """Of each two splits that share something; `train` comes first, then the larger one."""
    by_split: dict[str, list[Row]] = {}
    for row in recordings.rows:
        by_split.setdefault(row.utterance.split, []).append(row)
    order = sorted(by_split, key=lambda split: (split != "train", -len(by_split[split]), split))
    pairs = (_overlap(a, b, by_split[a], by_split[b]) for a, b in combinations(order, 2))
    return [overlap for overlap in pairs if overlap.is_leak]


def equal_audio(rows: Iterable[Row]) -> list[list[Row]]:
    """Recordings of the same samples, in different files; the largest groups first."""
    groups: dict[str, dict[str, Row]] = {}
    for row in rows:
        groups.setdefault(row.figures.digest, {})[str(row.utterance.path)] = row
    return sorted((list(g.values()) for g in groups.values() if len(g) > 1), key=lambda g: -len(g))


def repeated_texts(rows: Iterable[Row]) -> Counter[str]:
    """How often texts are said that are said more than once."""
    counts = Counter(row.text for row in rows if row.text)
    return Counter({text: count for text, count in counts.items() if count > 1})


def _overlap(first: str, second: str, here: list[Row], there: list[Row]) -> Overlap:
    speakers = _shared(lambda row: row.utterance.speaker and row.speaker, here, there)
    texts = _shared(lambda row: row.text, here, there)
    audio = _shared(lambda row: row.figures.digest, here, there)
    known = set(texts)
    again = sum(row.text in known for row in there)
    return Overlap(
        first,
        second,
        sorted({row.utterance.speaker for row in speakers.values()}),
        [row.text for row in texts.values()],
        [
            (str(row.utterance.path), str(audio[row.figures.digest].utterance.path))
            for row in {row.figures.digest: row for row in here}.values()
            if row.figures.digest in audio
        ],
        again,
        again / len(there),
    )


def _shared(key: Callable[[Row], Hashable], here: list[Row], there: list[Row]) -> dict[object, Row]:
    """The first of each key of `there` that is in `here`, too; empty keys do not count."""
    known = {key(row) for row in here}
    found: dict[object, Row] = {}
    for row in there:
        if key(row) and key(row) in known:
            found.setdefault(key(row), row)
    return found
