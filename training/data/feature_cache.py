"""Features of whole corpora on disk: computed once in worker processes, then memory-mapped."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import forkserver, get_context
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
from ds2edge.training.files import partial_file, taking_turns, write_header

# Frames at a time: small enough that BLAS stays in its thread, of which each worker has one.
OFFLINE_CHUNK = 16
AHEAD = 64  # recordings that are read before they are needed

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
    name = cache_name(utterances, settings, change)
    frames_path, starts_path = folder / f"{name}.frames.npy", folder / f"{name}.starts.npy"
    if not starts_path.exists():  # written last: its presence says that both are whole
        folder.mkdir(parents=True, exist_ok=True)
        with taking_turns(folder):  # another worker may be at it
            if not starts_path.exists():
                _compute(utterances, settings, change, frames_path, starts_path, jobs)
    return FeatureCache(np.load(frames_path, mmap_mode="r"), np.load(starts_path))


def cache_name(utterances: Sequence[Utterance], settings: FeatureSettings, change: Change) -> str:
    """Tells the features of these recordings, as they are now, from all others."""
    files = [(str(u.path), *_state(u.file)) for u in utterances]
    key = json.dumps([settings.as_dict(), change.speed, *change.levels, files])
    return hashlib.sha256(key.encode()).hexdigest()[:20]


def unreadable(utterance: Utterance, settings: FeatureSettings) -> str | None:
    """What is wrong with a recording that has no frames."""
    for item in with_sounds([utterance]):
        try:
            _samples(item, settings)
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
    with _workers(jobs) as pool:
        raw = list(_in_order(pool, partial(_log_power, settings), items))
        if not any(map(len, raw)):
            why = unreadable(sample[0], settings) or f"it is shorter than {settings.window} samples"
            raise DataError(
                f"{len(sample)} recordings were tried and none can be used; of the first, "
                f"{sample[0].where}: {why}"
            )
        mean = np.concatenate(raw).mean(axis=0, dtype=np.float64)
        centred = replace(settings, mean=tuple(mean.tolist()), deviation=())
        frames = _in_order(pool, partial(_features, centred, Change()), items)
        deviation = np.concatenate(list(frames)).std(axis=0, dtype=np.float64)
    return replace(centred, deviation=tuple(deviation.tolist()))


def _compute(
    utterances: Sequence[Utterance],
    settings: FeatureSettings,
    change: Change,
    frames_path: Path,
    starts_path: Path,
    jobs: int | None,
) -> None:
    starts, total = [0], 0
    with partial_file(frames_path) as file, _workers(jobs) as pool:
        write_header(file, 0, settings.size)
        begin = file.tell()
        work = _in_order(pool, partial(_features, settings, change), with_sounds(utterances))
        for frames in track(work, str(change), len(utterances)):
            file.write(frames.astype(np.float16).tobytes())
            total += len(frames)
            starts.append(total)
        file.seek(0)
        write_header(file, total, settings.size)
        if file.tell() != begin:
            raise AssertionError("NumPy leaves room for the length in its header")
    with partial_file(starts_path) as file:
        np.save(file, np.array(starts, np.int64))


def _state(path: Path) -> tuple[int, int]:
    """Size and time: of a recording that is made louder in place only the time is another."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def _workers(jobs: int | None) -> ProcessPoolExecutor:
    # Not forked: the parent may hold TensorFlow's threads.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()  # and what it forks will not hear Ctrl-C, which is the parent's
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    jobs = jobs or len(os.sched_getaffinity(0))
    return ProcessPoolExecutor(jobs, mp_context=get_context("forkserver"))


def _in_order(
    pool: ProcessPoolExecutor, work: Callable[[Item], Frames], items: Iterable[Item]
) -> Iterator[Frames]:
    """As `pool.map`, which would read all items at once: of shards, whole hours of audio."""
    waiting: deque[Future[Frames]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise DataError(
            "a process that computes features was killed; was memory short? Run the command again"
        ) from None
    finally:
        for future in waiting:
            future.cancel()


def _samples(item: Item, settings: FeatureSettings) -> FloatArray:
    """Raises: AudioError."""
    utterance, sound = item
    if sound is None:
        return read_audio(utterance.path, settings.sample_rate)
    with os.fdopen(os.memfd_create(utterance.path.name), "wb") as file:  # so that it is decoded
        file.write(sound)  # as any other file is
        file.flush()
        name = f"/proc/self/fd/{file.fileno()}"
        try:
            return read_audio(name, settings.sample_rate)
        except AudioError as error:
            raise AudioError(str(error).replace(name, utterance.where)) from None


def _features(settings: FeatureSettings, change: Change, item: Item) -> Frames:
    """All frames; none of a recording that cannot be read."""
    utterance = item[0]
    try:
        samples = _samples(item, settings)
    except AudioError:
        return np.zeros((0, settings.size), np.float32)
    if change.speed != 1.0:
        rate = settings.sample_rate
        samples = soxr.resample(samples, rate * change.speed, rate)
    samples = samples * np.float32(10 ** (change.gain(utterance) / 20))
    return FeatureExtractor(settings, OFFLINE_CHUNK).extract(samples)


def _log_power(settings: FeatureSettings, item: Item) -> Frames:
    try:
        samples = _samples(item, settings)
    except AudioError:
        return np.zeros((0, settings.size), np.float32)
    count = max(0, (len(samples) - settings.window) // settings.hop + 1)
    if not count:
        return np.zeros((0, settings.size), np.float32)
    return FeatureExtractor(settings, OFFLINE_CHUNK).log_power(samples, count)
