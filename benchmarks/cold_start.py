"""Seconds from a fresh interpreter to import, to a loaded bundle and to the first text."""

from __future__ import annotations

import statistics
import subprocess
import sys

from common import print_table, recordings  # first: it pins threads

REPEATS = 7
PROGRAM = """
import sys, time
began = time.perf_counter()
import numpy
numpy_imported = time.perf_counter()
import ds2edge
imported = time.perf_counter()
transcriber = ds2edge.Transcriber()
loaded = time.perf_counter()
from ds2edge.audio import read_audio
with transcriber.stream(16000) as stream:
    samples = read_audio(sys.argv[1], 16000)
    for begin in range(0, len(samples), 1600):
        if any(event.text for event in stream.feed(samples[begin:begin + 1600])):
            break
text = time.perf_counter()
print(numpy_imported - began, imported - numpy_imported, loaded - imported, text - loaded,
      text - numpy_imported)
"""
STEPS = [
    ("import numpy", None),
    ("import ds2edge, over numpy", 0.05),
    ("load the bundle", None),
    ("first text", None),
    ("import ds2edge to first text", 0.4),
]


def main() -> None:
    path = str(recordings(__doc__ or "")[0])
    runs = [measure(path) for _ in range(REPEATS + 1)][1:]  # the first one fills the disk cache
    rows = []
    for i, (name, aim) in enumerate(STEPS):
        values = [run[i] for run in runs]
        median = statistics.median(values)
        target = f"{aim:.2f} (x {median / aim:.2f})" if aim else ""
        rows.append([name, f"{median:.3f}", f"{min(values):.3f}", target])
    print(f"{REPEATS} fresh interpreters, files in the disk cache\n")
    print_table(["step", "median s", "best s", "aim"], rows)


def measure(path: str) -> list[float]:
    """One fresh interpreter."""
    command = [sys.executable, "-P", "-c", PROGRAM, path]  # -P: not the checkout's ds2edge/
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [float(value) for value in output.split()]


if __name__ == "__main__":
    main()
