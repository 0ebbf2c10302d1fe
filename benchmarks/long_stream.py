"""An hour of speech through one stream: compute for a second of audio, resident memory (Linux).

Neither may grow. The recordings are repeated, louder and softer and with pauses between, in blocks
as a microphone gives them, but as fast as they are taken. What else the machine does makes compute
slower and faster: so another process feeds the same, in turn with this one, to a stream that begins
anew every half minute, and the ratio of the two is what must not grow. Exit code 1: a limit is
missed.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from statistics import linear_regression, mean, median

import numpy as np
from common import add_recordings, print_table  # first: it pins threads

from ds2edge import Final, Transcriber
from ds2edge.arguments import CommandParser
from ds2edge.audio import FloatArray
from ds2edge.audio_file import read_audio
from ds2edge.errors import Ds2edgeError
from ds2edge.measure import resident_megabytes
from ds2edge.progress import track

RATE = 16_000  # Hz
WINDOW = 30  # seconds of audio between two looks at clock and memory
FEWEST = 4  # windows
BLOCK = 0.1  # seconds of audio fed at once
GAINS = (0.0, -12.0, -6.0)  # dB, in turn
PAUSES = (0.2, 1.0, 0.5, 3.0)  # seconds after a recording, in turn
RESIDENT = 120  # MB, the aim

EPILOG = """examples:
  python benchmarks/long_stream.py --plot stream.png
  python benchmarks/long_stream.py speech/librispeech/audio/*.mp3 --hours 4
  python benchmarks/long_stream.py --hours 0.1
      some seconds, to see that all works

--plot needs matplotlib.
"""


@dataclass(frozen=True)
class Window:
    """Some seconds of the stream."""

    compute: float  # ms of processor time for a second of audio
    fresh: float  # the same in a stream that begins with this window
    resident: float  # MB of the process at its end
    words: int  # in the segments that ended


@dataclass(frozen=True)
class Trend:
    """How one figure goes on over the windows of a stream."""

    name: str
    unit: str
    values: Sequence[float]  # one for each window
    aim: float | None  # of the median
    span: int  # seconds at the beginning and at the end that are compared
    share: float = math.inf  # that the end may be off the beginning
    slack: float = 0.0  # or so much
    typical: Callable[[Sequence[float]], float] = median  # of such a part

    @property
    def ends(self) -> tuple[float, float]:
        """What is typical of the first and of the last part, at most a quarter of the stream."""
        count = min(self.span // WINDOW, len(self.values) // 4)
        return self.typical(self.values[:count]), self.typical(self.values[-count:])

    @property
    def room(self) -> float:
        """What the end may be off the beginning."""
        return max(self.share * self.ends[0], self.slack)

    @property
    def has_limit(self) -> bool:
        return math.isfinite(self.room)

    @property
    def is_flat(self) -> bool:
        first, last = self.ends
        return abs(last - first) <= self.room

    @property
    def slope(self) -> float:
        """For an hour, by least squares, without the first minute."""
        settled = self.values[60 // WINDOW :]
        return linear_regression(hours(len(settled)), settled).slope


def main() -> int:
    given = arguments()
    if resident_megabytes() is None:
        raise Ds2edgeError("this system does not tell how much memory is resident; needed is Linux")
    count = max(FEWEST, round(given.hours * 3600 / WINDOW))
    stream = run(given.files, count)
    windows = list(track(stream, "streaming", count))
    trends = trends_of(windows)
    words = sum(window.words for window in windows)
    print(f"{count * WINDOW / 3600:.2f} h in one stream, {words} words\n")
    header = ["", "first minute", "median", "aim", "first part", "last part", "off", "limit"]
    print_table([*header, "slope, 1/h"], [describe(trend) for trend in trends])
    if given.plot:
        plot(trends, given.plot)
        print(f"\nplot: {given.plot}")
    return 0 if all(trend.is_flat for trend in trends) else 1


def arguments() -> argparse.Namespace:
    parser = CommandParser("long_stream.py", description=__doc__, epilog=EPILOG)
    add_recordings(parser)
    parser.add_argument("--hours", type=float, default=1.0, help="of audio [%(default)g]")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw both over the stream")
    return parser.parse_args()


class Feeder:
    """Speech into a stream, a second of audio at a time."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._blocks = cut(sound([read_audio(path, RATE) for path in paths]), round(BLOCK * RATE))
        self._transcriber = Transcriber()
        self.begin()

    def begin(self) -> None:
        """With another stream from here on."""
        self._stream = self._transcriber.stream(RATE)

    def feed_second(self) -> tuple[float, int]:
        """Processor time in ms, and the words of segments that ended."""
        blocks = list(islice(self._blocks, round(1 / BLOCK)))
        began = time.process_time()
        events = [event for block in blocks for event in self._stream.feed(block)]
        spent = time.process_time() - began
        return 1000 * spent, sum(len(event.words) for event in events if isinstance(event, Final))


def run(paths: Sequence[Path], count: int) -> Iterator[Window]:
    """So many windows of one stream, each beside the same in a fresh one."""
    feeder, context = Feeder(paths), multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, prepare_fresh, (paths,)) as other:
        for _ in range(count):
            own: list[tuple[float, int]] = []
            fresh: list[float] = []
            for second in range(WINDOW):
                own.append(feeder.feed_second())
                fresh.append(other.submit(feed_fresh, second == 0).result())
            spent, words = zip(*own, strict=True)
            yield Window(mean(spent), mean(fresh), resident_megabytes() or 0.0, sum(words))


fresh_feeder: Feeder  # of the other process


def prepare_fresh(paths: Sequence[Path]) -> None:
    """In the other process, once."""
    global fresh_feeder
    fresh_feeder = Feeder(paths)


def feed_fresh(begin: bool) -> float:
    """In the other process: the processor time in ms for the next second of audio."""
    if begin:
        fresh_feeder.begin()
    return fresh_feeder.feed_second()[0]


def sound(recordings: Sequence[FloatArray]) -> Iterator[FloatArray]:
    """The recordings again and again, without end."""
    for samples, gain, pause in zip(cycle(recordings), cycle(GAINS), cycle(PAUSES), strict=False):
        yield samples * np.float32(10 ** (gain / 20))
        yield np.zeros(round(pause * RATE), np.float32)


def cut(parts: Iterator[FloatArray], length: int) -> Iterator[FloatArray]:
    """The same samples in blocks of one length."""
    kept = np.zeros(0, np.float32)
    for part in parts:
        kept = np.concatenate([kept, part])
        while len(kept) >= length:
            yield kept[:length]
            kept = kept[length:]


def trends_of(windows: Sequence[Window]) -> list[Trend]:
    compute, held = [w.compute for w in windows], [w.resident for w in windows]
    ratio = [w.compute / w.fresh for w in windows]
    return [
        Trend("compute for a second of audio", "ms", compute, aim=10, span=600),
        Trend("compute beside a fresh stream", "ratio", ratio, aim=None, span=600, share=0.05),
        # Of memory the most: what a hard word once needed is seldom given back.
        Trend("resident memory", "MB", held, RESIDENT, 300, share=0.02, slack=1.0, typical=max),
    ]


def describe(trend: Trend) -> list[str]:
    """A row of the table."""
    early, middle = trend.values[: 60 // WINDOW], median(trend.values)
    first, last = trend.ends
    return [
        f"{trend.name}, {trend.unit}",
        *(f"{value:.2f}" for value in (sum(early) / len(early), middle)),
        f"{trend.aim:g} (x {middle / trend.aim:.2f})" if trend.aim else "",
        *(f"{value:.2f}" for value in (first, last)),
        f"{last - first:+.2f} ({100 * (last / first - 1):+.1f} %)",
        f"{trend.room:.2f}{'' if trend.is_flat else ' MISSED'}" if trend.has_limit else "",
        f"{trend.slope:+.2f}",
    ]


def plot(trends: Sequence[Trend], path: Path) -> None:
    """Each figure over the position in the stream, and the limit of its last part."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 7), layout="constrained")
    panels = figure.subplots(len(trends), sharex=True)
    for axes, trend in zip(panels, trends, strict=True):
        minutes = [60 * at for at in hours(len(trend.values))]
        axes.plot(minutes, trend.values, ".", markersize=4, label=f"{WINDOW} s of audio")
        if trend.has_limit:
            first = trend.ends[0]
            band = (first - trend.room, first + trend.room)
            axes.axhspan(*band, alpha=0.2, label="first part, and what the last may be off it")
        axes.set(title=trend.name, ylabel=trend.unit, ylim=(0, 1.3 * max(trend.values)))
        axes.grid(alpha=0.3)
    panels[-1].legend(loc="lower right", fontsize="small")
    panels[-1].set(xlabel="minutes into the stream", xlim=(0, None))
    figure.savefig(path, dpi=150)


def hours(count: int) -> list[float]:
    """Where so many windows begin."""
    return [i * WINDOW / 3600 for i in range(count)]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Ds2edgeError as error:
        raise SystemExit(f"long_stream.py: {error}") from None
