"""Feature frames to token log-probabilities, with the state in the caller's hands.

A backend runs one step graph on a fixed grid: `step` takes a chunk of frames, `flush` ends a
recording. Outputs lag by the row convolution's look-ahead; what belongs to no frame is cut off
here, so n frames give exactly ceil(n / time_stride) rows.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO, Any, Protocol

import numpy as np
import numpy.typing as npt

from ds2edge.bundle import Bundle, StepGrid
from ds2edge.errors import BackendError, BundleError

FloatArray = npt.NDArray[np.float32]

log = logging.getLogger(__name__)


@dataclass
class AcousticState:
    """What the step graph carries from one chunk to the next."""

    tensors: dict[str, FloatArray]  # by name of the graph's input
    steps: int = 0  # outputs that the frames so far will have when all is flushed
    emitted: int = 0  # outputs handed out

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return sum(tensor.nbytes for tensor in self.tensors.values())


class Backend(Protocol):
    """A loaded step graph. Constant: threads may share it."""

    @property
    def description(self) -> str:
        """Runtime, version and kind of graph, for people to read."""
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

    def flush(self, state: AcousticState) -> FloatArray:
        """The log-probabilities still held back; the state is then used up."""
        ...


def load_backend(bundle: Bundle) -> Backend:
    """Load the bundle's step graph and run its test chunk.

    Raises:
        BackendError: no runtime is installed, or it cannot load or run the model.
        BundleError: the model does not give the answer stored with it.
    """
    with captured_stderr():  # LiteRT speaks when it loads a graph and when it first runs it
        backend = LiteRT(bundle.model.read_bytes(), bundle.manifest.grid)
        _run_check(bundle, backend)
    return backend


class LiteRT:
    """The step graph on the CPU in LiteRT, one thread."""

    def __init__(self, model: bytes, grid: StepGrid) -> None:
        """Load a TFLite file's content; see `load_backend`."""
        self._grid = grid
        self._lock = threading.Lock()  # an interpreter runs one step at a time
        try:
            from ai_edge_litert import interpreter as litert

            self._interpreter = litert.Interpreter(model_content=model, num_threads=1)
            self._step = self._interpreter.get_signature_runner("step")
            self._flush = self._interpreter.get_signature_runner("flush")
        except ImportError as error:
            raise BackendError(
                f"no TFLite runtime is installed ({error}); pip install ai-edge-litert"
            ) from None
        except (ValueError, RuntimeError) as error:
            raise BackendError(f"LiteRT cannot load the model: {error}") from None
        details = self._step.get_input_details()
        self._shapes = {
            name: tuple(detail["shape"])
            for name, detail in details.items()
            if name not in ("features", "valid")
        }
        self._flush_inputs = list(self._flush.get_input_details())

    @property
    def description(self) -> str:
        """See `Backend.description`."""
        from importlib.metadata import version

        return f"LiteRT {version('ai-edge-litert')}, CPU, 1 thread"

    def start(self) -> AcousticState:
        """See `Backend.start`."""
        return AcousticState({n: np.zeros(s, np.float32) for n, s in self._shapes.items()})

    def step(self, state: AcousticState, frames: FloatArray) -> FloatArray:
        """See `Backend.step`."""
        grid = self._grid
        if not 0 < len(frames) <= grid.chunk_frames:
            raise BackendError(f"a step takes 1 to {grid.chunk_frames} frames, got {len(frames)}")
        valid_steps = -(-len(frames) // grid.time_stride)
        valid = (np.arange(grid.chunk_outputs) < valid_steps).astype(np.float32)
        if len(frames) < grid.chunk_frames:
            padding = ((0, grid.chunk_frames - len(frames)), (0, 0))
            frames = np.pad(frames, padding)
        inputs = {"features": frames[None], "valid": valid[None, :, None], **state.tensors}
        outputs = self._run(self._step, inputs)
        logits = outputs.pop("logits")[0]
        state.tensors = outputs
        # The first look_ahead outputs belong to steps before the first frame.
        begin = max(0, grid.look_ahead - state.steps)
        state.steps += valid_steps
        log_probs = log_softmax(logits[begin:][: state.steps - state.emitted])
        state.emitted += len(log_probs)
        return log_probs

    def flush(self, state: AcousticState) -> FloatArray:
        """See `Backend.flush`."""
        inputs = {name: state.tensors[name] for name in self._flush_inputs}
        logits = self._run(self._flush, inputs)["logits"][0]
        grid = self._grid
        # Padding of the last chunk has no outputs, and a recording may be shorter than the lag.
        steps_run = -(-state.steps // grid.chunk_outputs) * grid.chunk_outputs
        begin = max(0, grid.look_ahead - steps_run)
        log_probs = log_softmax(logits[begin:][: state.steps - state.emitted])
        state.emitted += len(log_probs)
        return log_probs

    def _run(self, signature: Any, inputs: dict[str, FloatArray]) -> dict[str, FloatArray]:
        try:
            with self._lock:
                outputs: dict[str, FloatArray] = signature(**inputs)
        except (ValueError, RuntimeError) as error:
            raise BackendError(f"LiteRT failed while running the model: {error}") from None
        return outputs


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


def _run_check(bundle: Bundle, backend: Backend) -> None:
    """Compare with the stored answer: catches a wrong kernel or the artefact of another model."""
    try:
        with np.load(bundle.check, allow_pickle=False) as stored:
            frames, expected = stored["features"], stored["log_probs"]
            tolerance = float(stored["tolerance"])
    except (OSError, ValueError, KeyError) as error:
        raise BundleError(f"{bundle.check} cannot be read: {error}") from None
    needed = (bundle.manifest.features.size, len(bundle.manifest.tokens))
    if (frames.shape[1], expected.shape[1]) != needed:
        raise BundleError(
            f"{bundle.model} has {frames.shape[1]} feature bins and {expected.shape[1]} tokens, "
            f"the manifest has {needed[0]} and {needed[1]}: they are not of one conversion"
        )
    found = run_chunks(backend, frames, bundle.manifest.grid.chunk_frames)
    if found.shape != expected.shape:
        raise BundleError(
            f"{bundle.model} answers with shape {found.shape}, {bundle.check.name} expects "
            f"{expected.shape}: they are not of one conversion"
        )
    difference = float(np.abs(found - expected).max())
    if not difference <= tolerance:
        raise BundleError(
            f"{bundle.model} does not reproduce {bundle.check.name}: log-probabilities differ by "
            f"{difference:.3g}, allowed {tolerance:.3g}; the model is of another conversion, or "
            "this processor's kernels are wrong"
        )


_stderr_lock = threading.RLock()


@contextmanager
def captured_stderr() -> Iterator[None]:
    """Give what LiteRT and TensorFlow print on file descriptor 2 to `logging`.

    LiteRT has no setting for its own messages. The descriptor belongs to the whole process, so
    this is for loading only, and lines that are not theirs are passed on.
    """
    with _stderr_lock, ExitStack() as stack:
        try:
            file = stack.enter_context(_unnamed_file())
            saved = os.dup(2)
        except OSError:  # no standard error, or nowhere to keep it: then it is not captured
            yield
            return
        stack.callback(os.close, saved)
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            file.seek(0)
            _hand_on(file.read().splitlines(keepends=True), saved)


def _unnamed_file() -> IO[bytes]:
    """In memory where the system can: a full disk or a read-only one does not matter then."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("ds2edge"), "r+b")
    return tempfile.TemporaryFile()


def _hand_on(lines: list[bytes], stderr: int) -> None:
    for line in lines:
        if _is_runtime_line(line):
            log.debug("%s", line.decode(errors="replace").rstrip())
        else:
            os.write(stderr, line)


def _is_runtime_line(line: bytes) -> bool:
    """Lines that begin with INFO:, WARNING: or an absl-style stamp such as I0000."""
    return line.startswith((b"INFO: ", b"WARNING: ", b"VERBOSE: ")) or (
        line[:1] in b"IWE" and line[1:5].isdigit()
    )
