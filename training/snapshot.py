"""The state of training as a checkpoint, and back; averages of weights."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from ds2edge.errors import ConfigError, DataError
from ds2edge.training.checkpoint import Checkpoint, assign, load_checkpoint, variables
from ds2edge.training.config import TrainConfig
from ds2edge.training.data.batches import Recordings
from ds2edge.training.network.model import AcousticModel

Weights = dict[str, Any]


@dataclass(frozen=True)
class Progress:
    """How far a run is. All that is drawn at random follows from it, the seed and the weights."""

    epoch: int = 0  # complete ones
    step: int = 0  # updates of the epoch that is open
    loss: float = 0.0  # their sum
    seconds: float = 0.0  # spent on it
    best: float = float("inf")  # least character error rate on dev
    history: list[dict[str, Any]] = field(default_factory=list)  # a record for each epoch
    data: str = ""  # digest of the recordings; empty where it was not kept


@dataclass(frozen=True)
class State:
    """What training changes."""

    model: AcousticModel  # what is evaluated and kept
    objective: keras.Model  # what is trained: the model, with its auxiliary outputs if it has any
    optimizer: keras.optimizers.Optimizer

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """While it is entered the model has its averaged weights, where averaging is on."""
        own = variables(self.objective)
        try:
            if int(ops.convert_to_numpy(self.optimizer.iterations)):  # before, they are zeros
                self.optimizer.finalize_variable_values(self.objective.trainable_variables)
                # Copies: with JAX both owners would hold one array, and `predict` gives its own up.
                assign(self.objective, variables(self.objective))
            yield
        finally:
            assign(self.objective, own)

    def checkpoint(self, config: TrainConfig, progress: Progress) -> Checkpoint:
        """All that going on from here needs.

        Raises:
            DataError: a weight is no number: a checkpoint would be of no use.
        """
        training = {**variables(self.objective), **variables(self.optimizer)}
        with self.averaged():
            weights = variables(self.model)
        for name, value in {**training, **weights}.items():
            if not np.isfinite(value).all():
                raise DataError(f"{name} is no longer finite; lower optimizer.learning_rate")
        return Checkpoint(config, weights, training, asdict(progress))

    def resume(self, checkpoint: Checkpoint) -> Progress:
        """Take up a checkpoint where it stopped."""
        assign(self.objective, checkpoint.training)
        assign(self.optimizer, checkpoint.training)
        known = {f.name for f in fields(Progress)}  # those of format 1 have fewer
        return Progress(**{k: v for k, v in checkpoint.progress.items() if k in known})


def last_checkpoint(path: Path, config: TrainConfig) -> Checkpoint | None:
    """What a run goes on from; None where there is nothing.

    Raises:
        ConfigError: it is of another configuration.
        DataError: it is damaged, or holds no state of training.
    """
    if not path.exists():
        return None
    checkpoint = load_checkpoint(path)
    if not config.features.mean:  # measured by the run
        mean, deviation = checkpoint.config.features.mean, checkpoint.config.features.deviation
        features = replace(config.features, mean=mean, deviation=deviation)
        config = replace(config, features=features)
    if apart := differences(checkpoint.config.as_dict(), config.as_dict()):
        raise ConfigError(
            f"{path} was trained with another configuration ({'; '.join(apart[:5])}); "
            "give --fresh or another --out"
        )
    if not checkpoint.training:
        raise DataError(f"{path} holds weights only; begin with them: --start {path} --fresh")
    return checkpoint


def differences(there: dict[str, Any], here: dict[str, Any], where: str = "") -> list[str]:
    """Which values of two configurations are not the same."""
    found: list[str] = []
    for key in [*there, *(k for k in here if k not in there)]:
        a, b = there.get(key), here.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{where}{key}.")
        elif a != b:
            found.append(f"{where}{key} is {a} there and {b} here")
    return found


def data_digest(recordings: Recordings) -> str:
    """Tells apart what batches are made of: texts, lengths and repeats."""
    digest = sha256(json.dumps(recordings.tokens).encode())
    digest.update(recordings.repeats.tobytes())
    if recordings.unlabelled:
        digest.update(json.dumps(sorted(recordings.unlabelled)).encode())
    for cache in recordings.features:
        digest.update(cache.lengths.tobytes())
    return digest.hexdigest()[:20]


def mean_weights(checkpoints: Sequence[Checkpoint]) -> Weights:
    """The mean of each weight; what is no floating number is that of the last."""
    last = checkpoints[-1].weights
    mean: Weights = {}
    # By position: Keras numbers some names anew in every process.
    for name, *values in zip(last, *(c.weights.values() for c in checkpoints), strict=True):
        floating = np.issubdtype(last[name].dtype, np.floating)
        value = np.mean(values, axis=0, dtype=float) if floating else last[name]
        mean[name] = value.astype(last[name].dtype)
    return mean
