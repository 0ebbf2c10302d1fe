"""A stream of hours: time for a frame and resident memory, which must not grow."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

from common import print_table  # first: it pins threads
from decoder_measure import pin, resident
from decoder_problems import real_problem

from ds2edge.arguments import CommandParser
from ds2edge.bundle import load_bundle
from ds2edge.decoder import Decoder, LogProbs
from ds2edge.errors import Ds2edgeError
from ds2edge.pipeline import load_decoder
from ds2edge.progress import track

AIM = 5.0  # percent by which a window may be off the median of all
SETTLED = 60.0  # seconds after which nothing may grow
BLOCK = 4  # frames in one call, as the live pipeline makes them

EPILOG = """examples:
  python benchmarks/decoder_stream.py speech/librispeech/manifest.tsv --plot stream.png
      the recordings again and again, for four hours
  python benchmarks/decoder_stream.py tests/data/speech/manifest.tsv --hours 0.2 --windows 6
      a few seconds, to see that all works
"""


@dataclass(frozen=True)
class Window:
    """One part of the stream."""

    start: float  # seconds from the stream's start
    microseconds: float  # median time of a frame over the rounds of the recordings
    resident: float  # MB of the process at its end
    state: float  # kB that the decoder's state holds
    nodes: int  # prefixes held


def main() -> None:
    given = arguments()
    pin(given.core)
    bundle = load_bundle(given.bundle)
    grid, features = bundle.manifest.grid, bundle.manifest.features
    frame_seconds = grid.time_stride / features.frame_rate
    limits = (1.0, given.loop)
    problem = real_problem(bundle, given.manifest, (given.split,) * 2, limits, given.cache)
    blocks = problem.test.log_probs
    rounds = max(given.windows, round(given.hours * 3600 / (sum(map(len, blocks)) * frame_seconds)))
    decoder = load_decoder(bundle)
    passes = list(track(stream(decoder, blocks, rounds, frame_seconds), "streaming", rounds))
    print(f"{passes[-1].start / 3600:.2f} h in one stream, beam {decoder.options.beam}\n")
    print_windows(passes, given.windows)
    if given.plot:
        plot(passes, given.plot)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = CommandParser("decoder_stream.py", description=__doc__, epilog=EPILOG)
    parser.add_argument("manifest", type=Path, help="manifest.tsv of recordings")
    parser.add_argument("--split", default="test", help="of it [%(default)s]")
    parser.add_argument("--hours", type=float, default=4.0, help="[%(default)g]")
    parser.add_argument(
        "--loop", type=float, default=60.0, help="seconds of recordings that repeat [%(default)g]"
    )
    parser.add_argument("--windows", type=int, default=12, help="parts to compare [%(default)s]")
    parser.add_argument("--bundle", default="en", help="name, folder or .ds2 file [en]")
    parser.add_argument("--cache", type=Path, help=".npz that keeps log-probabilities")
    parser.add_argument("--core", type=int, default=1, help="to run on [%(default)s]")
    parser.add_argument("--plot", type=Path, help="draw time and memory here, a PNG")
    return parser.parse_args()


def stream(
    decoder: Decoder, blocks: Sequence[LogProbs], rounds: int, frame_seconds: float
) -> Iterator[Window]:
    """One state that hears the recordings `rounds` times; a window for each time."""
    state = decoder.start()
    pieces = [block[at : at + BLOCK] for block in blocks for at in range(0, len(block), BLOCK)]
    frames = sum(map(len, pieces))
    for _ in range(rounds):
        start = state.frames * frame_seconds
        began = time.process_time()
        for piece in pieces:
            state.advance(piece)
            state.commit()
            state.words()
        spent = time.process_time() - began
        yield Window(start, 1e6 * spent / frames, resident(), state.bytes / 1e3, state.nodes)


def print_windows(passes: Sequence[Window], count: int) -> None:
    """The stream in `count` parts, each beside the median of all."""
    settled = [p for p in passes if p.start >= SETTLED] or list(passes)
    cuts = [i * len(settled) // count for i in range(count + 1)]
    parts = [settled[begin:end] for begin, end in pairwise(cuts) if begin < end]
    times = [median(p.microseconds for p in part) for part in parts]
    memory = [median(p.resident for p in part) for part in parts]
    states = [median(p.state for p in part) for part in parts]
    rows = [
        [
            *(f"{part[0].start / 3600:.2f} h", f"{used:.2f}", off(used, times)),
            *(f"{held:.2f}", off(held, memory), f"{state:.0f}", f"{part[-1].nodes}"),
        ]
        for part, used, held, state in zip(parts, times, memory, states, strict=True)
    ]
    header = ["from", "us/frame", "off", "resident MB", "off", "state kB", "nodes"]
    print_table(header, rows)
    print()
    for name, values in (("time of a frame", times), ("resident memory", memory)):
        worst = max(abs(value / median(values) - 1) for value in values)
        growth = values[-1] / values[0] - 1
        print(
            f"{name}: last against first {100 * growth:+.1f} %, farthest from the median "
            f"{100 * worst:.1f} % (aim: {AIM:g} %)"
        )


def off(value: float, values: Sequence[float]) -> str:
    """How far a value is from the median, in percent."""
    return f"{100 * (value / median(values) - 1):+.1f} %"


def plot(passes: Sequence[Window], path: Path) -> None:
    """Time and memory against the position in the stream."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, sharex=True, figsize=(7, 5), layout="constrained")
    hours = [p.start / 3600 for p in passes]
    for axis, values, label in (
        (above, [p.microseconds for p in passes], "us a frame"),
        (below, [p.resident for p in passes], "resident MB"),
    ):
        axis.plot(hours, values, ".", markersize=3)
        middle = median(values)
        axis.axhspan(middle * (1 - AIM / 100), middle * (1 + AIM / 100), alpha=0.2)
        axis.set_ylim(0, 1.5 * max(middle, median(sorted(values)[-10:])))
        axis.set_ylabel(label)
        axis.grid(True, alpha=0.3)
    below.set_xlabel("hours into the stream")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    try:
        main()
    except Ds2edgeError as error:
        raise SystemExit(f"decoder_stream.py: {error}") from None
