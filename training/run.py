"""What a training run works on: settings, recordings, and the batches of each epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ds2edge.training.augmentation.epochs import EpochFeatures, Part
from ds2edge.training.config import TrainConfig
from ds2edge.training.data.batches import Batch, Pick, Recordings, make_batch, plan_epoch
from ds2edge.training.workers import Workers, this_worker


@dataclass(frozen=True)
class Run:
    """What a training run works on."""

    config: TrainConfig
    folder: Path  # of last.npz, best.npz, average.npz and the logs
    train: Recordings
    dev: Recordings
    checkpoint_minutes: float = 10.0  # from one checkpoint to the next within an epoch
    workers: Workers = field(default_factory=this_worker)  # what this process is
    heard: EpochFeatures | None = None  # what is trained on, where that is augmented sound

    @property
    def last(self) -> Path:
        """The checkpoint that training goes on from."""
        return self.folder / "last.npz"

    def plan(self, epoch: int) -> list[Pick]:
        """The batches of an epoch."""
        rate, seed = self.config.features.frame_rate, self.config.optimizer.seed
        return plan_epoch(self.train, self.config.data, rate, seed, epoch)

    def ready(
        self,
        epoch: int,
        picks: Sequence[Pick],
        further: bool = False,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Have what some batches of an epoch need at hand.

        Args:
            further: also compute meanwhile what the next epoch needs, if there is one.
            check: called again and again while that takes time; what it raises ends it.
        """
        if self.heard:
            rows, epochs = self.workers.rows, self.config.optimizer.epochs
            further = further and epoch + 1 < epochs
            then = Part.of(epoch + 1, self.plan(epoch + 1), rows) if further else None
            self.heard.ready(Part.of(epoch, picks, rows), then, check)

    def batches(self, epoch: int, plan: Sequence[Pick], numbers: Iterable[int]) -> Iterator[Batch]:
        """Some batches of the plan of an epoch: the same in every run of the same seed."""
        numbers = list(numbers)
        self.ready(epoch, [plan[number] for number in numbers])
        for number in numbers:
            # Each draws for itself, so that one can be had without those before it.
            rng = np.random.default_rng([self.config.optimizer.seed, epoch, number + 1])
            pick = plan[number]
            rows = self.workers.rows(len(pick.recordings))
            heard = self.heard.frames(pick.places[list(rows)]) if self.heard else None
            yield make_batch(self.train, pick, self.config.augment, rng, rows, heard)

    def close(self, done: bool = False) -> None:
        """Compute no more in the background; when all is done, nothing of it is kept."""
        if self.heard:
            self.heard.close(done)
