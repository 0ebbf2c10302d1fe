"""A corpus of a few seconds and a model of a few units, that train in a moment."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from conftest import RECORDINGS

from ds2edge.audio_file import read_audio
from ds2edge.commands.interrupt import Interrupt
from ds2edge.training.checkpoint import load_checkpoint
from ds2edge.training.config import (
    AugmentConfig,
    Convolution,
    Corpus,
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    TrainConfig,
)

HEADER = "path\tseconds\ttext\tspeaker\tsplit\n"


def tiny_config(epochs: int, **optimizer: Any) -> TrainConfig:
    """All of a real configuration, small."""
    settings = {"warm_up": 2, "learning_rate": 0.02, "averaging": 0.5, "precision": "float32"}
    return TrainConfig(
        name="tiny",
        model=ModelConfig(
            convolutions=(Convolution(channels=4, time=5, time_stride=3, frequency_stride=4),),
            layers=1,
            units=24,
            look_ahead=3,
            dropout=0.0,
        ),
        data=DataConfig(
            train=(Corpus("speech", repeat=2),), dev=(Corpus("speech"),), speeds=(1.0,)
        ),
        augment=AugmentConfig(0, 0, 0, 0.0),
        optimizer=OptimizerConfig(epochs=epochs, **{**settings, **optimizer}),
    )


def lively(config: TrainConfig) -> TrainConfig:
    """The same with all that is drawn at random, in several batches an epoch."""
    return replace(
        config,
        model=replace(config.model, units=12, dropout=0.2),
        data=replace(config.data, speeds=(0.9, 1.0), levels=(-6.0, 6.0), batch_size=2),
        augment=AugmentConfig(1, 8, 1, 0.1),
    )


def hurried(config: TrainConfig, times: int = 10) -> TrainConfig:
    """As many updates in fewer epochs, which are dearer than the updates in them."""
    corpora = tuple(replace(c, repeat=times * c.repeat) for c in config.data.train)
    seen = 4 * config.data.train[0].repeat  # in each of the batches
    data = replace(config.data, train=corpora, batch_size=seen, sorta_grad=False)
    epochs = config.optimizer.epochs // times
    return replace(config, data=data, optimizer=replace(config.optimizer, epochs=epochs))


class InterruptAt(Interrupt):
    """Ctrl-C that is found when it is asked for the n-th time."""

    def __init__(self, number: int) -> None:
        self.left = number
        self._waits = self._installed = False

    @property
    def asked(self) -> bool:
        self.left -= 1
        return self.left <= 0


def write_corpus(root: Path) -> Path:
    """Real words with an ending in them, cut from a real recording; a folder of corpora."""
    folder = root / "corpora" / "speech"
    folder.mkdir(parents=True)
    samples = read_audio(RECORDINGS[0], 16_000)
    rows = []
    for i, text in enumerate(["one", "two", "a", "be"]):
        soundfile.write(folder / f"{i}.wav", samples[i * 12_000 : (i + 1) * 12_000], 16_000)
        rows += [f"{i}.wav\t0.75\t{text}\tx\t{split}\n" for split in ("train", "dev")]
    (folder / "manifest.tsv").write_text(HEADER + "".join(rows))
    return folder.parent


def records(path: Path) -> list[dict[str, Any]]:
    """Of a .jsonl file, without how long things took."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def same_checkpoints(a: Path, b: Path) -> bool:
    """Whether two checkpoints have the same weights and the same state of training."""
    one, other = load_checkpoint(a), load_checkpoint(b)
    # Keras numbers some names anew in every model.
    return all(
        len(values) == len(others) and all(map(np.array_equal, values, others))
        for values, others in (
            ([*one.weights.values()], [*other.weights.values()]),
            ([*one.training.values()], [*other.training.values()]),
        )
    )
