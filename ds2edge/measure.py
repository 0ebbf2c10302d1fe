"""How fast ds2edge is here: seconds of compute for a second of audio, by stage, and delays."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ds2edge.acoustic import StepModel
from ds2edge.audio import FloatArray, SampleInput
from ds2edge.audio_file import open_audio
from ds2edge.decoder import DecoderState
from ds2edge.features import FeatureExtractor
from ds2edge.pipeline import Pipeline
from ds2edge.results import Seconds
from ds2edge.transcriber import Transcriber
from ds2edge.whole import WholeRecording

Recording: TypeAlias = tuple[FloatArray, float]  # samples, shape = (n,) or (n, channels), and Hz
Report: TypeAlias = Callable[[Seconds], object]  # called with the audio that was worked on just now

RUNS = 3  # of which the fastest counts
FEED: Seconds = 0.02  # of audio, as a microphone gives at once

# The methods in which each stage works; a stage calls no other.
STAGES: dict[str, list[tuple[type, str]]] = {
    "resampling": [(SampleInput, "convert"), (SampleInput, "finish")],
    "features": [(FeatureExtractor, name) for name in ("cut", "cut_rest", "frames")],
    "acoustic_model": [
        (model, name)
        for model in (StepModel, WholeRecording)
        for name in ("step_together", "flush")
    ],
    "search": [
        (Pipeline, "search"),
        *((DecoderState, name) for name in ("commit", "words", "finish")),
    ],
}


@dataclass(frozen=True)
class Speed:
    """Seconds of compute for a second of audio, audio in memory to text."""

    real_time_factor: float  # of the fastest of RUNS
    stages: dict[str, float]  # their parts of it, "everything_else" among them


@dataclass(frozen=True)
class Delays:
    """How long the calls of a stream take that is fed as a microphone feeds it."""

    feed_median: Seconds  # of feeding 20 ms; most feeds complete no chunk of the step graph
    feed_98: Seconds  # 98 of 100 feeds take no longer
    finish: Seconds  # after the last sample, the median of the recordings


def read_recordings(paths: Iterable[str | os.PathLike[str]], longest: Seconds) -> list[Recording]:
    """The first so many seconds of some files, at their own rates.

    Raises:
        AudioError: one cannot be read.
    """
    found: list[Recording] = []
    left = longest
    for path in paths:
        if left <= 0:
            break
        with open_audio(path) as file:
            blocks = []
            for block in file.blocks(1.0):
                block = block[: max(1, round(min(left, 1.0) * file.sample_rate))]
                blocks.append(block)
                left -= len(block) / file.sample_rate
                if left <= 0:
                    break
            found.append((np.concatenate(blocks), float(file.sample_rate)))
    return found


def seconds_of(recordings: Iterable[Recording]) -> Seconds:
    """Of audio, in all."""
    return sum(len(samples) / rate for samples, rate in recordings)


def measure_speed(
    transcriber: Transcriber, recordings: Sequence[Recording], report: Report = lambda _: None
) -> Speed:
    """Transcribe the recordings once more than RUNS times."""
    seconds = seconds_of(recordings)

    def run() -> float:
        spent = 0.0
        for samples, rate in recordings:
            began = time.perf_counter()
            transcriber.transcribe(samples, rate)
            spent += time.perf_counter() - began
            report(len(samples) / rate)
        return spent

    best = min(run() for _ in range(RUNS))
    spent = dict.fromkeys(STAGES, 0.0)
    with _timed_stages(spent):
        total = run()
    parts = {**spent, "everything_else": total - sum(spent.values())}
    # Without the timers it takes less; in the same parts.
    return Speed(
        best / seconds, {name: best * part / total / seconds for name, part in parts.items()}
    )


def measure_delays(
    transcriber: Transcriber, recordings: Sequence[Recording], report: Report = lambda _: None
) -> Delays:
    """Feed each recording in pieces of 20 ms, as fast as it goes."""
    feeds, finishes = [], []
    for samples, rate in recordings:
        length = max(1, round(rate * FEED))
        with transcriber.stream(rate) as stream:
            for begin in range(0, len(samples), length):
                began = time.perf_counter()
                stream.feed(samples[begin : begin + length])
                feeds.append(time.perf_counter() - began)
            began = time.perf_counter()
            stream.finish()
            finishes.append(time.perf_counter() - began)
        report(len(samples) / rate)
    median, most = np.percentile(feeds, [50, 98])
    return Delays(float(median), float(most), float(np.median(finishes)))


def resident_megabytes() -> float | None:
    """Memory of this process, the shared libraries and the mapped language model among it.

    None where the system does not tell in the way of Linux.
    """
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def _timed_stages(spent: dict[str, float]) -> Iterator[None]:
    """Add the time inside each stage's methods to `spent`; for all threads of the process."""
    methods = [
        (stage, owner, name, getattr(owner, name))
        for stage, each in STAGES.items()
        for owner, name in each
    ]
    for stage, owner, name, method in methods:
        setattr(owner, name, _timed(method, stage, spent))
    try:
        yield
    finally:
        for _, owner, name, method in methods:
            setattr(owner, name, method)


def _timed(function: Callable[..., Any], stage: str, spent: dict[str, float]) -> Callable[..., Any]:
    def wrapper(*arguments: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*arguments, **named)
        finally:
            spent[stage] += time.perf_counter() - began

    return wrapper
