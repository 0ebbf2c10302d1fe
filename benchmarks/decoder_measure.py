"""How the decoder benchmarks measure: speed and errors, the front of both, load and memory."""

from __future__ import annotations

import gc
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from decoder_peers import Engine, Run, Setting, engines_for, weights_of
from decoder_problems import Problem, Speech

from ds2edge.decoder import LogProbs
from ds2edge.errors import DecoderError
from ds2edge.progress import track

FOOTPRINT_SECONDS = 30.0
FRONT_SIZE = 16  # settings of a decoder that are tested at every beam


@dataclass(frozen=True)
class Point:
    """What one setting of one decoder did."""

    decoder: str
    beam: int
    setting: Setting
    milliseconds: float  # CPU time for a second of audio
    error_rate: float  # percent


@dataclass(frozen=True)
class Footprint:
    """What a fresh process needed to load a decoder and decode."""

    load_seconds: float
    loaded: float  # resident MB more than before
    decoded: float  # the same after decoding


@dataclass
class Outcome:
    """All that is known of one problem."""

    problem: Problem
    tuned: list[Point] = field(default_factory=list)  # on the tuning split
    tested: list[Point] = field(default_factory=list)  # on the test split
    footprints: dict[str, Footprint] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)  # decoder and reason


def pin(core: int) -> None:
    """Keep this process on one core."""
    os.sched_setaffinity(0, {core})


def decode_once(run: Run, blocks: Iterable[LogProbs]) -> tuple[list[float], list[str]]:
    """CPU seconds and text of each utterance."""
    spent, said = [], []
    for block in blocks:
        prepared = run.prepare(block)
        began = time.process_time()
        said.append(run.decode(prepared))
        spent.append(time.process_time() - began)
    return spent, said


def measure_points(
    problem: Problem,
    speech: Speech,
    engines: dict[str, Engine],
    settings: Sequence[tuple[str, int, Setting]],
    rounds: int,
    patience: float,
) -> list[Point]:
    """Measure settings side by side: every round runs all of them, so drifts hit all alike.

    The time of an utterance is the least of the rounds. What took longer than `patience` seconds
    is not run again.
    """
    best: dict[int, list[float]] = {}
    said: dict[int, list[str]] = {}
    steps = [(r, i) for r in range(rounds) for i in range(len(settings))]
    for _, i in track(steps, f"{problem.name}: beam {settings[0][1]}", len(steps)):
        name, beam, setting = settings[i]
        if i in best and sum(best[i]) > patience:
            continue
        spent, said[i] = decode_once(engines[name].run(beam, setting), speech.log_probs)
        best[i] = [min(pair) for pair in zip(spent, best.get(i, spent), strict=True)]
    return [
        Point(
            *settings[i],
            1000 * sum(best[i]) / speech.seconds,
            problem.error_rate(speech, said[i]),
        )
        for i in range(len(settings))
    ]


def tune(problem: Problem, name: str, engine: Engine, thin: int) -> list[Point]:
    """Try a decoder's settings on the tuning split: rankings, then prunings of the best one.

    Args:
        thin: take one of so many settings.
    """

    def measured(settings: Sequence[Setting]) -> list[Point]:
        chosen = [(name, problem.beam, s) for s in settings]
        return measure_points(problem, problem.tune, {name: engine}, chosen, 1, 0.0)

    rankings = measured(engine.ranking(weights_of(problem))[::thin])
    return rankings + measured(engine.pruning(lowest(rankings).setting)[::thin])


def lowest(points: Sequence[Point]) -> Point:
    """The point of least error; of equal ones the fastest."""
    return min(points, key=lambda p: (p.error_rate, p.milliseconds))


def front(points: Iterable[Point]) -> list[Point]:
    """Points than which none is both faster and better, the fastest first."""
    found: list[Point] = []
    for point in sorted(points, key=lambda p: (p.milliseconds, p.error_rate)):
        if not found or point.error_rate < found[-1].error_rate:
            found.append(point)
    return found


def spread(points: Sequence[Point], count: int) -> list[Point]:
    """At most `count` of a front's points, the most accurate among them."""
    if len(points) <= count:
        return list(points)
    places = {round(i * (len(points) - 1) / (count - 1)) for i in range(count)}
    return [points[place] for place in sorted(places)]


def worth_testing(points: Sequence[Point], tuned: Sequence[Point]) -> list[Point]:
    """The front of one decoder, and its points that match the best of each decoder."""
    found = spread(front(points), FRONT_SIZE)
    for name in {p.decoder for p in tuned}:
        match = as_good(points, lowest([p for p in tuned if p.decoder == name]))
        if match and match not in found:
            found.append(match)
    return found


def as_good(points: Iterable[Point], aim: Point) -> Point | None:
    """The fastest point of no more error than `aim`."""
    able = [p for p in points if p.error_rate <= aim.error_rate]
    return min(able, key=lambda p: p.milliseconds) if able else None


def test(
    outcome: Outcome, engines: dict[str, Engine], beams: Sequence[int], rounds: int, patience: float
) -> None:
    """Run the front of each decoder's settings on the test split, at every beam."""
    problem = outcome.problem
    chosen = [
        (name, point.setting)
        for name in engines
        for point in worth_testing([p for p in outcome.tuned if p.decoder == name], outcome.tuned)
    ]
    slow: set[int] = set()
    for beam in sorted(beams):
        ready = [i for i in range(len(chosen)) if i not in slow]
        settings = [(chosen[i][0], beam, chosen[i][1]) for i in ready]
        points = measure_points(problem, problem.test, engines, settings, rounds, patience)
        outcome.tested += points
        slow |= {
            i
            for i, point in zip(ready, points, strict=True)
            if point.milliseconds * problem.test.seconds > 1000 * patience
        }


def footprint(
    problem: Problem, make: Callable[[Problem], Engine], setting: Setting, beam: int
) -> Footprint:
    """Load and decode in a fresh process and see what it needs."""
    few = replace(problem, tune=_first(problem.tune, FOOTPRINT_SECONDS), test=Speech([], [], 0.0))
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_footprint, (few, make, setting, beam))


def _first(speech: Speech, seconds: float) -> Speech:
    """The first utterances of about so many seconds together."""
    count = max(1, round(len(speech.wanted) * min(1.0, seconds / speech.seconds)))
    share = speech.seconds * count / len(speech.wanted)
    return Speech(speech.log_probs[:count], speech.wanted[:count], share)


def _footprint(
    problem: Problem, make: Callable[[Problem], Engine], setting: Setting, beam: int
) -> Footprint:
    # Imports and the reading of the lexicon's text are paid before, by all alike.
    warm = Problem("nothing", problem.tokens, None, None, problem.tune, problem.test)
    run = make(warm).run(2, setting)
    run.decode(run.prepare(problem.tune.log_probs[0][:8]))
    gc.collect()
    before, began = resident(), time.perf_counter()
    run = make(problem).run(beam, setting)
    seconds = time.perf_counter() - began
    gc.collect()
    loaded = resident() - before
    for block in problem.tune.log_probs:
        run.decode(run.prepare(block))
    gc.collect()
    return Footprint(seconds, loaded, resident() - before)


def resident() -> float:
    """Resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure_problem(
    problem: Problem, beams: Sequence[int], thin: int, rounds: int, patience: float
) -> Outcome:
    """Tune every decoder, test it at every beam, and see what it needs to load."""
    outcome = Outcome(problem)
    engines: dict[str, Engine] = {}
    for name, make in engines_for(problem).items():
        try:
            engines[name] = make(problem)
        except (ImportError, DecoderError) as error:
            outcome.skipped[name] = f"{type(error).__name__}: {error}"
            continue
        outcome.tuned += tune(problem, name, engines[name], thin)
    test(outcome, engines, beams, rounds, patience)
    for name in engines:
        best = lowest([p for p in outcome.tuned if p.decoder == name])
        make = engines_for(problem)[name]
        outcome.footprints[name] = footprint(problem, make, best.setting, problem.beam)
    return outcome
