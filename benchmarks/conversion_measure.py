"""Cells of the conversion benchmark, and the processes that measure them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from conversion_floor import Work
from worker import Worker, in_turn

from ds2edge.acoustic import log_softmax
from ds2edge.errors import BundleError
from ds2edge.progress import track

EXACT = 1e-3  # by which float32 outputs may differ


@dataclass
class Cell:
    """One format in one runtime."""

    weights: str
    runtime: str  # of `conversion_worker.py`
    file: Path
    form: str = ""  # of an ONNX graph
    chunks: Path | None = None  # inputs other than the model's
    cache: bool = True  # packed weights may be shared
    starts: list[dict[str, Any]] = field(default_factory=list)
    rounds: list[float] = field(default_factory=list)  # processor seconds for a chunk
    failure: str = ""

    @property
    def label(self) -> str:
        return f"{self.runtime}{f' ({self.form})' * bool(self.form)}"

    def again(self) -> Cell:
        """The same, not yet measured."""
        return replace(self, starts=[], rounds=[])

    @property
    def logits(self) -> np.ndarray[Any, Any]:
        return np.array(self.starts[0]["logits"])


@dataclass(frozen=True)
class Subject:
    """A model in all its formats."""

    name: str
    folder: Path
    cells: list[Cell]
    graphs: dict[str, Path]  # in ONNX, float32
    chunk_seconds: float  # of audio
    work: Work

    def reference(self) -> Cell:
        """What the others are compared with: float32 in LiteRT."""
        return self.cell("fp32", "CompiledModel")

    def cell(self, weights: str, runtime: str) -> Cell:
        """The first of this kind."""
        return next(c for c in self.cells if (c.weights, c.runtime) == (weights, runtime))


@dataclass(frozen=True)
class Bench:
    """Starts processes and lets them take rounds."""

    pythons: dict[str, str]  # of runtimes that have one of their own
    starts: int
    rounds: int

    def measure(self, subject: Subject, cells: Sequence[Cell], title: str = "") -> None:
        """Fresh processes of each in turn, one at a time; then rounds of all in turn."""
        title = title or subject.name
        turns = [cell for _ in range(self.starts + 1) for cell in cells]
        for cell in track(turns, f"{title}: starting", len(turns)):
            self._start(subject, cell)
        for cell in cells:
            del cell.starts[:1]  # it filled the caches
        running = [cell for cell in cells if not cell.failure]
        with ExitStack() as stack:
            workers = [stack.enter_context(self._worker(subject, cell)) for cell in running]
            counts = [worker.read()["chunks"] for worker in workers]
            for _ in track(range(self.rounds), f"{title}: measuring", self.rounds):
                taken = in_turn(workers, 1)
                for cell, count, ((_, processor),) in zip(running, counts, taken, strict=True):
                    cell.rounds.append(processor / count)

    def float32_onnx(self, subject: Subject) -> list[Cell]:
        """The fastest form whose steps are unrolled, and the fastest with GRU operators.

        Raises:
            RuntimeError: a float32 graph computes something else.
        """
        exact = subject.reference().again()
        cells = [Cell("fp32", "onnxruntime", p, form) for form, p in subject.graphs.items()]
        self.quick.measure(subject, [exact, *cells], f"{subject.name} in onnxruntime")
        for cell in (exact, *cells):
            if cell.failure or (found := off(cell, exact)) > EXACT:
                raise RuntimeError(f"{cell.label}: {cell.failure or f'off by {found:.2g}'}")
        unrolled = [cell for cell in cells if cell.form.startswith("unrolled")]
        fused = [cell for cell in cells if cell not in unrolled]
        return [cell.again() for cell in (*fastest(unrolled), *fastest(fused))]

    def int8_onnx(self, subject: Subject, float32: Cell) -> tuple[Cell, list[Cell]]:
        """All int8 forms of a graph, after the float32 cell that they are compared with."""
        from conversion_onnx import int8_forms

        exact = float32.again()
        forms = int8_forms(float32.file, subject.folder)
        cells = [Cell("int8", "onnxruntime", path, form) for form, path in forms]
        self.quick.measure(subject, [exact, *cells], f"{subject.name} in onnxruntime, int8")
        return exact, cells

    @property
    def quick(self) -> Bench:
        """For choosing among many."""
        return replace(self, starts=1, rounds=5)

    def _start(self, subject: Subject, cell: Cell) -> None:
        if not cell.failure:
            try:
                with self._worker(subject, cell) as worker:
                    cell.starts.append(worker.read())
            except RuntimeError as error:
                cell.failure = str(error)

    def _worker(self, subject: Subject, cell: Cell) -> Worker:
        spec = {
            "runtime": cell.runtime,
            "file": str(cell.file),
            "chunks": str(cell.chunks or subject.folder / "chunks.npy"),
            "cache": cell.cache,
            "bytes": subject.work.weights,
            "threads": 1,
        }
        return Worker(self.pythons.get(cell.runtime, sys.executable), "conversion_worker.py", spec)


def fastest(cells: Sequence[Cell]) -> list[Cell]:
    """One, if there is any."""
    return [min(cells, key=lambda cell: median(cell.rounds))] if cells else []


def off(cell: Cell, exact: Cell) -> float:
    """The largest difference of log-probabilities."""
    return float(np.abs(log_softmax(cell.logits) - log_softmax(exact.logits)).max())


def passes(cell: Cell, exact: Cell) -> bool:
    """Whether the converter would let such an int8 artefact pass."""
    from ds2edge.convert.parity import check_gate, difference

    answers = ([log_softmax(one.logits).reshape(-1, one.logits.shape[-1])] for one in (cell, exact))
    try:
        check_gate("int8", difference(*answers))
    except BundleError:
        return False
    return True


def ratio(cell: Cell, other: Cell) -> float:
    """How many times the other's time this one takes, the median of the rounds."""
    return median(a / b for a, b in zip(cell.rounds, other.rounds, strict=True))
