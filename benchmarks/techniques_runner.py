"""Trains and evaluates rows, several at a time, and goes on with what was interrupted."""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Protocol

from techniques_report import write_techniques
from techniques_rows import (
    Place,
    Plan,
    Row,
    manifest,
    prepare_row,
    read_work,
    split_corpora,
    with_statistics,
)
from techniques_taken import take_runs

from ds2edge.arguments import INTERRUPTED, SOME_FAILED
from ds2edge.progress import track
from ds2edge.training.config import load_config

POLL = 1.0  # seconds
GRACE = 120.0  # seconds to write a checkpoint in, when interrupted

log = logging.getLogger("techniques")


class Found(Protocol):
    """What there is to say of a row that is done."""

    @property
    def row(self) -> Row: ...
    @property
    def cer(self) -> float: ...
    @property
    def minutes(self) -> float: ...


# Writes what is done by now of some rows below a folder, and says what it is.
Report = Callable[[Sequence[Row], Path], Sequence[Found]]


def run(
    plan: Plan,
    names: Sequence[str],
    data: Path,
    out: Path,
    jobs: int,
    runs: Path | None = None,
    report: Report = write_techniques,
) -> int:
    """Train the rows of a plan on its split of the corpora.

    Args:
        runs: folder of runs that need not be trained again.

    Returns: the exit code.
    """
    rows = plan.chosen(names)
    split_corpora([plan.base, *(row.config(plan.base) for row in rows)], data, out)
    if runs:
        taken = take_runs(plan, rows, runs, out)
        log.info("taken from %s: %s", runs, ", ".join(row.name for row in taken) or "nothing")
    base = with_statistics(plan.base, out)
    for row in rows:
        prepare_row(row, base, out)
    code = Runner(rows, plan.rows, out, jobs, report).run()
    report(plan.rows, out)  # if all was done before, too
    return code


class Runner:
    """Trains and evaluates rows, several at a time."""

    def __init__(
        self,
        rows: Sequence[Row],
        shown: Sequence[Row],
        out: Path,
        jobs: int,
        report: Report = write_techniques,
        train: Sequence[object] = (),
        evaluate: Sequence[object] = (),
    ) -> None:
        """The rows have been prepared.

        Args:
            shown: rows of the report, as far as they are done by now or before.
            train: options of `ds2edge train`.
            evaluate: of `ds2edge evaluate`.
        """
        self.rows, self.shown, self.out, self.jobs = rows, shown, out, jobs
        self.report, self.train, self.evaluate = report, train, evaluate
        self.failed: list[Row] = []
        self._children: set[int] = set()
        cores = sorted(os.sched_getaffinity(0))
        shares = [set(cores[i :: min(jobs, len(cores))]) for i in range(jobs)]
        self._cores: queue.SimpleQueue[set[int]] = queue.SimpleQueue()
        for share in shares:
            self._cores.put(share or set(cores))

    def run(self) -> int:
        """All of it, with a progress bar. Returns: the exit code."""
        try:
            total = sum(_updates(self.out, row) for row in self.rows)
            for _ in track(self.updates(), "updates of all rows", total):
                pass
        except KeyboardInterrupt:
            self.stop()
            log.info("stopped; the same command goes on")
            return INTERRUPTED
        return SOME_FAILED if self.failed else 0

    def updates(self) -> Iterator[None]:
        """Work until all is done, and yield for each update that was done meanwhile or before."""
        waiting, running = list(self.rows), dict[Future[None], Row]()
        told, began, before = 0, time.monotonic(), self._done()
        with ThreadPoolExecutor(self.jobs, initializer=self._take_cores) as pool:
            try:
                while waiting or running:
                    for row in self._ready(waiting)[: self.jobs - len(running)]:
                        waiting.remove(row)
                        running[pool.submit(self._row, row)] = row
                    done, _ = wait(running, POLL, FIRST_COMPLETED)
                    for future in done:
                        self._end(running.pop(future), future)
                    now = self._done()
                    yield from [None] * (now - told)
                    told = max(told, now)
                    if done:
                        self._tell(len(waiting) + len(running), now - before, began)
            except BaseException:
                self.stop()
                raise

    def stop(self) -> None:
        """Ask what runs to write a checkpoint and end."""
        for child in list(self._children):
            os.kill(child, signal.SIGINT)
        deadline = time.monotonic() + GRACE
        while self._children and time.monotonic() < deadline:
            time.sleep(0.1)
        for child in list(self._children):
            os.kill(child, signal.SIGKILL)

    def _ready(self, waiting: Sequence[Row]) -> list[Row]:
        """Those whose teacher is trained; a teacher that failed fails them, too."""
        return [
            row
            for row in waiting
            if not row.teacher
            or Place(self.out, row.teacher).evaluation.exists()
            or row.teacher in [failed.name for failed in self.failed]
        ]

    def _row(self, row: Row) -> None:
        """Train and evaluate, unless it is done."""
        place = Place(self.out, row.name)
        if place.evaluation.exists():
            return
        if row.teacher and not Place(self.out, row.teacher).evaluation.exists():
            raise RuntimeError(f"its teacher, {row.teacher}, failed")
        train = ["train", place.config, "--data", self.out / "data", "--out", place.run]
        train += self.train
        if row.teacher:
            train[0] = "distill"
            train += ["--teacher", Place(self.out, row.teacher).checkpoint]
        self._command(train, place)
        folders = [corpus.folder for corpus in load_config(place.config).data.dev]
        part = place.evaluation.with_suffix(".part.json")
        model = ["--checkpoint", place.checkpoint, *self.evaluate, "--json", part]
        manifests = [manifest(self.out, folder) for folder in folders]
        self._command(["evaluate", *manifests, "--split", "dev", *model], place, counts=False)
        os.replace(part, place.evaluation)

    def _command(self, arguments: Sequence[object], place: Place, counts: bool = True) -> None:
        """Run `ds2edge`, and note what a training process took.

        Raises:
            RuntimeError: it failed.
        """
        before, began = count_updates(place), time.monotonic()
        command = [str(Path(sys.executable).with_name("ds2edge")), *map(str, arguments)]
        with (place.run / "terminal.log").open("ab") as terminal:
            # A group of its own: Ctrl-C reaches it through `stop`, once.
            child = subprocess.Popen(
                command, stdout=terminal, stderr=terminal, stdin=subprocess.DEVNULL, process_group=0
            )
            self._children.add(child.pid)
            try:
                _, status, usage = os.wait4(child.pid, 0)
            finally:
                self._children.discard(child.pid)
        child.returncode = os.waitstatus_to_exitcode(status)
        if counts:
            record = {
                "updates": count_updates(place) - before,
                "processor": usage.ru_utime + usage.ru_stime,
                "seconds": time.monotonic() - began,
            }
            with place.usage.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        if child.returncode:
            said = (place.run / "terminal.log").read_text(errors="replace").strip()
            last = said.splitlines()[-1] if said else "nothing was said"
            raise RuntimeError(f"{arguments[0]} ended with {child.returncode}: {last}")

    def _end(self, row: Row, future: Future[None]) -> None:
        """Write what there is by now."""
        if error := future.exception():
            if not isinstance(error, RuntimeError | OSError):
                raise error
            self.failed.append(row)
            log.error("%s failed: %s", row.name, error)
            return
        results = self.report(self.shown, self.out)
        (found,) = [result for result in results if result.row is row]
        log.info("%s: dev CER %.1f %%, %.0f min", row.name, found.cer, found.minutes)

    def _tell(self, left: int, done: int, began: float) -> None:
        """How long it will take, for those who see no bar."""
        todo = sum(_updates(self.out, row) for row in self.rows) - self._done()
        if left and done:
            minutes = (time.monotonic() - began) / done * todo / 60
            log.info("%d rows to go, about %.0f min", left, minutes)

    def _done(self) -> int:
        return sum(count_updates(Place(self.out, row.name)) for row in self.rows)

    def _take_cores(self) -> None:
        """This thread's, and so its children's: they compute with as many threads."""
        os.sched_setaffinity(0, self._cores.get())


def count_updates(place: Place) -> int:
    """That a row has done."""
    try:
        return (place.run / "steps.jsonl").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def _updates(out: Path, row: Row) -> int:
    return read_work(Place(out, row.name)).updates
