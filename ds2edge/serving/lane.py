"""One stream's place in a dispatcher: what waits, the work being done, and what it has to say."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from ds2edge._native import join
from ds2edge.audio import FloatArray
from ds2edge.decoder import LogProbs
from ds2edge.pipeline import Step, Work
from ds2edge.results import Event, Final, Partial
from ds2edge.segments import Segments
from ds2edge.serving.board import Board

MOST_TASKS = 1000  # that wait
MOST_UNREAD = 100  # events that nobody has read: then the stream waits for its reader

# What is to be done in its turn. None is returned where nothing is left to do.
Begin: TypeAlias = Callable[[Segments], Work[list[Event]] | None]

log = logging.getLogger(__name__)


class _Task(NamedTuple):
    arrived: float  # as time.perf_counter() tells it
    samples: FloatArray  # to be heard, at the model's rate
    begin: Begin | None = None  # or other work


class Lane:
    """Works off the tasks of one stream in their order.

    It is `busy` while it waits for a thread of the dispatcher or is with one, which alone then
    calls `next_step` and `resume`, without the dispatcher's lock. All else needs the lock.
    """

    def __init__(
        self,
        board: Board,
        segments: Segments,
        most_waiting: int,
        listener: Callable[[], None] | None,
    ) -> None:
        """`most_waiting`: samples at the model's rate, beyond which there is no room for more."""
        self.changed = threading.Condition(board.lock)  # room, an event, or the end
        self.busy = False
        self.goes_on = False  # the step in `next_step` is not the first of its work
        self.arrived: float | None = None  # of the chunk in `next_step`; None: it is about none
        self.finishing = False  # no more tasks will come
        self.hurried = False  # goes on though nobody reads
        self.ended = False  # nothing more will be done
        self.error: Exception | None = None  # by which it ended
        self._lock, self._metrics = board.lock, board.metrics
        self._segments: Segments | None = segments  # None: it has ended, and been let go
        self._listener = listener
        self._most_joined = segments.samples_needed  # pieces that are shorter become one
        self._most_waiting = max(most_waiting, self._most_joined)
        self._tasks: deque[_Task] = deque()
        self._waiting = self._others = 0  # samples in the tasks, and tasks that have none
        self._work: Work[list[Event]] | None = None
        self._step: Step | None = None  # that the work waits for
        self._heard = False  # something that may have changed the open segment's text
        self._unsaid: float | None = None  # arrival of the first chunk whose text was not told yet
        self._events: deque[Event] = deque()

    # ---- for callers

    @property
    def has_room(self) -> bool:
        """For another task."""
        return self._waiting < self._most_waiting and len(self._tasks) < MOST_TASKS

    @property
    def has_events(self) -> bool:
        """That nobody has read."""
        return bool(self._events)

    @property
    def is_due(self) -> bool:
        """Could a thread do something now? Only to be asked where no work is being done."""
        if self.ended or (len(self._events) >= MOST_UNREAD and not self.hurried):
            return False
        return self._others > 0 or self._waiting >= self._hears.samples_needed or self._is_done

    def put(self, samples: FloatArray) -> None:
        """Let samples wait to be heard."""
        self._waiting += len(samples)
        if self._tasks and 0 < len(self._tasks[-1].samples) < self._most_joined:
            samples = join([self._tasks.pop().samples, samples])
        if len(samples):
            self._tasks.append(_Task(time.perf_counter(), samples))

    def put_work(self, begin: Begin) -> None:
        """Let other work wait for its turn."""
        self._tasks.append(_Task(time.perf_counter(), np.zeros(0, np.float32), begin))
        self._others += 1

    def take_events(self) -> list[Event]:
        """What was said since the last call."""
        events = list(self._events)
        self._events.clear()
        return events

    def end(self, error: Exception | None = None) -> None:
        """Drop what waits; what was said can still be read."""
        if not self.ended:
            self.ended, self.error = True, error
            self._tasks.clear()
            self._waiting = self._others = 0
            self.changed.notify_all()
        if not self.busy:
            self._let_go()

    # ---- for the dispatcher's threads

    def next_step(self) -> Step | None:
        """What the model is to do next; None where there is nothing, and the lane is at rest."""
        step, self._step = self._step, None
        return self._go_on() if step is None or self.ended else step

    def resume(self, log_probs: LogProbs) -> bool:
        """Go on, with the log-probabilities of the step; returns whether there is another one."""
        step = self._go_on(log_probs)
        if step:  # else the lane is at rest, where another thread may have taken it already
            self._step = step
        return step is not None

    def fail(self, error: Exception) -> None:
        """End by an error."""
        with self._lock:
            self.busy = False
            self._end_by(error)
        self.tell()

    def tell(self) -> None:
        """Call the listener."""
        try:
            if self._listener:
                self._listener()
        except Exception as error:
            log.warning("the listener of a stream failed, and the stream with it: %s", error)
            self._listener = None
            with self._lock:
                self._end_by(error)

    def _go_on(self, log_probs: LogProbs | None = None) -> Step | None:
        self.goes_on = True
        try:
            return self._resume(log_probs)
        except Exception as error:  # whatever it is, the other streams go on
            self.fail(error)
            return None

    def _end_by(self, error: Exception) -> None:
        self._metrics.failed += not self.ended
        self.end(error)

    def _resume(self, log_probs: LogProbs | None) -> Step | None:
        while not self.ended:
            if self._work:
                try:
                    return next(self._work) if log_probs is None else self._work.send(log_probs)
                except StopIteration as done:
                    self._work = log_probs = None
                    self._say(done.value)
            elif task := self._take():
                self._start(task)
            elif self._heard:
                self._heard = False
                self._say(self._hears.partial())
                self._note_text()
            elif self._rest():
                return None
        self._let_go()
        return None

    def _let_go(self) -> None:
        """Of all that takes memory: whoever was told of the end may hold the lane for long."""
        self._work = self._step = self._segments = None

    @property
    def _hears(self) -> Segments:
        """Of a lane that has not ended."""
        assert self._segments
        return self._segments

    @property
    def _is_done(self) -> bool:
        return self.finishing and not self._tasks

    def _take(self) -> _Task | None:
        """The task whose turn it is, if any is due."""
        with self._lock:
            if not self.is_due or not self._tasks:
                return None
            had_room = self.has_room
            task = self._next_task()
            has_room = self.has_room and not had_room
            if has_room:
                self.changed.notify_all()
        if has_room:
            self.tell()
        return task

    def _next_task(self) -> _Task:
        """Samples for a whole chunk, or all that there are before other work, or that."""
        if self._tasks[0].begin:
            self._others -= 1
            return self._tasks.popleft()
        needed, pieces = self._hears.samples_needed, []
        while needed and self._tasks and not self._tasks[0].begin:
            arrived, samples, _ = self._tasks.popleft()
            pieces.append(samples[:needed])
            if len(samples) > needed:
                self._tasks.appendleft(_Task(arrived, samples[needed:]))
            needed -= len(pieces[-1])
        joined = join(pieces)
        self._waiting -= len(joined)
        return _Task(arrived, joined)

    def _start(self, task: _Task) -> None:
        self.goes_on = False
        if task.begin:
            self.arrived = None
            self._work = task.begin(self._hears)
            self._heard = self._work is None  # other options may change the text
        else:
            self.arrived = task.arrived
            self._unsaid = self._unsaid or task.arrived
            self._work = self._hears.advance(task.samples)
            self._heard = True

    def _say(self, events: list[Event]) -> None:
        if not events:
            return
        with self._lock:
            for event in events:
                if isinstance(event, Final):
                    self._metrics.transcribed += event.end - event.start
                if self._events and isinstance(self._events[-1], Partial):
                    self._events.pop()  # nobody has read it, and this one says more
                self._events.append(event)
            self.changed.notify_all()
        self.tell()

    def _note_text(self) -> None:
        if self._unsaid:
            with self._lock:  # both threads of the dispatcher observe such times
                self._metrics.text.observe(time.perf_counter() - self._unsaid)
            self._unsaid = None

    def _rest(self) -> bool:
        """Unless something has come meanwhile; then another thread may have the lane at once."""
        with self._lock:
            is_done = self._is_done and not self.ended
            if is_done:
                self._metrics.finished += 1
                self.busy = False
                self.end()
            self.busy = is_due = self.is_due
        if is_done:
            self._note_text()
            self.tell()
        return not is_due
