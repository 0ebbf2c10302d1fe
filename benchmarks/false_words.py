"""Words that are made up in a minute of silence, noise or hum; and error rates of quiet and loud
speech with the same settings."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from common import print_table  # first: it pins threads
from numpy.typing import NDArray

from ds2edge import StreamOptions, Transcriber
from ds2edge.arguments import CommandParser
from ds2edge.audio_file import read_audio
from ds2edge.errors import AudioError, Ds2edgeError
from ds2edge.progress import track
from ds2edge.text import normalise
from ds2edge.training.data.manifest import Utterance, read_manifest
from ds2edge.training.evaluation.metrics import word_error_rate

RATE = 16_000
SECONDS = 60
AIMS = {"silence": 0, "hum": 0}  # false words a minute; of all else 1
GAINS = (-30.0, 0.0, 10.0)  # dB
GAIN_AIM = 1.0  # points of WER from 0 dB

Samples = NDArray[np.float32]

EPILOG = """examples:
  python benchmarks/false_words.py --noise speech/noise/manifest.tsv
  python benchmarks/false_words.py --noise speech/noise/manifest.tsv --split test \\
      --speech speech/librispeech/manifest.tsv
"""


def main() -> None:
    parser = CommandParser("false_words.py", description=__doc__, epilog=EPILOG)
    parser.add_argument("--noise", type=Path, help="manifest.tsv of noises, repeated for a minute")
    parser.add_argument("--speech", type=Path, help="manifest.tsv to count errors at other gains")
    parser.add_argument("--split", default="test", help="of both [%(default)s]")
    parser.add_argument("--bundle", default="en", help="name, folder or .ds2 file [en]")
    given = parser.parse_args()
    transcriber = Transcriber(given.bundle)
    report_noises(transcriber, given)
    if given.speech:
        report_gains(transcriber, read_manifest(given.speech, given.split))


def report_noises(transcriber: Transcriber, given: argparse.Namespace) -> None:
    """One row for each kind of noise."""
    words: dict[str, list[int]] = {}
    examples: dict[str, set[str]] = {}
    noises = list(read_manifest(given.noise, given.split)) if given.noise else []
    for kind, samples in track(sounds(noises), "listening", 7 + len(noises)):
        found = transcriber.transcribe(samples, RATE).words
        words.setdefault(kind, []).append(len(found))
        examples.setdefault(kind, set()).update(word.text for word in found)
    rows = [
        [
            kind,
            f"{len(counts)}",
            f"{np.mean(counts):.2f}",
            f"{max(counts)}",
            f"{AIMS.get(kind.split()[0], 1)}",
            " ".join(sorted(examples[kind])[:6]),
        ]
        for kind, counts in words.items()
    ]
    print_table(["sound", "minutes", "words a minute", "most", "aim", "which"], rows)


def sounds(noises: Sequence[Utterance]) -> Iterator[tuple[str, Samples]]:
    """Kind and a minute of each sound."""
    count = RATE * SECONDS
    seconds, rng = np.arange(count) / RATE, np.random.default_rng(0)
    yield "silence", np.zeros(count, np.float32)
    for level in (-60, -40, -20):
        noise = rng.normal(size=count) * 10 ** (level / 20)
        yield f"white noise, {level} dB", noise.astype(np.float32)
    for base in (50, 60, 100):
        tones = [np.sin(2 * np.pi * base * k * seconds) / k for k in range(1, 9)]
        yield f"hum of {base} Hz", (0.05 * sum(tones)).astype(np.float32)
    for noise in noises:
        try:
            yield kind_of(noise), np.resize(read_audio(noise.path, RATE), count)
        except AudioError:
            continue  # some of the public recordings are malformed


def kind_of(noise: Utterance) -> str:
    """What a recording of noise is filed under."""
    return noise.speaker or "noise"


def report_gains(transcriber: Transcriber, utterances: Sequence[Utterance]) -> None:
    """WER of the same recordings, quieter and louder."""
    tokens = transcriber.bundle.manifest.tokens
    wanted = [normalise(u.text, tokens) for u in utterances]
    rates: dict[float, float] = {}
    for gain in GAINS:
        said = []
        for utterance in track(utterances, f"{gain:+.0f} dB", len(utterances)):
            samples = read_audio(utterance.path, RATE) * np.float32(10 ** (gain / 20))
            said.append(transcriber.transcribe(samples, RATE, StreamOptions()).text)
        rates[gain] = 100 * word_error_rate(wanted, said).rate
    rows = [
        [f"{gain:+.0f} dB", f"{rate:.2f}", f"{rate - rates[0.0]:+.2f}", f"{GAIN_AIM:g}"]
        for gain, rate in rates.items()
    ]
    print()
    print_table(["gain", "WER %", "points from 0 dB", "aim: within"], rows)


if __name__ == "__main__":
    try:
        main()
    except Ds2edgeError as error:
        raise SystemExit(f"false_words.py: {error}") from None
