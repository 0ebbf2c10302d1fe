"""How many live streams one server serves: N clients speak in real time over real WebSockets.

From a chunk's arrival to the end of its acoustic step, the paper's measure, and to its text: by the
server's own histograms. Eager batches beside none and beside a timer's, in one run. Clients run in
processes of their own; where they were late themselves, nothing is told of the server.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import serving_client
from common import print_table  # first: it pins threads
from serving_figures import (
    AIM,
    Heard,
    Reading,
    Row,
    most_sustained,
    next_between,
    percentiles,
)
from serving_processes import Process, running, shared_out
from serving_report import SERVER, beside_paper, draw, header, markdown
from serving_server import Server, ServerError
from serving_speech import SETTLE, STAGGER, Finals, add_speech, numbers, prepare
from serving_ways import EAGER, WAYS, largest_batch

from ds2edge.arguments import CommandParser
from ds2edge.errors import Ds2edgeError

HOPELESS = 1.0  # s; of a way whose 98th percentile is beyond it, more streams are not measured

EPILOG = """examples:
  python benchmarks/serving.py --plot serving.png
  python benchmarks/serving.py --backend litert
      in the runtime that keeps Python's lock while it computes
  python benchmarks/serving.py speech/librispeech/manifest.tsv --split test --refine 10
      also numbers between the last that was sustained and the first that was not
  python benchmarks/serving.py --processors 0,1 --client-processors 2,3
      clients that take nothing from the server's two processors
"""


def main() -> int:
    given = arguments()
    speech, expected = prepare(given)
    print(f"{machine()}; {given.seconds:g} s of each\n\n" + "\n".join(header(SERVER)), flush=True)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        tracks = Path(folder) / "tracks.npy"
        np.save(tracks, speech)
        for streams in given.streams:
            for way in given.ways:
                if not is_hopeless(of(rows, way)):
                    rows.append(told(measure(way, streams, tracks, expected, given)))
        for way in given.ways if given.refine else ():
            while streams := next_between(of(rows, way), given.refine):
                rows.append(told(measure(way, streams, tracks, expected, given)))
    print("\n" + "\n".join(summary(rows, given.ways)))
    print("\nmedian / 98th percentile from arrival to the end of the acoustic step, ms\n")
    print_table(*beside_paper(of(rows, EAGER)))
    if given.plot:
        draw(rows, given.plot)
        print(f"\nplot: {given.plot}")
    return 0 if most_sustained(of(rows, EAGER)) else 1


def arguments() -> argparse.Namespace:
    parser = CommandParser("serving.py", description=__doc__, epilog=EPILOG)
    add_speech(parser)
    parser.add_argument(
        "--ways", nargs="+", choices=WAYS, default=WAYS, help="of batching [all of them]"
    )
    parser.add_argument(
        "--refine", type=int, metavar="N", help="search what is sustained in steps of so many"
    )
    parser.add_argument(
        "--processors", type=numbers, default=(), metavar="0,1", help="of the server [any]"
    )
    parser.add_argument(
        "--client-processors", type=numbers, default=(), metavar="2,3", help="of the clients [any]"
    )
    parser.add_argument(
        "--backend", default="auto", metavar="NAME", help="runtime, as of `ds2edge serve` [auto]"
    )
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw it")
    return parser.parse_args()


def machine() -> str:
    """What all of this ran on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    model = next(names, platform.machine())  # ARM tells none
    return f"{len(os.sched_getaffinity(0))} processors, {model}, load {os.getloadavg()[0]:.1f}"


def of(rows: Sequence[Row], way: str) -> list[Row]:
    return [row for row in rows if row.way == way]


def told(row: Row) -> Row:
    """Print it."""
    print(markdown(row, SERVER), flush=True)
    for error in row.heard.errors:
        print(f"serving.py: {row.streams} streams, {row.way}: {error}", file=sys.stderr)
    return row


def is_hopeless(rows: Sequence[Row]) -> bool:
    """Was the last number so much too large that a larger one tells nothing?"""
    if not rows:
        return False
    last = rows[-1]
    return not last.is_on_time or last.found.acoustic.quantile(0.98) > HOPELESS


def summary(rows: Sequence[Row], ways: Sequence[str]) -> Iterator[str]:
    yield f"sustained, 98 % of chunks through the acoustic model in {1000 * AIM:.0f} ms, every"
    yield "second of audio transcribed as offline:"
    for way in ways:
        most, measured = most_sustained(of(rows, way)), [row.streams for row in of(rows, way)]
        above = [streams for streams in measured if streams > most]
        yield f"- {way}: {most} streams" + (f", {min(above)} were not" if above else ", the most")


def measure(
    way: str, streams: int, tracks: Path, expected: Sequence[Finals], given: argparse.Namespace
) -> Row:
    """A fresh server and fresh clients."""
    options = ["--max-batch", str(largest_batch(way, given.max_batch))]
    options += ["--threads", str(given.threads), "--connections", str(streams + 10)]
    options += ["--backend", given.backend]
    with ExitStack() as stack:
        server = stack.enter_context(Server(options, way, given.processors))
        clients = [
            stack.enter_context(
                running(
                    serving_client.work,
                    serving_client.Orders(
                        server.url, tracks, tuple(some), streams, given.client_processors
                    ),
                )
            )
            for some in shared_out(streams)
        ]
        for pipe, _ in clients:
            pipe.recv()  # they are connected
        begin = time.monotonic() + 0.5
        for pipe, _ in clients:
            pipe.send(begin)
        processes = [process for _, process in clients]
        before = read_at(begin + STAGGER + SETTLE, server, processes)
        after = read_at(begin + STAGGER + SETTLE + given.seconds, server, processes)
        heard = heard_by([one for pipe, _ in clients for one in pipe.recv()], expected)
        if code := server.stop():
            raise ServerError(f"the server ended with exit code {code}: {server.said()}")
    return Row(way, streams, after - before, heard)


def read_at(moment: float, server: Server, clients: Sequence[Process]) -> Reading:
    """Wait until then."""
    time.sleep(max(0.0, moment - time.monotonic()))
    now = time.monotonic()
    used = sum(process.used() for process in clients)
    return Reading(now, server.snapshot(), server.process.used(), used)


def heard_by(clients: Sequence[serving_client.Told], expected: Sequence[Finals]) -> Heard:
    """What all of them found."""
    return Heard(
        offered=sum(one.sent for one in clients),
        transcribed=sum(final["end"] - final["start"] for one in clients for final in one.finals),
        wrong=sum(one.finals != expected[one.track] for one in clients if one.ended is not None),
        unfinished=sum(one.ended is None for one in clients),
        late=percentiles([late for one in clients for late in one.late])[1],
        ping=percentiles([ping for one in clients for ping in one.pings]),
        closing=percentiles([one.closing for one in clients if one.closing is not None]),
        errors=tuple(sorted({one.error for one in clients if one.error})),
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Ds2edgeError, ServerError) as error:
        raise SystemExit(f"serving.py: {error}") from None
