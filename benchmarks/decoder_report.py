"""What the decoder benchmark prints, draws and writes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from common import print_table
from decoder_measure import Footprint, Outcome, Point, as_good, front, lowest

OURS = "ds2edge"


def print_outcome(outcome: Outcome, speed_aim: float, memory_aim: float) -> None:
    """Everything about one problem, as tables."""
    problem = outcome.problem
    tested = f"{len(problem.test.wanted)} utterances, {problem.test.seconds:.0f} s"
    print(f"\n## {problem.name} ({tested}; tuned on {problem.tune.seconds:.0f} s)\n")
    for name, reason in outcome.skipped.items():
        print(f"{name} cannot: {reason}\n")
    print(f"Settings tried at beam {problem.beam}, and the best on the tuning split:\n")
    print_grids(outcome)
    print(f"\nms of CPU for a second of audio / {problem.measure} %, each at its best setting:\n")
    print_beams(outcome)
    print("\nThe fronts at each beam, on the test split:\n")
    print_fronts(outcome)
    print_footprints(outcome, memory_aim)
    print()
    for line in headlines(outcome, speed_aim):
        print(line)


def print_grids(outcome: Outcome) -> None:
    """How many settings each decoder had, what they were, and which was best."""
    rows = []
    for name in decoders(outcome.tuned):
        points = [p for p in outcome.tuned if p.decoder == name]
        best = lowest(points)
        rows.append([name, f"{len(points)}", f"{best.error_rate:.2f}", describe(best.setting)])
        for key in best.setting:
            tried = sorted({p.setting[key] for p in points if key in p.setting})
            rows.append(["", "", "", f"  {key}: {', '.join(f'{value:g}' for value in tried)}"])
    print_table(["decoder", "settings", f"{outcome.problem.measure} %", "best, and tried"], rows)


def print_beams(outcome: Outcome) -> None:
    """One row a decoder, one column a beam."""
    beams = sorted({p.beam for p in outcome.tested})
    rows = []
    for name in decoders(outcome.tested):
        chosen = lowest([p for p in outcome.tuned if p.decoder == name]).setting
        row = [name]
        for beam in beams:
            found = [
                p
                for p in outcome.tested
                if (p.decoder, p.beam) == (name, beam) and p.setting == chosen
            ]
            row.append(f"{found[0].milliseconds:.3f} / {found[0].error_rate:.2f}" if found else "-")
        rows.append(row)
    print_table(["decoder", *(f"beam {beam}" for beam in beams)], rows)


def print_fronts(outcome: Outcome) -> None:
    """Every setting that was tested and that no other of its decoder and beam beats."""
    rows = []
    for name in decoders(outcome.tested):
        for beam in sorted({p.beam for p in outcome.tested}):
            points = [p for p in outcome.tested if (p.decoder, p.beam) == (name, beam)]
            for p in front(points):
                figures = f"{p.milliseconds:.3f}", f"{p.error_rate:.2f}"
                rows.append([name, f"{beam}", *figures, describe(p.setting)])
    print_table(["decoder", "beam", "ms/s", f"{outcome.problem.measure} %", "setting"], rows)


def print_footprints(outcome: Outcome, aim: float) -> None:
    """Loading and memory, beside the aim."""
    ours = outcome.footprints.get(OURS)
    rows = []
    for name, needed in outcome.footprints.items():
        figures = f"{needed.load_seconds:.3f}", f"{needed.loaded:.1f}", f"{needed.decoded:.1f}"
        share = ""
        if ours and name != OURS and needed.decoded > 0:
            share = f"x {ours.decoded / needed.decoded:.2f} (aim: below {aim:g})"
        rows.append([name, *figures, share])
    header = ["decoder", "load s", "MB loaded", "MB after decoding", "ds2edge's share"]
    print(f"\nIn a fresh process, imports not counted, beam {outcome.problem.beam}:\n")
    print_table(header, rows)


def headlines(outcome: Outcome, aim: float) -> list[str]:
    """How much faster ds2edge is at the tuned beam, in words."""
    mine = [p for p in outcome.tuned if p.decoder == OURS]
    peers = [name for name in decoders(outcome.tuned) if name != OURS]
    if not mine or not peers:
        return ["no comparison: ds2edge or all peers are missing"]
    lines = [
        f"At beam {outcome.problem.beam}, settings chosen on the tuning split, measured on the "
        "test split:"
    ]
    for name in peers:
        lines += compare(outcome, mine, name, aim)
    return lines


def compare(outcome: Outcome, mine: Sequence[Point], peer: str, aim: float) -> list[str]:
    """A peer's best setting against ours that was as good, and its whole front against ours."""
    measure = outcome.problem.measure
    best = lowest([p for p in outcome.tuned if p.decoder == peer])
    theirs = tested(outcome, best)
    match = as_good(mine, best)
    lines = [f"  {peer} at its best: {show(theirs, measure)}"]
    if not match:
        lines.append(
            f"    ds2edge does not reach its {measure} on the tuning split, {best.error_rate:.2f} %"
        )
        match = lowest(mine)
    ours = tested(outcome, match)
    lines.append(
        f"    {show(ours, measure)}: x {theirs.milliseconds / ours.milliseconds:.1f} (aim {aim:g})"
    )
    here = [p for p in outcome.tested if p.beam == outcome.problem.beam]
    pairs = [
        (p, as_good([q for q in here if q.decoder == OURS], p))
        for p in front(p for p in here if p.decoder == peer)
    ]
    ratios = [
        f"{p.error_rate:.1f} %: x {p.milliseconds / q.milliseconds:.1f}" for p, q in pairs if q
    ]
    if ratios:
        lines.append(
            f"    its whole front against ours as good, on the test split: {', '.join(ratios)}"
        )
    return lines


def tested(outcome: Outcome, tuned: Point) -> Point:
    """What a point of the tuning split did on the test split."""
    return next(
        p
        for p in outcome.tested
        if (p.decoder, p.beam, p.setting) == (tuned.decoder, tuned.beam, tuned.setting)
    )


def show(point: Point, measure: str) -> str:
    """A point in words."""
    return (
        f"{point.decoder} beam {point.beam}, {point.milliseconds:.3f} ms/s, "
        f"{measure} {point.error_rate:.2f} %, {describe(point.setting)}"
    )


def describe(setting: Any) -> str:
    """A setting on one line."""
    return " ".join(f"{name}={value:g}" for name, value in setting.items())


def decoders(points: Sequence[Point]) -> list[str]:
    """The decoders' names in order."""
    return list(dict.fromkeys(p.decoder for p in points))


def write_json(outcomes: Sequence[Outcome], path: Path) -> None:
    """All points and footprints, for other programs."""
    path.write_text(json.dumps([_plain(o) for o in outcomes], indent=1) + "\n", encoding="utf-8")


def _plain(outcome: Outcome) -> dict[str, Any]:
    footprints: dict[str, Footprint] = outcome.footprints
    return {
        "problem": outcome.problem.name,
        "measure": outcome.problem.measure,
        "tune_seconds": outcome.problem.tune.seconds,
        "test_seconds": outcome.problem.test.seconds,
        "tuned": [asdict(p) for p in outcome.tuned],
        "tested": [asdict(p) for p in outcome.tested],
        "footprints": {name: asdict(needed) for name, needed in footprints.items()},
        "skipped": outcome.skipped,
    }


def plot(outcomes: Sequence[Outcome], path: Path) -> None:
    """Error rate against speed: one panel a problem, one curve a decoder."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = min(len(outcomes), 2)
    rows = -(-len(outcomes) // columns)
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(6 * columns, 4.5 * rows), squeeze=False, layout="constrained"
    )
    for panel, outcome in zip(axes.flat, outcomes, strict=False):
        for name in decoders(outcome.tested):
            points = [p for p in outcome.tested if p.decoder == name]
            best = front(points)
            line = panel.plot(
                [p.milliseconds for p in best], [p.error_rate for p in best], "-", label=name
            )
            panel.plot(
                [p.milliseconds for p in points],
                [p.error_rate for p in points],
                ".",
                color=line[0].get_color(),
                alpha=0.4,
            )
        panel.set_xscale("log")
        panel.set_xlabel("ms of CPU for a second of audio")
        panel.set_ylabel(f"{outcome.problem.measure} %")
        panel.set_title(outcome.problem.name)
        panel.grid(True, which="both", alpha=0.3)
        panel.legend()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
