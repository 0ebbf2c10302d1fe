"""Long recordings cut where a long run of blanks is: segments of about seven seconds (section 5.1).

A cut lies in the middle of a pause, never in a word. Of all ways to cut, the one is taken whose
segments are nearest to the length that was asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ds2edge.errors import ConfigError
from ds2edge.results import Seconds
from ds2edge.training.construction.alignment import AlignedWord, Alignment, Stretch
from ds2edge.writing import join

SPOKEN = 0.03  # s of foreign speech for each letter that was not found: then it was said, badly


@dataclass(frozen=True)
class SegmentOptions:
    """Where to cut. All in seconds."""

    target: Seconds = 7.0  # length of a segment, about
    longest: Seconds = 15.0  # what has no pause for longer is left out
    shortest: Seconds = 1.0  # what is shorter and stands alone is left out
    pause: Seconds = 0.3  # the shortest that may be cut in
    margin: Seconds = 0.3  # silence that is kept before and after, at most
    foreign: Seconds = 0.5  # of speech that the text lacks in a segment, at most

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value < math.inf:
                raise ConfigError(f"{name} needs 0 s or more, got {value:g}")
        if not 0 < self.shortest <= self.target <= self.longest:
            raise ConfigError(
                "need 0 < shortest <= target <= longest, got "
                f"{self.shortest:g}, {self.target:g} and {self.longest:g} s"
            )


@dataclass(frozen=True)
class Segment:
    """A part of a recording with its text."""

    start: Seconds
    end: Seconds
    words: tuple[AlignedWord, ...]
    foreign: Seconds  # in which something is said that the text lacks

    @property
    def seconds(self) -> Seconds:
        """How long it is."""
        return self.end - self.start

    @property
    def text(self) -> str:
        """What is said."""
        return join(word.text for word in self.words)


@dataclass(frozen=True)
class Dropped:
    """A part of a recording that makes no segment."""

    start: Seconds
    end: Seconds
    reason: str


def segment(alignment: Alignment, options: SegmentOptions) -> tuple[list[Segment], list[Dropped]]:
    """Cut a recording; also what is left out, and why, in the order of time."""
    words = spoken_words(alignment)
    pieces = _pieces(alignment, words, options)
    segments: list[Segment] = []
    dropped: list[Dropped] = []
    run: list[Segment] = []
    for piece in pieces:
        if piece.words:
            run.append(piece)
        else:
            segments += _joined(run, options)
            run = []
            if piece.foreign:
                dropped.append(Dropped(piece.start, piece.end, "speech without text"))
    segments += _joined(run, options)
    kept = []
    for one in segments:
        if reason := _unfit(one, options):
            dropped.append(Dropped(one.start, one.end, reason))
        else:
            kept.append(one)
    return kept, sorted(dropped, key=lambda one: one.start)


def spoken_words(alignment: Alignment) -> list[AlignedWord]:
    """The words found, and those not found where something was said in their place.

    These get equal parts of the time in which it was said, and the score 0.
    """
    spoken: list[AlignedWord] = []
    missing: list[AlignedWord] = []
    before = 0.0
    for word in [*alignment.words, AlignedWord("", 0, alignment.seconds, alignment.seconds)]:
        if not word.found:
            missing.append(word)
            continue
        spoken += _guessed(missing, _within(alignment.foreign, before, word.start))
        missing = []
        if word.text:
            spoken.append(word)
        before = word.end
    return spoken


def _guessed(missing: Sequence[AlignedWord], said: Sequence[Stretch]) -> list[AlignedWord]:
    letters = sum(len(word.text) for word in missing)
    if not missing or sum(stretch.seconds for stretch in said) < SPOKEN * letters:
        return []
    start, end = said[0].start, said[-1].end
    each = (end - start) / len(missing)
    return [
        AlignedWord(
            word.text, word.line, round(start + i * each, 3), round(start + (i + 1) * each, 3)
        )
        for i, word in enumerate(missing)
    ]


def _pieces(
    alignment: Alignment, words: Sequence[AlignedWord], options: SegmentOptions
) -> list[Segment]:
    """The recording between all pauses that may be cut in."""
    cuts = [pause for pause in alignment.pauses if pause.seconds >= options.pause]
    cuts = [pause for pause in cuts if not _spoken_in(pause, words)]
    edges = [Stretch(0.0, 0.0), *cuts, Stretch(alignment.seconds, alignment.seconds)]
    pieces, at = [], 0
    for left, right in pairwise(edges):
        start = max((left.start + left.end) / 2, left.end - options.margin)
        end = min((right.start + right.end) / 2, right.start + options.margin)
        inside = []
        while at < len(words) and words[at].start < right.start:
            inside.append(words[at])
            at += 1
        said = _within(alignment.foreign, left.end, right.start)
        guessed = sum(word.end - word.start for word in inside if not word.score)
        foreign = max(0.0, sum(stretch.seconds for stretch in said) - guessed)
        if inside:  # a word may reach a little into the pause behind it
            end = max(end, min(inside[-1].end, (right.start + right.end) / 2))
        if start < end:
            pieces.append(Segment(start, end, tuple(inside), foreign))
    return pieces


def _joined(pieces: Sequence[Segment], options: SegmentOptions) -> list[Segment]:
    """Neighbours together, so that the lengths are nearest to the target in total.

    The best way up to each piece, by the squares of what the lengths are off.
    """
    costs, begins = [0.0], [0]
    for end in range(1, len(pieces) + 1):
        least, best = math.inf, end - 1
        for begin in range(end - 1, -1, -1):
            seconds = pieces[end - 1].end - pieces[begin].start
            if seconds > options.longest and begin < end - 1:
                break
            cost = costs[begin] + (seconds / options.target - 1) ** 2
            if cost < least:
                least, best = cost, begin
        costs.append(least)
        begins.append(best)
    segments, end = [], len(pieces)
    while end:
        begin = begins[end]
        segments.append(_one(pieces[begin:end]))
        end = begin
    return segments[::-1]


def _one(pieces: Sequence[Segment]) -> Segment:
    words = tuple(word for piece in pieces for word in piece.words)
    foreign = sum(piece.foreign for piece in pieces)
    return Segment(round(pieces[0].start, 3), round(pieces[-1].end, 3), words, round(foreign, 3))


def _unfit(one: Segment, options: SegmentOptions) -> str:
    """Why a segment is of no use, or nothing."""
    if one.seconds > options.longest:
        return f"no pause within {options.longest:g} s"
    if one.seconds < options.shortest:
        return f"shorter than {options.shortest:g} s"
    if one.foreign > options.foreign:
        return f"more than {options.foreign:g} s of speech without text"
    return ""


def _within(stretches: Sequence[Stretch], start: Seconds, end: Seconds) -> list[Stretch]:
    return [stretch for stretch in stretches if stretch.end > start and stretch.start < end]


def _spoken_in(pause: Stretch, words: Sequence[AlignedWord]) -> bool:
    """Whether a word that was not found may lie in a pause."""
    return any(
        not word.score and word.start < pause.end and word.end > pause.start for word in words
    )
