"""A soak of the server: clients that speak, vanish, stall, and send garbage, for half an hour.

Every client that speaks to the end must get the finals of its own recording, as `Transcriber` says
them offline; the others must be closed with the documented codes. The server's memory, open files
and threads must not grow, and it must end by itself when asked. Exit code 1: something was wrong.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

import numpy as np
from common import print_table  # first: it pins threads
from serving_conduct import CONDUCTS, DEAF, Orders, is_right, work
from serving_figures import Snapshot
from serving_processes import running, shared_out
from serving_report import ms
from serving_server import Server, ServerError
from serving_speech import CHUNK, LONGEST, MANIFEST, TRACKS, Finals, offline, read_speech, tracks

from ds2edge import Transcriber
from ds2edge.arguments import CommandParser
from ds2edge.errors import Ds2edgeError
from ds2edge.progress import track
from ds2edge.results import Seconds

SPEECH: Seconds = 20.0  # of each connection
IDLE: Seconds = 20.0  # after which the server is to close
READER: Seconds = 3.0  # in which a client has to read, and the server gives it a while more
UNREAD: Seconds = 45.0  # in which a busy server has given up who does not read
EVERY: Seconds = 5.0  # between two looks at the server
SHARE, SLACK = 0.02, 4.0  # that memory may grow, or so many MB, in the second half
THREADS = 16  # that the server may have more, in its pools
QUIET: Seconds = 15.0  # after the last client, in which the server lets go of what it had

EPILOG = """examples:
  python benchmarks/serving_soak.py --streams 100 --plot soak.png
  python benchmarks/serving_soak.py --minutes 1 --streams 10
"""


@dataclass(frozen=True)
class Look:
    """At the server, while it serves."""

    at: Seconds  # since the beginning
    resident: float  # MB
    descriptors: int
    threads: int
    streams: int  # that are open
    snapshot: Snapshot


def main() -> int:
    given = arguments()
    recordings = read_speech(given.manifest, given.split, LONGEST)
    speech = tracks(recordings, TRACKS, round(SPEECH / CHUNK))
    transcriber = Transcriber(device="cpu")
    expected = [offline(transcriber, one) for one in track(speech, "alone", len(speech))]
    options = ["--connections", str(given.streams + 10), "--idle-seconds", str(IDLE)]
    options += ["--reader-seconds", str(READER)]
    with ExitStack() as stack:
        path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "tracks.npy"
        np.save(path, speech)
        server = stack.enter_context(Server(options))
        before = look(server, 0.0)
        begin = time.monotonic()
        pipes = clients(stack, given, server.url, path, expected)
        looks = list(watch(server, begin, 60 * given.minutes))
        told = [pipe.recv() for pipe in pipes]
        time.sleep(QUIET)
        after = look(server, time.monotonic() - begin)
        dropped = server.endings().get("slow_reader", 0)
        code, said = server.stop(), server.said()
    outcomes: Counter[tuple[str, str]] = sum((each for each, _ in told), Counter())
    seconds = sum(each for _, each in told)
    faults = [*wrong(outcomes), *unread(outcomes, dropped), *grown(looks), *left(before, after)]
    faults += [f"the server ended with exit code {code}: {said}"] if code else []
    print_outcomes(outcomes)
    print_looks([before, *looks, after])
    print(f"\n{seconds / 3600:.2f} h of speech came out as offline")
    if given.plot:
        draw(looks, given.plot)
        print(f"plot: {given.plot}")
    print("\n".join(f"WRONG: {fault}" for fault in faults) or "nothing was wrong")
    return 1 if faults else 0


def arguments() -> argparse.Namespace:
    parser = CommandParser("serving_soak.py", description=__doc__, epilog=EPILOG)
    parser.add_argument(
        "manifest", nargs="?", type=Path, default=MANIFEST, help="manifest.tsv [the tests' samples]"
    )
    parser.add_argument("--split", help="of the manifest [all]")
    parser.add_argument("--minutes", type=float, default=30.0, help="[%(default)g]")
    parser.add_argument("--streams", type=int, default=40, help="clients at once [%(default)s]")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw the server's memory")
    return parser.parse_args()


def clients(
    stack: ExitStack, given: argparse.Namespace, url: str, path: Path, expected: Sequence[Finals]
) -> list[Connection]:
    """All of them, started; they come until the time is over."""
    until = time.monotonic() + 60 * given.minutes
    pipes = []
    for some in shared_out(given.streams):
        orders = Orders(url, path, expected, len(some), some[0], until, IDLE, UNREAD)
        pipes.append(stack.enter_context(running(work, orders))[0])
    return pipes


def watch(server: Server, begin: float, seconds: Seconds) -> Iterator[Look]:
    """Looks at the server for so long."""
    count = int(seconds / EVERY)
    for number in track(range(1, count + 1), "soaking", count):
        time.sleep(max(0.0, begin + number * EVERY - time.monotonic()))
        yield look(server, time.monotonic() - begin)


def look(server: Server, at: Seconds) -> Look:
    process = server.process
    return Look(
        at,
        process.resident(),
        process.descriptors(),
        process.threads(),
        server.health()["streams"],
        server.snapshot(),
    )


def wrong(outcomes: Mapping[tuple[str, str], int]) -> Iterator[str]:
    """What came out otherwise than it must."""
    for (kind, outcome), count in sorted(outcomes.items()):
        if not is_right(outcome):
            yield f"{count} times: a client that {kind}: {outcome}"
    missing = set(CONDUCTS) - {kind for kind, _ in outcomes}
    if missing:
        yield f"too short, no client {', none '.join(sorted(missing))}"


def unread(outcomes: Mapping[tuple[str, str], int], dropped: int) -> Iterator[str]:
    """By its own count the server drops those clients that do not read, and no others."""
    deaf = sum(count for (kind, _), count in outcomes.items() if kind == DEAF)
    if dropped != deaf:
        yield f"{dropped} clients were dropped for not reading, {deaf} did not read"


def grown(looks: Sequence[Look]) -> Iterator[str]:
    """Memory in the last quarter, beside the second one: before that the server warms up."""
    quarter = len(looks) // 4
    if quarter < 1:
        yield f"too short: memory is looked at every {EVERY:g} s"
        return
    second, last = looks[quarter : 2 * quarter], looks[-quarter:]
    early, late = (median(one.resident for one in some) for some in (second, last))
    if late - early > max(SLACK, SHARE * early):
        yield f"memory has grown from {early:.1f} to {late:.1f} MB"


def left(before: Look, after: Look) -> Iterator[str]:
    """What the server still holds when all clients have gone."""
    if after.streams:
        yield f"{after.streams} streams are still open"
    if after.descriptors > before.descriptors:
        yield f"{after.descriptors} files are open, {before.descriptors} were before"
    if after.threads > before.threads + THREADS:
        yield f"{after.threads} threads run, {before.threads} did before"


def print_outcomes(outcomes: Mapping[tuple[str, str], int]) -> None:
    rows = [[kind, outcome, str(count)] for (kind, outcome), count in sorted(outcomes.items())]
    print_table(["a client that", "came out", "times"], rows)
    print()


def print_looks(looks: Sequence[Look]) -> None:
    """A dozen of them."""
    header = ["minutes", "memory, MB", "files", "threads", "streams", "audio, s a second"]
    header += ["to acoustic step, ms"]
    rows = []
    step = max(1, len(looks) // 12)
    for before, now in pairwise(looks[::-step][::-1]):  # the last one among them
        between = now.snapshot - before.snapshot
        rows.append(
            [
                f"{now.at / 60:.1f}",
                f"{now.resident:.1f}",
                *map(str, (now.descriptors, now.threads, now.streams)),
                f"{between.taken / (now.at - before.at):.0f}",
                ms(*(between.acoustic.quantile(share) for share in (0.5, 0.98))),
            ]
        )
    print_table(header, rows)


def draw(looks: Sequence[Look], path: Path) -> None:
    """Memory, streams and latency over the time."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from ds2edge.training.plots import ACCENT, INK, SETTINGS

    minutes = [one.at / 60 for one in looks]
    late = [
        1000 * (now.snapshot - before.snapshot).acoustic.quantile(0.98)
        for before, now in pairwise(looks)
    ]
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(7, 7), layout="constrained")
        memory, streams, latency = figure.subplots(3, sharex=True)
        memory.plot(minutes, [one.resident for one in looks], color=ACCENT)
        memory.set(title="resident memory of the server, MB", ylim=(0, None))
        streams.plot(minutes, [one.streams for one in looks], color=INK)
        streams.set(title="streams that are open", ylim=(0, None))
        latency.plot(minutes[1:], late, color=INK)
        latency.set(title="98 % of chunks, bursts too, are heard in, ms", ylim=(0, None))
        latency.set_xlabel("minutes")
        for axes in (memory, streams, latency):
            axes.grid(alpha=0.3)
        figure.savefig(path, dpi=120)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Ds2edgeError, ServerError) as error:
        raise SystemExit(f"serving_soak.py: {error}") from None
