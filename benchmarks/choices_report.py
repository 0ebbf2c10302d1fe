"""The table of choices.py, and its plot: error rate over speed, size as area, and the frontier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from techniques_report import (
    ACCENT,
    ACCURACY,
    BAND,
    COST,
    INCONCLUSIVE,
    INK,
    Result,
    as_record,
    is_chance,
    load_results,
    notes,
    page,
    write_files,
)
from techniques_rows import Row

from ds2edge.training.files import partial_file

if TYPE_CHECKING:
    from choices_measure import Deployed

AREA = 120.0  # points squared of a megabyte
HEADER = ("int8, MB", "real-time factor", "to the base's", "look-ahead, ms", "frontier")


def write_choices(
    rows: Sequence[Row],
    out: Path,
    found: Mapping[str, Deployed] | None = None,
    marked: str = "",
) -> list[Result]:
    """choices.md, choices.jsonl and, with size and speed, choices.png, of the rows that are done.

    Returns: what their training found.
    """
    results = load_results(rows, out)
    found = found or {}
    records = [
        as_record(r) | ({"deployed": asdict(found[r.row.name])} if r.row.name in found else {})
        for r in results
    ]
    more = [
        "Real-time factor: processor seconds of one core for a second of audio, acoustic model "
        "alone, the median of rounds in turn. On the frontier no other row is as accurate and "
        "faster, or as fast and more accurate.",
        *([f"Chosen: {marked}."] if marked else []),
    ]
    write_files(out, "choices", records, page(*table(results, found), [*notes(results), *more]))
    if found:
        draw(results, found, marked, out / "choices.png")
    return results


def table(
    results: Sequence[Result], found: Mapping[str, Deployed]
) -> tuple[list[str], list[list[str]]]:
    """Header and rows."""
    columns = {**ACCURACY, **COST}
    best = frontier(results, found)
    rows = []
    for result in results:
        cells = [cell(result) for cell in columns.values()]
        one = found.get(result.row.name)
        if one:
            cells += [
                f"{one.megabytes:.2f}",
                f"{one.factor:.5f} ({one.spread[0]:.5f}-{one.spread[1]:.5f})",
                f"x {one.beside_base:.2f}",
                f"{1000 * one.look_ahead:.0f}",
                "yes" if result.row.name in best else "",
            ]
        rows.append(cells + [""] * (len(columns) + len(HEADER) - len(cells)))
    return [*columns, *HEADER], rows


def frontier(results: Sequence[Result], found: Mapping[str, Deployed]) -> list[str]:
    """Rows that no other one beats in speed and accuracy, the fastest first; not another seed."""
    best: list[Result] = []
    measured = [r for r in comparable(results, found) if not is_chance(r)]
    for result in sorted(measured, key=lambda r: (found[r.row.name].factor, r.cer)):
        if not best or result.cer < best[-1].cer:
            best.append(result)
    return [result.row.name for result in best]


def comparable(results: Sequence[Result], found: Mapping[str, Deployed]) -> list[Result]:
    """Those that were measured and have learned enough; all that were measured if none has."""
    measured = [r for r in results if r.row.name in found]
    return [r for r in measured if r.outcome != INCONCLUSIVE] or measured


def draw(results: Sequence[Result], found: Mapping[str, Deployed], marked: str, path: Path) -> None:
    """Rows that learned too little to be compared are at the upper edge."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots()
    measured = [r for r in results if r.row.name in found]
    shown = comparable(results, found)
    rates = [end for r in shown for end in (r.cer_interval or (r.cer, r.cer))]
    room = 0.12 * (max(rates) - min(rates)) + 0.5
    edge = max(rates) + room / 2
    # Names left and right in turn, so that those of neighbours are apart.
    for i, result in enumerate(sorted(measured, key=lambda r: r.cer)):
        one, off = found[result.row.name], result not in shown
        rate, name = min(result.cer, edge), result.row.name
        if result.cer_interval and not off:
            axes.plot([one.factor] * 2, result.cer_interval, color=BAND, linewidth=2, zorder=1)
        axes.scatter(
            one.factor,
            rate,
            s=AREA * one.megabytes,
            facecolors="none" if off else ACCENT if name == marked else INK,
            edgecolors=ACCENT if name == marked else INK,
            alpha=0.75,
            zorder=3,
        )
        label = f"{name}, {result.cer:.0f} %" if off else name + ", chosen" * (name == marked)
        axes.annotate(
            label,
            (one.factor, rate),
            (-9, -3) if i % 2 else (9, -3),
            textcoords="offset points",
            ha="right" if i % 2 else "left",
            fontsize=8,
        )
    places = {r.row.name: (found[r.row.name].factor, r.cer) for r in measured}
    x, y = zip(*(places[name] for name in frontier(results, found)), strict=True)
    axes.step(x, y, where="post", color=ACCENT, linewidth=1, linestyle="--", label="frontier")
    axes.scatter([], [], s=AREA, color=INK, alpha=0.75, label="1 MB in int8")
    axes.set(
        xlabel="real-time factor of the acoustic model, one core",
        ylabel="CER on dev, %, with 95 % intervals",
        xlim=(0, 1.2 * max(one.factor for one in found.values())),
        ylim=(min(rates) - room, edge + room / 2),
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="upper right", fontsize=8)
    with partial_file(path, sync=False) as file:
        figure.savefig(file, format="png", dpi=110)
