"""Recordings that are not like the others of their corpus, by robust z-scores."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ds2edge.training.data.manifest import lengths_agree
from ds2edge.training.statistics.rows import Recordings, Row

Floats = npt.NDArray[np.float64]

STRANGE = 4.0  # least z-score that is told
CERTAIN = 99.0  # in its place, of what is strange whatever the others are like


@dataclass(frozen=True)
class Measure:
    """What recordings are compared by."""

    name: str
    value: Callable[[Row], float]
    shown: Callable[[float], str]  # the value for people
    low: str  # what is wrong with one that has little of it; empty: nothing
    high: str  # and much
    least: float  # deviation that all corpora are taken to have at least, as `scaled`
    scaled: Callable[[Floats], Floats] = np.log  # so that twice and half are equally far


@dataclass(frozen=True)
class Reason:
    """Why a recording is strange."""

    kind: str
    detail: str
    score: float  # distance from the median in robust deviations; `CERTAIN` of other reasons


@dataclass(frozen=True)
class Strange:
    """A recording with all that is strange about it."""

    place: int  # of its row
    reasons: tuple[Reason, ...]  # the strangest first

    @property
    def score(self) -> float:
        return self.reasons[0].score


def characters_per_second(row: Row) -> float:
    return len(row.text) / row.figures.seconds


MEASURES = (
    Measure(
        "characters_per_second",
        characters_per_second,
        lambda value: f"{value:.1f} characters a second",
        "little text for its length",
        "much text for its length",
        0.1,
    ),
    Measure(
        "seconds",
        lambda row: row.figures.seconds,
        lambda value: f"{value:.2f} s",
        "short",
        "long",
        0.2,
    ),
    Measure(
        "level",
        lambda row: row.figures.level,
        lambda value: f"{value:.0f} dB",
        "faint",
        "loud",
        1.5,
        np.asarray,
    ),
    Measure(
        "clipped",
        lambda row: row.figures.clipped,
        lambda value: f"{100 * value:.2g} % of the samples",
        "",
        "clipped",
        0.5,
        lambda values: np.log(values + 1e-4),
    ),
    Measure(
        "bandwidth",
        lambda row: row.figures.bandwidth,
        lambda value: f"nothing above {value / 1000:.1f} kHz",
        "narrow band",
        "",
        0.1,
        lambda values: np.log(values + 100),
    ),
)


def find_strange(recordings: Recordings) -> list[Strange]:
    """All of them, the strangest first."""
    reasons: list[list[Reason]] = [[] for _ in recordings.rows]
    for corpus in recordings.corpora:
        places = recordings.of(corpus)
        rows = [recordings.rows[i] for i in places]
        has_text = any(row.text for row in rows)
        for i, row in zip(places, rows, strict=True):
            reasons[i] += _certain(row, has_text)
        for measure in MEASURES:
            by_text = measure.value is characters_per_second
            compared = [i for i in places if recordings.rows[i].text or not by_text]
            of = [recordings.rows[i] for i in compared]
            for i, reason in zip(compared, _reasons(measure, of), strict=True):
                reasons[i] += [reason] if reason else []
    found = [
        Strange(i, tuple(sorted(those, key=lambda reason: -reason.score)))
        for i, those in enumerate(reasons)
        if those
    ]
    return sorted(found, key=lambda strange: -strange.score)


def most_strange(found: Sequence[Strange], count: int) -> list[Strange]:
    """So many of them: the strangest of each kind in turn, that not all are strange alike."""
    kinds: dict[str, deque[Strange]] = {}
    for strange in found:
        kinds.setdefault(strange.reasons[0].kind, deque()).append(strange)
    chosen: list[Strange] = []
    while len(chosen) < min(count, len(found)):
        for of_kind in kinds.values():
            if of_kind and len(chosen) < count:
                chosen.append(of_kind.popleft())
    return sorted(chosen, key=lambda strange: -strange.score)


def robust_scores(values: Floats, least: float) -> Floats:
    """Distances from the median in deviations, of each side its own: lengths are skewed.

    Args:
        least: deviation that is assumed where the values hardly differ.
    """
    apart = values - np.median(values)
    scores = np.zeros_like(apart)
    for side in (apart < 0, apart > 0):
        if side.any():
            # 1.4826 makes of a median distance the standard deviation, were they normal.
            deviation = 1.4826 * float(np.median(np.abs(apart[side | (apart == 0)])))
            scores[side] = apart[side] / max(deviation, least)
    return scores


def _reasons(measure: Measure, rows: Sequence[Row]) -> list[Reason | None]:
    if not rows:
        return []
    values = np.array([measure.value(row) for row in rows], np.float64)
    scores = robust_scores(measure.scaled(values), measure.least)
    typical = measure.shown(float(np.median(values)))
    found: list[Reason | None] = []
    for value, score in zip(values.tolist(), scores.tolist(), strict=True):
        kind = measure.high if score > 0 else measure.low
        if abs(score) < STRANGE or not kind:
            found.append(None)
            continue
        detail = f"{measure.shown(value)}; the median is {typical} (z = {score:+.1f})"
        found.append(Reason(kind, detail, abs(score)))
    return found


def _certain(row: Row, has_text: bool) -> list[Reason]:
    """Args: has_text: whether others of its corpus have one."""
    found = []
    promised, seconds = row.utterance.seconds, row.figures.seconds
    if not lengths_agree(promised, seconds):
        detail = f"{promised:.2f} s in the manifest, {seconds:.2f} s in the recording"
        found.append(Reason("not as long as the manifest says", detail, CERTAIN))
    if has_text and not row.text:
        found.append(Reason("without text", "others of its corpus have one", CERTAIN))
    return found
