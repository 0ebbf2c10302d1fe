"""Feature frames to token log-probabilities, with the state in the caller's hands.

A backend runs one model on a fixed grid: `step` takes a chunk of frames, `flush` ends a recording.
Outputs lag by the row convolution's look-ahead; what belongs to no frame is cut off here, so n
frames give exactly ceil(n / time_stride) rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ds2edge._native import stack, unstack
from ds2edge.bundle import StepGrid
from ds2edge.errors import BackendError, BundleError
from ds2edge.runtimes.runtime import Runtime, Tensors

FloatArray = npt.NDArray[np.float32]

CALLED = ("features", "valid")  # inputs of a step that are no state
SPARE = 1  # empty places in a batch that cost a CPU less than another, smaller one


@dataclass
class AcousticState:
    """What the model carries from one chunk to the next."""

    tensors: Tensors  # by name of the graph's input, each of one stream
    steps: int = 0  # outputs that the frames so far will have when all is flushed
    emitted: int = 0  # outputs handed out

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return sum(tensor.nbytes for tensor in self.tensors.values())


class Backend(Protocol):
    """A loaded acoustic model. Constant: threads may share it."""

    @property
    def description(self) -> str:
        """Runtime, version and device, for people to read."""
        ...

    def start(self) -> AcousticState:
        """The state before the first frame."""
        ...

    def step(self, state: AcousticState, frames: FloatArray) -> FloatArray:
        """Log-probabilities that a chunk of frames completes.

        Args:
            frames: shape = (1..chunk_frames, bins); fewer than chunk_frames only at the end.

        Returns: shape = (outputs, tokens); outputs may be 0 while the look-ahead fills.
        """
        ...

    def step_together(
        self, states: Sequence[AcousticState], chunks: Sequence[FloatArray]
    ) -> list[FloatArray]:
        """`step` for one chunk of each of several streams: the same results to the last bit.

        Args:
            states: of different streams.
            chunks: as `step` takes them, one for each stream.
        """
        ...

    def flush(self, state: AcousticState) -> FloatArray:
        """The log-probabilities still held back; the state is then used up."""
        ...


class StepModel:
    """A step graph in a runtime."""

    def __init__(self, runtime: Runtime, grid: StepGrid) -> None:
        """Raises BundleError if the file is no step graph of this grid."""
        self._runtime, self._grid = runtime, grid
        self._sizes = sorted(
            1 if name == "step" else int(name.removeprefix("step_"))
            for name in runtime.signatures
            if name.startswith("step")
        )
        shapes = runtime.shapes("step") if 1 in self._sizes else {}
        features = shapes.pop("features", ())
        if features[:2] != (1, grid.chunk_frames) or "valid" not in shapes:
            raise BundleError(
                f"the model is no step graph of chunks of {grid.chunk_frames} frames: its inputs "
                f"are {shapes or runtime.signatures}"
            )
        self._tokens = runtime.output_shapes("step")["logits"][-1]
        self._shapes = {name: shape for name, shape in shapes.items() if name not in CALLED}
        self._flush = list(runtime.shapes("flush")) if "flush" in runtime.signatures else []

    @property
    def description(self) -> str:
        """See `Backend.description`."""
        return self._runtime.description

    @property
    def largest_batch(self) -> int:
        """Streams that `step_together` takes in one run of the graph."""
        return self._sizes[-1]

    def start(self) -> AcousticState:
        """See `Backend.start`."""
        return AcousticState({n: np.zeros(s, np.float32) for n, s in self._shapes.items()})

    def step(self, state: AcousticState, frames: FloatArray) -> FloatArray:
        """See `Backend.step`."""
        (log_probs,) = self.step_together([state], [frames])
        return log_probs

    def step_together(
        self, states: Sequence[AcousticState], chunks: Sequence[FloatArray]
    ) -> list[FloatArray]:
        """See `Backend.step_together`."""
        blocks: list[FloatArray] = []
        for size in self._batches(len(states)):
            begin, end = len(blocks), len(blocks) + size
            blocks += self._run(states[begin:end], chunks[begin:end], size)
        return blocks

    def flush(self, state: AcousticState) -> FloatArray:
        """See `Backend.flush`."""
        if not self._flush:
            return np.zeros((0, self._tokens), np.float32)
        inputs = {name: state.tensors[name] for name in self._flush}
        logits = self._runtime.run("flush", inputs)["logits"][0]
        grid = self._grid
        # Padding of the last chunk has no outputs, and a recording may be shorter than the lag.
        steps_run = -(-state.steps // grid.chunk_outputs) * grid.chunk_outputs
        begin = max(0, grid.look_ahead - steps_run)
        log_probs = log_softmax(logits[begin:][: state.steps - state.emitted])
        state.emitted += len(log_probs)
        return log_probs

    def _batches(self, count: int) -> Iterator[int]:
        """Sizes of the graphs that take so many streams, one after the other."""
        while count > 0:
            size = next((size for size in self._sizes if size >= count), self._sizes[-1])
            if size - count > SPARE:
                size = max(size for size in self._sizes if size <= count)
            yield size
            count -= size

    def _run(
        self, states: Sequence[AcousticState], chunks: Sequence[FloatArray], size: int
    ) -> list[FloatArray]:
        """One run of the graph of a size."""
        grid = self._grid
        features = np.zeros((size, grid.chunk_frames, chunks[0].shape[1]), np.float32)
        valid = np.zeros((size, grid.chunk_outputs, 1), np.float32)
        steps = []
        for i, frames in enumerate(chunks):
            if not 0 < len(frames) <= grid.chunk_frames:
                raise BackendError(
                    f"a step takes 1 to {grid.chunk_frames} frames, got {len(frames)}"
                )
            steps.append(-(-len(frames) // grid.time_stride))
            valid[i, : steps[i]] = 1
        stack(chunks, features)
        inputs = {"features": features, "valid": valid, **self._gathered(states, size)}
        outputs = self._runtime.run("step" if size == 1 else f"step_{size}", inputs)
        log_probs = log_softmax(outputs.pop("logits"))
        if size == 1:
            states[0].tensors = outputs
        else:  # each its own: a view would keep those of all streams
            parts = {name: unstack(tensor, len(states)) for name, tensor in outputs.items()}
            for i, state in enumerate(states):
                state.tensors = {name: rows[i] for name, rows in parts.items()}
        return [self._due(*one) for one in zip(states, log_probs, steps, strict=False)]

    def _gathered(self, states: Sequence[AcousticState], size: int) -> Tensors:
        if size == 1:
            return states[0].tensors
        gathered = {}
        for name, shape in self._shapes.items():
            gathered[name] = np.zeros((size, *shape[1:]), np.float32)
            stack([state.tensors[name] for state in states], gathered[name])
        return gathered

    def _due(self, state: AcousticState, log_probs: FloatArray, valid_steps: int) -> FloatArray:
        """Those of the outputs that belong to frames."""
        # The first look_ahead outputs belong to steps before the first frame.
        begin = max(0, self._grid.look_ahead - state.steps)
        state.steps += valid_steps
        due = log_probs[begin:][: state.steps - state.emitted]
        state.emitted += len(due)
        return due


def log_softmax(logits: FloatArray) -> FloatArray:
    """Natural logarithms of the softmax over the last axis; shape as `logits`."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    result: FloatArray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def run_chunks(backend: Backend, frames: FloatArray, chunk_frames: int) -> FloatArray:
    """Log-probabilities of a whole recording's frames; shape = (ceil(n / stride), tokens)."""
    state = backend.start()
    starts = range(0, len(frames), chunk_frames)
    blocks = [backend.step(state, frames[i : i + chunk_frames]) for i in starts]
    return np.concatenate([*blocks, backend.flush(state)])
