"""Streams decoded by one thread and by several that share one decoder: how much faster?"""

from __future__ import annotations

import argparse
import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from statistics import median
from typing import TypeAlias

from common import print_table  # first: it pins threads
from decoder_problems import real_problem

from ds2edge.arguments import CommandParser
from ds2edge.bundle import load_bundle
from ds2edge.decoder import Decoder, LogProbs, advance_all
from ds2edge.errors import Ds2edgeError
from ds2edge.pipeline import decode_all, load_decoder
from ds2edge.progress import track

AIM = 1.8  # times as fast with two threads
BLOCK = 4  # frames in one call, as the live pipeline makes them

Way: TypeAlias = Callable[[Decoder, Sequence[LogProbs], int], None]

EPILOG = """examples:
  python benchmarks/decoder_threads.py speech/librispeech/manifest.tsv --cache test.npz
      streams as whole and in blocks of 4 frames, with 1 and 2 threads
  python benchmarks/decoder_threads.py speech/librispeech/manifest.tsv --threads 4 --rounds 9
"""


def main() -> None:
    given = arguments()
    bundle = load_bundle(given.bundle)
    limits = (1.0, given.seconds)
    problem = real_problem(bundle, given.manifest, (given.split,) * 2, limits, given.cache)
    decoder, blocks = load_decoder(bundle), streams(problem.test.log_probs)
    frames = sum(map(len, problem.test.log_probs))
    seconds = problem.test.seconds * sum(map(len, blocks)) / frames
    times = compare(WAYS, decoder, blocks, given.threads, given.rounds)
    rows = [describe(title, times, given.threads, seconds) for title in WAYS]
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    print(
        f"{len(blocks)} streams, {seconds:.0f} s, beam {decoder.options.beam}; "
        f"{cores} cores, load of the machine {load:.1f}\n"
    )
    used = "ms/s, 1 thread", f"ms/s, {given.threads} threads"
    print_table(["streams", *used, "times as fast", "middle half"], rows)
    print(f"\naim: {AIM:g} times as fast with 2 threads, on 2 idle cores")


def describe(
    title: str, times: Mapping[tuple[str, int], Sequence[float]], threads: int, seconds: float
) -> list[str]:
    """A row of the table."""
    alone, together = times[title, 1], times[title, threads]
    ratios = sorted(a / t for a, t in zip(alone, together, strict=True))
    used = [f"{1000 * median(values) / seconds:.3f}" for values in (alone, together)]
    quarter = len(ratios) // 4
    middle = f"{ratios[quarter]:.2f} to {ratios[-1 - quarter]:.2f}"
    return [title, *used, f"{median(ratios):.2f}", middle]


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = CommandParser("decoder_threads.py", description=__doc__, epilog=EPILOG)
    parser.add_argument("manifest", type=Path, help="manifest.tsv of recordings")
    parser.add_argument("--split", default="test", help="of it [%(default)s]")
    parser.add_argument("--seconds", type=float, default=300.0, help="of audio [%(default)g]")
    parser.add_argument("--threads", type=int, default=2, help="against one [%(default)s]")
    parser.add_argument("--rounds", type=int, default=15, help="of each [%(default)s]")
    parser.add_argument("--bundle", default="en", help="name, folder or .ds2 file [en]")
    parser.add_argument("--cache", type=Path, help=".npz that keeps log-probabilities")
    return parser.parse_args()


def compare(
    ways: Mapping[str, Way], decoder: Decoder, blocks: Sequence[LogProbs], threads: int, rounds: int
) -> dict[tuple[str, int], list[float]]:
    """Seconds of each way's rounds with one thread and with several, all in turn.

    What else runs on the machine hits all alike, the control too.
    """
    times: dict[tuple[str, int], list[float]] = {}
    turns = list(product(range(rounds + 1), ways, (1, threads)))
    for number, title, count in track(turns, "decoding", len(turns)):
        began = time.perf_counter()
        ways[title](decoder, blocks, count)
        if number > 0:  # the first round warms up
            times.setdefault((title, count), []).append(time.perf_counter() - began)
    return times


def streams(blocks: Sequence[LogProbs]) -> list[LogProbs]:
    """Each utterance again and again, until it is as long as the longest."""
    longest = max(map(len, blocks))
    return [block.take(range(longest), axis=0, mode="wrap") for block in blocks]


def spread(decode: Callable[[LogProbs], object], blocks: Sequence[LogProbs], threads: int) -> None:
    """Python threads take stream after stream."""
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(decode, blocks):
            pass


def whole(decoder: Decoder, blocks: Sequence[LogProbs], threads: int) -> None:
    """Each stream in one call."""
    spread(lambda block: decode_all(decoder, block), blocks, threads)


def live(decoder: Decoder, blocks: Sequence[LogProbs], threads: int) -> None:
    """Each stream in blocks of a few frames, with the words after each block."""

    def decode(block: LogProbs) -> None:
        state = decoder.start()
        for at in range(0, len(block), BLOCK):
            state.advance(block[at : at + BLOCK])
            state.commit()
            state.words()
        state.finish()

    spread(decode, blocks, threads)


def batch(decoder: Decoder, blocks: Sequence[LogProbs], threads: int) -> None:
    """All streams in one call."""
    decoder.decode(blocks, threads=threads)


def together(decoder: Decoder, blocks: Sequence[LogProbs], threads: int) -> None:
    """All streams side by side, a few frames of each in one call, as a server takes them."""
    states = [decoder.start() for _ in blocks]
    for at in range(0, len(blocks[0]), BLOCK):
        advance_all(states, [block[at : at + BLOCK] for block in blocks], threads=threads)


def control(_: Decoder, blocks: Sequence[LogProbs], threads: int) -> None:
    """No decoding, but work that runs without Python's lock: what the machine can give."""
    spread(lambda block: [hashlib.sha256(block.data) for _ in range(30)], blocks, threads)


WAYS: dict[str, Way] = {
    "whole, a thread for each": whole,
    f"blocks of {BLOCK} frames, with words": live,
    "Decoder.decode": batch,
    f"advance_all, {BLOCK} frames each": together,
    "control: SHA-256": control,
}


if __name__ == "__main__":
    try:
        main()
    except Ds2edgeError as error:
        raise SystemExit(f"decoder_threads.py: {error}") from None
