"""What fine-tuning does when nobody tells it how: a configuration from a model and its new data.

A model is fine-tuned on minutes, not hours: it sees them some twenty times, at three speeds and
under the masks of SpecAugment, with a learning rate that falls to zero. Hours are seen three times.

What it gains for one voice it loses for others. The embedded model on four minutes of a speaker
whom it never heard, WER with the language model: 41.5 to 37.1 % for the rest of what she said, and
25.4 to 33.7 % for speakers that it had been trained on; at a learning rate of 2e-4 instead of 5e-4,
to 38.7 and 29.4 % (benchmarks/fine_tuning.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from os.path import relpath
from pathlib import Path

from ds2edge.errors import ConfigError
from ds2edge.training.checkpoint import Checkpoint, weights_digest
from ds2edge.training.config import (
    AugmentConfig,
    AuxiliaryConfig,
    Corpus,
    DataConfig,
    DistillConfig,
    NoiseCorpus,
    OptimizerConfig,
    TrainConfig,
)
from ds2edge.training.data.manifest import Utterance, manifest_path, read_manifest

MINUTES_SEEN = 200.0  # of the new recordings, in all epochs together, within these bounds:
LEAST_EPOCHS, MOST_EPOCHS = 3, 20
BATCH_SECONDS = 60.0  # small, so that minutes are several updates


@dataclass(frozen=True)
class FineTuning:
    """What to fine-tune on, and how much."""

    data: Path  # corpus: a folder, or a manifest
    keep: tuple[Path, ...] = ()  # corpora that are mixed in, lest they be forgotten
    epochs: int = 0  # passes over all of it; 0: by its size
    learning_rate: float = 5e-4  # the highest
    noise: tuple[Path, ...] = ()  # corpora of noise that is mixed in

    @property
    def root(self) -> Path:
        """The folder that the corpora are named from."""
        return self.data.resolve().parent


def fine_tuning_config(start: Checkpoint, settings: FineTuning) -> TrainConfig:
    """The configuration of a run that begins with `start`.

    Without a split dev, the recordings that it learns from stand in for it: then the figure of an
    epoch tells how well they are known by heart, not how well others will be recognised.

    Raises:
        ConfigError: a number makes no sense.
        DataError: there is no manifest, or no recording in its split train.
    """
    if settings.epochs < 0 or not 0 < settings.learning_rate < 1:
        raise ConfigError(
            "needed: --epochs 1 or more, --learning-rate between 0 and 1; "
            f"got {settings.epochs} and {settings.learning_rate}"
        )
    recordings = _split(settings.data, "train")
    if not recordings:
        read_manifest(manifest_path(settings.data), "train")  # which tells why
    old, own = start.config, settings.data.resolve().name
    new = _minutes(recordings)
    kept = sum(_minutes(read_manifest(manifest_path(path), "train")) for path in settings.keep)
    repeat = max(1, round(kept / max(new, 1.0)))  # half of what is seen is new
    passes = min(max(round(MINUTES_SEEN / max(new, 0.1)), LEAST_EPOCHS), MOST_EPOCHS)
    epochs = settings.epochs or max(1, round(passes / repeat))
    updates = epochs * (repeat * new + kept) * 60 / BATCH_SECONDS
    dev = Corpus(own, split="" if _split(settings.data, "dev") else "train")
    noisy = "-noise" if settings.noise else ""
    return TrainConfig(  # of a name by which no other run goes on
        name=f"{old.name}-{Path(own).stem}-{weights_digest(start)[:6]}{noisy}",
        features=old.features,
        model=old.model,
        data=DataConfig(
            train=(
                Corpus(own, repeat),
                *(Corpus(relpath(p, settings.root)) for p in settings.keep),
            ),
            dev=(dev,),
            speeds=(0.9, 1.0, 1.1),
            levels=old.data.levels,
            batch_seconds=BATCH_SECONDS,
            sorta_grad=False,
            longest=old.data.longest,
        ),
        augment=replace(
            old.augment,
            noise=tuple(NoiseCorpus(relpath(path, settings.root)) for path in settings.noise),
            noise_share=AugmentConfig.noise_share,
            snr=AugmentConfig.snr,
        ),
        auxiliary=AuxiliaryConfig(),
        distill=DistillConfig(),
        optimizer=OptimizerConfig(
            epochs=epochs,
            learning_rate=settings.learning_rate,
            warm_up=max(1, round(updates / 10)),
            averaging=max(0.0, 1 - 20 / max(updates, 1.0)),  # over the last tenth, about
            precision=old.optimizer.precision,
        ),
    )


def _split(corpus: Path, split: str) -> list[Utterance]:
    return [u for u in read_manifest(manifest_path(corpus)) if u.split == split]


def _minutes(recordings: Sequence[Utterance]) -> float:
    return sum(utterance.seconds for utterance in recordings) / 60
