"""Features of augmented recordings, each epoch's its own: computed while the one before trains.

What is heard follows from seed, epoch and place in the epoch alone, so a run that was killed and
goes on hears the same. The features of an epoch are a file in the cache; there are two at most, of
the epoch that trains and of the next one. A worker has only those recordings that it trains on.
"""

from __future__ import annotations

import hashlib
import json
import logging
import queue
import shutil
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ds2edge.errors import AudioError, DataError
from ds2edge.features import FeatureExtractor, FeatureSettings
from ds2edge.progress import track
from ds2edge.training.augmentation.chain import Banks, augment
from ds2edge.training.config import AugmentConfig
from ds2edge.training.data.batches import Pick, Recordings
from ds2edge.training.data.feature_cache import (
    OFFLINE_CHUNK,
    Change,
    FeatureCache,
    Frames,
    Item,
    cache_name,
    open_rows,
    read_samples,
    row_files,
    write_rows,
)
from ds2edge.training.data.shards import with_sounds
from ds2edge.training.processes import in_order, worker_processes

ASIDE = 1  # a number of its own in the seed: others are drawn of seed and epoch, too
POLL = 0.2  # seconds in which Ctrl-C is noticed

Numbers: TypeAlias = npt.NDArray[np.int64]
Task: TypeAlias = tuple[Item, int, int, int]  # recording, change, epoch and place in it

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Hearing:
    """How recordings are heard; little to hand to another process."""

    features: FeatureSettings
    augment: AugmentConfig
    changes: tuple[Change, ...]
    banks: Banks
    seed: int


@dataclass(frozen=True, eq=False)
class Part:
    """What of an epoch a worker needs, by place in the epoch; shape = (n,) each."""

    epoch: int
    places: Numbers  # rising
    recordings: Numbers  # rising, too: places follow recordings
    changes: Numbers

    @classmethod
    def of(cls, epoch: int, picks: Sequence[Pick], rows: Callable[[int], range]) -> Part:
        """What some batches need, of each of them those `rows` of so many."""
        mine = [list(rows(len(pick.places))) for pick in picks]

        def of_all(name: str) -> Numbers:
            parts = [getattr(pick, name)[own] for pick, own in zip(picks, mine, strict=True)]
            return np.concatenate([np.zeros(0, np.int64), *parts])

        order = np.argsort(of_all("places"))
        names = ("places", "recordings", "changes")
        return cls(epoch, *(of_all(name)[order] for name in names))

    @property
    def name(self) -> str:
        """Tells it from all others of a run."""
        digest = hashlib.sha256(b"".join(a.tobytes() for a in (self.places, self.changes)))
        return f"{self.epoch}-{digest.hexdigest()[:12]}"

    def has(self, other: Part) -> bool:
        """Whether all of another part is in this one."""
        found = np.searchsorted(self.places, other.places)
        there = found < len(self.places)
        same = self.places[found[there]] == other.places[there]
        return self.epoch == other.epoch and bool(there.all() and same.all())


class EpochFeatures:
    """Features for the batches of one run and worker; `close` ends what is being computed."""

    def __init__(
        self, recordings: Recordings, hearing: Hearing, owner: str, folder: Path, jobs: int
    ) -> None:
        """Nothing is computed yet.

        Args:
            owner: tells this worker of this run from all others that may write to the cache.
            folder: of the cache.
            jobs: processes.
        """
        self.utterances, self.hearing = recordings.utterances, hearing
        self.lengths = [cache.lengths for cache in recordings.features]
        names = [cache_name(self.utterances, hearing.features, c) for c in hearing.changes]
        key = json.dumps([owner, names, asdict(hearing)], default=str)
        self.folder = folder / hashlib.sha256(key.encode()).hexdigest()[:20]
        self.jobs = jobs
        self._pool: ProcessPoolExecutor | None = None
        self._job: _Job | None = None
        self._part: Part | None = None
        self._rows: FeatureCache | None = None

    def ready(
        self, part: Part, then: Part | None = None, check: Callable[[], None] = lambda: None
    ) -> None:
        """Have a part at hand, computed now if it is not there yet, and compute the next meanwhile.

        Args:
            check: called again and again while it waits; what it raises ends that.

        Raises:
            DataError: a recording is no longer what it was, or a process was killed.
            OSError: the features cannot be written, as on a full disk.
        """
        if not (self._part and self._part.has(part)):
            self._open(part, then, check)
        if then:
            self._begin(then)

    def frames(self, places: Numbers) -> list[Frames]:
        """Features at some places of the part that is ready, shape = (frames, bins) each."""
        assert self._part
        assert self._rows is not None
        return [self._rows[i] for i in np.searchsorted(self._part.places, places).tolist()]

    def close(self, done: bool = False) -> None:
        """Compute no more.

        Args:
            done: nor will there be a need for what was computed.
        """
        if self._job:
            self._job.stop()
        if self._pool:
            self._pool.shutdown()
        self._pool = self._job = self._part = self._rows = None
        if done:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _open(self, part: Part, then: Part | None, check: Callable[[], None]) -> None:
        began = time.monotonic()
        expected = self._job is not None and self._job.name == part.name
        self._begin(part)
        if self._job:
            doing = f"features, epoch {part.epoch + 1}"
            for _ in track(self._job.news(check), doing, len(part.places)):
                pass
            self._job = None
        waited = time.monotonic() - began
        if expected and waited > 1:
            log.info("epoch %d: waited %.0f s for its features", part.epoch + 1, waited)
        self._part, self._rows = part, open_rows(self.folder, part.name)
        keep = [path for p in (part, then) if p for path in row_files(self.folder, p.name)]
        for path in self.folder.iterdir():
            if path not in keep:
                path.unlink()

    def _begin(self, part: Part) -> None:
        """Compute a part unless it is there, or being computed."""
        if self._job and self._job.name != part.name:
            self._job.stop()
            self._job = None
        if self._job or row_files(self.folder, part.name)[1].exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self._pool = self._pool or worker_processes(self.jobs, aside=True)
        self._job = _Job(part.name, partial(self._write, part, self._pool))

    def _write(self, part: Part, pool: ProcessPoolExecutor, tell: Callable[[], None]) -> None:
        with closing(self._computed(part, pool, tell)) as rows:
            write_rows(self.folder, part.name, self.hearing.features.size, rows)

    def _computed(
        self, part: Part, pool: ProcessPoolExecutor, tell: Callable[[], None]
    ) -> Generator[Frames]:
        work = partial(_heard, self.hearing)
        found = in_order(pool, work, self._tasks(part), "computes features")
        for i, change, frames in zip(part.recordings, part.changes, found, strict=True):
            tell()
            if len(frames) != self.lengths[change][i]:
                raise DataError(
                    f"{self.utterances[i].where}: {self.utterances[i].path} changed while it was "
                    "trained on; the same command begins with what it is now"
                )
            yield frames

    def _tasks(self, part: Part) -> Iterator[Task]:
        items = with_sounds(self.utterances[i] for i in part.recordings)
        for item, change, place in zip(items, part.changes, part.places, strict=True):
            yield item, int(change), part.epoch, int(place)


class _NotNeededError(Exception):
    """A job is not needed any more."""


class _Job:
    """A thread that has a file computed and written."""

    def __init__(self, name: str, write: Callable[[Callable[[], None]], None]) -> None:
        """`write` calls back for each recording that is done."""
        self.name, self._write = name, write
        self._news: queue.SimpleQueue[BaseException | bool] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def news(self, check: Callable[[], None]) -> Iterator[None]:
        """Wait to the end; something for each recording that is done.

        Raises: whatever the thread, or `check`, does.
        """
        while True:
            check()
            try:
                news = self._news.get(timeout=POLL)
            except queue.Empty:
                continue
            if isinstance(news, BaseException):
                raise news
            if news:
                return
            yield

    def stop(self) -> None:
        """Give it up, and wait until nothing of it is left."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._write(self._tell)
        except BaseException as error:
            self._news.put(error)
        else:
            self._news.put(True)

    def _tell(self) -> None:
        if self._stopping.is_set():
            raise _NotNeededError
        self._news.put(False)


def _heard(hearing: Hearing, task: Task) -> Frames:
    """Features of a recording as it is heard once; none if it cannot be read."""
    item, change, epoch, place = task
    settings = hearing.features
    try:
        samples = read_samples(item, settings.sample_rate)
    except AudioError:
        return np.zeros((0, settings.size), np.float32)
    rng = np.random.default_rng([hearing.seed, epoch, place, ASIDE])
    rate, of = settings.sample_rate, hearing.changes[change]
    samples = augment(samples, rate, hearing.augment, hearing.banks, of, rng)
    return FeatureExtractor(settings, OFFLINE_CHUNK).extract(samples)
