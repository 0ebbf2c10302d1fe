"""The training loop: epochs of updates, checkpoints on the way, a figure on dev after each."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import cast

import keras
import numpy as np

from ds2edge.commands.interrupt import Interrupt
from ds2edge.errors import DataError
from ds2edge.progress import track
from ds2edge.training.checkpoint import (
    Checkpoint,
    assign,
    load_checkpoint,
    save_checkpoint,
    variables,
)
from ds2edge.training.config import TrainConfig
from ds2edge.training.data.batches import Pick
from ds2edge.training.evaluation.dev_error import dev_error
from ds2edge.training.evaluation.metrics import ErrorRate
from ds2edge.training.files import locked, remove_parts
from ds2edge.training.network.distillation import Distillation
from ds2edge.training.network.intermediate import build_objective
from ds2edge.training.network.model import AcousticModel, build_model
from ds2edge.training.network.warm_start import warm_start
from ds2edge.training.optimizer import build_optimizer
from ds2edge.training.run import Run
from ds2edge.training.run_log import Record, RunLog, Unlogged
from ds2edge.training.snapshot import Progress, State, data_digest, last_checkpoint, mean_weights
from ds2edge.training.step import Update, build_stepper
from ds2edge.training.watch import Watch
from ds2edge.training.workers import ALONE

NORM_BATCHES = 20  # of an epoch, that tell the statistics of a model to start from
NAMED = 5  # recordings that a message names; the log file names all

log = logging.getLogger(__name__)


class Stopped(KeyboardInterrupt):
    """Ctrl-C was noted; training is between two updates."""


def train(
    run: Run,
    fresh: bool = False,
    start: Checkpoint | None = None,
    interrupt: Interrupt | None = None,
) -> AcousticModel:
    """Train to the last epoch; each epoch ends with a dev figure and a checkpoint.

    On one machine two runs of the same seed have the same losses to the last bit, and so has one
    that was killed and goes on; on a GPU only where its operations are deterministic.

    Args:
        fresh: begin anew, whatever the folder holds.
        start: what a run that does not go on begins with, in the place of random weights.
        interrupt: asked after every update.

    Raises:
        ConfigError: the folder holds a run of another configuration.
        DataError: the loss is no longer a number, `start` does not fit, or another process trains
            in the folder.
        OSError: a checkpoint cannot be written; the one before it stays.
        Stopped: `interrupt` was asked for; a checkpoint is written.
    """
    done = False
    try:
        if not run.workers.is_chief:
            model = _train(run, fresh, start, interrupt)
        else:
            run.folder.mkdir(parents=True, exist_ok=True)
            with locked(run.folder):
                remove_parts(run.folder)
                model = _train(run, fresh, start, interrupt)
        done = True
        return model
    finally:
        run.close(done)


def _train(
    run: Run, fresh: bool, start: Checkpoint | None, interrupt: Interrupt | None
) -> AcousticModel:
    config = run.config
    keras.utils.set_random_seed(config.optimizer.seed)
    configure_threads()
    batches = [len(run.plan(epoch)) for epoch in range(config.optimizer.epochs)]
    updates = [-(-count // config.optimizer.accumulate) for count in batches]
    state = build_state(config, updates)
    progress = begin_together(run, state, updates, fresh, start)
    done = sum(updates[: progress.epoch]) + progress.step
    frames = float(run.train.repeats @ run.train.features[0].lengths)
    log.info(
        "%d parameters, %.1f h of audio an epoch, %d updates in %d epochs, %d of them done",
        state.model.count_params(),
        frames / config.features.frame_rate / 3600,
        sum(updates),
        len(updates),
        done,
    )
    own = run.workers.is_chief
    with RunLog(run.folder, done, progress.history) if own else Unlogged() as run_log:
        _Training(run, state, updates, progress, run_log, interrupt).to_the_end()
    return state.model


def build_state(config: TrainConfig, updates: Sequence[int]) -> State:
    """Model and optimiser with their variables made; `updates` of each epoch."""
    model = build_model(config.model, config.features, config.optimizer.precision)
    objective = build_objective(model, config.auxiliary)
    if config.distill.teacher:
        objective = Distillation(objective, model, config.distill)
    optimizer = build_optimizer(config.optimizer, updates)
    # For `predict`: XLA would compile a graph for every length of batch.
    model.compile(optimizer=optimizer, jit_compile=keras.backend.backend() != "tensorflow")
    optimizer.build(objective.trainable_variables)
    return State(model, objective, optimizer)


def begin_together(
    run: Run, state: State, updates: Sequence[int], fresh: bool, start: Checkpoint | None
) -> Progress:
    """Let all workers begin as the chief does."""
    workers = run.workers
    workers.same("settings", run.config.digest)
    workers.same("recordings", data_digest(run.train) + data_digest(run.dev))
    if run.heard and (noise := run.heard.hearing.banks.noise):
        workers.same("noise", noise.digest)
    whole = replace(run, workers=ALONE)
    progress = Progress(
        **workers.from_chief(lambda: asdict(begin(whole, state, updates, fresh, start)))
    )
    workers.spread(state.objective, state.optimizer)
    workers.join(state.model)
    return progress


def begin(
    run: Run, state: State, updates: Sequence[int], fresh: bool, start: Checkpoint | None
) -> Progress:
    """Take up the last checkpoint of the folder, or write the first one."""
    digest = data_digest(run.train)
    checkpoint = None if fresh else last_checkpoint(run.last, run.config)
    if not checkpoint:
        if start:
            plan = run.plan(0)
            some = range(0, len(plan), len(plan) // NORM_BATCHES + 1)
            warm_start(state.model, start, run.batches(0, plan, some))
        progress = Progress(data=digest)
        # At once: a disk that is full or not ours is known before hours are spent.
        save_checkpoint(run.last, state.checkpoint(run.config, progress))
        for name in ("best.npz", "average.npz", "epoch-*.npz") if fresh else ():
            for old in run.folder.glob(name):  # of the run before
                old.unlink()
        return progress
    progress = state.resume(checkpoint)
    if progress.data not in ("", digest):
        raise DataError(
            f"{run.last} was trained on other recordings and cannot go on; begin with its "
            f"weights: --start {run.last} and another --out"
        )
    ends = np.cumsum(updates).tolist()
    history = [{"step": ends[record["epoch"] - 1], **record} for record in progress.history]
    return replace(progress, history=history, data=digest)


class _Training:
    """A run from where it is to its end."""

    def __init__(
        self,
        run: Run,
        state: State,
        updates: Sequence[int],  # of each epoch
        progress: Progress,
        run_log: RunLog,
        interrupt: Interrupt | None,
    ) -> None:
        self.run, self.state, self.updates = run, state, updates
        self.progress, self.log, self.interrupt = progress, run_log, interrupt
        longest, workers = run.config.optimizer.clip_norm, run.workers
        self.step = build_stepper(state.objective, state.optimizer, longest, workers)
        self.watch = Watch(run_log.steps)
        self.began = self.clock = self.saved = time.monotonic()
        self.first = self.total  # updates of processes before this one

    @property
    def total(self) -> int:
        """Updates that are done."""
        return sum(self.updates[: self.progress.epoch]) + self.progress.step

    def where(self, more: int = 0) -> str:
        """What to call the last update, or one so many later, in a message."""
        epoch = self.progress.epoch
        return f"epoch {epoch + 1}, update {self.progress.step + more} of {self.updates[epoch]}"

    def to_the_end(self) -> None:
        """All epochs that are left."""
        try:
            while self.progress.epoch < len(self.updates):
                self.epoch()
        except Stopped:
            self.save()
            raise Stopped(
                f"stopped in {self.where()}; the same command, without --fresh, goes on from "
                f"{self.run.last}"
            ) from None

    def epoch(self) -> None:
        """What is left of an epoch, and its figure."""
        number, each = self.progress.epoch, self.run.config.optimizer.accumulate
        plan = self.run.plan(number)
        self.run.ready(number, plan, further=True, check=self.stop_at_once)
        self.lap()
        steps = range(self.progress.step, self.updates[number])
        bar = self.shown(steps, f"epoch {number + 1} of {len(self.updates)}")
        with closing(bar):
            for step in bar:
                numbers = range(len(plan))[step * each : (step + 1) * each]
                update = self.step(list(self.run.batches(number, plan, numbers)))
                self.check(update, [plan[i] for i in numbers])
                self.count(update)
                self.pause()
        self.end_epoch()

    def shown(self, steps: range, doing: str) -> Generator[int]:
        """The steps, with a progress bar where it is the chief's."""
        if not self.run.workers.is_chief:
            return (step for step in steps)
        return cast(Generator[int], track(steps, doing, len(steps)))

    def check(self, update: Update, picks: Sequence[Pick]) -> None:
        """Refuse to go on with what is no number."""
        if math.isfinite(update.loss) and math.isfinite(update.gradient_norm):
            return
        members = [self.run.train.utterances[i] for pick in picks for i in pick.recordings]
        for utterance in members:
            log.debug("%s: in the batch that diverged: %s", utterance.where, utterance.path)
        named = ", ".join(str(utterance.path) for utterance in members[:NAMED])
        more = f" and {len(members) - NAMED} more" if len(members) > NAMED else ""
        raise DataError(
            f"{self.where(1)}: the loss is {update.loss:g} and the norm of its gradient "
            f"{update.gradient_norm:g}, on {named}{more}; lower optimizer.learning_rate; the last "
            f"checkpoint, {self.run.last}, is from before"
        )

    def count(self, update: Update) -> None:
        """One update more."""
        progress, seconds = self.progress, self.lap()
        self.progress = replace(
            progress,
            step=progress.step + 1,
            loss=progress.loss + update.loss,
            seconds=progress.seconds + seconds,
        )
        record = {"step": self.total, "epoch": progress.epoch + 1, **asdict(update)}
        self.log.step({**record, "seconds": round(seconds, 3)})
        self.watch.see(record, self.where())

    def pause(self) -> None:
        """Time for a checkpoint, or to stop."""
        due = time.monotonic() - self.saved >= 60 * self.run.checkpoint_minutes
        if due and self.run.workers.is_chief:
            self.save()
            log.info("checkpoint: %s", self.where())
        self.stop_if_asked()

    def stop_if_asked(self) -> None:
        """All workers stop after the same update."""
        if self.run.workers.any(bool(self.interrupt and self.interrupt.asked)):
            raise Stopped

    def stop_at_once(self) -> None:
        """This worker stops, and so lets the others stop: they may not be at the same point."""
        if self.interrupt and self.interrupt.asked:
            raise Stopped

    def save(self) -> None:
        """Write what training goes on from."""
        self.keep(self.run.last, self.state.checkpoint(self.run.config, self.progress))
        self.saved = time.monotonic()

    def keep(self, path: Path, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, if it is for us to do so."""
        if self.run.workers.is_chief:
            save_checkpoint(path, checkpoint)

    def end_epoch(self) -> None:
        """Measure the averaged weights on dev and save them; training goes on with its own."""
        progress = self.progress
        record: Record = {"epoch": progress.epoch + 1, "step": self.total}
        record["loss"] = progress.loss / progress.step
        with self.state.averaged():
            rate = self.dev_error().rate
            record["dev_cer"] = rate
            self.average(record)
        record["seconds"] = progress.seconds + self.lap()
        self.progress = Progress(
            progress.epoch + 1,
            best=min(progress.best, rate),
            history=[*progress.history, record],
            data=progress.data,
        )
        if rate <= progress.best:
            checkpoint = self.state.checkpoint(self.run.config, self.progress)
            self.keep(self.run.folder / "best.npz", replace(checkpoint, training={}))
        self.save()
        if self.progress.epoch == len(self.updates) and self.run.workers.is_chief:
            for path in self.kept():
                path.unlink(missing_ok=True)
        self.log.epoch(record)
        self.report(record)

    def average(self, record: Record) -> None:
        """Keep the weights that the model has; after the last epoch save and measure their mean."""
        config, paths = self.run.config, self.kept()
        path = self.run.folder / f"epoch-{record['epoch']}.npz"
        if path not in paths:
            return
        self.keep(path, Checkpoint(config, variables(self.state.model)))
        if path == paths[-1]:
            if self.run.workers.is_chief:
                mean = mean_weights([load_checkpoint(path) for path in paths])
                assign(self.state.model, mean)
            self.run.workers.spread(self.state.model)
            record["average_dev_cer"] = self.dev_error().rate
            progress = {"epoch": record["epoch"], "history": [*self.progress.history, record]}
            average = Checkpoint(config, variables(self.state.model), progress=progress)
            self.keep(self.run.folder / "average.npz", average)

    def kept(self) -> list[Path]:
        """Weights of the epochs that are averaged in the end."""
        last = len(self.updates)
        first = max(1, last - self.run.config.optimizer.average_last + 1)
        return [self.run.folder / f"epoch-{number}.npz" for number in range(first, last + 1)]

    def dev_error(self) -> ErrorRate:
        run = self.run
        return dev_error(self.state.model, run.dev, run.config, self.stop_if_asked, run.workers)

    def lap(self) -> float:
        """Seconds since it was last asked."""
        before, self.clock = self.clock, time.monotonic()
        return self.clock - before

    def report(self, record: Record) -> None:
        """Say how an epoch went, and when the last one will have."""
        average = ""
        if "average_dev_cer" in record:
            average = f", of the mean of the last epochs {100 * record['average_dev_cer']:.1f} %"
        left = ""
        if (done := self.total - self.first) and self.progress.epoch < len(self.updates):
            each = (time.monotonic() - self.began) / done
            left = f", about {math.ceil(each * (sum(self.updates) - self.total) / 60)} min left"
        log.info(
            "epoch %d: loss %.3f, dev CER %.1f %%%s, %.0f s%s",
            record["epoch"],
            record["loss"],
            100 * record["dev_cer"],
            average,
            record["seconds"],
            left,
        )


def configure_threads(processes: int = 1) -> None:
    """All cores that are ours to each operation, and two at once: the two directions of a layer.

    Args:
        processes: that share the cores.
    """
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    try:
        threads = max(1, len(os.sched_getaffinity(0)) // processes)
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(min(2, threads))
    except RuntimeError:  # the process used TensorFlow before: its settings stay
        log.debug("TensorFlow was running already; thread settings unchanged")
