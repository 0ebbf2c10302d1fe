"""What a run says and writes down: the terminal, train.log, steps.jsonl, history.jsonl, curves."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, Any

from ds2edge.training.curves import draw_curves
from ds2edge.training.events import EventFiles
from ds2edge.training.files import partial_file

Record = dict[str, Any]

DRAW_EVERY = 10.0  # seconds, at least: epochs of a moment are not worth a picture each


class RunLog:
    """steps.jsonl, a line for each update; history.jsonl, one for each epoch; and their curves.

    Where a run goes on, the lines are those of an uninterrupted one: what a killed process did
    after its last checkpoint is done again and is in them once.
    """

    def __init__(self, folder: Path, updates: int, history: Sequence[Record]) -> None:
        """So many updates are done; `history` has a record for each epoch that is."""
        self.folder = folder
        self.steps = read_records(folder / "steps.jsonl")[:updates]
        self.history = list(history)
        self._write("steps.jsonl", self.steps)
        self._write("history.jsonl", self.history)
        self._file: IO[str] = (folder / "steps.jsonl").open("a", encoding="utf-8", buffering=1)
        self._events = EventFiles(folder / "tensorboard")
        self._drawn = time.monotonic()
        for record in self.steps:
            self._events.step(record)
        for record in self.history:
            self._events.epoch(record)

    def step(self, record: Record) -> None:
        """An update more: step, epoch, loss, gradient_norm, learning_rate, seconds."""
        self.steps.append(record)
        self._file.write(json.dumps(record) + "\n")
        self._events.step(record)

    def epoch(self, record: Record) -> None:
        """An epoch more: epoch, step, loss, dev_cer, seconds; the curves are drawn anew."""
        self.history.append(record)
        self._write("history.jsonl", self.history)
        self._events.epoch(record)
        if time.monotonic() - self._drawn > DRAW_EVERY:
            self.draw()

    def draw(self) -> None:
        """Write curves.png."""
        draw_curves(self.folder / "curves.png", self.steps, self.history)
        self._drawn = time.monotonic()

    def close(self) -> None:
        """Draw the curves as they are; leaving the `with` does so, too."""
        self._file.close()
        self._events.close()
        self.draw()

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with suppress(OSError) if kind else nullcontext():  # the first error is the one to tell
            self.close()

    def _write(self, name: str, records: Sequence[Record]) -> None:
        with partial_file(self.folder / name, sync=False) as file:
            file.write("".join(json.dumps(record) + "\n" for record in records).encode())


def read_records(path: Path) -> list[Record]:
    """Records of a .jsonl file, as far as it is whole; none where there is no file."""
    records: list[Record] = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return records
    for line in lines:
        try:
            records.append(json.loads(line))
        except ValueError:  # the line that a kill cut short
            break
    return records


class Unlogged(RunLog):
    """Of a worker that is not the chief: nothing is written."""

    def __init__(self) -> None:
        self.steps: list[Record] = []

    def step(self, record: Record) -> None:
        """Nothing."""

    def epoch(self, record: Record) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


@contextmanager
def warnings_on_terminal() -> Iterator[None]:
    """Say on standard error what ds2edge warns of, and write nothing."""
    logger, terminal = logging.getLogger("ds2edge"), _Terminal()
    terminal.setLevel(logging.WARNING)
    logger.addHandler(terminal)
    try:
        yield
    finally:
        logger.removeHandler(terminal)


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Say on standard error what ds2edge logs, and append it to a file in full."""
    logger = logging.getLogger("ds2edge")
    terminal, file = _Terminal(), _LogFile(path, encoding="utf-8")
    terminal.setLevel(logging.INFO)
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    before = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(terminal)
    logger.addHandler(file)
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(terminal)
        logger.removeHandler(file)
        with suppress(OSError):  # it was told when it was written
            file.close()


class _Terminal(logging.Handler):
    """Standard error as it is when something is said: a progress bar may have taken it over."""

    def emit(self, record: logging.LogRecord) -> None:
        if sys.stderr:
            with suppress(OSError):  # nobody listens: no reason to end
                print(self.format(record), file=sys.stderr, flush=True)


class _LogFile(logging.FileHandler):
    """A disk that is full ends the run in one line, not in one traceback for each message."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 # logging's name
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, self.baseFilename) from None
        super().handleError(record)
