"""`ds2edge train CONFIG`: learn an acoustic model, resumable by the same command."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from ds2edge.arguments import CommandParser
from ds2edge.cache import cache_folder
from ds2edge.errors import ConfigError, DataError
from ds2edge.progress import track
from ds2edge.text import collapse
from ds2edge.training.checkpoint import (
    Checkpoint,
    assign,
    load_checkpoint,
    save_checkpoint,
    variables,
)
from ds2edge.training.config import OptimizerConfig, TrainConfig, load_config
from ds2edge.training.data import (
    Batch,
    Recordings,
    load_recordings,
    plain_batches,
    read_corpora,
    training_batches,
)
from ds2edge.training.feature_cache import Change, feature_statistics
from ds2edge.training.metrics import ErrorRate, character_error_rate
from ds2edge.training.model import AcousticModel, build_model, output_lengths, token_set
from ds2edge.training.warm_start import warm_start

NORM_BATCHES = 20  # of an epoch, that tell the statistics of a model to start from

log = logging.getLogger(__name__)

EPILOG = """examples:
  ds2edge train training/configs/en-small.toml --data speech
      train on speech/*/manifest.tsv; the same command resumes after an interruption
  ds2edge train my.toml --data speech --out runs/mine --fresh
      begin anew, checkpoints in runs/mine
  ds2edge restore en -o start.npz
  ds2edge train more.toml --data speech --start start.npz
      begin with the weights of a bundle
"""


@dataclass(frozen=True)
class Run:
    """What a training run works on."""

    config: TrainConfig
    folder: Path  # of last.npz, best.npz and history.jsonl
    train: Recordings
    dev: Recordings


def main(arguments: Sequence[str] | None = None) -> int:
    """The `ds2edge train` command."""
    parser = CommandParser(
        "ds2edge train",
        description="Train an acoustic model. Interrupted, it goes on where it stopped.",
        epilog=EPILOG,
    )
    parser.add_argument("config", help="TOML file, see training/configs")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the corpora")
    parser.add_argument("--out", type=Path, help="checkpoints [cache folder/runs/NAME]")
    parser.add_argument("--fresh", action="store_true", help="do not resume")
    parser.add_argument(
        "--start", type=Path, help="checkpoint whose weights to begin with [random]"
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    config = load_config(options.config)
    folder = options.out or cache_folder() / "runs" / config.name
    start = load_checkpoint(options.start) if options.start else None
    train(prepare(config, options.data, folder, options.fresh), options.fresh, start)
    return 0


def prepare(config: TrainConfig, data: Path, folder: Path, fresh: bool) -> Run:
    """Read manifests, measure feature statistics (or take them from the run), cache features."""
    cache = cache_folder() / "features"
    longest = config.data.longest
    utterances, repeats = read_corpora(data, config.data.train, "train", longest)
    dev_utterances, dev_repeats = read_corpora(data, config.data.dev, "dev", longest)
    features = config.features
    if not features.mean:
        last = folder / "last.npz"
        if last.exists() and not fresh:
            features = load_checkpoint(last).config.features
        else:
            log.info("measuring feature statistics")
            features = feature_statistics(utterances, features)
    config = replace(config, features=features)
    tokens, model = token_set(config.model), config.model
    changes = [Change(speed, config.data.levels) for speed in config.data.speeds]
    return Run(
        config,
        folder,
        load_recordings(utterances, repeats, features, changes, tokens, model, cache),
        load_recordings(dev_utterances, dev_repeats, features, [Change()], tokens, model, cache),
    )


def train(run: Run, fresh: bool = False, start: Checkpoint | None = None) -> AcousticModel:
    """Train to the last epoch; each epoch ends with a dev figure and a checkpoint.

    Args:
        start: what a run that is not resumed begins with, in the place of random weights.

    Raises:
        ConfigError: the folder holds a run of another configuration.
        DataError: the loss is no longer a number, or `start` does not fit.
    """
    config = run.config
    keras.utils.set_random_seed(config.optimizer.seed)
    configure_threads()
    model = build_model(config.model, config.features, config.optimizer.precision)
    steps = sum(1 for _ in epoch_batches(run, 0))
    optimizer = build_optimizer(config.optimizer, steps)
    # TensorFlow's CTC kernel is no XLA operation.
    jit = keras.backend.backend() != "tensorflow"
    model.compile(optimizer=optimizer, jit_compile=jit)
    optimizer.build(model.trainable_variables)
    progress = resume(run, model, optimizer, fresh)
    if start and not progress["epoch"]:
        warm_start(model, start, islice(epoch_batches(run, 0), 0, None, steps // NORM_BATCHES + 1))
    log.info(
        "%d parameters, %.1f h of audio an epoch, %d steps, from epoch %d of %d",
        model.count_params(),
        float(run.train.repeats @ run.train.features[0].lengths) / 3600 / frame_rate(config),
        steps,
        progress["epoch"] + 1,
        config.optimizer.epochs,
    )
    for epoch in range(progress["epoch"], config.optimizer.epochs):
        began = time.monotonic()
        batches = track(epoch_batches(run, epoch), f"epoch {epoch + 1}", steps)
        loss = float(np.mean([train_step(model, batch) for batch in batches]))
        if not np.isfinite(loss):
            raise DataError(f"the loss became {loss} in epoch {epoch + 1}; lower the learning rate")
        progress = end_epoch(run, model, progress, loss, began)
    return model


def end_epoch(
    run: Run, model: AcousticModel, progress: dict[str, Any], loss: float, began: float
) -> dict[str, Any]:
    """Measure the averaged weights on dev and save them; training goes on with its own."""
    training = {**variables(model), **variables(model.optimizer)}
    model.optimizer.finalize_variable_values(model.trainable_variables)
    figure = dev_error(model, run.dev, run.config)
    record = {
        "epoch": progress["epoch"] + 1,
        "loss": loss,
        "dev_cer": figure.rate,
        "seconds": time.monotonic() - began,
    }
    progress = {
        "epoch": record["epoch"],
        "best": min(progress["best"], figure.rate),
        "history": [*progress["history"], record],
    }
    checkpoint = Checkpoint(run.config, variables(model), training, progress)
    if figure.rate <= progress["best"]:
        save_checkpoint(run.folder / "best.npz", replace(checkpoint, training={}))
    save_checkpoint(run.folder / "last.npz", checkpoint)
    assign(model, training)
    report(run.folder, record)
    return progress


def train_step(model: AcousticModel, batch: Batch) -> float:
    """One step of the optimiser; returns the loss per token."""
    return float(model.train_on_batch(inputs(batch), targets(batch)))


def inputs(batch: Batch) -> dict[str, Any]:
    """What `AcousticModel` takes."""
    return {"features": batch.features, "frames": batch.frames}


def targets(batch: Batch) -> dict[str, Any]:
    """What `AcousticModel.compute_loss` takes."""
    return {"tokens": batch.tokens, "lengths": batch.lengths}


def epoch_batches(run: Run, epoch: int) -> Iterator[Batch]:
    """The batches of an epoch: the same in every run of the same seed; shortest first at first."""
    config = run.config
    rng = np.random.default_rng([config.optimizer.seed, epoch])
    return training_batches(
        run.train, config.data, config.augment, frame_rate(config), rng, sort=epoch == 0
    )


def dev_error(model: AcousticModel, recordings: Recordings, config: TrainConfig) -> ErrorRate:
    """Character error rate of the best path."""
    tokens = token_set(config.model)
    said: list[str] = []
    for batch in plain_batches(recordings, config.data, frame_rate(config)):
        logits = ops.convert_to_numpy(model.predict_on_batch(inputs(batch)))
        lengths = output_lengths(batch.frames, config.model)
        for path, length in zip(logits.argmax(-1), lengths, strict=True):
            said.append(tokens.decode(collapse(path[:length].tolist())))
    wanted = [tokens.decode(t) for t in recordings.tokens]
    return character_error_rate(wanted, said)


def build_optimizer(config: OptimizerConfig, steps: int) -> keras.optimizers.Optimizer:
    """AdamW with warm-up, cosine, clipping and averaged weights; `steps` make an epoch."""
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0,
        max(1, config.epochs * steps - config.warm_up),
        warmup_target=config.learning_rate,
        warmup_steps=config.warm_up,
    )
    optimizer = keras.optimizers.AdamW(
        schedule,
        weight_decay=config.weight_decay,
        beta_2=0.98,
        global_clipnorm=config.clip_norm,
        use_ema=True,
        ema_momentum=config.averaging,
    )
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return optimizer


def resume(run: Run, model: AcousticModel, optimizer: Any, fresh: bool) -> dict[str, Any]:
    """Take up the last checkpoint of the folder, if there is one; returns the progress so far."""
    path = run.folder / "last.npz"
    if fresh or not path.exists():
        return {"epoch": 0, "best": float("inf"), "history": []}
    checkpoint = load_checkpoint(path)
    if checkpoint.config.digest != run.config.digest:
        raise ConfigError(
            f"{path} was trained with another configuration; give --fresh or another --out"
        )
    assign(model, checkpoint.training)
    assign(optimizer, checkpoint.training)
    return checkpoint.progress


def report(folder: Path, record: dict[str, Any]) -> None:
    """Append to history.jsonl and say it."""
    with (folder / "history.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
    log.info(
        "epoch %d: loss %.3f, dev CER %.1f %%, %.0f s",
        record["epoch"],
        record["loss"],
        100 * record["dev_cer"],
        record["seconds"],
    )


def frame_rate(config: TrainConfig) -> float:
    """Feature frames in a second."""
    return config.features.frame_rate


def configure_threads() -> None:
    """All cores to each operation: the recurrence has nothing to run side by side."""
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(os.cpu_count() or 1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:  # the process used TensorFlow before: its settings stay
        log.debug("TensorFlow was running already; thread settings unchanged")
