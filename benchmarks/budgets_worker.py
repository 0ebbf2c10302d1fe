"""One side of budgets.py: a recogniser in a process of its own that transcribes when it is told to.

Says what it took once it has transcribed everything once; then a step is the same again. See
`worker.py`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from worker import serve

RATE = 16_000  # Hz
BLOCK = RATE // 50  # samples that a microphone gives at once

Samples = np.ndarray[Any, Any]  # int16, shape = (n,)


def main(spec: dict[str, Any]) -> None:
    # Mapped, and its own pages: not what reading files would have left behind.
    recordings = [np.load(path, mmap_mode="r") for path in spec["recordings"]]
    transcribe, feed = RECOGNISERS[spec["recogniser"]](spec)

    def step() -> float:
        return float(sum(len(transcribe(samples).split()) for samples in recordings))

    texts = [transcribe(samples) for samples in recordings]
    left = median(feed(samples) for samples in recordings)
    serve(step, texts=texts, peak=peak_megabytes(), left=left)


def peak_megabytes() -> float:
    """The most that was resident of this process; unlike rusage's, not of what started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6


# Each gives what transcribes a recording, and what feeds one in blocks and tells how many seconds
# of compute are left after the last.
Recogniser = tuple[Callable[[Samples], str], Callable[[Samples], float]]


def ds2edge(spec: dict[str, Any]) -> Recogniser:
    from ds2edge import Transcriber

    transcriber = Transcriber(spec["bundle"])

    def feed(samples: Samples) -> float:
        with transcriber.stream(RATE) as stream:
            for block in blocks(samples):
                stream.feed(block)
            began = time.perf_counter()
            stream.finish()
            return time.perf_counter() - began

    return lambda samples: transcriber.transcribe(samples, RATE).text, feed


def pocketsphinx(spec: dict[str, Any]) -> Recogniser:
    """With the model that it brings, and its own settings."""
    from pocketsphinx import Decoder

    decoder = Decoder(loglevel="FATAL")

    def text() -> str:
        decoder.end_utt()
        found = decoder.hyp()
        return found.hypstr if found else ""

    def transcribe(samples: Samples) -> str:
        decoder.start_utt()
        decoder.process_raw(samples.tobytes(), full_utt=True)
        return text()

    def feed(samples: Samples) -> float:
        decoder.start_utt()
        for block in blocks(samples):
            decoder.process_raw(block.tobytes())
        began = time.perf_counter()
        text()
        return time.perf_counter() - began

    return transcribe, feed


def blocks(samples: Samples) -> Sequence[Samples]:
    return [samples[begin : begin + BLOCK] for begin in range(0, len(samples), BLOCK)]


RECOGNISERS = {"ds2edge": ds2edge, "pocketsphinx": pocketsphinx}

if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
