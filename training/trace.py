"""Which part of a training step an operation of TensorFlow is of, and how long each part takes."""

from __future__ import annotations

import re
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import keras

WAITING, REST = "communication", "other"
# In the order in which a name is looked up; gradients have the name of what they are of.
NAMES = {
    WAITING: r":(Collective|Nccl)",  # also those of batch norm
    "convolutions": r"(^|/)convolution\d",
    "recurrence": r"(^|/)(recurrence|dropout)",
    "CTC": r"(^|/)ctc(/|$)",
    "optimiser": r"(^|/)optimiser(/|$)",
    "output": r"_model(_\d+)?/",  # row convolution, connected layer, output layer
}
OPERATION = re.compile(r"[^\s:]+:\w+$")  # name in the graph, type
Span = tuple[float, float, str]  # begin and end, seconds


def can_trace() -> bool:
    """Whether the parts of a step can be told apart here."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.config.list_physical_devices("GPU")


class Trace:
    """Notes what TensorFlow runs; a context manager. What it found is there at its end."""

    seconds: dict[str, float]  # of the operations of each part that has any
    busy: float  # seconds in which one ran, or was looked for

    def __enter__(self) -> Trace:
        import tensorflow as tf

        self._folder = tempfile.TemporaryDirectory(prefix="ds2edge-profile-")
        # All operations, also those that it deems cheap; nothing of Python.
        options = tf.profiler.experimental.ProfilerOptions(
            host_tracer_level=3, python_tracer_level=0
        )
        tf.profiler.experimental.start(self._folder.name, options)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        import tensorflow as tf

        tf.profiler.experimental.stop(save=kind is None)
        with self._folder:
            if kind is None:
                (path,) = Path(self._folder.name).rglob("*.xplane.pb")
                self.seconds, self.busy = read_trace(path)


def read_trace(path: Path) -> tuple[dict[str, float], float]:
    """Seconds of the operations of each part, and those in which the graph was run at all."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    trace = xplane_pb2.XSpace()
    trace.ParseFromString(path.read_bytes())
    operations: list[Span] = []
    running: list[tuple[float, float]] = []
    for plane in trace.planes:
        names = {key: value.name for key, value in plane.event_metadata.items()}
        for line in plane.lines:
            offset = line.timestamp_ns * 1e-9
            events = [
                (
                    offset + event.offset_ps * 1e-12,
                    offset + (event.offset_ps + event.duration_ps) * 1e-12,
                    names[event.metadata_id],
                )
                for event in line.events
            ]
            running += [(a, b) for a, b, name in events if name.startswith("ExecutorState::Proc")]
            operations += innermost(events)
    return shared(operations), sum(shared([(a, b, REST) for a, b in running]).values())


def innermost(events: Iterable[Span]) -> list[Span]:
    """What a thread does when: each moment is of the operation that began last.

    Args:
        events: begin, end and name.

    Returns: begin, end and part, without what is of none.
    """
    found: list[Span] = []
    around: list[tuple[float, str | None]] = []  # end and part of what has begun
    last = 0.0

    def until(now: float) -> None:
        nonlocal last
        part = around[-1][1]
        if part and now > last:
            found.append((last, now, part))
        last = now

    for begin, end, name in sorted(events, key=lambda event: (event[0], -event[1])):
        while around and around[-1][0] <= begin:
            until(around[-1][0])
            around.pop()
        if around:
            until(begin)
        last = begin
        # What is no operation belongs to the one that it runs in.
        around.append((end, part_of(name) or (around[-1][1] if around else None)))
    while around:
        until(around[-1][0])
        around.pop()
    return found


def shared(spans: Iterable[Span]) -> dict[str, float]:
    """Seconds of each part, where several threads are at work each with its share of the moment."""
    changes = sorted(
        change for begin, end, part in spans for change in ((begin, 1, part), (end, -1, part))
    )
    seconds: dict[str, float] = defaultdict(float)
    active: dict[str, int] = defaultdict(int)
    last = 0.0
    for now, change, part in changes:
        threads = sum(active.values())
        for running, count in active.items():
            if count:
                seconds[running] += (now - last) * count / threads
        active[part] += change
        last = now
    return dict(seconds)


def part_of(event: str) -> str | None:
    """Which part an event of the trace is of, if it is an operation."""
    event = event.split("#")[0]
    if not OPERATION.match(event):
        return None
    found = (part for part, pattern in NAMES.items() if re.search(pattern, event))
    return next(found, REST)
