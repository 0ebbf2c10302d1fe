"""Full int8: activations quantised with ranges that are learned from recordings beforehand.

For processors without floating point. On others the step graph with int8 weights only is faster
and more exact.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ds2edge.acoustic import StepModel, run_chunks
from ds2edge.convert.step_graph import StepGraph, signatures_of, tflite_of
from ds2edge.errors import ConfigError
from ds2edge.runtimes.interpreter import load_litert
from ds2edge.runtimes.runtime import Runtime, Tensors
from ds2edge.runtimes.stderr import captured_stderr

FloatArray = npt.NDArray[np.float32]

CALLS = 2000  # of the graph, at most, that ranges are learned from


def to_static_int8(graph: StepGraph, float32: bytes, calibration: Sequence[FloatArray]) -> bytes:
    """The graph for one stream, with int8 weights and activations; inputs and outputs are float32.

    Args:
        float32: the same graph as a TFLite model, which runs on the recordings.
        calibration: frames of recordings, each of shape = (frames, bins).

    Raises:
        ConfigError: there are no recordings.
    """
    if not calibration:
        raise ConfigError("int8-static learns the ranges of activations: it needs --dev")
    with captured_stderr(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float32.tflite"
        path.write_bytes(float32)
        recorder = _Recorder(load_litert(path))
        model = StepModel(recorder, graph.grid)
        for frames in calibration:
            run_chunks(model, frames, graph.grid.chunk_frames)
            if len(recorder.calls) > CALLS:
                break
    return tflite_of(graph, signatures_of(graph, (1,)), recorder.calls)


class _Recorder:
    """A runtime that keeps what it was called with."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.calls: list[tuple[str, Tensors]] = []
        self.description = runtime.description
        self.signatures = tuple(n for n in runtime.signatures if n in ("step", "flush"))
        self.shapes, self.output_shapes = runtime.shapes, runtime.output_shapes

    def run(self, signature: str, inputs: Tensors) -> Tensors:
        self.calls.append((signature, {name: np.array(x) for name, x in inputs.items()}))
        return self._runtime.run(signature, inputs)
