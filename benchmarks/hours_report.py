"""What hours.py found: a table, and error rates over hours beside the paper's, on log axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hours_rows import hours_of
from techniques_report import ACCENT, INK, page, processor_minutes, write_files
from techniques_rows import Place, Row, Work, read_work

from ds2edge.training.config import TrainConfig
from ds2edge.training.evaluation.recognised import (
    GREEDY,
    LANGUAGE_MODEL,
    read_evaluation,
    score,
    summary,
    with_interval,
)
from ds2edge.training.files import partial_file
from ds2edge.training.run_log import read_records

# The paper's regular dev set, section 5.2 (arXiv 1512.02595): hours and WER in percent.
PAPER = ((120.0, 29.23), (1200.0, 13.80), (2400.0, 11.65), (6000.0, 9.51), (12000.0, 8.46))
LIMIT = 90.0  # percent; above it a rate cannot fall as a power of the hours: it has a ceiling
GREY = "#6b7280"
KINDS = {  # way of decoding, rate, name, colour and marker
    "greedy CER": (GREEDY, "cer", GREY, "s"),
    "greedy WER": (GREEDY, "wer", INK, "o"),
    "WER with language model": (LANGUAGE_MODEL, "wer", ACCENT, "^"),
}


@dataclass(frozen=True)
class HoursResult:
    """What one row found."""

    row: Row
    hours: float  # of speech that it was trained on
    passes: int
    figures: dict[str, Any]  # `summary` of dev
    loss: float  # of the last pass
    minutes: float  # on this machine, with whatever else ran on it
    processor_minutes: float
    work: Work

    @property
    def cer(self) -> float:
        """In percent, greedy, on dev."""
        return float(self.figures[GREEDY]["cer"])


@dataclass(frozen=True)
class PowerLaw:
    """rate = factor * hours ** -exponent"""

    factor: float
    exponent: float

    @property
    def tenfold(self) -> float:
        """By how many percent the rate falls when there are ten times the hours."""
        return float(100 * (1 - 10**-self.exponent))

    def at(self, hours: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Rates."""
        return self.factor * hours**-self.exponent


def power_law(points: Sequence[tuple[float, float]]) -> PowerLaw | None:
    """By least squares of logarithms; of two points or more that are below LIMIT and above 0."""
    usable = [(hours, rate) for hours, rate in points if 0 < rate < LIMIT]
    if len(usable) < 2:
        return None
    slope, level = np.polyfit(*np.log(np.array(usable)).T, 1)
    return PowerLaw(float(np.exp(level)), float(-slope))


def load_hours(base: TrainConfig, rows: Sequence[Row], out: Path) -> list[HoursResult]:
    """Of the rows that are done.

    Raises:
        DataError: a file of one is damaged.
    """
    places = [(row, Place(out, row.name)) for row in rows]
    return [_result(base, row, place) for row, place in places if place.evaluation.exists()]


def _result(base: TrainConfig, row: Row, place: Place) -> HoursResult:
    history = read_records(place.run / "history.jsonl")
    steps = read_records(place.run / "steps.jsonl")
    passes, work = row.config(base).optimizer.epochs, read_work(place)
    return HoursResult(
        row,
        hours_of(row.name),
        passes,
        summary(score(read_evaluation(place.evaluation).utterances)),
        history[-1]["loss"],
        sum(epoch["seconds"] for epoch in history) / 60,
        processor_minutes(place, len(steps)),
        work,
    )


def write_hours(base: TrainConfig, rows: Sequence[Row], out: Path) -> list[HoursResult]:
    """hours.md, hours.jsonl and hours.png, of the rows that are done. Returns: what they found."""
    results = load_hours(base, rows, out)
    if results:
        records = [asdict(result) for result in results]
        write_files(out, "hours", records, page(*table(results), notes(results)))
        draw(results, out / "hours.png")
    return results


def table(results: Sequence[HoursResult]) -> tuple[list[str], list[list[str]]]:
    """Header and rows."""
    kinds = {name: KINDS[name] for name in _kinds(results)}
    rows = [
        [
            f"{result.hours:.2f}",
            str(result.passes),
            str(result.work.updates),
            *(with_interval(result.figures[way], rate) for way, rate, *_ in kinds.values()),
            f"{result.loss:.3f}",
            f"{result.processor_minutes:.1f}",
        ]
        for result in results
    ]
    rates = [f"{name} % (95 %)" for name in kinds]
    return ["hours", "passes", "updates", *rates, "loss", "core min"], rows


def notes(results: Sequence[HoursResult]) -> list[str]:
    """The fitted laws, and what has to be known to read them."""
    laws = {f"ours, {name}": power_law(_points(results, name)) for name in _kinds(results)}
    laws["the paper's, WER with language model"] = power_law(PAPER)
    return [
        "On split dev, which no row has heard, by the last epoch's averaged weights; "
        "brackets: 95 % bootstrap intervals of utterances.",
        *(f"{name}: {_told(law)}." for name, law in laws.items()),
        "The paper says about 40 % for ten times the hours; that is what its figures give from "
        "1,200 to 12,000 hours.",
        f"Fitted to logarithms; rates from {LIMIT:g} % on are left out: they have a ceiling.",
    ]


def _told(law: PowerLaw | None) -> str:
    if law is None:
        return f"too few rates below {LIMIT:g} % for a power law"
    return (
        f"{law.factor:.3g} % * hours ^ {-law.exponent:.3f}, "
        f"{law.tenfold:.0f} % less for ten times the hours"
    )


def draw(results: Sequence[HoursResult], path: Path) -> None:
    """Rates over hours, the paper's too, with the fitted laws."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots()
    for name in _kinds(results):
        way, rate, colour, marker = KINDS[name]
        for hours, result in ((r.hours, r) for r in results):
            if interval := result.figures[way][f"{rate}_interval"]:
                axes.plot([hours] * 2, interval, color=colour, alpha=0.4, linewidth=4)
        _curve(axes, _points(results, name), f"ours, {name}", colour, marker)
    _curve(axes, PAPER, "the paper's dev set, WER", "black", "D")
    axes.set(xscale="log", yscale="log", xlabel="hours of training speech", ylabel="%")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_yticks([10, 20, 30, 50, 70, 100], ["10", "20", "30", "50", "70", "100"])
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8)
    with partial_file(path, sync=False) as file:
        figure.savefig(file, format="png", dpi=110)


def _curve(
    axes: Any, points: Sequence[tuple[float, float]], name: str, colour: str, marker: str
) -> None:
    law = power_law(points)
    label = f"{name}: hours ^ {-law.exponent:.2f}" if law else name
    for hours, rate in points:
        style = "none" if rate >= LIMIT else "full"
        axes.plot(hours, rate, marker, color=colour, fillstyle=style)
    axes.plot([], [], marker, color=colour, label=label, linestyle="-" if law else "none")
    if law:
        used = np.array([hours for hours, rate in points if rate < LIMIT])
        axes.plot(used, law.at(used), color=colour, linewidth=1)


def _kinds(results: Sequence[HoursResult]) -> list[str]:
    """Rates that all rows have."""
    return [name for name, (way, *_) in KINDS.items() if all(way in r.figures for r in results)]


def _points(results: Sequence[HoursResult], name: str) -> list[tuple[float, float]]:
    way, rate, *_ = KINDS[name]
    return [(result.hours, float(result.figures[way][rate])) for result in results]
