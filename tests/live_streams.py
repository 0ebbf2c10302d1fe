"""Helpers of the tests of dispatchers and their streams."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from contract_inputs import RATE, Samples, finals_of

from ds2edge import Final, StreamOptions, Transcriber
from ds2edge.pipeline import Step
from ds2edge.results import Event
from ds2edge.serving.dispatcher import Dispatcher
from ds2edge.serving.live import LiveStream

PATIENCE = 60.0  # seconds after which a thread hangs
PIECE = RATE * 2 // 25  # samples, 80 ms
USES: dict[str, Callable[[LiveStream], Any]] = {
    "push": lambda stream: stream.push(np.zeros(800, np.float32)),
    "flush": lambda stream: stream.flush(),
    "finish": lambda stream: stream.finish(),
    "set_options": lambda stream: stream.set_options(StreamOptions(longest=0.1)),
}


class Pushed:
    """A `LiveStream` with the methods of `Stream` that `perform` uses; all is said at the end."""

    def __init__(self, stream: LiveStream) -> None:
        self.stream = stream

    def feed(self, samples: Samples) -> list[Event]:
        self.stream.push(samples)
        return []

    def flush(self) -> list[Event]:
        self.stream.flush()
        return []

    def set_options(self, options: StreamOptions) -> None:
        self.stream.set_options(options)

    def finish(self) -> list[Event]:
        self.stream.finish()
        return list(self.stream)


def pieces_of(samples: Samples, length: int = PIECE) -> list[Samples]:
    return np.split(samples, range(length, len(samples), length))


def finals_by_turns(
    dispatcher: Dispatcher, recordings: Sequence[Samples], turns: Sequence[int]
) -> list[tuple[Final, ...]]:
    """Each recording in pieces, pushed in the order that `turns` begins and all others end."""
    streams = [dispatcher.stream(RATE) for _ in recordings]
    waiting = [pieces_of(samples) for samples in recordings]
    rest = [i for i, pieces in enumerate(waiting) for _ in pieces]
    for turn in [*turns, *rest]:
        if pieces := waiting[turn % len(waiting)]:
            streams[turn % len(waiting)].push(pieces.pop(0))
    for stream in streams:
        stream.finish()
    return [tuple(finals_of(stream)) for stream in streams]


@contextmanager
def held(transcriber: Transcriber) -> Iterator[tuple[threading.Event, list[list[Step]]]]:
    """The acoustic model waits for the event; its batches are noted."""
    go, batches, hear = threading.Event(), [], transcriber._pipeline.hear

    def wait(steps: Sequence[Step]) -> Any:
        batches.append(list(steps))
        assert go.wait(PATIENCE)
        return hear(steps)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transcriber._pipeline, "hear", wait)
        try:
            yield go, batches
        finally:
            go.set()


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.002)
