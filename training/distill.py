"""`ds2edge distill CONFIG --teacher CHECKPOINT`: a streaming model learns from a research model.

The student learns the teacher's posteriors at each step, besides the texts: CTC and the divergence
from the teacher, weighted by `distill.weight`. Recordings without a text teach it, too.

It is compared with what the teacher said `distill.shift` steps before: it needs to hear a sound to
its end, and CTC alone makes such a model speak some 150 ms late. Four steps of 30 ms were best on
dev (a student of 8 steps of look-ahead, 0.7 hours of one reader, 8 epochs: dev CER 43.7, 41.1, 40.0
and 43.6 % with a shift of 0, 2, 4 and 6; 46.5 % without the teacher, whose own was 33.3 %).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ds2edge.cache import cache_folder
from ds2edge.training.checkpoint import Checkpoint, load_checkpoint
from ds2edge.training.config import TrainConfig, load_config
from ds2edge.training.data.teacher_log_probs import taught_by, with_teacher
from ds2edge.training.run import Run
from ds2edge.training.train import (
    add_config_arguments,
    changes,
    data_folder,
    prepare,
    run_parser,
    run_to_the_end,
)

EPILOG = """examples:
  ds2edge train small --data speech
  ds2edge distill student.toml --teacher ~/.cache/ds2edge/runs/small/best.npz --data speech
      a bidirectional model, then one that runs on a stream and learns from it
  ds2edge distill student.toml --teacher teacher.npz --data speech --start student.npz
      go on from a student that learned from texts alone

in student.toml, besides what `ds2edge train` reads:
  [distill]
  weight = 0.5        # of the teacher in the loss; CTC has the rest
  temperature = 1.0
  shift = 4           # output steps by which the student says later what the teacher says
  [data]
  train = [
      { folder = "librispeech" },
      { folder = "calls", unlabelled = true },   # no texts: only the teacher tells what is said
  ]

teacher and student need the same tokens, time stride and features; the student takes over the
feature statistics. The folder of a run is as that of `ds2edge train`.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The `ds2edge distill` command."""
    parser = run_parser(
        "ds2edge distill",
        "Train a model that learns from another one. Interrupted, it goes on where it stopped.",
        EPILOG,
    )
    add_config_arguments(parser)
    parser.add_argument(
        "--teacher", type=Path, required=True, metavar="CHECKPOINT", help="whom it learns from"
    )
    options = parser.parse_args(arguments)
    config = load_config(options.config, options.tokens)
    data = data_folder(options, config)
    teacher = load_checkpoint(options.teacher)
    config = taught_by(config, teacher)
    start = load_checkpoint(options.start) if options.start else None
    folder = options.out or cache_folder() / "runs" / config.name
    return run_to_the_end(
        lambda: prepare_distillation(config, teacher, data, folder, options.fresh, start),
        folder,
        options,
        start,
        config,
    )


def prepare_distillation(
    config: TrainConfig,
    teacher: Checkpoint,
    data: Path,
    folder: Path,
    fresh: bool = False,
    start: Checkpoint | None = None,
) -> Run:
    """As `ds2edge.training.train.prepare`; the recordings have what the teacher says of them.

    Raises:
        ConfigError: also: teacher and student do not fit together.
    """
    config = taught_by(config, teacher)
    run = prepare(config, data, folder, fresh, start)
    teachers = with_teacher(run.train, teacher, changes(config), cache_folder() / "teacher")
    return replace(run, train=teachers)
