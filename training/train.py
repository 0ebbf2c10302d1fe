"""`ds2edge train CONFIG`: learn an acoustic model, resumable by the same command."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ds2edge.arguments import INTERRUPTED, CommandParser, fail
from ds2edge.cache import cache_folder
from ds2edge.commands.interrupt import Interrupt
from ds2edge.errors import ConfigError, Ds2edgeError
from ds2edge.features import FeatureSettings
from ds2edge.training.augmentation.chain import Banks, load_banks
from ds2edge.training.augmentation.epochs import EpochFeatures, Hearing
from ds2edge.training.checkpoint import Checkpoint, load_checkpoint
from ds2edge.training.cluster import (
    Cluster,
    LocalWorkers,
    add_worker_arguments,
    cluster_of,
    end_with_parent,
    meet,
)
from ds2edge.training.config import ModelConfig, TrainConfig, load_config
from ds2edge.training.data.corpora import load_recordings, read_corpora
from ds2edge.training.data.feature_cache import Change, feature_statistics
from ds2edge.training.data.manifest import manifest_path
from ds2edge.training.data.spelling import told_without_example, without_example
from ds2edge.training.loop import Stopped, configure_threads, train
from ds2edge.training.memory import keep_memory
from ds2edge.training.network.model import build_model, token_set
from ds2edge.training.network.warm_start import take_weights
from ds2edge.training.processes import available_cores
from ds2edge.training.profile import STEPS, show_profile
from ds2edge.training.run import Run
from ds2edge.training.run_log import logging_to, warnings_on_terminal
from ds2edge.training.snapshot import last_checkpoint
from ds2edge.training.workers import (
    ALONE,
    SeveralWorkers,
    Workers,
    need_tensorflow,
    this_worker,
)

log = logging.getLogger(__name__)

EPILOG = """examples:
  ds2edge train tiny
      a first run, of two minutes, in a checkout of ds2edge
  ds2edge train my.toml --data speech
      train on the corpora that my.toml names, speech/NAME/manifest.tsv; after Ctrl-C, a kill or a
      loss of power the same command goes on, as if nothing had been
  ds2edge train my.toml --data speech --out runs/mine --fresh
      begin anew, checkpoints and logs in runs/mine
  ds2edge train my.toml --data speech --checkpoint-minutes 2
      lose two minutes at most when the machine goes down
  ds2edge restore en -o start.npz
  ds2edge train more.toml --data speech --start start.npz
      begin with the weights of a bundle; a model of other tokens takes all but the output
  ds2edge train both.toml --data speech --start forward/best.npz
      a model of both directions that grows out of a forward one
  ds2edge train my.toml --data speech --workers 2
      two processes of this machine share each batch (several GPUs: one for each)
  ds2edge train my.toml --data speech --worker-index 0 --worker-addresses a:7001,b:7001
  ds2edge train my.toml --data speech --worker-index 1 --worker-addresses a:7001,b:7001
      the same on two machines, the first line on a, the second on b
  ds2edge train my.toml --data speech --profile
      what the time of an update is spent on: a table, and profile.png in the folder of the run
  tensorboard --logdir ~/.cache/ds2edge/runs/my/tensorboard
      watch the curves while it trains (pip install tensorboard)

a configuration has the tables features, model, data, augment, auxiliary, distill and optimizer; the
page on training in the documentation has their keys, and training/configs/ examples. A run is named
after the file, or its key `name`. Its folder, in ~/.cache/ds2edge/runs unless --out names another:
  best.npz      weights with the least character error rate on dev
  last.npz      weights and all that going on needs
  average.npz   mean of the weights of the last epochs, with optimizer.average_last
  train.log     what was said, and every recording that was left out, with file and line
  steps.jsonl, history.jsonl, curves.png, tensorboard/
                loss, gradient norm and learning rate of every update; dev figure of every epoch
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The `ds2edge train` command."""
    parser = run_parser(
        "ds2edge train",
        "Train an acoustic model. Interrupted, it goes on where it stopped.",
        EPILOG,
    )
    add_config_arguments(parser)
    options = parser.parse_args(arguments)
    config = load_config(options.config, options.tokens)
    data = data_folder(options, config)
    folder = options.out or cache_folder() / "runs" / config.name
    start = load_checkpoint(options.start) if options.start else None
    return run_to_the_end(
        lambda: prepare(config, data, folder, options.fresh, start),
        folder,
        options,
        start,
        config,
    )


def run_parser(command: str, description: str, epilog: str, several: bool = True) -> CommandParser:
    """The parser of a command that trains, with the options that all of them have.

    Args:
        several: it can have several workers, as nothing can that computes before they meet.
    """
    parser = CommandParser(command, description=description, epilog=epilog)
    parser.add_argument("--out", type=Path, help="checkpoints, logs [cache folder/runs/NAME]")
    parser.add_argument("--fresh", action="store_true", help="do not resume")
    parser.add_argument(
        "--checkpoint-minutes",
        type=float,
        default=Run.checkpoint_minutes,
        metavar="M",
        help="between checkpoints within an epoch; its end has one, too [%(default)g]",
    )
    parser.add_argument(
        "--deterministic",
        action="store_true",
        help="the same bits on a GPU too, which is slower; a CPU gives them anyway",
    )
    parser.add_argument(
        "--profile",
        type=int,
        nargs="?",
        const=STEPS,
        metavar="N",
        help=f"measure N updates of a new model part by part, and stop; nothing is kept [{STEPS}]",
    )
    if several:
        add_worker_arguments(parser)
    else:
        parser.set_defaults(workers=1, worker_index=None, worker_addresses=None)
    return parser


def add_config_arguments(parser: CommandParser) -> None:
    """What a command takes that is told by a configuration what to train."""
    parser.add_argument("config", help="TOML file, or the name of one in training/configs")
    parser.add_argument("--data", type=Path, help="folder that holds the corpora [this one]")
    parser.add_argument(
        "--tokens",
        metavar="FILE",
        default="",
        help="or a bundle: of the outputs [what the configuration says]",
    )
    parser.add_argument(
        "--start", type=Path, help="checkpoint whose weights to begin with [random]"
    )


def data_folder(options: argparse.Namespace, config: TrainConfig) -> Path:
    """What --data says, or this folder.

    Raises:
        ConfigError: it is not said, and this folder has not all corpora of the configuration.
    """
    if options.data:
        return Path(options.data)
    named = [corpus.folder for corpus in (*config.data.train, *config.data.dev)]
    folders = dict.fromkeys(named + [corpus.folder for corpus in config.augment.noise])
    if missing := [path for name in folders if not (path := manifest_path(Path(name))).is_file()]:
        raise ConfigError(
            f"{options.config} needs --data FOLDER, the one that has {', '.join(map(str, missing))}"
        )
    return Path()


def run_to_the_end(
    prepare: Callable[[], Run],
    folder: Path,
    options: argparse.Namespace,
    start: Checkpoint | None = None,
    config: TrainConfig | None = None,
    then: str = "",
) -> int:
    """Train, with a log file.

    Args:
        options: of `run_parser`.
        config: that several workers need to have the same of, before anything is prepared.
        then: what is said of the result in the end; empty: what `next_step` says.

    Returns: the exit code.
    """
    if not options.checkpoint_minutes >= 0:
        raise ConfigError(f"--checkpoint-minutes needs 0 or more, got {options.checkpoint_minutes}")
    if options.profile is not None and options.profile < 1:
        raise ConfigError(f"--profile needs 1 update or more, got {options.profile}")
    keep_memory()
    cluster = cluster_of(options, os.environ)
    if not cluster:
        configure_threads()
    with ExitStack() as stack:
        if cluster and cluster.index:  # the folder is the chief's, perhaps on another machine
            stack.enter_context(warnings_on_terminal())
        else:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(logging_to(folder / "train.log"))
        if options.deterministic:
            make_deterministic()
        workers = stack.enter_context(joined(cluster, options, config, folder))
        run = replace(prepare(), checkpoint_minutes=options.checkpoint_minutes)
        if options.profile:
            show_profile(run, options.profile)
            return 0
        try:
            with Interrupt() as interrupt:
                train(run, options.fresh, start, interrupt)
        except Stopped as stopped:
            log.debug("%s", stopped)  # the terminal has it from `fail`
            fail(str(stopped))
            return INTERRUPTED
        except (Ds2edgeError, OSError) as error:
            with suppress(OSError):  # the disk that is full is that of the log
                log.debug("%s", error)
            raise
        if workers.is_chief:
            log.info("trained; %s", then or next_step(run.config.model, folder / "best.npz"))
    return 0


def next_step(model: ModelConfig, best: Path) -> str:
    """What its weights are good for."""
    return f"to use it: ds2edge convert {best} -o BUNDLE{live_hint(model)}"


def live_hint(model: ModelConfig) -> str:
    """What to add where somebody may take a model of both directions for one that streams."""
    if model.direction == "forward":
        return ""
    return (
        "; it answers when it has heard the end: for a live stream, distil it into a forward "
        "model (ds2edge distill)"
    )


@contextmanager
def joined(
    cluster: Cluster | None, options: argparse.Namespace, config: TrainConfig | None, folder: Path
) -> Iterator[Workers]:
    """What this process is: the only worker, or one of several that have come together.

    Raises:
        ConfigError: Keras has another backend than TensorFlow.
        WorkerError: the workers do not come together, or lose each other later.
    """
    if not cluster:
        yield ALONE
        return
    need_tensorflow()
    configure_threads(len(cluster.neighbours()))
    with ExitStack() as stack:
        local = None
        if options.parent:
            end_with_parent()
        if options.workers:
            local = stack.enter_context(LocalWorkers(cluster, sys.argv[1:], folder))
        settings = config.as_dict() if config else {}
        check = local.check if local else lambda: None
        meet(cluster, settings, options.worker_patience, check)
        yield stack.enter_context(SeveralWorkers(cluster, local))


def prepare(
    config: TrainConfig,
    data: Path,
    folder: Path,
    fresh: bool = False,
    start: Checkpoint | None = None,
) -> Run:
    """Check what is given, and read the recordings; their features are computed once and cached.

    Statistics of the features are measured, or taken from the run that is in the folder, or from
    the model to start from.

    Raises:
        ConfigError: the folder holds a run of another configuration, a corpus is missing or has no
            texts, though there is no teacher.
        DataError: a manifest is malformed or has nothing that can be used; a checkpoint is
            damaged; the model to start from is another one.
    """
    workers = this_worker()
    begins = fresh or not workers.is_chief  # what the chief goes on from, it tells the others
    checkpoint = None if begins else last_checkpoint(folder / "last.npz", config)
    if start and not checkpoint:
        take_weights(build_model(config.model, config.features), start)
    if not config.distill.teacher:
        for corpus in (c for c in config.data.train if c.unlabelled):
            raise ConfigError(
                f"data.train: {corpus.folder} is unlabelled: only a teacher could tell what is "
                "said; use `ds2edge distill`, or take it out"
            )
    for corpus in (c for c in config.data.dev if c.unlabelled):
        raise ConfigError(f"data.dev: {corpus.folder} is unlabelled: it tells no error rate")
    tokens, longest = token_set(config.model), config.data.longest
    to_train = read_corpora(data, config.data.train, "train", longest, tokens)
    to_choose = read_corpora(data, config.data.dev, "dev", longest, tokens)
    banks = None
    if config.augment.of_sound:
        rate, seed = config.features.sample_rate, config.optimizer.seed
        banks = load_banks(config.augment, data, rate, seed)

    def settings() -> dict[str, Any]:
        features = config.features
        if checkpoint:
            features = checkpoint.config.features
        elif start and features == replace(start.config.features, mean=(), deviation=()):
            features = start.config.features  # its weights know no others
        elif not features.mean:
            log.info("measuring feature statistics")
            features = feature_statistics(to_train.utterances, features)
        return features.as_dict()

    features = FeatureSettings.from_dict(workers.from_chief(settings))
    cache, model = cache_folder() / "features", config.model
    # Only a teacher hears what was recorded, where sound is augmented.
    alone = config.augment.of_sound and not config.distill.teacher
    run = Run(
        replace(config, features=features),
        folder,
        load_recordings(to_train, features, changes(config), tokens, cache, longest, model, alone),
        load_recordings(to_choose, features, [Change()], tokens, cache, longest),
    )
    if missing := without_example(tokens, run.train.tokens):
        log.info("%s", told_without_example(tokens, missing))
    return replace(run, heard=epoch_features(run, banks)) if banks else run


def epoch_features(run: Run, banks: Banks) -> EpochFeatures:
    """What is heard of the recordings of a run."""
    config, workers = run.config, run.workers
    seed = config.optimizer.seed
    hearing = Hearing(config.features, config.augment, tuple(changes(config)), banks, seed)
    owner = f"{run.folder.resolve()} {workers.index}/{workers.count}"
    jobs = max(1, available_cores() // workers.here)
    return EpochFeatures(run.train, hearing, owner, cache_folder() / "epochs", jobs)


def changes(config: TrainConfig) -> list[Change]:
    """What is done to each recording, one of them in each epoch."""
    return [Change(speed, config.data.levels) for speed in config.data.speeds]


def make_deterministic() -> None:
    """Let TensorFlow use only operations that give the same bits every time."""
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
