"""What the conversion benchmark prints and draws."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from conversion_floor import PEAK_SHAPE
from conversion_measure import Cell, Subject, off, passes, ratio

OURS = ("int8", "CompiledModel")
ONNX_FASTER, OVER_FLOOR = 3.0, 1.3  # the aims
HEADER = [
    *("format", "runtime", "MB", "real-time factor", "to ours", "memory, MB"),
    *("first output, ms", "off in log p"),
]


@dataclass(frozen=True)
class Report:
    """What was found of one model."""

    subject: Subject
    memory: Cell
    product: Cell

    @property
    def floors(self) -> list[float]:
        """Seconds for a second of audio, round by round."""
        work, adds = self.subject.work, float(np.prod(PEAK_SHAPE))
        return [
            work.read * read / work.weights + work.multiply_adds * taken / adds
            for read, taken in zip(self.memory.rounds, self.product.rounds, strict=True)
        ]

    def factors(self, cell: Cell) -> list[float]:
        """Real-time factors, round by round."""
        return [taken / self.subject.chunk_seconds for taken in cell.rounds]

    def print(self) -> None:
        """The table, and the aims."""
        subject = self.subject
        ours = subject.cell(*OURS)
        size, length = subject.work.weights / 1e6, 1000 * subject.chunk_seconds
        print(f"\n## {subject.name}: {size:.1f} million weights, chunks of {length:.0f} ms\n")
        print("| " + " | ".join(HEADER) + " |\n" + "|---" * len(HEADER) + "|")
        for cell in subject.cells:
            print("| " + " | ".join(self._row(cell, ours)) + " |")
        print("\n" + self._floor())
        for line in self._aims(ours):
            print(line)

    def _row(self, cell: Cell, ours: Cell) -> list[str]:
        if cell.failure:
            return [cell.weights, cell.label, cell.failure, *[""] * (len(HEADER) - 3)]
        return [
            cell.weights,
            cell.label,
            f"{cell.file.stat().st_size / 1e6:.2f}",
            f"{min(self.factors(cell)):.5f}",
            f"x {ratio(cell, ours):.2f}",
            f"{median(start['memory'] for start in cell.starts):.0f}",
            f"{1000 * median(start['first'] for start in cell.starts):.0f}",
            f"{off(cell, self.subject.reference()):.2g}",
        ]

    def _floor(self) -> str:
        work = self.subject.work
        bandwidth = work.weights / min(self.memory.rounds) / 1e9
        peak = float(np.prod(PEAK_SHAPE)) / min(self.product.rounds) / 1e9
        return (
            f"Floor: {min(self.floors):.5f} = {work.read / 1e6:.0f} MB of int8 weights a second at "
            f"{bandwidth:.1f} GB/s (a buffer of {work.weights / 1e6:.1f} MB read by a loop in C), "
            f"plus {work.multiply_adds / 1e6:.0f} million multiply-adds at {peak:.1f} G/s (an int8 "
            f"product of {' x '.join(map(str, PEAK_SHAPE))} in LiteRT)\n"
        )

    def _aims(self, ours: Cell) -> Iterator[str]:
        over = median(a / b for a, b in zip(self.factors(ours), self.floors, strict=True))
        yield f"- int8 in CompiledModel takes {over:.2f} of the floor (aim: at most {OVER_FLOOR})"
        for peer in self.subject.cells:
            if peer.runtime == "onnxruntime" and not peer.failure:
                aim = f" (aim: {ONNX_FASTER:g})" if peer.weights == "int8" else ""
                times = ratio(peer, ours)
                yield f"- it is {times:.2f} times as fast as {peer.label} in {peer.weights}{aim}"


def print_forms(subject: Subject, cells: Sequence[Cell], exact: Cell) -> None:
    """All int8 forms of the ONNX graph."""
    print(f"\nint8 in onnxruntime, {subject.name}:\n")
    print("| form | real-time factor | off | |\n|---|---|---|---|")
    for cell in cells:
        if cell.failure:
            print(f"| {cell.form} | {cell.failure} | | |")
            continue
        factor = min(cell.rounds) / subject.chunk_seconds
        verdict = "" if passes(cell, exact) else "wrong"
        print(f"| {cell.form} | {factor:.5f} | {off(cell, exact):.2g} | {verdict} |")


def plot(reports: Sequence[Report], path: Path) -> None:
    """Real-time factors and memory, a row of two panels for each model."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from ds2edge.training.plots import ACCENT, INK, SETTINGS

    with mpl.rc_context(SETTINGS):
        most = max(len(report.subject.cells) for report in reports)
        figure = Figure(figsize=(11, len(reports) * (0.8 + 0.24 * most)), layout="constrained")
        grid = figure.subplots(len(reports), 2, squeeze=False, sharey="row")
        for (left, right), report in zip(grid, reports, strict=True):
            cells = [cell for cell in report.subject.cells if not cell.failure]
            names = [f"{cell.weights}, {cell.label}" for cell in cells]
            colours = [ACCENT if (c.weights, c.runtime) == OURS else INK for c in cells]
            factors = [min(report.factors(cell)) for cell in cells]
            memory = [median(start["memory"] for start in cell.starts) for cell in cells]
            left.set_xscale("log")
            left.scatter(factors, names, color=colours)
            for name, factor in zip(names, factors, strict=True):
                left.annotate(f"{factor:.4f}", (factor, name), (6, -3), textcoords="offset points")
            right.bar_label(right.barh(names, memory, color=colours), fmt="%.0f", padding=2)
            left.invert_yaxis()
            left.axvline(min(report.floors), color=ACCENT, linestyle=":")
            left.margins(x=0.15)
            left.set_title(f"{report.subject.name}: real-time factor, the floor dotted")
            right.set_title("private memory, MB")
        figure.savefig(path, dpi=120)
