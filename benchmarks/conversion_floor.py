"""The least that a step graph can take: what it has to read and to multiply, at measured rates."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ds2edge.bundle import StepGrid
from ds2edge.convert.fold import FoldedModel

PEAK_SHAPE = (256, 1024, 1024)  # rows, inputs and outputs of the product that gives the peak

# The loop that compilers make into the widest loads; four chains of exclusive or hide their delay.
READ = """
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#define BLOCK 32

void *make(size_t bytes) {
    size_t whole = (bytes + 2097151) & ~(size_t)2097151;
    uint64_t *words = aligned_alloc(2097152, whole);
    madvise(words, whole, MADV_HUGEPAGE);  /* as few page tables as can be */
    for (size_t i = 0; i < whole / 8; i++) words[i] = i * 2654435761u;
    return words;
}

double read_all(const uint64_t *restrict words, size_t bytes) {
    uint64_t sums[BLOCK] = {0}, sum = 0;
    size_t count = bytes / 8 / BLOCK * BLOCK;
    for (size_t i = 0; i < count; i += BLOCK)
        for (int k = 0; k < BLOCK; k++) sums[k] ^= words[i + k];
    for (int k = 0; k < BLOCK; k++) sum ^= sums[k];
    return (double)(sum & 1023);
}
"""


@dataclass(frozen=True)
class Work:
    """Of a model, for a second of audio."""

    weights: int  # in all
    read: float  # weights: recurrent matrices at every output, the others once a chunk
    multiply_adds: float


def work_of(model: FoldedModel, grid: StepGrid, frame_rate: float) -> Work:
    """Count it."""
    steps, once, added = grid.chunk_outputs, 0, 0
    frames = grid.chunk_frames
    for layer in model.convolutions:
        frames //= layer.strides[0]
        once += layer.kernel.size
        added += frames * -(-layer.bins // layer.strides[1]) * layer.kernel.size
    dense = [model.head.kernel, *([model.connected.kernel] if model.connected else [])]
    for matrix in (*(layer.kernel for layer in model.recurrences), model.row, *dense):
        once += matrix.size
        added += steps * matrix.size
    recurrent = sum(layer.recurrent.size for layer in model.recurrences)
    chunks = frame_rate / grid.chunk_frames  # in a second
    return Work(
        once + recurrent,
        chunks * (once + steps * recurrent),
        chunks * (added + steps * recurrent),
    )


def compile_reader(folder: Path) -> Path:
    """A library that reads memory as fast as one core can.

    Raises:
        RuntimeError: there is no C compiler.
    """
    compiler = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
    if compiler is None:
        raise RuntimeError("the floor needs a C compiler (gcc, cc or clang)")
    source, library = folder / "read.c", folder / "read.so"
    source.write_text(READ)
    flags = ["-O3", "-march=native", "-shared", "-fPIC"]
    subprocess.run([compiler, *flags, str(source), "-o", str(library)], check=True)
    return library


def large_product() -> bytes:
    """A TFLite file with one int8 product of many rows, as `to_int8` makes it."""
    import tensorflow as tf

    from ds2edge.convert.quantise import to_int8
    from ds2edge.convert.step_graph import tflite_of, traced

    rows, inputs, outputs = PEAK_SHAPE
    matrix = np.random.default_rng(0).normal(size=(inputs, outputs)).astype(np.float32)

    def step(given: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {"logits": tf.matmul(given["features"][0], matrix)}

    signatures = {"step": traced(step, {"features": (1, rows, inputs)})}
    return to_int8(tflite_of(tf.Module(), signatures))
