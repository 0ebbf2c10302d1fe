"""The dispatcher without a network: many streams in one process, pushed in real time by a thread.

What the server takes beyond this is the network's. LiteRT's CompiledModel, which keeps Python's
lock while it computes, is measured beside LiteRT's Interpreter, which gives it away.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import common  # noqa: F401 - first: it pins threads
import serving_ways
from serving_figures import Heard, Reading, Row, percentiles, snapshot
from serving_report import DIRECT, header, markdown
from serving_speech import (
    CHUNK,
    RATE,
    SETTLE,
    STAGGER,
    Finals,
    Speech,
    add_speech,
    as_message,
    numbers,
    prepare,
    stagger,
)

from ds2edge import Final, Transcriber
from ds2edge.arguments import CommandParser
from ds2edge.errors import Ds2edgeError
from ds2edge.results import Seconds
from ds2edge.serving.dispatcher import Dispatcher
from ds2edge.serving.metrics import BOUNDS

EPILOG = """examples:
  python benchmarks/serving_direct.py
  python benchmarks/serving_direct.py speech/librispeech/manifest.tsv --split dev --streams 50,150
"""
BACKENDS = {"litert": "CompiledModel", "litert-interpreter": "Interpreter"}


@dataclass(frozen=True)
class Task:
    """One measurement, in a process of its own."""

    backend: str
    way: str
    streams: int
    speech: Speech  # of each track
    expected: Sequence[Finals]  # of each track
    seconds: Seconds  # of the window of the measurement
    batch: int  # steps at most
    threads: int  # of the search
    processors: tuple[int, ...]  # that it may use; none: any


def main() -> None:
    parser = CommandParser("serving_direct.py", description=__doc__, epilog=EPILOG)
    add_speech(parser)
    parser.add_argument("--processors", type=numbers, default=(), help="to be used, as 0,1 [all]")
    parser.add_argument("--way", choices=serving_ways.WAYS, default=serving_ways.EAGER)
    given = parser.parse_args()
    speech, expected = prepare(given)
    print("\n".join(header(DIRECT)), flush=True)
    for streams in given.streams:
        for backend in BACKENDS:
            task = Task(
                backend,
                given.way,
                streams,
                speech,
                expected,
                given.seconds,
                given.max_batch,
                given.threads,
                given.processors,
            )
            print(markdown(apart(task), DIRECT), flush=True)


def apart(task: Task) -> Row:
    """Measure in a fresh process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, task).result()


def measure(task: Task) -> Row:
    """In this process, which is to do nothing else."""
    if task.processors:
        os.sched_setaffinity(0, task.processors)
    serving_ways.use(task.way)
    most = serving_ways.largest_batch(task.way, task.batch)
    transcriber = Transcriber(backend=task.backend, device="cpu")
    with Dispatcher(transcriber, max_batch=most, threads=task.threads) as dispatcher:
        speech = [task.speech[i % len(task.speech)] for i in range(task.streams)]
        pusher = Pusher(dispatcher, speech)
        pusher.start()
        begin = time.perf_counter() + STAGGER + SETTLE
        before = pusher.read_at(begin)
        window = pusher.read_at(begin + task.seconds) - before
        pusher.join()
    wrong = [task.expected[i % len(task.speech)] != one for i, one in enumerate(pusher.finals)]
    heard = Heard(
        task.streams * len(task.speech[0]) * CHUNK,
        sum(final["end"] - final["start"] for one in pusher.finals for final in one),
        sum(wrong),
        late=percentiles(pusher.late)[1],
    )
    return Row(f"{task.way}, {BACKENDS[task.backend]}", task.streams, window, heard)


class Pusher(threading.Thread):
    """Pushes a chunk into each stream every 80 ms, and reads what was said, as a server does."""

    def __init__(self, dispatcher: Dispatcher, speech: Sequence[Speech]) -> None:
        super().__init__(name="pusher")
        self.late: list[Seconds] = []
        self.finals: list[Finals] = [[] for _ in speech]
        self._dispatcher, self._speech = dispatcher, speech
        self._streams = [dispatcher.stream(RATE) for _ in speech]
        self._used = 0.0  # seconds of a processor

    def run(self) -> None:
        begin = time.perf_counter()
        turns = sorted(
            (stagger(i) + number * CHUNK, i, number)
            for i, speech in enumerate(self._speech)
            for number in range(len(speech))
        )
        for due, i, number in turns:
            if (left := begin + due - time.perf_counter()) > 0:
                time.sleep(left)
            self.late.append(time.perf_counter() - begin - due)
            self._streams[i].push(self._speech[i][number])
            self._keep(i, self._streams[i].take())
            self._used = time.thread_time()
        for stream in self._streams:
            stream.finish()
        for i, stream in enumerate(self._streams):
            self._keep(i, list(stream))

    def read_at(self, moment: float) -> Reading:
        """Wait until then. What this thread uses counts as the clients'."""
        time.sleep(max(0.0, moment - time.perf_counter()))
        used = self._used
        return Reading(
            time.perf_counter(),
            snapshot(self._dispatcher.metrics, BOUNDS),
            time.process_time() - used,
            used,
        )

    def _keep(self, i: int, events: Sequence[object]) -> None:
        self.finals[i] += [as_message(event) for event in events if isinstance(event, Final)]


if __name__ == "__main__":
    try:
        main()
    except Ds2edgeError as error:
        raise SystemExit(f"serving_direct.py: {error}") from None
