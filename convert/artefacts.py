"""A model's artefacts: TFLite files with other weights, all from one float32 graph."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from ds2edge.acoustic import run_chunks
from ds2edge.backends import as_backend
from ds2edge.bundle import RUNNABLE, StepGrid, Weights, shares_weights
from ds2edge.convert.layer_graph import layer_graph_to_tflite
from ds2edge.convert.quantise import to_float16, to_int8
from ds2edge.convert.static_int8 import to_static_int8
from ds2edge.convert.step_graph import build_step_graph, to_tflite
from ds2edge.decoder import LogProbs
from ds2edge.errors import ConfigError
from ds2edge.runtimes.compiled_model import load_compiled_model
from ds2edge.runtimes.stderr import captured_stderr
from ds2edge.runtimes.weight_cache import IN_MEMORY
from ds2edge.training.network.model import AcousticModel

FloatArray = npt.NDArray[np.float32]

BATCHES = (1, 2, 4, 8, 16, 32)
FORMATS: tuple[Weights, ...] = ("int8", "fp16", "fp32", "int8-static")


@dataclass(frozen=True)
class Form:
    """What is made of a checkpoint.

    Raises:
        ConfigError: it is impossible.
    """

    formats: tuple[Weights, ...] = ("int8",)
    chunk_outputs: int = 4  # of one step: more are a little faster and answer later
    batches: tuple[int, ...] = BATCHES  # streams that a step can take at once; they share weights

    def __post_init__(self) -> None:
        unknown = [name for name in self.formats if name not in FORMATS]
        if unknown or not self.formats or len(set(self.formats)) < len(self.formats):
            raise ConfigError(
                f"formats needs some of {', '.join(FORMATS)}, each once; "
                f"got {', '.join(self.formats) or 'none'}"
            )
        if not 1 <= self.chunk_outputs <= 64:
            raise ConfigError(f"chunk outputs needs 1 to 64, got {self.chunk_outputs}")
        sizes = set(self.batches)
        if 1 not in sizes or min(sizes) < 1 or max(sizes) > 256 or len(sizes) < len(self.batches):
            raise ConfigError(
                f"batches needs sizes from 1 to 256, each once, 1 among them; got {self.batches}"
            )


@dataclass(frozen=True)
class Converted:
    """The files of one model."""

    grid: StepGrid
    form: Literal["stream", "whole"]
    batches: tuple[int, ...]
    float32: bytes  # from which the others are made
    files: dict[Weights, bytes]  # those that were asked for, the best for a CPU first

    @property
    def main(self) -> Weights:
        """What runs on a CPU, for which the decoder is tuned."""
        return next(iter(self.files))


def convert_model(
    model: AcousticModel, form: Form, calibration: Sequence[FloatArray] = ()
) -> Converted:
    """All artefacts of a model.

    Args:
        calibration: frames of recordings, from which int8-static learns the ranges.

    Raises:
        ConfigError: the model cannot have one of the formats.
    """
    stride, look_ahead = model.config.time_stride, model.config.look_ahead
    if model.both:
        if "int8-static" in form.formats:
            raise ConfigError("int8-static is for models that run on a stream, this one cannot")
        grid = StepGrid(form.chunk_outputs * stride, stride, 0)
        float32 = layer_graph_to_tflite(model)
        return Converted(grid, "whole", (1,), float32, _files(float32, form))
    graph = build_step_graph(model, form.chunk_outputs)
    grid = StepGrid(form.chunk_outputs * stride, stride, look_ahead)
    float32 = to_tflite(graph, form.batches)
    static = partial(to_static_int8, graph, calibration=calibration)
    return Converted(grid, "stream", form.batches, float32, _files(float32, form, static))


def _files(
    float32: bytes, form: Form, static: Callable[[bytes], bytes] = bytes
) -> dict[Weights, bytes]:
    ways: dict[Weights, Callable[[bytes], bytes]] = {
        "int8": to_int8,
        "int8-static": static,
        "fp16": to_float16,
        "fp32": bytes,
    }
    return {name: ways[name](float32) for name in RUNNABLE["cpu"] if name in form.formats}


def log_probs_of(
    converted: Converted, weights: Weights, recordings: Sequence[FloatArray]
) -> Iterator[LogProbs]:
    """An artefact's answer to frames of recordings, chunk by chunk as in a stream."""
    chunk = converted.grid.chunk_frames
    with captured_stderr(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(converted.files.get(weights, converted.float32))
        cache = IN_MEMORY if shares_weights(weights) else ""
        backend = as_backend(converted.form, load_compiled_model(path, cache), converted.grid)
        run_chunks(backend, recordings[0][:chunk], chunk)
    for frames in recordings:
        yield run_chunks(backend, frames, chunk)
