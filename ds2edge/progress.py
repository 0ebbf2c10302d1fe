"""Progress bars with an estimate of the time left, on standard error, only on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

T = TypeVar("T")


def track(items: Iterable[T], description: str, total: int) -> Iterator[T]:
    """Yield `items` and show how many are done; silent where nobody looks."""
    from rich.progress import MofNCompleteColumn

    with _bar(MofNCompleteColumn(), disable=not _on_terminal()) as progress:
        yield from progress.track(items, total=total, description=description)


class SecondsBar:
    """A bar over seconds of audio, which vanishes when it is done; a context manager."""

    def __init__(self, total: float, shown: bool = True) -> None:
        """Nothing is shown unless `shown`; a `total` of 0 seconds means that it is not known."""
        self._progress: Progress | None = None
        if shown and _on_terminal():
            from rich.progress import TaskProgressColumn

            self._progress = _bar(TaskProgressColumn(), transient=True)
            self._task = self._progress.add_task("transcribing", total=total or None)

    def show(self, done: float) -> None:
        """`done` of `total` seconds are through."""
        if self._progress:
            self._progress.update(self._task, completed=done)

    def reporter(self, before: float) -> Callable[[float, float], None]:
        """A `progress` argument for the recording that begins after `before` seconds."""
        return lambda done, _: self.show(before + done)

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


def _on_terminal() -> bool:
    return bool(sys.stderr) and sys.stderr.isatty()


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
