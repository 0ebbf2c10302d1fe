"""The server in a process of its own: started, watched and ended by benchmarks and fuzzers.

    python benchmarks/serving_server.py eager --port 8300

is `ds2edge serve --port 8300`, with finer histograms; another word batches in another way.
"""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeAlias
from urllib.request import ProxyHandler, build_opener

import common  # noqa: F401 - first: it pins threads
import serving_ways
from serving_figures import Snapshot, Times
from serving_processes import Process
from serving_ways import EAGER

from ds2edge.results import Seconds

PATIENCE: Seconds = 60.0  # for its start, and for its end
HISTOGRAMS = {
    name: f"ds2edge_{name}_seconds" for name in ("acoustic", "text", "queue", "step", "search")
}
BATCHES, TAKEN = "ds2edge_batch_size", "ds2edge_audio_taken_seconds_total"
ENDINGS = "ds2edge_endings_total"
Samples: TypeAlias = dict[str, list[tuple[dict[str, str], float]]]  # labels and values, by name


class ServerError(Exception):
    """It did not start, or ended by itself; with the last that it said."""


class Server:
    """`ds2edge serve` on a free port of this machine; a context manager."""

    def __init__(
        self,
        options: Sequence[str] = (),
        way: str = EAGER,
        processors: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.port = free_port()
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed at the exit)
        command = [sys.executable, __file__, way, "--port", str(self.port), *options]
        if processors:
            command = ["taskset", "-c", ",".join(map(str, processors)), *command]
        self._child = subprocess.Popen(
            command,
            stdout=self._errors,
            stderr=self._errors,
            env={**os.environ, **(environment or {})},
        )
        self.process = Process(self._child.pid)

    @property
    def url(self) -> str:
        """Of its streams."""
        return f"ws://127.0.0.1:{self.port}/v1/stream"

    def __enter__(self) -> Server:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.health()
                return self
            except OSError:
                if self._child.poll() is not None or time.monotonic() > deadline:
                    self._child.kill()
                    raise ServerError(self.said() or "the server did not start") from None
                time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        self._child.kill()
        self._child.wait()
        self._errors.close()

    def stop(self) -> int:
        """Ask it to drain and end; returns its exit code."""
        self._child.send_signal(signal.SIGTERM)
        return self._child.wait(PATIENCE)

    def said(self) -> str:
        """On standard output and standard error."""
        self._errors.seek(0)
        return self._errors.read().strip()

    def health(self) -> dict[str, Any]:
        """What it says of itself."""
        health: dict[str, Any] = json.loads(self.get("/health"))
        return health

    def snapshot(self) -> Snapshot:
        """What it has measured of itself until now."""
        return parse_metrics(self.get("/metrics").decode())

    def endings(self) -> dict[str, int]:
        """How many streams have ended in which way: "finished", "vanished", or an error's code."""
        found = parse_samples(self.get("/metrics").decode()).get(ENDINGS, [])
        return {labels["code"]: int(value) for labels, value in found}

    def get(self, path: str) -> bytes:
        """Raises OSError."""
        direct = build_opener(ProxyHandler({}))
        with direct.open(f"http://127.0.0.1:{self.port}{path}", timeout=PATIENCE) as answer:
            body: bytes = answer.read()
        return body


def free_port() -> int:
    """That nobody uses just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def parse_metrics(text: str) -> Snapshot:
    """From the text that Prometheus reads."""
    samples = parse_samples(text)

    def histogram(name: str) -> Times:
        buckets = sorted(
            (float(labels["le"]), value) for labels, value in samples[f"{name}_bucket"]
        )
        below = [0, *(int(value) for _, value in buckets)]
        counts = (after - before for before, after in pairwise(below))
        return Times(tuple(bound for bound, _ in buckets), tuple(counts))

    sizes = histogram(BATCHES)
    return Snapshot(
        **{field: histogram(name) for field, name in HISTOGRAMS.items()},
        batches={
            int(bound): count
            for bound, count in zip(sizes.bounds, sizes.counts, strict=True)
            if count and math.isfinite(bound)
        },
        steps=int(samples[f"{BATCHES}_sum"][0][1]),
        taken=samples[TAKEN][0][1],
    )


def parse_samples(text: str) -> Samples:
    """Labels and values of each metric, by its name, from the same text."""
    from prometheus_client.parser import text_string_to_metric_families

    samples: Samples = {}
    for family in text_string_to_metric_families(text):
        for name, labels, value, *_ in family.samples:
            samples.setdefault(name, []).append((labels, value))
    return samples


def main() -> int:
    serving_ways.use(sys.argv[1])
    from ds2edge.cli import main as command  # late: it imports what `use` has changed
    from ds2edge.serving import exported

    exported.EVERY = 1  # bound of a histogram is told, so that quantiles are exact to 12 %
    return command(["serve", *sys.argv[2:]])


if __name__ == "__main__":
    sys.exit(main())
