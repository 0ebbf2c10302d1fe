"""What the clients of the server's benchmarks say: recordings one after the other, with pauses."""

from __future__ import annotations

import argparse
import json
import math
import random
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from common import SAMPLES

from ds2edge import Final, Transcriber
from ds2edge.audio_file import read_audio
from ds2edge.progress import track
from ds2edge.results import Seconds
from ds2edge.training.data.manifest import read_manifest

RATE = 16_000  # Hz
CHUNK: Seconds = 0.08  # that a client sends at once
SAMPLES_IN_CHUNK = round(RATE * CHUNK)
PAUSES = (5, 10, 20, 15)  # chunks after a recording, in turn
MANIFEST = SAMPLES / "manifest.tsv"
TRACKS = 24  # that differ; of more clients than that, some say the same at other times
LONGEST: Seconds = 600.0  # of recordings that are read
STAGGER: Seconds = 2.0  # in which all clients begin
SETTLE: Seconds = 4.0  # before the measurement, from when all speak
STREAMS = "10,20,30,50,100,150,200"

Speech = npt.NDArray[np.int16]  # shape = (chunks, SAMPLES_IN_CHUNK)
Finals = list[dict[str, Any]]  # as the server writes them


def read_speech(manifest: Path, split: str | None, longest: Seconds) -> list[Speech]:
    """Recordings of a manifest in whole chunks, so many seconds of them at most.

    Raises:
        AudioError, DataError: there are none, or they cannot be read.
    """
    found: list[Speech] = []
    left = longest
    for utterance in read_manifest(manifest, split):
        found.append(in_chunks(read_audio(utterance.path, RATE)))
        left -= len(found[-1]) * CHUNK
        if left <= 0:
            break
    return found


def in_chunks(samples: npt.NDArray[np.float32]) -> Speech:
    """Samples in -1..1 as whole chunks of int16, the last one filled up with zeros."""
    whole = np.pad(samples, (0, -len(samples) % SAMPLES_IN_CHUNK))
    scaled: Speech = np.clip(np.round(whole * 2**15), -(2**15), 2**15 - 1).astype(np.int16)
    return scaled.reshape(-1, SAMPLES_IN_CHUNK)


def tracks(recordings: Sequence[Speech], count: int, chunks: int, seed: int = 1) -> Speech:
    """So many tracks of the same length; shape = (count, chunks, SAMPLES_IN_CHUNK).

    Each has all recordings in an order of its own, again and again, and may end within one.
    """
    return np.stack([_track(recordings, chunks, random.Random(seed + i)) for i in range(count)])


def _track(recordings: Sequence[Speech], chunks: int, chance: random.Random) -> Speech:
    return np.stack(list(islice(_spoken(recordings, chance), chunks)))


def _spoken(recordings: Sequence[Speech], chance: random.Random) -> Iterator[Speech]:
    """Chunk by chunk, without end."""
    while True:
        for number in chance.sample(range(len(recordings)), len(recordings)):
            yield from recordings[number]
            yield from np.zeros((chance.choice(PAUSES), SAMPLES_IN_CHUNK), np.int16)


def offline(transcriber: Transcriber, speech: Speech) -> Finals:
    """What `Transcriber` says of the same samples, as the server writes it."""
    segments = transcriber.transcribe(speech.reshape(-1), RATE).segments
    return [as_message(segment) for segment in segments]


def as_message(final: Final) -> dict[str, Any]:
    """As it arrives at a client."""
    message: dict[str, Any] = json.loads(json.dumps({"type": "final", **final.as_dict()}))
    return message


def stagger(number: int) -> Seconds:
    """When a client begins, after the first: such that all are spread evenly, however many."""
    return STAGGER * (number * (math.sqrt(5) - 1) / 2 % 1)


# ---- of the command line


def add_speech(parser: argparse.ArgumentParser) -> None:
    """Which recordings, and for how long they are spoken."""
    parser.add_argument(
        "manifest", nargs="?", type=Path, default=MANIFEST, help="manifest.tsv [the tests' samples]"
    )
    parser.add_argument("--split", help="of the manifest [all]")
    parser.add_argument(
        "--streams",
        type=numbers,
        default=STREAMS,
        help="numbers, one after the other [%(default)s]",
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="of each number [%(default)g]")
    parser.add_argument("--max-batch", type=int, default=32, help="steps at most [%(default)s]")
    parser.add_argument("--threads", type=int, default=1, help="of the search [%(default)s]")


def numbers(text: str) -> tuple[int, ...]:
    """Separated by commas."""
    return tuple(int(each) for each in text.split(","))


def prepare(given: argparse.Namespace) -> tuple[Speech, list[Finals]]:
    """The tracks, long enough for a measurement, and what `Transcriber` says of each."""
    recordings = read_speech(given.manifest, given.split, LONGEST)
    chunks = math.ceil((STAGGER + SETTLE + given.seconds) / CHUNK)
    speech = tracks(recordings, TRACKS, chunks)
    transcriber = Transcriber(device="cpu")
    return speech, [
        offline(transcriber, each) for each in track(speech, "alone, for comparison", TRACKS)
    ]
