"""A lane: one thread at a time works for it, however soon another one takes it over."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from contract_inputs import RATE, finals_of, recorded

from ds2edge import StreamOptions, Transcriber
from ds2edge.pipeline import Step
from ds2edge.segments import Segments
from ds2edge.serving.board import Board
from ds2edge.serving.lane import Lane


class Overtaken:
    """A lock; after its release, others are always faster than who had it."""

    def __init__(self, lock: threading.Lock, others: Callable[[], None]) -> None:
        self._lock, self._others = lock, others

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        self._others()


def test_a_lane_at_rest_may_be_with_another_thread_at_once(transcriber: Transcriber) -> None:
    """What that does with it is neither done again nor undone by the thread that let it rest."""
    pipeline, board = transcriber._pipeline, Board()
    lane = Lane(board, Segments(transcriber, StreamOptions()), RATE, None)
    samples = (recorded(0) * 2.0**-15).astype(np.float32)
    pushed, due = 0, list[Step | None]()

    def push_if_at_rest() -> None:
        nonlocal pushed
        needed = 0 if lane.busy else lane._hears.samples_needed
        if needed and pushed + needed <= len(samples):
            with board.lock:
                lane.put(samples[pushed : pushed + needed])
                pushed += needed
                board.schedule(lane)
            assert board.take_due(9) == [lane]
            due.append(lane.next_step())

    def work() -> None:
        while due:
            step: Any = due.pop()
            blocks = pipeline.hear([step])
            pipeline.search([step], blocks)
            if lane.resume(blocks[0]):
                due.append(lane.next_step())
            assert len(due) <= 1

    lane._lock = Overtaken(board.lock, push_if_at_rest)  # type: ignore[assignment]
    push_if_at_rest()
    work()
    assert len(samples) - pushed < lane._hears.samples_needed
    with board.lock:
        lane.put_work(lambda segments: segments.finish(samples[pushed:], len(samples) / RATE))
        lane.finishing = True
    lane._lock = board.lock
    due.append(lane.next_step())
    work()
    found = tuple(finals_of(lane.take_events()))
    assert found == transcriber.transcribe(recorded(0), RATE).segments
