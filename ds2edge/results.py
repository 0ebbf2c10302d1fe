"""What a transcription yields: words with times, partial and final segments, transcripts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from ds2edge.errors import ConfigError
from ds2edge.writing import is_unspaced, join

Seconds: TypeAlias = float  # of audio

LETTER_PAUSE: Seconds = 0.5  # no word of letters goes on after so much silence
SCHEMA = Path(__file__).parent / "schemas" / "results.json"  # see `json_schema`


@dataclass(frozen=True)
class Word:
    """One recognised word."""

    text: str  # as it is spoken: figures and capital letters are in `display`
    start: Seconds  # from the start of the stream
    end: Seconds  # from the start of the stream
    confidence: float  # 0..1


@dataclass(frozen=True)
class Partial:
    """The text so far of a segment that is still open; all but the stable words may change."""

    segment: int  # 0, 1, 2, ... within the stream
    words: tuple[Word, ...]  # of the best reading so far
    stable_words: int  # the first so many words never change again
    language: str = "en"  # of its `display`

    @property
    def text(self) -> str:
        """Its words, with single spaces between where their script writes them."""
        return join_words(self.words)

    @property
    def display(self) -> str:
        """`text` as a reader expects it: figures, capital letters."""
        return _displayed(self.text, self.language)

    @property
    def stable(self) -> str:
        """The part of `text` that every later text of this segment begins with."""
        return join_words(self.words[: self.stable_words])

    def as_dict(self, display: bool = False) -> dict[str, Any]:
        """Plain values: its fields and its `text`, with `display` also that."""
        fields = {"segment": self.segment, "words": _plain(self.words)}
        return {**_texts(self, display), **fields, "stable_words": self.stable_words}


@dataclass(frozen=True)
class Alternative:
    """Another reading of a segment, less likely than its `words`."""

    words: tuple[Word, ...]  # of the whole segment
    score: float  # natural logarithm, of the same scale for all readings of a segment

    @property
    def text(self) -> str:
        """Its words, with single spaces between where their script writes them."""
        return join_words(self.words)


@dataclass(frozen=True)
class Final:
    """A closed segment; nothing about it changes any more."""

    segment: int  # 0, 1, 2, ... within the stream
    words: tuple[Word, ...]  # of the best reading; none where nothing was said
    start: Seconds  # where the segment begins, from the start of the stream
    end: Seconds  # where the segment ends, from the start of the stream
    alternatives: tuple[Alternative, ...] = ()  # the best first, as many as were asked for
    language: str = "en"  # of its `display`

    @property
    def text(self) -> str:
        """Its words, with single spaces between where their script writes them."""
        return join_words(self.words)

    @property
    def display(self) -> str:
        """`text` as a reader expects it: figures, capital letters."""
        return _displayed(self.text, self.language)

    def as_dict(self, display: bool = False) -> dict[str, Any]:
        """Plain values: its fields and its `text`, with `display` also that."""
        others = tuple(
            {"words": _plain(other.words), "score": other.score} for other in self.alternatives
        )
        fields = {"segment": self.segment, "words": _plain(self.words)}
        times = {"start": self.start, "end": self.end}
        return {**_texts(self, display), **fields, **times, "alternatives": others}


Event: TypeAlias = Partial | Final  # what a stream returns


def event_to_json(event: Event, display: bool = False) -> str:
    """`as_dict` with its "type" as one line of JSON; `json_schema("event")` describes it."""
    kind = "final" if isinstance(event, Final) else "partial"
    return json.dumps({"type": kind, **event.as_dict(display)}, ensure_ascii=False)


@dataclass(frozen=True)
class Transcript:
    """All final segments of a recording, in order."""

    segments: tuple[Final, ...]  # those without words among them
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
        """Of all segments, one after the other as `join_words`."""
        return join(segment.text for segment in self.segments if segment.words)

    @property
    def display(self) -> str:
        """`text` as a reader expects it: figures, each segment with a capital letter."""
        return join(segment.display for segment in self.segments if segment.words)

    @property
    def words(self) -> tuple[Word, ...]:
        """Of all segments."""
        return tuple(word for segment in self.segments for word in segment.words)

    def as_dict(self, display: bool = False) -> dict[str, Any]:
        """Plain values: `text`, `duration`, and `segments` with their `words`.

        Args:
            display: add the `display` of the whole and of each segment.
        """
        segments = [segment.as_dict(display) for segment in self.segments]
        return {**_texts(self, display), "duration": self.duration, "segments": segments}

    def to_json(self, display: bool = False) -> str:
        """`as_dict` as one line of JSON; `json_schema("transcript")` describes it."""
        return json.dumps(self.as_dict(display), ensure_ascii=False)


def join_words(words: Iterable[Word]) -> str:
    """The words' text, with single spaces between where their script writes them."""
    return join(word.text for word in words)


def join_letters(words: Sequence[Word], more: bool = False) -> tuple[Word, ...]:
    """Words of single letters, as of a token set without a space, to words: 看 c n n to 看 cnn.

    Characters of scripts that write no spaces stay as they are. Letters with `LETTER_PAUSE` of
    silence between them are of two words.

    Args:
        more: others may follow: letters at the end, which these may belong to, are left out.
    """
    runs: list[list[Word]] = []
    for word in words:
        if runs and _goes_on(runs[-1][-1], word):
            runs[-1].append(word)
        else:
            runs.append([word])
    if more and runs and _is_letter(runs[-1][-1].text):
        runs.pop()
    return tuple(map(merge_words, runs))


def merge_words(parts: Sequence[Word]) -> Word:
    """One word of several; its confidence is their geometric mean."""
    if len(parts) == 1:
        return parts[0]
    confidence = math.prod(part.confidence for part in parts) ** (1 / len(parts))
    return Word("".join(part.text for part in parts), parts[0].start, parts[-1].end, confidence)


def json_schema(kind: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of what ds2edge writes as JSON.

    Args:
        kind: "file", a line of `ds2edge transcribe --json`; "event", a line of
            `ds2edge mic --json`; "transcript", `Transcript.to_json`.

    Raises:
        ConfigError: there is no such kind.
    """
    schema: dict[str, Any] = json.loads(SCHEMA.read_bytes())
    kinds = [each["$ref"].rpartition("/")[2] for each in schema.pop("anyOf")]
    if kind not in kinds:
        raise ConfigError(f"there are schemas of {', '.join(kinds)}, got {kind!r}")
    return {**schema, "title": schema["$defs"][kind]["title"], "$ref": f"#/$defs/{kind}"}


def _goes_on(before: Word, after: Word) -> bool:
    together = _is_letter(before.text) and _is_letter(after.text)
    return together and after.start - before.end < LETTER_PAUSE


def _is_letter(text: str) -> bool:
    return text.isalnum() and not is_unspaced(text)


def _texts(what: Partial | Final | Transcript, display: bool) -> dict[str, Any]:
    return {"text": what.text, **({"display": what.display} if display else {})}


def _plain(words: Iterable[Word]) -> tuple[dict[str, Any], ...]:
    # Ten times as fast as dataclasses.asdict, for servers that tell of every step of many streams.
    return tuple(dict(vars(word)) for word in words)


def _displayed(text: str, language: str) -> str:
    from ds2edge.display import display  # late: its tables are only for those who ask

    return display(text, language)
