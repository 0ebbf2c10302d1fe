"""What an artefact costs where it runs: size, speed, memory, and the time to its first output.

Measured in a process of its own, which has loaded nothing else: `python -m` this module.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ds2edge.acoustic import run_chunks
from ds2edge.backends import as_backend
from ds2edge.bundle import StepGrid
from ds2edge.errors import BackendError
from ds2edge.measure import resident_megabytes
from ds2edge.runtimes.compiled_model import load_compiled_model
from ds2edge.runtimes.stderr import captured_stderr
from ds2edge.runtimes.weight_cache import IN_MEMORY

CHUNKS = 16  # of one pass over the model
PASSES = 8  # of which the fastest counts


@dataclass(frozen=True)
class Footprint:
    """On one thread of LiteRT's CompiledModel."""

    megabytes: float  # of the file
    real_time_factor: float  # seconds of compute for a second of audio, of the model alone
    resident_megabytes: float | None  # by which loading and running it makes the process grow
    first_output_seconds: float  # from a file to the answer to the first chunk


def measure_footprint(
    content: bytes, form: str, grid: StepGrid, frame_rate: float, share_weights: bool = True
) -> Footprint:
    """Load and run a TFLite file in a new process.

    Args:
        form: see `ds2edge.bundle.Artefact`.
        frame_rate: feature frames for a second of audio.
        share_weights: whether steps may share packed weights.

    Raises:
        BackendError: it does not run.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(content)
        numbers = (grid.chunk_frames, grid.time_stride, grid.look_ahead, frame_rate)
        command = [sys.executable, "-P", "-m", __name__, str(path), form, *map(str, numbers)]
        done = subprocess.run(
            [*command, IN_MEMORY if share_weights else ""], capture_output=True, text=True
        )
    if done.returncode:
        raise BackendError(f"measuring the model failed: {done.stderr.strip()[-300:]}")
    return Footprint(**json.loads(done.stdout.splitlines()[-1]))


def main(arguments: Sequence[str]) -> None:
    """Print the footprint of a file as JSON; arguments as `measure_footprint` gives them."""
    path, form, frame_rate, cache = Path(arguments[0]), arguments[1], arguments[5], arguments[6]
    grid = StepGrid(*map(int, arguments[2:5]))
    import ai_edge_litert.compiled_model  # noqa: F401 - its libraries are not the model's memory

    before, began = resident_megabytes(), time.perf_counter()
    with captured_stderr():
        runtime = load_compiled_model(path, cache)
        backend = as_backend(form, runtime, grid)
        name = "step" if form == "stream" else "convolution0"
        bins = runtime.shapes(name)["features" if form == "stream" else "frames"][2]
        noise = np.random.default_rng(0).normal(size=(CHUNKS * grid.chunk_frames, bins))
        frames = noise.astype(np.float32)
        run_chunks(backend, frames[: grid.chunk_frames], grid.chunk_frames)
    first = time.perf_counter() - began
    seconds = []
    for _ in range(PASSES):
        began = time.perf_counter()
        run_chunks(backend, frames, grid.chunk_frames)
        seconds.append(time.perf_counter() - began)
    after = resident_megabytes()
    grown = None if before is None or after is None else round(after - before, 1)
    factor = min(seconds) / (len(frames) / float(frame_rate))
    size = path.stat().st_size / 1e6
    print(json.dumps(asdict(Footprint(round(size, 3), factor, grown, first))))


if __name__ == "__main__":
    main(sys.argv[1:])
