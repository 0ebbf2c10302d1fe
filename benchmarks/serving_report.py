"""What the server's benchmarks print and draw."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from serving_figures import AIM, Row, shares
from serving_ways import ALONE, EAGER, TIMED

from ds2edge.results import Seconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAPER = {10: (0.044, 0.070), 20: (0.048, 0.086), 30: (0.067, 0.114)}  # s, one Quadro K1200
BINS = (1, 2, 5, 9, 17, 33)  # sizes of batches that are told together, from each to the next
BIN_NAMES = ("1", "2-4", "5-8", "9-16", "17-32", "more")
COLOURS = {EAGER: "#c2410c", ALONE: "#1b4965", TIMED: "#5a8f3d"}

Column: TypeAlias = Callable[[Row], str]


def ms(*times: Seconds) -> str:
    """Times as milliseconds, with slashes between."""
    digits = [int(time < 0.01) for time in times]
    return " / ".join(
        "-" if math.isnan(time) else f"{1000 * time:.{few}f}"
        for time, few in zip(times, digits, strict=True)
    )


def both(name: str) -> Column:
    """Median and 98th percentile of a histogram."""
    return lambda row: ms(*(getattr(row.found, name).quantile(share) for share in (0.5, 0.98)))


def batches(row: Row) -> str:
    """How many of a hundred batches were of which sizes."""
    parts = shares(row.found.batches, BINS)
    return " / ".join(f"{100 * part:.0f}" for part in parts)


def verdict(row: Row) -> str:
    """Of the clients' seconds and texts."""
    heard = row.heard
    faults = [
        f"{count} {what}"
        for count, what in ((heard.unfinished, "unfinished"), (heard.wrong, "of other text"))
        if count
    ]
    return ", ".join(faults) or ("all" if row.is_complete else "NOT ALL")


MODEL: dict[str, Column] = {
    "streams": lambda row: str(row.streams),
    "way": lambda row: row.way,
    "chunk to acoustic step, ms": both("acoustic"),
    "chunk to text, ms": both("text"),
    "step, ms": both("step"),
    "search, ms": both("search"),
    "batch, mean": lambda row: f"{row.mean_batch:.1f}",
    f"batches of {' / '.join(BIN_NAMES)}, %": batches,
}
WORK: dict[str, Column] = {
    "server, % of a core": lambda row: f"{100 * row.window.server / row.window.at:.0f}",
    "clients, % of a core": lambda row: f"{100 * row.window.clients / row.window.at:.0f}",
    "s offered": lambda row: f"{row.heard.offered:.2f}",
    "s transcribed": lambda row: f"{row.heard.transcribed:.2f}",
    "heard": verdict,
}
DIRECT = {**MODEL, "push late, ms": lambda row: ms(row.heard.late), **WORK}
SERVER = {
    **MODEL,
    "ping, ms": lambda row: ms(*row.heard.ping),
    "finish to end, ms": lambda row: ms(*row.heard.closing),
    **WORK,
}


def header(columns: dict[str, Column]) -> list[str]:
    """Of a table in Markdown."""
    return ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]


def markdown(row: Row, columns: dict[str, Column]) -> str:
    """A line of it. Where clients were late, nothing is told of the server."""
    if not row.is_on_time and columns is SERVER:
        why = (
            f"not told: the clients sent 2 % of their chunks {ms(row.heard.late)} ms late or later"
        )
        cells = [str(row.streams), row.way, why, *[""] * (len(columns) - 3)]
    else:
        cells = [column(row) for column in columns.values()]
    return "| " + " | ".join(cells) + " |"


def beside_paper(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """A table of the numbers of streams that the paper has, and of the others that are at hand."""
    ours = {row.streams: both("acoustic")(row) for row in rows if row.is_on_time}
    streams = sorted({*ours, *PAPER})
    cells = [[str(n), ours.get(n, "-"), ms(*PAPER[n]) if n in PAPER else "-"] for n in streams]
    return ["streams", "here", "the paper, one Quadro K1200"], cells


def draw(rows: Sequence[Row], path: Path) -> None:
    """Latencies, batches and processors over the number of streams."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from ds2edge.training.plots import SETTINGS

    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(11, 8), layout="constrained")
        panels = figure.subplots(2, 2).ravel()
        told = sorted((row for row in rows if row.is_on_time), key=lambda row: row.streams)
        _draw_times(
            panels[0], told, "acoustic", "a chunk's arrival to the end of its acoustic step"
        )
        _draw_times(panels[1], told, "text", "a chunk's arrival to its text")
        _draw_batches(panels[2], [row for row in told if row.way == EAGER])
        _draw_processors(panels[3], told)
        for axes in panels:
            axes.set_xlabel("streams")
        figure.savefig(path, dpi=120)


def _draw_times(axes: Axes, rows: Sequence[Row], name: str, title: str) -> None:
    for way, colour in COLOURS.items():
        some = [row for row in rows if row.way == way]
        streams = [row.streams for row in some]
        for share, line, label in ((0.5, ":", f"{way}, median"), (0.98, "-", f"{way}, 98 %")):
            times = [1000 * getattr(row.found, name).quantile(share) for row in some]
            axes.plot(streams, times, line, marker=".", color=colour, label=label)
    if name == "acoustic":
        for share, mark in ((0, "1"), (1, "2")):
            label = f"the paper's GPU, {'98 %' if share else 'median'}"
            times = [1000 * pair[share] for pair in PAPER.values()]
            axes.plot(list(PAPER), times, mark, color="black", label=label)
        axes.axhline(1000 * AIM, color="#999999", linewidth=1)
    axes.set(title=title, ylabel="ms", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)


def _draw_batches(axes: Axes, rows: Sequence[Row]) -> None:
    names = [str(row.streams) for row in rows]
    below = [0.0] * len(rows)
    for i, label in enumerate(BIN_NAMES):
        parts = [100 * shares(row.found.batches, BINS)[i] for row in rows]
        shade = str(0.9 - 0.8 * i / len(BIN_NAMES))
        axes.bar(names, parts, bottom=below, label=label, color=shade)
        below = [low + part for low, part in zip(below, parts, strict=True)]
    axes.set(title="sizes of eager batches", ylabel="% of batches")
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))


def _draw_processors(axes: Axes, rows: Sequence[Row]) -> None:
    for way, colour in COLOURS.items():
        some = [row for row in rows if row.way == way]
        streams = [row.streams for row in some]
        for name, line in (("server", "-"), ("clients", ":")):
            used = [100 * getattr(row.window, name) / row.window.at for row in some]
            axes.plot(streams, used, line, marker=".", color=colour, label=f"{way}, {name}")
    axes.set(title="processor time", ylabel="% of one core")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
