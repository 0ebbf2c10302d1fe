"""Final segments as subtitles: SubRip (.srt) and WebVTT (.vtt)::

    text = to_srt(transcript.segments)

or, while a stream runs, cue after cue::

    for cue in cues([final], layout, after=end):
        file.write(srt_cue(number, cue))
        number, end = number + 1, cue.end
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ds2edge.errors import ConfigError
from ds2edge.results import Final, Seconds, Word
from ds2edge.writing import cells, join, stands_apart


@dataclass(frozen=True)
class SubtitleLayout:
    """How much a cue holds and how long it stays."""

    line_length: int = 42  # columns, of which a Han character takes two; a longer word is cut
    lines: int = 2  # at most so many in a cue
    longest: Seconds = 7.0  # no cue stays longer
    shortest: Seconds = 1.0  # a shorter cue stays on in the silence after it
    pause: Seconds = 0.8  # so long a silence between two words begins a new cue

    def __post_init__(self) -> None:
        for name in ("line_length", "lines"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ConfigError(f"{name} is {value!r}, needed: a whole number from 1 up")
        if not (0 <= self.shortest <= self.longest and 0 < self.longest < math.inf):
            raise ConfigError(
                f"need 0 <= shortest <= longest < inf seconds and longest above 0, "
                f"got shortest {self.shortest} and longest {self.longest}"
            )
        if not self.pause > 0:
            raise ConfigError(f"pause is {self.pause} s, needed: above 0")


@dataclass(frozen=True)
class Cue:
    """What is shown at a time."""

    start: Seconds  # from the start of the stream, whole milliseconds
    end: Seconds  # from the start of the stream, whole milliseconds, after `start`
    lines: tuple[str, ...]  # plain text, from the upper line to the lower


DEFAULT_LAYOUT = SubtitleLayout()


def to_srt(segments: Iterable[Final], layout: SubtitleLayout = DEFAULT_LAYOUT) -> str:
    """SubRip text of segments in the order of time; "" if there are no words."""
    return "".join(srt_cue(i, cue) for i, cue in enumerate(cues(segments, layout), start=1))


def to_vtt(segments: Iterable[Final], layout: SubtitleLayout = DEFAULT_LAYOUT) -> str:
    """WebVTT text of segments in the order of time; only the header if there are no words."""
    return "WEBVTT\n" + "".join(vtt_cue(cue) for cue in cues(segments, layout))


def srt_cue(number: int, cue: Cue) -> str:
    """One SubRip block with the empty line that ends it; the first `number` of a file is 1."""
    # Players take any line with "-->" for times, and SubRip has no escape.
    lines = [line.replace("-->", "\u2192") for line in cue.lines]
    times = f"{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}"
    return "\n".join([str(number), times, *lines]) + "\n\n"


def vtt_cue(cue: Cue) -> str:
    """One WebVTT block with the empty line that parts it from the header or cue before."""
    lines = [
        line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for line in cue.lines
    ]
    times = f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}"
    return "\n" + "\n".join([times, *lines]) + "\n"


def cues(
    segments: Iterable[Final],
    layout: SubtitleLayout = DEFAULT_LAYOUT,
    *,
    after: Seconds = 0.0,
) -> list[Cue]:
    """Cues of segments in the order of time.

    No cue spans two segments or overlaps another, each is at least 1 ms long, and none begins
    before `after`. A word longer than a line is cut; no other word is.
    """
    spoken = [span for segment in segments for span in _spans(segment, layout)]
    starts: list[int] = []
    earliest = _milliseconds(after)
    for pieces in spoken:
        starts.append(max(earliest, pieces[0].start))
        earliest = starts[-1] + 1
    shown = []
    for i, (pieces, start) in enumerate(zip(spoken, starts, strict=True)):
        end = max(pieces[-1].end, start + _milliseconds(layout.shortest))
        end = max(start + 1, min(end, start + _milliseconds(layout.longest)))
        end = min([end, *starts[i + 1 : i + 2]])
        shown.append(Cue(start / 1000, end / 1000, _lines(pieces, layout)))
    return shown


class _Piece(NamedTuple):
    """A word without white space that fits on a line, or a part of a longer word."""

    text: str
    start: int  # milliseconds
    end: int  # milliseconds


def _spans(segment: Final, layout: SubtitleLayout) -> Iterator[list[_Piece]]:
    """What each cue of a segment says."""
    pieces = [piece for word in segment.words for piece in _pieces(word, layout.line_length)]
    begin = 0
    for at in range(1, len(pieces) + 1):
        last = at == len(pieces)
        if last or pieces[at].start - pieces[at - 1].end >= layout.pause * 1000:
            yield from _full_cues(pieces[begin:at], layout)
            begin = at


def _pieces(word: Word, line_length: int) -> Iterator[_Piece]:
    """Cut a word to the length of a line, its time in proportion."""
    texts = [text for part in word.text.split() for text in _short(part, line_length)]
    total, done = sum(map(len, texts)), 0
    for text in texts:
        start = word.start + (word.end - word.start) * done / total
        done += len(text)
        end = word.start + (word.end - word.start) * done / total
        yield _Piece(text, _milliseconds(start), _milliseconds(end))


def _short(text: str, line_length: int) -> Iterator[str]:
    """A text in parts that fit on a line; a character is never cut."""
    begin = 0
    for end in range(1, len(text) + 1):
        if end == len(text) or cells(text[begin : end + 1]) > line_length:
            yield text[begin:end]
            begin = end


def _full_cues(pieces: Sequence[_Piece], layout: SubtitleLayout) -> Iterator[list[_Piece]]:
    """Divide what is said without a pause into cues that are neither too full nor too long."""
    line_ends, reach = _line_ends(pieces, layout.line_length), []
    for start, piece in enumerate(pieces):
        end = start
        for _ in range(layout.lines):
            end = line_ends[end] if end < len(pieces) else end
        while end > start + 1 and pieces[end - 1].end - piece.start > layout.longest * 1000:
            end -= 1
        reach.append(end)
    for start, end in _cut(pieces, reach, layout.lines * layout.line_length, layout.pause):
        yield list(pieces[start:end])


def _lines(pieces: Sequence[_Piece], layout: SubtitleLayout) -> tuple[str, ...]:
    """The fewest lines, balanced."""
    reach = _line_ends(pieces, layout.line_length)
    spans = _cut(pieces, reach, layout.line_length, math.inf)
    return tuple(join(piece.text for piece in pieces[start:end]) for start, end in spans)


def _line_ends(pieces: Sequence[_Piece], line_length: int) -> list[int]:
    """For each piece, where a line that begins with it must end."""
    columns, ends, end = _columns(pieces), [], 0
    for start, (left, _) in enumerate(columns):
        while end < len(pieces) and columns[end][1] - left <= line_length:
            end += 1
        ends.append(max(end, start + 1))
    return ends


def _columns(pieces: Sequence[_Piece]) -> list[tuple[int, int]]:
    """Where each piece would begin and end if all stood on one line."""
    columns: list[tuple[int, int]] = []
    at, before = 0, ""
    for piece in pieces:
        at += bool(before) and stands_apart(before, piece.text)
        columns.append((at, at + cells(piece.text)))
        at, before = columns[-1][1], piece.text
    return columns


def _cut(
    pieces: Sequence[_Piece], reach: Sequence[int], room: int, pause: Seconds
) -> list[tuple[int, int]]:
    """Cut pieces into the fewest spans, span i..j only if j <= reach[i].

    Among those the cut with the least sum of squared lengths, which balances them, and of
    penalties for ends inside a phrase; among equals the one whose last span is longest.
    """
    columns = _columns(pieces)
    best: list[tuple[int, float]] = [(0, 0.0)]  # spans and cost up to each place
    best += [(len(pieces) + 1, 0.0)] * len(pieces)
    begins = [0] * (len(pieces) + 1)  # of the best last span up to each place
    for start in range(len(pieces)):
        spans, cost = best[start]
        for end in range(start + 1, reach[start] + 1):
            length = columns[end - 1][1] - columns[start][0]
            penalty = _penalty(pieces[end - 1], pieces[end], pause) if end < len(pieces) else 0
            # A tenth of a full line squared: one grade is worth 9 characters of imbalance in 42.
            candidate = (spans + 1, cost + length**2 + penalty * room**2 / 10)
            if candidate < best[end]:
                best[end], begins[end] = candidate, start
    cuts, end = [], len(pieces)
    while end:
        cuts.append((begins[end], end))
        end = begins[end]
    return cuts[::-1]


# Words that belong to what follows them.
_LINK_WORDS = """
    a an the my your his her its our their
    and but or nor so yet because although though while when if that which who whose where as than
    at by for from in into of off on onto out over through to under until up with without
    between about after before during
    在 和 与 或 把 被 从 跟 对 不 没 很 这 那 一
    因为 所以 但是 而且 如果 虽然
"""
_LINKS = frozenset(_LINK_WORDS.split())
# Words that belong to what is before them.
_TAILS = frozenset("的了吗呢吧啊们么")


def _penalty(before: _Piece, after: _Piece, pause: Seconds) -> float:
    """0..4: how badly a cut between two pieces reads."""
    if before.text[-1] in ".,;:!?\u2026\u3002\u3001\uff0c\uff01\uff1f":
        return 0.0
    grade = 1.0 if after.text.lower() in _LINKS else 2.0
    if before.text.lower() in _LINKS or after.text in _TAILS:
        grade = 4.0
    silence = max(0, after.start - before.end) / 1000
    return grade * max(0.0, 1 - silence / pause)


def _milliseconds(seconds: Seconds) -> int:
    return max(0, round(seconds * 1000))


def _clock(seconds: Seconds, point: str) -> str:
    """hh:mm:ss.mmm, with more digits from 100 hours up."""
    rest, milliseconds = divmod(_milliseconds(seconds), 1000)
    rest, second = divmod(rest, 60)
    hour, minute = divmod(rest, 60)
    return f"{hour:02}:{minute:02}:{second:02}{point}{milliseconds:03}"
