"""Features of whole corpora on disk: computed once in worker processes, then memory-mapped."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import soxr

from ds2edge.audio import FloatArray
from ds2edge.audio_file import read_audio
from ds2edge.errors import AudioError, DataError
from ds2edge.features import FeatureExtractor, FeatureSettings
from ds2edge.progress import track
from ds2edge.training.data.manifest import Utterance
from ds2edge.training.data.shards import with_sounds
from ds2edge.training.files import file_state, partial_file, taking_turns, write_header
from ds2edge.training.processes import in_order, worker_processes

OFFLINE_CHUNK = 64  # frames at a time: in half the time of 16; features differ by 1e-5 at most
DOING = "computes features"

Item: TypeAlias = tuple[Utterance, bytes | None]  # the recording, where it is no file of its own
Frames: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Change:
    """What is done to recordings before their features are computed."""

    speed: float = 1.0  # played so many times as fast
    levels: tuple[float, ...] = ()  # dB, the least and most gain, drawn for each; empty: none

    def gain(self, utterance: Utterance) -> float:
        """In dB; the same for a recording whenever it is asked for."""
        if not self.levels:
            return 0.0
        seed = zlib.crc32(f"{utterance.path.name} {self.speed}".encode())
        least, most = self.levels
        return float(np.random.default_rng(seed).uniform(least, most))

    def __str__(self) -> str:
        gains = " at other gains" if self.levels else ""
        return f"features at speed {self.speed:g}{gains}"


@dataclass(frozen=True)
class FeatureCache:
    """Frames of many recordings, end to end."""

    frames: npt.NDArray[np.float16]  # shape = (all frames, bins)
    starts: npt.NDArray[np.int64]  # of each recording, and the end; shape = (recordings + 1,)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, index: int) -> npt.NDArray[np.float32]:
        """Frames of one recording, shape = (frames, bins)."""
        return self.frames[self.starts[index] : self.starts[index + 1]].astype(np.float32)

    def count(self, index: int) -> int:
        """Frames of one recording."""
        return int(self.starts[index + 1] - self.starts[index])

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Frames of each recording."""
        return np.diff(self.starts)


def cached_features(
    utterances: Sequence[Utterance],
    settings: FeatureSettings,
    change: Change,
    folder: Path,
    jobs: int | None = None,
) -> FeatureCache:
    """Features of the changed recordings, from the cache or computed.

    A recording that cannot be read has no frames; `unreadable` tells why.
    """

    def frames() -> Generator[Frames]:
        with worker_processes(jobs) as pool:
            work = partial(_features, settings, change)
            found = in_order(pool, work, with_sounds(utterances), DOING)
            yield from track(found, str(change), len(utterances))

    name = cache_name(utterances, settings, change)
    return cached_rows(folder, name, settings.size, frames)


def known_lengths(
    utterances: Sequence[Utterance],
    settings: FeatureSettings,
    changes: Sequence[Change],
    folder: Path,
) -> list[FeatureCache]:
    """As `cached_features` of each change, but for the frames themselves, which are NaN.

    Recordings are decoded once, to count their samples, however many changes there are.
    """

    def counts() -> Generator[Frames]:
        with worker_processes() as pool:
            found = in_order(pool, partial(_count, settings), with_sounds(utterances), DOING)
            for count in track(found, "lengths", len(utterances)):
                yield np.zeros((count, 0), np.float32)

    name = cache_name(utterances, settings, Change())
    samples = cached_rows(folder, f"{name}.samples", 0, counts).lengths.tolist()
    rate, caches = settings.sample_rate, []
    for change in changes:
        lengths = [-(-samples_at(n, change.speed, rate) // settings.hop) for n in samples]
        starts = np.cumsum([0, *lengths], dtype=np.int64)
        unknown = np.broadcast_to(np.float16("nan"), (int(starts[-1]), settings.size))
        caches.append(FeatureCache(unknown, starts))
    return caches


def cached_rows(
    folder: Path, name: str, columns: int, make: Callable[[], Generator[Frames]]
) -> FeatureCache:
    """What `make` yields for each recording, shape = (rows, columns), from the cache or computed.

    Raises:
        OSError: it cannot be written; then nothing of it is left.
    """
    starts_path = row_files(folder, name)[1]
    if not starts_path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with taking_turns(folder):  # another worker may be at it
            if not starts_path.exists():
                with closing(make()) as rows:
                    write_rows(folder, name, columns, rows)
    return open_rows(folder, name)


def write_rows(folder: Path, name: str, columns: int, rows: Iterable[Frames]) -> None:
    """Write what `open_rows` opens; of what is interrupted nothing is left."""
    frames_path, starts_path = row_files(folder, name)
    starts, total = [0], 0
    with partial_file(frames_path) as file:
        write_header(file, 0, columns)
        begin = file.tell()
        for some in rows:
            file.write(some.astype(np.float16).tobytes())
            total += len(some)
            starts.append(total)
        file.seek(0)
        write_header(file, total, columns)
        if file.tell() != begin:
            raise AssertionError("NumPy leaves room for the length in its header")
    with partial_file(starts_path) as file:  # last: its presence says that both are whole
        np.save(file, np.array(starts, np.int64))


def open_rows(folder: Path, name: str) -> FeatureCache:
    """The rows of many recordings, of which only what is asked for is read."""
    frames_path, starts_path = row_files(folder, name)
    return FeatureCache(np.load(frames_path, mmap_mode="r"), np.load(starts_path))


def row_files(folder: Path, name: str) -> tuple[Path, Path]:
    """The file of all rows, and that of where each recording's begin."""
    return folder / f"{name}.frames.npy", folder / f"{name}.starts.npy"


def cache_name(utterances: Sequence[Utterance], settings: FeatureSettings, change: Change) -> str:
    """Tells the features of these recordings, as they are now, from all others."""
    files = [(str(u.path), *file_state(u.file)) for u in utterances]
    key = json.dumps([settings.as_dict(), change.speed, *change.levels, files])
    return hashlib.sha256(key.encode()).hexdigest()[:20]


def unreadable(utterance: Utterance, settings: FeatureSettings) -> str | None:
    """What is wrong with a recording that has no frames."""
    for item in with_sounds([utterance]):
        try:
            read_samples(item, settings.sample_rate)
        except AudioError as error:
            return str(error)
    return None


def feature_statistics(
    utterances: Sequence[Utterance], settings: FeatureSettings, jobs: int | None = None
) -> FeatureSettings:
    """Settings with mean and deviation of the training set, as normalisation will see it.

    Raises:
        DataError: none of the recordings that are measured has a frame.
    """
    sample = utterances[:: max(1, len(utterances) // 400)]
    items = list(with_sounds(sample))  # read once, for both passes
    with worker_processes(jobs) as pool:
        raw = list(in_order(pool, partial(_log_power, settings), items, DOING))
        if not any(map(len, raw)):
            why = unreadable(sample[0], settings) or f"it is shorter than {settings.window} samples"
            raise DataError(
                f"{len(sample)} recordings were tried and none can be used; of the first, "
                f"{sample[0].where}: {why}"
            )
        mean = np.concatenate(raw).mean(axis=0, dtype=np.float64)
        centred = replace(settings, mean=tuple(mean.tolist()), deviation=())
        frames = in_order(pool, partial(_features, centred, Change()), items, DOING)
        deviation = np.concatenate(list(frames)).std(axis=0, dtype=np.float64)
    return replace(centred, deviation=tuple(deviation.tolist()))


def at_speed(samples: FloatArray, speed: float, rate: int) -> FloatArray:
    """The samples played so many times as fast, which are `samples_at` many."""
    if speed == 1.0:
        return samples
    return np.asarray(soxr.resample(samples, rate * speed, rate), np.float32)


def samples_at(count: int, speed: float, rate: int) -> int:
    """How many samples so many become at another speed, counted as soxr does."""
    return count if speed == 1.0 else int(count * rate / (rate * speed) + 0.5)


def read_samples(item: Item, rate: int) -> FloatArray:
    """All of a recording.

    Raises:
        AudioError: it cannot be read.
    """
    utterance, sound = item
    if sound is None:
        return read_audio(utterance.path, rate)
    with os.fdopen(os.memfd_create(utterance.path.name), "wb") as file:  # so that it is decoded
        file.write(sound)  # as any other file is
        file.flush()
        name = f"/proc/self/fd/{file.fileno()}"
        try:
            return read_audio(name, rate)
        except AudioError as error:
            raise AudioError(str(error).replace(name, utterance.where)) from None


def _features(settings: FeatureSettings, change: Change, item: Item) -> Frames:
    """All frames; none of a recording that cannot be read."""
    utterance = item[0]
    try:
        samples = read_samples(item, settings.sample_rate)
    except AudioError:
        return np.zeros((0, settings.size), np.float32)
    samples = at_speed(samples, change.speed, settings.sample_rate)
    samples = samples * np.float32(10 ** (change.gain(utterance) / 20))
    return FeatureExtractor(settings, OFFLINE_CHUNK).extract(samples)


def _count(settings: FeatureSettings, item: Item) -> int:
    """Samples; none of a recording that cannot be read."""
    try:
        return len(read_samples(item, settings.sample_rate))
    except AudioError:
        return 0


def _log_power(settings: FeatureSettings, item: Item) -> Frames:
    try:
        samples = read_samples(item, settings.sample_rate)
    except AudioError:
        return np.zeros((0, settings.size), np.float32)
    count = max(0, (len(samples) - settings.window) // settings.hop + 1)
    if not count:
        return np.zeros((0, settings.size), np.float32)
    return FeatureExtractor(settings, OFFLINE_CHUNK).log_power(samples, count)
