"""Proof of equality: the checkpoint's own model against the step graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ds2edge.acoustic import LiteRT, captured_stderr, run_chunks
from ds2edge.bundle import StepGrid
from ds2edge.decoder import LogProbs
from ds2edge.errors import BundleError

FloatArray = npt.NDArray[np.float32]

FLOAT_LIMIT = 1e-3  # of any log-probability: the float graph is the same arithmetic
INT8_MEAN_LIMIT = 0.3  # of the mean log-probability difference: beyond it something is broken


@dataclass(frozen=True)
class Difference:
    """How far two models' log-probabilities are apart over the same frames."""

    largest: float  # |difference of log p|
    mean: float  # |difference of log p|
    largest_probability: float  # |difference of p|
    same_best: float  # share of outputs with the same likeliest token


def difference(found: Sequence[LogProbs], expected: Sequence[LogProbs]) -> Difference:
    """Compare recording by recording.

    Raises:
        BundleError: a recording has another number of outputs.
    """
    for one, other in zip(found, expected, strict=True):
        if one.shape != other.shape:
            raise BundleError(f"the step graph gives {one.shape} outputs, the model {other.shape}")
    a, b = np.concatenate(found), np.concatenate(expected)
    apart = np.abs(a - b)
    return Difference(
        float(apart.max()),
        float(apart.mean()),
        float(np.abs(np.exp(a) - np.exp(b)).max()),
        float(np.mean(a.argmax(-1) == b.argmax(-1))),
    )


def graph_log_probs(
    graph: bytes, grid: StepGrid, recordings: Sequence[FloatArray]
) -> Iterator[LogProbs]:
    """A TFLite step graph's answer, chunk by chunk."""
    with captured_stderr():
        backend = LiteRT(graph, grid)
        run_chunks(backend, recordings[0][: grid.chunk_frames], grid.chunk_frames)
    for frames in recordings:
        yield run_chunks(backend, frames, grid.chunk_frames)


def check_gate(of_float: Difference, of_int8: Difference) -> None:
    """Refuse a conversion that is not the same model.

    Raises:
        BundleError: a difference is over its limit.
    """
    if not of_float.largest <= FLOAT_LIMIT:
        raise BundleError(
            f"the float step graph differs from the model by {of_float.largest:.3g} in "
            f"log-probability, allowed {FLOAT_LIMIT:g}: the conversion is wrong"
        )
    if not of_int8.mean <= INT8_MEAN_LIMIT:
        raise BundleError(
            f"the int8 step graph differs from the model by {of_int8.mean:.3g} on average in "
            f"log-probability, allowed {INT8_MEAN_LIMIT:g}: quantisation broke the model"
        )


def probe_frames(grid: StepGrid, bins: int) -> FloatArray:
    """Frames to compare on where there is no recording: smooth noise of speech-like spread.

    Three chunks and a part, so that the end of the audio is compared too.
    """
    rng = np.random.default_rng(0)
    frames = rng.standard_normal((3 * grid.chunk_frames + grid.time_stride + 1, bins))
    kernel = np.ones(5) / np.sqrt(5)
    smooth = np.apply_along_axis(np.convolve, 0, frames, kernel, "same")
    return np.asarray(smooth, np.float32)
