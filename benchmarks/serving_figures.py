"""The arithmetic of the server's benchmarks: histograms, what clients found, what is sustained."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from ds2edge.results import Seconds
from ds2edge.serving.metrics import Metrics

AIM: Seconds = 0.1  # the 98th percentile from a chunk's arrival to the end of its acoustic step
SHARE = 0.98  # of the chunks
LATE: Seconds = 0.02  # a quarter of a chunk: later than that, a client does not speak in real time
LOST: Seconds = 0.001  # of a stream's audio, in which its segments may round

# How many batches there were of each size; a size may stand for those down to the one before.
Sizes: TypeAlias = Mapping[int, int]


@dataclass(frozen=True)
class Times:
    """A histogram: how many times were up to each bound and above the one before."""

    bounds: tuple[Seconds, ...] = ()  # rising; the last may be infinite
    counts: tuple[int, ...] = ()  # as many

    @property
    def count(self) -> int:
        """Of all times."""
        return sum(self.counts)

    def __sub__(self, before: Times) -> Times:
        """What was added since `before`."""
        if not before.bounds:
            return self
        if before.bounds != self.bounds:
            raise ValueError("histograms of other bounds cannot be compared")
        counts = tuple(now - then for now, then in zip(self.counts, before.counts, strict=True))
        if min(counts) < 0:
            raise ValueError("a histogram has lost some of its times: did the server begin anew?")
        return Times(self.bounds, counts)

    def share_up_to(self, bound: Seconds) -> float:
        """Of all times, at most `bound`, which must be a bound of the histogram."""
        at = bisect_left(self.bounds, bound * (1 - 1e-9))
        if at == len(self.bounds) or not math.isclose(self.bounds[at], bound):
            raise ValueError(f"{bound} is no bound of the histogram")
        return sum(self.counts[: at + 1]) / self.count if self.count else 0.0

    def quantile(self, share: float) -> Seconds:
        """What this share of all times is at most; NaN where there are none.

        Times are taken as spread evenly, on a scale of logarithms, between two bounds.
        """
        wanted, seen, lower = share * self.count, 0, 0.0
        for bound, count in zip(self.bounds, self.counts, strict=True):
            if count and seen + count >= wanted:
                part = (wanted - seen) / count
                if not math.isfinite(bound):
                    return bound
                return lower ** (1 - part) * bound**part if lower else bound * part
            seen, lower = seen + count, bound
        return math.nan


@dataclass(frozen=True)
class Snapshot:
    """What a dispatcher has measured of itself until now."""

    acoustic: Times = field(default_factory=Times)  # from arrival to the end of the acoustic step
    text: Times = field(default_factory=Times)  # from arrival to what it made of the text
    queue: Times = field(default_factory=Times)  # from arrival to its batch
    step: Times = field(default_factory=Times)  # a batch's features and acoustic model
    search: Times = field(default_factory=Times)  # a batch's search
    batches: Sizes = field(default_factory=dict)
    steps: int = 0  # in all of them
    taken: Seconds = 0.0  # of audio

    def __sub__(self, before: Snapshot) -> Snapshot:
        """What was added since `before`."""
        return Snapshot(
            self.acoustic - before.acoustic,
            self.text - before.text,
            self.queue - before.queue,
            self.step - before.step,
            self.search - before.search,
            dict(Counter(self.batches) - Counter(before.batches)),
            self.steps - before.steps,
            self.taken - before.taken,
        )


def snapshot(metrics: Metrics, bounds: Sequence[Seconds]) -> Snapshot:
    """Of a dispatcher in this process."""
    upper = (*bounds, math.inf)
    found = {
        name: Times(upper, tuple(getattr(metrics, name).counts))
        for name in ("acoustic", "text", "queue", "step", "search")
    }
    batches = dict(metrics.batches)
    steps = sum(size * count for size, count in batches.items())
    return Snapshot(**found, batches=batches, steps=steps, taken=metrics.taken)


@dataclass(frozen=True)
class Reading:
    """What was so at one moment; of the difference of two, what was so between them."""

    at: Seconds  # by the clock
    found: Snapshot
    server: Seconds  # of a processor, used by the server
    clients: Seconds  # likewise by the clients

    def __sub__(self, before: Reading) -> Reading:
        """`at` is then how long it was."""
        return Reading(
            self.at - before.at,
            self.found - before.found,
            self.server - before.server,
            self.clients - before.clients,
        )


@dataclass(frozen=True)
class Heard:
    """What the clients of one measurement found, all of them together."""

    offered: Seconds = 0.0  # of audio, that they sent
    transcribed: Seconds = 0.0  # of audio, in the finals that they got
    wrong: int = 0  # streams whose finals are not those of the same recording offline
    unfinished: int = 0  # streams without an end, or ended by an error
    late: Seconds = 0.0  # what 98 of 100 chunks were at most sent too late
    ping: tuple[Seconds, Seconds] = (math.nan, math.nan)  # there and back: median, 98th percentile
    closing: tuple[Seconds, Seconds] = (math.nan, math.nan)  # from finish to the end, likewise
    errors: tuple[str, ...] = ()  # what some of them were told


@dataclass(frozen=True)
class Row:
    """One measurement: so many streams, in one way."""

    way: str
    streams: int
    window: Reading  # while all of them spoke
    heard: Heard  # of whole streams

    @property
    def found(self) -> Snapshot:
        """By the dispatcher, in the window."""
        return self.window.found

    @property
    def mean_batch(self) -> float:
        """Steps in a batch; NaN where there was none."""
        batches = sum(self.found.batches.values())
        return self.found.steps / batches if batches else math.nan

    @property
    def is_on_time(self) -> bool:
        """Did the clients speak in real time? Else nothing here tells about the server."""
        return self.heard.late <= LATE

    @property
    def is_complete(self) -> bool:
        """Was every second that was offered transcribed, and rightly?"""
        heard = self.heard
        lost = abs(heard.offered - heard.transcribed) > LOST * self.streams
        return not (lost or heard.wrong or heard.unfinished)

    @property
    def is_sustained(self) -> bool:
        """On time, complete, and 98 of 100 chunks through the model within the aim."""
        fast = self.found.acoustic.share_up_to(AIM) >= SHARE if self.found.acoustic.count else False
        return self.is_on_time and self.is_complete and fast


def percentiles(times: Sequence[Seconds]) -> tuple[Seconds, Seconds]:
    """Median and 98th percentile; NaN where there are none."""
    if not len(times):
        return math.nan, math.nan
    median, most = np.percentile(times, [50, 100 * SHARE])
    return float(median), float(most)


def most_sustained(rows: Sequence[Row]) -> int:
    """The most streams below which every measured number was sustained, too; 0: none was."""
    most = 0
    for row in sorted(rows, key=lambda row: row.streams):
        if not row.is_sustained:
            break
        most = row.streams
    return most


def next_between(rows: Sequence[Row], apart: int) -> int | None:
    """A number of streams half-way between what was sustained and what was not.

    A multiple of `apart`; None where they are no further apart than that, or all were sustained.
    """
    most = most_sustained(rows)
    above = [row.streams for row in rows if row.streams > most]
    if not above or min(above) - most <= apart:
        return None
    return most + max(apart, (min(above) - most) // 2 // apart * apart)


def shares(batches: Sizes, bins: Sequence[int]) -> list[float]:
    """Of all batches, those of a size from each bin's bound up to below the next one's."""
    total = sum(batches.values())
    bounds = [*bins, math.inf]
    return [
        sum(count for size, count in batches.items() if low <= size < high) / max(1, total)
        for low, high in pairwise(bounds)
    ]
