"""How long after a word was said it appears: in a partial, and in a final.

A word ends where the final says that it ends (see times.py for how true that is). It appears when
the block of audio that shows it has been fed, plus what that call took.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import print_table  # first: it pins threads

from ds2edge import Final, Partial, StreamOptions, Transcriber, Word
from ds2edge.arguments import CommandParser
from ds2edge.audio_file import read_audio
from ds2edge.errors import Ds2edgeError
from ds2edge.progress import track
from ds2edge.training.data.manifest import read_manifest

PARTIAL_AIM = (0.7, 1.2)  # s, median and 98th percentile

EPILOG = """examples:
  python benchmarks/latency.py speech/librispeech/manifest.tsv
  python benchmarks/latency.py speech/librispeech/manifest.tsv --rate 48000 --block 0.02
"""


@dataclass(frozen=True)
class Shown:
    """An event, and when it was there."""

    event: Partial | Final
    at: float  # seconds of audio that were fed, plus the time that the call took
    took: float  # of it


def main() -> None:
    parser = CommandParser("latency.py", description=__doc__, epilog=EPILOG)
    parser.add_argument("manifest", type=Path, help="manifest.tsv of recordings")
    parser.add_argument("--split", default="test", help="of it [%(default)s]")
    parser.add_argument("--rate", type=int, default=48_000, help="Hz, of what is fed [%(default)s]")
    parser.add_argument("--block", type=float, default=0.02, help="seconds at once [%(default)s]")
    parser.add_argument("--silence", type=float, default=1.0, help="after each [%(default)g s]")
    parser.add_argument("--bundle", default="en", help="name, folder or .ds2 file [en]")
    given = parser.parse_args()
    transcriber = Transcriber(given.bundle)
    utterances = read_manifest(given.manifest, given.split)
    to_anything: list[float] = []
    to_partial: list[float] = []
    to_final: list[float] = []
    took: list[float] = []
    for utterance in track(utterances, "speaking", len(utterances)):
        samples = read_audio(utterance.path, given.rate)
        samples = np.pad(samples, (0, round(given.silence * given.rate)))
        shown = speak(transcriber, samples, given.rate, given.block)
        took += [one.took for one in shown]
        for one in shown:
            if isinstance(one.event, Final):
                for word in one.event.words:
                    to_final.append(one.at - word.end)
                    segment = [s for s in shown if s.event.segment == one.event.segment]
                    to_partial.append(first_shown(segment, is_reading_of(word)) - word.end)
                    to_anything.append(first_shown(segment, overlaps(word)) - word.end)
    measured = {"to any reading of it": to_anything, "to a partial": to_partial}
    report(transcriber, {**measured, "to the final": to_final}, took, given.block, given.rate)


def speak(transcriber: Transcriber, samples: np.ndarray, rate: int, block: float) -> list[Shown]:
    """All events of a recording that is fed as a microphone would."""
    shown: list[Shown] = []
    with transcriber.stream(rate, StreamOptions()) as stream:
        for piece in np.array_split(samples, max(1, round(len(samples) / rate / block))):
            began = time.perf_counter()
            events = stream.feed(piece)
            took = time.perf_counter() - began
            shown += [Shown(event, stream.seconds + took, took) for event in events]
        shown += [Shown(event, stream.seconds, 0.0) for event in stream.finish()]
    return shown


def first_shown(shown: Sequence[Shown], wanted: Callable[[Word], bool]) -> float:
    """When a word that is `wanted` was there first."""
    return next(one.at for one in shown if any(map(wanted, one.event.words)))


def is_reading_of(word: Word) -> Callable[[Word], bool]:
    """The same word at about the same time."""
    return lambda other: other.text == word.text and abs(other.start - word.start) < 0.2


def overlaps(word: Word) -> Callable[[Word], bool]:
    """Whatever is heard while the word is spoken, or the word itself."""
    same = is_reading_of(word)
    return lambda other: same(other) or (other.start < word.end and other.end > word.start)


def report(
    transcriber: Transcriber,
    measured: Mapping[str, Sequence[float]],
    took: Sequence[float],
    block: float,
    rate: int,
) -> None:
    """What was measured, and what it is made of."""
    rows = []
    for title, values in measured.items():
        quantiles = np.percentile(values, [50, 90, 98])
        aim = " / ".join(f"{aim:.2f}" for aim in PARTIAL_AIM) if title == "to a partial" else "-"
        rows.append([title, f"{len(values)}", *(f"{value:.2f}" for value in quantiles), aim])
    header = ["from the end of a word", "words", "median s", "90 % s", "98 % s", "aim"]
    print_table(header, rows)
    pipeline = transcriber._pipeline
    options = StreamOptions()
    known = {
        f"block of {1000 * block:.0f} ms, half of it": block / 2,
        f"resampler from {rate} Hz": resampler_delay(rate, pipeline.extractor.settings.sample_rate),
        "chunk, half of it": pipeline.seconds_per_chunk / 2,
        "window beyond the chunk": (
            (pipeline.extractor.settings.window - pipeline.extractor.settings.hop)
            / pipeline.extractor.settings.sample_rate
        ),
        "look-ahead": pipeline.look_ahead,
        "compute, median of a call that shows something": float(np.median(took)),
    }
    rest = float(np.median(measured["to a partial"])) - sum(known.values())
    rows = [[name, f"{1000 * value:.0f}"] for name, value in known.items()]
    rows.append(["beam: until it is the best reading (the rest)", f"{1000 * rest:.0f}"])
    print("\nthe median to a partial is made of\n")
    print_table(["part", "ms"], rows)
    print(f"\nfinals wait for {options.silence_after} s of silence besides")


def resampler_delay(rate: int, model_rate: int) -> float:
    """Seconds of audio that the streaming resampler holds back."""
    from ds2edge.audio import SampleInput

    source, given, got = SampleInput(rate, model_rate), 0, 0
    for _ in range(100):
        piece = np.zeros(rate // 50, np.float32)
        given, got = given + len(piece), got + len(source.convert(piece))
    return given / rate - got / model_rate


if __name__ == "__main__":
    try:
        main()
    except Ds2edgeError as error:
        raise SystemExit(f"latency.py: {error}") from None
