"""What the streams and the threads of a dispatcher share: one lock, and who waits for whom."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ds2edge.decoder import LogProbs
from ds2edge.errors import StreamError
from ds2edge.pipeline import Step
from ds2edge.serving.metrics import Metrics

if TYPE_CHECKING:
    from ds2edge.serving.lane import Lane


class Stepped(NamedTuple):
    """A step that the search has not seen yet."""

    lane: Lane
    step: Step
    log_probs: LogProbs


class Board:
    """Lanes that are due for a step, in the order in which they became so, and what is stepped.

    A lane has one step at a time on its way, so that nobody is served twice before another once,
    however much of its audio waits.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()  # of all lanes, too; held for moments only
        self.metrics = Metrics()
        self.closing = False
        self._process = os.getpid()
        self._stopped = False
        self._due: deque[Lane] = deque()
        self._stepped: list[Stepped] = []
        self._has_due = threading.Condition(self.lock)
        self._has_stepped = threading.Condition(self.lock)

    @property
    def is_own_process(self) -> bool:
        """Not a forked child, where there are no threads."""
        return os.getpid() == self._process

    def check_process(self) -> None:
        """Raise StreamError in a forked child."""
        if not self.is_own_process:
            raise StreamError("a Dispatcher does not survive fork(); make it in the child process")

    def check_open(self) -> None:
        """Raise StreamError if the dispatcher is closed."""
        if self.closing:
            raise StreamError("the dispatcher is closed; make a new one")

    def schedule(self, lane: Lane) -> None:
        """Let a lane wait for a step if there is something to do; with the lock held."""
        if not lane.busy and lane.is_due:
            lane.busy = True
            self._due.append(lane)
            self._has_due.notify()

    def schedule_again(self, lanes: Sequence[Lane]) -> None:
        """Let lanes that are busy wait for another step: in front if it is of the same chunk.

        That has waited longest, and where a segment ends it needs several steps, but not many.
        """
        with self.lock:
            self._due.extendleft([lane for lane in reversed(lanes) if lane.goes_on])
            self._due.extend([lane for lane in lanes if not lane.goes_on])
            self._has_due.notify()

    def take_due(self, most: int) -> list[Lane]:
        """Wait until lanes are due; up to `most` of them, the first first. Empty: it is over."""
        with self.lock:
            self._has_due.wait_for(lambda: self._due or self._stopped)
            if self._stopped:
                return []
            return [self._due.popleft() for _ in range(min(most, len(self._due)))]

    def pass_on(self, stepped: Sequence[Stepped]) -> None:
        """From the acoustic model to the search."""
        with self.lock:
            self._stepped.extend(stepped)
            self._has_stepped.notify()

    def take_stepped(self) -> list[Stepped]:
        """Wait until something was passed on; all of it. Empty: it is over."""
        with self.lock:
            self._has_stepped.wait_for(lambda: self._stepped or self._stopped)
            if self._stopped:
                return []
            stepped, self._stepped = self._stepped, []
            return stepped

    def stop(self) -> None:
        """No thread is to take anything any more."""
        with self.lock:
            self.closing = self._stopped = True
            self._has_due.notify_all()
            self._has_stepped.notify_all()
