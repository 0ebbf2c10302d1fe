"""Processes that take steps in turn, so that what else the machine does hits all of them alike."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Step = tuple[float, float]  # seconds and processor seconds


class Worker:
    """A process that takes a step when it is told to; a context manager."""

    def __init__(self, python: str, script: str, spec: dict[str, Any], **environment: str) -> None:
        """`spec` goes to a script beside this one; it has `threads`."""
        threads = str(spec["threads"])
        self.name = script
        command = [python, str(Path(__file__).with_name(script)), json.dumps(spec)]
        if hasattr(os, "sched_setaffinity"):  # so many processors as threads
            cores = ",".join(map(str, sorted(os.sched_getaffinity(0))[: spec["threads"]]))
            command = ["taskset", "-c", cores, *command]
        environment |= {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed at the exit)
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env={**os.environ, **environment},
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
        self.errors.close()

    def read(self) -> Any:
        """What it says next.

        Raises:
            RuntimeError: it ended; with the last line that it said.
        """
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            said = self.errors.read().strip().splitlines() or ["it ended"]
            raise RuntimeError(f"{self.name}: {said[-1]}")
        return json.loads(line)

    def step(self) -> Step:
        """What one took."""
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        seconds, processor, value = self.read()
        if value != value:
            raise RuntimeError(f"{self.name}: it computed {value}")
        return seconds, processor


def serve(step: Callable[[], float], **told: Any) -> None:
    """A worker's side: say that it is ready, then take a step for each line that comes."""
    print(json.dumps(told), flush=True)
    for _ in sys.stdin:
        begin, processor = time.perf_counter(), time.process_time()
        value = step()
        seconds = time.perf_counter() - begin
        print(json.dumps([seconds, time.process_time() - processor, value]), flush=True)


def in_turn(workers: Sequence[Worker], repeats: int) -> list[list[Step]]:
    """So many steps of each."""
    found: list[list[Step]] = [[] for _ in workers]
    for _ in range(repeats):
        for steps, worker in zip(found, workers, strict=True):
            steps.append(worker.step())
    return found
