"""Progress bars with an estimate of the time left, on standard error, only on a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

T = TypeVar("T")


def track(items: Iterable[T], description: str, total: int) -> Iterator[T]:
    """Yield `items` and show how many are done; silent where nobody looks."""
    from rich.progress import MofNCompleteColumn

    with _bar(MofNCompleteColumn(), disable=not redraws(sys.stderr)) as progress:
        yield from progress.track(items, total=total, description=description)


class SecondsBar:
    """A bar over the seconds of audio of several recordings; a context manager.

    It vanishes when it is done.
    """

    def __init__(self, lengths: Sequence[float], doing: str, shown: bool = True) -> None:
        """`lengths` in seconds, 0 where it is not known; nothing is shown unless `shown`."""
        self._left = list(lengths)
        self._progress: Progress | None = None
        if shown and redraws(sys.stderr):
            from rich.progress import TaskProgressColumn

            self._progress = _bar(TaskProgressColumn(), transient=True)
            self._task = self._progress.add_task(doing, total=sum(lengths) or None)

    def report(self, number: int, seconds: float) -> None:
        """So many more seconds of a recording are through, by its place in `lengths`."""
        if self._progress:
            seconds = min(seconds, self._left[number])
            self._left[number] -= seconds
            self._progress.advance(self._task, seconds)

    def done(self, number: int) -> None:
        """All of a recording is through, or no more of it will come."""
        self.report(number, self._left[number])

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Take the bar away while something else is written to the terminal."""
        if not self._progress:
            yield
            return
        self._progress.stop()
        yield
        self._progress.start()

    def __enter__(self) -> SecondsBar:
        if self._progress:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress:
            self._progress.stop()


def redraws(file: TextIO | None) -> bool:
    """Whether it is a terminal on which what was written can be changed."""
    return file is not None and file.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def _bar(count: ProgressColumn, disable: bool = False, transient: bool = False) -> Progress:
    # Imported late: rich is slower to import than ds2edge.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.progress import TimeElapsedColumn as Elapsed
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (TextColumn("{task.description}"), BarColumn(), count, Elapsed())
    # Redirecting would send what is printed to a piped standard output to the terminal instead.
    return Progress(
        *columns,
        TextColumn("left"),
        Remaining(),
        console=Console(stderr=True),
        redirect_stdout=False,
        disable=disable,
        transient=transient,
    )
