"""`ds2edge train CONFIG`: learn an acoustic model, resumable by the same command."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ds2edge.arguments import INTERRUPTED, CommandParser, fail
from ds2edge.cache import cache_folder
from ds2edge.commands.interrupt import Interrupt
from ds2edge.training.checkpoint import Checkpoint, load_checkpoint
from ds2edge.training.config import TrainConfig, load_config
from ds2edge.training.data.corpora import load_recordings, read_corpora
from ds2edge.training.data.feature_cache import Change, feature_statistics
from ds2edge.training.loop import Run, Stopped, train
from ds2edge.training.network.model import build_model, token_set
from ds2edge.training.network.warm_start import take_weights
from ds2edge.training.run_log import logging_to
from ds2edge.training.snapshot import last_checkpoint

log = logging.getLogger(__name__)

EPILOG = """examples:
  ds2edge train training/configs/en-small.toml --data speech
      train on speech/*/manifest.tsv; after Ctrl-C, a kill or a loss of power the same command
      goes on, as if nothing had been
  ds2edge train my.toml --data speech --out runs/mine --fresh
      begin anew, checkpoints and logs in runs/mine
  ds2edge train my.toml --data speech --checkpoint-minutes 2
      lose two minutes at most when the machine goes down
  ds2edge restore en -o start.npz
  ds2edge train more.toml --data speech --start start.npz
      begin with the weights of a bundle
  tensorboard --logdir ~/.cache/ds2edge/runs/en-small/tensorboard
      watch the curves while it trains

the folder of a run holds:
  best.npz      weights with the least character error rate on dev: what to convert
  last.npz      weights and all that going on needs
  average.npz   mean of the weights of the last epochs, with optimizer.average_last
  train.log     what was said, and every recording that was left out, with file and line
  steps.jsonl, history.jsonl, curves.png, tensorboard/
                loss, gradient norm and learning rate of every update; dev figure of every epoch
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The `ds2edge train` command."""
    parser = CommandParser(
        "ds2edge train",
        description="Train an acoustic model. Interrupted, it goes on where it stopped.",
        epilog=EPILOG,
    )
    parser.add_argument("config", help="TOML file, see training/configs")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the corpora")
    parser.add_argument("--out", type=Path, help="checkpoints, logs [cache folder/runs/NAME]")
    parser.add_argument("--fresh", action="store_true", help="do not resume")
    parser.add_argument(
        "--start", type=Path, help="checkpoint whose weights to begin with [random]"
    )
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
    options = parser.parse_args(arguments)
    if not options.checkpoint_minutes >= 0:
        parser.error(f"--checkpoint-minutes needs 0 or more, got {options.checkpoint_minutes}")
    config = load_config(options.config)
    folder = options.out or cache_folder() / "runs" / config.name
    start = load_checkpoint(options.start) if options.start else None
    folder.mkdir(parents=True, exist_ok=True)
    with logging_to(folder / "train.log"):
        if options.deterministic:
            make_deterministic()
        run = prepare(config, options.data, folder, options.fresh, start)
        run = replace(run, checkpoint_minutes=options.checkpoint_minutes)
        try:
            with Interrupt() as interrupt:
                train(run, options.fresh, start, interrupt)
        except Stopped as stopped:
            fail(str(stopped))
            return INTERRUPTED
    return 0


def prepare(
    config: TrainConfig,
    data: Path,
    folder: Path,
    fresh: bool = False,
    start: Checkpoint | None = None,
) -> Run:
    """Check what is given, and read the recordings; their features are computed once and cached.

    Statistics of the features are measured, or taken from the run that is in the folder.

    Raises:
        ConfigError: the folder holds a run of another configuration, or a corpus is missing.
        DataError: a manifest is malformed or has nothing that can be used; a checkpoint is
            damaged; the model to start from is another one.
    """
    checkpoint = None if fresh else last_checkpoint(folder / "last.npz", config)
    if start and not checkpoint:
        take_weights(build_model(config.model, config.features), start)
    tokens, longest = token_set(config.model), config.data.longest
    to_train = read_corpora(data, config.data.train, "train", longest, tokens)
    to_choose = read_corpora(data, config.data.dev, "dev", longest, tokens)
    features = config.features
    if checkpoint:
        features = checkpoint.config.features
    elif not features.mean:
        log.info("measuring feature statistics")
        features = feature_statistics(to_train.utterances, features)
    cache, stride = cache_folder() / "features", config.model.time_stride
    changes = [Change(speed, config.data.levels) for speed in config.data.speeds]
    return Run(
        replace(config, features=features),
        folder,
        load_recordings(to_train, features, changes, tokens, cache, longest, stride),
        load_recordings(to_choose, features, [Change()], tokens, cache, longest),
    )


def make_deterministic() -> None:
    """Let TensorFlow use only operations that give the same bits every time."""
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
