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
OPERATION = re.compile(r"[^\s:]+:[A-Za-z]\w*$")  # name in the graph, type
Spans = list[tuple[float, float]]


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
    parts: dict[str, float] = defaultdict(float)
    running: Spans = []
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
            for part, value in own_seconds(events).items():
                parts[part] += value
    return parts, covered(running)


def own_seconds(events: Iterable[tuple[float, float, str]]) -> dict[str, float]:
    """Seconds of the operations of each part on a thread, less those that run inside them."""
    parts: dict[str, float] = defaultdict(float)
    around: list[tuple[float, str | None]] = []  # end and part of what has begun
    for begin, end, name in sorted(events, key=lambda event: (event[0], -event[1])):
        while around and around[-1][0] <= begin:
            around.pop()
        part = part_of(name)
        outer = around[-1][1] if around else None
        if outer:
            parts[outer] -= end - begin
        if part:
            parts[part] += end - begin
        around.append((end, part))
    return parts


def part_of(event: str) -> str | None:
    """Which part an event of the trace is of, if it is an operation."""
    event = event.split("#")[0]
    if not OPERATION.match(event):
        return None
    found = (part for part, pattern in NAMES.items() if re.search(pattern, event))
    return next(found, REST)


def covered(spans: Spans) -> float:
    """Seconds in which one span or more is."""
    total, until = 0.0, float("-inf")
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total
