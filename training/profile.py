"""What the time of an update is spent on: `ds2edge train --profile`.

Shares come from TensorFlow's own profiler, which notes when each operation of the compiled step
begins and ends: the real step, not a model of it. A part is told by the name that its operations
have in the graph. What lies between operations is a part of its own, so the parts add up to the
whole, and the same updates without the profiler show what it costs.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import keras
from keras import ops

from ds2edge.errors import DataError
from ds2edge.progress import track
from ds2edge.training.data.batches import Batch
from ds2edge.training.files import partial_file
from ds2edge.training.flops import training_flops
from ds2edge.training.loop import build_state, configure_threads
from ds2edge.training.run import Run
from ds2edge.training.step import build_stepper
from ds2edge.training.trace import NAMES, REST, WAITING, Trace, can_trace

STEPS = 20  # updates, by default
TRACED = 4  # of them, again under the profiler: the trace of a large model is large
WARM_UP = 2  # the first one compiles
SIZE = 2048  # of the matrices that show the peak

INPUT, WHOLE, BETWEEN = "input", "compiled step", "between operations"
PARTS = (INPUT, WHOLE, *sorted(NAMES, key=WAITING.__eq__), REST, BETWEEN)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Profile:
    """Means of an update."""

    parts: dict[str, float]  # seconds of each, with the profiler; their sum is the whole
    step: float  # seconds, input included, without the profiler
    same: float  # the same of those updates that the profiler saw; 0: it saw none
    audio: float  # seconds of sound, without padding
    flops: dict[str, float]  # operations of the parts that have any
    peak: float  # operations a second
    setting: str  # precision and threads of the peak

    @property
    def sustained(self) -> float:
        """Operations a second."""
        return sum(self.flops.values()) / self.step


def show_profile(run: Run, steps: int) -> None:
    """Print what `profile` finds, and draw it in the folder of the run."""
    try:
        found = profile(run, steps)
    finally:
        run.close()
    if found:
        print("\n".join(lines_of(found)))
        draw_profile(run.folder / "profile.png", found)


def profile(run: Run, steps: int = STEPS) -> Profile | None:
    """Make so many updates of a new model and measure them; nothing of it is kept.

    Several workers do the same together; only the chief's is returned.

    Raises:
        DataError: the loss is no number.
    """
    config, workers = run.config, run.workers
    keras.utils.set_random_seed(config.optimizer.seed)
    configure_threads(workers.count)
    log.info("compiling; then %d updates, of which nothing is kept", steps)
    work = _Work(run, max(steps, WARM_UP))
    work.times(range(WARM_UP))
    plain = work.times(track(range(steps), "profiling", steps))
    parts = work.parts(range(min(steps, TRACED))) if can_trace() else {}
    if not workers.is_chief:
        return None
    same = plain[:TRACED] if parts else []
    if not parts:
        log.info("TensorFlow tells parts apart, on a processor only: here the step is one part")
        parts = {INPUT: _mean(t.input for t in plain), WHOLE: _mean(t.step for t in plain)}
    among = f"; this worker alone, of {workers.count}" if workers.count > 1 else ""
    return Profile(
        parts={part: parts[part] for part in PARTS if part in parts},
        step=_mean(timing.whole for timing in plain),
        same=_mean(timing.whole for timing in same),
        audio=_mean(timing.audio for timing in plain),
        flops=work.flops(range(steps)),
        peak=peak_flops(config.optimizer.precision),
        setting=f"{config.optimizer.precision}, {_processor()}{among}",
    )


@dataclass(frozen=True)
class _Timing:
    """Of one update."""

    input: float  # seconds
    step: float
    audio: float  # seconds of sound

    @property
    def whole(self) -> float:
        return self.input + self.step


class _Work:
    """Updates of the second epoch, since the first may go from short to long."""

    def __init__(self, run: Run, most: int) -> None:
        self.run, self.plan = run, run.plan(1)
        state = build_state(run.config, [len(self.plan)])
        run.workers.spread(state.objective, state.optimizer)
        run.workers.join(state.model)
        run.ready(1, self.plan[: most * run.config.optimizer.accumulate])
        clip_norm = run.config.optimizer.clip_norm
        self.step = build_stepper(state.objective, state.optimizer, clip_norm, run.workers)

    def batches(self, number: int) -> list[Batch]:
        """Of one update."""
        each = self.run.config.optimizer.accumulate
        some = [i % len(self.plan) for i in range(number * each, (number + 1) * each)]
        return list(self.run.batches(1, self.plan, some))

    def times(self, numbers: Iterable[int]) -> list[_Timing]:
        """Make updates."""
        timings = []
        for number in numbers:
            begin = time.perf_counter()
            batches = self.batches(number)
            ready = time.perf_counter()
            loss = self.step(batches).loss
            end = time.perf_counter()
            if not math.isfinite(loss):
                raise DataError(f"the loss is {loss:g}; lower optimizer.learning_rate")
            frames = sum(int(batch.frames.sum()) for batch in batches)
            audio = frames / self.run.config.features.frame_rate
            timings.append(_Timing(ready - begin, end - ready, audio))
        return timings

    def parts(self, numbers: range) -> dict[str, float]:
        """Seconds of each part of an update, with the profiler."""
        with Trace() as trace:
            traced = self.times(numbers)
        whole = sum(timing.step for timing in traced)
        parts = {**trace.seconds, INPUT: sum(timing.input for timing in traced)}
        idle = max(0.0, whole - trace.busy)
        if self.run.workers.count > 1:  # while messages go from one to the other
            parts[WAITING] = parts.get(WAITING, 0.0) + idle
        parts[BETWEEN] = whole + parts[INPUT] - sum(parts.values())
        return {part: seconds / len(numbers) for part, seconds in parts.items()}

    def flops(self, numbers: range) -> dict[str, float]:
        """Of an update; all rows of a batch are as long as the longest."""
        total: dict[str, float] = dict.fromkeys(("convolutions", "recurrence", "output"), 0.0)
        config = self.run.config.model
        for batch in (batch for number in numbers for batch in self.batches(number)):
            rows, frames, bins = batch.features.shape
            for part, flops in training_flops(config, bins, frames).items():
                total[part] += rows * flops / len(numbers)
        return total


def _mean(values: Iterable[float]) -> float:
    """0 of none."""
    found = list(values)
    return sum(found) / max(1, len(found))


def peak_flops(precision: str, repeats: int = 5) -> float:
    """Operations a second of a product of large square matrices, the best of some."""
    matrix = ops.cast(ops.full((SIZE, SIZE), 0.5), precision)
    best = float("inf")
    for _ in range(repeats + 1):  # the first one compiles
        begin = time.perf_counter()
        ops.convert_to_numpy(ops.cast(ops.matmul(matrix, matrix)[:1, :1], "float32"))
        best = min(best, time.perf_counter() - begin)
    return 2.0 * SIZE**3 / best


def _processor() -> str:
    if keras.backend.backend() != "tensorflow":
        import jax

        return str(jax.devices()[0])
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        return str(tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU"))
    threads = tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count()
    return "1 thread" if threads == 1 else f"{threads} threads"


def lines_of(found: Profile) -> list[str]:
    """A table and what has to be known with it."""
    whole = sum(found.parts.values())
    rows = [["part", "ms", "share", "GFLOP", "GFLOP/s"]]
    for part, seconds in found.parts.items():
        flops = found.flops.get(part)
        rate = [f"{flops / 1e9:.1f}", f"{flops / seconds / 1e9:.1f}"] if flops else ["", ""]
        rows.append([part, f"{1e3 * seconds:.1f}", f"{100 * seconds / whole:.1f} %", *rate])
    flops = sum(found.flops.values())
    total = [f"{1e3 * whole:.1f}", "100.0 %", f"{flops / 1e9:.1f}", f"{flops / whole / 1e9:.1f}"]
    rows.append(["an update", *total])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    table = [
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)),
            ]
        )
        for row in rows
    ]
    cost = ""
    if found.same:
        longer = 100 * (whole / found.same - 1)
        cost = f"; the profiler, which told the parts, made them {longer:+.1f} % longer"
    return [
        *[line.rstrip() for line in table],
        "",
        f"an update takes {1e3 * found.step:.1f} ms, {found.audio / found.step:.1f} times real time"
        + cost,
        f"sustained {found.sustained / 1e9:.1f} GFLOP/s, {found.sustained / found.peak:.0%} of the "
        f"{found.peak / 1e9:.1f} GFLOP/s of a product of {SIZE} x {SIZE} ({found.setting})",
    ]


def draw_profile(path: Path, found: Profile) -> None:
    """The shares as bars, PNG."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        log.info("no %s: matplotlib is not installed", path.name)
        return
    whole = sum(found.parts.values())
    names = list(found.parts)[::-1]
    values = [1e3 * found.parts[name] for name in names]
    figure = Figure(figsize=(8, 0.5 * len(names) + 1.6), layout="constrained")
    axis = figure.subplots()
    bars = axis.barh(names, values, color="tab:blue")
    axis.bar_label(bars, [f" {value / whole / 10:.1f} %" for value in values])
    axis.margins(x=0.15)
    axis.set_xlabel("ms of an update")
    axis.set_title(
        f"{found.audio / found.step:.0f} times real time, {found.sustained / 1e9:.0f} GFLOP/s, "
        f"{found.sustained / found.peak:.0%} of the peak ({found.setting})",
        fontsize=10,
    )
    with partial_file(path, sync=False) as file:
        figure.savefig(file, format="png", dpi=100)
