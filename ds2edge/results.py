"""What a transcription yields: words with times, partial and final segments, transcripts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

Seconds: TypeAlias = float


@dataclass(frozen=True)
class Word:
    """One recognised word."""

    text: str
    start: Seconds  # from the start of the stream
    end: Seconds  # from the start of the stream
    confidence: float  # 0..1


@dataclass(frozen=True)
class Partial:
    """The text so far of a segment that is still open; all but the stable words may change."""

    segment: int  # 0, 1, 2, ... within the stream
    words: tuple[Word, ...]
    stable_words: int  # the first so many words never change again

    @property
    def text(self) -> str:
        return join_words(self.words)

    @property
    def display(self) -> str:
        """`text` as a reader expects it: figures, capital letters."""
        return _displayed(self.text)

    @property
    def stable(self) -> str:
        """The part of `text` that every later text of this segment begins with."""
        return join_words(self.words[: self.stable_words])


@dataclass(frozen=True)
class Alternative:
    """Another reading of a segment, less likely than its `words`."""

    words: tuple[Word, ...]
    score: float  # natural logarithm, of the same scale for all readings of a segment

    @property
    def text(self) -> str:
        return join_words(self.words)


@dataclass(frozen=True)
class Final:
    """A closed segment; nothing about it changes any more."""

    segment: int  # 0, 1, 2, ... within the stream
    words: tuple[Word, ...]
    start: Seconds  # where the segment begins, from the start of the stream
    end: Seconds  # where the segment ends, from the start of the stream
    alternatives: tuple[Alternative, ...] = ()  # the best first, as many as were asked for

    @property
    def text(self) -> str:
        return join_words(self.words)

    @property
    def display(self) -> str:
        """`text` as a reader expects it: figures, capital letters."""
        return _displayed(self.text)


Event: TypeAlias = Partial | Final


@dataclass(frozen=True)
class Transcript:
    """All final segments of a recording, in order."""

    segments: tuple[Final, ...]
    duration: Seconds  # of the audio

    @classmethod
    def from_events(cls, events: Iterable[Event], duration: Seconds | None = None) -> Transcript:
        """Keep the finals among `events`; without `duration`, the audio ends with the last one."""
        segments = tuple(event for event in events if isinstance(event, Final))
        if duration is None:
            duration = segments[-1].end if segments else 0.0
        return cls(segments, duration)

    @property
    def text(self) -> str:
        return " ".join(segment.text for segment in self.segments if segment.words)

    @property
    def display(self) -> str:
        """`text` as a reader expects it: figures, each segment with a capital letter."""
        return " ".join(segment.display for segment in self.segments if segment.words)

    @property
    def words(self) -> tuple[Word, ...]:
        return tuple(word for segment in self.segments for word in segment.words)

    def as_dict(self) -> dict[str, Any]:
        """Plain values: `text`, `duration`, and `segments` with their `words`."""
        segments = [{"text": segment.text, **asdict(segment)} for segment in self.segments]
        return {"text": self.text, "duration": self.duration, "segments": segments}

    def to_json(self) -> str:
        """`as_dict` as one line of JSON."""
        return json.dumps(self.as_dict(), ensure_ascii=False)


def join_words(words: Iterable[Word]) -> str:
    """The words' text with single spaces between."""
    return " ".join(word.text for word in words)


def _displayed(text: str) -> str:
    from ds2edge.display import display  # late: its tables are only for those who ask

    return display(text)
