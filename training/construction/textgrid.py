"""An alignment as a TextGrid, which Praat shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ds2edge.results import Seconds
from ds2edge.training.construction.alignment import Alignment

Interval = tuple[Seconds, Seconds, str]  # from, to, what


def to_textgrid(alignment: Alignment) -> str:
    """Two tiers of intervals: words, and what is said that the text lacks."""
    words = [(word.start, word.end, word.text) for word in alignment.found]
    foreign = [(stretch.start, stretch.end, "?") for stretch in alignment.foreign]
    tiers = [_tier("words", words, alignment.seconds), _tier("foreign", foreign, alignment.seconds)]
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0",
        f"xmax = {alignment.seconds:.3f}",
        "tiers? <exists>",
        f"size = {len(tiers)}",
        "item []:",
    ]
    for number, tier in enumerate(tiers, 1):
        lines += [f"    item [{number}]:", *tier]
    return "\n".join(lines) + "\n"


def _tier(name: str, intervals: Sequence[Interval], seconds: Seconds) -> list[str]:
    whole = list(_without_gaps(intervals, seconds))
    lines = [
        '        class = "IntervalTier"',
        f'        name = "{name}"',
        "        xmin = 0",
        f"        xmax = {seconds:.3f}",
        f"        intervals: size = {len(whole)}",
    ]
    for number, (start, end, text) in enumerate(whole, 1):
        lines += [
            f"        intervals [{number}]:",
            f"            xmin = {start:.3f}",
            f"            xmax = {end:.3f}",
            '            text = "{}"'.format(text.replace('"', '""')),
        ]
    return lines


def _without_gaps(intervals: Iterable[Interval], seconds: Seconds) -> Iterator[Interval]:
    """A tier's intervals fill it from begin to end, and none is empty."""
    at = 0.0
    for start, end, text in intervals:
        start = max(start, at)
        if end <= start:
            continue
        if start > at:
            yield at, start, ""
        yield start, end, text
        at = end
    if at < seconds:
        yield at, seconds, ""
