"""The ways of batching that are compared. Only the first is what ds2edge does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ds2edge.serving import dispatcher
from ds2edge.serving.board import Board

if TYPE_CHECKING:
    from ds2edge.serving.lane import Lane

TIMER = 0.01  # seconds
EAGER, ALONE, TIMED = "eager", "batching off", "10 ms timer"
WAYS = (EAGER, ALONE, TIMED)


class TimedBoard(Board):
    """Lets a batch wait for more, as servers with a timer do."""

    def take_due(self, most: int) -> list[Lane]:
        """Once something is due, wait until a whole batch is, or the time is over."""
        with self.lock:
            self._has_due.wait_for(lambda: self._due or self._stopped)
            self._has_due.wait_for(lambda: len(self._due) >= most or self._stopped, TIMER)
        return super().take_due(most)


def use(way: str) -> None:
    """Dispatchers that are made in this process from now on batch in this way.

    To have no batches is an option of theirs, which is not changed here.
    """
    dispatcher.Board = TimedBoard if way == TIMED else Board  # type: ignore[misc]


def largest_batch(way: str, most: int) -> int:
    """What `max_batch` has to be."""
    return 1 if way == ALONE else most
