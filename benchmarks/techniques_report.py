"""What rows found: a table, a plot, JSON lines, all from stored files."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from techniques_rows import BASE, Place, Row, Work, read_work

from ds2edge.training.checkpoint import load_checkpoint
from ds2edge.training.evaluation.bootstrap import Bootstrap, Difference, Interval
from ds2edge.training.evaluation.compare import SURE, compare, same_utterances
from ds2edge.training.evaluation.recognised import (
    GREEDY,
    Evaluation,
    read_evaluation,
    score,
    summary,
)
from ds2edge.training.files import partial_file
from ds2edge.training.run_log import read_records

LIMIT = 40.0  # percent CER; above it a model has not learned enough to tell techniques apart
INCONCLUSIVE = "inconclusive"
SMOOTH = 25  # updates that a point of the loss curve is the mean of
INK, ACCENT, BAND = "#1b4965", "#c2410c", "#9ecae1"  # told apart by brightness, too


@dataclass(frozen=True)
class Result:
    """What one row found."""

    row: Row
    cer: float  # percent, greedy, on dev
    cer_interval: Interval | None
    wer: float
    wer_interval: Interval | None
    apart: Difference | None  # CER of this row minus that of the row that it is compared with
    outcome: str  # of that comparison
    losses: list[float]  # of each update
    history: list[dict[str, Any]]  # of each epoch
    minutes: float  # on this machine, with whatever else ran on it
    processor_minutes: float  # of training, all threads together
    parameters: int
    work: Work

    @property
    def speed(self) -> float:
        """Seconds of audio trained on in a second of one core."""
        return self.work.seconds / (60 * self.processor_minutes)

    @property
    def agreement(self) -> str:
        """Whether it is what the paper found."""
        if not self.row.expected or self.outcome == INCONCLUSIVE:
            return ""
        if self.outcome not in ("better", "worse"):
            return "not shown"
        return "as there" if self.outcome == self.row.expected else "the other way"


def load_results(rows: Sequence[Row], out: Path) -> list[Result]:
    """Of the rows that are done, in their order.

    Raises:
        DataError: a file of one is damaged.
    """
    done = [row for row in rows if Place(out, row.name).evaluation.exists()]
    found = {row.name: read_evaluation(Place(out, row.name).evaluation) for row in done}
    return [_result(row, Place(out, row.name), found) for row in done]


def _result(row: Row, place: Place, found: dict[str, Evaluation]) -> Result:
    figures = summary(score(found[row.name].utterances))[GREEDY]
    other = found.get(row.against) if row.name != BASE else None
    apart, rates = None, (figures["cer"],)
    if other:
        (line,) = [
            line
            for line in compare(
                *(score(e.utterances) for e in same_utterances(other, found[row.name])), Bootstrap()
            )
            if line.name.endswith("CER")
        ]
        apart, rates = line.apart, (line.first, line.second)
    steps = read_records(place.run / "steps.jsonl")
    history = read_records(place.run / "history.jsonl")
    weights = load_checkpoint(place.checkpoint).weights
    return Result(
        row,
        figures["cer"],
        _interval(figures["cer_interval"]),
        figures["wer"],
        _interval(figures["wer_interval"]),
        apart,
        outcome(apart, rates),
        [step["loss"] for step in steps],
        history,
        sum(epoch["seconds"] for epoch in history) / 60,
        processor_minutes(place, len(steps)),
        sum(value.size for value in weights.values()),
        read_work(place),
    )


def processor_minutes(place: Place, updates: int) -> float:
    """That all updates of a row took, all threads together."""
    usage = read_records(place.usage)
    # Of a process that was killed nothing is known: its updates took as long as the others'.
    each = sum(u["processor"] for u in usage) / max(1, sum(u["updates"] for u in usage))
    return float(each * updates / 60)


def is_chance(result: Result) -> bool:
    """Whether it is the base but for the seed."""
    return set(result.row.changes) == {"optimizer.seed"}


def outcome(apart: Difference | None, rates: Sequence[float]) -> str:
    """What a comparison tells; `rates` in percent, of both rows."""
    if max(rates) > LIMIT:
        return INCONCLUSIVE
    if apart is None:
        return ""
    if apart.p >= SURE:
        return "no difference shown"
    return "better" if apart.rate < 0 else "worse"


def write_techniques(rows: Sequence[Row], out: Path) -> list[Result]:
    """The report of those that are done by now. Returns: what they found."""
    results = load_results(rows, out)
    write_report(results, out)
    return results


def write_report(results: Sequence[Result], out: Path) -> None:
    """techniques.md, techniques.jsonl and techniques.png, of the rows that are done."""
    write_files(out, "techniques", [as_record(r) for r in results], markdown(results))
    draw(results, out / "techniques.png")


def write_files(out: Path, name: str, records: Sequence[dict[str, Any]], page: str) -> None:
    """JSON lines and a page of Markdown."""
    with partial_file(out / f"{name}.jsonl", sync=False) as file:
        file.write("".join(json.dumps(record) + "\n" for record in records).encode())
    with partial_file(out / f"{name}.md", sync=False) as file:
        file.write(page.encode())


def as_record(result: Result) -> dict[str, Any]:
    """For a JSON line; the loss curve is that of the epochs."""
    values = asdict(result)
    values["losses"] = [round(epoch["loss"], 4) for epoch in result.history]
    values["speed"], values["agreement"] = result.speed, result.agreement
    return values


def table(results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """Header and rows."""
    return [*ACCURACY, *PAPER, *COST], [
        [cell(result) for cell in (*ACCURACY.values(), *PAPER.values(), *COST.values())]
        for result in results
    ]


def _points(result: Result) -> str:
    if not result.apart:
        return ""
    ends = result.apart.interval or ()
    interval = f" ({' to '.join(f'{100 * end:+.1f}' for end in ends)})" if ends else ""
    return f"{100 * result.apart.rate:+.1f}{interval}"


# Columns of a table.
Columns = dict[str, Callable[[Result], str]]
ACCURACY: Columns = {
    "row": lambda r: r.row.title,
    "dev CER % (95 %)": lambda r: _with_interval(r.cer, r.cer_interval),
    "WER %": lambda r: f"{r.wer:.1f}",
    "against": lambda r: r.row.against if r.apart else "",
    "CER points (95 %)": _points,
    "p": lambda r: f"{r.apart.p:.4f}" if r.apart else "",
    "outcome": lambda r: r.outcome,
}
PAPER: Columns = {
    "the paper": lambda r: r.row.paper,
    "": lambda r: r.agreement,
}
COST: Columns = {
    "loss": lambda r: f"{np.mean(r.losses[-SMOOTH:]):.3f}",
    "core min": lambda r: f"{r.processor_minutes:.1f}",
    "parameters": lambda r: f"{r.parameters / 1e6:.2f} M",
    "audio s per core s": lambda r: f"{r.speed:.0f}",
    "left out": lambda r: f"{r.work.left_out} of {r.work.recordings}",
}


def markdown(results: Sequence[Result]) -> str:
    """The table with what has to be known to read it."""
    return page(*table(results), notes(results))


def page(header: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    """A table and paragraphs below it, as Markdown."""
    lines = [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]
    return "\n".join([*lines, "", *(f"{note}\n" for note in notes)])


def notes(results: Sequence[Result]) -> list[str]:
    """What has to be known to read the rates."""
    found = [
        "Greedy, on sentences that no row was trained on, by the last epoch's averaged weights. "
        "p: permutations of utterances; brackets: 95 % bootstrap intervals. Both tell what other "
        "sentences would do, not what another seed would: for that techniques.py has a row.",
        f"A row is {INCONCLUSIVE} where it or the other one is above {LIMIT:g} % CER. `left out`: "
        "recordings too short for their text at that stride, or unreadable.",
    ]
    if chance := [r for r in results if is_chance(r)]:
        points = 100 * abs(chance[0].apart.rate) if chance[0].apart else 0.0
        others = [r for r in results if r.apart and r is not chance[0]]
        within = [r.row.title for r in others if r.apart and 100 * abs(r.apart.rate) <= points]
        found.append(
            f"Another seed alone makes {points:.1f} points. "
            f"No more than that: {', '.join(within) or 'none'}."
        )
    return found


def draw(results: Sequence[Result], path: Path) -> None:
    """Rates with intervals, and how they and the losses came down."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 6), layout="constrained")
    rates, errors, losses = figure.subplots(1, 3, width_ratios=[1.5, 1, 1])
    colours = [colormaps["tab20"](i / 20) for i in (*range(0, 20, 2), *range(1, 20, 2))]
    for place, result in enumerate(results):
        base = result.row.name == BASE
        colour = INK if base else colours[place % 20]
        style: dict[str, Any] = {"color": colour, "linewidth": 2.5 if base else 1.2}
        if result.cer_interval:
            rates.plot(result.cer_interval, (place, place), color=BAND, linewidth=5)
        faint = result.outcome == INCONCLUSIVE
        rates.plot(result.cer, place, "o", color=colour, fillstyle="none" if faint else "full")
        curve = [100 * epoch["dev_cer"] for epoch in result.history]
        errors.plot(range(1, len(curve) + 1), curve, **style)
        losses.plot(*_smooth(result.losses), **style)
        if base:
            rates.axvline(result.cer, color=INK, linewidth=0.8)
    rates.axvline(LIMIT, color=ACCENT, linestyle=":", label="above: inconclusive")
    titles = [textwrap.fill(result.row.title, 34) for result in results]
    rates.set_yticks(range(len(results)), titles)
    for tick, result, colour in zip(rates.get_yticklabels(), results, colours, strict=False):
        tick.set_color(INK if result.row.name == BASE else colour)
    rates.invert_yaxis()
    rates.legend(loc="upper right", fontsize=8)
    rates.set(xlabel="CER on dev, %, with 95 % intervals")
    errors.set(xlabel="epochs; colours as on the left", ylabel="CER on dev, %")
    errors.xaxis.get_major_locator().set_params(integer=True)
    losses.set(xlabel="updates", ylabel="loss per token", yscale="log")
    for axes in (rates, errors, losses):
        axes.grid(alpha=0.3)
    with partial_file(path, sync=False) as file:
        figure.savefig(file, format="png", dpi=110)


def _smooth(values: Sequence[float]) -> tuple[list[int], list[float]]:
    """Updates, and the means of so many at a time."""
    ends = range(SMOOTH, len(values) + 1, SMOOTH)
    return list(ends), [float(np.mean(values[end - SMOOTH : end])) for end in ends]


def _with_interval(rate: float, interval: Interval | None) -> str:
    return f"{rate:.1f} ({interval[0]:.1f}-{interval[1]:.1f})" if interval else f"{rate:.1f}"


def _interval(ends: list[float] | None) -> Interval | None:
    return Interval(*ends) if ends else None
