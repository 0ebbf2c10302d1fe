"""How sure an error rate is: bootstrap intervals, and paired comparison of two systems.

What is drawn anew, with replacement, is whole utterances or, because one person's errors go
together, whole speakers (Bisani and Ney 2004). Two systems are compared on the same draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from ds2edge.errors import DataError
from ds2edge.training.evaluation.metrics import Counts

Floats: TypeAlias = npt.NDArray[np.float64]
Unit = Literal["utterance", "speaker"]

LEAST_UNITS = 5  # fewer say nothing of how much they differ
CHUNK = 2**22  # numbers drawn at a time, which bounds the memory


@dataclass(frozen=True)
class Bootstrap:
    """How often what is drawn."""

    unit: Unit = "utterance"  # what is drawn as a whole
    samples: int = 10_000
    level: float = 0.95  # of the intervals
    seed: int = 0


class Interval(NamedTuple):
    """Where a figure lies, with the probability that was asked for."""

    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """The error rate of a second system minus that of a first one, on the same recordings."""

    rate: float  # below 0: the second is better
    interval: Interval | None  # None: too few to tell
    p: float  # how often two equal systems would be as far apart, from permutations
    wins: int  # utterances of which the second has fewer errors
    losses: int  # and more
    ties: int


def rate_interval(
    errors: Counts,
    lengths: Counts,
    speakers: Sequence[str] = (),
    bootstrap: Bootstrap | None = None,
) -> Interval | None:
    """Percentile interval of the error rate over all utterances together.

    Args:
        errors: of each utterance, shape = (n,).
        lengths: words or characters that were said, shape = (n,).
        speakers: of each utterance; needed where speakers are drawn.

    Returns: None with fewer than `LEAST_UNITS` utterances or speakers, or without any length.
    """
    bootstrap = bootstrap or Bootstrap()
    sums = _blocks([errors, lengths], speakers, bootstrap.unit)
    if len(sums) < LEAST_UNITS or not lengths.sum():
        return None
    drawn = draw(sums, bootstrap)
    return _percentiles(drawn[:, 0] / np.maximum(drawn[:, 1], 1), bootstrap.level)


def paired(
    first: Counts,
    second: Counts,
    lengths: Counts,
    speakers: Sequence[str] = (),
    bootstrap: Bootstrap | None = None,
) -> Difference:
    """Compare two systems' errors on the same utterances; arguments as of `rate_interval`.

    The interval is the bootstrap's. The p-value is that of the permutation test that swaps the
    two answers of random utterances (or speakers): unlike the bootstrap's it holds for few, too.
    """
    bootstrap = bootstrap or Bootstrap()
    more = second - first
    sums = _blocks([more, lengths], speakers, bootstrap.unit)
    total = max(1, int(lengths.sum()))
    interval = None
    if len(sums) >= LEAST_UNITS and lengths.sum():
        drawn = draw(sums, bootstrap)
        interval = _percentiles(drawn[:, 0] / np.maximum(drawn[:, 1], 1), bootstrap.level)
    return Difference(
        float(more.sum()) / total,
        interval,
        _swapped(sums[:, 0], bootstrap),
        wins=int((more < 0).sum()),
        losses=int((more > 0).sum()),
        ties=int((more == 0).sum()),
    )


def draw(sums: Floats, bootstrap: Bootstrap) -> Floats:
    """Totals of as many units as there are, drawn with replacement, again and again.

    Args:
        sums: of each unit, shape = (units, k).

    Returns: shape = (samples, k).
    """
    rng, count = np.random.default_rng(bootstrap.seed), len(sums)
    at_once = max(1, CHUNK // count)
    totals = []
    for begin in range(0, bootstrap.samples, at_once):
        rows = min(at_once, bootstrap.samples - begin)
        places = rng.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        times = np.bincount(places.ravel(), minlength=rows * count).reshape(rows, count)
        totals.append(times @ sums)
    return np.concatenate(totals)


def _blocks(columns: Sequence[Counts], speakers: Sequence[str], unit: Unit) -> Floats:
    """What each unit adds up to; shape = (units, columns)."""
    values: Floats = np.stack(columns, axis=1).astype(np.float64)
    if unit == "utterance":
        return values
    if len(speakers) != len(values):
        raise DataError(f"needed a speaker for each of {len(values)} utterances")
    names, place = np.unique(np.asarray(speakers), return_inverse=True)
    sums = np.zeros((len(names), len(columns)))
    np.add.at(sums, place.ravel(), values)
    return sums


def _percentiles(figures: Floats, level: float) -> Interval:
    low, high = np.quantile(figures, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def _swapped(more: Floats, bootstrap: Bootstrap) -> float:
    """p-value of the permutation test; `more` is what the second system adds, by unit."""
    rng, more = np.random.default_rng(bootstrap.seed), more[more != 0]
    if not len(more):
        return 1.0
    at_once, observed, extreme = max(1, CHUNK // len(more)), abs(more.sum()), 0
    for begin in range(0, bootstrap.samples, at_once):
        rows = min(at_once, bootstrap.samples - begin)
        signs = 2.0 * rng.integers(2, size=(rows, len(more))) - 1
        # Whole numbers: no rounding decides a tie.
        extreme += int((np.abs(signs @ more) >= observed).sum())
    return (1 + extreme) / (1 + bootstrap.samples)
