"""What a dispatcher measures of itself, as plain numbers that a server can export."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

from ds2edge.results import Seconds

# Upper bounds of a histogram's bins: from 0.1 ms to 10 s, each a twentieth of a decade (12 %)
# beyond the one before.
BOUNDS: tuple[Seconds, ...] = tuple(10 ** (i / 20 - 4) for i in range(101))


@dataclass
class Histogram:
    """How often a time was how long."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))  # last: beyond all
    sum: Seconds = 0.0  # of all that was observed

    @property
    def count(self) -> int:
        """Of all that was observed."""
        return sum(self.counts)

    def observe(self, seconds: Seconds) -> None:
        """Add a time."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.sum += seconds

    def quantile(self, share: float) -> Seconds:
        """The bound that this share of all times was below, 0..1; 0 where there are none."""
        wanted, seen = share * self.count, 0
        for bound, count in zip((*BOUNDS, float("inf")), self.counts, strict=True):
            seen += count
            if count and seen >= wanted:
                return bound
        return 0.0


@dataclass
class Metrics:
    """Of one dispatcher, since it was made. Read at any time; only the dispatcher writes."""

    streams: int = 0  # opened, ever
    finished: int = 0  # of them
    dropped: int = 0  # closed without being finished
    failed: int = 0  # ended by an error
    taken: Seconds = 0.0  # audio that streams accepted
    transcribed: Seconds = 0.0  # audio of the segments that have ended
    batches: Counter[int] = field(default_factory=Counter)  # how many there were of each size
    queue: Histogram = field(default_factory=Histogram)  # from a chunk's arrival to its batch
    step: Histogram = field(default_factory=Histogram)  # a batch's features and acoustic model
    search: Histogram = field(default_factory=Histogram)  # a batch's search
    acoustic: Histogram = field(default_factory=Histogram)  # from arrival to the end of its step
    text: Histogram = field(default_factory=Histogram)  # from arrival to what it made of the text
